"""Times as people write them, and as whole numbers: the times of text files, and of the snapshots of a graph."""

import datetime as dt
import re
from decimal import Decimal
from enum import IntEnum
from functools import lru_cache

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import DataError, shown

TIME_MAX = 2**53  # the model's clock is float64, exact for whole numbers up to here
DAY = 86_400
UNIT_NAMES = {1: "second", 60: "minute", 3600: "hour", DAY: "day"}
TIME_ADVICE = "write a whole number, or a date like 2018-02-01 or 2018-02-01T06:00"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = dt.timedelta(seconds=1)
INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,2})?")
_DATE = re.compile(r"[0-9]{4}([-/])[0-9]{2}\1[0-9]{2}")
_TIME_OF_DAY = re.compile(r"[0-9]{2}:[0-9]{2}.*")


class TimeForm(IntEnum):
    """How the times of a file are written. From `DATE` on they become seconds since 1970-01-01 UTC."""

    NUMBER = 0
    FLOAT = 1
    DATE = 2
    DATE_AND_TIME = 3

    @property
    def dated(self) -> bool:
        return self >= TimeForm.DATE


def parse_number_or_date(text: str) -> tuple[int, TimeForm] | None:
    """A time as a whole number of any size, and the form in which it is written; None for what is no time.

    A float must be whole and written to its last digit: `1.5146e+09` may have been rounded, and is refused. A date
    without a zone counts as UTC. Fractions of a second are refused, because times are kept in whole seconds.
    """
    if INTEGER.fullmatch(text):
        # int() refuses thousands of digits.
        # No limit reaches 10^30, so callers refuse such a number as out of range.
        return int(text) if len(text) < 30 else 10**30, TimeForm.NUMBER
    return _parse_float_or_date(" ".join(text.split())) if len(text) <= 80 else None


# A file has far fewer distinct times than lines.
@lru_cache(1 << 12)
def _parse_float_or_date(text: str) -> tuple[int, TimeForm] | None:
    if _FLOAT.fullmatch(text):
        value = Decimal(text)
        # The exponent of Decimal("1.5146e+09") is 5: that many digits were not written.
        exact = int(value.as_tuple().exponent) <= 0 and value == value.to_integral_value()
        return (int(value), TimeForm.FLOAT) if exact else None
    if not _DATE.match(text):
        return None
    text = text.replace("/", "-")
    try:
        time = dt.datetime.fromisoformat(text.removesuffix("UTC").rstrip())
    except ValueError:
        return None
    # Whole-number division of timedeltas. `timestamp()` is a float, which rounds the fraction of a distant date.
    seconds, fraction = divmod(in_utc(time) - _EPOCH, _SECOND)
    return None if fraction else (seconds, TimeForm.DATE if len(text) == 10 else TimeForm.DATE_AND_TIME)


def in_utc(time: dt.datetime) -> dt.datetime:
    """`time` with a zone: its own, or UTC if it has none."""
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def unix_seconds(time: dt.datetime) -> int:
    """Whole seconds since 1970-01-01 UTC, rounded down; UTC where `time` has no zone."""
    return (in_utc(time) - _EPOCH) // _SECOND


def join_dates(fields: list[str]) -> list[str]:
    """The fields of a line, in which a date, its time of day and a `UTC` that spaces separate become one field."""
    joined: list[str] = []
    for field in fields:
        is_time_of_day = joined and _DATE.fullmatch(joined[-1]) and _TIME_OF_DAY.fullmatch(field)
        if is_time_of_day or (field == "UTC" and joined and ":" in joined[-1]):
            joined[-1] += f" {field}"
        else:
            joined.append(field)
    return joined


def in_units(facts: np.ndarray, form: TimeForm) -> tuple[np.ndarray, int | None]:
    """Facts with times in days where all are dates, else as they are; and the seconds of their unit, None for numbers.

    **Arguments:** `facts`: int64 `(fact, 4)`, the last column as `parse_number_or_date` gives it; `form`: the latest
    form among them.
    """
    # `form` is the latest of all forms, so that one time of day anywhere keeps all times in seconds.
    if form != TimeForm.DATE:
        return facts, 1 if form.dated else None
    return np.column_stack([facts[:, :3], facts[:, 3] // DAY]), DAY


def describe_times(form: TimeForm, first: int, last: int, unit: int | None) -> str | None:
    """How times were understood, such as `dates, 2014-01-01 to 2014-01-20`; None for plain numbers."""
    if form == TimeForm.NUMBER:
        return None
    kind = {TimeForm.FLOAT: "whole numbers written as floats", TimeForm.DATE: "dates"}
    return f"{kind.get(form, 'dates with times of day, UTC')}, {to_text(first, unit)} to {to_text(last, unit)}"


def to_text(time: int, unit: int | None, *, seconds: bool = False) -> int | str:
    """A time in ISO 8601 (UTC); the number itself for step numbers and years that ISO 8601 has not.

    **Arguments:** `unit`: seconds in one unit of `time`, None for step numbers; `seconds`: show them.
    """
    if unit is None:
        return time
    try:
        date = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=time * unit)
    except OverflowError:  # before year 1 or after 9999
        return time
    return date.date().isoformat() if unit == DAY else date.isoformat(timespec="seconds" if seconds else "minutes")


def format_snapshot_time(graph: TemporalGraph, snapshot: int) -> int | str:
    """The time of a snapshot: ISO 8601 (UTC) for data with dates, else its step number."""
    whole_minutes = int(graph.times[0]) % 60 == 0 and graph.time_interval % 60 == 0
    return to_text(int(graph.times[snapshot]), graph.time_unit, seconds=graph.time_unit == 1 and not whole_minutes)


def parse_snapshot_time(graph: TemporalGraph, time: str | int) -> int:
    """A time in the unit of `graph.times`, rounded down to a step. **Raises:** DataError for what is no time."""
    unit = graph.time_unit
    if isinstance(time, int) or (unit is None and re.fullmatch(r"\s*-?[0-9]{1,16}\s*", time)):
        return int(time)
    if unit is None:
        raise DataError(
            f"time {shown(time)}: {graph.name} has numbers for times; give one, such as {int(graph.times[-1])}"
        )
    try:
        date = in_utc(dt.datetime.fromisoformat(time))
    except ValueError as error:
        raise DataError(
            f"time {shown(time)}: not a date or time; write it as 2018-02-01 or 2018-02-01T06:00"
        ) from error
    # Snapshots are whole intervals from the first one, which need not be a multiple of the interval.
    first, interval = int(graph.times[0]), graph.time_interval
    return first + (int(date.timestamp()) // unit - first) // interval * interval
