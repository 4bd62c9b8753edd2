"""The parts of an ingest alone: layouts, options, known ids, sorting, ranges, actors."""

import datetime as dt
import gzip
import hashlib
import random
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gdelt.raw_rows import raw
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.gdelt.clean import SCHEMA
from tirgn_eqx.gdelt.columns import LAYOUTS
from tirgn_eqx.gdelt.generic import GENERIC_ACTORS
from tirgn_eqx.gdelt.ingest import ingest
from tirgn_eqx.gdelt.known import KnownIds
from tirgn_eqx.gdelt.options import IngestOptions
from tirgn_eqx.gdelt.read import seconds
from tirgn_eqx.gdelt.report import merged_ranges, missing
from tirgn_eqx.gdelt.sort import Run, Sorter, merge
from tirgn_eqx.gdelt.sources import Source, Unreadable, find_sources, read_blocks


def test_layouts_are_those_of_the_code_book():
    assert {width: len(columns) for width, columns in LAYOUTS.items()} == {61: 61, 58: 58, 57: 57}
    assert all(len(set(columns)) == len(columns) for columns in LAYOUTS.values())
    places = {"Actor1Name": 6, "Actor2Name": 16, "IsRootEvent": 25, "EventCode": 26, "QuadClass": 29, "AvgTone": 34}
    for columns in LAYOUTS.values():
        assert {name: columns.index(name) for name in places} == places
    assert [LAYOUTS[width].index("DATEADDED") for width in (61, 58, 57)] == [59, 56, 56]


@pytest.mark.parametrize(
    "options", [{"actor": "x"}, {"relation": "x"}, {"time": "x"}, {"quad_class": ()}, {"quad_class": (0,)}]
)
def test_a_choice_that_does_not_exist_is_refused(options):
    with pytest.raises(ConfigError):
        IngestOptions(**options)


def test_generic_actors_are_names_as_the_table_has_them(tmp_path):
    assert {"POLICE", "GOVERNMENT", "PRESIDENT"} <= GENERIC_ACTORS and len(GENERIC_ACTORS) > 150
    assert all(name == " ".join(name.split()).upper() for name in GENERIC_ACTORS)
    path = tmp_path / "a.csv"
    path.write_bytes(raw(1, Actor1Name=" police") + raw(2, Actor2Name="MAYOR") + raw(3))
    report = ingest([path], tmp_path / "events.parquet", IngestOptions(drop_generic_actors=True))
    assert (report["rows"]["generic_actor"], report["rows"]["accepted"]) == (2, 1)


@pytest.mark.parametrize("kind", ["zip", "gz"])
def test_an_archive_is_read_whole_or_not_at_all(tmp_path, kind):
    """Whatever bytes are flipped or missing."""
    data, chance, path = raw(1) * 50, random.Random(0), tmp_path / f"a.{kind}"
    if kind == "gz":
        path.write_bytes(gzip.compress(data))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", data)
    good, broken = path.read_bytes(), 0
    for size in (100, 1 << 20) * 200:
        some = bytearray(good)
        if chance.random() < 0.3:
            del some[chance.randrange(4, len(some)) :]
        else:
            some[chance.randrange(4, len(some))] = chance.randrange(256)
        path.write_bytes(some)
        try:
            found = b"".join(block.data for block in read_blocks(Source(path, "a", 0), hashlib.sha256(), size))
            assert found == data
        except Unreadable:
            broken += 1
    assert broken > 100


def test_files_of_a_folder_are_found_in_order_of_their_names(tmp_path):
    names = ["2020/20200101.export.CSV.zip", "2019/20190101.export.csv", "1979.zip", "b.csv.gz", "x.export.CSV.small"]
    others = [
        "20200101.mentions.CSV.zip",
        "20200101.gkg.csv.zip",
        ".hidden.csv",
        "notes.txt",
        "events.parquet",
        "e.rejects.tsv",
    ]
    for name in (*names, *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_sources([tmp_path, tmp_path / "1979.zip"])
    assert [source.path.name for source in found] == sorted(Path(name).name for name in names)
    assert [source.path.name for source in find_sources([tmp_path / "notes.txt"])] == ["notes.txt"]


@given(st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=12))
def test_known_ids_are_a_set(batches):
    known, reference = KnownIds([np.array([5, 3])]), {3, 5}
    for batch in batches:
        new = known.add(np.array(batch, np.int64))
        for number, is_new in zip(batch, new.tolist()):
            assert is_new == (number not in reference)
            reference.add(number)
    assert len(known) == len(reference)


def events(keys: list[tuple[int, int]]) -> pl.DataFrame:
    columns = dict.fromkeys(SCHEMA, None) | {
        "timestamp": [dt.datetime(2020, 1, 1) + dt.timedelta(minutes=time) for time, _ in keys],
        "GlobalEventID": [number for _, number in keys],
    }
    return pl.DataFrame(columns, schema=SCHEMA)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 99)), max_size=9), max_size=6))
def test_runs_merge_into_one_order(lists):
    runs = [iter([events(sorted(some)).slice(begin, 2) for begin in range(0, len(some), 2)]) for some in lists]
    merged = pl.concat([events([]), *merge(runs)])
    expected = events(sorted(key for some in lists for key in some))
    assert merged.select("timestamp", "GlobalEventID").equals(expected.select("timestamp", "GlobalEventID"))


def test_many_runs_are_merged_in_stages_and_nothing_stays_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tirgn_eqx.gdelt.sort.MOST_RUNS", 3)
    monkeypatch.setattr("tirgn_eqx.gdelt.sort.BLOCK", 2)
    numbers = np.random.default_rng(0).permutation(60).tolist()
    sorter = Sorter(tmp_path, rows=5)
    for begin in range(0, 60, 4):
        sorter.add(events([(number // 10, number) for number in numbers[begin : begin + 4]]))
    assert pl.concat(sorter.merged())["GlobalEventID"].to_list() == list(range(60))
    assert len(list(tmp_path.iterdir())) <= 3


def test_a_run_gives_back_what_was_written(tmp_path):
    run, frame = Run(tmp_path / "run"), events([(0, 1), (0, 2), (1, 0)])
    run.write([frame, frame.clear(), frame])
    assert pl.concat(run.blocks()).equals(pl.concat([frame, frame]))


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_ranges_are_sets_of_numbers(before, now):
    ranges = merged_ranges(merged_ranges([], before), now)
    assert [number for first, last in ranges for number in range(first, last + 1)] == sorted(before | now)
    whole = before | now
    gaps = set(range(min(whole, default=0), max(whole, default=-1) + 1)) - whole
    assert missing(ranges, 900)["count"] == len(gaps)


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (20200101001500, 14, 1577837700),
        (20200101, 8, 1577836800),
        (19200101, 8, -1577923200),
        (20200101, 14, None),
        (20200101001500, 8, None),
        (20200101240000, 14, None),
        (20200101006000, 14, None),
        (20201301, 8, None),
        (0, 8, None),
        (-2020010, 8, None),
    ],
)
def test_times_as_gdelt_writes_them(value, digits, expected):
    assert seconds(value, digits) == expected
