"""Event tables of every form: facts read are facts written, or an error; never fewer in silence."""

import csv
import datetime as dt
import gzip
import io
import json
import string
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tirgn_eqx.data import TemporalGraph, load_graph
from tirgn_eqx.data.readers.events import read_events
from tirgn_eqx.data.readers.table_files import SUFFIXES
from tirgn_eqx.errors import ConfigError, DataError, DataWarning
from tirgn_eqx.storage.table_probe import kept

START = dt.datetime(2021, 3, 1, 1, 16, 47)
EPOCH = dt.datetime(1970, 1, 1)
ROLES = ("entity1", "relation", "entity2", "timestamp")


def rows(count=60):
    """Facts of 20 days as (name, name, name, datetime)."""
    step = dt.timedelta(days=20) / count
    return [(f"E{i % 7}", f"{10 + i % 4:03d}", f"E{i * 3 % 5}", START + i * step) for i in range(count)]


def frame(facts=None):
    return pl.DataFrame(rows() if facts is None else facts, schema=list(ROLES), orient="row")


def dated(graph, unit=60):
    """The facts of a graph by name, with their times in seconds."""
    columns = (graph.snapshot, graph.subject, graph.relation, graph.object)
    return Counter(
        (int(graph.times[at]) * unit, graph.entity_names[s], graph.relation_names[r], graph.entity_names[o])
        for at, s, r, o in zip(*columns)
    )


def written(facts):
    """The same of facts that were written, in snapshots of a quarter of an hour."""
    return Counter((int((t - EPOCH).total_seconds()) // 900 * 900, s, r, o) for s, r, o, t in facts)


def zstd(data: bytes) -> bytes:
    """A zstd file that holds its data unpacked."""
    blocks, size = b"", 100_000
    for begin in range(0, max(len(data), 1), size):
        part = data[begin : begin + size]
        blocks += (len(part) << 3 | (begin + size >= len(data))).to_bytes(3, "little") + part
    return b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little") + blocks


def packed(data: bytes, name: str) -> bytes:
    return gzip.compress(data) if name.endswith(".gz") else zstd(data) if name.endswith(".zst") else data


def as_text(table: pl.DataFrame, name: str) -> bytes:
    if "json" in name:
        return table.write_ndjson().encode()
    return table.write_csv(separator="\t" if ".tsv" in name or ".tab" in name else ",").encode()


def write(place: Path, table: pl.DataFrame, name: str) -> Path:
    """A table as a file whose form its name says."""
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith((".parquet", ".pq")):
        table.write_parquet(path)
    elif name.endswith(".arrows"):
        table.write_ipc_stream(path)
    elif name.endswith((".arrow", ".feather", ".ipc")):
        table.write_ipc(path)
    else:
        path.write_bytes(packed(as_text(table, name), name))
    return path


def read(path, **options):
    return read_events(path, **{"num_days": 0, "granularity": "15min"} | options)


@pytest.fixture(autouse=True, scope="module")
def helper():
    with kept():
        yield


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".json", ".snappy.parquet", ".PARQUET", ".CSV"])
def test_a_file_of_every_form(tmp_path, suffix):
    path = write(tmp_path, frame(), f"events{suffix.lower()}")
    path = path.rename(tmp_path / f"mine{suffix}")
    graph = load_graph(path, num_days=0, granularity="15min")
    assert dated(graph) == written(rows()) and graph.name.startswith("mine")
    assert graph.read is not None and (graph.read.lines, graph.read.facts) == (60, 60)
    assert graph.provenance["kind"] == ("parquet" if "par" in suffix.lower() or suffix == ".pq" else "table")
    assert load_graph(**graph.provenance).checksum == graph.checksum
    assert graph.relation_names is not None and "010" in graph.relation_names


@pytest.mark.parametrize(
    "suffix", [".parquet", ".csv", ".csv.gz", ".csv.zst", ".ndjson", ".ndjson.gz", ".arrow", ".arrows"]
)
def test_a_name_is_no_pattern(tmp_path, suffix):
    write(tmp_path, frame(rows(30)), f"other 1{suffix}")
    path = write(tmp_path, frame(), f"o* [1]{suffix}")
    assert dated(read(path)) == written(rows())


