"""Whole numbers as times: their magnitude and form, over all of them, decide what they mean.

Numbers of 6, 8, 10, 12 or 14 digits that are all dates are `YYYYMM` to `YYYYMMDDHHMMSS`; numbers below 10^7 are step
numbers; anything else is seconds, milli-, micro- or nanoseconds since 1970, by how large most of them are.
"""

import datetime as dt
from typing import NamedTuple

import numpy as np

from tirgn_eqx.data.times import DAY

# The first second of year 1 and the last of 9999, between which a time has a date.
FIRST, LAST = -62_135_596_800, 253_402_300_799
LIKELY_FROM = 283_996_800  # 1979-01-01, before which no large collection of events begins
STEPS_BELOW = 10**7
EXCEL_EPOCH = 25_569  # Excel's number of 1970-01-01
DIVISORS = {"unix-s": 1, "unix-ms": 10**3, "unix-us": 10**6, "unix-ns": 10**9}
FORM_NAMES = {"unix-s": "unix second", "unix-ms": "unix millisecond", "unix-us": "unix microsecond"}
FORM_NAMES |= {"unix-ns": "unix nanosecond", "unix-days": "unix day", "excel": "Excel number"}
CALENDAR = {"YYYYMM": 6, "YYYYMMDD": 8, "YYYYMMDDHH": 10, "YYYYMMDDHHMM": 12, "YYYYMMDDHHMMSS": 14}
_LIMIT = 10**11  # a magnitude at which the next finer unit begins; for seconds, the year 5138
# Years outside which numbers of as many digits are rather unix times or steps.
_YEARS = {"YYYYMM": (1000, 2999), "YYYYMMDDHH": (1900, 2999), "YYYYMMDDHHMM": (1000, 2999)}


class UnclearTimes(Exception):
    """Why times cannot be understood and how to say what they are; the message is a part of one line."""


class Times(NamedTuple):
    """A column of times.

    **Arguments:** `values`: int64 `(row,)`, seconds since 1970-01-01 00:00 UTC rounded down, or step numbers; `bad`:
    bool `(row,)`, rows that are no time in the form of the others; `form`: its name; `dated`: whether they are seconds.
    """

    values: np.ndarray
    bad: np.ndarray
    form: str
    dated: bool = True

    def span(self, rows: np.ndarray | slice = slice(None)) -> str:
        """`2021-03-01 to 2021-03-20`, or the first and last step number."""
        return format_span(self.values[rows], self.dated)

    def describe(self) -> str:
        """`unix milliseconds, 2021-03-01 to 2021-03-20`."""
        head, of, pattern = self.form.partition(" of the form ")
        plural = self.form if self.form in CALENDAR else f"{head}s{of}{pattern}"
        return f"{plural}, {self.span(~self.bad)}"


def format_span(values: np.ndarray, dated: bool) -> str:
    """The first and last of some times, once where they are the same; with the time of day within a single day."""
    low, high = int(values.min()), int(values.max())
    if not dated:
        return f"{low} to {high}" if low != high else str(low)
    dates = [str(np.datetime64(value, "s")).replace("T", " ") for value in dict.fromkeys((low, high))]
    length = 10 if low // DAY != high // DAY or (low == high and low % DAY == 0) else 16
    return " to ".join(text[:length] for text in dates)


def likely_until() -> int:
    """The last second of next year, after which no event has happened yet."""
    return int(dt.datetime(dt.datetime.now(dt.UTC).year + 2, 1, 1, tzinfo=dt.UTC).timestamp()) - 1


def is_likely(seconds: np.ndarray) -> np.ndarray:
    """bool: which of some times an event may have, from 1979 until the end of next year."""
    return (seconds >= LIKELY_FROM) & (seconds <= likely_until())


