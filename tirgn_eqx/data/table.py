"""Text files whose first columns are whole numbers: read in blocks, each at once when clean, line by line when not."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tirgn_eqx.errors import DataError, shown
from tirgn_eqx.foreign import check_regular

INT32_MAX = 2**31 - 1
# The model's clock is float64, exact for whole numbers up to 2^53.
TIME_MAX = 2**53
BLOCK = 1 << 23  # bytes that are read at once
LONGEST = 1 << 16  # bytes of a line
# What a vocabulary may count: so many beside so many for each line that speaks of it. Memory grows with the count.
_SPARE, _PER_LINE = 1_000_000, 16
_BOM = b"\xef\xbb\xbf"
_INTEGER = re.compile(r"[+-]?[0-9]+")
_EMPTY_FIRST = re.compile(rb"[ \r]*\t")
_EMPTY_FIELD = re.compile(rb"[\t\n][ \r]*\t")
_TAB, _NEWLINE, _MINUS = 9, 10, 45
_SPACE = np.zeros(256, bool)
_SPACE[[_TAB, _NEWLINE, 13, 32]] = True
_DIGIT = np.zeros(256, bool)
_DIGIT[48:58] = True
_CLEAN = _SPACE | _DIGIT
_CLEAN[_MINUS] = True


def most_ids(told: int) -> int:
    """How many ids data may count that speak of some `told` times."""
    return _SPARE + _PER_LINE * told


def read_blocks(path: Path, need: str) -> Iterator[tuple[int, bytes]]:
    """A file in blocks of whole lines, without byte order mark, and the number of each block's first line, from 1.

    **Raises:** DataError for a file that cannot be read, which ends in `need` (what to do), or with a line that is
    longer than `LONGEST`: no more than a block is ever held.
    """
    number, rest = 1, b""
    try:
        check_regular(path)
        with path.open("rb") as file:
            file.seek(len(_BOM) if file.read(len(_BOM)) == _BOM else 0)
            while data := file.read(BLOCK):
                data = rest + data
                ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE)
                long = np.flatnonzero(np.diff(ends, prepend=-1, append=len(data)) > LONGEST + 1)
                if len(long):
                    raise DataError(f"{path}:{number + long[0]}: a line of more than {LONGEST:,} bytes; {need}")
                cut = ends[-1] + 1 if len(ends) else 0
                block, rest = data[:cut], data[cut:]
                if block:
                    yield number, block
                    number += len(ends)
    except FileNotFoundError as error:
        raise DataError(f"{path}: file is missing; {need}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {need}") from error
    if rest:
        yield number, rest


def integer_blocks(
    path: Path, columns: tuple[str, ...], need: str, *, commas: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The first columns of a whitespace-separated file as whole numbers, some lines at a time; blank lines and further
    columns are skipped.

    **Arguments:** `path`; `columns`: the name of each wanted column; `time` may be negative and has 53 bits,
    any other is an id from 0 to 2^31 - 1; `need`: what to do when the file is missing; `commas`: commas separate the
    columns, and the first line holds their names.

    **Yields:** int64 `(row, len(columns))` and int64 `(row,)`, the line number of each row, counted from 1.

    **Raises:** DataError with file and line for a missing column or a value that is no such number.
    """
    for first, block in read_blocks(path, need):
        if commas:
            # The first line becomes a blank one, so that lines keep their numbers.
            block = b"".join(block.partition(b"\n")[1:]) if first == 1 else block
            block = block.replace(b",", b"\t")
        rows, numbers = _read_clean(block, columns) or _read_lines(path, block, columns, first)
        yield rows, numbers + (first - 1)


def read_integers(
    path: Path, columns: tuple[str, ...], need: str, *, commas: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """All that `integer_blocks` gives, as one table."""
    tables, lines = [np.zeros((0, len(columns)), np.int64)], [np.zeros(0, np.int64)]
    for rows, numbers in integer_blocks(path, columns, need, commas=commas):
        tables.append(rows)
        lines.append(numbers)
    return np.concatenate(tables), np.concatenate(lines)


def _read_clean(raw: bytes, columns: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """All rows at once, or None when anything at all is unusual, so that the slow pass can name it."""
    data = np.frombuffer(raw, np.uint8)
    # An empty field between two tabs would shift the later columns into its place.
    if not len(data) or not _CLEAN[data].all() or _EMPTY_FIRST.match(raw) or _EMPTY_FIELD.search(raw):
        return None
    space = _SPACE[data]
    before_digit = np.append(_DIGIT[data[1:]], False)
    after_space = np.append(True, space[:-1])
    minus = data == _MINUS
    if not (before_digit & after_space)[minus].all():
        return None
    tokens = np.flatnonzero(~space & after_space)
    ends = np.append(np.flatnonzero(data == _NEWLINE), len(data))
    per_line = np.diff(np.searchsorted(tokens, ends), prepend=0)
    lines = np.flatnonzero(per_line)
    counts = per_line[lines]
    values = np.fromstring(raw, dtype=np.int64, sep=" ") if len(tokens) else np.zeros(0, np.int64)
    if len(values) != len(tokens) or (counts < len(columns)).any():
        return None
    first = np.cumsum(counts) - counts
    table = values[first[:, None] + np.arange(len(columns))]
    # fromstring clips what exceeds 64 bits to the limit, which is out of range here too.
    low = [-TIME_MAX if column == "time" else 0 for column in columns]
    high = [TIME_MAX if column == "time" else INT32_MAX for column in columns]
    return (table, lines + 1) if ((table >= low) & (table <= high)).all() else None


def _read_lines(path: Path, raw: bytes, columns: tuple[str, ...], first: int) -> tuple[np.ndarray, np.ndarray]:
    """As `_read_clean`, one line after the other; `first` is the number of the first one, for messages."""
    rows, lines = [], []
    for number, line in enumerate(raw.decode("utf-8", "replace").split("\n"), 1):
        if not line.strip():
            continue
        # Spaces pad or separate; between tabs nothing at all is an empty field.
        fields = [token for field in line.split("\t") for token in field.split() or [""]]
        if len(fields) < len(columns):
            raise DataError(
                f"{path}:{first + number - 1}: {len(fields)} columns in {shown(line.strip(), 40)}, expected at least "
                f"{len(columns)} ({' '.join(columns)}); complete or delete the line"
            )
        rows.append([_integer(path, first + number - 1, *pair) for pair in zip(columns, fields)])
        lines.append(number)
    return np.array(rows, np.int64).reshape(-1, len(columns)), np.array(lines, np.int64)


def _integer(path: Path, number: int, column: str, text: str) -> int:
    low, high = (-TIME_MAX, TIME_MAX) if column == "time" else (0, INT32_MAX)
    whole = _INTEGER.fullmatch(text)
    # Python refuses to convert thousands of digits.
    value = int(text) if whole and len(text) < 30 else high + 1
    if low <= value <= high:
        return value
    where = f"{path}:{number}: {column} is {shown(text, 40)}"
    if whole:
        raise DataError(f"{where}, outside {low} to {high}; correct it")
    fix = "write a whole number" if column == "time" else "write the id, a number from 0"
    raise DataError(f"{where}, not a whole number; {fix}")
