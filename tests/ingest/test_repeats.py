"""The ids of repeated facts: the table is the same however the files are divided among ingests."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ingest.archive_files import ICEWS_HEADER, POLECAT_HEADER, icews, polecat
from tests.ingest.ingest_helpers import ingest, rejects, write
from tests.ingest.raw_rows import raw
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.ingest.options import IngestOptions

ICEWS = IngestOptions("icews")
YEAR, DAY = "events.2014.20160121105408.tab", "20140101-icews-events.tab"


class Maker(NamedTuple):
    """How files of a source are made: their header, their ending, and a line of an id, an actor and a day of 2020."""

    header: bytes
    ending: str
    line: Callable[[int, str, int], bytes]


MAKERS = {
    "gdelt": Maker(b"", "csv", lambda number, name, day: raw(number, Actor1Name=name, DATEADDED=f"2020010{day}001500")),
    "icews": Maker(
        ICEWS_HEADER, "tab", lambda number, name, day: icews(number, Source_Name=name, Event_Date=f"2020-01-0{day}")
    ),
    "polecat": Maker(
        POLECAT_HEADER,
        "txt",
        lambda number, name, day: polecat(number, Actor_Name=name, Publication_Date=f"2020-01-0{day}"),
    ),
}


def repeats(out: Path) -> Path:
    return out.with_suffix(".repeats.parquet")


def three() -> bytes:
    """Three events of one fact."""
    return ICEWS_HEADER + b"".join(icews(number) for number in (1, 2, 3))


def test_a_file_of_events_that_were_left_out_adds_nothing(tmp_path):
    out = tmp_path / "events.parquet"
    ingest([write(tmp_path / "raw", three(), YEAR)], out, ICEWS)
    write(tmp_path / "raw", three() + icews(3, Target_Name="Another"), DAY)
    second = ingest([tmp_path / "raw"], out, ICEWS)
    assert (second["rows"]["accepted"], second["rows"]["repeated_ids"]) == (0, 4)
    assert second["totals"]["rows"]["accepted"] == 3 and second["events"]["repeated_facts"] == 2
    once = ingest([tmp_path / "raw"], tmp_path / "once.parquet", ICEWS)
    assert once["totals"] == second["totals"] and once["events"] == second["events"]
    assert pl.read_parquet(out).equals(pl.read_parquet(tmp_path / "once.parquet"))
    # A third ingest, with nothing new to leave out, keeps what the first one left out.
    ingest([write(tmp_path / "raw", ICEWS_HEADER + icews(9, Event_Date="2014-01-02"), "c.tab")], out, ICEWS)
    fourth = ingest([write(tmp_path / "raw", ICEWS_HEADER + icews(2, Target_Name="Another"), "d.tab")], out, ICEWS)
    assert fourth["rows"]["repeated_ids"] == 1 and fourth["events"]["events"] == 2


@pytest.mark.ci
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    source=st.sampled_from(list(MAKERS)),
    files=st.lists(
        st.lists(st.tuples(st.integers(1, 6), st.sampled_from("AB"), st.integers(1, 2)), min_size=1, max_size=6),
        min_size=2,
        max_size=4,
    ),
    ends=st.sets(st.integers(1, 3)),
    whole_folder=st.booleans(),
    rows=st.sampled_from([1, 1000]),
)
def test_the_table_and_the_totals_are_those_of_one_ingest(tmp_path_factory, source, files, ends, whole_folder, rows):
    """An ingest after some of the files, of those since or of all; ids recur with other facts and other days."""
    place, options, make = tmp_path_factory.mktemp("split"), IngestOptions(source), MAKERS[source]
    # The number of the file in a line of its own: two files of the same bytes would be one.
    data = [make.header + b"".join(make.line(*event) for event in [*events, (100 + n, "C", 1)])
            for n, events in enumerate(files)]  # fmt: skip
    split, once = place / "split.parquet", place / "once.parquet"
    paths, waiting, report = [], [], {}
    for number, text in enumerate(data, 1):
        paths.append(write(place / "raw", text, f"{number}.{make.ending}"))
        waiting.append(paths[-1])
        if number in ends or number == len(data):
            report = ingest(paths if whole_folder else waiting, split, options, run_rows=rows)
            waiting = []
    reference = ingest(paths, once, options)
    assert pl.read_parquet(split).equals(pl.read_parquet(once))
    for name in ("totals", "events", "missing"):
        assert report[name] == reference[name]
    known = [pl.read_parquet(repeats(out)).drop("ingest") if repeats(out).exists() else None for out in (split, once)]
    if known[1] is None:
        assert known[0] is None
    else:
        assert known[0] is not None and known[0].sort(known[0].columns).equals(known[1].sort(known[1].columns))


def test_a_table_without_the_file_is_added_to_and_says_what_it_forgot(tmp_path):
    """As tables of earlier versions are, and those that were moved without it."""
    out = tmp_path / "events.parquet"
    ingest([write(tmp_path / "raw", three(), YEAR)], out, ICEWS)
    repeats(out).unlink()
    report = ingest([tmp_path / "raw"], out, ICEWS)
    assert not report["written"] and report["events"]["forgotten_repeats"] == 2
    report = ingest([write(tmp_path / "raw", three(), DAY)], out, ICEWS)
    assert report["rows"]["accepted"] == 2 and len(pl.read_parquet(out)) == 1
    assert ingest([write(tmp_path / "raw", three() + b"\n", "c.tab")], out, ICEWS)["rows"]["repeated_ids"] == 3


def test_the_file_of_another_table_is_replaced(tmp_path):
    out = tmp_path / "events.parquet"
    ingest([write(tmp_path, three(), YEAR)], out, ICEWS)
    out.unlink()
    ingest([write(tmp_path, ICEWS_HEADER + icews(7), "a.tab")], out, ICEWS)
    assert pl.read_parquet(repeats(out)).is_empty()
    report = ingest([write(tmp_path, ICEWS_HEADER + icews(2, Target_Name="Another"), "b.tab")], out, ICEWS)
    assert report["rows"]["accepted"] == 1 and report["events"]["events"] == 2


def test_where_repeated_facts_stay_there_is_no_file(tmp_path):
    out = tmp_path / "events.parquet"
    report = ingest([write(tmp_path, three(), YEAR)], out, IngestOptions("icews", keep_duplicates=True))
    assert (report["events"]["events"], report["events"]["repeated_facts"]) == (3, 2)
    assert report["events"]["forgotten_repeats"] == 0 and not repeats(out).exists()


@pytest.mark.parametrize("damage", ["text", "columns"])
def test_a_file_that_is_something_else_is_refused(tmp_path, damage):
    out = tmp_path / "events.parquet"
    ingest([write(tmp_path / "raw", three(), YEAR)], out, ICEWS)
    if damage == "text":
        repeats(out).write_text("text")
    else:
        pl.DataFrame({"a": [1]}).write_parquet(repeats(out))
    same = out.read_bytes()
    with pytest.raises(ConfigError, match=r"is no list of the repeated facts of events.parquet \(.*\); put the one"):
        ingest([write(tmp_path / "raw", three(), DAY)], out, ICEWS)
    assert out.read_bytes() == same and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("source", ["icews", "polecat"])
def test_a_second_run_over_the_folder_of_the_table_reads_no_rejects(tmp_path, source):
    make = MAKERS[source]
    write(tmp_path, make.header + make.line(1, "A", 1) + b"bad\n", f"a.{make.ending}")
    out, options = tmp_path / "events.parquet", IngestOptions(source)
    for read in (1, 0):
        report = ingest([tmp_path], out, options)
        assert (report["files"]["found"], report["files"]["read"], report["files"]["unreadable"]) == (1, read, [])
    assert len(rejects(out)) == 1 and len(pl.read_parquet(out)) == 1
