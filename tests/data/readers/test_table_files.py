"""The files of event tables: every form, folders of parts, and files that are damaged or none."""

import gzip
import json

import polars as pl
import pytest

from tests.data.readers.table_helpers import (
    CSV,
    LINES,
    START,
    dated,
    frame,
    packed,
    read,
    rows,
    split_up,
    write,
    written,
)
from tirgn_eqx.data import load_graph
from tirgn_eqx.data.readers.table_files import SUFFIXES
from tirgn_eqx.errors import DataError
from tirgn_eqx.storage.table_probe import kept


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


def test_a_csv_file_without_names_of_columns(tmp_path):
    content = frame().write_csv().partition("\n")[2]
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=r"missing columns entity1, .*found E0, 010"):
        read(tmp_path / "a.csv")
    graph = read(tmp_path / "a.csv", columns="entity1=1,relation=2,entity2=3,timestamp=4")
    assert dated(graph) == written(rows())


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

    def block(last):
        return (size << 3 | 1 << 1 | last).to_bytes(3, "little") + b"\n"

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