def split_up(place: Path, names: list[str], table=None) -> Path:
    table = frame() if table is None else table
    size = -(-table.height // len(names))
    for number, name in enumerate(names):
        write(place, table.slice(number * size, size), name)
    return place


FOLDERS = {
    "Spark": (["part-00000-x.snappy.parquet", "part-00001-x.snappy.parquet"], ["_SUCCESS", ".part-00000.crc"]),
    "Spark CSV": (["part-00000.csv", "part-00001.csv.gz"], ["_SUCCESS"]),
    "Spark JSON": (["part-00000.json", "part-00001.json"], ["_SUCCESS"]),
    "Dask": (["part.0.parquet", "part.1.parquet", "part.10.parquet"], ["_metadata", "_common_metadata"]),
    "DuckDB": (["data_0.parquet", "data_1.parquet"], []),
    "Arrow": (["part-0.arrow", "part-1.arrow"], []),
    "deep": (["a/b/1.parquet", "a/c/2.parquet", "3.parquet"], ["_temporary/0/x.parquet", ".hidden/y.parquet"]),
    "hive": (["year=2021/month=3/0.parquet", "year=2021/month=4/0.parquet"], []),
    "other files": (["1.csv", "2.csv"], ["README.md", "notes.txt", "about.json"]),
}


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("name", ["events", "events.parquet"])
def test_a_folder_of_parts_is_one_table(tmp_path, kind, name):
    names, others = FOLDERS[kind]
    folder = split_up(tmp_path / name, names)
    for other in others:
        (folder / other).parent.mkdir(parents=True, exist_ok=True)
        (folder / other).write_bytes(b"no table")
    graph = load_graph(folder, num_days=0, granularity="15min")
    assert dated(graph) == written(rows()) and graph.name == "events"
    assert graph.read is not None and graph.read.lines == 60
    assert load_graph(**graph.provenance).checksum == graph.checksum


def test_columns_in_the_names_of_folders(tmp_path):
    table = frame()
    for relation in table["relation"].unique():
        write(tmp_path, table.filter(relation=relation).drop("relation"), f"t/relation={relation}/part-0.parquet")
    assert dated(read(tmp_path / "t")) == written(rows())
    write(tmp_path, table.drop("relation"), "t/relation=__HIVE_DEFAULT_PARTITION__/part-0.parquet")
    with pytest.raises(DataError, match="column relation has 60 null values, first in row 1 of part-0.parquet"):
        read(tmp_path / "t")
    for day, part in (
        frame().with_columns(date=pl.col("timestamp").dt.date()).partition_by("date", as_dict=True).items()
    ):
        write(tmp_path, part.drop("timestamp", "date"), f"u/date={day[0]}/part-0.parquet")
    assert sum(dated(read(tmp_path / "u")).values()) == 60


def test_folders_that_are_no_table_or_more_than_one(tmp_path):
    split_up(tmp_path / "mixed", ["1.parquet", "2.csv"])
    with pytest.raises(DataError, match=r"mixed: holds parts of several forms, such as 1.parquet and 2.csv; keep one"):
        load_graph(tmp_path / "mixed")
    for name, inside in {
        "Delta Lake": "_delta_log/0.json",
        "Iceberg": "metadata/v1.metadata.json",
        "Hudi": ".hoodie/x",
    }.items():
        split_up(tmp_path / name, ["1.parquet"])
        (tmp_path / name / inside).parent.mkdir()
        (tmp_path / name / inside).write_text("")
        with pytest.raises(DataError, match=f"a table of {name}, which also keeps files of older versions"):
            load_graph(tmp_path / name)
    (tmp_path / "empty.parquet").mkdir()
    with pytest.raises(DataError, match=r"empty.parquet: a folder without parts of a table; expected a table"):
        load_graph(tmp_path / "empty.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"stat.txt"):
        load_graph(tmp_path / "empty")
    split_up(tmp_path / "facts", ["notes.csv"])
    (tmp_path / "facts" / "train.txt").write_text("0\t0\t0\t0\n")
    with pytest.raises(DataError, match=r"stat.txt"):  # a folder of facts, whatever lies beside them
        load_graph(tmp_path / "facts")


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.zst", ".ndjson", ".ndjson.zst"])
def test_parts_without_a_row(tmp_path, suffix):
    split_up(tmp_path / "a", [f"part-{number}{suffix}" for number in (1, 3)])
    for number in (0, 2, 4):
        (tmp_path / "a" / f"part-{number}{suffix}").write_bytes(packed(b"", suffix))
    assert dated(read(tmp_path / "a")) == written(rows())
    for number in (1, 3):
        (tmp_path / "a" / f"part-{number}{suffix}").write_bytes(packed(b"", suffix))
    with pytest.raises(DataError, match="no events in its parts; expected a table"):
        read(tmp_path / "a")


def test_parts_that_differ(tmp_path):
    table = frame()
    write(tmp_path, table.cast({"timestamp": pl.Datetime("ns"), "entity1": pl.Categorical}), "a/1.parquet")
    write(tmp_path, table.select(reversed(ROLES)), "a/2.parquet")
    write(tmp_path, table.head(0), "a/3.parquet")
    assert read(tmp_path / "a").num_facts == 120
    write(tmp_path, table.rename({"entity1": "subject"}), "a/4.parquet")
    with pytest.raises(DataError, match=r"4.parquet: has no column 'entity1' for entity1"):
        read(tmp_path / "a")
    (tmp_path / "a" / "4.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"4.parquet: not a readable parquet file"):
        read(tmp_path / "a")
    write(tmp_path, table.with_columns(timestamp=pl.lit("2021-03-01")), "a/4.parquet")
    with pytest.raises(DataError, match=r"4.parquet: column timestamp has type String, but Datetime.* in 1.parquet"):
        read(tmp_path / "a")
    write(tmp_path, table.with_columns(entity2=pl.Series([*["x"] * 9, None, *["x"] * 50])), "a/4.parquet")
    with pytest.raises(DataError, match=r"column entity2 has 1 null values, first in row 10 of 4.parquet"):
        read(tmp_path / "a")


NAMES = {
    "text": lambda c: c,
    "categories": lambda c: c.cast(pl.Categorical),
    "enum": lambda c: c.cast(pl.Enum(c.unique().sort())),
    "bytes": lambda c: c.cast(pl.Binary),
    "numbers": lambda c: c.str.slice(1).cast(pl.Int64),
    "short numbers": lambda c: c.str.slice(1).cast(pl.UInt8),
    "whole floats": lambda c: c.str.slice(1).cast(pl.Float64),
    "short floats": lambda c: c.str.slice(1).cast(pl.Float32),
    "decimals": lambda c: c.str.slice(1).cast(pl.Decimal(38, 0)),
    "large numbers": lambda c: c.str.slice(1).cast(pl.Int64) + 2**60,
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".arrows"])
def test_names_of_every_type(tmp_path, kind, suffix):
    make = NAMES[kind]
    table = frame().with_columns(entity1=make(frame()["entity1"]), entity2=make(frame()["entity2"]))
    named = {
        "text": str,
        "categories": str,
        "enum": str,
        "bytes": str,
        "large numbers": lambda n: str(int(n[1:]) + 2**60),
    }
    named = named.get(kind, lambda n: n[1:])
    expected = [(named(s), r, named(o), t) for s, r, o, t in rows()]
    assert dated(read(write(tmp_path, table, f"a{suffix}"))) == written(expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            pl.Series([b"a", b"\xff\xfe"] * 30),
            r"column entity1 has bytes that are not UTF-8, first b'\\xff\\xfe' in row 2",
        ),
        (pl.Series([1.0, 2.5] * 30), r"no whole numbers, first 2.5 in row 2"),
        (pl.Series([1.0, float("inf")] * 30), r"no whole numbers, first inf in row 2"),
        (pl.Series([1.0, float("nan")] * 30), r"30 null values, first in row 2"),
        (pl.Series([2.0**60, 1.0] * 30), r"no whole numbers, first 1.15.*e\+18 in row 1"),
        (pl.Series([True, False] * 30), r"type Boolean; expected names as text, or whole numbers"),
        (pl.Series([["a"], []] * 30), r"type List\(String\); expected names"),
        (pl.Series([None, None] * 30), r"column entity1 has 60 null values, first in row 1"),
        (pl.Series(["a", " \t"] * 30), r"column entity1 has 30 empty values, first in row 2"),
    ],
)
def test_names_that_are_none(tmp_path, name, message):
    path = write(tmp_path, frame().with_columns(entity1=name), "a.parquet")
    with pytest.raises(DataError, match=message):
        read(path)


