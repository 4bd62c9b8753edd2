"""Split raw files into lines, and set the malformed lines aside.

A line is split at tabs alone, and each line is read by its own number of columns. A line that is not UTF-8 is read as
Latin-1, in which every line is valid. What the columns mean is up to a `LineForm`.
"""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import polars as pl

from tirgn_eqx.ingest.sources import LONGEST

_TAB, _NEWLINE, _RETURN = 9, 10, 13
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Reject(NamedTuple):
    """A malformed line: its number in the block, from 0, the reason, and its bytes."""

    line: int
    reason: str
    raw: bytes


class Rows(NamedTuple):
    """What a form makes of lines that all have the same number of columns.

    **Arguments:**

    - `frame`: a row for each line, with the columns that `clean_rows` needs.
    - `bad`: bool `(row,)`, whether a value is impossible.
    - `fault`: what is wrong with a bad row, given its number and its line.
    - `noted`: what was repaired or noticed in rows that are not bad, by name, and in how many.
    """

    frame: pl.DataFrame
    bad: np.ndarray
    fault: Callable[[int, bytes], str]
    noted: dict[str, int]


@runtime_checkable
class LineForm(Protocol):
    """How the lines of one kind of file are read."""

    @property
    def layouts(self) -> Mapping[int, tuple[str, ...]]:
        """The names of the columns by their number."""
        ...

    @property
    def widths(self) -> str:
        """The numbers of columns, for messages."""
        ...

    @property
    def exact(self) -> Collection[int]:
        """The numbers of columns that files are published with; a line of another number may need a repair."""
        ...

    def read(self, data: bytes, width: int) -> Rows:
        """The rows of lines of `width` columns."""
        ...

    def times(self, frame: pl.DataFrame, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The quarter hours and the days, since 1970, that well-formed rows say something of."""
        ...

    def repair(self, line: bytes) -> bytes | None:
        """A line of another number of columns as one of an exact number, or None if it cannot be."""
        ...


class ParsedLines(NamedTuple):
    """The rows and rejects of a block of lines.

    **Arguments:**

    - `frame`: well-formed rows in their order, as `Rows.frame`, and the number of each one's `line`, from 0.
    - `rejects`: malformed lines in their order.
    - `ends`: position of the newline of each line, `(line,)`.
    - `filled`, `fitting`: which lines are not blank, and which have a known number of columns, `(line,)`.
    - `latin1`: number of lines that were not UTF-8.
    - `quarters`, `days`: the distinct times of the rows in quarter hours and days since 1970, see `LineForm.times`.
    - `noted`: what was repaired or noticed in well-formed rows, by name.
    """

    frame: pl.DataFrame
    rejects: list[Reject]
    ends: np.ndarray
    filled: np.ndarray
    fitting: np.ndarray
    latin1: int
    quarters: np.ndarray
    days: np.ndarray
    noted: dict[str, int]


def parse_lines(data: bytes, form: LineForm) -> ParsedLines:
    """Parse whole lines, each with its newline."""
    starts, ends, fields, nul = _split_lines(data)
    lengths = ends - starts
    filled = lengths > 0
    # A line that holds only the carriage return of a Windows line end is blank.
    alone = np.flatnonzero(lengths == 1)
    filled[alone] = np.frombuffer(data, np.uint8)[starts[alone]] != _RETURN
    long = lengths > LONGEST
    fitting = np.isin(fields, list(form.layouts)) & filled & ~long
    repaired: dict[int, bytes] = {}
    for line in np.flatnonzero(filled & ~np.isin(fields, list(form.exact)) & ~long).tolist():
        if (other := form.repair(data[starts[line] : ends[line]])) is not None:
            repaired[line] = other
            fitting[line], fields[line] = True, other.count(b"\t") + 1
    # A line with a NUL byte has a known number of columns, but is malformed all the same.
    good = fitting.copy()
    good[nul] = False
    rejects: list[Reject] = []

    def reject(line: int, reason: str) -> None:
        rejects.append(Reject(line, reason, data[starts[line] : ends[line]][:LONGEST]))

    for line in np.flatnonzero(filled & ~good).tolist():
        columns = f"{fields[line]} columns; expected {form.widths}"
        reject(line, f"longer than {LONGEST:,} bytes" if long[line] else "a NUL byte" if fitting[line] else columns)
    changed, latin1 = _decode_lines(data, starts, ends, good, repaired)
    frames: list[pl.DataFrame] = []
    noted = {"quoted": len(repaired)} if repaired else {}
    quarters = days = np.empty(0, np.int64)
    for width in form.layouts:
        lines = np.flatnonzero(good & (fields == width))
        if not len(lines):
            continue
        # A form reads lines of one width. The data is copied only where lines must be left out or changed.
        part = data
        if changed or len(lines) < len(starts):
            part = _join_lines(data, starts, ends, np.flatnonzero(~good | (fields != width)), changed)
        rows = form.read(part, width)
        for row in np.flatnonzero(rows.bad).tolist():
            line = int(lines[row])
            reject(line, rows.fault(row, changed.get(line, data[starts[line] : ends[line]])))
        frame = rows.frame.with_columns(line=pl.Series(lines)).filter(~pl.Series(rows.bad, dtype=pl.Boolean))
        of_width = form.times(frame, width)
        quarters, days = np.union1d(quarters, of_width[0]), np.union1d(days, of_width[1])
        noted = {name: noted.get(name, 0) + rows.noted.get(name, 0) for name in noted | rows.noted}
        frames.append(frame)
    # The loop goes by width: bring rows and rejects back into the order of the lines.
    frame = pl.concat(frames).sort("line") if len(frames) > 1 else frames[0] if frames else _parse_nothing(form)
    rejects.sort()
    return ParsedLines(frame, rejects, ends, filled, fitting, latin1, quarters, days, noted)


def _parse_nothing(form: LineForm) -> pl.DataFrame:
    """A frame without rows."""
    # Parse one line and drop it, so that the types are those of all frames.
    width = next(iter(form.layouts))
    frame = form.read("\t".join(["0"] * width).encode() + b"\n", width).frame.clear()
    return frame.with_columns(line=pl.Series([], dtype=pl.Int64))


def _split_lines(data: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """First byte, newline and number of columns of each line, and the lines with a NUL byte."""
    codes = np.frombuffer(data, np.uint8)
    # All tabs and newlines, and the rare control characters below them.
    low = np.flatnonzero(codes < _NEWLINE + 1)
    kind = codes[low]
    newline = np.flatnonzero(kind == _NEWLINE)
    ends = low[newline]
    starts = np.concatenate([[0], ends + 1])[:-1]
    # Distances between newlines, counted in `low`, are numbers of columns: for "a\tb\n" it is 2. Other control
    # characters are subtracted below.
    fields = np.diff(newline, prepend=-1)
    other = np.flatnonzero(kind < _TAB)
    lines = np.searchsorted(newline, other)
    fields -= np.bincount(lines, minlength=len(newline))
    return starts, ends, fields, np.unique(lines[kind[other] == 0])


def _decode_lines(
    data: bytes, starts: np.ndarray, ends: np.ndarray, good: np.ndarray, repaired: dict[int, bytes]
) -> tuple[dict[int, bytes], int]:
    """The good lines that were repaired or are not plain UTF-8, as UTF-8 without a byte order mark, and how many were
    Latin-1."""
    high = np.flatnonzero(np.frombuffer(data, np.uint8) > 127)
    changed, latin1 = dict(repaired), 0
    # The number of newlines before a byte is the number of its line.
    for line in np.unique(np.searchsorted(ends, high)).tolist():
        if not good[line]:
            continue
        raw = repaired.get(line, data[starts[line] : ends[line]])
        # The mark stands at the start of a file, which may be anywhere in a pack of several files.
        text = raw.removeprefix(BYTE_ORDER_MARK)
        try:
            text.decode()
        except UnicodeDecodeError:
            text = text.decode("latin-1").encode()
            latin1 += 1
        if text != raw:
            changed[line] = text
    return changed, latin1


def _join_lines(
    data: bytes, starts: np.ndarray, ends: np.ndarray, left: np.ndarray, changed: dict[int, bytes]
) -> bytes:
    """`data` without the lines `left`, and with the `changed` lines in their new form."""
    left_out = set(left.tolist())
    pieces, begin = [], 0
    for line in sorted(left_out | set(changed)):
        pieces.append(data[begin : starts[line]])
        if line not in left_out:
            pieces.append(changed[line] + b"\n")
        begin = int(ends[line]) + 1
    return b"".join([*pieces, data[begin:]])
