"""`tirgn vram-probe`: predicted memory for a shape and for data."""

import pytest

from tests.cli.cli_helpers import measured

SIZES = ("--embedding-dim", "8", "--num-layers", "1", "--history-len", "2", "--set", "conv_channels=2")


@pytest.fixture
def predicted(monkeypatch):
    """A prediction without compilation, which the tests of the library check: 1 MiB a query, twice in f32."""

    def predicted_bytes(shape, config):
        return (config.batch_size or 2 * shape.queries) * 2**20 * (1 if config.precision == "bf16" else 2)

    monkeypatch.setattr("tirgn_eqx.train.memory.predicted_bytes", predicted_bytes)


def test_probe_of_a_shape(run, predicted):
    arguments = ("--shape", "entities=50,relations=4,edges=60,queries=400", "--set", "precision=bf16", *SIZES)
    report = measured(run("vram-probe", *arguments, "--budget", "300MiB", "--batch-size", "256", "--json"))
    assert report["budget_bytes"] == 300 * 2**20 and report["dataset"] is None
    assert report["shape"]["queries"] == 400
    assert 256 <= report["largest_batch"] <= 300
    assert {row["precision"] for row in report["settings"]} == {"bf16", "f32"}
    for row in report["settings"]:
        assert row["fits"] is (row["predicted_bytes"] <= 300 * 2**20)

    result = run("vram-probe", *arguments)
    assert result.exit_code == 0, result.output
    assert "predicted" in result.stdout and "fits" not in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines()[1:])

    result = run("vram-probe", *arguments, "--budget", "1MiB")
    assert result.exit_code == 0, result.output
    assert "fits 1.0 MiB" in result.stdout and "none fits" in result.stdout


def test_probe_of_data(run, folder, predicted):
    report = measured(run("vram-probe", "--data-path", folder, *SIZES, "--json"))
    assert report["dataset"]["name"] == "tiny"
    assert (report["shape"]["entities"], report["shape"]["edges"], report["shape"]["queries"]) == (6, 6, 6)