LAYOUTS = [
    ("subject", "relation", "object", "time"),
    ("Subject", "Relation", "Object", "Date"),
    ("s", "p", "o", "t"),
    ("head", "relation", "tail", "timestamp"),
    ("head", "rel", "tail", "ts"),
    ("h", "r", "t", "time"),
    ("source", "relation", "target", "time"),
    ("SRC", "REL", "DST", "TS"),
    ("actor1", "event", "actor2", "date"),
    ("Actor1Name", "EventCode", "Actor2Name", "DATEADDED"),
    ("sender", "label", "receiver", "sent_time"),
    ("from", "edge_type", "to", "created_at"),
    (" entity1", "relation ", "Entity2", "timestamp"),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.parquet"])
def test_well_known_columns_are_taken_and_said(tmp_path, layout, name, caplog):
    caplog.set_level("INFO", "tirgn_eqx")
    table = frame().rename(dict(zip(ROLES, layout))).with_columns(extra=pl.lit(1))
    path = write(tmp_path, table.select(table.columns[::-1]), name)
    columns = {"timestamp": "sent_time"} if layout[3] == "sent_time" else None
    assert dated(read(path, columns=columns)) == written(rows())
    said = [f"{role} = {name}" for role, name in zip(ROLES, layout) if name not in (role, (columns or {}).get(role))]
    assert f"columns: {', '.join(said)}" in caplog.messages
    assert any(message.startswith("times: ") and "2021-03-01 to 2021-03-" in message for message in caplog.messages)


def test_canonical_columns_come_first_and_are_not_said(tmp_path, caplog):
    caplog.set_level("INFO", "tirgn_eqx")
    table = frame().with_columns(subject=pl.lit("x"), object=pl.lit("y"), time=pl.lit(1), event=pl.lit("z"))
    assert dated(read(write(tmp_path, table, "a.parquet"))) == written(rows())
    assert [message.split(":")[0] for message in caplog.messages] == ["times"]


@pytest.mark.parametrize(
    ("names", "columns", "message"),
    [
        ({"entity1": "who"}, None, r"missing columns entity1; found who, .*--columns entity1=NAME"),
        (
            {"entity1": "subject", "entity2": "object", "extra": "source", "more": "target"},
            None,
            r"several pairs .*subject and object; source and target; say which with --columns entity1=subject,ent",
        ),
        ({"timestamp": "date", "extra": "time"}, None, r"columns time, date may each be the timestamp; say which with"),
        ({"relation": "event", "extra": "verb"}, None, r"columns event, verb may each be the relation"),
        (
            {"entity1": "subject", "entity2": "object", "extra": "Subject"},
            None,
            r"subject, Subject may each be the entity1",
        ),
        ({}, "entity1=nobody", r"has no column 'nobody' for entity1; found entity1, rel"),
        ({}, {"entity1": "entity2"}, r"missing columns entity2; found"),
        ({}, {"entity1": "extra", "entity2": "extra"}, r"column 'extra' cannot have two roles"),
    ],
)
def test_columns_that_are_not_clear(tmp_path, names, columns, message):
    table = frame().with_columns(extra=pl.lit("a"), more=pl.lit("b")).rename(names)
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, table, "a.parquet"), columns=columns)


