"""Files from anywhere, read within limits: JSON, TOML, archives of arrays. Nothing in them is ever run or unpickled.

What a reader here refuses it refuses with `Unsound`; who calls it says which file that was and what to do.
"""

import errno
import io
import json
import lzma
import math
import os
import re
import stat
import struct
import tomllib
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# What the standard library raises for one flipped byte of an archive or another.
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError),
    *(OSError, ValueError, IndexError, KeyError, OverflowError, struct.error),
)
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ROOM = 1 << 26  # bytes that any packed file may unpack to
RATIO = 32  # and so many times its own bytes; numbers and text come nowhere near
_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    rb"\{\s*'descr'\s*:\s*'([^'\\]{1,40})'\s*,\s*'fortran_order'\s*:\s*(True|False)\s*,"
    rb"\s*'shape'\s*:\s*\(\s*((?:[0-9]{1,19}\s*,\s*){0,32}(?:[0-9]{1,19}\s*,?\s*)?)\)\s*,?\s*\}\s*"
)
_DTYPE = re.compile(rb"[<>|=]?(b1|[iu][1248]|f[248]|c(?:8|16))")
_LONGEST_HEADER = 10_000


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


def read_arrays(content: bytes, *, packed: bool = False) -> dict[str, np.ndarray]:
    """The arrays of an npz archive by name: booleans and numbers, in this machine's byte order.

    No memory is taken for what a header only claims: an array has as many bytes as its shape says, or is refused.

    **Arguments:** `packed`: take deflated members too, up to `room_for` the archive; else none is compressed.

    **Raises:** Unsound.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            _check_members(members, len(content), packed)
            return {_name(member): _array(_name(member), archive.read(member)) for member in members}
    except BROKEN as error:
        raise Unsound(f"a broken archive: {told(error)}") from error


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def _check_members(members: Sequence[zipfile.ZipInfo], size: int, packed: bool) -> None:
    names: set[str] = set()
    for member in members:
        name = _name(member)
        if name in names:
            raise Unsound(f"holds {name[:80]!r} twice")
        names.add(name)
        if member.compress_type not in (PACKED if packed else PACKED[:1]):
            allowed = "deflate" if packed else "none, as it is written"
            raise Unsound(f"{name[:80]!r} is compressed; expected {allowed}")
    total, most = sum(member.file_size for member in members), room_for(size) if packed else size
    if total > most:
        raise Unsound(f"unpacks to {total:,} bytes, more than the {most:,} that {size:,} bytes may")


def _array(name: str, raw: bytes) -> np.ndarray:
    """The array in the bytes of an npy file, whose header is matched and never evaluated."""
    where = f"array {name[:80]!r}"
    if not raw.startswith(_MAGIC) or len(raw) < 12 or raw[6] not in (1, 2, 3):
        raise Unsound(f"{where} is in no format of numpy")
    begin, form = (10, "<H") if raw[6] == 1 else (12, "<I")
    (length,) = struct.unpack(form, raw[8:begin])
    header = raw[begin : begin + min(length, _LONGEST_HEADER + 1)]
    if b"|O" in header or b"'O'" in header:
        raise Unsound(f"{where} is pickled, which is never loaded")
    found = _HEADER.fullmatch(header)
    if found is None or len(header) != length or length > _LONGEST_HEADER:
        raise Unsound(f"{where} has a header that says nothing of an array")
    if _DTYPE.fullmatch(found[1]) is None:
        raise Unsound(f"{where} has type {found[1].decode('latin-1')!r}; expected booleans or numbers")
    dtype = np.dtype(found[1].decode())
    shape = tuple(int(part) for part in found[3].split(b",") if part.strip())
    count, body = math.prod(shape), memoryview(raw)[begin + length :]
    if count * dtype.itemsize != len(body) or max(shape, default=0) >= 1 << 40:
        raise Unsound(f"{where} says {list(shape)} of {dtype}, but has {len(body):,} bytes")
    if dtype.kind == "b":
        array = np.frombuffer(body, np.uint8) != 0
    else:
        array = np.frombuffer(body, dtype) if count else np.zeros(0, dtype)
    order = "F" if found[2] == b"True" else "C"
    return array.reshape(shape, order=order).astype(dtype.newbyteorder("="))