def calendar_seconds(values: np.ndarray, form: str) -> tuple[np.ndarray, np.ndarray]:
    """int64 seconds of numbers such as 20180109 of `form`, and which of them are dates of that form."""
    digits = CALENDAR[form]
    fits = (values >= 10 ** (digits - 1)) & (values < 10**digits)
    # Numbers of another length are computed with a stand-in of the right length, so that nothing overflows.
    year = np.where(fits, values, 10 ** (digits - 1))
    fields = []
    # Two digits at a time from the end: 20180109 gives 09, then 01, and leaves 2018.
    for _ in range(digits // 2 - 2):
        year, field = np.divmod(year, 100)
        fields.insert(0, field)
    low, high = _YEARS.get(form, (1000, 9999))
    month, rest = fields[0], fields[1:]
    fits &= (year >= low) & (year <= high) & (month >= 1) & (month <= 12)
    # Numpy counts months from 1970-01. Its calendar knows the leap years.
    start = ((year - 1970) * 12 + np.clip(month, 1, 12) - 1).astype("M8[M]")
    first_day = start.astype("M8[D]").astype(np.int64)
    seconds = first_day * DAY
    if rest:
        # The length of the month: from its first day to that of the next one.
        days = (start + 1).astype("M8[D]").astype(np.int64) - first_day
        fits &= (rest[0] >= 1) & (rest[0] <= days)
        seconds += (rest[0] - 1) * DAY
    for field, most, size in zip(rest[1:], (23, 59, 59), (3600, 60, 1)):
        fits &= field <= most
        seconds += field * size
    return seconds, fits


def read_numbers(values: np.ndarray) -> Times:
    """Whole numbers as times. **Arguments:** `values`: int64 `(row,)`.

    Where more than half of the numbers have one form, the others are `bad`.

    **Raises:** UnclearTimes for numbers that may mean several things.
    """
    none = np.zeros(len(values), bool)
    if not len(values):
        return Times(values, none, "step number", False)
    # The absolute value of the least int64 would be negative.
    size = np.abs(np.maximum(values, -(2**62)))
    # The median: a few odd values must not decide the form of all.
    typical = int(np.partition(size, len(size) // 2)[len(size) // 2])
    digits = len(str(typical))
    for form, length in CALENDAR.items():
        if length == digits:
            seconds, fits = calendar_seconds(values, form)
            if 2 * fits.sum() > len(fits):
                return Times(seconds, ~fits, form)
    _check_day_first(values, digits)
    small = size < STEPS_BELOW
    if 2 * small.sum() > len(small):
        if small.all():
            _check_excel(values)
        return Times(values, ~small, "step number", False)
    if digits == 8:
        raise UnclearTimes(
            f"holds numbers of 8 digits that are no dates YYYYMMDD, such as {_example(values)}; name their form with "
            "--time-format, such as unix-s"
        )
    # Seconds below 10^11, milliseconds below 10^14, microseconds below 10^17, else nanoseconds.
    unit = next(unit for unit, scale in DIVISORS.items() if typical < _LIMIT * scale or unit == "unix-ns")
    seconds = values // DIVISORS[unit]
    return Times(seconds, _of_another_form(values, seconds, unit), FORM_NAMES[unit])


def _of_another_form(values: np.ndarray, seconds: np.ndarray, unit: str) -> np.ndarray:
    """Which numbers are no likely times in `unit`, while most are, but are likely in another form, or 0 or -1."""
    bad = np.zeros(len(values), bool)
    odd = np.flatnonzero(~is_likely(seconds))
    if 2 * len(odd) >= len(values):
        return bad
    rest = values[odd]
    # Programs write 0 or -1 for a time that they do not know.
    other = (rest == 0) | (rest == -1)
    for form in CALENDAR:
        found, fits = calendar_seconds(rest, form)
        other |= fits & is_likely(found)
    for name, divisor in DIVISORS.items():
        if name != unit:
            other |= is_likely(rest // divisor)
    bad[odd[other]] = True
    return bad


def _check_day_first(values: np.ndarray, digits: int) -> None:
    """**Raises:** UnclearTimes for DDMMYYYY or MMDDYYYY, whose first zero a number has lost."""
    if digits not in (7, 8):
        return
    # 1022018, once 01022018, gives the year 2018 and the numbers 1 and 2.
    rest, year = np.divmod(values, 10_000)
    first, second = np.divmod(rest, 100)
    dated = (year >= 1900) & (year <= 2100) & (np.minimum(first, second) >= 1) & (np.maximum(first, second) <= 31)
    orders = {"%d%m%Y": dated & (second <= 12), "%m%d%Y": dated & (first <= 12)}
    fitting = [f"--time-format {form}" for form, fits in orders.items() if fits.mean() > 0.9]
    if fitting:
        raise UnclearTimes(
            f"holds numbers that end in a year, such as {_example(values)}; say what they are with "
            f"{' or '.join(fitting)}"
        )


def _check_excel(values: np.ndarray) -> None:
    """**Raises:** UnclearTimes for step numbers that are as well Excel's numbers of days from 1979 until next year."""
    low, high = int(values.min()), int(values.max())
    if low >= EXCEL_EPOCH + LIKELY_FROM // DAY and high <= EXCEL_EPOCH + likely_until() // DAY:
        dates = [str(np.datetime64(value - EXCEL_EPOCH, "D")) for value in (low, high)]
        raise UnclearTimes(
            f"holds numbers from {low} to {high}, which may be Excel's dates from {dates[0]} to {dates[1]}, or step "
            "numbers; say which with --time-format excel or --time-format steps"
        )


def _example(values: np.ndarray) -> int:
    return int(values[len(values) // 2])
