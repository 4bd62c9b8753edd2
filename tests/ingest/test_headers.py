"""First lines in blocks, packs and archives."""

import io
import zipfile

import pytest

from tests.ingest.archive_files import ICEWS_HEADER, icews
from tests.ingest.ingest_helpers import ingest, rejects, write
from tirgn_eqx.errors import DataError
from tirgn_eqx.ingest.formats import FORMATS
from tirgn_eqx.ingest.headers import HeaderReader
from tirgn_eqx.ingest.options import IngestOptions
from tirgn_eqx.ingest.sources import Block, Source

OPTIONS = IngestOptions(source="icews")


def packed(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "."), data)
    return buffer.getvalue()


def test_the_first_line_of_every_part_is_its_header(tmp_path):
    reader, source = HeaderReader(FORMATS["icews"], OPTIONS), Source(tmp_path / "a.zip", "a.zip", 9)
    blocks = [Block("a.zip:b", ICEWS_HEADER + icews(1)), Block("a.zip:b", icews(2)), Block("a.zip:c", ICEWS_HEADER)]
    header = ICEWS_HEADER.rstrip(b"\n")
    write(tmp_path, packed(b=ICEWS_HEADER + icews(1) + icews(2), c=ICEWS_HEADER), "a.zip")
    assert list(reader.split(source, iter(blocks))) == [
        Block("a.zip:b", icews(1), header),
        Block("a.zip:b", icews(2), header),
        Block("a.zip:c", b"", header),
    ]


def test_files_without_a_header_stay_as_they_are(tmp_path):
    block = Block("a.csv", b"1\t2\n")
    reader = HeaderReader(FORMATS["gdelt"], IngestOptions())
    assert list(reader.split(Source(tmp_path, "a.csv", 4), iter([block]))) == [block]


def test_of_an_archive_the_files_of_the_source_are_read(tmp_path):
    tables = {"a__tab": ICEWS_HEADER + icews(1) + b"bad\n", "b__tab": ICEWS_HEADER + icews(2)}
    data = packed(MANIFEST__TXT=b"what is in here\n", **tables, README__TXT=b"what is not\n")
    report = ingest([write(tmp_path, data, "dataverse_files.zip")], tmp_path / "events.parquet", OPTIONS)
    assert report["files"]["read"] == 1 and report["files"]["unreadable"] == []
    assert (report["rows"]["read"], report["rows"]["accepted"], report["rows"]["malformed"]) == (3, 2, 1)
    assert report["malformed"]["first"][0]["file"].endswith("dataverse_files.zip:a.tab")
    assert [(line, reason) for _, line, reason, _ in rejects(tmp_path / "events.parquet")] == [
        (3, "1 columns; expected 20")
    ]


def test_an_archive_without_any_is_unreadable(tmp_path):
    path = write(tmp_path, packed(a__txt=b"one\n", b__txt=b"two\n"), "a.zip")
    with pytest.raises(DataError, match="its first line names no column Event ID"):
        ingest([path], tmp_path / "events.parquet", OPTIONS)


def test_a_table_in_an_archive_that_cannot_be_read_is_not_left_out_in_silence(tmp_path):
    lacking = ICEWS_HEADER.replace(b"CAMEO Code", b"Code")
    path = write(tmp_path, packed(a__tab=ICEWS_HEADER + icews(1), b__tab=lacking + icews(2)), "a.zip")
    with pytest.raises(DataError, match="names no column CAMEO Code"):
        ingest([path], tmp_path / "events.parquet", OPTIONS)
    # Neither is the part before it in the table.
    good = write(tmp_path, ICEWS_HEADER + icews(3), "c.tab")
    report = ingest([path, good], tmp_path / "events.parquet", OPTIONS, block_bytes=300)
    assert (report["rows"]["read"], report["rows"]["accepted"], len(report["files"]["unreadable"])) == (1, 1, 1)


def test_files_with_other_headers_do_not_share_a_pack(tmp_path):
    columns = ICEWS_HEADER.rstrip(b"\n").split(b"\t")
    turned = b"\t".join(columns[::-1]) + b"\n"
    for number, name in enumerate(("a", "b", "c", "d")):
        line = icews(number + 1)
        if name in "bd":
            write(tmp_path / "raw", turned + b"\t".join(line.rstrip(b"\n").split(b"\t")[::-1]) + b"\n", f"{name}.tab")
        else:
            write(tmp_path / "raw", ICEWS_HEADER + (line if name == "a" else b""), f"{name}.tab")
    report = ingest([tmp_path / "raw"], tmp_path / "events.parquet", OPTIONS)
    assert (report["rows"]["accepted"], report["rows"]["malformed"], report["files"]["empty"]) == (3, 0, 1)