def test_columns_that_are_given(tmp_path):
    names = {"entity1": "who", "relation": "did what", "entity2": "to whom", "timestamp": "moment"}
    path = write(tmp_path, frame().rename(names), "a.csv")
    for columns in (names, "entity1=who, relation=did what,entity2=to whom,timestamp=moment"):
        graph = read(path, columns=columns)
        assert dated(graph) == written(rows())
        assert load_graph(**json.loads(json.dumps(graph.provenance))).checksum == graph.checksum
    swapped = read(path, columns=names | {"entity1": "to whom", "entity2": "who"})
    assert dated(swapped) == written([(o, r, s, t) for s, r, o, t in rows()])
    for columns, message in {
        "who=entity1": r"'who' does not exist; known: entity1, relation",
        "entity1": r"'entity1' is not role=column; write it like --columns entity1=subject",
        "entity1=a,entity1=b": "entity1 is given twice",
    }.items():
        with pytest.raises(ConfigError, match=message):
            read(path, columns=columns)


def test_a_csv_file_without_names_of_columns(tmp_path):
    content = frame().write_csv().partition("\n")[2]
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=r"missing columns entity1, .*found E0, 010"):
        read(tmp_path / "a.csv")
    graph = read(tmp_path / "a.csv", columns="entity1=1,relation=2,entity2=3,timestamp=4")
    assert dated(graph) == written(rows())


CSV = frame().write_csv()
LINES = CSV.splitlines()


