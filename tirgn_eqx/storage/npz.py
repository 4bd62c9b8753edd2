"""Untrusted archives of arrays (npz), read within limits: nothing in them is unpickled or evaluated."""

import io
import math
import mmap
import re
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

import numpy as np

from tirgn_eqx.storage.untrusted import BROKEN, PACKED, Unsound, room_for, told

_MAGIC = b"\x93NUMPY"
# The dictionary that NumPy writes. At most 33 dimensions of 19 digits keep the integers short.
_HEADER = re.compile(
    rb"\{\s*'descr'\s*:\s*'([^'\\]{1,40})'\s*,\s*'fortran_order'\s*:\s*(True|False)\s*,"
    rb"\s*'shape'\s*:\s*\(\s*((?:[0-9]{1,19}\s*,\s*){0,32}(?:[0-9]{1,19}\s*,?\s*)?)\)\s*,?\s*\}\s*"
)
_DTYPE = re.compile(rb"[<>|=]?(b1|[iu][1248]|f[248]|c(?:8|16))")
_LONGEST_HEADER = 10_000
# Magic number, version and length take 10 bytes in version 1 of the format and 12 in versions 2 and 3.
HEADER = _LONGEST_HEADER + 12  # bytes at the start of a file that contain any header


def mapped(path: Path) -> memoryview:
    """The bytes of a file, read from the disk on access. They stay those of the old file when it is replaced."""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def read_arrays(content: bytes | memoryview, *, packed: bool = False) -> dict[str, np.ndarray]:
    """The arrays of an npz archive by name: booleans and numbers, in this machine's byte order.

    No memory is allocated for what a header claims: an array whose bytes do not match its shape is refused.

    **Arguments:** `content`: the archive; the arrays of a `mapped` file stay on the disk; `packed`: accept deflated
    members too, up to `room_for` the archive; otherwise no member may be compressed.

    **Raises:** Unsound.
    """
    try:
        view = content if isinstance(content, memoryview) else None
        # The table of contents is read from the mapping itself, without a copy of the archive.
        source = view.obj if view is not None and isinstance(view.obj, mmap.mmap) else io.BytesIO(content)
        with zipfile.ZipFile(cast(IO[bytes], source)) as archive:
            members = archive.infolist()
            # Members of a mapped file are read where they are, which is impossible for compressed ones.
            _check_members(members, len(content), packed and view is None)
            read = archive.read if view is None else lambda member: _stored(view, member)
            return {_name(member): _array(_name(member), read(member)) for member in members}
    except BROKEN as error:
        raise Unsound(f"a broken archive: {told(error)}") from error


def _stored(view: memoryview, member: zipfile.ZipInfo) -> memoryview:
    """The bytes of a member that is not compressed, without a copy."""
    # The local header has 30 bytes; the lengths of the name and of the extra field, which follow it, are at bytes 26
    # and 28. They may differ from those in the table of contents.
    head = bytes(view[member.header_offset : member.header_offset + 30])
    if len(head) < 30 or head[:4] != b"PK\3\4":
        raise Unsound(f"{_name(member)[:80]!r} does not begin where the archive says")
    begin = member.header_offset + 30 + sum(struct.unpack("<HH", head[26:30]))
    body = view[begin : begin + member.file_size]
    if len(body) != member.file_size or zlib.crc32(body) != member.CRC:
        raise Unsound(f"{_name(member)[:80]!r} is not what its check sum says")
    return body


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
    # Checking what the members claim is enough: zipfile never returns more than a member's claimed size.
    total, most = sum(member.file_size for member in members), room_for(size) if packed else size
    if total > most:
        raise Unsound(f"unpacks to {total:,} bytes, more than the {most:,} that {size:,} bytes may")


def _array(name: str, raw: bytes | memoryview) -> np.ndarray:
    """The array in the bytes of an npy file."""
    where = f"array {name[:80]!r}"
    dtype, shape, fortran, begin = read_header(where, bytes(raw[:HEADER]))
    # A zero in the shape makes every other dimension free, so that a huge one must be refused separately.
    count, body = math.prod(shape), memoryview(raw)[begin:]
    if count * dtype.itemsize != len(body) or max(shape, default=0) >= 1 << 40:
        raise Unsound(f"{where} says {list(shape)} of {dtype}, but has {len(body):,} bytes")
    if dtype.kind == "b":
        # NumPy leaves it undefined how a boolean behaves whose byte is neither 0 nor 1.
        array = np.frombuffer(body, np.uint8) != 0
    else:
        array = np.frombuffer(body, dtype) if count else np.zeros(0, dtype)
    order = "F" if fortran else "C"
    # Arrays from bytes in memory are copied: `frombuffer` makes read-only views that would keep all the bytes alive.
    # Arrays of a mapped file stay on the disk.
    return array.reshape(shape, order=order).astype(dtype.newbyteorder("="), copy=isinstance(raw, bytes))


def read_header(where: str, raw: bytes) -> tuple[np.dtype, tuple[int, ...], bool, int]:
    """(type, shape, whether in Fortran order, bytes before the numbers) of an npy file. The header is matched by a
    pattern and never evaluated.

    **Arguments:** `where`: the name of the array in messages; `raw`: at least the first `HEADER` bytes, or all.

    **Raises:** Unsound.
    """
    if not raw.startswith(_MAGIC) or len(raw) < 12 or raw[6] not in (1, 2, 3):
        raise Unsound(f"{where} is in no format of numpy")
    begin, form = (10, "<H") if raw[6] == 1 else (12, "<I")
    (length,) = struct.unpack(form, raw[8:begin])
    header = bytes(raw[begin : begin + min(length, _LONGEST_HEADER + 1)])
    if b"|O" in header or b"'O'" in header:
        raise Unsound(f"{where} is pickled, which is never loaded")
    found = _HEADER.fullmatch(header)
    if found is None or len(header) != length or length > _LONGEST_HEADER:
        raise Unsound(f"{where} has a header that says nothing of an array")
    if _DTYPE.fullmatch(found[1]) is None:
        raise Unsound(f"{where} has type {found[1].decode('latin-1')!r}; expected booleans or numbers")
    shape = tuple(int(part) for part in found[3].split(b",") if part.strip())
    return np.dtype(found[1].decode()), shape, found[2] == b"True", begin + length
