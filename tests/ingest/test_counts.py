"""Counts of an ingest: late events, repeated facts, gaps in time, and malformed lines."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ingest.ingest_helpers import ROWS, ingest, rejects, write
from tests.ingest.raw_rows import raw
from tirgn_eqx.errors import DataError
from tirgn_eqx.ingest.clean import Events
from tirgn_eqx.ingest.counts import RowCounts, TableCounts, find_gaps, merge_ranges
from tirgn_eqx.ingest.gdelt_rows import GDELT
from tirgn_eqx.ingest.options import IngestOptions

BEGIN = dt.datetime(2020, 1, 1)
SCHEMA = GDELT.schema(IngestOptions())


@pytest.mark.parametrize(
    ("days", "name"),
    [
        *((-400, "early"), (-1, "early"), (0, None), (1, "1 day"), (2, "2 to 7 days"), (7, "2 to 7 days")),
        *((8, "8 to 31 days"), (31, "8 to 31 days"), (32, "32 to 365 days"), (365, "32 to 365 days"), (366, "more")),
    ],
)
def test_late_events_are_counted_by_how_late_they_are(days, name):
    counts = RowCounts()
    late = pl.Series([days, days, 5], dtype=pl.Int64)
    counts.add_events(Events(pl.DataFrame(), late, {}), np.array([True, False, False]))
    assert {key: count for key, count in counts.late.items() if count} == ({} if name is None else {name: 1})
    assert counts.rows["accepted"] == 1 and counts.rows["repeated_ids"] == 2


def events(*rows):
    """A frame of (GlobalEventID, entity1, entity2, hours after the beginning)."""
    named = {"relation": "010_Q1", "timestamp": BEGIN}
    frame = pl.DataFrame(
        [
            {"GlobalEventID": number, "entity1": one, "entity2": two} | named | {"hours": hours}
            for number, one, two, hours in rows
        ]
    )
    frame = frame.with_columns(timestamp=pl.col("timestamp") + pl.duration(hours="hours"))
    missing = [pl.lit(None, SCHEMA[name]).alias(name) for name in SCHEMA if name not in frame.columns]
    return frame.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


@pytest.mark.parametrize("cuts", [[], [1], [2], [1, 2, 3, 4, 5], [3, 5]])
@pytest.mark.parametrize("keep", [False, True])
def test_a_fact_is_found_repeated_however_its_time_is_cut(cuts, keep):
    """The same fact three times at one hour and once at the next."""
    whole = events(
        (1, "A", "B", 0), (2, "B", "A", 0), (5, "A", "B", 0), (7, "A", "B", 0), (3, "A", "B", 1), (4, "C", "C", 1)
    )
    bounds = [0, *cuts, len(whole)]
    frames = [whole[begin:end] for begin, end in zip(bounds, bounds[1:])]
    dropped = []
    count = TableCounts(keep, lambda events: dropped.extend(events["GlobalEventID"].to_list()))
    found = pl.concat(list(count(frames)))
    assert found["GlobalEventID"].to_list() == ([1, 2, 5, 7, 3, 4] if keep else [1, 2, 3, 4])
    assert dropped == ([] if keep else [5, 7])
    told = vars(count.summarize(6, ids_kept=1))
    assert told["forgotten_repeats"] == (0 if keep else 1)
    assert (told["events"], told["repeated_facts"], told["self_loops"]) == (6 if keep else 4, 2, 1)
    assert (told["actors"], told["relations"]) == (3, 1)
    assert (told["first"], told["last"]) == ("2020-01-01 00:00:00", "2020-01-01 01:00:00")


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_ranges_are_sets_of_numbers(before, now):
    ranges = merge_ranges(merge_ranges([], before), now)
    assert [number for first, last in ranges for number in range(first, last + 1)] == sorted(before | now)
    whole = before | now
    gaps = set(range(min(whole, default=0), max(whole, default=-1) + 1)) - whole
    assert find_gaps(ranges, 900).count == len(gaps)


QUOTED = b"".join(b'"' + line.replace(b"\t", b'"\t"') + b'"\n' for line in ROWS.splitlines())
ROUNDED = ROWS.replace(b"20200101001500", b"2.0200E+13")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            QUOTED,
            "GlobalEventID '\"1000\"' (RAW:1); GDELT puts nothing in quotes: write the file again without them",
        ),
        (ROUNDED, "DATEADDED '2.0200E+13' (RAW:1); a spreadsheet has rounded it: take the file as it was published"),
        (ROWS.replace(b"\t1\t0211", b"\t7\t0211"), "IsRootEvent '7' (RAW:1)"),
    ],
)
def test_the_commonest_reason_and_the_rejects_file_are_named(tmp_path, data, words):
    path, out = write(tmp_path, data, "a.csv"), tmp_path / "events.parquet"
    with pytest.raises(DataError) as caught:
        ingest([path], out)
    rejected = out.with_suffix(".rejects.tsv")
    words = f"{out}: no events to write; 40 of 40 lines malformed, most: {words.replace('RAW', str(path))}"
    assert str(caught.value) == f"{words}; see {rejected}"
    assert len(rejects(out)) == 40 and not out.exists()
    # Beside others, it is the commonest reason that counts, not the first one.
    write(tmp_path, b"bad\n" + raw(1), "0.csv")
    malformed = ingest([tmp_path / "0.csv", path], out)["malformed"]
    assert malformed["first"][0]["reason"].startswith("1 columns") and malformed["file"] == str(rejected)
    assert malformed["most"]["file"] == str(path) and malformed["most"]["count"] == 40
    assert malformed["most"] == {"file": str(path), "line": 1, "reason": malformed["first"][1]["reason"], "count": 40}
