"""Raw files: found, unpacked, and refused when they are broken or something else."""

import bz2
import gzip
import hashlib
import io
import lzma
import random
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ingest.ingest_helpers import NAME, ROWS, facts, forty, ingest, rejects, write
from tests.ingest.raw_rows import raw
from tirgn_eqx.ingest.gdelt_rows import GDELT
from tirgn_eqx.ingest.icews_rows import ICEWS
from tirgn_eqx.ingest.polecat_rows import POLECAT
from tirgn_eqx.ingest.sources import Source, Unreadable, find_sources, read_blocks


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
    found = find_sources([tmp_path, tmp_path / "1979.zip"], GDELT.names, GDELT.examples)
    assert [source.path.name for source in found] == sorted(Path(name).name for name in names)
    assert [source.path.name for source in find_sources([tmp_path / "notes.txt"], GDELT.names, GDELT.examples)] == [
        "notes.txt"
    ]


@pytest.mark.parametrize("source", [ICEWS, POLECAT], ids=lambda source: source.source)
def test_what_an_ingest_writes_beside_its_table_is_no_raw_file(tmp_path, source):
    for name in ("e.parquet", "e.rejects.tsv", "E.Rejects.TSV", "e.repeats.parquet", "e.report.json", "rejects.tsv"):
        (tmp_path / name).write_bytes(b"")
    assert [found.path.name for found in find_sources([tmp_path], source.names, source.examples)] == ["rejects.tsv"]


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
    "b.csv": (bz2.compress(ROWS), "a bzip2 file; give event files as they were published"),
    "x.csv": (lzma.compress(ROWS), "an xz file; give event files as they were published"),
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
