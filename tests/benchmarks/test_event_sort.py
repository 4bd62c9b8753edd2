"""The sorts that are compared: each gives all events of a made-up table in order."""

import polars as pl
import pytest

from benchmarks.event_sort import LIMIT, made_up, sort_duckdb, sort_ours
from tirgn_eqx.ingest.gdelt_rows import GDELT
from tirgn_eqx.ingest.options import IngestOptions


def test_made_up_events_have_the_columns_of_a_table_and_no_order():
    frame = made_up(300, seed=1)
    assert dict(frame.schema) == GDELT.schema(IngestOptions()) and frame["GlobalEventID"].n_unique() == 300
    assert not frame["GlobalEventID"].is_sorted() and not frame["timestamp"].is_sorted()
    assert frame.equals(made_up(300, seed=1)) and not frame.equals(made_up(300, seed=2))


@pytest.mark.parametrize("limit", ["ours", None, LIMIT])
def test_every_sort_gives_all_events_in_order(tmp_path, limit):
    if limit != "ours":
        pytest.importorskip("duckdb", reason="is compared with, and is no dependency")
    events, out = tmp_path / "events.parquet", tmp_path / "out" / "sorted.parquet"
    out.parent.mkdir()
    made_up(2000, seed=0).write_parquet(events)
    sort_ours(events, out) if limit == "ours" else sort_duckdb(events, out, limit)
    assert pl.read_parquet(out).equals(pl.read_parquet(events).sort(GDELT.sort_key))
