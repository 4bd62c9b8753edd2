"""A record of the files whose md5 was verified, so that they need not be read again."""

import time
from pathlib import Path
from typing import NamedTuple

import pydantic

from tirgn_eqx.gdelt.feed import ListedFile
from tirgn_eqx.storage.atomic_write import write_text
from tirgn_eqx.storage.download import digest_of
from tirgn_eqx.storage.untrusted import check_regular

# A file system may give a change the same time stamp as a check that came up to this long before it.
_CLOCK_STEP = 2 * 10**9  # nanoseconds


class Fingerprint(NamedTuple):
    """What shows that a file has changed: its size, its times in nanoseconds, and its inode."""

    size: int
    modified: int
    changed: int
    inode: int


class VerifiedFile(NamedTuple):
    """The md5 of a file, its fingerprint before it was read, and the time of reading in nanoseconds."""

    md5: str
    fingerprint: Fingerprint
    read: int


class VerifiedFiles(pydantic.BaseModel):
    """The verified files of a folder by name; a document on disk.

    A file is read again when its fingerprint has changed, or when it was changed shortly before it was read. Any
    change to a file sets its change time, which no program can set back.
    """

    files: dict[str, VerifiedFile] = {}

    @classmethod
    def load(cls, path: Path) -> "VerifiedFiles":
        """The record at `path`. It is empty if that file is missing or damaged, so that all files are read again."""
        try:
            check_regular(path)
            return cls.model_validate_json(path.read_bytes(), strict=True)
        except (OSError, ValueError):
            return cls()

    def save(self, path: Path) -> None:
        """Write the record; an earlier one is replaced as a whole."""
        write_text(path, VerifiedFiles(files=dict(sorted(self.files.items()))).model_dump_json())

    def matches(self, path: Path, listed: ListedFile) -> bool:
        """Whether the file at `path` exists with the size and the md5 that are listed."""
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return False
        return listed.size in (None, size) and self._md5(path) == listed.md5

    def _md5(self, path: Path) -> str:
        fingerprint, known = take_fingerprint(path), self.files.get(path.name)
        if known is not None and known.fingerprint == fingerprint and known.read - fingerprint.changed > _CLOCK_STEP:
            return known.md5
        read = time.time_ns()  # before reading, so that a change in the meantime is noticed
        md5 = digest_of(path, "md5").removeprefix("md5:")
        self.files[path.name] = VerifiedFile(md5, fingerprint, read)
        return md5


def take_fingerprint(path: Path) -> Fingerprint:
    """The fingerprint of the file at `path` as it is now."""
    stat = path.stat()
    return Fingerprint(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
