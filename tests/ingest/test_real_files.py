"""Real files of GDELT 1.0 and 2.0, two of them written again by pandas, beside a count by the csv module alone."""

import csv
import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from tests.helpers import dataset
from tests.ingest.ingest_helpers import ingest
from tirgn_eqx.ingest.options import IngestOptions

# Where the columns are, counted from 0 in GDELT's code book: 2.0, then 1.0.
ID, DAY, NAME1, NAME2, ROOT, CODE, QUAD, MENTIONS = 0, 1, 6, 16, 25, 26, 29, 31
ADDED = {61: 59, 58: 56, 57: 56}


def raw_files() -> list[Path]:
    return sorted(path for path in dataset("gdelt_raw").rglob("*") if path.is_file())


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def count(rows: list[list[str]]) -> dict[str, int]:
    """Rows, events and what is said of them, for a single file under the default options."""
    both = [row for row in rows if row[NAME1].strip() and row[NAME2].strip()]
    facts = [(row[NAME1], f"{row[CODE]}_Q{row[QUAD]}", row[NAME2], row[ADDED[len(row)]]) for row in both]

    def date(text):
        return dt.date(int(text[:4]), int(text[4:6]), int(text[6:8]))

    late = [(date(row[ADDED[len(row)]]) - date(row[DAY])).days for row in both]
    distinct = set(facts)
    return {
        "read": len(rows),
        "accepted": len(both),
        "no_actor": len(rows) - len(both),
        "late": sum(days > 0 for days in late),
        "more": sum(days > 365 for days in late),
        "events": len(distinct),
        "repeated_facts": len(facts) - len(distinct),
        "self_loops": sum(fact[0] == fact[2] for fact in distinct),
        "actors": len({name for fact in distinct for name in fact[::2]}),
        "relations": len({fact[1] for fact in distinct}),
    }


def told(report: dict) -> dict[str, int]:
    late = report["late"]
    found = {name: report["rows"][name] for name in ("read", "accepted", "no_actor")}
    found |= {"late": sum(late.values()) - late["early"], "more": late["more"]}
    names = ("events", "repeated_facts", "self_loops", "actors", "relations")
    return found | {name: report["events"][name] for name in names}


def test_every_file_is_counted_alike(tmp_path):
    for path in raw_files():
        report = ingest([path], tmp_path / f"{path.name}.parquet")
        assert told(report) == count(rows_of(path)), path.name
        assert report["rows"]["malformed"] == report["rows"]["latin1"] == report["rows"]["blank_lines"] == 0
        assert report["files"]["unreadable"] == []


def test_all_files_together_are_the_sum_of_each(tmp_path):
    files = raw_files()
    report = ingest([dataset("gdelt_raw")], tmp_path / "events.parquet")
    assert report["files"]["found"] == report["files"]["read"] == len(files)
    assert told(report) == count([row for path in files for row in rows_of(path)])
    assert report["rows"]["repeated_ids"] == 0
    quarters = sorted(
        {dt.datetime.strptime(row[59], "%Y%m%d%H%M%S") for path in files for row in rows_of(path) if len(row) == 61}
    )
    between = (quarters[-1] - quarters[0]) // dt.timedelta(minutes=15) + 1
    assert report["missing"]["quarter_hours"]["count"] == between - len(quarters)


@pytest.mark.parametrize(
    "options",
    [
        {"quad_class": (3, 4), "root_only": True, "min_mentions": 5, "keep_duplicates": True},
        {"time": "day", "relation": "root", "actor": "country"},
    ],
)
def test_options_on_real_files(tmp_path, options):
    chosen = IngestOptions(**options)
    actors = (NAME1, NAME2) if chosen.actor == "name" else (7, 17)
    kept = [
        row
        for path in raw_files()
        for row in rows_of(path)
        if row[actors[0]]
        and row[actors[1]]
        and int(row[QUAD]) in chosen.quad_class
        and (row[ROOT] == "1" or not chosen.root_only)
        and int(row[MENTIONS]) >= chosen.min_mentions
    ]
    report = ingest([dataset("gdelt_raw")], tmp_path / "events.parquet", chosen)
    assert report["rows"]["accepted"] == len(kept)
    if chosen.keep_duplicates:
        assert report["events"]["events"] == len(kept)
    else:
        facts = {(row[actors[0]], row[28], row[actors[1]], row[DAY]) for row in kept}
        assert report["events"]["events"] == len(facts)


def test_rows_that_are_easily_misread(tmp_path):
    ingest([dataset("gdelt_raw")], tmp_path / "events.parquet", IngestOptions(keep_duplicates=True))
    table = {row["GlobalEventID"]: row for row in pl.read_parquet(tmp_path / "events.parquet").iter_rows(named=True)}
    # Written again by pandas; of 2007, known ten years later; the leading zero is not lost.
    event = table[661114848]
    assert (event["entity1"], event["relation"], event["entity2"]) == ("LEBANON", "042_Q1", "WASHINGTON")
    assert event["timestamp"] == dt.datetime(2017, 6, 1, 23, 45)
    # GDELT 1.0: known by the day; a code of four digits with a leading zero keeps it everywhere.
    assert table[491746435]["timestamp"] == dt.datetime(2015, 12, 7)
    assert 491746433 not in table  # its first actor has no name
    codes = {row[ID]: row[CODE] for path in raw_files() for row in rows_of(path)}
    assert all(event["EventCode"] == codes[str(number)] for number, event in table.items())
    assert {len(code) for code in codes.values()} == {3, 4} and any(code.startswith("0") for code in codes.values())
