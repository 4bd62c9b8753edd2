"""Read raw event files, plain, `.gz` or `.zip`, in blocks of whole lines, with one block in memory at a time."""

import gzip
import hashlib
import io
import os
import re
import tarfile
import zipfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol, cast, runtime_checkable

from tirgn_eqx.errors import DataError
from tirgn_eqx.storage.untrusted import BROKEN, PACKED, check_regular, room_for, told

BLOCK_BYTES = 1 << 23  # bytes to read at once
LONGEST = 1 << 20  # bytes of the longest line; the rest of a longer one is skipped
# The first bytes of files that hold no plain lines. Tar archives have no such mark, but a header with a checksum.
_OTHER_FORMATS = {
    **{b"BZh": "a bzip2 file", b"\xfd7zXZ\x00": "an xz file", b"\x28\xb5\x2f\xfd": "a zstd file"},
    **{b"7z\xbc\xaf\x27\x1c": "a 7z archive", b"Rar!": "a rar archive", b"PAR1": "a parquet file"},
}


class Source(NamedTuple):
    """A raw file: its path, the name by which the caller knows it, and its size in bytes."""

    path: Path
    name: str
    size: int


class Block(NamedTuple):
    """Whole lines of a file, each with its newline.

    **Arguments:** `part`: the name of the file, or of a file in an archive; `header`: its first line, where that names
    the columns and is no part of `data`.
    """

    part: str
    data: bytes
    header: bytes = b""


