"""Timestamps of event tables, in any of the forms that occur, as seconds since the unix epoch (UTC)."""

import datetime as dt
from typing import Any

import numpy as np

from tirgn_eqx.errors import DataError, shown

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = dt.timedelta(seconds=1)
_UNIX_LIMIT = 10**11
# The first second of year 1 and the last of 9999, between which a time has a date.
FIRST, LAST = -62_135_596_800, 253_402_300_799
_PER_SECOND = {"ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}
ACCEPTED = "a datetime, a date, text like 2018-01-09 00:15:00, YYYYMMDDHHMMSS, YYYYMMDD, or unix seconds"


def epoch_seconds(column: Any, where: str) -> np.ndarray:
    """Seconds since 1970-01-01 00:00 UTC, rounded down; int64 `(row,)`.

    Times without a zone count as UTC. Whole numbers are read by the size of the first one: 14 digits are
    `YYYYMMDDHHMMSS` and 8 digits `YYYYMMDD` (as GDELT writes them), anything else below 10^11 is unix
    seconds; text of digits alone follows the same rule, other text is ISO 8601.

    **Arguments:** `column`: a polars Series without nulls; `where`: file and column, for messages.

    **Raises:** DataError with the first row (counted from 1) that is no time, or one before year 1 or after 9999.
    """
    seconds = _seconds_of(column, where)
    _fail_where((seconds < FIRST) | (seconds > LAST), column, where, "years 1 to 9999")
    return seconds


def _seconds_of(column: Any, where: str) -> np.ndarray:
    import polars as pl

    kind = column.dtype
    if isinstance(kind, pl.Datetime):
        return column.to_physical().to_numpy() // _PER_SECOND[kind.time_unit]
    if isinstance(kind, pl.Date):
        return column.cast(pl.Int32).to_numpy().astype(np.int64) * 86_400
    if kind.is_float():
        values = column.to_numpy()
        _fail_where(~np.isfinite(values) | (values != np.floor(values)), column, where)
        _fail_where(np.abs(values) >= 2.0**53, column, where)
        return _from_integers(values.astype(np.int64), column, where)
    if kind.is_integer():
        values = column.cast(pl.Int64, strict=False)
        _fail_where(values.is_null().to_numpy(), column, where)
        return _from_integers(values.to_numpy().astype(np.int64), column, where)
    if isinstance(kind, pl.String | pl.Categorical | pl.Enum):
        return _from_text(column.cast(pl.String).str.strip_chars(), where)
    raise DataError(f"{where} has type {str(kind)[:80]}; expected {ACCEPTED}")


def _fail_where(bad: np.ndarray, column: Any, where: str, expected: str = ACCEPTED) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        try:
            first = shown(column[row])
        except (ValueError, OverflowError):  # no date of Python's
            first = shown(column.to_physical()[row])
        raise DataError(
            f"{where}: {int(bad.sum())} values are no time, first {first} in row {row + 1}; expected {expected}"
        )


def _from_text(column: Any, where: str) -> np.ndarray:
    import polars as pl

    if column.str.contains(r"^[0-9]{1,18}$").all():
        return _from_integers(column.cast(pl.Int64).to_numpy(), column, where)
    forms = column.unique(maintain_order=True)
    seconds = pl.Series([_iso_seconds(text) for text in forms], dtype=pl.Int64)
    values = column.replace_strict(forms, seconds, return_dtype=pl.Int64)
    _fail_where(values.is_null().to_numpy(), column, where)
    return values.to_numpy().astype(np.int64)


def _iso_seconds(text: str) -> int | None:
    try:
        # Digits alone would be read in odd ways, such as 20180109001500 with a zero as separator.
        moment = None if text.isdecimal() else dt.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    return None if moment is None else _seconds(moment)


def _seconds(moment: dt.datetime) -> int:
    return ((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)) - _EPOCH) // _SECOND


def _from_integers(values: np.ndarray, column: Any, where: str) -> np.ndarray:
    digits = len(str(values[0])) if len(values) and values[0] > 0 else 0
    if digits not in (8, 14):
        _fail_where((values <= -_UNIX_LIMIT) | (values >= _UNIX_LIMIT), column, where)
        return values
    form = "YYYYMMDD" if digits == 8 else "YYYYMMDDHHMMSS"
    forms, inverse = np.unique(values, return_inverse=True)
    seconds = [_digit_seconds(int(value), digits) for value in forms]
    bad = np.array([second is None for second in seconds])
    _fail_where(bad[inverse], column, where, f"{form}, as row 1 has it")
    return np.array(seconds, np.int64)[inverse]


def _digit_seconds(value: int, digits: int) -> int | None:
    date, clock = (value, 0) if digits == 8 else divmod(value, 1_000_000)
    try:
        return _seconds(
            dt.datetime(
                date // 10_000,
                date // 100 % 100,
                date % 100,
                clock // 10_000,
                clock // 100 % 100,
                clock % 100,
            )
        )
    except ValueError:
        return None
