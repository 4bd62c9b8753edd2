"""What is read from the files of a training: whole, broken, going on."""

import dataclasses
import json
import shutil

import pytest

from tirgn_eqx.checkpoint.run_folder import TRAIN_LOCK
from tirgn_eqx.config import config_from_dict
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.report import read_run
from tirgn_eqx.report.runs import read_curves
from tirgn_eqx.storage.files import alone, locked

pytestmark = pytest.mark.ci


def test_a_training_is_read_from_its_folder(trainings):
    run = read_run(trainings / "plain")
    assert run.name == "plain" and not run.missing and not run.active
    assert run.epochs == 2 and run.best_epoch in (1, 2)
    assert [epoch for epoch, _ in run.curves["train/loss"].points] == [1, 2]
    assert [epoch for epoch, _ in run.curves["eval/mrr"].points] == [1, 2]
    best = dict(run.curves["eval/mrr"].points)[run.best_epoch]
    assert best == pytest.approx(run.metrics["validation"]["mrr"])
    assert run.curves["system/total_params"].points[0][1] > 100
    assert run.progress["seconds"] > 0 and run.progress["epoch"] == 3


def test_a_checkpoint_is_named_and_read_as_well(trainings):
    run = read_run(trainings / "plain" / "tirgn_trained.npz")
    assert run.name == "tirgn_trained" and len(run.curves["train/loss"]) == 2


def test_the_last_of_several_runs_in_one_log_is_read(tmp_path):
    path, missing = tmp_path / "metrics.jsonl", []
    lines = [{"step": 0, "system/total_params": 5}, {"step": 3, "train/loss": 9.0}]
    lines += [{"step": 0, "system/total_params": 7}, {"step": 4, "train/loss": 2.0}, {"step": 4, "eval/mrr": None}]
    text = "\n".join(map(json.dumps, lines)) + '\n{"step": 8, "train/lo'
    path.write_text(text + "\n[1]\n")
    curves = read_curves(path, missing)
    assert curves["train/loss"].points == ((1, 2.0),) and curves["eval/mrr"].points == ((1, None),)
    assert curves["system/total_params"].points == ((0, 7),)
    assert missing == ["2 lines of metrics.jsonl could not be read"]


def test_what_is_not_there_is_said(trainings, tmp_path):
    shutil.copy(trainings / "plain" / "tirgn_best.npz", tmp_path / "tirgn_best.npz")
    shutil.copy(trainings / "plain" / "tirgn_best.json", tmp_path / "tirgn_best.json")
    text = (trainings / "logs" / "plain" / "config.json").read_text()
    (trainings / "logs" / "plain" / "config.json").write_text(text.replace('"seed": 0', '"seed": 1'))
    try:
        run = read_run(tmp_path)
    finally:
        (trainings / "logs" / "plain" / "config.json").write_text(text)
    assert run.missing == ("no metrics.jsonl was found, so there are no learning curves",)
    assert run.curves == {} and run.progress == {} and run.epochs == run.best_epoch
    (tmp_path / "tirgn_state.json").write_text("{")
    assert "tirgn_state.json could not be read" in read_run(tmp_path).missing


def test_a_training_that_goes_on_is_told(trainings):
    lock = trainings / "plain" / TRAIN_LOCK
    with alone(lock, AssertionError()):
        run = read_run(trainings / "plain")
        assert run.active and "still going on" in run.missing[0]
    assert not locked(lock) and not read_run(trainings / "plain").active


def test_a_folder_without_a_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="holds no tirgn_best.npz; give a checkpoint, or the --model-dir"):
        read_run(tmp_path)


def test_a_training_that_was_stopped_before_its_first_checkpoint(trainings, tmp_path):
    shutil.copy(trainings / "plain" / "tirgn_state.json", tmp_path / "tirgn_state.json")
    run = read_run(tmp_path)
    assert run.checkpoint is None and run.missing[0] == "there is no checkpoint yet, so nothing was evaluated"
    assert run.config["embedding_dim"] == 8 and len(run.curves["train/loss"]) == 2
    (tmp_path / "tirgn_state.json").rename(tmp_path / "gone")
    (tmp_path / "config.toml").write_text(config_from_dict(run.config).to_toml())
    settings_alone = read_run(tmp_path)
    assert settings_alone.config["embedding_dim"] == 8 and settings_alone.ended is None


def test_another_checkpoint_stands_in_for_a_broken_best_one(trainings, tmp_path):
    for path in (trainings / "plain").iterdir():
        shutil.copy(path, tmp_path / path.name)
    (tmp_path / "tirgn_best.npz").write_bytes(b"PK")
    run = read_run(tmp_path)
    assert run.checkpoint == tmp_path / "tirgn_trained.npz"
    assert "tirgn_best.npz" in run.missing[0] and "tirgn_trained.npz stands in for it" in run.missing[1]


@pytest.mark.parametrize(
    ("changes", "progress", "told"),
    [
        ({}, {"epoch": 3, "best_epoch": 1}, "all 2 epochs"),
        ({"epochs": 9}, {"epoch": 3, "best_epoch": 2}, "broken off in epoch 3 of 9; --resume goes on"),
        (
            {"epochs": 9, "patience": 1},
            {"epoch": 3, "best_epoch": 1},
            "stopped early after epoch 2: none was better in 1 more",
        ),
        ({}, {}, None),
    ],
)
def test_how_a_training_ended(runs, changes, progress, told):
    run = dataclasses.replace(
        runs[0], described=runs[0].described | {"config": runs[0].config | changes}, progress=progress
    )
    assert run.ended == told


def test_a_training_that_goes_on_with_other_ends_is_told_by_those(trainings, tmp_path):
    for name in ("tirgn_best.npz", "tirgn_best.json"):
        shutil.copy(trainings / "plain" / name, tmp_path / name)
    changed = {"epochs": 7, "patience": 0, "eval_interval": 2, "checkpoint_interval": 3}
    state, logged = trainings / "plain" / "tirgn_state.json", trainings / "logs" / "plain" / "config.json"
    found, before = json.loads(state.read_text()), logged.read_text()
    (tmp_path / "tirgn_state.json").write_text(json.dumps(found | {"config": found["config"] | changed}))
    try:
        logged.write_text(json.dumps(json.loads(before) | changed))
        run = read_run(tmp_path)
    finally:
        logged.write_text(before)
    assert run.ended == "broken off in epoch 3 of 7; --resume goes on"
    assert len(run.curves["train/loss"]) == 2 and not run.missing
