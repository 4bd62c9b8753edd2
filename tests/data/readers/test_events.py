"""Event tables as graphs: ids, splits, forms of times, and what is refused."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.readers.event_helpers import EPOCH, YEAR_2000, events, named, write
from tests.helpers import dataset
from tirgn_eqx.data import read_folder
from tirgn_eqx.data.readers.events import ReadingOptions, read_events, split_by_snapshot
from tirgn_eqx.errors import ConfigError, DataError, DataWarning

REAL = "gdelt_events_2018-01.parquet"


@pytest.mark.parametrize(
    "options, facts, snapshots, interval",
    [
        ({"num_days": 0, "granularity": "15min"}, 375_006, (323, 40, 41), 15),
        ({"num_days": 0}, 375_006, (4, 1, 1), 1),
        ({"num_days": 3, "granularity": "15min"}, 238_765, (212, 26, 27), 15),
    ],
)
def test_real_events(options, facts, snapshots, interval):
    graph = read_events(dataset(REAL), ReadingOptions(**options))
    assert graph.name == "gdelt_events_2018-01"
    assert graph.num_facts == facts
    assert tuple(len(graph.split_snapshots(split)) for split in ("train", "valid", "test")) == snapshots
    assert graph.time_interval == interval
    newest = EPOCH + dt.timedelta(seconds=int(graph.times[-1]) * {15: 60, 1: 86_400}[interval])
    assert newest.date() == dt.date(2018, 1, 27)
    assert graph.entity_names is not None and graph.relation_names is not None
    assert set(graph.relation_names) >= {"010", "190"}
    assert all(type(name) is str for name in graph.entity_names)
    assert graph.num_entities == len(np.unique([graph.subject, graph.object])) == len(graph.entity_names)


def test_last_three_days_of_real_events_are_the_benchmark_of_the_same_days():
    graph = read_events(dataset(REAL), ReadingOptions(num_days=3, granularity="15min"))
    folder = read_folder(dataset("GDELT-resplit"))
    assert folder.entity_names is not None and folder.relation_names is not None
    np.testing.assert_array_equal(graph.times - graph.times[0], folder.times)
    np.testing.assert_array_equal(graph.split, folder.split)
    shift = int(graph.times[0])
    assert [(time - shift, *names) for time, *names in named(graph)] == named(folder)


def test_names_are_kept_and_ids_follow_first_appearance(tmp_path):
    table = pl.DataFrame(
        [("b", "r2", " A b ", 4), ("z", "r1", "c", 0), ("y", "r1", "c", 0), ("b", "r0", "a", 86_400)],
        schema=["entity1", "relation", "entity2", "timestamp"],
        orient="row",
    ).with_columns(pl.col("timestamp") * 3600 + YEAR_2000 + 1)
    graph = read_events(write(tmp_path, table), ReadingOptions(num_days=0, granularity="hour"))
    assert graph.entity_names == ("c", "y", "z", " A b ", "b", "a")
    assert graph.relation_names == ("r1", "r2", "r0")
    assert named(graph) == [
        (YEAR_2000 // 3600, "y", "r1", "c"),
        (YEAR_2000 // 3600, "z", "r1", "c"),
        (YEAR_2000 // 3600 + 4, "b", "r2", " A b "),
        (YEAR_2000 // 3600 + 86_400, "b", "r0", "a"),
    ]


def test_later_events_change_nothing_about_earlier_ids(tmp_path):
    table = events(20, per_day=5)
    later = table.with_columns(
        pl.when(pl.col("timestamp") >= dt.datetime(2018, 1, 20))
        .then(pl.lit("AAA ") + pl.col("entity1"))
        .otherwise("entity1")
        .alias("entity1")
    )
    one, other = (read_events(write(tmp_path, version), ReadingOptions(num_days=0)) for version in (table, later))
    before = one.snapshot < np.searchsorted(one.times, (dt.datetime(2018, 1, 20) - EPOCH).days)
    for column in ("subject", "relation", "object", "snapshot", "split"):
        np.testing.assert_array_equal(getattr(one, column)[before], getattr(other, column)[before])
    known = int(max(one.subject[before].max(), one.object[before].max())) + 1
    assert one.entity_names is not None and other.entity_names is not None
    assert other.entity_names[:known] == one.entity_names[:known]
    assert other.num_entities > one.num_entities


def test_row_order_does_not_matter(tmp_path):
    table = events(12, per_day=20)
    options = {"num_days": 0, "max_events": 100, "granularity": "hour"}
    one = read_events(write(tmp_path, table), ReadingOptions(**options))
    other = read_events(write(tmp_path, table.sample(fraction=1, shuffle=True, seed=1)), ReadingOptions(**options))
    assert one.checksum == other.checksum and named(one) == named(other)


def test_duplicate_events_count_twice_and_further_columns_are_ignored(tmp_path):
    table = events(10)
    path = write(tmp_path, pl.concat([table, table]).with_columns(goldstein=pl.lit(None, pl.Float64)))
    assert read_events(path).num_facts == 20


@pytest.mark.parametrize("total, sizes", [(3, (1, 1, 1)), (5, (3, 1, 1)), (9, (7, 1, 1)), (265, (212, 26, 27))])
def test_split_by_snapshot(total, sizes):
    split = split_by_snapshot(np.repeat(np.arange(total), 2), "facts")
    assert tuple(np.bincount(split) // 2) == sizes
    assert np.all(np.diff(split) >= 0)


START = dt.datetime(2018, 1, 9, 0, 20, 30)
MOMENTS = [START + dt.timedelta(days=index, hours=index) for index in range(12)]
FORMS = {
    "datetime ns": pl.Series(MOMENTS, dtype=pl.Datetime("ns")),
    "datetime ms": pl.Series(MOMENTS, dtype=pl.Datetime("ms")),
    "zone": pl.Series(MOMENTS, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"),
    "text": pl.Series([str(moment) for moment in MOMENTS]),
    "text padded": pl.Series([f" {moment} " for moment in MOMENTS]),
    "categories": pl.Series([str(moment) for moment in MOMENTS], dtype=pl.Categorical),
    "iso": pl.Series([moment.isoformat() + "Z" for moment in MOMENTS]),
    "offset": pl.Series([f"{moment + dt.timedelta(hours=2)}+02:00" for moment in MOMENTS]),
    "gdelt 2": pl.Series([int(f"{moment:%Y%m%d%H%M%S}") for moment in MOMENTS]),
    "gdelt 2 text": pl.Series([f"{moment:%Y%m%d%H%M%S}" for moment in MOMENTS]),
    "gdelt 2 float": pl.Series([float(f"{moment:%Y%m%d%H%M%S}") for moment in MOMENTS]),
    "unix": pl.Series([int((moment - EPOCH).total_seconds()) for moment in MOMENTS]),
    "unix 32 bit": pl.Series([int((moment - EPOCH).total_seconds()) for moment in MOMENTS], dtype=pl.UInt32),
    "unix text": pl.Series([str(int((moment - EPOCH).total_seconds())) for moment in MOMENTS]),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_timestamp_agree(tmp_path, form):
    table = events(12).with_columns(FORMS[form].alias("timestamp"))
    graph = read_events(write(tmp_path, table), ReadingOptions(granularity="hour"))
    assert graph.times.tolist() == [int((moment - EPOCH).total_seconds()) // 3600 for moment in MOMENTS]


@pytest.mark.parametrize(
    "days",
    [
        pl.Series([moment.date() for moment in MOMENTS]),
        pl.Series([int(f"{moment:%Y%m%d}") for moment in MOMENTS], dtype=pl.Int32),
        pl.Series([f"{moment:%Y%m%d}" for moment in MOMENTS]),
        pl.Series([f"{moment:%Y-%m-%d}" for moment in MOMENTS]),
    ],
)
def test_forms_of_date_agree(tmp_path, days):
    graph = read_events(write(tmp_path, events(12).with_columns(days.alias("timestamp"))))
    assert graph.times.tolist() == [(moment - EPOCH).days for moment in MOMENTS]


def test_times_before_1970_round_down(tmp_path):
    table = events(12, start=dt.datetime(1969, 12, 25, 23, 59, 59, 500_000))
    with pytest.warns(DataWarning, match="12 of 12 times, read as datetime, lie before 1979: 1969-12-25 to 1970-01-05"):
        graph = read_events(write(tmp_path, table))
    assert graph.times.tolist() == list(range(-7, 5))


def test_whole_numbers_as_names(tmp_path):
    table = events().with_columns(entity1=pl.int_range(10), relation=pl.lit(10), entity2=pl.int_range(10))
    graph = read_events(write(tmp_path, table))
    assert graph.entity_names == tuple("0123456789") and graph.relation_names == ("10",)


def change(column, row, value):
    def apply(table):
        values = table[column].to_list()
        values[row] = value
        return table.with_columns(pl.Series(column, values))

    return apply


def stamps(values):
    return lambda table: table.with_columns(pl.Series("timestamp", values))


BAD = {
    "columns": (
        lambda table: table.rename({"entity1": "who", "timestamp": "moment"}),
        "missing columns entity1, timestamp; found who, relation, entity2, moment; rename them, or say which they are "
        "with --columns entity1=NAME",
    ),
    "null name": (change("entity2", 3, None), "column entity2 has 1 null values, first in row 4"),
    "null time": (change("timestamp", 0, None), "column timestamp has 1 null values, first in row 1"),
    "all null": (
        lambda table: table.with_columns(relation=None),
        "column relation has 10 null values, first in row 1",
    ),
    "empty name": (change("entity1", 9, " \t"), "column entity1 has 1 empty values, first in row 10"),
    "name type": (
        lambda table: table.with_columns(entity1=pl.lit(1.5)),
        "column entity1 has type Float64 with values that are no whole numbers, first 1.5 in row 1",
    ),
    "text time": (
        stamps(["2018-01-09"] * 4 + ["soon"] * 6),
        "timestamp: 6 of 10 values are no ISO 8601 date, as the others are; first 'soon' in row 5",
    ),
    "digits in text": (stamps(["2018-01-09"] * 9 + ["20180109"]), "first '20180109' in row 10"),
    "no such day": (
        stamps([20180109] * 9 + [20180231]),
        "1 of 10 values is no YYYYMMDD, as the others are; first 20180231 in row 10; correct",
    ),
    "no such hour": (
        stamps([20180109000000] * 9 + [20180109250000]),
        "is no YYYYMMDDHHMMSS, as the others are; first 20180109250000 in row 10",
    ),
    "mixed": (
        stamps([20180109] * 9 + [20180109250000]),
        "is no YYYYMMDD, as the others are; first 20180109250000 in row 10",
    ),
    "milliseconds": (
        stamps([1_515_456_000_000] * 10),
        "1 distinct times (10 events, unix millisecond, 2018-01-09), but train",
    ),
    "fraction": (
        stamps([1.0] * 5 + [1.5] * 5),
        "5 of 10 values are no whole number",
    ),
    "not a number": (
        stamps([1.0] * 9 + [float("nan")]),
        "1 of 10 values is no step number, as the others are; first nan in row 10",
    ),
    "time type": (
        stamps([True] * 10),
        "column timestamp has type Boolean; expected dates, text like",
    ),
    "no rows": (lambda table: table.head(0), "no events in the file"),
    "one time": (
        stamps([0] * 10),
        "events.parquet: 1 distinct times (10 events, step number, 0), but train, valid and test need at least 3",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_table_is_one_clear_line(tmp_path, case):
    apply, message = BAD[case]
    path = write(tmp_path, apply(events()))
    with pytest.raises(DataError) as error:
        read_events(path)
    text = str(error.value)
    assert text.startswith(str(path)) and message in text
    assert "\n" not in text and len(text) < 400


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(DataError, match=r"none.parquet: file is missing; expected a table as parquet, CSV,"):
        read_events(tmp_path / "none.parquet")
    with pytest.raises(DataError, match="a folder without parts of a table"):
        read_events(tmp_path)
    for content in (b"", b"entity1,relation,entity2,timestamp\n", b"PAR1" + bytes(100) + b"PAR1"):
        (tmp_path / "bad.parquet").write_bytes(content)
        with pytest.raises(DataError, match=r"bad.parquet: not a readable parquet file \(") as error:
            read_events(tmp_path / "bad.parquet")
        assert "\n" not in str(error.value)
    whole = write(tmp_path, events()).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut.parquet: not a readable parquet file"):
        read_events(tmp_path / "cut.parquet")


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"granularity": "days"},
            r"granularity 'days' does not exist; did you mean 'day'\?; known: 15min, hour, day",
        ),
        ({"num_days": -1}, r"num_days = -1: must be at least 0"),
        ({"max_events": -5}, r"max_events = -5: must be at least 0"),
    ],
)
def test_bad_options(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        read_events(write(tmp_path, events()), ReadingOptions(**options))


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_ids_have_one_order_whatever_is_kept(data):
    """The order of two names is the same for every window, granularity and thinning, and no later event changes it."""
    count = data.draw(st.integers(20, 60))

    def draw(low, high):
        return data.draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    seconds = sorted(draw(0, 20 * 86_400))
    table = pl.DataFrame(
        {
            "entity1": [f"e{number}" for number in draw(0, 15)],
            "relation": [f"r{number}" for number in draw(0, 5)],
            "entity2": [f"e{number}" for number in draw(0, 15)],
            "timestamp": [YEAR_2000 + second for second in seconds],
        }
    )

    def ids(table, **options):
        try:
            graph = read_events(table, ReadingOptions(**options))
        except DataError:  # fewer than three snapshots
            return [[], []]
        return [list(graph.entity_names or ()), list(graph.relation_names or ())]

    def check(names, reference):
        for some, all in zip(names, reference):
            assert some == [name for name in all if name in set(some)]

    whole = [ids(table, num_days=0, granularity=step) for step in ("15min", "day")]
    reference = first_appearance(table)
    for names in whole:
        check(names, reference)
        assert not names[0] or names == reference
    for options in ({"num_days": 5}, {"num_days": 0, "max_events": 15}, {"num_days": 9, "max_events": 10}):
        check(ids(table, granularity="15min", **options), reference)
    cut = data.draw(st.integers(5, count - 1))
    later = table.with_row_index().with_columns(
        pl.when(pl.col("index") >= cut).then("new " + pl.col("entity1")).otherwise("entity1").alias("entity1")
    )
    known = len(first_appearance(table.head(cut))[0])
    moved = ids(later.filter(pl.col("timestamp") != table["timestamp"][cut - 1]), num_days=0, granularity="15min")
    if moved[0] and whole[0][0]:
        before = first_appearance(table.filter(pl.col("timestamp") < table["timestamp"][cut - 1]))[0]
        assert moved[0][: len(before)] == whole[0][0][: len(before)] and known >= len(before)


def first_appearance(table):
    """The names of entities and relations by first second, then name."""
    first: tuple[dict, dict] = ({}, {})
    for s, r, o, t in table.select("entity1", "relation", "entity2", "timestamp").iter_rows():
        for kind, names in zip(first, ((s, o), (r,))):
            for name in names:
                kind[name] = min(kind.get(name, t), t)
    return [sorted(kind, key=lambda name: (kind[name], name)) for kind in first]
