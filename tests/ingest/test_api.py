"""An ingest as a whole: the table, a second, a refused, an interrupted and a killed one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.ingest.ingest_helpers import NAME, ROWS, facts, forty, ingest, rejects, write
from tests.ingest.raw_rows import raw
from tirgn_eqx.data import graph_statistics, load_graph
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.ingest.gdelt_rows import GDELT
from tirgn_eqx.ingest.options import IngestOptions

ROOT = Path(__file__).parents[2]


def test_the_table_holds_facts_and_what_else_is_kept_of_an_event(tmp_path):
    data = raw(7, Actor1Name="  The\u2003white \xa0 house ", EventCode="010", GoldsteinScale="") + raw(8)
    report = ingest([write(tmp_path, data)], tmp_path / "events.parquet")
    table = pl.read_parquet(tmp_path / "events.parquet")
    assert dict(table.schema) == GDELT.schema(IngestOptions())
    first = table.row(0, named=True)
    assert (first["entity1"], first["relation"], first["entity2"]) == ("THE WHITE HOUSE", "010_Q1", "GERMANY")
    assert str(first["timestamp"]) == "2020-01-01 00:15:00"
    assert (first["EventCode"], first["QuadClass"], first["GoldsteinScale"]) == ("010", 1, None)
    assert (first["NumMentions"], first["AvgTone"], first["GlobalEventID"]) == (4, -1.5, 7)
    assert json.loads((tmp_path / "events.report.json").read_text()) == report
    assert {path.name for path in tmp_path.iterdir()} == {NAME, "events.parquet", "events.report.json"}


def test_a_second_run_adds_what_is_new(tmp_path):
    out = tmp_path / "events.parquet"
    old = [raw(number, DATEADDED=f"202001010{number}1500", Actor1Name=f"A{number}") for number in range(1, 7)]
    first = ingest([write(tmp_path / "raw", b"".join(old) + b"bad\n", "a.csv")], out)
    same = out.read_bytes()
    again = ingest([tmp_path / "raw"], out)
    assert not again["written"] and again["files"]["already_in_table"] == 1
    assert again["events"] == first["events"] and again["totals"] == first["totals"]
    assert out.read_bytes() == same and len(rejects(out)) == 1
    # Overlapping, with one event that lies before all others and one fact that is there under another id.
    new = [*old[3:], raw(0, DATEADDED="20191231000000"), raw(9, DATEADDED="20200101021500", Actor1Name="A2")]
    write(tmp_path / "raw", b"".join(new) + b"worse\n", "b.csv")
    report = ingest([tmp_path / "raw"], out)
    rows = report["rows"]
    assert (rows["read"], rows["repeated_ids"], rows["accepted"], rows["malformed"]) == (6, 3, 2, 1)
    assert [fact[4] for fact in facts(out)] == [0, 1, 2, 3, 4, 5, 6]
    assert report["events"]["repeated_facts"] == 1 and report["totals"]["rows"]["read"] == 13
    assert [(name, line) for name, line, *_ in rejects(out)] == [("a.csv", 7), ("b.csv", 6)]
    # The same files at once are the same table.
    at_once = ingest([tmp_path / "raw"], tmp_path / "once.parquet")
    assert pl.read_parquet(out).equals(pl.read_parquet(tmp_path / "once.parquet"))
    assert at_once["missing"] == report["missing"] and at_once["events"] == report["events"]


def test_other_options_and_other_tables_are_refused(tmp_path):
    path, out = write(tmp_path, ROWS), tmp_path / "events.parquet"
    ingest([path], out, IngestOptions(relation="root"))
    same = out.read_bytes()
    with pytest.raises(ConfigError, match="made with relation = 'root', not 'code_quad'; give the same options"):
        ingest([path], out)
    assert out.read_bytes() == same
    for name, data in (("text.parquet", b"text"), ("empty.parquet", b"")):
        with pytest.raises(ConfigError, match="no readable parquet file .*; name another --out"):
            ingest([path], write(tmp_path, data, name))
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(ConfigError, match="not made by this version of `tirgn data ingest`"):
        ingest([path], tmp_path / "other.parquet")


def test_where_there_is_nothing_there_is_one_line(tmp_path):
    out = tmp_path / "events.parquet"
    (tmp_path / "raw").mkdir()
    for place, text in (("raw", "no event files"), ("nowhere", "does not exist")):
        with pytest.raises(DataError, match=text):
            ingest([tmp_path / place], out)
    with pytest.raises(DataError, match="no events to write; 1 read, 1 no actor; give other files or fewer filters"):
        ingest([write(tmp_path / "raw", raw(1, Actor2Name=""))], out)
    with pytest.raises(DataError, match="1 of 1 files cannot be read, first .*text.zip"):
        ingest([write(tmp_path, ROWS, "text.zip")], out)
    assert not out.exists()


def test_a_table_is_for_one_ingest_at_a_time(tmp_path):
    path, out = write(tmp_path, ROWS), tmp_path / "events.parquet"

    def second(_):
        with pytest.raises(DataError, match="another ingest is at work on this table"):
            ingest([path], out)

    ingest([path], out, on_progress=second)
    assert len(facts(out)) == 7


KILLED = """
import os, signal, sys
from pathlib import Path
from tirgn_eqx.ingest import api as module
kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
moment, raw, out = sys.argv[1:]
if moment == "writing":
    module.flush = kill
