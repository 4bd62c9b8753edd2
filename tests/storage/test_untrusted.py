"""Limits on files from anywhere, at their boundaries; made small, so that files need not be large."""

import io
import zipfile

import numpy as np
import pytest

from tirgn_eqx.gdelt import sources
from tirgn_eqx.storage import npz
from tirgn_eqx.storage.untrusted import Unsound


def packed(count: int) -> bytes:
    """An archive of so many arrays of a hundred bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(count):
            array = io.BytesIO()
            np.save(array, np.zeros(100, np.uint8))
            archive.writestr(f"{number}.npy", array.getvalue())
    return file.getvalue()


def test_all_arrays_of_an_archive_together_have_a_limit(monkeypatch):
    size = 100 + 128  # with its header
    monkeypatch.setattr(npz, "room_for", lambda _: 4 * size)
    assert len(npz.read_arrays(packed(4), packed=True)) == 4
    with pytest.raises(Unsound, match=f"unpacks to {5 * size:,} bytes, more than the {4 * size:,}"):
        npz.read_arrays(packed(5), packed=True)


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


@pytest.mark.parametrize("shape", ["()", "(0,)", "(2,)", "(4,)", "(0, 3)", "(2, 2)"])
def test_an_array_has_as_many_bytes_as_it_says(shape):
    """Three numbers of eight bytes, under a header that says another shape: none is cut off or passed over."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    raw = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + np.arange(3.0).tobytes()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", raw)
    with pytest.raises(Unsound, match=r"array 'a' says \[.*\] of float64, but has 24 bytes"):
        npz.read_arrays(file.getvalue())
