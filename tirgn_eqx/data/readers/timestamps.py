"""Timestamps of event tables, in any of the forms that occur, as seconds since the unix epoch (UTC)."""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tirgn_eqx.data.readers.time_forms import (
    CALENDAR,
    DIVISORS,
    EXCEL_EPOCH,
    FIRST,
    LAST,
    LIKELY_FROM,
    UNITS,
    Unclear,
    calendar_seconds,
    likely_until,
    read_integers,
)
from tirgn_eqx.errors import ConfigError, DataError, nearest, shown

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = dt.timedelta(seconds=1)
_PER_SECOND = {"ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}
ACCEPTED = (
    "dates, text like 2018-01-09 00:15:00, unix seconds to nanoseconds, YYYYMM, YYYYMMDD[HH[MM[SS]]], or step numbers"
)
NAMED = (*DIVISORS, "unix-days", "excel", "steps", "iso", "datetime", *CALENDAR)
WAYS_OUT = "correct or drop such rows, set them aside with --skip-bad-rows, or name the form with --time-format"
_DIRECTIVES = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "y": 2, "j": 3, "I": 2}
_DATE_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?!\d)(.*)", re.DOTALL)
_YEAR_LAST = re.compile(r"\d{1,2}([-/.])\d{1,2}\1\d{4}(?!\d).*", re.DOTALL)
_ZONE_WORD = re.compile(r"\s*(?:UTC|GMT|Z)\s*$", re.IGNORECASE)
_SPACED_OFFSET = re.compile(r"\s+([+-]\d{2}:?\d{0,2})$")
_MONTH = re.compile(r"(\d{4})-(\d{2})")
_DIGITS = r"^-?[0-9]{1,19}(?:\.[0-9]*)?$"


class Times(NamedTuple):
    """What a column of times was understood as.

    **Arguments:** `values`: int64 `(row,)`, seconds since 1970-01-01 00:00 UTC rounded down, or step numbers; `bad`:
    bool `(row,)`, rows that are no time, to be set aside; `form`: the name of the form; `dated`: whether they are
    seconds; `first_bad`: what is wrong with the first bad row.
    """

    values: np.ndarray
    bad: np.ndarray
    form: str
    dated: bool = True

    def span(self, rows: np.ndarray | slice = slice(None)) -> str:
        """`2021-03-01 to 2021-03-20`, or the first and last step number."""
        return span(self.values[rows], self.dated)

    def described(self) -> str:
        """`unix milliseconds, 2021-03-01 to 2021-03-20`."""
        head, of, form = self.form.partition(" of the form ")
        several = self.form if self.form in CALENDAR else f"{head}s{of}{form}"
        return f"{several}, {self.span(~self.bad)}"


def span(values: np.ndarray, dated: bool) -> str:
    """The first and last of some times, as dates or as step numbers; with the time of day within a single day, and once
    where they are the same."""
    low, high = int(values.min()), int(values.max())
    if not dated:
        return f"{low} to {high}" if low != high else str(low)
    shown = [str(np.datetime64(value, "s")).replace("T", " ") for value in dict.fromkeys((low, high))]
    length = 10 if low // 86_400 != high // 86_400 or (low == high and low % 86_400 == 0) else 16
    return " to ".join(text[:length] for text in shown)


def check_time_format(form: str | None) -> None:
    """**Raises:** ConfigError for a form of times that does not exist."""
    if form is None or form in NAMED:
        return
    if "%" not in form:
        raise ConfigError(
            f"time format {shown(form)} does not exist{nearest(form, NAMED)}; write a form of strptime such as "
            f"%d/%m/%Y, or one of {', '.join(NAMED)}"
        )
    try:
        dt.datetime.strptime("", form)
    except ValueError as error:
        if "does not match" not in str(error):
            raise ConfigError(f"time format {shown(form)}: {error}; write it like %d/%m/%Y %H:%M") from error
    except (re.error, IndexError) as error:
        raise ConfigError(f"time format {shown(form)}: cannot be read; write it like %d/%m/%Y %H:%M") from error
    if not re.search(r"%[YyGcx]", form):
        raise ConfigError(f"time format {shown(form)}: has no year; write it like %d/%m/%Y")


