"""Text files whose first columns are whole numbers: read in blocks, each at once when clean, line by line when not."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from tirgn_eqx.data import dates
from tirgn_eqx.data.dates import Form
from tirgn_eqx.data.graph import ReadReport
from tirgn_eqx.errors import DataError, shown
from tirgn_eqx.storage.untrusted import check_regular

INT32_MAX = 2**31 - 1
# The model's clock is float64, exact for whole numbers up to 2^53.
TIME_MAX = 2**53
BLOCK = 1 << 23  # bytes that are read at once
LONGEST = 1 << 16  # bytes of a line
_SHORT = "complete or delete the line"
# What a vocabulary may count: so many beside so many for each line that speaks of it. Memory grows with the count.
_SPARE, _PER_LINE = 1_000_000, 16
_BOM = b"\xef\xbb\xbf"
# Of UTF-32 before UTF-16: its mark begins with the same bytes.
_WIDE = {b"\xff\xfe\0\0": 32, b"\0\0\xfe\xff": 32, b"\xff\xfe": 16, b"\xfe\xff": 16}
_END = 64  # bytes in which a mark at the end of a file is looked for
_INTEGER = re.compile(r"[+-]?[0-9]+")
# The ids of a fact, and its time: a date may be followed by a time of day.
_FACT = re.compile(
    rb"(?m)^([ \t]*[0-9]+[ \t]+[0-9]+[ \t]+[0-9]+[ \t]+)([^ \t\n]+(?:[ \t]+[0-9]{2}:[0-9]{2}[^ \t\n]*(?: +UTC)?)?)"
)
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
_EMPTY_FIRST = re.compile(rb" *\t")
_EMPTY_FIELD = re.compile(rb"[\t\n] +\t")
_TAB, _NEWLINE, _MINUS = 9, 10, 45
_SPACE = np.zeros(256, bool)
_SPACE[[_TAB, _NEWLINE, 32]] = True
_DIGIT = np.zeros(256, bool)
_DIGIT[48:58] = True
_CLEAN = _SPACE | _DIGIT
_CLEAN[_MINUS] = True


def most_ids(told: int) -> int:
    """How many ids data may count that speak of some `told` times."""
    return _SPARE + _PER_LINE * told


def read_blocks(path: Path, need: str) -> Iterator[tuple[int, bytes]]:
    """A file in blocks of whole lines, without byte order mark, and the number of each block's first line, from 1.
    LF, CRLF and CR all end a line, and stand as LF in the blocks.

    **Raises:** DataError for a file that cannot be read, which ends in `need` (what to do), for one that is no text in
    one byte a letter (UTF-16, NUL bytes), that ends in Ctrl-Z, or has a line that is longer than `LONGEST`: no more
    than a block is ever held.
    """
    number, rest = 1, b""
    try:
        check_regular(path)
        with path.open("rb") as file:
            _check_ends(path, file)
            while data := file.read(BLOCK):
                data = rest + data
                # A CR at the end may be the first half of a CRLF.
                half = b"\r" if data.endswith(b"\r") else b""
                data = _with_lf(data.removesuffix(half))
                ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE)
                long = np.flatnonzero(np.diff(ends, prepend=-1, append=len(data)) > LONGEST + 1)
                if len(long):
                    raise DataError(f"{path}:{number + long[0]}: a line of more than {LONGEST:,} bytes; {need}")
                if (place := data.find(b"\0")) >= 0:
                    raise DataError(
                        f"{path}:{number + data.count(10, 0, place)}: a NUL byte (0x00), which no text holds: the file "
                        "was not written to its end, or is none of text; write it again"
                    )
                cut = ends[-1] + 1 if len(ends) else 0
                block, rest = data[:cut], data[cut:] + half
                if block:
                    yield number, block
                    number += len(ends)
    except FileNotFoundError as error:
        raise DataError(f"{path}: file is missing; {need}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {need}") from error
    if rest:
        yield number, _with_lf(rest)


def _with_lf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def _check_ends(path: Path, file: BinaryIO) -> None:
    """Goes past a byte order mark. **Raises:** DataError for one of another encoding, and for a mark at the end."""
    begin = file.read(4)
    wide = next((bits for mark, bits in _WIDE.items() if begin.startswith(mark)), None)
    if wide is not None:
        raise DataError(f"{path}: is in UTF-{wide}; convert the file to UTF-8")
    file.seek(max(0, file.seek(0, os.SEEK_END) - _END))
    if file.read().rstrip().endswith(b"\x1a"):
        raise DataError(f"{path}: ends in Ctrl-Z (0x1A), an old mark of the end of a file; delete that byte")
    file.seek(len(_BOM) if begin.startswith(_BOM) else 0)


class Rows(NamedTuple):
    """What some lines of a table hold.

    **Arguments:** `values`: int64 `(row, column)`; `numbers`: int64 `(row,)`, the line of each row, counted from 1;
    `lines`: how many lines there are, of which `blank` are empty; `form`: how the times are written; dates stand in
    `values` as seconds since 1970.
    """

    values: np.ndarray
    numbers: np.ndarray
    lines: int
    blank: int
    form: Form = Form.NUMBER


def integer_blocks(
    path: Path, columns: tuple[str, ...], need: str, *, most: int | None = None, short: str = _SHORT
) -> Iterator[Rows]:
    """The first columns of a whitespace-separated file as whole numbers, some lines at a time; blank lines are
    skipped.

    **Arguments:** `path`; `columns`: the name of each wanted column; `time` may be negative and has 53 bits, and may be
    a whole float or a date; any other is an id from 0 to 2^31 - 1; `need`: what to do when the file is missing; `most`:
    how many columns a line may have, the last ones being ignored; None: any number; `short`: what to do about a line
    with too few.

    **Raises:** DataError with file and line for a missing column, one too many, or a value that is no such number.
    """
    for first, block in read_blocks(path, need):
        yield read_rows(path, first, block, columns, most=most, short=short)


def read_integers(
    path: Path,
    columns: tuple[str, ...],
    need: str,
    forms: "Forms | None" = None,
    *,
    most: int | None = None,
    short: str = _SHORT,
) -> Rows:
    """All that `integer_blocks` gives, as one table. **Arguments:** `forms`: of the times in other files before."""
    return gathered(path, integer_blocks(path, columns, need, most=most, short=short), columns, forms or Forms())


def gathered(path: Path, blocks: Iterator[Rows], columns: tuple[str, ...], forms: "Forms") -> Rows:
    """The rows of all blocks of a file. **Raises:** DataError where some times are dates and others are not."""
    found = []
    for rows in blocks:
        forms.add(path, rows)
        found.append(rows)
    none = Rows(np.zeros((0, len(columns)), np.int64), np.zeros(0, np.int64), 0, 0)
    values = np.concatenate([none.values, *(rows.values for rows in found)])
    numbers = np.concatenate([none.numbers, *(rows.numbers for rows in found)])
    lines, blank = sum(rows.lines for rows in found), sum(rows.blank for rows in found)
    return Rows(values, numbers, lines, blank, forms.form)


def report_of(parts: list[Rows], facts: np.ndarray, form: Form, unit: int | None) -> ReadReport:
    """What was read of all files together. **Arguments:** `facts`: those of all parts, time last, in `unit`."""
    lines, blank = sum(rows.lines for rows in parts), sum(rows.blank for rows in parts)
    times = dates.told(form, int(facts[:, 3].min()), int(facts[:, 3].max()), unit)
    return ReadReport(lines, len(facts), blank, times=times)


class Forms:
    """How the times of several blocks or files are written: all as numbers, or all as dates."""

    def __init__(self) -> None:
        self.form = Form.NUMBER
        self._first: str | None = None

    def add(self, path: Path, rows: Rows) -> None:
        """**Raises:** DataError where these are dates and those before are not, or the reverse."""
        if not len(rows.values):
            return
        here = f"{path}:{rows.numbers[0]}"
        if self._first is None:
            self._first, self.form = here, rows.form
        elif self.form.dated != rows.form.dated:
            raise mixed(here, rows.form.dated, self._first)
        self.form = max(self.form, rows.form)


def mixed(here: str, dated: bool, before: str) -> DataError:
    """Of a time that is a date, or is none, while one before it was none, or was one."""
    kinds = ("a date", "a number") if dated else ("a number", "a date")
    return DataError(f"{here}: time is {kinds[0]}, but {kinds[1]} at {before}; write all times in one way")


def read_rows(
    path: Path, first: int, block: bytes, columns: tuple[str, ...], *, most: int | None = None, short: str = _SHORT
) -> Rows:
    """As `integer_blocks`, of one block. **Arguments:** `first`: the number of its first line."""
    rows = _read_clean(block, columns, most) or _read_times(block, columns, most)
    if rows is None:
        return _read_lines(path, block, columns, first, most, short)
    return rows._replace(numbers=rows.numbers + (first - 1))


def _read_clean(raw: bytes, columns: tuple[str, ...], most: int | None = None) -> Rows | None:
    """All rows at once, or None when anything at all is unusual, so that the slow pass can name it."""
    data = np.frombuffer(raw, np.uint8)
    if not len(data) or not _CLEAN[data].all() or _has_empty_field(raw):
        return None
    space = _SPACE[data]
    before_digit = np.append(_DIGIT[data[1:]], False)
    after_space = np.append(True, space[:-1])
    minus = data == _MINUS
    if not (before_digit & after_space)[minus].all():
        return None
    tokens = np.flatnonzero(~space & after_space)
    ends = np.flatnonzero(data == _NEWLINE)
    ends = ends if raw.endswith(b"\n") else np.append(ends, len(data))
    per_line = np.diff(np.searchsorted(tokens, ends), prepend=0)
    lines = np.flatnonzero(per_line)
    counts = per_line[lines]
    values = np.fromstring(raw, dtype=np.int64, sep=" ") if len(tokens) else np.zeros(0, np.int64)
    if len(values) != len(tokens) or (counts < len(columns)).any() or (most is not None and (counts > most).any()):
        return None
    first = np.cumsum(counts) - counts
    table = values[first[:, None] + np.arange(len(columns))]
    # fromstring clips what exceeds 64 bits to the limit, which is out of range here too.
    low = [-TIME_MAX if column == "time" else 0 for column in columns]
    high = [TIME_MAX if column == "time" else INT32_MAX for column in columns]
    if not ((table >= low) & (table <= high)).all():
        return None
    return Rows(table, lines + 1, len(ends), len(ends) - len(lines))


def _has_empty_field(raw: bytes) -> bool:
    """Whether a tab follows another one or begins a line: the later columns would take the place of the empty one."""
    if b"\t\t" in raw or b"\n\t" in raw or _EMPTY_FIRST.match(raw):
        return True
    return b" " in raw and _EMPTY_FIELD.search(raw) is not None


def _read_times(raw: bytes, columns: tuple[str, ...], most: int | None) -> Rows | None:
    """As `_read_clean`, of facts whose times are dates or whole floats; None when anything is unusual."""
    if columns[3:] != ("time",):
        return None
    forms: set[Form] = set()

    def number(fact: re.Match[bytes]) -> bytes:
        time = dates.parse(fact[2].decode("utf-8", "replace"))
        if time is None:
            return fact[0]
        forms.add(time[1])
        return b"%b%d" % (fact[1], time[0])

    made, count = _FACT.subn(number, raw)
    # What was not understood stays as it is, and is no whole number. A line that was passed over may be one.
    rows = _read_clean(made, columns, most) if len({form.dated for form in forms}) == 1 else None
    return rows._replace(form=max(forms)) if rows is not None and len(rows.values) == count else None


def _read_lines(
    path: Path, raw: bytes, columns: tuple[str, ...], first: int, most: int | None = None, short: str = _SHORT
) -> Rows:
    """As `_read_clean`, one line after the other; `first` is the number of the first one, for messages."""
    rows, lines, blank, form = [], [], 0, Form.NUMBER
    seen: dict[bool, int] = {}
    texts = raw.decode("utf-8", "replace").split("\n")
    if not texts[-1]:
        texts.pop()
    time = columns.index("time") if "time" in columns else None
    for number, line in enumerate(texts, first):
        if not line.strip():
            blank += 1
            continue
        fields = _fields(line, most)
        if len(fields) < len(columns) or (most is not None and len(fields) > most):
            told = f"at least {len(columns)}"
            if most is not None:
                told = str(most) if most == len(columns) else f"{len(columns)} or {most}"
            fix = short if len(fields) < len(columns) else "was a line end lost? Give each its own line"
            if len(fields) < len(columns) and line.count(",") >= len(columns) - 1:
                fix = "separate the columns by tabs or spaces, not by commas"
            raise DataError(
                f"{path}:{number}: {len(fields)} columns in {shown(line.strip(), 40)}, expected {told} "
                f"({' '.join(columns)}); {fix}"
            )
        values = [_value(path, number, *pair) for pair in zip(columns, fields)]
        rows.append([value for value, _ in values])
        lines.append(number)
        if time is not None:
            form = max(form, values[time][1])
            seen.setdefault(values[time][1].dated, number)
            if len(seen) == 2:
                before = seen[not values[time][1].dated]
                raise mixed(f"{path}:{number}", values[time][1].dated, f"{path}:{before}")
    table = np.array(rows, np.int64).reshape(-1, len(columns))
    return Rows(table, np.array(lines, np.int64), len(texts), blank, form)


def _fields(line: str, most: int | None) -> list[str]:
    """The columns of a line. Spaces pad or separate; between tabs nothing at all is an empty field."""
    parts = [part.split() or [""] for part in line.rstrip().split("\t")]
    fields = dates.joined([token for part in parts for token in part])
    if most is not None and len(fields) > most and len(parts) > 1:
        # Words in a last column that is ignored are no columns of their own. Numbers there may be those of a fact.
        begin = dates.joined([token for part in parts[:-1] for token in part])
        if len(begin) == most - 1 and not any(map(_NUMBER.fullmatch, parts[-1])):
            return [*begin, " ".join(parts[-1])]
    return fields


def _value(path: Path, number: int, column: str, text: str) -> tuple[int, Form]:
    low, high = (-TIME_MAX, TIME_MAX) if column == "time" else (0, INT32_MAX)
    whole = _INTEGER.fullmatch(text)
    found = dates.parse(text) if column == "time" or whole else None
    if found is not None and low <= found[0] <= high:
        return found
    where = f"{path}:{number}: {column} is {shown(text, 40)}"
    if whole or found:
        raise DataError(f"{where}, outside {low} to {high}; correct it")
    fix = dates.ACCEPTED if column == "time" else "write the id, a number from 0"
    raise DataError(f"{where}, not a whole number; {fix}")
