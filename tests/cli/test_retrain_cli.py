"""`tirgn retrain`, as a scheduler calls it."""

import json

import polars as pl
import pytest
from conftest import call_app, write_folder

NAMES = ["RUSSIA", "UKRAINE", "UNITED STATES", "CHINA", "POLICE"]


def write_events(path, days, first=17_500):
    rows = [
        (NAMES[i], ["042_Q1", "190_Q4"][(i + day) % 2], NAMES[(i + 1) % 5], (first + day) * 86_400)
        for day in range(days)
        for i in range(5)
    ]
    pl.DataFrame(rows, schema=["entity1", "relation", "entity2", "timestamp"], orient="row").write_parquet(path)


@pytest.fixture
def live(tmp_path):
    """An event table, and a checkpoint trained on it."""
    events = tmp_path / "events.parquet"
    write_events(events, 12)
    words = ("--set", "max_buckets=1", "--embedding-dim", "4", "--set", "evidence_heads=2", "--epochs", "1")
    where = ("--model-dir", tmp_path / "models", "--logdir", tmp_path / "logs", "--num-days", "11")
    result = call_app("train", "--data-path", events, "--model", "evidence", *words, *where, "--quiet")
    assert result.exit_code == 0, result.output
    return events, tmp_path / "models" / "tirgn_best.npz"


def test_a_week_later(run, live):
    events, checkpoint = live
    old = checkpoint.read_bytes()
    write_events(events, 19)
    words = ("--data-path", events, "--from", checkpoint, "--max-regression", "1", "--quiet")
    result = run("retrain", *words, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 0 and found["replaced"] and result.stderr == ""
    # The window rolls: as many days as before, the newest ones.
    assert found["dataset"]["snapshots"] == 11 and found["dataset"]["facts"] == 55
    assert found["training"]["status"] == "completed" and len(found["comparison"]["models"]) == 2
    assert checkpoint.read_bytes() != old and checkpoint.with_name("tirgn_best.previous.npz").read_bytes() == old
    assert (checkpoint.parent / "retrain" / "tirgn_best.npz").exists()
    shown = run("retrain", *words).stdout
    assert "New against old" in shown and "replaced" in shown and "points, 95 % interval" in shown
    forecast = run("predict", checkpoint, "--subject", "RUSSIA", "--relation", "042_Q1", "--json")
    assert json.loads(forecast.stdout)["time"] == "2017-12-19"


def test_a_worse_model_leaves_with_3_and_what_was_there_stays(run, live, monkeypatch):
    from tirgn_eqx.train import retrain as module

    events, checkpoint = live
    old = checkpoint.read_bytes()

    def worse(graph, checkpoint, **options):
        found = real(graph, checkpoint, **options | {"max_regression": 1.0})
        checkpoint.write_bytes(old)
        return found | {"replaced": False}

    real = module.retrain
    monkeypatch.setattr(module, "retrain", worse)
    result = run("retrain", "--from", checkpoint, "--quiet", "--json")
    assert result.exit_code == 3 and "the new model is worse" in result.stderr
    assert not json.loads(result.stdout)["replaced"]


def test_what_cannot_be_retrained_is_said_in_a_line(run, live, tmp_path):
    events, checkpoint = live
    folder = write_folder(tmp_path / "tiny")
    words = ("--model", "evidence", "--embedding-dim", "4", "--epochs", "1", "--set", "max_buckets=1", "--quiet")
    places = ("--model-dir", tmp_path / "plain", "--logdir", tmp_path / "logs2")
    assert run("train", "--data-path", folder, *words, *places).exit_code == 0
    for words, code, message in [
        (("--from", tmp_path / "none.npz"), 1, "does not exist"),
        (("--from", tmp_path / "plain" / "tirgn_best.npz"), 1, "not trained on an event table"),
        (("--from", checkpoint, "--max-regression", "7"), 2, "must be between 0 and 1"),
        (("--from", checkpoint, "--data-path", tmp_path / "nowhere.parquet"), 1, "file is missing"),
        (("--from", checkpoint, "--set", "embedding_dim=8"), 1, "leave the settings of the model"),
        ((), 2, "--from"),
    ]:
        result = run("retrain", *words)
        assert result.exit_code == code and message in result.stderr, (words, result.stderr)
