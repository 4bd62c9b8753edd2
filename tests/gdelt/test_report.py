"""What an ingest counts, by hand: how late events became known, and facts that are repeated."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from tirgn_eqx.gdelt.clean import SCHEMA, Events
from tirgn_eqx.gdelt.report import Counts, TableCounts

BEGIN = dt.datetime(2020, 1, 1)


@pytest.mark.parametrize(
    ("days", "name"),
    [
        *((-400, "early"), (-1, "early"), (0, None), (1, "1 day"), (2, "2 to 7 days"), (7, "2 to 7 days")),
        *((8, "8 to 31 days"), (31, "8 to 31 days"), (32, "32 to 365 days"), (365, "32 to 365 days"), (366, "more")),
    ],
)
def test_late_events_are_counted_by_how_late_they_are(days, name):
    counts = Counts()
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
    count = TableCounts(keep)
    found = pl.concat(list(count(frames)))
    assert found["GlobalEventID"].to_list() == ([1, 2, 5, 7, 3, 4] if keep else [1, 2, 3, 4])
    told = count.to_dict(6)
    assert (told["events"], told["repeated_facts"], told["self_loops"]) == (6 if keep else 4, 2, 1)
    assert (told["actors"], told["relations"]) == (3, 1)
    assert (told["first"], told["last"]) == ("2020-01-01 00:00:00", "2020-01-01 01:00:00")
