"""Parse lines of raw event files into frames of typed columns, and set the malformed lines aside.

A line is split at tabs only: GDELT quotes nothing, so a quote is a character like any other. Each line is read by its
own number of columns. A line that is not UTF-8 is read as Latin-1, in which every line is valid.
"""

import datetime as dt
import functools
import math
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl
from polars.datatypes import DataTypeClass

from tirgn_eqx.ingest.options import IngestOptions
from tirgn_eqx.ingest.sources import LONGEST

_TAB, _NEWLINE, _RETURN = 9, 10, 13
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CODE = re.compile(r"[0-9]{2,4}")
_EPOCH = dt.date(1970, 1, 1).toordinal()

_GEO = ("Type", "FullName", "CountryCode", "ADM1Code", "ADM2Code", "Lat", "Long", "FeatureID")
_PLACES = ("Actor1Geo", "Actor2Geo", "ActionGeo")
_ACTOR = (
    *("Code", "Name", "CountryCode", "KnownGroupCode", "EthnicCode"),
    *("Religion1Code", "Religion2Code", "Type1Code", "Type2Code", "Type3Code"),
)
_HEAD = (
    *("GlobalEventID", "Day", "MonthYear", "Year", "FractionDate"),
    *(f"Actor{number}{name}" for number in (1, 2) for name in _ACTOR),
    *("IsRootEvent", "EventCode", "EventBaseCode", "EventRootCode", "QuadClass", "GoldsteinScale"),
    *("NumMentions", "NumSources", "NumArticles", "AvgTone"),
)


def _columns(geo: tuple[str, ...]) -> tuple[str, ...]:
    return (*_HEAD, *(f"{place}_{name}" for place in _PLACES for name in geo), "DATEADDED", "SOURCEURL")


# The layouts by number of columns: GDELT 2.0 with a file each quarter hour, GDELT 1.0 with a file each day, and its
# files before April 2013, which lack the address.
QUARTERLY = 61
_DAILY = _columns(tuple(name for name in _GEO if name != "ADM2Code"))
LAYOUTS = {QUARTERLY: _columns(_GEO), 58: _DAILY, 57: _DAILY[:-1]}
WIDTHS = f"{', '.join(map(str, sorted(LAYOUTS)[:-1]))} or {max(LAYOUTS)}"

# Columns that are read as numbers; every other column is text.
NUMBERS = {
    **dict.fromkeys(("GlobalEventID", "Day", "DATEADDED"), pl.Int64),
    **dict.fromkeys(("IsRootEvent", "QuadClass", "NumMentions"), pl.Int32),
    "AvgTone": pl.Float64,
}


class Reject(NamedTuple):
    """A malformed line: its number in the block, from 0, the reason, and its bytes."""

    line: int
    reason: str
    raw: bytes


class ParsedLines(NamedTuple):
    """The rows and rejects of a block of lines.

    **Arguments:**

    - `frame`: well-formed rows in their order: GlobalEventID, day and added (seconds since 1970), actor1, actor2, code,
      EventCode, IsRootEvent, QuadClass, GoldsteinScale, NumMentions, AvgTone.
    - `rejects`: malformed lines in their order.
    - `ends`: position of the newline of each line, `(line,)`.
    - `filled`, `fitting`: which lines are not blank, and which have a known number of columns, `(line,)`.
    - `latin1`: number of lines that were not UTF-8.
    - `quarters`, `days`: the distinct times of DATEADDED in quarter hours (GDELT 2.0) and days (1.0) since 1970.
    """

    frame: pl.DataFrame
    rejects: list[Reject]
    ends: np.ndarray
    filled: np.ndarray
    fitting: np.ndarray
    latin1: int
    quarters: np.ndarray
    days: np.ndarray


