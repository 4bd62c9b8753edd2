"""Files of JSON lines: what a killed writer left is cut off, and a line that cannot be written leaves nothing."""

import errno
import os

import pytest

from tirgn_eqx.storage.json_lines import append_lines, truncate_partial_line


@pytest.mark.parametrize(
    ("content", "kept"),
    [(b"", b""), (b"a\nb", b"a\n"), (b"a\n", b"a\n"), (b"b" * 9000, b""), (b"a\n" + b"b" * 9000, b"a\n")],
)
def test_what_is_unfinished_is_cut_off(tmp_path, content, kept):
    file = tmp_path / "lines"
    file.write_bytes(content)
    truncate_partial_line(file)
    assert file.read_bytes() == kept
    truncate_partial_line(tmp_path / "missing")


def test_lines_are_appended_and_on_the_disk(tmp_path, monkeypatch):
    flushed, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (flushed.append(os.fstat(handle).st_ino), fsync(handle)))
    file = tmp_path / "lines"
    append_lines(file, [b"a\n"])
    append_lines(file, [b"b\n", b"c\n"])
    assert file.read_bytes() == b"a\nb\nc\n"
    # The file, and the folder that holds its name.
    assert flushed == 2 * [file.stat().st_ino, tmp_path.stat().st_ino]


def test_a_disk_that_is_full_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "lines"
    append_lines(file, [b"a\n"])
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        append_lines(file, [b"b\n"])
    assert file.read_bytes() == b"a\n"
