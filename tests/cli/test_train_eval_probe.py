"""Train, evaluate, probe: the whole way through the command line on data of a few dozen facts."""

import json
import shutil
from pathlib import Path

import pytest

SIZES = ("--embedding-dim", "8", "--num-layers", "1", "--history-len", "2", "--set", "conv_channels=2")
METRICS = {"mrr", "hits_at_1", "hits_at_3", "hits_at_10", "nll"}


@pytest.fixture
def checkpoint(trained) -> Path:
    return trained[0] / "models" / "tirgn_best.npz"


def measured(result) -> dict:
    """The one JSON document on stdout."""
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def test_train(trained):
    place, result = trained
    told = measured(result)
    assert told["status"] == "complete"
    assert told["epochs_trained"] == 2
    assert told["model_type"] == "tirgn"
    assert {"best_mrr", "best_epoch", "total_time", "early_stopped", "validation", "test"} <= set(told)
    assert told["dataset"]["name"] == "tiny" and told["dataset"]["facts"] == 60
    assert Path(told["checkpoint"]) == place / "models" / "tirgn_best.npz"
    for words in ("tiny: 60 facts", "valid MRR", "epoch 1/2", "epoch 2/2"):
        assert words in result.stderr
    for name in ("tirgn_best", "tirgn_epoch_1", "tirgn_epoch_2", "tirgn_trained"):
        for suffix in ("npz", "json"):
            assert (place / "models" / f"{name}.{suffix}").exists()
    assert "embedding_dim = 8" in (place / "models" / "config.toml").read_text()
    assert (place / "runs" / "metrics.jsonl").exists()


@pytest.mark.slow
def test_train_again_from_the_saved_config(run, trained, tmp_path):
    place, _ = trained
    again = ("--data-path", place / "tiny", "--config", place / "models" / "config.toml", "--quiet")
    places = ("--model-dir", tmp_path / "models", "--logdir", tmp_path / "runs")
    result = run("train", *again, *places, "--epochs", "1", "--seed", "5")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    for word in ("status", "complete", "best MRR", "checkpoint", "seed", "tirgn eval", "test, entity"):
        assert word in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    assert "seed = 5" in (tmp_path / "models" / "config.toml").read_text()


def test_eval(run, trained, checkpoint):
    told = json.loads(trained[1].stdout)
    result = run("eval", checkpoint, "--json")
    found = measured(result)
    assert result.stderr == ""
    assert found["dataset"] == told["dataset"]
    assert (found["split"], found["setting"], found["filter"]) == ("test", "single-step", "time")
    assert found["checksum_matches"] is True
    for part in ("entity", "entity_raw", "relation", "relation_raw", "object", "subject"):
        assert METRICS - ({"nll"} if part.endswith("raw") else set()) <= set(found[part])
        assert 0 < found[part]["mrr"] <= 1
    assert [set(row) for row in found["snapshots"]] == [{"time", "queries", "mrr"}]
    assert found["seconds"] > 0
    assert found["entity"]["mrr"] == pytest.approx(told["test"]["entity"]["mrr"])

    valid = measured(run("eval", checkpoint, "--split", "valid", "--json"))
    assert valid["entity"]["mrr"] == pytest.approx(told["best_mrr"])


def test_eval_shows_a_table(run, checkpoint):
    result = run("eval", checkpoint)
    assert result.exit_code == 0, result.output
    for word in ("tiny: 60 facts", "entity, raw", "subject", "relation, raw", "MRR", "Hits@10", "single-step"):
        assert word in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines()[1:])


def test_other_facts_than_those_trained_on_are_said_loudly(run, trained, checkpoint, folder):
    test = folder / "test.txt"
    test.write_text(test.read_text().replace("0\t1\t2\t9\n", "0\t1\t3\t9\n"))
    result = run("eval", checkpoint, "--data-path", folder, "--json")
    assert measured(result)["checksum_matches"] is False
    assert result.stderr.startswith("warning: CHECKSUM DIFFERS")
    assert result.stderr.count("\n") == 1


def test_data_of_another_size_or_place(run, trained, checkpoint, folder):
    result = run("eval", checkpoint, "--data-path", "sim")
    assert result.exit_code == 1
    assert "has 100 entities" in result.stderr and "was trained with 6" in result.stderr
    place = trained[0]
    (place / "tiny").rename(place / "moved")
    try:
        result = run("eval", checkpoint)
    finally:
        (place / "moved").rename(place / "tiny")
    assert result.exit_code == 1
    assert "--data-path" in result.stderr and result.stderr.count("\n") == 1


