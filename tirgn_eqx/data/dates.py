"""Times of text files that are no plain whole numbers: whole floats, and dates and times of ISO 8601."""

import datetime as dt
import re
from decimal import Decimal
from enum import IntEnum
from functools import lru_cache

import numpy as np

DAY = 86_400
UNITS = {1: "second", 60: "minute", 3600: "hour", DAY: "day"}
ACCEPTED = "write a whole number, or a date like 2018-02-01 or 2018-02-01T06:00"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = dt.timedelta(seconds=1)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,2})?")
_DATE = re.compile(r"[0-9]{4}([-/])[0-9]{2}\1[0-9]{2}")
_CLOCK = re.compile(r"[0-9]{2}:[0-9]{2}.*")


class Form(IntEnum):
    """How the times of a file are written. The forms from `DATE` on become seconds since 1970-01-01 UTC."""

    NUMBER = 0
    FLOAT = 1
    DATE = 2
    DATE_AND_TIME = 3

    @property
    def dated(self) -> bool:
        return self >= Form.DATE


def parse(text: str) -> tuple[int, Form] | None:
    """A time as a whole number of any size, and the form that it had; None for what is no time.

    A float must be whole and written to its last digit: `1.5146e+09` may have been rounded, and is refused. A date
    without a zone counts as UTC; fractions of a second are refused, because times are kept in whole seconds.
    """
    if _INTEGER.fullmatch(text):
        # Python refuses to convert thousands of digits.
        return int(text) if len(text) < 30 else 10**30, Form.NUMBER
    return _parse_other(" ".join(text.split())) if len(text) <= 80 else None


@lru_cache(1 << 12)
def _parse_other(text: str) -> tuple[int, Form] | None:
    if _FLOAT.fullmatch(text):
        value = Decimal(text)
        exact = int(value.as_tuple().exponent) <= 0 and value == value.to_integral_value()
        return (int(value), Form.FLOAT) if exact else None
    if not _DATE.match(text):
        return None
    text = text.replace("/", "-")
    try:
        moment = dt.datetime.fromisoformat(text.removesuffix("UTC").rstrip())
    except ValueError:
        return None
    seconds, rest = divmod((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)) - _EPOCH, _SECOND)
    return None if rest else (seconds, Form.DATE if len(text) == 10 else Form.DATE_AND_TIME)


def joined(fields: list[str]) -> list[str]:
    """Columns of a line in which a space separates a date from its time of day, with the two in one column."""
    made: list[str] = []
    for field in fields:
        if made and _DATE.fullmatch(made[-1]) and _CLOCK.fullmatch(field):
            made[-1] += f" {field}"
        elif field == "UTC" and made and ":" in made[-1]:
            made[-1] += f" {field}"
        else:
            made.append(field)
    return made


def text_of(time: int, unit: int | None, *, seconds: bool = False) -> int | str:
    """A time as people write it: in ISO 8601 (UTC) where it counts from 1970, the number itself where it does not.

    **Arguments:** `unit`: seconds in one unit of `time`, or None for step numbers; `seconds`: show them.
    """
    if unit is None:
        return time
    try:
        moment = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=time * unit)
    except OverflowError:  # before year 1 or after 9999
        return time
    return moment.date().isoformat() if unit == DAY else moment.isoformat(timespec="seconds" if seconds else "minutes")


def in_units(facts: np.ndarray, form: Form) -> tuple[np.ndarray, int | None]:
    """Facts with dates counted in days, where all of them are dates, and in seconds, where some have a time of day;
    and the seconds of that unit, or None for plain numbers.

    **Arguments:** `facts`: int64 `(fact, 4)`, the last column as `parse` gives it; `form`: the latest form among them.
    """
    if form != Form.DATE:
        return facts, 1 if form.dated else None
    return np.column_stack([facts[:, :3], facts[:, 3] // DAY]), DAY


def told(form: Form, first: int, last: int, unit: int | None) -> str | None:
    """How times were understood, such as `dates, 2014-01-01 to 2014-01-20`; None for plain numbers."""
    if form == Form.NUMBER:
        return None
    kind = {Form.FLOAT: "whole numbers written as floats", Form.DATE: "dates"}.get(form, "dates with times of day, UTC")
    return f"{kind}, {text_of(first, unit)} to {text_of(last, unit)}"
