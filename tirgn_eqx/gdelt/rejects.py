"""The rejects of a table: every line that was no event, byte for byte, with where it stood and why."""

import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tirgn_eqx.gdelt.read import Reject
from tirgn_eqx.gdelt.sources import display_name

HEAD = b"file\tline\treason\traw\n"
FIRST = 20  # that the report names


class Rejects:
    """A new rejects file that begins with the rejects of earlier runs.

    **Arguments:** `path`: the new file; `earlier`: the old one, if any; `size`: how many of its bytes belong to
    the table: what stands behind them is of a run that came to no end.
    """

    def __init__(self, path: Path, earlier: Path, size: int):
        self.path, self.size = path, 0
        self.reasons: Counter[str] = Counter()
        self.first: list[dict] = []
        self._examples: dict[str, dict] = {}  # the first reject of each reason
        self._file = path.open("w+b")
        if size and earlier.is_file():
            with earlier.open("rb") as old:
                shutil.copyfileobj(old, self._file)
            self._file.truncate(min(size, self._file.tell()))
            self._file.seek(0, 2)
        if not self._file.tell():
            self._file.write(HEAD)

    def add(self, name: str, rejects: Iterable[Reject]) -> None:
        """Writes rejects of the file `name`."""
        name = display_name(name)
        for line, reason, raw in rejects:
            reason = display_name(reason)
            self._file.write(f"{name}\t{line}\t{reason}\t".encode() + raw + b"\n")
            # A reason begins with the column; the value that follows is one of many.
            kind = reason.partition(" ")[0] if reason[:1].isupper() else reason
            self.reasons[kind] += 1
            reject = {"file": name, "line": line, "reason": reason}
            self._examples.setdefault(kind, reject)
            if len(self.first) < FIRST:
                self.first.append(reject)

    def most(self) -> dict | None:
        """The commonest reason: the first line rejected for it (`file`, `line`, `reason`) and their `count`."""
        if not self.reasons:
            return None
        kind, count = self.reasons.most_common(1)[0]
        return self._examples[kind] | {"count": count}

    def mark(self) -> tuple:
        """Where the rejects stand now, for `back_to`."""
        return self._file.tell(), Counter(self.reasons), list(self.first), dict(self._examples)

    def back_to(self, mark: tuple) -> None:
        """Forgets what was added since `mark`."""
        end, self.reasons, self.first, self._examples = mark
        self._file.seek(end)
        self._file.truncate()

    def close(self) -> None:
        """Ends the file; `size` is then its bytes, 0 where it holds no rejects."""
        size = self._file.tell()
        self._file.close()
        self.size = size if size > len(HEAD) else 0