def read_times(
    column: Any,
    where: str,
    *,
    time_format: str | None = None,
    skip: bool = False,
    row: Callable[[int], str] = lambda number: f"row {number + 1}",
) -> Times:
    """The times of a column. Their form is decided over all rows, never by the first one.

    Times without a zone count as UTC. Whole numbers, also as text, are read by magnitude: see
    `time_forms`. Other text is ISO 8601, also with `UTC`, a zone offset, or slashes in ISO order.

    **Arguments:** `column`: a polars Series without nulls; `where`: file and column, for messages; `time_format`: a
    form of strptime, or one of `NAMED`; None: decide; `skip`: mark rows that are no time instead of refusing them,
    as long as most rows are times; `row`: how a message names a row, by its number from 0.

    **Raises:** DataError for a column that holds no times, with the first row that is none, or one before year 1 or
    after 9999; ConfigError for a form that does not exist.
    """
    check_time_format(time_format)
    try:
        times = _read(column, where, time_format)
    except Unclear as error:
        raise DataError(f"{where} {error}") from error
    bad, expected = times.bad, times.form
    if times.dated:
        outside = ~bad & ((times.values < FIRST) | (times.values > LAST))
        if outside.any() and not bad.any():
            expected = "date in the years 1 to 9999"
        bad = bad | outside
    if bad.any() and not (skip and 2 * bad.sum() <= len(bad)):
        number = int(np.argmax(bad))
        if bad.all():
            problem = f"{_many(len(bad), len(bad))} no times"
            fix = f"expected {ACCEPTED}; or name their form with --time-format"
        else:
            problem, fix = f"{_many(int(bad.sum()), len(bad))} no {expected}, as the others are", WAYS_OUT
        if expected.startswith("date in"):
            problem = f"{_many(int(bad.sum()), len(bad))} no {expected}"
        raise DataError(f"{where}: {problem}; first {_shown(column, number)} in {row(number)}; {fix}")
    return times._replace(bad=bad)


def _many(bad: int, rows: int) -> str:
    return f"{bad:,} of {rows:,} values {'is' if bad == 1 else 'are'}"


def _shown(column: Any, number: int) -> str:
    try:
        return shown(column[number])
    except (ValueError, OverflowError):  # a datetime that Python has no date for
        return shown(column.to_physical()[number])


def doubts(times: Times, where: str, row: Callable[[int], str], explicit: bool) -> list[str]:
    """What is doubtful about dates: those before 1979, and those after the next year, in one sentence each.

    **Arguments:** `explicit`: the form was given, so that early dates are what the caller says they are.
    """
    if not times.dated:
        return []
    good = ~times.bad
    early = good & (times.values < LIKELY_FROM)
    late = good & (times.values > likely_until())
    out = []
    kinds = (("before 1979", early if not explicit else early & False), ("after next year", late))
    for what, rows in kinds:
        if rows.any():
            number = int(np.argmax(rows))
            out.append(
                f"{where}: {int(rows.sum()):,} of {int(good.sum()):,} times, read as {times.form}, lie {what}: "
                f"{times.span(rows)}, first in {row(number)}; if that is wrong, correct them or name the form with "
                "--time-format"
            )
    return out


def _read(column: Any, where: str, form: str | None) -> Times:
    import polars as pl

    kind = column.dtype
    none = np.zeros(len(column), bool)
    if isinstance(kind, pl.Datetime | pl.Date):
        if form not in (None, "datetime"):
            raise Unclear(f"holds dates already (type {kind}), not {form}; leave out --time-format")
        if isinstance(kind, pl.Date):
            return Times(column.cast(pl.Int32).to_numpy().astype(np.int64) * 86_400, none, "date")
        seconds = column.to_physical().to_numpy() // _PER_SECOND[kind.time_unit]
        if form is None:
            _check_unit(seconds)
        return Times(seconds, none, "datetime")
    if form == "datetime":
        raise Unclear(f"has type {str(kind)[:80]}, not datetime; name its form with --time-format")
    if isinstance(kind, pl.Decimal) and kind.scale == 0:
        column, kind = column.cast(pl.Int64, strict=False), pl.Int64()
    if kind.is_float():
        return _of_floats(column.to_numpy(), form)
    if kind.is_integer():
        values = column.cast(pl.Int64, strict=False)
        return _of_integers(values.fill_null(0).to_numpy().astype(np.int64), values.is_null().to_numpy(), form)
    if isinstance(kind, pl.String | pl.Categorical | pl.Enum):
        return _of_text(column.cast(pl.String).str.strip_chars(), form)
    raise Unclear(f"has type {str(kind)[:80]}; expected {ACCEPTED}")


