"""Files of JSON lines that programs append to, and that a program may have been killed while writing to."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from tirgn_eqx.storage.atomic_write import flush

# Bytes that are handed to the system at once. Of a larger piece it may write a part too, but hardly ever does: the rare
# case is made the usual one, so that tests which kill processes meet it.
BLOCK = 2**16


def truncate_partial_line(path: Path) -> None:
    """Cut off what a process that died while writing left of a line. The caller holds the lock of the file."""
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        # From the end backwards in blocks, because the file may be long and the rest of a line is short.
        end = keep = file.seek(0, os.SEEK_END)
        while keep > 0:
            begin = max(0, keep - 4096)
            file.seek(begin)
            found = file.read(keep - begin).rfind(b"\n")
            keep = begin + found + 1
            if found >= 0:
                break
        if keep < end:
            file.truncate(keep)


def append_lines(path: Path, lines: Sequence[bytes]) -> None:
    """Append whole lines, each with its newline, and wait until they are on the disk. The caller holds the lock.

    A process that is killed in between leaves some of the lines, the last one possibly in part.

    **Raises:** OSError when they cannot be written; the file is then as it was.
    """
    # Without a buffer of Python's, which would write the rest of the lines when the file is closed after an error.
    with path.open("ab", buffering=0) as file:
        before, rest = file.seek(0, os.SEEK_END), memoryview(b"".join(lines))
        try:
            while rest:
                rest = rest[file.write(rest[:BLOCK]) :]
            os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(before)
            raise
    flush(path.parent)
