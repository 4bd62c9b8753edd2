"""`tirgn tune`: the table and the document that it shows, the settings that it takes, and what it refuses."""

import json

import pytest

from tirgn_eqx.train.events import ValidationRecord
from tirgn_eqx.tune import search

TUNE = ("tune", "--trials", "3", "--startup", "1", "--epochs", "2", "--eval-interval", "1")


def play(graph, config, *, on_record, **options):
    """What stands in for `train_tirgn`: an MRR that grows with dropout."""
    for epoch in (1, 2):
        on_record(ValidationRecord(epoch, False, {"mrr": config.dropout}))
    known = {"best_epoch": 1, "epochs_trained": 2, "total_time": 0.5, "best_mrr": config.dropout}
    return {"status": "complete", **known}


@pytest.fixture
def tune(run, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "train_tirgn", play)
    place = tmp_path / "tuning"
    return lambda *words: run(*TUNE, "--data-path", folder, "--study", place / "study.journal", *words)


@pytest.mark.ci
def test_a_document_and_the_best_settings(tune, tmp_path):
    result = tune("--json", "--set", "embedding_dim=8", "--set", "num_layers=1")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert set(found["space"]) == {"history_len", "dropout", "history_rate", "learning_rate"}, "no static graph"
    best = max(found["trials"], key=lambda row: row["mrr"])
    assert found["best"]["number"] == best["number"] and found["dataset"]["facts"] == 60
    text = (tmp_path / "tuning" / "best.toml").read_text()
    assert f"dropout = {best['params']['dropout']}" in text and "embedding_dim = 8" in text
    assert "trial 0" in result.stderr


@pytest.mark.ci
def test_a_table_and_fewer_settings(tune, tmp_path):
    result = tune("--only", "--param", "dropout=0.1:0.3", "--quiet", "--out", tmp_path / "mine.toml")
    assert result.exit_code == 0, result.output
    assert "Trials" in result.stdout and "best trial" in result.stdout and "3 complete" in result.stdout
    assert result.stderr == ""
    assert "dropout" in (tmp_path / "mine.toml").read_text()


@pytest.mark.ci
def test_a_search_that_was_stopped_says_how_it_goes_on(tune, monkeypatch):
    import signal

    def stopped(graph, config, *, stop, **options):
        signal.raise_signal(signal.SIGTERM)
        assert stop()
        return {"status": "interrupted", "best_epoch": None, "epochs_trained": 0, "total_time": 0.1, "best_mrr": None}

    monkeypatch.setattr(search, "train_tirgn", stopped)
    result = tune("--json")
    assert result.exit_code == 128 + signal.SIGTERM
    assert json.loads(result.stdout)["counts"]["running"] == 1
    assert "the same command goes on from there" in result.stderr
    monkeypatch.setattr(search, "train_tirgn", play)
    assert json.loads(tune("--json").stdout)["counts"]["complete"] == 3


def test_what_is_named_twice_or_not_at_all(tune):
    for words, expected in (
        (("--param", "dropout=0:0.1", "--set", "dropout=0.2"), "is given by --set or an option"),
        (("--param", "batch_size=16:64", "--batch-size", "32"), "--param batch_size: is given by --set or an option"),
        (("--only",), "nothing is named by --param"),
        (("--param", "angle=1:9"), "has no effect without a static graph in the data"),
    ):
        result = tune(*words)
        assert result.exit_code == 2 and expected in result.stderr


@pytest.mark.ci
def test_what_all_trials_share_is_said_once(run, folder, tmp_path):
    small = [word for key in ("embedding_dim=8", "num_layers=1", "conv_channels=2") for word in ("--set", key)]
    study = ("--study", tmp_path / "study.journal", "--only", "--param", "dropout=0.1:0.3")
    result = run("tune", "--data-path", folder, "--trials", "2", "--epochs", "1", *study, *small)
    assert result.exit_code == 0, result.stderr
    for words in ("tiny: 60 facts", "model: ", "W&B not configured", "trial 0: ", "trial 1: "):
        assert result.stderr.count(words) == 1, words
    # Of a slow machine, lines about steps stand between, which begin with the epoch too.
    assert result.stderr.count("epoch 1/1  loss") == 2
