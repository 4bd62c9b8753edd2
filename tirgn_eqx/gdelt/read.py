"""Lines of raw event files as frames of typed columns, and what is no event as rejects.

A line is split at tabs and nowhere else: GDELT quotes nothing, so that a quote is a letter like any other. Each line
is read by its own number of fields. A line that is not UTF-8 is read as Latin-1, which every line is.
"""

import datetime as dt
import functools
import math
import re
from typing import NamedTuple

import numpy as np
import polars as pl

from tirgn_eqx.gdelt.columns import LAYOUTS, NUMBERS, QUARTERLY, WIDTHS
from tirgn_eqx.gdelt.lines import decode_lines, join_lines, split_lines
from tirgn_eqx.gdelt.options import IngestOptions
from tirgn_eqx.gdelt.sources import LONGEST

_RETURN = 13
_CODE = re.compile(r"[0-9]{2,4}")
_EPOCH = dt.date(1970, 1, 1).toordinal()


class Reject(NamedTuple):
    """A line that is no event: its number in what was read, from 0, why, and its bytes."""

    line: int
    reason: str
    raw: bytes


class Rows(NamedTuple):
    """What a block of lines holds.

    **Arguments:** `frame`: well-formed rows in their order: GlobalEventID, day and added (seconds since 1970),
    actor1, actor2, code, EventCode, IsRootEvent, QuadClass, GoldsteinScale, NumMentions, AvgTone; `rejects`: in
    their order; `ends`: where each line ends, `(line,)`; `filled`, `fitting`: which lines are not blank, and
    which have a known number of fields, `(line,)`; `latin1`: how many were not UTF-8; `quarters`, `days`: the
    times of DATEADDED in quarters of an hour (GDELT 2.0) and days (1.0) since 1970.
    """

    frame: pl.DataFrame
    rejects: list[Reject]
    ends: np.ndarray
    filled: np.ndarray
    fitting: np.ndarray
    latin1: int
    quarters: np.ndarray
    days: np.ndarray


