"""Workers of one search as processes of their own, some of them killed: no trial is lost, done twice, or begun anew."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "cli"), os.environ.get("PYTHONPATH", "")])
SIM = "sim:num_entities=16,num_relations=3,num_days=12,facts_per_day=10"
SMALL = ("embedding_dim=8", "conv_channels=2", "max_buckets=1", "remat=none", "batch_size=0", "save_every=2")


def start(*words, cwd):
    environment = os.environ | {"PYTHONPATH": PATHS, "NO_COLOR": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([sys.executable, *map(str, words)], cwd=cwd, env=environment, text=True, **pipes)


def finished(study):
    """By number, how often the journal says that a trial was finished; and how many trials there are."""
    operations = [json.loads(line) for line in study.read_text().splitlines()]
    ends = [one["trial_id"] for one in operations if one["op_code"] == 6 and one["state"] in (1, 2, 3)]
    return Counter(ends), sum(one["op_code"] == 4 for one in operations)


def until(true, seconds=900):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@pytest.mark.ci
def test_two_workers_one_killed_and_started_again(tmp_path):
    study, trials = tmp_path / "study.journal", 8
    command = ("-m", "tests.tune.worker", study, trials, 0.15)
    first, second = start(*command, cwd=tmp_path), start(*command, cwd=tmp_path)

    def halfway():
        return sorted(tmp_path.glob("trial-*/played.txt"))

    until(lambda: len(halfway()) >= 2 and all(path.read_text().count("\n") >= 2 for path in halfway()[:2]))
    first.send_signal(signal.SIGKILL)
    first.communicate()
    third = start(*command, cwd=tmp_path)
    said = []
    for worker in (second, third):
        output, _ = worker.communicate(timeout=900)
        assert worker.returncode == 0, output
        said.append([json.loads(line) for line in output.splitlines()])
    ends, begun = finished(study)
    assert begun == trials and ends == Counter(range(trials))
    for number in range(trials):
        done = [int(line) for line in (tmp_path / f"trial-{number:04d}" / "played.txt").read_text().split()]
        # Never two at a time, never anew: at most the epoch that was not saved yet is there twice.
        assert done == sorted(done) and set(done) == set(range(1, done[-1] + 1)) and len(done) <= done[-1] + 1
    taken = [one["number"] for one in said[0] + said[1] if one["kind"] == "TrialRecord" and one["resumed"]]
    assert len(taken) == 1, "the trial of the killed worker was gone on with, by one of the others"
    assert sum(one["kind"] == "TrialEndRecord" for one in said[0] + said[1]) in (trials, trials - 1, trials - 2)
    assert (tmp_path / "best.toml").exists()


def tirgn(place, *words):
    sets = [word for one in SMALL for word in ("--set", one)]
    return start("-m", "tirgn_cli", *words, "--data-path", SIM, "--epochs", 4, "--eval-interval", 1, *sets, cwd=place)


@pytest.mark.slow
def test_real_trainings_with_a_kill_in_the_middle_of_a_trial(tmp_path):
    tune = ("tune", "--trials", 5, "--startup", 2, "--param", "history_len=1:2", "--param", "num_layers=1,2", "--json")
    study = tmp_path / "tuning" / "study.journal"
    first, second = tirgn(tmp_path, *tune), tirgn(tmp_path, *tune)
    until(lambda: len(list(tmp_path.glob("tuning/trial-*/tirgn_state.npz"))) >= 2)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    third = tirgn(tmp_path, *tune)
    for worker in (second, third):
        output, _ = worker.communicate(timeout=900)
        assert worker.returncode == 0, output
        found = json.loads(output.splitlines()[-1])
        assert found["status"] == "complete" and len(found["trials"]) == 5
    ends, begun = finished(study)
    assert begun == 5 and ends == Counter(range(5))
    assert [row["number"] for row in found["trials"] if row.get("resumed")] != []
    for row in found["trials"]:
        path = tmp_path / "tuning" / f"trial-{row['number']:04d}" / "logs" / "metrics.jsonl"
        epochs = [line for line in path.read_text().splitlines() if "train/loss" in line]
        assert len(epochs) == row["epochs_trained"], "an epoch was lost or logged twice"
    trained = tirgn(tmp_path, "train", "--config", found["best"]["config"], "--model-dir", "models", "--json")
    output, _ = trained.communicate(timeout=900)
    assert trained.returncode == 0, output
    result = json.loads(output.splitlines()[-1])
    assert result["best_mrr"] == pytest.approx(found["best"]["mrr"], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_command_goes_on(tmp_path, number):
    tune = ("tune", "--trials", 2, "--param", "history_len=1:2", "--param", "num_layers=1,2", "--quiet", "--json")
    first = tirgn(tmp_path, *tune)
    until(lambda: list(tmp_path.glob("tuning/trial-*/tirgn_state.npz")))
    first.send_signal(number)
    output, _ = first.communicate(timeout=900)
    assert first.returncode == 128 + number, output
    again = tirgn(tmp_path, *tune)
    output, _ = again.communicate(timeout=900)
    assert again.returncode == 0, output
    found = json.loads(output.splitlines()[-1])
    assert found["counts"]["running"] == 0 and found["trials"][0]["resumed"] == 1
