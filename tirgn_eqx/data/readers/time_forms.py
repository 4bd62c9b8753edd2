"""Whole numbers as times: what they mean is decided by their magnitude and form, over all of them.

Numbers of 6, 8, 10, 12 or 14 digits that are all dates are `YYYYMM` to `YYYYMMDDHHMMSS`; numbers below 10^7 are step
numbers; anything else is seconds, milli-, micro- or nanoseconds since 1970, by how large most of them are.
"""

import datetime as dt
from typing import NamedTuple

import numpy as np

# The first second of year 1 and the last of 9999, between which a time has a date.
FIRST, LAST = -62_135_596_800, 253_402_300_799
LIKELY_FROM = 283_996_800  # 1979-01-01, before which no large collection of events begins
STEPS_BELOW = 10**7
EXCEL_EPOCH = 25_569  # Excel's number of 1970-01-01
DIVISORS = {"unix-s": 1, "unix-ms": 10**3, "unix-us": 10**6, "unix-ns": 10**9}
UNITS = {"unix-s": "unix second", "unix-ms": "unix millisecond", "unix-us": "unix microsecond"}
UNITS |= {"unix-ns": "unix nanosecond", "unix-days": "unix day", "excel": "Excel number"}
_LIMIT = 10**11  # a magnitude at which the next finer unit begins; for seconds, the year 5138
CALENDAR = {"YYYYMM": 6, "YYYYMMDD": 8, "YYYYMMDDHH": 10, "YYYYMMDDHHMM": 12, "YYYYMMDDHHMMSS": 14}
# Years outside which numbers of as many digits are rather unix times or steps.
_YEARS = {"YYYYMM": (1000, 2999), "YYYYMMDDHH": (1900, 2999), "YYYYMMDDHHMM": (1000, 2999)}


class Unclear(Exception):
    """Why times cannot be understood and how to say what they are; the message is a part of one line."""


class Read(NamedTuple):
    """int64 `values`, seconds since 1970 or step numbers; bool `bad`: numbers of another form; the form's name."""

    values: np.ndarray
    bad: np.ndarray
    form: str
    dated: bool = True


def likely_until() -> int:
    """The last second of next year, after which no event has happened yet."""
    return int(dt.datetime(dt.datetime.now(dt.UTC).year + 2, 1, 1, tzinfo=dt.UTC).timestamp()) - 1


def calendar_seconds(values: np.ndarray, form: str) -> tuple[np.ndarray, np.ndarray]:
    """int64 seconds of numbers such as 20180109 of `form`, and which of them are dates of that form."""
    digits = CALENDAR[form]
    whole = np.where((values >= 10 ** (digits - 1)) & (values < 10**digits), values, 10 ** (digits - 1))
    fields = []
    for _ in range(digits // 2 - 2):
        whole, field = np.divmod(whole, 100)
        fields.append(field)
    month, day, hour, minute, second = (*reversed(fields), *[None] * 5)[:5]
    low, high = _YEARS.get(form, (1000, 9999))
    fits = (values >= 10 ** (digits - 1)) & (values < 10**digits) & (whole >= low) & (whole <= high)
    assert month is not None
    fits &= (month >= 1) & (month <= 12)
    start = ((whole - 1970) * 12 + np.clip(month, 1, 12) - 1).astype("M8[M]")
    seconds = start.astype("M8[D]").astype(np.int64) * 86_400
    if day is not None:
        length = ((start + 1).astype("M8[D]") - start.astype("M8[D]")).astype(np.int64)
        fits &= (day >= 1) & (day <= length)
        seconds += (day - 1) * 86_400
    for field, most, size in ((hour, 23, 3600), (minute, 59, 60), (second, 59, 1)):
        if field is not None:
            fits &= field <= most
            seconds += field * size
    return seconds, fits


def read_integers(values: np.ndarray) -> Read:
    """Whole numbers as times. **Arguments:** `values`: int64 `(row,)`.

    Where more than half of the numbers have one form, the others are `bad`.

    **Raises:** Unclear for numbers that may mean several things.
    """
    none = np.zeros(len(values), bool)
    if not len(values):
        return Read(values, none, "step number", False)
    size = np.abs(np.maximum(values, -(2**62)))
    typical = int(np.partition(size, len(size) // 2)[len(size) // 2])
    digits = len(str(typical))
    for form, length in CALENDAR.items():
        if length == digits:
            seconds, fits = calendar_seconds(values, form)
            if 2 * fits.sum() > len(fits):
                return Read(seconds, ~fits, form)
    _check_day_first(values, digits)
    small = size < STEPS_BELOW
    if 2 * small.sum() > len(small):
        if small.all():
            _check_excel(values)
        return Read(values, ~small, "step number", False)
    if digits == 8:
        raise Unclear(
            f"holds numbers of 8 digits that are no dates YYYYMMDD, such as {_example(values)}; name their form with "
            "--time-format, such as unix-s"
        )
    unit = next(unit for unit, scale in DIVISORS.items() if typical < _LIMIT * scale or unit == "unix-ns")
    seconds = values // DIVISORS[unit]
    return Read(seconds, _of_another_form(values, seconds, unit), UNITS[unit])


def _of_another_form(values: np.ndarray, seconds: np.ndarray, unit: str) -> np.ndarray:
    """Which numbers are no likely times in `unit`, while most are, but are such in another form, or stand for none."""
    until = likely_until()
    odd = (seconds < LIKELY_FROM) | (seconds > until)
    if 2 * odd.sum() >= len(odd):
        return np.zeros(len(values), bool)
    rows = np.flatnonzero(odd)
    rest = values[rows]
    other = (rest == 0) | (rest == -1)
    for form in CALENDAR:
        found, fits = calendar_seconds(rest, form)
        other |= fits & (found >= LIKELY_FROM) & (found <= until)
    for name, divisor in DIVISORS.items():
        if name != unit:
            found = rest // divisor
            other |= (found >= LIKELY_FROM) & (found <= until)
    bad = np.zeros(len(values), bool)
    bad[rows[other]] = True
    return bad


def _check_day_first(values: np.ndarray, digits: int) -> None:
    """**Raises:** Unclear for DDMMYYYY or MMDDYYYY, whose first zero a number has lost."""
    if digits not in (7, 8):
        return
    rest, year = np.divmod(values, 10_000)
    first, second = np.divmod(rest, 100)
    dated = (year >= 1900) & (year <= 2100) & (np.minimum(first, second) >= 1) & (np.maximum(first, second) <= 31)
    orders = {"%d%m%Y": dated & (second <= 12), "%m%d%Y": dated & (first <= 12)}
    fitting = [form for form, fits in orders.items() if fits.mean() > 0.9]
    if fitting:
        said = " or ".join(f"--time-format {form}" for form in fitting)
        raise Unclear(f"holds numbers that end in a year, such as {_example(values)}; say what they are with {said}")


def _check_excel(values: np.ndarray) -> None:
    """**Raises:** Unclear for step numbers that are as well Excel's numbers of days from 1979 until next year."""
    low, high = int(values.min()), int(values.max())
    if low >= EXCEL_EPOCH + LIKELY_FROM // 86_400 and high <= EXCEL_EPOCH + likely_until() // 86_400:
        dates = [str(np.datetime64(value - EXCEL_EPOCH, "D")) for value in (low, high)]
        raise Unclear(
            f"holds numbers from {low} to {high}, which may be Excel's dates from {dates[0]} to {dates[1]}, or step "
            "numbers; say which with --time-format excel or --time-format steps"
        )


def _example(values: np.ndarray) -> int:
    return int(values[len(values) // 2])