def read_lines(data: bytes, options: IngestOptions) -> Rows:
    """The rows and rejects of whole lines, each with its newline."""
    starts, ends, fields, nul = split_lines(data)
    lengths = ends - starts
    filled = lengths > 0
    alone = np.flatnonzero(lengths == 1)
    filled[alone] = np.frombuffer(data, np.uint8)[starts[alone]] != _RETURN
    long = lengths > LONGEST
    fitting = np.isin(fields, list(LAYOUTS)) & filled & ~long
    good = fitting.copy()
    good[nul] = False
    rejects: list[Reject] = []
    reject = lambda line, reason: rejects.append(Reject(line, reason, data[starts[line] : ends[line]][:LONGEST]))
    for line in np.flatnonzero(filled & ~good).tolist():
        columns = f"{fields[line]} columns; expected {WIDTHS}"
        reject(line, f"longer than {LONGEST:,} bytes" if long[line] else "a NUL byte" if fitting[line] else columns)
    changed, latin1 = decode_lines(data, starts, ends, good)
    frames = []
    quarters = days = np.empty(0, np.int64)
    for width in LAYOUTS:
        lines = np.flatnonzero(good & (fields == width))
        if not len(lines):
            continue
        part = data
        if changed or len(lines) < len(starts):
            part = join_lines(data, starts, ends, np.flatnonzero(~good | (fields != width)), changed)
        frame = _parse(part, width, options)
        bad = frame["bad"].to_numpy()
        for line in lines[bad].tolist():
            reject(line, _reason(changed.get(line, data[starts[line] : ends[line]]), width, options))
        frame = frame.with_columns(line=pl.Series(lines)).filter(~pl.col("bad"))
        times = frame["added"].unique().to_numpy()
        if width == QUARTERLY:
            quarters = np.unique(times // 900)
        else:
            days = np.union1d(days, times // 86_400)
        frames.append(frame.drop("bad"))
    frame = pl.concat(frames).sort("line") if len(frames) > 1 else frames[0] if frames else _empty(options)
    rejects.sort()
    return Rows(frame.drop("line"), rejects, ends, filled, fitting, latin1, quarters, days)


def _wanted(options: IngestOptions) -> dict[str, str]:
    """The columns that are read, and what they are called from here on."""
    names = {column: column for column in (*NUMBERS, "GoldsteinScale", "EventCode")}
    return {"actor1": "", "actor2": "", "code": ""} | options.columns() | names


def _parse(data: bytes, width: int, options: IngestOptions) -> pl.DataFrame:
    """The wanted columns of lines of `width` fields; `bad` marks rows with a value that cannot be."""
    layout = LAYOUTS[width]
    wanted = _wanted(options)
    raw = {column: f"column_{layout.index(column) + 1}" for column in wanted.values()}
    types = {raw[column]: getattr(pl, NUMBERS.get(column, "String")) for column in raw}
    table = pl.read_csv(
        data,
        separator="\t",
        has_header=False,
        quote_char=None,
        columns=sorted(layout.index(column) for column in raw),
        schema={f"column_{number + 1}": types.get(f"column_{number + 1}", pl.String) for number in range(width)},
        ignore_errors=True,
    )
    table = table.select(pl.col(raw[column]).alias(name) for name, column in wanted.items())
    digits = 14 if width == QUARTERLY else 8
    # GDELT knows no score for some codes: an empty one is none.
    score = pl.col("GoldsteinScale").cast(pl.Float64, strict=False)
    is_code = lambda name: _mapped(table[name], lambda code: _CODE.fullmatch(code) is not None, pl.Boolean)
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
    table = table.with_columns(
        _mapped(table["Day"], lambda value: seconds(value, 8), pl.Int64).alias("day"),
        _mapped(table["DATEADDED"], lambda value: seconds(value, digits), pl.Int64).alias("added"),
        (is_code("code") & is_code("EventCode")).alias("is_code"),
    ).with_columns(score.alias("GoldsteinScale"), bad=~good.fill_null(False))
    return table.drop("Day", "DATEADDED", "is_code")


def _mapped(column: pl.Series, function, kind) -> pl.Series:
    """`function` of each value, called once for each distinct one; null stays null."""
    values = column.drop_nulls().unique()
    results = pl.Series([function(value) for value in values], dtype=kind)
    return column.replace_strict(values, results, return_dtype=kind, default=None)


@functools.lru_cache(maxsize=1 << 14)
def seconds(value: int, digits: int) -> int | None:
    """A time as GDELT writes it, of 8 digits (YYYYMMDD) or 14 (YYYYMMDDHHMMSS), in seconds since 1970.

    None for a value that is no time of so many digits.
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


def _fields(line: bytes, width: int) -> dict[str, str]:
    return dict(zip(LAYOUTS[width], line.decode("utf-8", "replace").rstrip("\r").split("\t")))


def _reason(line: bytes, width: int, options: IngestOptions) -> str:
    """What is wrong with a line whose number of fields is right: the first column that is no such value."""
    fields = _fields(line, width)
    added = 14 if width == QUARTERLY else 8
    whole = lambda text: int(text) if re.fullmatch(r"\+?[0-9]{1,18}", text.strip()) else None
    checks = {
        "GlobalEventID": lambda text: whole(text) is not None,
        "Day": lambda text: (value := whole(text)) is not None and seconds(value, 8) is not None,
        "IsRootEvent": lambda text: whole(text) in (0, 1),
        "EventCode": lambda text: _CODE.fullmatch(text) is not None,
        options.columns()["code"]: lambda text: _CODE.fullmatch(text) is not None,
        "QuadClass": lambda text: whole(text) in (1, 2, 3, 4),
        "GoldsteinScale": lambda text: text == "" or _is_finite(text),
        "NumMentions": lambda text: whole(text) is not None,
        "AvgTone": _is_finite,
        "DATEADDED": lambda text: (value := whole(text)) is not None and seconds(value, added) is not None,
    }
    wrong = next((column for column, check in checks.items() if not check(fields[column])), None)
    if wrong is None:
        return "a number out of range"
    value = fields[wrong]
    return f"{wrong} {value[:40] + '...' if len(value) > 40 else value!r}" if value else f"{wrong} is empty"


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _empty(options: IngestOptions) -> pl.DataFrame:
    line = "\t".join(["0"] * QUARTERLY) + "\n"
    return (
        _parse(line.encode(), QUARTERLY, options).clear().drop("bad").with_columns(line=pl.Series([], dtype=pl.Int64))
    )
