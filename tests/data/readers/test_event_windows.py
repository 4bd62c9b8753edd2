"""Which events are kept, and what their snapshots are: windows of days, granularities, thinning."""

import datetime as dt
import warnings

import numpy as np
import polars as pl
import pytest

from tests.data.readers.event_helpers import EPOCH, events, named, write
from tests.helpers import dataset
from tirgn_eqx.data import load_graph
from tirgn_eqx.data.graph import ReadReport
from tirgn_eqx.data.readers.events import ReadingOptions, read_events, thin
from tirgn_eqx.data.times import format_snapshot_time
from tirgn_eqx.errors import DataError, DataWarning

REAL = "gdelt_events_2018-01.parquet"


def test_num_days_counts_calendar_days_back_from_the_newest_event(tmp_path):
    table = pl.concat([events(5, per_day=3), events(5, per_day=3, start=dt.datetime(2018, 1, 20))])
    path = write(tmp_path, table)
    day = (dt.datetime(2018, 1, 24) - EPOCH).days
    assert read_events(path, ReadingOptions(num_days=3)).times.tolist() == [day - 2, day - 1, day]
    assert read_events(path, ReadingOptions(num_days=7)).num_snapshots == 5
    assert read_events(path, ReadingOptions(num_days=12)).times[0] == day - 11
    assert read_events(path).num_facts == read_events(path, ReadingOptions(num_days=0)).num_facts == 30


def test_granularity_floors_to_the_snapshot(tmp_path):
    start = dt.datetime(2018, 1, 9, 23, 44, 59, 999_999)
    step = dt.timedelta(minutes=5)
    table = events(12).with_columns(pl.Series("timestamp", [start + index * step for index in range(12)]))
    path = write(tmp_path, table)
    quarter = read_events(path, ReadingOptions(granularity="15min"))
    minute = int((dt.datetime(2018, 1, 9, 23, 30) - EPOCH).total_seconds()) // 60
    assert quarter.times.tolist() == [minute + 15 * index for index in range(5)]
    assert np.bincount(quarter.snapshot).tolist() == [1, 3, 3, 3, 2]
    with pytest.raises(DataError, match=r"at granularity hour: 2 distinct times.*finer granularity \(15min"):
        read_events(path, ReadingOptions(granularity="hour"))
    with pytest.raises(DataError, match=r"events.parquet at granularity day: 2 distinct times"):
        read_events(path)