def _check_unit(seconds: np.ndarray) -> None:
    """**Raises:** Unclear for dates in January 1970 that are dates of today once their unit is another."""
    if not len(seconds):
        return
    low, high = int(seconds.min()), int(seconds.max())
    for factor in (1000, 10**6, 10**9):
        if low * factor >= LIKELY_FROM and high * factor <= likely_until():
            there = span(np.array([low, high]) * factor, True)
            raise Unclear(
                f"holds dates from {span(seconds, True)}, as a writer makes them that mistakes the unit {factor:,} "
                f"times: with it they are {there}; write the column again, or take it as it is with --time-format "
                "datetime"
            )


def _of_integers(values: np.ndarray, bad: np.ndarray, form: str | None) -> Times:
    if form is None:
        read = read_integers(values[~bad] if bad.any() else values)
        seconds, wrong = np.zeros(len(values), np.int64), bad.copy()
        seconds[~bad], wrong[~bad] = read.values, read.bad
        return Times(seconds, wrong, read.form, read.dated)
    if "%" in form:
        return _of_pattern([_padded(value, form) for value in values.tolist()], bad, form)
    if form in CALENDAR:
        seconds, fits = calendar_seconds(values, form)
        return Times(seconds, bad | ~fits, form)
    if form == "steps":
        return Times(values, bad, "step number", False)
    if form in ("excel", "unix-days"):
        # Numbers of more days than there are between year 1 and 9999 must not overflow.
        days = np.clip(values, -(10**10), 10**10)
        return Times((days - (EXCEL_EPOCH if form == "excel" else 0)) * 86_400, bad, UNITS[form])
    if form == "iso":
        raise Unclear(f"holds whole numbers, not {form}; name another form with --time-format")
    return Times(values // DIVISORS[form], bad, UNITS[form])


def _padded(value: int, form: str) -> str:
    """A whole number as text, with the zeros before it that its form of strptime needs."""
    letters = re.findall("%(.)", form)
    if re.fullmatch("(%.)+", form) and all(letter in _DIRECTIVES for letter in letters):
        return str(value).zfill(sum(_DIRECTIVES[letter] for letter in letters))
    return str(value)


def _of_floats(values: np.ndarray, form: str | None) -> Times:
    finite = np.isfinite(values)
    whole = finite & (values == np.floor(values)) & (np.abs(values) < 2.0**53)
    if whole.all() or (form is None and 2 * whole.sum() > len(whole)):
        times = _of_integers(np.where(whole, values, 0).astype(np.int64), ~whole, form)
        return times
    sound = np.where(finite & (np.abs(values) < 2.0**53), values, 0.0)
    usable = finite & (np.abs(values) < 2.0**53)
    if form == "excel":
        # An hour is no finite fraction of a day, so that what is meant is the nearest second.
        return Times(
            np.rint((np.clip(sound, -1e10, 1e10) - EXCEL_EPOCH) * 86_400).astype(np.int64), ~usable, UNITS[form]
        )
    if form in DIVISORS:
        return Times(np.floor(sound / DIVISORS[form]).astype(np.int64), ~usable, UNITS[form])
    seconds = np.floor(sound).astype(np.int64)
    if form is None and usable.any() and np.median(np.abs(sound[usable])) >= LIKELY_FROM:
        times = read_integers(seconds)
        if times.form == "unix second":
            return Times(times.values, times.bad | ~usable, times.form)
    return Times(seconds, ~whole, "whole number")


def _of_text(column: Any, form: str | None) -> Times:
    import polars as pl

    if form is not None and "%" in form:
        return _of_pattern(column, np.zeros(len(column), bool), form)
    digits = column.str.contains(_DIGITS).fill_null(False)
    if form != "iso" and (form is not None or 2 * int(digits.sum()) > len(column)):
        kind = pl.Float64 if column.filter(digits).str.contains(".", literal=True).any() else pl.Int64
        numbers = pl.select(pl.when(digits).then(column).otherwise(None)).to_series().cast(kind, strict=False)
        bad = numbers.is_null().to_numpy()
        if kind == pl.Float64:
            times = _of_floats(numbers.fill_null(float("nan")).to_numpy(), form)
            return times
        return _of_integers(numbers.fill_null(0).to_numpy().astype(np.int64), bad, form)
    parsed = _distinct(column, _iso_seconds)
    bad = parsed.is_null().to_numpy()
    if bad.any():
        _check_order(column, bad)
    return Times(parsed.fill_null(0).to_numpy().astype(np.int64), bad, "ISO 8601 date")


def _check_order(column: Any, bad: np.ndarray) -> None:
    """**Raises:** Unclear for dates that end in the year, which are read in one of two orders."""
    import polars as pl

    odd = column.filter(pl.Series(bad)).unique(maintain_order=True).to_list()
    last = [text for text in odd if _YEAR_LAST.fullmatch(text)]
    if 2 * len(last) <= len(odd):
        return
    mark = re.sub(r"\d", "", last[0])[0]
    parts = np.array([[int(part) for part in re.split(r"[-/.]", text)[:2]] for text in last])
    rest = " %H:%M:%S" if ":" in last[0] else ""
    forms = [f"%d{mark}%m{mark}%Y{rest}", f"%m{mark}%d{mark}%Y{rest}"]
    fitting = [form for form, month in zip(forms, (1, 0)) if (parts[:, month] <= 12).all()]
    said = " or ".join(f"--time-format '{form}'" for form in fitting or forms)
    raise Unclear(
        f"has dates like {shown(last[0])}, in which day and month may stand in either order; say which with {said}"
    )


def _distinct(column: Any, read: Callable[[str], int | None]) -> Any:
    """Each text of a Series as what `read` makes of it, called once for equal texts."""
    import polars as pl

    texts = column.unique(maintain_order=True)
    values = pl.Series([read(text) for text in texts], dtype=pl.Int64)
    return column.replace_strict(texts, values, return_dtype=pl.Int64)


def _of_pattern(column: Any, bad: np.ndarray, form: str) -> Times:
    import polars as pl

    def read(text: str) -> int | None:
        try:
            return _seconds(dt.datetime.strptime(text, form))
        except (ValueError, OverflowError):
            return None

    parsed = _distinct(pl.Series(column, dtype=pl.String), read)
    seconds = parsed.fill_null(0).to_numpy().astype(np.int64)
    return Times(seconds, bad | parsed.is_null().to_numpy(), f"time of the form {form}")


def _iso_seconds(text: str) -> int | None:
    try:
        # Digits alone would be read in odd ways, such as 20180109001500 with a zero as separator.
        return None if text.isdecimal() else _seconds(dt.datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        pass
    month = _MONTH.fullmatch(text)
    if month:
        text += "-01"
    zone = _ZONE_WORD.search(text)
    if zone:
        text = text[: zone.start()]
    text = _SPACED_OFFSET.sub(r"\1", text)
    found = _DATE_FIRST.fullmatch(text)
    if found:
        year, _, month, day, rest = found.groups()
        text = f"{year}-{month:0>2}-{day:0>2}{rest}"
    try:
        when = None if text.isdecimal() else dt.datetime.fromisoformat(text)
        # A word for the zone behind an offset would be a second one.
        return None if when is None or (zone and when.tzinfo) else _seconds(when)
    except (ValueError, OverflowError):
        return None


def _seconds(moment: dt.datetime) -> int:
    return ((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)) - _EPOCH) // _SECOND
