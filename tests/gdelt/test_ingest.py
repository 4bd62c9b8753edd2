"""Raw files into a table: what goes in, what is set aside, what a second, a broken and a killed run leave."""

import bz2
import gzip
import io
import json
import lzma
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gdelt.raw_rows import expected, raw
from tirgn_eqx.data import graph_statistics, load_graph
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.gdelt.columns import TABLE
from tirgn_eqx.gdelt.ingest import ingest
from tirgn_eqx.gdelt.options import IngestOptions

ROOT = Path(__file__).parents[2]
NAME = "20200101001500.export.CSV"


def forty(first: int, name: str) -> bytes:
    """40 events of 7 facts, with ids from `first` on."""
    return b"".join(raw(first + number, Actor1Name=f"{name} {number % 7}") for number in range(40))


ROWS = forty(1000, "ACTOR")


def write(folder: Path, data: bytes, name: str = NAME) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / name
    path.write_bytes(data)
    return path


def facts(out: Path) -> list[tuple]:
    return pl.read_parquet(out).select("entity1", "relation", "entity2", "timestamp", "GlobalEventID").rows()


def rejects(out: Path) -> list[tuple[str, int, str, bytes]]:
    """(file name, line, reason, raw bytes) of each reject."""
    path = out.with_suffix(".rejects.tsv")
    if not path.exists():
        return []
    lines = [line.split(b"\t", 3) for line in path.read_bytes().split(b"\n")[1:-1]]
    return [(Path(name.decode()).name, int(line), reason.decode(), rest) for name, line, reason, rest in lines]


def test_the_table_holds_facts_and_what_else_is_kept_of_an_event(tmp_path):
    data = raw(7, Actor1Name="  The\u2003white \xa0 house ", EventCode="010", GoldsteinScale="") + raw(8)
    report = ingest([write(tmp_path, data)], tmp_path / "events.parquet")
    table = pl.read_parquet(tmp_path / "events.parquet")
    assert {name: str(kind).split("(")[0] for name, kind in table.schema.items()} == TABLE
    first = table.row(0, named=True)
    assert (first["entity1"], first["relation"], first["entity2"]) == ("THE WHITE HOUSE", "010_Q1", "GERMANY")
    assert str(first["timestamp"]) == "2020-01-01 00:15:00"
    assert (first["EventCode"], first["QuadClass"], first["GoldsteinScale"]) == ("010", 1, None)
    assert (first["NumMentions"], first["AvgTone"], first["GlobalEventID"]) == (4, -1.5, 7)
    assert json.loads((tmp_path / "events.report.json").read_text()) == report
    assert {path.name for path in tmp_path.iterdir()} == {NAME, "events.parquet", "events.report.json"}


@pytest.mark.parametrize("form", ["gz", "zip", "zip of two", "no ending"])
def test_compressed_files_are_the_same_table(tmp_path, form):
    plain = ingest([write(tmp_path / "a", ROWS)], tmp_path / "a.parquet")
    folder, half = tmp_path / "b", len(ROWS) // 40 * 20
    if form == "no ending":
        packed = write(folder, gzip.compress(ROWS), "events")
    elif form == "gz":
        packed = write(folder, gzip.compress(ROWS[:half]) + gzip.compress(ROWS[half:]), NAME + ".gz")
    else:
        parts = {"one": ROWS} if form == "zip" else {"one": ROWS[:half], "two": ROWS[half:]}
        packed = write(folder, b"", NAME + ".zip")
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in parts.items():
                archive.writestr(name, data)
    for size in (1 << 24, 500):
        out = tmp_path / f"b{size}.parquet"
        report = ingest([packed], out, block_bytes=size)
        assert report["rows"] == plain["rows"]
        assert facts(out) == facts(tmp_path / "a.parquet") and len(facts(out)) == 7


@pytest.mark.parametrize("size", [1 << 20, 100])
def test_a_reject_in_an_archive_is_named_with_its_part(tmp_path, size):
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one", b"\nbad\n" + raw(1))
        archive.writestr("two", raw(2) + b"\n\n" + raw(3) + b"worse\n")
    ingest([path], tmp_path / "events.parquet", block_bytes=size)
    assert [reject[:2] for reject in rejects(tmp_path / "events.parquet")] == [("two.zip:one", 2), ("two.zip:two", 5)]


def test_daily_files_with_and_without_address(tmp_path):
    data = raw(1, 58) + raw(2, 57, Actor1Name="SPAIN") + raw(3, 58, DATEADDED="20200104", Day="20191231")
    report = ingest([write(tmp_path, data)], tmp_path / "events.parquet")
    assert [str(fact[3]) for fact in facts(tmp_path / "events.parquet")] == [
        "2020-01-01 00:00:00",
        "2020-01-01 00:00:00",
        "2020-01-04 00:00:00",
    ]
    assert report["missing"]["days"] == {
        "count": 2,
        "ranges": [{"first": "2020-01-02", "last": "2020-01-03", "count": 2}],
    }
    assert report["missing"]["quarter_hours"]["count"] == 0
    assert report["late"]["2 to 7 days"] == 1


