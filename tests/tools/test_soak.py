"""A soak as a whole, and what it says of growth."""

import pytest

from tests.benchmarks.script_helpers import run
from tools.chaos.soak import disk, growth, left


@pytest.mark.slow
def test_a_week_of_the_soak_loses_nothing():
    result = run("tools.chaos.soak", "--quick")["result"]
    assert result["nothing_lost"] and result["cycles"] == 1 and sum(result["kills"].values()) >= 1
    assert set(result["each"][0]["steps"]) == {"collect", "ingest", "retrain", "predict"}
    assert result["facts_served"] > 0 and result["reads_of_the_checkpoint"] > 0
    assert {"table", "logs", "raw files", "checkpoints", "temporary"} <= set(result["growth"]["disk"])


def test_growth_is_told_per_cycle_also_of_the_second_half():
    found = growth([10, 20, 30, 30, 30, 30])
    assert (found["first"], found["last"], found["most"], found["per_cycle_second_half"]) == (10, 30, 30, 0)
    assert found["per_cycle"] == pytest.approx(3.714, abs=1e-3) and growth([5])["per_cycle"] is None


def test_files_are_counted_by_kind(tmp_path):
    for name in (
        "events.parquet",
        ".events.parquet.lock",
        "models/a.npz",
        "raw/x.export.CSV.zip",
        "a.npz.1.tmp",
        "odd",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(10))
    sizes = disk(tmp_path)
    counted = ("table", "locks", "checkpoints", "raw files", "temporary", "other")
    assert {kind for kind, size in sizes.items() if size} == set(counted) and all(sizes[kind] == 10 for kind in counted)
    assert left(tmp_path) == {"temporary": 1, "locks": 1, "raw": 1, "files": 6}
