"""The benchmark of sums into few targets: every form gives the sums, and the script for GPUs runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import summary
from benchmarks.scatter import SHAPES, measure


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_form_gives_the_sums(shape):
    row = measure(shape._replace(items=40, width=min(shape.width, 2)), "float32", repeats=1, seed=0)
    assert set(row["exact"]) == set(row["seconds"]) >= {"scatter", "scan", "product"}
    assert all(row["exact"].values())


@pytest.mark.slow
def test_the_script_for_gpus_runs_it(tmp_path):
    words = [sys.executable, "-m", "benchmarks.gpu", "--quick", "--seconds", "200", "--parts", "scatter"]
    root = Path(__file__).parents[2]
    done = subprocess.run([*words, "--out", str(tmp_path)], cwd=root, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    part = json.loads(done.stdout.splitlines()[-1])["result"]["parts"]["scatter forms"]
    assert part["status"] == "done" and part["result"]["complete"]
    assert len(part["result"]["shapes"]) == 2 * len(SHAPES)
    assert "times what the faster other form takes" in summary(part)