@pytest.mark.parametrize(
    "content",
    [
        CSV.replace("\n", "\r\n"),
        CSV.replace("\n", "\r"),
        "\ufeff" + CSV,
        CSV.replace(",", ";"),
        CSV.replace(",", "\t"),
        CSV.replace(",", "|"),
        CSV.replace(",", ", "),
        CSV.rstrip("\n"),
        "\n".join(f'"{line}"'.replace(",", '","') for line in LINES),
        "\n\n".join(LINES) + "\n\n",
        "\n".join(f"{line},{extra}" for line, extra in zip(LINES, ["note", *["", '"a, b"', "x"] * 20])),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_csv_as_programs_write_it(tmp_path, content, suffix):
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(packed(content.encode(), path.name))
    if "\r" in content.rstrip() and "\n" not in content and suffix == ".zst":
        pytest.skip("lines of a packed file end in LF")
    graph = read(path)
    assert dated(graph) == written(rows())
    assert graph.read is not None and graph.read.lines == 60 + graph.read.blank
    assert (graph.read.blank > 50) == ("\n\n" in content)


def two_on_one_line(lines, end=","):
    return [*lines[:5], lines[5] + end + lines[6], *lines[7:]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "\n".join(two_on_one_line(LINES)),
            r"line 6 has 8 columns, but the first line has 4; is the end of a line lost",
        ),
        (
            "\n".join([LINES[0] + ",extra", *two_on_one_line(LINES)[1:]]),
            r"line 6 has 8 columns, but the first line has 5",
        ),
        (
            "\n".join(two_on_one_line(LINES, "\r")),
            r"line 6 has 7 columns and a carriage return within, but the first line has 4",
        ),
        ("\n".join([*LINES[:9], "E1,010,E2"]), r"column timestamp has 1 null values, first in row 9"),
        ("\n".join([*LINES[:9], "\x1a"]), r"column relation has 1 null values, first in row 9"),
        ("\n".join([*LINES[:9], '"E1,010,E2,2021-03-01', *LINES[9:]]), r"not a readable CSV table"),
        (
            "\n".join([*LINES[:9], ",010,E2,2021-03-01", *LINES[9:]]),
            r"column entity1 has 1 null values, first in row 9",
        ),
        (
            "\n".join([*LINES[:9], '"",010,E2,2021-03-01', *LINES[9:]]),
            r"column entity1 has 1 empty values, first in row 9",
        ),
        ("", r"not a readable CSV table \(it is empty\)"),
        (LINES[0], r"no events in the file"),
        (LINES[0] + "," * 20_000, r"more than 10,000 columns"),
        ("a" * 2_000_000, r"its first line has more than 1,048,576 bytes"),
    ],
)
def test_csv_that_lost_something_is_refused(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content.encode())
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path / "a.csv")
    assert len(str(error.value)) < 600


