"""Which files were found whole before, so that they need not be read again to know it."""

import json
import time
from pathlib import Path
from typing import Any

from tirgn_eqx.gdelt.feed import Listed
from tirgn_eqx.storage.atomic_write import write_text
from tirgn_eqx.storage.download import digest_of
from tirgn_eqx.storage.untrusted import check_regular, parse_json

# A change so soon after a check may bear the same time as the check.
_CLOCK_STEP = 2 * 10**9  # nanoseconds


class Verified:
    """The files of a folder whose md5 is known, remembered in `path` from run to run.

    A file is read again when its size, inode, or any of its times differs from what was noted, or when it had
    changed only just before it was read: any change to a file sets its change time, which nobody can set back. A
    record that is missing or damaged means only that files are read again.
    """

    def __init__(self, path: Path):
        self.path = path
        self._files: dict[str, list[Any]] = {}
        try:
            check_regular(path)
            files = parse_json(path.read_text(encoding="utf-8"))["files"]
            self._files = {name: entry for name, entry in files.items() if _is_entry(entry)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass

    def holds(self, place: Path, listed: Listed) -> bool:
        """Whether the file `place` is there, with the size and the md5 that are listed."""
        try:
            size = place.stat().st_size
        except FileNotFoundError:
            return False
        return listed.size in (None, size) and self._md5(place) == listed.md5

    def _md5(self, place: Path) -> str:
        marks, entry = _marks(place), self._files.get(place.name)
        if entry is not None and entry[1:5] == marks and entry[5] - marks[2] > _CLOCK_STEP:
            return entry[0]
        self._files[place.name] = [None, *marks, time.time_ns()]
        self._files[place.name][0] = digest_of(place, "md5").removeprefix("md5:")
        return self._files[place.name][0]

    def save(self) -> None:
        """Write the record; a file that is there is replaced whole or not at all."""
        known = {name: entry for name, entry in sorted(self._files.items()) if entry[0] is not None}
        fields = ["md5", "size", "modified", "changed", "inode", "read"]
        write_text(self.path, json.dumps({"fields": fields, "files": known}))


def _is_entry(entry: Any) -> bool:
    """Whether a part of the record is what `save` writes: an md5 and five whole numbers."""
    if not (isinstance(entry, list) and len(entry) == 6 and isinstance(entry[0], str)):
        return False
    return all(type(mark) is int and abs(mark) < 2**63 for mark in entry[1:])


def _marks(place: Path) -> list[int]:
    stat = place.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
