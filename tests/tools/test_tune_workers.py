"""What a journal and the logs of trials must say after workers were killed."""

import json

from tools.chaos.tune_workers import faults_of, operations, unfinished


def write_study(folder, *lines, cut=""):
    study = folder / "study.journal"
    study.write_text("".join(json.dumps(line) + "\n" for line in lines) + cut)
    return study


def begin():
    return {"op_code": 4}


def end(trial, state=1):
    return {"op_code": 6, "trial_id": trial, "state": state}


def write_log(folder, number, epochs):
    logs = folder / f"trial-{number:04d}" / "logs"
    logs.mkdir(parents=True)
    (logs / "metrics.jsonl").write_text('{"train/loss": 1.0}\n' * epochs)


def test_a_line_that_is_being_written_does_not_count(tmp_path):
    study = write_study(tmp_path, begin(), begin(), end(0), cut='{"op_code": 6, "tri')
    assert len(operations(study)) == 3 and unfinished(study) == {1}
    assert operations(tmp_path / "nowhere") == []


def test_sound_trials_have_no_faults(tmp_path):
    study = write_study(tmp_path, begin(), begin(), end(0), end(1, 2))
    for number in range(2):
        write_log(tmp_path, number, 3)
    rows = [{"number": 0, "epochs_trained": 3}, {"number": 1, "epochs_trained": 3, "resumed": 1}]
    assert faults_of(study, {"trials": rows}, 2, {1: 1}) == []


def test_every_kind_of_fault_is_named(tmp_path):
    study = write_study(tmp_path, begin(), end(0), end(0), end(2))
    write_log(tmp_path, 0, 2)
    rows = [{"number": 0, "epochs_trained": 3, "resumed": 0}]
    assert faults_of(study, {"trials": rows}, 2, {0: 1}) == [
        "trial 0 was finished 2 times",
        "trial 1 was finished 0 times",
        "trial 2 is too many",
        "trial 0 logged 2 epochs of 3",
        "trial 0 was lost 1 times and gone on with 0",
    ]