MALFORMED = {
    "short": (raw(5).replace(b"\thttps://example.org/a", b""), "60 columns; expected 57, 58 or 61"),
    "long": (raw(5).replace(b"\n", b"\tx\n"), "62 columns; expected 57, 58 or 61"),
    "another layout": (raw(5, 58, DATEADDED="20200101001500"), "DATEADDED '20200101001500'"),
    "id": (raw(5, GlobalEventID="12x"), "GlobalEventID '12x'"),
    "negative id": (raw(5, GlobalEventID="-12"), "GlobalEventID '-12'"),
    "no id": (raw(5, GlobalEventID=""), "GlobalEventID is empty"),
    "day": (raw(5, Day="20200230"), "Day '20200230'"),
    "added": (raw(5, DATEADDED="20200101250000"), "DATEADDED '20200101250000'"),
    "added without clock": (raw(5, DATEADDED="20200101"), "DATEADDED '20200101'"),
    "code": (raw(5, EventCode="---"), "EventCode '---'"),
    "no code": (raw(5, EventCode=""), "EventCode is empty"),
    "quad class": (raw(5, QuadClass="5"), "QuadClass '5'"),
    "root": (raw(5, IsRootEvent="2"), "IsRootEvent '2'"),
    "score": (raw(5, GoldsteinScale="high"), "GoldsteinScale 'high'"),
    "mentions": (raw(5, NumMentions="3.0"), "NumMentions '3.0'"),
    "tone": (raw(5, AvgTone="nan"), "AvgTone 'nan'"),
    "NUL": (raw(5, SOURCEURL="a\0b"), "a NUL byte"),
    "quoted": (raw(5, GlobalEventID='"5"'), "GlobalEventID '\"5\"'"),
    "header": (raw(5, GlobalEventID="GLOBALEVENTID"), "GlobalEventID 'GLOBALEVENTID'"),
    "endless": (b"x" * (1 << 20) + b"xx\n", "longer than 1,048,576 bytes"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_line_is_set_aside_whole_and_nothing_else_is_lost(tmp_path, case):
    line, reason = MALFORMED[case]
    data = raw(1) + b"\n" + raw(2, Actor1Name="SPAIN") + line + raw(3, Actor1Name="ITALY")
    path = write(tmp_path, data)
    report = ingest([path], tmp_path / "events.parquet")
    assert rejects(tmp_path / "events.parquet") == [(NAME, 4, reason, line[:-1][: 1 << 20])]
    assert [fact[4] for fact in facts(tmp_path / "events.parquet")] == [1, 2, 3]
    rows = report["rows"]
    assert (rows["read"], rows["malformed"], rows["accepted"], rows["blank_lines"]) == (4, 1, 3, 1)
    assert report["malformed"]["first"] == [{"file": str(path), "line": 4, "reason": reason}]


@pytest.mark.parametrize(
    "data",
    [
        ROWS.replace(b"\n", b"\r\n"),
        ROWS[:-1],
        b"\xef\xbb\xbf" + ROWS,
        ROWS.replace(b"\n", b"\n\n"),
        ROWS.replace(b"example.org/a", b'example.org/"a",\'b'),
        ROWS.replace(b"example.org/a", "example.org/ä€😀".encode()),
        ROWS.replace(b"example.org/a", b"example.org/\xe4\xff"),
    ],
    ids=["CRLF", "no last newline", "byte order mark", "blank lines", "quotes", "UTF-8", "Latin-1"],
)
def test_oddities_that_are_no_fault(tmp_path, data):
    ingest([write(tmp_path / "plain", ROWS)], tmp_path / "plain.parquet")
    for size in (1 << 24, 700):
        out = tmp_path / f"{size}.parquet"
        report = ingest([write(tmp_path / "odd", data)], out, block_bytes=size)
        assert facts(out) == facts(tmp_path / "plain.parquet")
        assert report["rows"]["malformed"] == 0 and report["rows"]["read"] == 40
        assert report["rows"]["latin1"] == (40 if b"\xff" in data else 0)


def test_a_name_in_latin1_is_read(tmp_path):
    data = raw(1).replace(b"FRANCE", "Córdoba".encode("latin-1")) + raw(2, Actor1Name="Córdoba")
    report = ingest([write(tmp_path, data)], tmp_path / "events.parquet")
    assert [fact[0] for fact in facts(tmp_path / "events.parquet")] == ["CÓRDOBA"]
    assert (report["rows"]["latin1"], report["events"]["repeated_facts"]) == (1, 1)


def broken_zip() -> bytes:
    import io

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("events", ROWS)
    data = bytearray(buffer.getvalue())
    data[60] ^= 255
    return bytes(data)


def tarred(form: int) -> bytes:
    """A tar archive with one file of events."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        member = tarfile.TarInfo(NAME)
        member.size = len(ROWS)
        archive.addfile(member, io.BytesIO(ROWS))
    return buffer.getvalue()


def without_magic(archive: bytes) -> Iterator[bytes]:
    """The archive as tar wrote it before 1988: nothing but the checksum of its header says what it is."""
    head = bytearray(archive[:512])
    head[257:512] = bytes(255)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    yield bytes(head)
    yield archive[512:]


BROKEN = {
    "cut.zip": (broken_zip()[:200], "broken zip file"),
    "bits.zip": (broken_zip(), "broken zip file"),
    "text.zip": (ROWS, "named .zip, but it is no such file"),
    "empty.zip": (b"", "it is empty"),
    "cut.gz": (gzip.compress(ROWS)[:-9], "broken gzip file"),
    "mentions.csv": (b"1\t2\t3\n" * 9, "no line is one of GDELT's; the first: 3 columns"),
    "commas.csv": (ROWS.replace(b"\t", b","), "the first: 1 columns"),
    "pax.tar.gz": (gzip.compress(tarred(tarfile.PAX_FORMAT)), "a tar archive; unpack it and name the files"),
    "gnu.export.tar": (tarred(tarfile.GNU_FORMAT), "a tar archive; unpack it and name the files"),
    "old.csv": (b"".join(without_magic(tarred(tarfile.USTAR_FORMAT))), "a tar archive"),
    "twice.gz": (gzip.compress(gzip.compress(ROWS)), "a gzip file inside another packed file; give event files as"),
    "b.csv": (bz2.compress(ROWS), "a bzip2 file; give event files as GDELT writes them"),
    "x.csv": (lzma.compress(ROWS), "an xz file; give event files as GDELT writes them"),
}


@pytest.mark.parametrize("size", [1 << 24, 300])
def test_a_broken_file_is_named_and_leaves_nothing_and_stops_no_other(tmp_path, size):
    for name, (data, _) in BROKEN.items():
        write(tmp_path / "raw", data, name)
    write(tmp_path / "raw", b"", "nothing.csv")
    write(tmp_path / "raw", ROWS + b"bad\n", "a.csv")
    write(tmp_path / "raw", forty(2000, "OTHER"), "z.csv")
    out = tmp_path / "events.parquet"
    report = ingest([tmp_path / "raw"], out, block_bytes=size)
    found = {Path(bad["file"]).name: bad["reason"] for bad in report["files"]["unreadable"]}
    assert found.keys() == BROKEN.keys()
    for name, (_, reason) in BROKEN.items():
        assert reason in found[name]
    assert (report["files"]["read"], report["files"]["empty"]) == (3, 1)
    assert (report["rows"]["read"], report["rows"]["accepted"]) == (81, 80)
    assert [(name, line) for name, line, *_ in rejects(out)] == [("a.csv", 41)]
    # Repaired, it is new.
    write(tmp_path / "raw", forty(3000, "THIRD"), "commas.csv")
    again = ingest([tmp_path / "raw"], out, block_bytes=size)
    assert (again["files"]["already_in_table"], again["files"]["read"]) == (3, 1)
    assert again["rows"]["accepted"] == 40


@pytest.mark.parametrize("size", [1 << 24, 300])
def test_an_archive_with_an_archive_in_it_leaves_nothing(tmp_path, size):
    path = tmp_path / "raw" / "two.zip"
    write(tmp_path / "raw", ROWS, "a.csv")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one", forty(2000, "OTHER"))
        archive.writestr("two.tar", tarred(tarfile.PAX_FORMAT))
    report = ingest([tmp_path / "raw"], tmp_path / "events.parquet", block_bytes=size)
    assert [bad["reason"][:13] for bad in report["files"]["unreadable"]] == ["a tar archive"]
    assert report["rows"]["read"] == 40 and len(facts(tmp_path / "events.parquet")) == 7


QUOTED = b"".join(b'"' + line.replace(b"\t", b'"\t"') + b'"\n' for line in ROWS.splitlines())
ROUNDED = ROWS.replace(b"20200101001500", b"2.0200E+13")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (QUOTED, "GlobalEventID '\"1000\"' (RAW:1); GDELT puts nothing in quotes: write the file again without them"),
        (ROUNDED, "DATEADDED '2.0200E+13' (RAW:1); a spreadsheet has rounded it: take the file as GDELT wrote it"),
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
from tirgn_eqx.gdelt import ingest as module
kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
moment, raw, out = sys.argv[1:]
if moment == "writing":
    module.flush = kill
if moment == "between":
    replace = os.replace
    os.replace = lambda a, b: kill() if str(b).endswith(".parquet") else replace(a, b)
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
    report = ingest([tmp_path / "raw"], out)
    assert report["rows"]["accepted"] == 40 and report["files"]["read"] == 1
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


NAMES = st.sampled_from(["", " ", "france", "FRANCE", " United  States", "POLICE", "Córdoba", 'A "B"', "\xa0x\u2003y"])
FIELDS = st.fixed_dictionaries(
    {
        "GlobalEventID": st.sampled_from(["1", "2", "3", "40", "41", "42", "43", "", "x"]),
        "Day": st.sampled_from(["20200101", "20191230", "20180101", "20200103", "2020011"]),
        "DATEADDED": st.sampled_from(["20200101001500", "20200101003000", "20200102000000", "20200101"]),
        "Actor1Name": NAMES,
        "Actor2Name": NAMES,
        "Actor2CountryCode": st.sampled_from(["DEU", ""]),
        "IsRootEvent": st.sampled_from("0111"),
        "EventCode": st.sampled_from(["010", "0211", "0211", "-"]),
        "QuadClass": st.sampled_from("12345"),
        "NumMentions": st.sampled_from(["1", "5", "5", "10", "many"]),
        "GoldsteinScale": st.sampled_from(["", "1.5", "-10.0", "?"]),
    }
)
LINES = st.one_of(
    st.tuples(FIELDS, st.sampled_from([61, 61, 61, 58, 57]), st.sampled_from([b"\n", b"\r\n"])).map(
        lambda made: raw(0, made[1], **made[0])[:-1] + made[2]
    ),
    st.sampled_from(
        [b"\n", b"\r\n", b"x\n", b"\t\n", raw(50).replace(b"FRANCE", b"\xc3\x28"), raw(51, SOURCEURL="\0")]
    ),
)
OPTIONS = st.fixed_dictionaries(
    {
        "actor": st.sampled_from(["name", "country"]),
        "relation": st.sampled_from(["code_quad", "code", "base", "root"]),
        "time": st.sampled_from(["added", "day"]),
        "quad_class": st.sampled_from([(1, 2, 3, 4), (1, 3)]),
        "root_only": st.booleans(),
        "min_mentions": st.sampled_from([0, 3]),
        "keep_duplicates": st.booleans(),
    }
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(LINES, min_size=1, max_size=25).map(lambda lines: [raw(60), *lines]),
    cuts=st.lists(st.integers(1, 25), max_size=3),
    size=st.sampled_from([100, 1000, 1 << 24]),
    rows=st.sampled_from([1, 4, 1000]),
    runs=st.booleans(),
    options=OPTIONS,
    last=st.booleans(),
)
def test_the_result_is_that_of_the_plainest_program(tmp_path_factory, lines, cuts, size, rows, runs, options, last):
    """However the lines are cut into files, blocks, runs and calls.

    Not in several calls where repeated facts are dropped: a later call does not know the ids of those.
    """
    options["keep_duplicates"] |= runs
    place, options = tmp_path_factory.mktemp("random"), IngestOptions(**options)
    bounds = sorted({0, *(cut for cut in cuts if cut < len(lines)), len(lines)})
    files = []
    for number, (begin, end) in enumerate(zip(bounds, bounds[1:])):
        # Every file begins with a row that fits, as one without is a file of another kind.
        data = raw(60) + b"".join(lines[begin:end])
        files.append((f"{number}.csv", data[:-1] if last and end == len(lines) else data))
    reference = expected(files, options)
    paths = [write(place, data, name) for name, data in files]
    out = place / "events.parquet"
    report = {}
    for some in [[path] for path in paths] if runs else [paths]:
        report = ingest(some, out, options, block_bytes=size, run_rows=rows)
    assert facts(out) == reference["table"]
    assert [(name, line) for name, line, *_ in rejects(out)] == reference["rejects"]
    totals = report["totals"]["rows"]
    dropped = {"no_actor", "quad_class", "not_root", "few_mentions", "generic_actor"}
    assert sum(totals[name] for name in dropped) == reference["counts"].pop("dropped")
    assert {name: totals[name] for name in reference["counts"]} == reference["counts"]
    late = [days for days in reference["late"] if days > 0]
    assert sum(report["totals"]["late"].values()) == len(late) + sum(days < 0 for days in reference["late"])
    assert report["totals"]["late"]["more"] == sum(days > 365 for days in late)
    assert report["events"]["repeated_facts"] == totals["accepted"] - reference["facts"]