def test_text_of_another_encoding_is_refused_with_its_line(tmp_path):
    text = "\n".join([*LINES[:4], "Perú,010,E2,2021-03-01", *LINES[4:]])
    (tmp_path / "a.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"line 5 is not UTF-8 \(b'Per\\xfa,010"):
        read(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(text.encode("utf-16"))
    with pytest.raises(DataError, match="its text is UTF-16; save it as UTF-8"):
        read(tmp_path / "a.csv")
    (tmp_path / "a.ndjson").write_bytes('{"entity1": "Perú"}\n'.encode("latin-1"))
    with pytest.raises(DataError, match="not a readable NDJSON table"):
        read(tmp_path / "a.ndjson")


def test_names_with_line_breaks_are_read_and_doubted(tmp_path):
    facts = [*rows(), ("two\nlines", "010", "E1", START)]
    path = write(tmp_path, frame(facts), "a.csv")
    with pytest.warns(
        DataWarning, match=r"1 names have a line break in them, first 'two\\nlines' as entity1 in row 61"
    ):
        assert dated(read(path)) == written(facts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"entity1": 1}]\n', "no JSON objects, one a line; a JSON array is no table"),
        ('[\n{"entity1": 1}\n]\n', "no JSON objects, one a line"),
        ("entity1,relation\n", "no JSON objects, one a line"),
        ("", "it is empty"),
        ("{}\n", "0 keys in its first lines"),
        ('{"entity1": ' + "[" * 100_000 + "\n", "no JSON objects"),
        (frame().write_ndjson() + '{"entity1": "a"}\n', "column relation has 1 null values, first in row 61"),
        (frame().write_ndjson()[:-20], "not a readable NDJSON table"),
    ],
)
def test_ndjson_that_is_none(tmp_path, content, message):
    (tmp_path / "a.ndjson").write_text(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.ndjson")


def test_ndjson_keeps_numbers_as_they_are_written(tmp_path):
    lines = [
        {"s": 2**70 + i % 3, "p": i % 2, "o": f"{i % 4:03d}", "t": int(START.timestamp()) + 86_400 * i}
        for i in range(9)
    ]
    (tmp_path / "a.jsonl").write_text("\n\n".join(json.dumps(line) for line in lines))
    graph = read(tmp_path / "a.jsonl")
    assert graph.num_facts == 9 and str(2**70) in (graph.entity_names or ()) and "003" in (graph.entity_names or ())


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_packed_files_that_are_damaged_or_bombs(tmp_path, suffix):
    whole = packed(CSV.encode() * 50, f"a{suffix}")
    path = tmp_path / f"a.csv{suffix}"
    for content in (whole[:-9], whole[: len(whole) // 2], whole[:40] + b"\xff" * 40 + whole[80:]):
        path.write_bytes(content)
        if suffix == ".gz" or len(content) < len(whole):
            with pytest.raises(DataError, match="not a readable CSV table"):
                read(path)
    line = b"a,b,c,2021-03-01\n" * 100_000
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(LINES[0].encode() + b"\n")
        for _ in range(60):
            file.write(line)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(DataError, match=r"unpacks to more than [0-9,]+ bytes"):
        read(path)
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(DataError, match="packed in another way than gzip or zstd; unpack it first"):
        read(path)


def test_a_bomb_of_zstd_is_refused(tmp_path):
    """Blocks of one repeated byte: four bytes for 128 KiB each."""
    size = 1 << 17
    block = lambda last: (size << 3 | 1 << 1 | last).to_bytes(3, "little") + b"\n"
    path = tmp_path / "a.csv.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd\x00\x38" + block(0) * 5000 + block(1))
    with pytest.raises(DataError, match=r"unpacks to more than|damaged|out of memory"):
        read(path)


def test_arrow_files_that_are_damaged(tmp_path):
    for name in ("a.arrow", "a.arrows"):
        path = write(tmp_path, frame(), name)
        whole = path.read_bytes()
        for content in (whole[: len(whole) // 2], whole[:100] + b"\xff" * 60 + whole[160:], b"", b"ARROW1" + bytes(90)):
            path.write_bytes(content)
            try:
                found = dated(read(path))
            except DataError as error:
                assert "not a readable Arrow file" in str(error) and str(error).isprintable()
            else:  # what is damaged is the first of two descriptions of the columns
                assert found == written(rows()) and content[:6] == b"ARROW1" and len(content) == len(whole)


def test_rows_that_lack_something_are_set_aside_and_counted(tmp_path):
    facts = [(None, *rows()[0][1:]), *rows(), (*rows()[0][:3], None), ("", *rows()[0][1:]), ("a", " ", "b", START)]
    path = write(tmp_path, frame(facts), "a.parquet")
    with pytest.raises(DataError, match=r"column entity1 has 1 null values, first in row 1 .*--skip-bad-rows"):
        read(path)
    graph = load_graph(path, num_days=0, granularity="15min", skip_bad_rows=True)
    assert dated(graph) == written(rows())
    assert graph.read is not None and (graph.read.lines, graph.read.bad, graph.read.facts) == (64, 4, 60)
    assert graph.provenance["skip_bad_rows"] is True
    assert load_graph(**graph.provenance).checksum == graph.checksum
    days = pl.Series([20210301 + i % 20 for i in range(59)] + [0])
    path = write(tmp_path, frame().with_columns(timestamp=days), "b.parquet")
    graph = read(path, skip_bad_rows=True)
    assert graph.read is not None and (graph.read.bad, graph.read.facts) == (1, 59)
    assert graph.read.times == "YYYYMMDD, 2021-03-01 to 2021-03-20"
    path = write(tmp_path, frame().with_columns(entity1=pl.lit(None, pl.String)), "c.parquet")
    with pytest.raises(DataError, match="all 60 rows lack a name or a time"):
        read(path, skip_bad_rows=True)


def test_frames_of_polars(tmp_path):
    expected = written(rows())
    for table in (frame(), frame().lazy(), frame().rename({"entity1": "subject", "entity2": "object"})):
        graph = load_graph(table, num_days=0, granularity="15min")
        assert dated(graph) == expected and graph.provenance["kind"] == "frame" and graph.name == "events"
    graph = TemporalGraph.from_events(frame(), num_days=0, granularity="15min")
    assert dated(graph) == expected
    assert (
        dated(TemporalGraph.from_events(write(tmp_path, frame(), "a.csv"), num_days=0, granularity="15min")) == expected
    )
    with pytest.raises(DataError, match=r"these data were a DataFrame in memory, .* give it with --data-path"):
        load_graph(**graph.provenance)
    with pytest.raises(DataError, match=r"the table: missing columns entity1; found who"):
        load_graph(frame().rename({"entity1": "who"}))
    assert load_graph(frame(), name="mine").name == "mine"


class LikePandas:
    """What pandas shows of a DataFrame, as far as it is used."""

    def __init__(self, columns: dict[str, Any]):
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name: str) -> Any:
        import numpy as np

        values = self._columns[name]
        values = values if isinstance(values, np.ndarray) else np.array(values, object)

        class Column:
            dtype = values.dtype
            to_numpy = staticmethod(lambda: values)

        return Column()


class NAType:
    """What pandas has for a value that is not available."""

    def __eq__(self, other):
        return self

    __hash__ = None  # pyright: ignore

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")


def test_frames_like_those_of_pandas():
    import numpy as np

    columns: dict[str, Any] = {name: [row[i] for row in rows()] for i, name in enumerate(ROLES)}
    columns["timestamp"] = np.array(columns["timestamp"], "M8[ns]")
    assert dated(load_graph(LikePandas(columns), num_days=0, granularity="15min")) == written(rows())
    for nothing in (None, float("nan"), NAType()):
        lacking = LikePandas(columns | {"entity1": [nothing, *columns["entity1"][1:]]})
        with pytest.raises(DataError, match="the table: column entity1 has 1 null values, first in row 1"):
            load_graph(lacking)
    nat = columns["timestamp"].copy()
    nat[3] = np.datetime64("NaT")
    with pytest.raises(DataError, match="column timestamp has 1 null values, first in row 4"):
        load_graph(LikePandas(columns | {"timestamp": nat}))
    with pytest.raises(DataError, match=r"column entity1 has values of several types \(int, str\); make them all text"):
        load_graph(LikePandas(columns | {"entity1": [1, *columns["entity1"][1:]]}))


def test_frames_of_pandas():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = pandas.DataFrame(rows(), columns=list(ROLES))
    zoned = table.assign(timestamp=table["timestamp"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))
    nullable = table.assign(entity1=table["entity1"].astype("string"), relation=table["relation"].astype("category"))
    for version in (table, zoned, nullable):
        assert dated(load_graph(version, num_days=0, granularity="15min")) == written(rows())
    lacking = nullable.assign(entity1=nullable["entity1"].mask(nullable.index == 3))
    with pytest.raises(DataError, match="column entity1 has 1 null values, first in row 4"):
        load_graph(lacking)


# --- tables that hypothesis makes -------------------------------------------------------------------------------------

LETTERS = string.ascii_letters + string.digits + "éЖ中😀 ,;\"'\t|._-()#\\/="
name = st.text(LETTERS, min_size=1, max_size=8).filter(lambda text: text.strip() != "" and text == text.strip())
SECOND, MINUTE, HOUR, DAY = 1, 60, 3600, 86_400
unix = lambda t: int((t - EPOCH).total_seconds())
TIMES = {
    "datetime": (SECOND, lambda t: t),
    "date": (DAY, lambda t: t.date()),
    "iso": (SECOND, lambda t: t.isoformat()),
    "iso day": (DAY, lambda t: t.date().isoformat()),
    "BigQuery": (SECOND, lambda t: f"{t} UTC"),
    "zulu": (SECOND, lambda t: f"{t.isoformat()}Z"),
    "offset": (SECOND, lambda t: f"{t + dt.timedelta(hours=5, minutes=30)}+05:30"),
    "slashes": (MINUTE, lambda t: f"{t:%Y/%m/%d %H:%M}"),
    "s": (SECOND, unix),
    "ms": (SECOND, lambda t: 1000 * unix(t) + 7),
    "us": (SECOND, lambda t: 10**6 * unix(t) + 7),
    "ns": (SECOND, lambda t: 10**9 * unix(t) + 7),
    "text s": (SECOND, lambda t: str(unix(t))),
    "float s": (SECOND, lambda t: float(unix(t))),
    "YYYYMMDD": (DAY, lambda t: int(f"{t:%Y%m%d}")),
    "text YYYYMMDD": (DAY, lambda t: f"{t:%Y%m%d}"),
    "YYYYMMDDHH": (HOUR, lambda t: int(f"{t:%Y%m%d%H}")),
    "YYYYMMDDHHMM": (MINUTE, lambda t: int(f"{t:%Y%m%d%H%M}")),
    "YYYYMMDDHHMMSS": (SECOND, lambda t: int(f"{t:%Y%m%d%H%M%S}")),
}
FILES = ["a.parquet", "a.arrow", "a.arrows", "a.csv", "a.csv.gz", "a.csv.zst", "a.tsv", "a.ndjson", "a.ndjson.gz"]
FILES += ["a/*.parquet", "a/*.csv", "a/part-*.ndjson.zst", "a/year=2021/*.arrow"]


@st.composite
def tables(draw):
    """Facts as they were meant, and a table of them: (facts or None for missing, frame, name of the file)."""
    file = draw(st.sampled_from(FILES))
    text = ".parquet" not in file and ".arrow" not in file
    form = draw(st.sampled_from(list(TIMES)))
    size, encode = TIMES[form]
    entities = draw(st.lists(name, min_size=2, max_size=6, unique=True))
    relations = draw(st.lists(name, min_size=1, max_size=4, unique=True))
    days = draw(st.lists(st.integers(3_300, 20_000), min_size=3, max_size=12, unique=True))
    facts: list[Any] = []
    for day in days + draw(st.lists(st.sampled_from(days), max_size=25)):
        second = (day * DAY + draw(st.integers(0, DAY - 1))) // size * size
        facts.append(
            [draw(st.sampled_from(entities)), draw(st.sampled_from(relations)), draw(st.sampled_from(entities)), second]
        )
    cells = {role: [fact[i] for fact in facts] for i, role in enumerate(ROLES)}
    cells["timestamp"] = [encode(EPOCH + dt.timedelta(seconds=second)) for second in cells["timestamp"]]
    for place in draw(st.lists(st.tuples(st.integers(0, len(facts) - 1), st.sampled_from(ROLES)), max_size=2)):
        if draw(st.booleans()):
            cells[place[1]][place[0]] = draw(st.sampled_from([None, ""])) if place[1] != "timestamp" else None
            facts[place[0]] = None
    frame = pl.DataFrame({role: pl.Series(values, strict=True) for role, values in cells.items()})
    if not text:
        kinds = [pl.String, pl.Categorical, pl.Binary]
        frame = frame.cast({role: draw(st.sampled_from(kinds)) for role in ROLES[:3]})
    layout = draw(st.sampled_from([ROLES, *LAYOUTS[:3], LAYOUTS[6]]))
    frame = frame.rename(dict(zip(ROLES, layout)))
    for number in range(draw(st.integers(0, 2))):
        frame = frame.with_columns(pl.lit(draw(name)).alias(f"extra {number}"))
    return facts, frame.select(draw(st.permutations(frame.columns))), file


def spread(place: Path, table: pl.DataFrame, file: str) -> Path:
    """The table as one file, or as the parts of a folder."""
    if "*" not in file:
        return write(place, table, file)
    split_up(place, [file.replace("*", str(number)) for number in range(min(3, table.height))], table)
    return place / "a"


def check_table(case) -> None:
    facts, table, file = case
    expected = Counter((second // 900 * 900, s, r, o) for s, r, o, second in filter(None, facts))
    with tempfile.TemporaryDirectory() as work, warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # of dates before 1979
        path = spread(Path(work), table, file)
        if None in facts:
            with pytest.raises(DataError, match="null values|empty values"):
                read(path)
        if len({key[0] for key in expected}) < 3:
            with pytest.raises(DataError, match="distinct times|lack a name|null values"):
                read(path, skip_bad_rows=True)
            return
        graph = read(path, skip_bad_rows=None in facts)
    assert graph.read is not None
    assert (graph.read.lines - graph.read.blank, graph.read.facts) == (len(facts), sum(expected.values()))
    assert graph.read.bad == facts.count(None)
    assert dated(graph) == expected


def run(examples: int) -> None:
    given(tables())(
        settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))(check_table)
    )()


def test_facts_read_are_facts_written():
    run(150)


@pytest.mark.slow
def test_facts_read_are_facts_written_in_thousands_of_tables():
    run(2500)


def damaged_csv(draw, text: str) -> str:
    """A CSV file with a few characters that matter put in, taken out, or doubled."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text) - 1))
        kind = draw(st.sampled_from(["delete", "double", "insert"]))
        mark = draw(st.sampled_from(list(',"\n\r;\t\0\x1a x')))
        text = text[:at] + {"delete": "", "double": text[at] * 2, "insert": mark + text[at]}[kind] + text[at + 1 :]
    return text


@st.composite
def damages(draw):
    return damaged_csv(draw, CSV)


def check_damaged(text: str) -> None:
    """A damaged file is refused, or each of its records is a fact, as Python's own reader of CSV counts them."""
    with tempfile.TemporaryDirectory() as work, warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        (Path(work) / "a.csv").write_bytes(text.encode())
        try:
            graph = read(Path(work) / "a.csv")
        except DataError:
            return
    # A carriage return is a part of the line end, or of what pads a field.
    records = [record for record in csv.reader(io.StringIO(text.replace("\r", ""), newline="")) if record]
    assert graph.read is not None
    assert graph.num_facts == graph.read.lines - graph.read.blank == len(records) - 1


def test_damaged_csv_loses_nothing_in_silence():
    given(damages())(settings(max_examples=100, deadline=None)(check_damaged))()


@pytest.mark.slow
def test_thousands_of_damaged_csv_files():
    given(damages())(settings(max_examples=3000, deadline=None)(check_damaged))()
