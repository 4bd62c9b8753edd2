"""Training learns most of what can be learnt, measured against the simulated world's best-possible score."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import dataset
from tirgn_eqx import load_graph, preset, simulate, train_tirgn


def train(tmp_path, *options):
    """`tirgn train` as a user runs it: optimised programs, a process of its own; returns its result."""
    root = Path(__file__).parents[1]
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    env["PYTHONPATH"] = os.pathsep.join([str(root), str(root / "cli")])
    places = ["--model-dir", str(tmp_path / "models"), "--logdir", str(tmp_path / "logs"), "--json"]
    command = [sys.executable, "-m", "tirgn_cli", "train", *options, *places]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_small_world_is_mostly_learnt(tmp_path):
    # A sixth of the default world's facts: less can be learnt from them, so less is asked than there.
    size = {"num_entities": 40, "num_relations": 8, "num_days": 80, "facts_per_day": 60}
    path = "sim:" + ",".join(f"{name}={value}" for name, value in size.items())
    small = ("--embedding-dim", "32", "--lr", "0.004", "--epochs", "6", "--eval-interval", "2")
    result = train(tmp_path, "--data-path", path, *small)
    best = simulate(**size).best_mrr("test")["mrr"]
    assert result["test"]["entity"]["mrr"] >= 0.8 * best, (result["test"]["entity"], best)


@pytest.mark.slow
def test_the_default_world_reaches_nine_tenths_of_the_best_possible(tmp_path):
    result = train(tmp_path)
    assert result["test"]["entity"]["mrr"] >= 0.9 * simulate().best_mrr("test")["mrr"]


@pytest.mark.slow
def test_an_icews14s_epoch_lowers_the_loss(tmp_path):
    graph = load_graph(dataset("ICEWS14s"))
    config = preset("icews14s").replace(epochs=1, logdir=str(tmp_path / "logs"))
    result = train_tirgn(graph, config, model_dir=tmp_path)
    # A guess that knows only how often each entity answers gets an MRR of about 0.03.
    assert result["validation"]["entity"]["mrr"] > 0.2