if moment == "between":
    replace = os.replace
    os.replace = lambda a, b: kill() if str(b).endswith("events.parquet") else replace(a, b)
module.ingest([raw], Path(out), on_progress=kill if moment == "reading" else None)
"""


@pytest.mark.parametrize("moment", ["reading", "writing", "between"])
def test_a_killed_run_leaves_the_table_as_it_was(tmp_path, moment):
    out = tmp_path / "events.parquet"
    ingest([write(tmp_path / "raw", ROWS + b"bad\n", "a.csv")], out)
    same = out.read_bytes()
    write(tmp_path / "raw", forty(2000, "OTHER") + b"worse\n", "b.csv")
    command = [sys.executable, "-c", KILLED, moment, str(tmp_path / "raw"), str(out)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert out.read_bytes() == same
    # What the killed run has left out is in place where it was killed just before the table was.
    left_out = pl.read_parquet(out.with_suffix(".repeats.parquet")).height
    assert left_out == (66 if moment == "between" else 33)
    report = ingest([tmp_path / "raw"], out)
    assert (report["rows"]["accepted"], report["rows"]["repeated_ids"], report["files"]["read"]) == (40, 0, 1)
    assert report["events"]["forgotten_repeats"] == 0
    assert [(name, line) for name, line, *_ in rejects(out)] == [("a.csv", 41), ("b.csv", 41)]
    assert not list(tmp_path.glob(".*"))


def test_an_interrupt_leaves_the_table_and_no_trace(tmp_path):
    out = tmp_path / "events.parquet"
    ingest([write(tmp_path / "raw", ROWS, "a.csv")], out)
    same = out.read_bytes()

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest([write(tmp_path / "raw", raw(5), "b.csv")], out, on_progress=stop)
    assert out.read_bytes() == same and not list(tmp_path.glob(".*"))


def test_the_table_is_what_a_training_reads(tmp_path):
    data = b"".join(
        raw(number, DATEADDED=f"202001{1 + number % 9:02d}001500", Actor1Name=f"A{number % 5}") for number in range(60)
    )
    report = ingest([write(tmp_path, data)], tmp_path / "events.parquet", IngestOptions(keep_duplicates=True))
    statistics = graph_statistics(load_graph(tmp_path / "events.parquet", num_days=0))
    assert statistics["facts"]["total"] == report["events"]["events"] == 60
    assert statistics["entities"]["occurring"] == report["events"]["actors"] == 6
    assert statistics["relations"]["occurring"] == report["events"]["relations"] == 1
