"""Train, evaluate, probe: the whole way through the command line on data of a few dozen facts."""

import json
from pathlib import Path

import pytest

SMALL = (
    *("--embedding-dim", "8", "--num-layers", "1", "--history-len", "2", "--batch-size", "0"),
    *("--set", "static_blocks=4", "--set", "conv_channels=2", "--set", "max_buckets=1", "--precision", "f32"),
)
METRICS = {"mrr", "hits_at_1", "hits_at_3", "hits_at_10", "nll"}


@pytest.fixture
def train(run, tmp_path):
    def call(*arguments, code=0):
        places = ("--model-dir", tmp_path / "models", "--logdir", tmp_path / "runs")
        result = run("train", *SMALL, *places, *arguments)
        assert result.exit_code == code, result.output
        return result

    return call


def test_train_then_eval(run, train, folder, tmp_path):
    models = tmp_path / "models"
    result = train(
        "--data-path",
        folder,
        "--epochs",
        "2",
        "--eval-interval",
        "1",
        "--set",
        "checkpoint_interval=1",
        "--json",
    )
    assert result.stdout.count("\n") == 1
    trained = json.loads(result.stdout)
    assert trained["status"] == "completed"
    assert trained["epochs_trained"] == 2
    assert trained["model_type"] == "tirgn"
    assert {"best_mrr", "best_epoch", "total_time", "early_stopped", "validation", "test"} <= set(trained)
    assert trained["dataset"]["name"] == "tiny" and trained["dataset"]["facts"] == 60
    assert Path(trained["checkpoint"]) == models / "tirgn_best.npz"
    assert "validation epoch 1" in result.stderr and "epoch 2/2" in result.stderr
    for name in ("tirgn_best", "tirgn_epoch_1", "tirgn_epoch_2", "tirgn_trained"):
        assert (models / f"{name}.npz").exists() and (models / f"{name}.json").exists()
    assert "embedding_dim = 8" in (models / "config.toml").read_text()
    assert list((tmp_path / "runs").rglob("metrics.jsonl"))

    result = run("eval", trained["checkpoint"], "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1
    measured = json.loads(result.stdout)
    assert measured["dataset"] == trained["dataset"]
    assert (measured["split"], measured["setting"], measured["filter"]) == ("test", "single-step", "time")
    assert measured["checksum_matches"] is True
    for part in ("entity", "entity_raw", "relation", "relation_raw", "object", "subject"):
        assert METRICS - ({"nll"} if part.endswith("raw") else set()) <= set(measured[part])
        assert 0 < measured[part]["mrr"] <= 1
    assert [set(row) for row in measured["snapshots"]] == [{"time", "queries", "mrr"}]
    assert measured["seconds"] > 0

    result = run("eval", trained["checkpoint"], "--split", "valid", "--json")
    assert json.loads(result.stdout)["entity"]["mrr"] == pytest.approx(trained["best_mrr"], abs=1e-4)

    result = run("eval", trained["checkpoint"])
    assert result.exit_code == 0, result.output
    for word in (
        "tiny: 60 facts",
        "entity, raw",
        "subject",
        "relation, raw",
        "MRR",
        "Hits@10",
        "single-step",
    ):
        assert word in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines()[1:])


def test_other_facts_than_those_trained_on_are_said_loudly(run, train, folder):
    checkpoint = json.loads(train("--data-path", folder, "--epochs", "1", "--json").stdout)["checkpoint"]
    test = folder / "test.txt"
    test.write_text(test.read_text().replace("0\t1\t2\t9\n", "0\t1\t3\t9\n"))
    result = run("eval", checkpoint, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["checksum_matches"] is False
    assert result.stderr.startswith("warning: CHECKSUM DIFFERS")
    result = run("eval", checkpoint, "--data-path", folder)
    assert "CHECKSUM DIFFERS" in result.stderr

    result = run("eval", checkpoint, "--data-path", "sim")
    assert result.exit_code == 1
    assert "has 100 entities" in result.stderr and "was trained with 6" in result.stderr

    folder.rename(folder.with_name("moved"))
    result = run("eval", checkpoint)
    assert result.exit_code == 1
    assert "--data-path" in result.stderr and result.stderr.count("\n") == 1


def test_the_simulated_world_and_a_second_run_from_the_saved_config(train, tmp_path):
    result = train("--data-path", "sim", "--num-days", "20", "--epochs", "1", "--run-name", "first")
    assert "sim: " in result.stderr
    for word in ("status", "completed", "best MRR", "checkpoint", "seed", "tirgn eval"):
        assert word in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())

    result = train(
        *("--data-path", "sim", "--num-days", "20", "--config", tmp_path / "models" / "config.toml"),
        *("--seed", "5", "--quiet", "--json"),
    )
    assert result.stderr == ""
    trained = json.loads(result.stdout)
    assert (trained["seed"], trained["epochs_trained"]) == (5, 1)


def test_an_event_table_by_the_hour(train, run, tmp_path):
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
    result = train("--data-path", path, "--granularity", "hour", "--num-days", "0", "--epochs", "1", "--json")
    trained = json.loads(result.stdout)
    assert trained["dataset"]["facts"] == 100 and trained["dataset"]["snapshots"] == 20

    copy = path.rename(tmp_path / "copied.parquet")
    result = run("eval", trained["checkpoint"], "--data-path", copy, "--json")
    assert json.loads(result.stdout)["checksum_matches"] is True, result.stderr

    result = run("data", "stats", copy, "--granularity", "week")
    assert result.exit_code == 2
    assert "granularity 'week' does not exist" in result.stderr


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


def test_probe_of_a_shape(run):
    shape = "entities=50,relations=4,edges=60,queries=40"
    arguments = ("--shape", shape, "--embedding-dim", 8, "--history-len", 2, "--set", "conv_channels=2")
    result = run("vram-probe", *arguments, "--budget", "64MiB", "--json")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    report = json.loads(result.stdout)
    assert report["budget_bytes"] == 2**26 and report["dataset"] is None
    assert report["shape"]["queries"] == 40
    assert report["largest_batch"] >= 1
    for row in report["settings"]:
        assert row["predicted_bytes"] > 0 and isinstance(row["fits"], bool)

    result = run("vram-probe", *arguments)
    assert result.exit_code == 0, result.output
    assert "predicted" in result.stdout and "fits" not in result.stdout


def test_probe_of_data(run, folder):
    result = run("vram-probe", "--data-path", folder, *SMALL[:8], "--set", "conv_channels=2", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["dataset"]["name"] == "tiny"
    assert report["shape"]["entities"] == 6


def test_import_names_what_is_missing(run, folder, tmp_path):
    import numpy as np

    state = tmp_path / "state.npz"
    np.savez(state, something=np.zeros(3))
    out = tmp_path / "imported.npz"
    result = run("import-torch", state, "--data-path", folder, "--out", out, "--num-layers", "1")
    assert result.exit_code == 1, result.output
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: ")
    assert not out.exists()


def test_the_program_keeps_stdout_for_the_document(program, folder):
    result = program(
        *("-m", "tirgn_cli", "train", "--data-path", folder, *SMALL, "--epochs", "1", "--json"),
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["status"] == "completed"
    assert result.stdout.count("\n") == 1
    assert (folder.parent / "models" / "tkg" / "tirgn_best.npz").exists()
