"""Timestamps of event tables, in any of the forms that occur, as seconds since the unix epoch (UTC)."""

import datetime as dt
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tirgn_eqx.data.readers.numeric_times import (
    CALENDAR,
    DIVISORS,
    EXCEL_EPOCH,
    FIRST,
    FORM_NAMES,
    LAST,
    LIKELY_FROM,
    Times,
    UnclearTimes,
    calendar_seconds,
    format_span,
    likely_until,
    read_numbers,
)
from tirgn_eqx.data.times import DAY, unix_seconds
from tirgn_eqx.errors import ConfigError, DataError, nearest, shown

if TYPE_CHECKING:
    import polars as pl

NAMED_FORMS = (*DIVISORS, "unix-days", "excel", "steps", "iso", "datetime", *CALENDAR)
_PER_SECOND = {"ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}
_ACCEPTED = (
    "dates, text like 2018-01-09 00:15:00, unix seconds to nanoseconds, YYYYMM, YYYYMMDD[HH[MM[SS]]], or step numbers"
)
_ADVICE = "correct or drop such rows, set them aside with --skip-bad-rows, or name the form with --time-format"
_WIDTHS = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "y": 2, "j": 3, "I": 2}  # digits of directives
_EXACT = 2.0**53  # below, a float holds every whole number
_DATE_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?!\d)(.*)", re.DOTALL)
_YEAR_LAST = re.compile(r"\d{1,2}([-/.])\d{1,2}\1\d{4}(?!\d).*", re.DOTALL)
_ZONE_WORD = re.compile(r"\s*(?:UTC|GMT|Z)\s*$", re.IGNORECASE)
_SPACED_OFFSET = re.compile(r"\s+([+-]\d{2}:?\d{0,2})$")
_MONTH = re.compile(r"(\d{4})-(\d{2})")
_NUMERIC = r"^-?[0-9]{1,19}(?:\.[0-9]*)?$"


def check_time_format(form: str | None) -> None:
    """**Raises:** ConfigError for a form of times that does not exist."""
    if form is None or form in NAMED_FORMS:
        return
    if "%" not in form:
        raise ConfigError(
            f"time format {shown(form)} does not exist{nearest(form, NAMED_FORMS)}; write a form of strptime such as "
            f"%d/%m/%Y, or one of {', '.join(NAMED_FORMS)}"
        )
    try:
        # An empty text fails with "does not match" if the form is sound; any other error is about the form itself.
        dt.datetime.strptime("", form)
    except ValueError as error:
        if "does not match" not in str(error):
            raise ConfigError(f"time format {shown(form)}: {error}; write it like %d/%m/%Y %H:%M") from error
    except (re.error, IndexError) as error:
        raise ConfigError(f"time format {shown(form)}: cannot be read; write it like %d/%m/%Y %H:%M") from error
    if not re.search(r"%[YyGcx]", form):
        raise ConfigError(f"time format {shown(form)}: has no year; write it like %d/%m/%Y")


def _row_name(number: int) -> str:
    return f"row {number + 1}"


def read_times(
    column: "pl.Series",
    where: str,
    *,
    time_format: str | None = None,
    skip: bool = False,
    row_name: Callable[[int], str] = _row_name,
) -> Times:
    """The times of a column. Their form is decided over all rows, never by the first one.

    Times without a zone count as UTC. Whole numbers, also as text, are read by magnitude, see `numeric_times`. Other
    text is ISO 8601, also with `UTC`, a zone offset, or slashes in ISO order.

    **Arguments:** `column`: a polars Series without nulls; `where`: file and column, for messages; `time_format`: a
    form of strptime, or one of `NAMED_FORMS`; None: decide; `skip`: mark rows that are no time as `bad` instead of
    refusing them, as long as most rows are times; `row_name`: how a message names a row, by its number from 0.

    **Raises:** DataError for a column that holds no times, with the first row that is none, or one before year 1 or
    after 9999; ConfigError for a form that does not exist.
    """
    check_time_format(time_format)
    try:
        times = _read(column, time_format)
    except UnclearTimes as error:
        raise DataError(f"{where} {error}") from error
    bad, expected = times.bad, f"{times.form}, as the others are"
    if times.dated:
        outside = ~bad & ((times.values < FIRST) | (times.values > LAST))
        if outside.any() and not bad.any():
            expected = "date in the years 1 to 9999"
        bad = bad | outside
    if bad.any() and not (skip and 2 * bad.sum() <= len(bad)):
        number, advice = int(np.argmax(bad)), _ADVICE
        if bad.all():
            advice = f"expected {_ACCEPTED}; or name their form with --time-format"
            expected = expected if expected.startswith("date in") else "times"
        count = f"{bad.sum():,} of {len(bad):,} values {'is' if bad.sum() == 1 else 'are'} no {expected}"
        raise DataError(f"{where}: {count}; first {_shown(column, number)} in {row_name(number)}; {advice}")
    return times._replace(bad=bad)


def _shown(column: "pl.Series", number: int) -> str:
    try:
        return shown(column[number])
    except (ValueError, OverflowError):  # a datetime that Python has no date for
        return shown(column.to_physical()[number])