@runtime_checkable
class Digest(Protocol):
    """A running hash of `hashlib`, whose own class has no public name."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""

    def hexdigest(self) -> str:
        """The hash of all bytes so far, in hexadecimal digits."""
        ...


class Unreadable(Exception):
    """A file cannot be read; the message says why, for the report."""


def find_sources(paths: Iterable[str | Path], names: re.Pattern[str], examples: str) -> list[Source]:
    """The raw files among `paths`, each once, in order of their names, which is the order of time of most sources.

    **Arguments:** `names`: which files of a folder and its subfolders are taken; a file among `paths` always is.
    `examples`: how such files are called, for messages.

    **Raises:** DataError for a path that does not exist or a folder without such files.
    """
    found: dict[Path, Source] = {}
    for given in map(Path, paths):
        path = Path(os.path.expanduser(given))
        if os.path.isdir(path):
            inside = [file for file in path.rglob("*") if names.search(file.name) and file.is_file()]
            if not inside:
                raise DataError(f"{given}: no event files ({examples}) in this folder; name another one")
        elif os.path.isfile(path):
            inside = [path]
        elif os.path.exists(path):
            raise DataError(f"{given}: a device or a pipe; name event files or a folder that holds them")
        else:
            raise DataError(f"{given}: does not exist; name event files or a folder that holds them")
        for file in inside:
            found.setdefault(file.resolve(), Source(file, str(file), file.stat().st_size))
    return sorted(found.values(), key=lambda source: (source.path.name, source.name))


def checksum(path: Path, digest: Digest | None = None) -> str:
    """The sha256 of a file's bytes. **Arguments:** `digest`: a running hash to update.

    **Raises:** Unreadable when the system cannot read the file.
    """
    digest = digest or hashlib.sha256()
    try:
        with path.open("rb") as file:
            while data := file.read(BLOCK_BYTES):
                digest.update(data)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def read_blocks(source: Source, digest: Digest, size: int = BLOCK_BYTES) -> Iterator[Block]:
    """The lines of a file in blocks of about `size` bytes.

    A compressed file is verified to its end before its first block is returned, so a file of more than one block is
    read twice.

    **Arguments:** `digest`: a running sha256, which is updated with the bytes of the file as they are on the disk.

    **Raises:** Unreadable for a file that is broken or that the system cannot read.
    """
    try:
        check_regular(source.path)
        with source.path.open("rb") as file:
            # 512 bytes hold the mark of any format, and the whole header of a tar archive.
            start = file.read(tarfile.BLOCKSIZE)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from error
    kind, ending = _kind(start), source.path.suffix.lower()
    if ending in (".zip", ".gz") and kind is None:
        raise Unreadable(f"named {ending}, but it is no such file" + ("" if start else ": it is empty"))
    if kind is None:
        _check_lines(start)
        with source.path.open("rb") as file:
            yield from _lines(file, source.name, size, digest)
        return
    checksum(source.path, digest)
    try:
        small = _verify(source, kind, size)
    except BROKEN as error:
        raise Unreadable(f"broken {kind} file: {told(error)}") from error
    # Verifying has unpacked a small file already.
    if small is not None:
        yield from _lines(io.BytesIO(small), source.name, size)
        return
    for part, file in _members(source, kind):
        with closing(file):
            yield from _lines(file, part, size)


def read_first_lines(source: Source) -> Iterator[bytes]:
    """The first line, without its newline, of each file that is in a zip file and not empty.

    **Raises:** Unreadable for a file that is broken.
    """
    try:
        for _, file in _members(source, "zip"):
            with closing(file):
                if line := file.readline(LONGEST):
                    yield line.removesuffix(b"\n")
    except BROKEN as error:
        raise Unreadable(f"broken zip file: {told(error)}") from error


def _kind(start: bytes) -> str | None:
    return "gzip" if start.startswith(b"\x1f\x8b") else "zip" if start.startswith(b"PK") else None


def _members(source: Source, kind: str) -> Generator[tuple[str, io.BufferedIOBase], None, None]:
    """Name and contents of each file in an archive; a single file has the name of the archive."""
    if kind == "gzip":
        yield source.name, gzip.GzipFile(source.path)
        return
    with zipfile.ZipFile(source.path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if not members:
            raise Unreadable("a zip file that holds no file")
        if any(member.compress_type not in PACKED for member in members):
            raise Unreadable("a zip file of a compression other than deflate; pack it again")
        _check_room(source, sum(member.file_size for member in members))
        for member in members:
            name = source.name if len(members) == 1 else f"{source.name}:{member.filename}"
            yield name, cast(io.BufferedIOBase, archive.open(member))


def _verify(source: Source, kind: str, size: int) -> bytes | None:
    """Read a compressed file to its end, which verifies its checksums.

    **Returns:** its contents, if it holds one file of less than `size` bytes.
    """
    total, first, single = 0, b"", True
    for part, file in _members(source, kind):
        single = part == source.name
        with closing(file):
            data = file.read(max(size, tarfile.BLOCKSIZE))
            _check_lines(data, packed=True)
            first = first or data
            while data:
                # gzip does not say reliably how much it unpacks to, so it is counted.
                total += len(data)
                _check_room(source, total)
                data = file.read(size)
    # Only when the first read returned all of it.
    return first if single and total == len(first) < size else None


def _check_lines(start: bytes, packed: bool = False) -> None:
    """**Raises:** Unreadable for contents that begin like an archive, or like a file that is compressed twice."""
    if _is_tar(start):
        raise Unreadable("a tar archive; unpack it and name the files, or the folder that holds them")
    kind = _kind(start) if packed else None
    other = next((name for sign, name in _OTHER_FORMATS.items() if start.startswith(sign)), None)
    if kind or other:
        what = f"a {kind} file inside another packed file" if kind else other
        raise Unreadable(f"{what}; give event files as they were published: lines of text, plain, in a .zip or a .gz")


def _is_tar(start: bytes) -> bool:
    """Whether contents begin with the header of a tar archive and its right checksum."""
    try:
        tarfile.TarInfo.frombuf(start[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def _check_room(source: Source, total: int) -> None:
    """**Raises:** Unreadable for a file that unpacks to far more than text does, such as a zip bomb."""
    most = room_for(source.size)
    if total > most:
        raise Unreadable(
            f"unpacks to more than {most:,} bytes, {source.size:,} packed; unpack it, if it is what it seems"
        )


def _lines(file: io.BufferedIOBase, part: str, size: int, digest: Digest | None = None) -> Iterator[Block]:
    rest = b""
    while data := file.read(size):
        if digest is not None:
            digest.update(data)
        data = rest + data
        cut = data.rfind(b"\n") + 1
        # Cut an endless line before it fills the memory; one byte more than allowed marks it as too long.
        rest = data[cut:][: LONGEST + 1]
        if cut:
            yield Block(part, data[:cut])
    if rest:
        # The last line of a file may lack its newline.
        yield Block(part, rest + b"\n")
