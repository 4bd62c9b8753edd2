"""The scripts that a person would start from run as they stand, in little."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def child(place, name, *words):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(EXAMPLES / name), *words]
    return subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, timeout=300)


def run(place, name, *words):
    done = child(place, name, *words)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.ci
def test_train_and_forecast(tmp_path):
    said = run(tmp_path, "train.py", "--data", "sim:num_days=20", "--epochs", "2")
    mrr = float(re.search(r"test MRR (0\.\d+)", said)[1])
    assert 0.1 < mrr < 1 and "epoch   2  MRR" in said
    said = run(tmp_path, "forecast.py", "models/example/tirgn_best.npz", "--top", "3")
    shares = [float(share) for share in re.findall(r"^ *([\d.]+)%", said, re.MULTILINE)]
    assert len(shares) == 3 and shares == sorted(shares, reverse=True) and "from history" in said
    failed = child(tmp_path, "forecast.py", "none.npz")
    assert failed.returncode == 1 and failed.stderr.startswith("error: none.npz: does not exist")


@pytest.mark.ci
def test_a_model_of_ones_own_learns(tmp_path):
    said = run(tmp_path, "own_model.py", "--epochs", "3", "--days", "30")
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", said)]
    assert len(losses) == 3 and losses[2] < losses[1] < losses[0]
    assert float(said.split()[-1]) > 0.08  # chance is 0.05


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_they_stay_short(path):
    assert len(path.read_text().splitlines()) <= 90
