"""`tirgn data map`, and the commands that take what it makes."""

import json

import pytest

from tests.cli.called import SMALL
from tirgn_eqx.data import load_graph


def test_mapped_data_are_the_data(run, folder, tmp_path):
    out = tmp_path / "mapped"
    made = run("data", "map", folder, "--out", out, "--history", "--memory-mb", 64, "--json")
    assert made.exit_code == 0, made.stderr
    told = json.loads(made.stdout)
    assert told["folder"] == str(out) and told["facts"] == 60 and told["bytes"] > 17 * 60
    assert told["history"]["pairs"] > 0 and len(list(out.glob("history-*"))) == 1
    assert told["sha256"] == load_graph(folder).checksum
    plain, mapped = (run("data", "stats", path, "--json") for path in (folder, out))
    assert json.loads(plain.stdout) == json.loads(mapped.stdout)
    again = run("data", "map", folder, "--out", out, "--name", "other")
    assert again.exit_code == 0 and "other" in again.stdout and "60" in again.stdout and told["sha256"] in again.stdout
    assert run("data", "map", "sim", "--num-days", 12, "--out", out, "--json").exit_code == 0
    assert load_graph(out).num_snapshots == 12


@pytest.mark.ci
def test_training_on_mapped_data_is_training_on_the_data(run, folder, tmp_path):
    run("data", "map", folder, "--out", tmp_path / "mapped", "--name", "tiny")
    losses = []
    for path in (folder, tmp_path / "mapped"):
        where = ("--model-dir", tmp_path / "models" / path.name, "--logdir", tmp_path / "runs" / path.name)
        done = run("train", "--data-path", path, "--epochs", 1, *SMALL, *where, "--json")
        assert done.exit_code == 0, done.stderr
        losses.append(json.loads(done.stdout)["best"] if "best" in json.loads(done.stdout) else done.stdout)
        best = tmp_path / "models" / path.name / "tirgn_best.npz"
        tested = run("eval", best, "--json")
        assert tested.exit_code == 0, tested.stderr
        losses.append(json.loads(tested.stdout)["entity"])
    assert losses[1] == losses[3]
