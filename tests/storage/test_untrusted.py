"""Limits on files from anywhere, at their boundaries; made small, so that files need not be large."""

import zipfile

import pytest

from tirgn_eqx.ingest import sources
from tirgn_eqx.storage.untrusted import parse_json


def test_of_a_line_without_end_no_more_is_kept_than_is_looked_at(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "LONGEST", 10)
    place = tmp_path / "a.csv"
    place.write_bytes(b"first\n" + b"x" * 500 + b"\nlast\n" + b"y" * 500)
    source = sources.Source(place, "a.csv", place.stat().st_size)
    lines = b"".join(block.data for block in sources.read_blocks(source, sources.hashlib.sha256(), 7)).splitlines()
    assert [line[:1] for line in lines] == [b"f", b"x", b"l", b"y"] and lines[0] == b"first" and lines[2] == b"last"
    assert all(10 < len(line) <= 10 + 1 + 7 for line in lines[1::2])


@pytest.mark.parametrize(("total", "fits"), [(1000, True), (1001, False)])
def test_a_zip_says_what_it_unpacks_to_before_it_is_read(monkeypatch, tmp_path, total, fits):
    monkeypatch.setattr(sources, "room_for", lambda _: 1000)
    place = tmp_path / "a.zip"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"x\n" * 250)
        archive.writestr("b", b"y\n" * 250 + b"z" * (total - 1000))
    source, read = sources.Source(place, "a.zip", place.stat().st_size), []
    monkeypatch.setattr(zipfile.ZipFile, "open", _counted(zipfile.ZipFile.open, read))
    blocks = sources.read_blocks(source, sources.hashlib.sha256())
    if fits:
        assert sum(len(block.data) for block in blocks) == 1000
        return
    with pytest.raises(sources.Unreadable, match="unpacks to more than 1,000 bytes"):
        list(blocks)
    assert not read


def _counted(function, calls):
    def count(*args, **options):
        calls.append(args)
        return function(*args, **options)

    return count


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000])
def test_json_that_ends_no_recursion(text):
    with pytest.raises(ValueError, match="deep|digits"):
        parse_json(text)
