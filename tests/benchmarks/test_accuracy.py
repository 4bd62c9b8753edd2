"""Trainings that are recorded with their figures, also as far as they came."""

import argparse
import json
from pathlib import Path

import pytest

from benchmarks import accuracy, common
from tests.benchmarks.script_helpers import TINY_SIM, check_provenance, run


def write_run(place: Path):
    """The logs of a training of two epochs after one that was broken off, the last line cut."""
    place.mkdir()
    figures = {f"eval/{name}": 0.5 for name in ("hits_at_1", "hits_at_3", "hits_at_10", "nll")}
    epoch = {"train/loss": 2.0, "train/loss_entity": 1.0, "system/epoch_duration_s": 4.0}
    start = {"step": 0, "system/total_params": 7}
    lines = [{**start, "time": 1.0}, {"step": 3, "time": 5.0, **epoch}, {**start, "time": 10.0}]
    for number, mrr in ((1, 0.25), (2, 0.125)):
        lines.append({"step": 3 * number, "time": 10.0 + 5 * number, **epoch})
        lines.append({"step": 3 * number, "time": 11.0 + 5 * number, "eval/mrr": mrr, **figures})
    text = "\n".join(json.dumps(line) for line in lines) + '\n{"step": 9, "ti'
    (place / "metrics.jsonl").write_text(text)
    (place / "config.json").write_text(json.dumps({"seed": 5, "embedding_dim": 8, "logdir": "somewhere"}))


def test_a_training_that_was_cut_off_is_recorded_as_far_as_it_came(tmp_path):
    write_run(tmp_path / "run")
    found = accuracy.payload(None, tmp_path / "run", "tirgn train", TINY_SIM)
    assert found["dataset"]["name"] == "sim" and found["seed"] == 5
    assert found["setting"] == {"seed": 5, "embedding_dim": 8}
    result = found["result"]
    assert (result["status"], result["epochs_trained"]) == ("unfinished", 2)
    assert (result["best_epoch"], result["best_mrr"]) == (1, 0.25)
    assert result["total_time"] == 11.0
    assert result["epoch_seconds"] == {"min": 4.0, "median": 4.0, "max": 4.0}
    first, second = found["learning_curve"]
    assert (first["epoch"], first["loss"], first["elapsed"]) == (1, 2.0, 6.0)
    assert second["validation"]["mrr"] == 0.125


def test_a_record_names_no_place_of_this_machine():
    stage = {"best_mrr": 0.5, "checkpoint": "/somewhere/tirgn_best.npz"}
    found = accuracy.without_places({"logdir": "/logs", "stages": {"evidence": stage}, "epochs": [1, 2]})
    assert found == {"stages": {"evidence": {"best_mrr": 0.5}}, "epochs": [1, 2]}


@pytest.mark.slow
def test_accuracy_trains_and_records(tmp_path):
    place = tmp_path / "run"
    options = ("--quick", "--data-path", TINY_SIM, "--run", place, "--results", tmp_path / "results")
    document = run("accuracy", *options, "--seed", 3, "--", "--epochs", "2")
    check_provenance(document)
    assert document["benchmark"] == "accuracy-sim-tirgn-seed3"
    result = document["result"]
    assert result["status"] == "complete" and result["epochs_trained"] == 2
    assert 0 < result["test"]["entity"]["mrr"] <= 1
    assert 0 < result["best_possible"]["mrr"] <= 1
    assert [row["epoch"] for row in document["learning_curve"]] == [1, 2]
    assert "--epochs 2" in document["training_command"]
    assert str(tmp_path) not in json.dumps(document)


@pytest.mark.parametrize(
    ("preset", "settings", "extra", "model_type"),
    [
        (None, [], [], "tirgn"),
        (None, [], ["--epochs", "3", "--model", "evidence"], "evidence"),
        ("evidence", [], ["--json"], "evidence"),
        (None, [], ["--model=regcn"], "regcn"),
        (None, ["family=regcn"], [], "regcn"),
        (None, [], ["--history", "evidence", "--set", "epochs=3"], "regcn-evidence"),
    ],
)
def test_a_quick_training_has_the_settings_of_its_family(preset, settings, extra, model_type):
    config = accuracy.chosen_config(preset, argparse.Namespace(config=None, set=settings), extra)
    assert config.model_type == model_type
    # `changed` refuses settings that the family does not have, as `tirgn train` does.
    quick = common.make_quick(config)
    parts = [quick.structure, quick.evidence] if model_type == "regcn-evidence" else [quick]
    assert {part.epochs for part in parts} == {common.QUICK_SETTINGS["epochs"]}
    assert {part.embedding_dim for part in parts} == {common.QUICK_SETTINGS["embedding_dim"]}


def test_quick_settings_leave_what_was_given():
    config = common.make_quick(accuracy.chosen_config(None, argparse.Namespace(config=None, set=[]), []), {"epochs": 7})
    assert (
        config.epochs != common.QUICK_SETTINGS["epochs"] and config.history_len == common.QUICK_SETTINGS["history_len"]
    )


def test_a_family_that_does_not_exist_ends_in_one_line():
    with pytest.raises(SystemExit, match="evidnce"):
        accuracy.chosen_config(None, argparse.Namespace(config=None, set=[]), ["--model", "evidnce"])


@pytest.mark.slow
def test_a_quick_training_of_the_evidence_model_runs(tmp_path):
    options = ("--quick", "--data-path", TINY_SIM, "--run", tmp_path / "run", "--results", tmp_path / "results")
    document = run("accuracy", *options, "--", "--model", "evidence", "--set", "evidence_background=false")
    assert document["result"]["model_type"] == "evidence" and document["setting"]["embedding_dim"] == 16
