"""What is read from the files of a training: whole, broken, going on."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from tirgn_eqx.checkpoint.files import load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.run_folder import TRAIN_LOCK
from tirgn_eqx.config import MixtureTrainingConfig, TiRGNTrainingConfig, config_from_dict
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.report import read_run
from tirgn_eqx.report.documents import ProgressSummary, TrainingStateSummary
from tirgn_eqx.report.runs import _find_logs, distinct_names, read_curves
from tirgn_eqx.storage.locks import exclusive_lock, is_locked

pytestmark = pytest.mark.ci


def test_a_training_is_read_from_its_folder(trainings):
    run = read_run(trainings / "plain")
    assert run.name == "plain" and not run.missing and not run.active
    assert run.epochs == 2 and run.best_epoch in (1, 2)
    assert [epoch for epoch, _ in run.curves["train/loss"]] == [1, 2]
    assert [epoch for epoch, _ in run.curves["eval/mrr"]] == [1, 2]
    best = dict(run.curves["eval/mrr"])[run.best_epoch]
    assert best == pytest.approx(run.metadata.metrics.validation.mrr)
    assert run.curves["system/total_params"][0][1] == run.parameters > 100
    assert run.state.progress.seconds > 0 and run.state.progress.epoch == 3


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
    assert curves["train/loss"] == ((1, 2.0),) and curves["eval/mrr"] == ((1, None),)
    assert curves["system/total_params"] == ((0, 7),)
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
    assert run.curves == {} and run.state is None and run.epochs == run.best_epoch
    for content, wrong in [
        ("{", "Invalid JSON: EOF while parsing an object at line 1 column 1"),
        ("{}", "progress: is missing"),
        ('{"progress": {"epoch": "x"}}', "progress.epoch: should be a valid integer (found 'x')"),
    ]:
        (tmp_path / "tirgn_state.json").write_text(content)
        assert f"tirgn_state.json: {wrong}; how the training ended is not shown" in read_run(tmp_path).missing


def test_a_training_that_goes_on_is_told(trainings):
    lock = trainings / "plain" / TRAIN_LOCK
    with exclusive_lock(lock, AssertionError()):
        run = read_run(trainings / "plain")
        assert run.active and "still running" in run.missing[0]
    assert not is_locked(lock) and not read_run(trainings / "plain").active


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
    assert settings_alone.config["embedding_dim"] == 8 and settings_alone.outcome is None


def test_another_checkpoint_stands_in_for_a_broken_best_one(trainings, tmp_path):
    for path in (trainings / "plain").iterdir():
        shutil.copy(path, tmp_path / path.name)
    (tmp_path / "tirgn_best.npz").write_bytes(b"PK")
    run = read_run(tmp_path)
    assert run.checkpoint == tmp_path / "tirgn_trained.npz"
    assert "tirgn_best.npz" in run.missing[0] and "tirgn_trained.npz is shown instead" in run.missing[1]


@pytest.mark.parametrize(
    ("changes", "progress", "told"),
    [
        ({}, {"epoch": 3, "best_epoch": 1}, "all 2 epochs"),
        ({"epochs": 9}, {"epoch": 3, "best_epoch": 2}, "interrupted in epoch 3 of 9; --resume continues it"),
        (
            {"epochs": 9, "patience": 1},
            {"epoch": 3, "best_epoch": 1},
            "stopped early after epoch 2: no improvement in 1 more",
        ),
        ({}, None, None),
    ],
)
def test_how_a_training_ended(runs, changes, progress, told):
    state = None if progress is None else TrainingStateSummary(progress=ProgressSummary(**progress))
    metadata = runs[0].metadata.model_copy(update={"config": runs[0].config | changes})
    run = dataclasses.replace(runs[0], metadata=metadata, state=state)
    assert run.outcome == told


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
    assert run.outcome == "interrupted in epoch 3 of 7; --resume continues it"
    assert len(run.curves["train/loss"]) == 2 and not run.missing


@pytest.mark.parametrize(("changes", "found"), [({"epochs": 9}, True), ({"learning_rate": 0.5}, False)])
def test_the_logs_of_a_mixture_are_found_after_a_resume_with_other_ends(tmp_path, changes, found):
    config = MixtureTrainingConfig.of(TiRGNTrainingConfig())
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "eval/mrr": 0.5}\n')
    later = config.replace(structure=config.structure.replace(**changes)).to_dict() | {"logdir": str(tmp_path)}
    assert (_find_logs(tmp_path, later) is not None) == found


def test_a_checkpoint_with_wrong_metadata_is_refused_in_one_line(trainings, tmp_path):
    found = load_checkpoint(trainings / "plain" / "tirgn_best.npz")
    wrong = found.metadata | {"metrics": {"epoch": "two"}}
    save_checkpoint(tmp_path / "tirgn_best.npz", found.arrays, wrong)
    message = r"tirgn_best\.npz: its metadata: metrics\.epoch: should be a valid integer .found 'two'.; use another"
    with pytest.raises(CheckpointError, match=message):
        read_run(tmp_path / "tirgn_best.npz")
    shutil.copy(trainings / "plain" / "tirgn_trained.npz", tmp_path / "tirgn_trained.npz")
    run = read_run(tmp_path)
    assert run.checkpoint == tmp_path / "tirgn_trained.npz" and "metrics.epoch" in run.missing[0]


def test_runs_of_one_name_are_told_apart(trainings):
    run = dataclasses.replace(read_run(trainings / "plain"), source=Path("models"))
    other = dataclasses.replace(run, source=Path("elsewhere"))
    assert distinct_names([run, dataclasses.replace(run, name="other")]) == ["plain", "other"]
    assert distinct_names([run, other]) == ["plain (models)", "plain (elsewhere)"]
    assert distinct_names([run, run]) == ["plain (models), 1", "plain (models), 2"]