def find_doubts(times: Times, where: str, row_name: Callable[[int], str], explicit: bool) -> list[str]:
    """One sentence each on dates before 1979, and after the next year, which may be misread.

    **Arguments:** `explicit`: the form was given, so that early dates are what the caller says they are.
    """
    if not times.dated:
        return []
    good = ~times.bad
    late = good & (times.values > likely_until())
    kinds = [] if explicit else [("before 1979", good & (times.values < LIKELY_FROM))]
    return [
        f"{where}: {rows.sum():,} of {good.sum():,} times, read as {times.form}, lie {what}: {times.span(rows)}, first "
        f"in {row_name(int(np.argmax(rows)))}; if that is wrong, correct them or name the form with --time-format"
        for what, rows in [*kinds, ("after next year", late)]
        if rows.any()
    ]


def _read(column: "pl.Series", form: str | None) -> Times:
    import polars as pl

    kind = column.dtype
    none = np.zeros(len(column), bool)
    if isinstance(kind, pl.Datetime | pl.Date):
        if form not in (None, "datetime"):
            raise UnclearTimes(f"holds dates already (type {kind}), not {form}; leave out --time-format")
        if isinstance(kind, pl.Date):
            return Times(column.cast(pl.Int32).to_numpy().astype(np.int64) * DAY, none, "date")
        # Floor division rounds down before 1970 as well.
        seconds = column.to_physical().to_numpy() // _PER_SECOND[kind.time_unit]
        if form is None:
            _check_unit(seconds)
        return Times(seconds, none, "datetime")
    if form == "datetime":
        raise UnclearTimes(f"has type {str(kind)[:80]}, not datetime; name its form with --time-format")
    if isinstance(kind, pl.Decimal) and kind.scale == 0:
        column, kind = column.cast(pl.Int64, strict=False), pl.Int64()
    if kind.is_float():
        return _read_floats(column.to_numpy(), form)
    if kind.is_integer():
        # A uint64 beyond int64 becomes null, and so a bad row.
        values = column.cast(pl.Int64, strict=False)
        return _read_integers(values.fill_null(0).to_numpy().astype(np.int64), values.is_null().to_numpy(), form)
    if isinstance(kind, pl.String | pl.Categorical | pl.Enum):
        return _read_text(column.cast(pl.String).str.strip_chars(), form)
    raise UnclearTimes(f"has type {str(kind)[:80]}; expected {_ACCEPTED}")


def _check_unit(seconds: np.ndarray) -> None:
    """**Raises:** UnclearTimes for dates in January 1970 that are dates of today once their unit is another."""
    if not len(seconds):
        return
    low, high = int(seconds.min()), int(seconds.max())
    for factor in (1000, 10**6, 10**9):
        if low * factor >= LIKELY_FROM and high * factor <= likely_until():
            there = format_span(np.array([low, high]) * factor, True)
            raise UnclearTimes(
                f"holds dates from {format_span(seconds, True)}, as a writer makes them that mistakes the unit "
                f"{factor:,} times: with it they are {there}; write the column again, or take it as it is with "
                "--time-format datetime"
            )


