"""Sorting on the disk."""

import datetime as dt

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tirgn_eqx.ingest.gdelt_rows import GDELT
from tirgn_eqx.ingest.options import IngestOptions
from tirgn_eqx.ingest.sort import SortedRun, Sorter, merge


def events(keys: list[tuple[int, int]]) -> pl.DataFrame:
    columns = dict.fromkeys(GDELT.schema(IngestOptions()), None) | {
        "timestamp": [dt.datetime(2020, 1, 1) + dt.timedelta(minutes=time) for time, _ in keys],
        "GlobalEventID": [number for _, number in keys],
    }
    return pl.DataFrame(columns, schema=GDELT.schema(IngestOptions()))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 99)), max_size=9), max_size=6))
def test_runs_merge_into_one_order(lists):
    runs = [iter([events(sorted(some)).slice(begin, 2) for begin in range(0, len(some), 2)]) for some in lists]
    merged = pl.concat([events([]), *merge(runs, GDELT.sort_key)])
    expected = events(sorted(key for some in lists for key in some))
    assert merged.select("timestamp", "GlobalEventID").equals(expected.select("timestamp", "GlobalEventID"))


def test_many_runs_are_merged_in_stages_and_nothing_stays_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tirgn_eqx.ingest.sort.MAX_RUNS", 3)
    monkeypatch.setattr("tirgn_eqx.ingest.sort.BLOCK_ROWS", 2)
    numbers = np.random.default_rng(0).permutation(60).tolist()
    sorter = Sorter(tmp_path, GDELT.sort_key, rows=5)
    for begin in range(0, 60, 4):
        sorter.add(events([(number // 10, number) for number in numbers[begin : begin + 4]]))
    assert pl.concat(sorter.merged())["GlobalEventID"].to_list() == list(range(60))
    assert len(list(tmp_path.iterdir())) <= 3


def test_a_run_gives_back_what_was_written(tmp_path):
    run, frame = SortedRun(tmp_path / "run"), events([(0, 1), (0, 2), (1, 0)])
    run.write([frame, frame.clear(), frame])
    assert pl.concat(run.blocks()).equals(pl.concat([frame, frame]))
