"""Untrusted files (JSON, TOML, compressed), read within limits. Nothing in them is ever run or unpickled.

The readers of the package refuse such a file with `Unsound`; the caller adds its name and what to do.
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

# What the standard library raises for damaged archives, depending on the damaged byte.
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError),
    *(OSError, ValueError, IndexError, KeyError, OverflowError, struct.error),
)
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ROOM = 1 << 26  # bytes that any compressed file may unpack to
RATIO = 32  # further bytes for each of its own; numbers and text stay far below


class Unsound(Exception):
    """Why a file is refused; the message is part of one line."""


def told(error: BaseException) -> str:
    """The first line of the message of another library's error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def check_regular(path: Path) -> None:
    """**Raises:** OSError for a missing path, a folder, or a device or pipe, which may never end."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder, not a file" if stat.S_ISDIR(mode) else "a device or a pipe, not a file"
        raise OSError(errno.EINVAL, kind, str(path))


def is_utf8(path: str | os.PathLike[str]) -> bool:
    """Whether a path can be written as UTF-8: a file name may be any bytes, but records are text."""
    # Python keeps bytes that are not UTF-8 as lone surrogates (PEP 383).
    return not any("\ud800" <= letter <= "\udfff" for letter in os.fspath(path))


def read_end(path: Path, most: int) -> bytes:
    """The last `most` bytes of a file. **Raises:** OSError when it cannot be read, or is no regular file."""
    check_regular(path)
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - most))
        return file.read(most)


def parse_json(text: str | bytes) -> Any:
    """A JSON document. **Raises:** ValueError for any other text, and for one that is nested too deep.

    As of `json.loads`, the type of what is in the text is not known before its reader has looked.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def parse_toml(text: str) -> dict[str, Any]:
    """A TOML document. **Raises:** ValueError for any other text, and for one that is nested too deep."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def room_for(size: int) -> int:
    """How many bytes a compressed file of `size` bytes may unpack to."""
    return ROOM + RATIO * size
