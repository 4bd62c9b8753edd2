"""Text files whose first columns are whole numbers, read in blocks: all rows at once if clean, else line by line."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from tirgn_eqx.data.graph import ReadReport
from tirgn_eqx.data.times import (
    INTEGER,
    TIME_ADVICE,
    TIME_MAX,
    TimeForm,
    describe_times,
    join_dates,
    parse_number_or_date,
)
from tirgn_eqx.errors import DataError, shown
from tirgn_eqx.storage.untrusted import check_regular

INT32_MAX = 2**31 - 1
BLOCK_BYTES = 1 << 23  # bytes that are read at once
LONGEST_LINE = 1 << 16  # bytes of a line
# Memory grows with the number of ids, so that a line must not claim billions: see `most_ids`.
_FREE_IDS, _IDS_PER_LINE = 1_000_000, 16
_BOM = b"\xef\xbb\xbf"
# The mark of UTF-32 begins with the bytes of that of UTF-16, so it is looked for first.
_WIDE_MARKS = {b"\xff\xfe\0\0": 32, b"\0\0\xfe\xff": 32, b"\xff\xfe": 16, b"\xfe\xff": 16}
_END = 64  # bytes in which a mark at the end of a file is looked for
# The ids of a fact, and its time: a date may be followed by a time of day.
_FACT = re.compile(
    rb"(?m)^([ \t]*[0-9]+[ \t]+[0-9]+[ \t]+[0-9]+[ \t]+)([^ \t\n]+(?:[ \t]+[0-9]{2}:[0-9]{2}[^ \t\n]*(?: +UTC)?)?)"
)
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
_EMPTY_FIRST = re.compile(rb" *\t")
_EMPTY_FIELD = re.compile(rb"[\t\n] +\t")
_NEWLINE, _MINUS = ord("\n"), ord("-")
# By byte: whether it separates, is a digit, or is any that a clean file has.
_SPACE, _DIGIT = (np.isin(np.arange(256), list(letters)) for letters in (b"\t\n ", b"0123456789"))
_CLEAN = _SPACE | _DIGIT
_CLEAN[_MINUS] = True


def most_ids(mentions: int) -> int:
    """How many ids data may count whose lines mention ids `mentions` times."""
    return _FREE_IDS + _IDS_PER_LINE * mentions


def read_text_blocks(path: Path, need: str) -> Iterator[tuple[int, bytes]]:
    """A file in blocks of whole lines, without byte order mark, and the number of each block's first line, from 1.

    LF, CRLF and CR all end a line, and are LF in the blocks. Only one block is in memory at a time.

    **Raises:** DataError for a file that cannot be read, with `need` (what to do) at its end; for one that is no text
    in one byte a letter (UTF-16, NUL bytes), ends in Ctrl-Z, or has a line longer than `LONGEST_LINE`.
    """
    number, rest = 1, b""
    try:
        check_regular(path)
        with path.open("rb") as file:
            _check_ends(path, file)
            while data := file.read(BLOCK_BYTES):
                data = rest + data
                # A CR at the end may be the first half of a CRLF.
                half = b"\r" if data.endswith(b"\r") else b""
                data = _with_lf(data.removesuffix(half))
                ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE)
                # What is behind the last line end counts, too: a file without any would be gathered in memory.
                long = np.flatnonzero(np.diff(ends, prepend=-1, append=len(data)) > LONGEST_LINE + 1)
                if len(long):
                    raise DataError(f"{path}:{number + long[0]}: a line of more than {LONGEST_LINE:,} bytes; {need}")
                if (place := data.find(b"\0")) >= 0:
                    raise DataError(
                        # The byte 10 is a line feed.
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


def decode_block(path: Path, first: int, block: bytes) -> str:
    """A block of `read_text_blocks` as text. **Raises:** DataError for one that is not UTF-8."""
    try:
        return block.decode("utf-8")
    except UnicodeDecodeError as error:
        number = first + block.count(b"\n", 0, error.start)
        raise DataError(f"{path}:{number}: not UTF-8 text; convert the file to UTF-8") from error


def _with_lf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def _check_ends(path: Path, file: BinaryIO) -> None:
    """Skip a byte order mark. **Raises:** DataError for one of another encoding, and for a mark at the end."""
    begin = file.read(4)
    wide = next((bits for mark, bits in _WIDE_MARKS.items() if begin.startswith(mark)), None)
    if wide is not None:
        raise DataError(f"{path}: is in UTF-{wide}; convert the file to UTF-8")
    file.seek(max(0, file.seek(0, os.SEEK_END) - _END))
    if file.read().rstrip().endswith(b"\x1a"):
        raise DataError(f"{path}: ends in Ctrl-Z (0x1A), an old mark of the end of a file; delete that byte")
    file.seek(len(_BOM) if begin.startswith(_BOM) else 0)


@dataclass(frozen=True)
class Layout:
    """What the lines of a file hold.

    **Arguments:**

    - `columns`: the name of each wanted column, from the first one on. `time` may be negative, has 53 bits, and may be
      a whole float or a date; any other is an id from 0 to 2^31 - 1.
    - `need`: what to do when the file is missing, for messages.
    - `most`: how many columns a line may have, the last ones being ignored; None: any number.
    - `short`: what to do about a line with too few columns, for messages.
    """

    columns: tuple[str, ...]
    need: str
    most: int | None = None
    short: str = "complete or delete the line"


class TextRows(NamedTuple):
    """The numbers of some lines.

    **Arguments:** `values`: int64 `(row, column)`, dates as seconds since 1970; `numbers`: int64 `(row,)`, the line of
    each row, from 1; `lines`: how many lines there are, of which `blank` are empty; `form`: how times are written.
    """

    values: np.ndarray
    numbers: np.ndarray
    lines: int
    blank: int
    form: TimeForm = TimeForm.NUMBER


class FormCheck:
    """Checks that the times of several blocks or files are either all numbers or all dates; `form`: the latest one."""

    def __init__(self) -> None:
        self.form = TimeForm.NUMBER
        self._first: str | None = None

    def add(self, path: Path, rows: TextRows) -> None:
        """**Raises:** DataError where these are dates and those before are not, or the reverse."""
        if not len(rows.values):
            return
        place = f"{path}:{rows.numbers[0]}"
        if self._first is None:
            self._first, self.form = place, rows.form
        elif self.form.dated != rows.form.dated:
            raise mixed_times(place, rows.form.dated, self._first)
        self.form = max(self.form, rows.form)


def mixed_times(place: str, dated: bool, before: str) -> DataError:
    """The error for a time that is a date while one before is a number, or the reverse; each by file and line."""
    kinds = ("a date", "a number") if dated else ("a number", "a date")
    return DataError(f"{place}: time is {kinds[0]}, but {kinds[1]} at {before}; write all times in one way")


def integer_blocks(path: Path, layout: Layout) -> Iterator[TextRows]:
    """The rows of a whitespace-separated file, some lines at a time; blank lines are skipped.

    **Raises:** DataError with file and line for a missing column, one too many, or a value that is no such number.
    """
    for first, block in read_text_blocks(path, layout.need):
        yield read_rows(path, first, block, layout)


def read_integers(path: Path, layout: Layout, forms: FormCheck | None = None) -> TextRows:
    """All rows of `integer_blocks`. **Arguments:** `forms`: of the times in the files before."""
    return gather_rows(path, integer_blocks(path, layout), layout, forms or FormCheck())


def gather_rows(path: Path, blocks: Iterable[TextRows], layout: Layout, forms: FormCheck) -> TextRows:
    """The rows of all blocks of a file. **Raises:** DataError where some times are dates and others are not."""
    found = [TextRows(np.zeros((0, len(layout.columns)), np.int64), np.zeros(0, np.int64), 0, 0)]
    for rows in blocks:
        forms.add(path, rows)
        found.append(rows)
    values, numbers, lines, blank, _ = zip(*found)
    return TextRows(np.concatenate(values), np.concatenate(numbers), sum(lines), sum(blank), forms.form)


def make_report(parts: list[TextRows], facts: np.ndarray, form: TimeForm, unit: int | None) -> ReadReport:
    """What was read of all files. **Arguments:** `facts`: those of all parts, time last, in `unit`."""
    lines, blank = sum(rows.lines for rows in parts), sum(rows.blank for rows in parts)
    times = describe_times(form, int(facts[:, 3].min()), int(facts[:, 3].max()), unit)
    return ReadReport(lines, len(facts), blank, times=times)


def read_rows(path: Path, first: int, block: bytes, layout: Layout) -> TextRows:
    """The rows of one block. **Arguments:** `first`: the number of its first line; **Raises:** see `integer_blocks`."""
    # From the fastest way to the slowest, which alone can say what is wrong with which line.
    rows = _read_clean(block, layout) or _read_dates(block, layout)
    if rows is None:
        return _read_lines(path, block, layout, first)
    return rows._replace(numbers=rows.numbers + (first - 1))


def _read_clean(raw: bytes, layout: Layout) -> TextRows | None:
    """All rows at once, or None when anything at all is unusual, so that `_read_lines` can name it."""
    data = np.frombuffer(raw, np.uint8)
    if not len(data) or not _CLEAN[data].all() or _has_empty_field(raw):
        return None
    space = _SPACE[data]
    # By byte: whether the next one is a digit, and whether the one before is a separator or there is none.
    before_digit = np.append(_DIGIT[data[1:]], False)
    after_space = np.append(True, space[:-1])
    minus = data == _MINUS
    # A minus can only begin a number: `1-2` and `- 3` are for `_read_lines` to refuse.
    if not (before_digit & after_space)[minus].all():
        return None
    tokens = np.flatnonzero(~space & after_space)
    ends = np.flatnonzero(data == _NEWLINE)
    ends = ends if raw.endswith(b"\n") else np.append(ends, len(data))
    # Tokens in each line: those that begin at bytes 0, 2 and 5, with lines that end at 4 and 7, are 2 and 1.
    per_line = np.diff(np.searchsorted(tokens, ends), prepend=0)
    lines = np.flatnonzero(per_line)
    counts = per_line[lines]
    # The separator " " stands for any white space, line ends included.
    values = np.fromstring(raw, dtype=np.int64, sep=" ") if len(tokens) else np.zeros(0, np.int64)
    columns, most = layout.columns, layout.most
    if len(values) != len(tokens) or (counts < len(columns)).any() or (most is not None and (counts > most).any()):
        return None
    # The place of each line's first token among all. Columns behind the wanted ones are passed over.
    first = np.cumsum(counts) - counts
    table = values[first[:, None] + np.arange(len(columns))]
    # fromstring clips what exceeds 64 bits to the limit, which is out of range here too.
    low, high = np.array([_limits(column) for column in columns]).T
    if not ((table >= low) & (table <= high)).all():
        return None
    return TextRows(table, lines + 1, len(ends), len(ends) - len(lines))


def _limits(column: str) -> tuple[int, int]:
    return (-TIME_MAX, TIME_MAX) if column == "time" else (0, INT32_MAX)


def _has_empty_field(raw: bytes) -> bool:
    """Whether a tab follows another one or begins a line: the later columns would take the place of the empty one."""
    if b"\t\t" in raw or b"\n\t" in raw or _EMPTY_FIRST.match(raw):
        return True
    return b" " in raw and _EMPTY_FIELD.search(raw) is not None


def _read_dates(raw: bytes, layout: Layout) -> TextRows | None:
    """As `_read_clean`, of facts whose times are dates or whole floats; None when anything is unusual."""
    if layout.columns[3:] != ("time",):
        return None
    forms: set[TimeForm] = set()

    def to_number(fact: re.Match[bytes]) -> bytes:
        time = parse_number_or_date(fact[2].decode("utf-8", "replace"))
        if time is None:
            return fact[0]
        forms.add(time[1])
        return b"%b%d" % (fact[1], time[0])

    # Each date is replaced by its number in the text, so that the fast way can read the rest.
    numbers, count = _FACT.subn(to_number, raw)
    # A time that was not understood is still there and is no whole number. A line that did not match may be one.
    # Where both kinds occur, `_read_lines` names a line of each.
    rows = _read_clean(numbers, layout) if len({form.dated for form in forms}) == 1 else None
    return rows._replace(form=max(forms)) if rows is not None and len(rows.values) == count else None


def _read_lines(path: Path, raw: bytes, layout: Layout, first: int) -> TextRows:
    """As `_read_clean`, one line after the other; `first` is the number of the first one, for messages."""
    rows, numbers, blank, form = [], [], 0, TimeForm.NUMBER
    columns = layout.columns
    time = columns.index("time") if "time" in columns else None
    line_of_kind: dict[bool, int] = {}  # the first line with a date, and with a number
    # Not `splitlines`, which also ends lines at U+2028 and others, so that their numbers would be wrong. Bytes that are
    # not UTF-8 may stand in a column that is ignored; in any other they are refused as no number.
    lines = raw.decode("utf-8", "replace").removesuffix("\n").split("\n") if raw else []
    for number, line in enumerate(lines, first):
        if not line.strip():
            blank += 1
            continue
        fields = _split_line(line, layout.most)
        if len(fields) < len(columns) or (layout.most is not None and len(fields) > layout.most):
            raise _wrong_count(f"{path}:{number}", line, len(fields), layout)
        values = [_parse_value(f"{path}:{number}", *pair) for pair in zip(columns, fields)]
        rows.append([value for value, _ in values])
        numbers.append(number)
        if time is not None:
            found = values[time][1]
            form = max(form, found)
            line_of_kind.setdefault(found.dated, number)
            if (before := line_of_kind.get(not found.dated)) is not None:
                raise mixed_times(f"{path}:{number}", found.dated, f"{path}:{before}")
    table = np.array(rows, np.int64).reshape(-1, len(columns))
    return TextRows(table, np.array(numbers, np.int64), len(lines), blank, form)


def _wrong_count(place: str, line: str, count: int, layout: Layout) -> DataError:
    """The error for a line with too few or too many columns."""
    needed, most = len(layout.columns), layout.most
    expected = f"at least {needed}" if most is None else f"{needed} or {most}" if most > needed else str(most)
    advice = layout.short if count < needed else "was a line end lost? Give each its own line"
    if count < needed and line.count(",") >= needed - 1:
        advice = "separate the columns by tabs or spaces, not by commas"
    return DataError(
        f"{place}: {count} columns in {shown(line.strip(), 40)}, expected {expected} ({' '.join(layout.columns)}); "
        f"{advice}"
    )


def _split_line(line: str, most: int | None) -> list[str]:
    """The columns of a line. Spaces pad or separate; nothing between two tabs is an empty field."""
    parts = [part.split() or [""] for part in line.rstrip().split("\t")]
    fields = join_dates([token for part in parts for token in part])
    if most is not None and len(fields) > most and len(parts) > 1:
        # Words in a last column that is ignored are no columns of their own. Numbers there may be those of a fact.
        begin = join_dates([token for part in parts[:-1] for token in part])
        if len(begin) == most - 1 and not any(map(_NUMBER.fullmatch, parts[-1])):
            return [*begin, " ".join(parts[-1])]
    return fields


def _parse_value(place: str, column: str, text: str) -> tuple[int, TimeForm]:
    low, high = _limits(column)
    # Only a time may be a date or a float.
    whole = INTEGER.fullmatch(text)
    found = parse_number_or_date(text) if column == "time" or whole else None
    if found is not None and low <= found[0] <= high:
        return found
    problem = f"{place}: {column} is {shown(text, 40)}"
    if whole or found:
        raise DataError(f"{problem}, outside {low} to {high}; correct it")
    advice = TIME_ADVICE if column == "time" else "write the id, a number from 0"
    raise DataError(f"{problem}, not a whole number; {advice}")