def _read_integers(values: np.ndarray, bad: np.ndarray, form: str | None) -> Times:
    if form is None:
        # Without the rows that hold no number, which must not count in the choice of a form.
        times = read_numbers(values[~bad])
        seconds, wrong = np.zeros(len(values), np.int64), bad.copy()
        seconds[~bad], wrong[~bad] = times.values, times.bad
        return times._replace(values=seconds, bad=wrong)
    if "%" in form:
        return _read_pattern([_pad(value, form) for value in values.tolist()], bad, form)
    if form in CALENDAR:
        seconds, fits = calendar_seconds(values, form)
        return Times(seconds, bad | ~fits, form)
    if form == "steps":
        return Times(values, bad, "step number", False)
    if form in ("excel", "unix-days"):
        # Numbers of more days than there are between year 1 and 9999 must not overflow.
        days = np.clip(values, -(10**10), 10**10)
        return Times((days - (EXCEL_EPOCH if form == "excel" else 0)) * DAY, bad, FORM_NAMES[form])
    if form == "iso":
        raise UnclearTimes(f"holds whole numbers, not {form}; name another form with --time-format")
    return Times(values // DIVISORS[form], bad, FORM_NAMES[form])


def _pad(value: int, form: str) -> str:
    """A whole number as text, with the zeros before it that its form of strptime needs."""
    letters = re.findall("%(.)", form)
    if re.fullmatch("(%.)+", form) and all(letter in _WIDTHS for letter in letters):
        return str(value).zfill(sum(_WIDTHS[letter] for letter in letters))
    return str(value)


def _read_floats(values: np.ndarray, form: str | None) -> Times:
    usable = np.isfinite(values) & (np.abs(values) < _EXACT)
    whole = usable & (values == np.floor(values))
    # Pandas keeps whole numbers with gaps among them as floats.
    if whole.all() or (form is None and 2 * whole.sum() > len(whole)):
        return _read_integers(np.where(whole, values, 0).astype(np.int64), ~whole, form)
    sound = np.where(usable, values, 0.0)
    if form == "excel":
        # An hour is no finite fraction of a day, so that what is meant is the nearest second.
        seconds = np.rint((np.clip(sound, -1e10, 1e10) - EXCEL_EPOCH) * DAY)
        return Times(seconds.astype(np.int64), ~usable, FORM_NAMES[form])
    if form in DIVISORS:
        return Times(np.floor(sound / DIVISORS[form]).astype(np.int64), ~usable, FORM_NAMES[form])
    seconds = np.floor(sound).astype(np.int64)
    # Unix times with fractions of a second: too large for step numbers, and not whole.
    if form is None and usable.any() and np.median(np.abs(sound[usable])) >= LIKELY_FROM:
        times = read_numbers(seconds)
        if times.form == "unix second":
            return times._replace(bad=times.bad | ~usable)
    return Times(seconds, ~whole, "whole number")


def _read_text(column: "pl.Series", form: str | None) -> Times:
    import polars as pl

    if form is not None and "%" in form:
        return _read_pattern(column, np.zeros(len(column), bool), form)
    numeric = column.str.contains(_NUMERIC).fill_null(False)
    # A form that is named and is not of strptime or ISO is one of numbers. Without one, most rows decide.
    if form != "iso" and (form is not None or 2 * int(numeric.sum()) > len(column)):
        texts = pl.select(pl.when(numeric).then(column)).to_series()
        if texts.str.contains(".", literal=True).any():
            # A text that is no number becomes NaN, and so a bad row.
            return _read_floats(texts.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy(), form)
        numbers = texts.cast(pl.Int64, strict=False)
        return _read_integers(numbers.fill_null(0).to_numpy().astype(np.int64), numbers.is_null().to_numpy(), form)
    times = _read_each(column, _iso_seconds, "ISO 8601 date")
    if times.bad.any():
        _check_order(column, times.bad)
    return times


def _check_order(column: "pl.Series", bad: np.ndarray) -> None:
    """**Raises:** UnclearTimes for dates that end in the year, which are read in one of two orders."""
    odd = column.filter(bad).unique(maintain_order=True).to_list()
    last = [text for text in odd if _YEAR_LAST.fullmatch(text)]
    if 2 * len(last) <= len(odd):
        return
    mark = re.sub(r"\d", "", last[0])[0]
    parts = np.array([[int(part) for part in re.split(r"[-/.]", text)[:2]] for text in last])
    rest = " %H:%M:%S" if ":" in last[0] else ""
    forms = [f"%d{mark}%m{mark}%Y{rest}", f"%m{mark}%d{mark}%Y{rest}"]
    # Only an order in which no month is above 12.
    fitting = [form for form, month in zip(forms, (1, 0)) if (parts[:, month] <= 12).all()]
    options = " or ".join(f"--time-format '{form}'" for form in fitting or forms)
    raise UnclearTimes(
        f"has dates like {shown(last[0])}, in which day and month may stand in either order; say which with {options}"
    )


def _read_each(column: "pl.Series", read: Callable[[str], int | None], form: str) -> Times:
    """Each text of a Series as what `read` makes of it, called once for equal texts; None is bad."""
    import polars as pl

    texts = column.unique(maintain_order=True)
    values = pl.Series([read(text) for text in texts], dtype=pl.Int64)
    seconds = column.replace_strict(texts, values, return_dtype=pl.Int64)
    return Times(seconds.fill_null(0).to_numpy().astype(np.int64), seconds.is_null().to_numpy(), form)


def _read_pattern(column: "pl.Series | list[str]", bad: np.ndarray, form: str) -> Times:
    import polars as pl

    def read(text: str) -> int | None:
        try:
            return unix_seconds(dt.datetime.strptime(text, form))
        except (ValueError, OverflowError):
            return None

    times = _read_each(pl.Series(column, dtype=pl.String), read, f"time of the form {form}")
    return times._replace(bad=bad | times.bad)


def _iso_seconds(text: str) -> int | None:
    try:
        # Digits alone would be read in odd ways, such as 20180109001500 with a zero as separator.
        return None if text.isdecimal() else unix_seconds(dt.datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        pass
    # A month is its first day.
    if _MONTH.fullmatch(text):
        text += "-01"
    # `fromisoformat` knows neither UTC nor GMT.
    zone = _ZONE_WORD.search(text)
    if zone:
        text = text[: zone.start()]
    text = _SPACED_OFFSET.sub(r"\1", text)
    found = _DATE_FIRST.fullmatch(text)
    if found:
        year, _, month, day, rest = found.groups()
        # 2018/1/9 becomes 2018-01-09.
        text = f"{year}-{month:0>2}-{day:0>2}{rest}"
    try:
        time = None if text.isdecimal() else dt.datetime.fromisoformat(text)
        # A word for the zone behind an offset would be a second one.
        return None if time is None or (zone and time.tzinfo) else unix_seconds(time)
    except (ValueError, OverflowError):
        return None