def test_thinning_keeps_the_shape_over_days_and_hours():
    full = read_events(dataset(REAL), ReadingOptions(num_days=0, granularity="hour"))
    thinned = read_events(dataset(REAL), ReadingOptions(num_days=0, granularity="hour", max_events=50_000))
    assert thinned.num_facts == 50_000

    def per_hour(graph):
        return dict(zip(graph.times.tolist(), np.bincount(graph.snapshot).tolist()))

    before, after = per_hour(full), per_hour(thinned)
    scale = 50_000 / full.num_facts
    assert max(abs(after.get(hour, 0) - count * scale) for hour, count in before.items()) <= 2
    days: dict[int, list[float]] = {}
    for hour, count in before.items():
        total = days.setdefault(hour // 24, [0, 0])
        total[0] += count * scale
        total[1] += after.get(hour, 0)
    assert max(abs(expected - kept) for expected, kept in days.values()) < 1
    again = read_events(dataset(REAL), ReadingOptions(num_days=0, granularity="hour", max_events=50_000))
    assert again.checksum == thinned.checksum
    assert set(named(thinned)) <= set(named(full))


def test_thinning_a_day_does_not_depend_on_other_days():
    rng = np.random.default_rng(0)
    facts = np.stack([rng.integers(0, high, 900) for high in (20, 5, 20, 3 * 86_400)], 1)
    other = facts.copy()
    other[facts[:, 3] >= 86_400, :3] += 1

    def first_day(rows):
        return sorted(map(tuple, rows[rows[:, 3] < 86_400].tolist()))

    assert first_day(thin(facts, 300)) == first_day(thin(other, 300))
    assert len(thin(facts, 1)) == 1 and len(thin(facts, 899)) == 899
    # Names that other days alone have move the places of all names among the sorted ones.
    spread = facts * [3, 2, 3, 1] + [1, 1, 1, 0]
    assert first_day(thin(spread, 300) // [3, 2, 3, 1]) == first_day(thin(facts, 300))


def test_thinning_does_not_depend_on_the_date():
    rng = np.random.default_rng(0)
    facts = np.stack([rng.integers(0, high, 900) for high in (20, 5, 20, 3 * 86_400)], 1)
    facts[:, 3] -= facts[:, 3] % 600  # many at the same time, among which chance decides
    later = facts + [0, 0, 0, 17_532 * 86_400]
    assert thin(later, 300).tolist() == (thin(facts, 300) + [0, 0, 0, 17_532 * 86_400]).tolist()
    # Days that hold the same number of other events do not keep the same places.
    twice = np.concatenate([facts[:300] % 86_400, facts[300:600] % 86_400 + [0, 0, 0, 86_400]])
    kept = thin(twice, 200)

    def place(day):
        return np.flatnonzero([row in kept.tolist() for row in day[np.lexsort(day.T[::-1])].tolist()])

    assert place(twice[:300]).tolist() != place(twice[300:]).tolist()


def test_max_events_above_the_count_keeps_all(tmp_path):
    path = write(tmp_path, events())
    assert [read_events(path, ReadingOptions(max_events=most)).num_facts for most in (10, 11)] == [10, 10]


# --- times, windows, ids ----------------------------------------------------------------------------------------------
def test_small_whole_numbers_are_steps(tmp_path):
    steps = pl.Series([5 * (index // 3) for index in range(60)])
    path = write(tmp_path, events(60).with_columns(timestamp=steps))
    graph = load_graph(path)
    assert graph.times.tolist() == list(range(0, 100, 5)) and graph.time_interval == 5
    assert graph.read is not None and graph.read.times == "step numbers, 0 to 95"
    assert format_snapshot_time(graph, 3) == 15 and load_graph(**graph.provenance).checksum == graph.checksum
    for options in ({"num_days": 3}, {"granularity": "hour"}):
        with pytest.warns(DataWarning, match=r"is ignored; its times are step numbers, each of which is a snapshot"):
            assert load_graph(path, **options).checksum == graph.checksum
    thinned = load_graph(path, max_events=40)
    assert thinned.num_facts == 40 and thinned.times.tolist() == graph.times.tolist()
    path = write(tmp_path, events(60).with_columns(timestamp=pl.Series([i // 30 for i in range(60)])))
    with pytest.raises(DataError, match=r"2 distinct times \(60 events, step number, 0 to 1\), .*; give more steps"):
        load_graph(path)


def spiked(days, counts):
    """Days from 2021-03-01, each with so many events."""
    moments = [
        dt.datetime(2021, 3, 1) + dt.timedelta(days=day, minutes=index % 1440)
        for day, count in zip(days, counts)
        for index in range(count)
    ]
    return events(len(moments)).with_columns(timestamp=pl.Series(moments, dtype=pl.Datetime("us")))


@pytest.mark.parametrize(
    ("days", "counts", "last", "stray"),
    [
        (range(10), [200] * 10, 9, 0),
        (range(10), [200] * 9 + [1], 9, 0),  # the day that has just begun
        ([*range(9), 4000], [200] * 9 + [1], 8, 1),
        ([*range(9), 4000, 4001], [200] * 9 + [1, 1], 8, 2),
        ([*range(9), 9, 4000], [200] * 9 + [1, 1], 9, 1),
        ([*range(9), 10], [200] * 9 + [1], 8, 1),  # after a day without events, where there is no such day before
        ([0, 1, 2, 5, 6, 7, 10], [200] * 6 + [1], 10, 0),  # after a weekend
        ([*range(9), 4000], [200] * 9 + [2], 4000, 0),  # 1 % of a usual day is no stray date
        ([0, 31, 61, 92, 122], [200] * 4 + [1], 122, 0),
    ],
)
def test_a_window_counts_back_from_the_last_day_that_is_one(tmp_path, days, counts, last, stray):
    path = write(tmp_path, spiked(days, counts))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if last == 4000:
            graph = read_events(path, ReadingOptions(num_days=0))
            with pytest.raises(DataError, match=WAY_OUT):
                read_events(path, ReadingOptions(num_days=5))
        else:
            graph = read_events(path, ReadingOptions(num_days=0 if days[-1] > 100 and days[1] > 1 else 8))
    shown = [str(warning.message) for warning in caught if "stray" in str(warning.message)]
    assert len(shown) == (stray > 0)
    if stray:
        assert f"events.parquet: {stray} of {sum(counts):,} events, 20" in shown[0]
        assert f"counts back from {dt.date(2021, 3, 1 + last)}, since later days lie apart" in shown[0]
        assert graph.read is not None and graph.read.outside == stray + 200 * (1 + last - 8)
    assert int(graph.times[-1]) - (dt.datetime(2021, 3, 1) - EPOCH).days == last


WAY_OUT = (
    r"granularity day: 1 distinct times \(2 events, datetime, 2032-02-12 00:00 to 2032-02-12 00:01\), but train.*; "
    r"1,800 of 1,802 events, which are of 2021-03-01 to 2032-02-12, lie outside the window: give more with --num-days"
)


def test_every_row_is_accounted_for(tmp_path):
    table = events(40, per_day=4)
    graph = load_graph(write(tmp_path, table), num_days=20, max_events=50)
    assert graph.read == ReadReport(
        lines=160, facts=50, outside=80, thinned=30, times="datetimes, 2018-01-09 to 2018-02-17"
    )