def parse_lines(data: bytes, options: IngestOptions) -> ParsedLines:
    """Parse whole lines, each with its newline."""
    starts, ends, fields, nul = _split_lines(data)
    lengths = ends - starts
    filled = lengths > 0
    # A line that holds only the carriage return of a Windows line end is blank.
    alone = np.flatnonzero(lengths == 1)
    filled[alone] = np.frombuffer(data, np.uint8)[starts[alone]] != _RETURN
    long = lengths > LONGEST
    fitting = np.isin(fields, list(LAYOUTS)) & filled & ~long
    # A line with a NUL byte has a known number of columns, but is malformed all the same.
    good = fitting.copy()
    good[nul] = False
    rejects: list[Reject] = []

    def reject(line: int, reason: str) -> None:
        rejects.append(Reject(line, reason, data[starts[line] : ends[line]][:LONGEST]))

    for line in np.flatnonzero(filled & ~good).tolist():
        columns = f"{fields[line]} columns; expected {WIDTHS}"
        reject(line, f"longer than {LONGEST:,} bytes" if long[line] else "a NUL byte" if fitting[line] else columns)
    changed, latin1 = _decode_lines(data, starts, ends, good)
    frames = []
    quarters = days = np.empty(0, np.int64)
    for width in LAYOUTS:
        lines = np.flatnonzero(good & (fields == width))
        if not len(lines):
            continue
        # `_parse` takes lines of one width. The data is copied only where lines must be left out or changed.
        part = data
        if changed or len(lines) < len(starts):
            part = _join_lines(data, starts, ends, np.flatnonzero(~good | (fields != width)), changed)
        frame = _parse(part, width, options)
        bad = frame["bad"].to_numpy()
        for line in lines[bad].tolist():
            # The slow search for the wrong column runs for malformed lines alone.
            reject(line, _find_fault(changed.get(line, data[starts[line] : ends[line]]), width, options))
        frame = frame.with_columns(line=pl.Series(lines)).filter(~pl.col("bad"))
        times = frame["added"].unique().to_numpy()
        if width == QUARTERLY:
            quarters = np.unique(times // 900)
        else:
            days = np.union1d(days, times // 86_400)
        frames.append(frame.drop("bad"))
    # The loop goes by width: bring rows and rejects back into the order of the lines.
    frame = pl.concat(frames).sort("line") if len(frames) > 1 else frames[0] if frames else _parse_nothing(options)
    rejects.sort()
    return ParsedLines(frame.drop("line"), rejects, ends, filled, fitting, latin1, quarters, days)


def _parse(data: bytes, width: int, options: IngestOptions) -> pl.DataFrame:
    """The needed columns of lines of `width` columns; `bad` marks rows with an impossible value."""
    layout = LAYOUTS[width]
    names = options.columns() | {column: column for column in (*NUMBERS, "GoldsteinScale", "EventCode")}
    # polars counts the columns of a file without a header from 1.
    raw = {column: f"column_{layout.index(column) + 1}" for column in names.values()}
    types = {raw[column]: NUMBERS.get(column, pl.String) for column in raw}
    table = pl.read_csv(
        data,
        separator="\t",
        has_header=False,
        quote_char=None,
        columns=sorted(layout.index(column) for column in raw),
        schema={f"column_{number + 1}": types.get(f"column_{number + 1}", pl.String) for number in range(width)},
        # A value of the wrong type becomes null, which `good` refuses.
        ignore_errors=True,
    )
    table = table.select(pl.col(raw[column]).alias(name) for name, column in names.items())
    digits = 14 if width == QUARTERLY else 8
    # GDELT has no score for some codes and leaves the field empty.
    score = pl.col("GoldsteinScale").cast(pl.Float64, strict=False)
    code, event_code = (_map_distinct(table[name], _is_code, pl.Boolean) for name in ("code", "EventCode"))
    good = (
        pl.col("GlobalEventID").ge(0)
        & pl.col("IsRootEvent").is_between(0, 1)
        & pl.col("QuadClass").is_between(1, 4)
        & pl.col("NumMentions").ge(0)
        & pl.col("AvgTone").is_finite()
        & (pl.col("GoldsteinScale").is_null() | score.is_finite())
        & pl.col("day").is_not_null()
        & pl.col("added").is_not_null()
        & pl.col("is_code")
    )
    # Two steps, because `good` uses the columns of the first.
    table = table.with_columns(
        _map_distinct(table["Day"], lambda value: parse_seconds(value, 8), pl.Int64).alias("day"),
        _map_distinct(table["DATEADDED"], lambda value: parse_seconds(value, digits), pl.Int64).alias("added"),
        (code & event_code).alias("is_code"),
    ).with_columns(score.alias("GoldsteinScale"), bad=~good.fill_null(False))
    return table.drop("Day", "DATEADDED", "is_code")


def _map_distinct(column: pl.Series, function: Callable[..., object], kind: DataTypeClass) -> pl.Series:
    """`function` of each value, called once for each distinct value; null stays null.

    **Arguments:** `kind`: polars type of the results.
    """
    values = column.drop_nulls().unique()
    results = pl.Series([function(value) for value in values], dtype=kind)
    return column.replace_strict(values, results, return_dtype=kind, default=None)


# The same few times recur in all rows of a block and in neighbouring blocks.
@functools.lru_cache(maxsize=1 << 14)
def parse_seconds(value: int, digits: int) -> int | None:
    """The seconds since 1970 of a time that GDELT writes with 8 digits (YYYYMMDD) or 14 (YYYYMMDDHHMMSS).

    **Returns:** None for a value that is no time of so many digits.
    """
    if len(str(value)) != digits or value < 0:
        return None
    date, clock = (value, 0) if digits == 8 else divmod(value, 1_000_000)
    hour, minute, second = clock // 10_000, clock // 100 % 100, clock % 100
    try:
        day = dt.date(date // 10_000, date // 100 % 100, date % 100).toordinal() - _EPOCH
    except ValueError:
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    return 86_400 * day + 3600 * hour + 60 * minute + second


def _find_fault(line: bytes, width: int, options: IngestOptions) -> str:
    """What is wrong with a line of a known width: the first column whose value is not of its kind."""
    fields = dict(zip(LAYOUTS[width], line.decode("utf-8", "replace").rstrip("\r").split("\t")))
    checks: dict[str, Callable[[str], bool]] = {
        "GlobalEventID": lambda text: _whole(text) is not None,
        "Day": lambda text: _is_time(text, 8),
        "IsRootEvent": lambda text: _whole(text) in (0, 1),
        "EventCode": _is_code,
        options.columns()["code"]: _is_code,
        "QuadClass": lambda text: _whole(text) in (1, 2, 3, 4),
        "GoldsteinScale": lambda text: text == "" or _is_finite(text),
        "NumMentions": lambda text: _whole(text) is not None,
        "AvgTone": _is_finite,
        "DATEADDED": lambda text: _is_time(text, 14 if width == QUARTERLY else 8),
    }
    wrong = next((column for column, check in checks.items() if not check(fields[column])), None)
    # The checks above allow up to 18 digits, which an int32 column cannot hold.
    if wrong is None:
        return "a number out of range"
    value = fields[wrong]
    return f"{wrong} {value[:40] + '...' if len(value) > 40 else value!r}" if value else f"{wrong} is empty"


def _is_code(text: str) -> bool:
    return _CODE.fullmatch(text) is not None


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\+?[0-9]{1,18}", text.strip()) else None


def _is_time(text: str, digits: int) -> bool:
    return (value := _whole(text)) is not None and parse_seconds(value, digits) is not None


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _parse_nothing(options: IngestOptions) -> pl.DataFrame:
    """A frame without rows."""
    # Parse one line and drop it, so that the types are those of `_parse`.
    line = "\t".join(["0"] * QUARTERLY) + "\n"
    empty = _parse(line.encode(), QUARTERLY, options).clear().drop("bad")
    return empty.with_columns(line=pl.Series([], dtype=pl.Int64))


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


def _decode_lines(data: bytes, starts: np.ndarray, ends: np.ndarray, good: np.ndarray) -> tuple[dict[int, bytes], int]:
    """The good lines that are not plain UTF-8, as UTF-8 without a byte order mark, and how many were Latin-1."""
    high = np.flatnonzero(np.frombuffer(data, np.uint8) > 127)
    changed, latin1 = {}, 0
    # The number of newlines before a byte is the number of its line.
    for line in np.unique(np.searchsorted(ends, high)).tolist():
        if not good[line]:
            continue
        raw = data[starts[line] : ends[line]]
        # The mark stands at the start of a file, which may be anywhere in a pack of several files.
        text = raw.removeprefix(_BYTE_ORDER_MARK)
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