def test_a_copied_checkpoint_needs_only_its_npz(run, checkpoint, tmp_path):
    copy = shutil.copy(checkpoint, tmp_path / "copy.npz")
    assert measured(run("eval", copy, "--json"))["checkpoint"] == str(copy)


def test_a_cut_off_checkpoint_is_one_line(run, checkpoint, tmp_path):
    cut = tmp_path / "cut.npz"
    cut.write_bytes(checkpoint.read_bytes()[:-500])
    result = run("eval", cut)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert str(cut) in result.stderr


@pytest.fixture
def events(tmp_path) -> Path:
    """An event table: 5 events an hour in the first 10 hours of two days."""
    polars = pytest.importorskip("polars")
    rows = [
        (f"E{s}", "010", f"E{(s + h % 2 + 1) % 5}", f"2024-01-{d:02d} {h:02d}:15:00")
        for d in (1, 2)
        for h in range(10)
        for s in range(5)
    ]
    path = tmp_path / "events.parquet"
    table = polars.DataFrame(rows, schema=["entity1", "relation", "entity2", "timestamp"], orient="row")
    table.with_columns(polars.col("timestamp").str.to_datetime()).write_parquet(path)
    return path


def test_stats_of_an_event_table(run, events):
    hours = measured(run("data", "stats", events, "--granularity", "hour", "--num-days", "0", "--json"))
    assert hours["facts"]["total"] == 100 and hours["snapshots"]["total"] == 20
    result = run("data", "stats", events, "--granularity", "week")
    assert result.exit_code == 2
    assert "granularity 'week' does not exist" in result.stderr


def test_a_copied_event_table_is_read_as_the_one_trained_on(events, tmp_path):
    from tirgn_cli.common import load_evaluation_graph
    from tirgn_eqx.data import load_graph

    graph = load_graph(events, granularity="hour", num_days=0)
    copy = shutil.copy(events, tmp_path / "copy.parquet")
    assert load_evaluation_graph(tmp_path / "x.npz", str(copy), graph.provenance, {}).checksum == graph.checksum
    assert load_evaluation_graph(tmp_path / "x.npz", None, graph.provenance, {}).checksum == graph.checksum
    by_day = {"granularity": "15min"}
    assert load_evaluation_graph(tmp_path / "x.npz", str(copy), graph.provenance, by_day).checksum != graph.checksum


def test_stats_of_a_folder(run, folder):
    result = run("data", "stats", folder, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == "" and result.stdout.count("\n") == 1
    counted = json.loads(result.stdout)
    assert counted["facts"] == {"total": 60, "train": 48, "valid": 6, "test": 6}
    text = run("data", "stats", folder).stdout
    assert counted["sha256"] in text and "answer in history" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_library_warning_is_a_line_on_stderr(run, folder):
    result = run("data", "stats", folder, "--granularity", "hour", "--json")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: ") and "granularity" in result.stderr
    assert json.loads(result.stdout)["name"] == "tiny"


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


def test_import_names_what_is_missing(run, folder, tmp_path):
    import numpy as np

    state = tmp_path / "state.npz"
    np.savez(state, something=np.zeros(3))
    out = tmp_path / "imported.npz"
    result = run("import-torch", state, "--data-path", folder, "--out", out)
    assert result.exit_code == 1, result.output
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: ")
    assert not out.exists()


@pytest.mark.ci
def test_the_program_keeps_stdout_for_the_document(program, folder):
    small = ("--config", folder.parent / "small.toml")
    settings = {"embedding_dim": 8, "num_layers": 1, "history_len": 2, "batch_size": 0, "conv_channels": 2}
    small[1].write_text("\n".join(f"{name} = {value}" for name, value in settings.items()))
    more = ("--set", "max_buckets=1", "--precision", "f32", "--remat", "none")
    result = program("-m", "tirgn_cli", "train", "--data-path", folder, *small, *more, "--epochs", "0", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["status"] == "complete"
    assert result.stdout.count("\n") == 1
    assert (folder.parent / "models" / "tkg" / "tirgn_best.npz").exists()
