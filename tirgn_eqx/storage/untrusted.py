"""Files from anywhere, read within limits: JSON, TOML, packed ones. Nothing in them is ever run or unpickled.

What a reader here refuses it refuses with `Unsound`; who calls it says which file that was and what to do.
"""

import errno
import json
import lzma
import os
import stat
import struct
import tomllib
import zipfile
import zlib
from pathlib import Path
from typing import Any

# What the standard library raises for one flipped byte of an archive or another.
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError),
    *(OSError, ValueError, IndexError, KeyError, OverflowError, struct.error),
)
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ROOM = 1 << 26  # bytes that any packed file may unpack to
RATIO = 32  # and so many times its own bytes; numbers and text come nowhere near


class Unsound(Exception):
    """Why a file cannot be taken; the message is a part of one line."""


def told(error: BaseException) -> str:
    """What an error of another library says, on one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def check_regular(path: Path) -> None:
    """**Raises:** OSError for a path that is not there, or is a device or a pipe, which may never end."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder, not a file" if stat.S_ISDIR(mode) else "a device or a pipe, not a file"
        raise OSError(errno.EINVAL, kind, str(path))


def is_utf8(path: str | os.PathLike[str]) -> bool:
    """Whether a path can be written as UTF-8: any bytes may name a file, but records hold text alone."""
    return not any("\ud800" <= letter <= "\udfff" for letter in os.fspath(path))


def read_end(path: Path, most: int) -> bytes:
    """The last `most` bytes of a file. **Raises:** OSError when it cannot be read, or is none."""
    check_regular(path)
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - most))
        return file.read(most)


def parse_json(text: str | bytes) -> Any:
    """A JSON document. **Raises:** ValueError for what is none, also when it is nested too deep."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def parse_toml(text: str) -> dict[str, Any]:
    """A TOML document. **Raises:** ValueError for what is none, also when it is nested too deep."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def room_for(size: int) -> int:
    """How many bytes a packed file of `size` bytes may unpack to."""
    return ROOM + RATIO * size
