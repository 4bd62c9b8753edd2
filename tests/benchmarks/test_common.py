"""What all benchmarks share: what a result must carry, where it comes from, how time is taken."""

import json
import math

import numpy as np
import pytest

from benchmarks import common
from tests.benchmarks.script_helpers import ROOT


def test_a_result_without_its_origin_is_refused(tmp_path):
    with pytest.raises(ValueError, match="dataset, setting missing"):
        common.record("x", {"seed": 0}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_results_are_strict_json_and_whole(tmp_path):
    payload = {"dataset": {}, "setting": {}, "seed": 0, "result": {"nll": math.nan, "ranks": np.arange(2)}}
    common.record("x", payload, tmp_path)
    common.record("x", payload | {"seed": 1}, tmp_path)
    (file,) = tmp_path.iterdir()
    read = json.loads(file.read_text())
    assert (read["seed"], read["result"]) == (1, {"nll": None, "ranks": [0, 1]})


def test_a_command_names_no_place_of_this_machine():
    inside = str(ROOT / "benchmarks" / "step.py")
    words = ["python", inside, "--data-path", "/data/x/YAGO", "--set", "logdir=/tmp/z", "--run=../y/runs", "a b/c"]
    told = common.command_line(words)
    assert told == ("python benchmarks/step.py --data-path YAGO --set logdir=z --run=runs 'a b/c'")
    assert common.command_line(["--command", "tirgn train --data-path /data/YAGO"]).endswith("YAGO'")


@pytest.mark.parametrize(
    "path,preset",
    [
        ("data/ICEWS14s", "icews14s"),
        ("ICEWS14", "icews14"),
        ("ICEWS05-15", "icews05-15"),
        ("GDELT-resplit", "gdelt"),
        ("gdelt_events_2018-01.parquet", "gdelt-events"),
        ("sim", None),
        ("elsewhere", None),
    ],
)
def test_the_preset_follows_from_the_name(path, preset):
    assert common.preset_for(path) == preset


def test_timed_waits_and_orders_its_samples():
    calls = []
    seconds = common.timed(lambda: calls.append(0), repeats=3, warmup=2)
    assert seconds["min"] <= seconds["median"] <= seconds["max"]
    assert len(calls) == 2 + 1 + 3 * seconds["calls"]
