"""Every form of times, and near misses of each: read as what it is, or refused with the way to say it."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from tirgn_eqx.data.readers.timestamps import NAMED, check_time_format, doubts, read_times
from tirgn_eqx.errors import ConfigError, DataError

EPOCH = dt.datetime(1970, 1, 1)
MOMENTS = [dt.datetime(2021, 3, 1, 1, 16, 47) + dt.timedelta(days=7 * i, hours=i, minutes=i) for i in range(40)]
UNIX = [int((moment - EPOCH).total_seconds()) for moment in MOMENTS]
DAYS, HOURS, MINUTES = ([second // size * size for second in UNIX] for size in (86_400, 3600, 60))
MONTHS = [int((dt.datetime(moment.year, moment.month, 1) - EPOCH).total_seconds()) for moment in MOMENTS]


def text(form):
    return [moment.strftime(form) for moment in MOMENTS]


def numbers(form):
    return [int(value) for value in text(form)]


READ = {
    "seconds": (UNIX, UNIX, "unix second"),
    "milliseconds": ([1000 * t + 999 for t in UNIX], UNIX, "unix millisecond"),
    "microseconds": ([10**6 * t + 5 for t in UNIX], UNIX, "unix microsecond"),
    "nanoseconds": ([10**9 * t + 5 for t in UNIX], UNIX, "unix nanosecond"),
    "seconds with a fraction": ([t + 0.25 for t in UNIX], UNIX, "unix second"),
    "seconds as text": ([str(t) for t in UNIX], UNIX, "unix second"),
    "seconds as text with a fraction": ([f"{t}.5" for t in UNIX], UNIX, "unix second"),
    "seconds as whole floats": ([float(t) for t in UNIX], UNIX, "unix second"),
    "milliseconds as whole floats": ([1000.0 * t for t in UNIX], UNIX, "unix millisecond"),
    "milliseconds as text": ([f"{t}000" for t in UNIX], UNIX, "unix millisecond"),
    "nanoseconds as text": ([f"{t}000000000" for t in UNIX], UNIX, "unix nanosecond"),
    "seconds in 32 bits": (pl.Series(UNIX, dtype=pl.UInt32), UNIX, "unix second"),
    "decimal": (pl.Series(UNIX).cast(pl.Decimal(38, 0)), UNIX, "unix second"),
    "months": (numbers("%Y%m"), MONTHS, "YYYYMM"),
    "months as text": (text("%Y%m"), MONTHS, "YYYYMM"),
    "months with a hyphen": (text("%Y-%m"), MONTHS, "ISO 8601 date"),
    "days": (numbers("%Y%m%d"), DAYS, "YYYYMMDD"),
    "days as floats": ([float(day) for day in numbers("%Y%m%d")], DAYS, "YYYYMMDD"),
    "days as text": (text("%Y%m%d"), DAYS, "YYYYMMDD"),
    "days as padded text": ([f" {day} " for day in text("%Y%m%d")], DAYS, "YYYYMMDD"),
    "days in 32 bits": (pl.Series(numbers("%Y%m%d"), dtype=pl.Int32), DAYS, "YYYYMMDD"),
    "days as categories": (pl.Series(text("%Y%m%d"), dtype=pl.Categorical), DAYS, "YYYYMMDD"),
    "hours": (numbers("%Y%m%d%H"), HOURS, "YYYYMMDDHH"),
    "hours as text": (text("%Y%m%d%H"), HOURS, "YYYYMMDDHH"),
    "minutes": (numbers("%Y%m%d%H%M"), MINUTES, "YYYYMMDDHHMM"),
    "GDELT": (numbers("%Y%m%d%H%M%S"), UNIX, "YYYYMMDDHHMMSS"),
    "GDELT as text": (text("%Y%m%d%H%M%S"), UNIX, "YYYYMMDDHHMMSS"),
    "BigQuery": (text("%Y-%m-%d %H:%M:%S UTC"), UNIX, "ISO 8601 date"),
    "BigQuery with microseconds": (text("%Y-%m-%d %H:%M:%S.123456 UTC"), UNIX, "ISO 8601 date"),
    "nanoseconds of pandas": (text("%Y-%m-%d %H:%M:%S.123456789"), UNIX, "ISO 8601 date"),
    "UTC without a space": (text("%Y-%m-%dT%H:%M:%SUTC"), UNIX, "ISO 8601 date"),
    "GMT": (text("%Y-%m-%d %H:%M:%S GMT"), UNIX, "ISO 8601 date"),
    "Z": (text("%Y-%m-%dT%H:%M:%SZ"), UNIX, "ISO 8601 date"),
    "z and a space": (text("%Y-%m-%d %H:%M:%S z"), UNIX, "ISO 8601 date"),
    "short offset": (text("%Y-%m-%d %H:%M:%S+00"), UNIX, "ISO 8601 date"),
    "offset behind a space": (text("%Y-%m-%d %H:%M:%S +0000"), UNIX, "ISO 8601 date"),
    "offset": ([f"{m + dt.timedelta(hours=2)}+02:00" for m in MOMENTS], UNIX, "ISO 8601 date"),
    "slashes": (text("%Y/%m/%d %H:%M:%S"), UNIX, "ISO 8601 date"),
    "slashes without zeros": ([f"{m.year}/{m.month}/{m.day}" for m in MOMENTS], DAYS, "ISO 8601 date"),
    "dots": (text("%Y.%m.%d"), DAYS, "ISO 8601 date"),
    "hyphens without zeros": ([f"{m.year}-{m.month}-{m.day}" for m in MOMENTS], DAYS, "ISO 8601 date"),
    "basic ISO": (text("%Y%m%dT%H%M%SZ"), UNIX, "ISO 8601 date"),
    "dates": (pl.Series([moment.date() for moment in MOMENTS]), DAYS, "date"),
    "datetimes": (pl.Series(MOMENTS, dtype=pl.Datetime("ns")), UNIX, "datetime"),
    "datetimes of a zone": (
        pl.Series(MOMENTS).dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York"),
        UNIX,
        "datetime",
    ),
    "steps": (list(range(40)), list(range(40)), "step number"),
    "steps as text": ([str(n) for n in range(40)], list(range(40)), "step number"),
    "steps as floats": ([float(n) for n in range(40)], list(range(40)), "step number"),
    "steps from below 0": (list(range(-5, 35)), list(range(-5, 35)), "step number"),
    "years": (list(range(1980, 2020)), list(range(1980, 2020)), "step number"),
    "steps of 15": ([15 * n for n in range(40)], [15 * n for n in range(40)], "step number"),
    "hours since 1970": ([420_000 + n for n in range(40)], [420_000 + n for n in range(40)], "step number"),
}


@pytest.mark.parametrize("case", READ)
def test_a_form_is_understood(case):
    values, expected, form = READ[case]
    times = read_times(pl.Series(values), "the column")
    assert times.values.tolist() == expected and not times.bad.any()
    assert (times.form, times.dated) == (form, form != "step number")
    backwards = read_times(pl.Series(values)[::-1], "the column")
    assert backwards.values.tolist() == expected[::-1] and backwards.form == form


GIVEN = {
    "%d/%m/%Y": (text("%d/%m/%Y"), DAYS),
    "%m/%d/%Y": (text("%m/%d/%Y"), DAYS),
    "%d.%m.%Y %H:%M": (text("%d.%m.%Y %H:%M"), MINUTES),
    "%d%m%Y": (numbers("%d%m%Y"), DAYS),  # 1032021: a number has lost its first zero
    "%m%d%Y": (numbers("%m%d%Y"), DAYS),
    "%d %b %Y": (text("%d %b %Y"), DAYS),
    "%a, %d %b %Y %H:%M:%S %z": (text("%a, %d %b %Y %H:%M:%S +0000"), UNIX),
    "%Y%j": (numbers("%Y%j"), DAYS),
    "%y%m%d": (numbers("%y%m%d"), DAYS),
    "excel": ([25_569 + t / 86_400 for t in UNIX], UNIX),
    "unix-days": ([t // 86_400 for t in UNIX], DAYS),
    "unix-s": (UNIX, UNIX),
    "unix-ms": ([1000 * t for t in UNIX], UNIX),
    "unix-us": ([str(10**6 * t) for t in UNIX], UNIX),
    "unix-ns": ([10**9 * t for t in UNIX], UNIX),
    "YYYYMM": (numbers("%Y%m"), MONTHS),
    "YYYYMMDDHH": (text("%Y%m%d%H"), HOURS),
    "steps": (UNIX, UNIX),
    "iso": (text("%Y-%m-%d"), DAYS),
    "datetime": (pl.Series(MOMENTS), UNIX),
}


@pytest.mark.parametrize("form", GIVEN)
def test_a_form_that_is_given_is_taken(form):
    values, expected = GIVEN[form]
    times = read_times(pl.Series(values), "the column", time_format=form)
    assert times.values.tolist() == expected and times.dated == (form != "steps")


def with_one(values, row, value):
    return [*values[:row], value, *values[row + 1 :]]


REFUSED = {
    "a 0 in row 1 of days": (with_one(numbers("%Y%m%d"), 0, 0), "1 of 40 values is no YYYYMMDD.*first 0 in row 1;"),
    "a 0 in row 10 of days": (with_one(numbers("%Y%m%d"), 9, 0), "is no YYYYMMDD.*first 0 in row 10;"),
    "a 0 in hours": (with_one(numbers("%Y%m%d%H"), 3, 0), "is no YYYYMMDDHH, .*first 0 in row 4;"),
    "a 0 in seconds": (with_one(UNIX, 0, 0), "is no unix second, .*first 0 in row 1;"),
    "a -1 in milliseconds": (with_one([1000 * t for t in UNIX], 5, -1), "is no unix millisecond.*first -1 in row 6"),
    "seconds in milliseconds": (with_one([1000 * t for t in UNIX], 5, UNIX[0]), "is no unix millisecond.*row 6"),
    "milliseconds in seconds": (with_one(UNIX, 39, 1000 * UNIX[0]), "is no unix second.*row 40"),
    "a day in seconds": (with_one(UNIX, 2, 20210301), "is no unix second.*first 20210301 in row 3"),
    "an hour in seconds": (with_one(UNIX, 2, 2021030100), "is no unix second.*first 2021030100 in row 3"),
    "seconds in days": (with_one(numbers("%Y%m%d"), 1, UNIX[1]), "is no YYYYMMDD.*row 2"),
    "a large number in steps": (with_one(list(range(40)), 7, 99_999_999), "is no step number.*row 8"),
    "31 February": (with_one(numbers("%Y%m%d"), 39, 20210231), "first 20210231 in row 40"),
    "29 February 2021": (with_one(text("%Y%m%d"), 39, "20210229"), "first 20210229 in row 40|first '20210229' in"),
    "month 13": (with_one(numbers("%Y%m"), 8, 202113), "is no YYYYMM,.*first 202113 in row 9"),
    "digits in ISO text": (with_one(text("%Y-%m-%d"), 9, "20180109"), "first '20180109' in row 10"),
    "ISO text in digits": (with_one(text("%Y%m%d"), 9, "2018-01-09"), "first '2018-01-09' in row 10"),
    "another zone": (with_one(text("%Y-%m-%d %H:%M UTC"), 4, "2018-01-09 00:00 CET"), "CET' in row 5"),
    "two zones": (with_one(text("%Y-%m-%d %H:%M UTC"), 4, "2018-01-09 00:00+01:00 UTC"), "UTC' in row 5"),
    "DDMMYYYY": (numbers("%d%m%Y"), "end in a year, such as [0-9]+; say what they are with --time-format %d%m%Y$"),
    "DDMMYYYY as text": (text("%d%m%Y"), "--time-format %d%m%Y"),
    "MMDDYYYY": (numbers("%m%d%Y"), "end in a year, such as [0-9]+; .*--time-format %m%d%Y$"),
    "DDMMYYYY of one month": ([1032021, 2032021, 3032021, 4032021], "--time-format %d%m%Y or --time-format %m%d%Y"),
    "DD/MM/YYYY": (text("%d/%m/%Y"), "either order; say which with --time-format '%d/%m/%Y'$"),
    "MM/DD/YYYY": (text("%m/%d/%Y %H:%M:%S"), "either order; say which with --time-format '%m/%d/%Y %H:%M:%S'$"),
    "either": (["01/02/2021", "02/02/2021", "03/02/2021"], "'%d/%m/%Y' or --time-format '%m/%d/%Y'"),
    "DD.MM.YYYY": (text("%d.%m.%Y"), "--time-format '%d.%m.%Y'"),
    "DD-MM-YYYY": (text("%d-%m-%Y"), "--time-format '%d-%m-%Y'"),
    "Excel": ([40179, 43828, 42000], "Excel's dates from 2010-01-01 to 2019-12-29, or step numbers; say which"),
    "8 digits": ([30_000_000 + n for n in range(9)], "8 digits that are no dates YYYYMMDD, such as 30000004; name"),
    "words": (["soon", "later"], "2 of 2 values are no times; first 'soon' in row 1; expected dates, text like"),
    "a fraction": ([1.5, 2.5], "no times; first 1.5 in row 1"),
    "no number": (with_one([1.0] * 9, 3, float("nan")), "first nan in row 4"),
    "64 bits exceeded": (pl.Series([2**64 - 1] * 3, dtype=pl.UInt64), "first 18446744073709551615 in row 1"),
    "booleans": ([True, False], "has type Boolean; expected"),
    "clock times": (pl.Series([dt.time(1), dt.time(2)]), "has type Time; expected"),
    "year 0": (pl.Series([-62_135_596_801 * 1000] * 3).cast(pl.Datetime("ms")), "no date in the years 1 to 9999"),
    "year 10000": (pl.Series([253_402_300_800 * 1000] * 3).cast(pl.Datetime("ms")), "years 1 to 9999; first"),
    "year 292,277": (pl.Series([2**62] * 3).cast(pl.Datetime("us")), "years 1 to 9999; first 4611686018427387904"),
    "microseconds taken for milliseconds": (
        pl.Series([t * 1000 for t in UNIX]).cast(pl.Datetime("us")),
        "dates from 1970-01-19 .* mistakes the unit 1,000 times: with it they are 2021-03-01 to 2021-11-",
    ),
    "seconds taken for nanoseconds": (
        pl.Series(UNIX).cast(pl.Datetime("ns")),
        "dates from 1970-01-01 00:00, as a writer makes them that mistakes the unit 1,000,000,000",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_mixed_or_may_mean_two_things_is_refused(case):
    values, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as error:
        read_times(pl.Series(values), "the column")
    assert str(error.value).startswith("the column") and len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("form", "values", "message"),
    [
        (
            "%d/%m/%Y",
            with_one(text("%d/%m/%Y"), 4, "31/02/2021"),
            "no time of the form %d/%m/%Y, .*'31/02/2021' in row 5",
        ),
        ("unix-ms", ["1", "x", "2"], "first 'x' in row 2"),
        ("YYYYMMDD", [20210301, 20210302, 5], "is no YYYYMMDD, as the others are; first 5 in row 3"),
        ("unix-s", [10**12] * 3, "no date in the years 1 to 9999; first 1000000000000 in row 1"),
        ("excel", [10**15] * 3, "years 1 to 9999"),
        ("iso", [1, 2, 3], "holds whole numbers, not iso"),
        ("datetime", [1, 2, 3], "has type Int64, not datetime"),
        ("unix-s", pl.Series(MOMENTS), "holds dates already .*leave out --time-format"),
    ],
)
def test_a_form_that_does_not_fit_is_refused(form, values, message):
    with pytest.raises(DataError, match=message):
        read_times(pl.Series(values), "the column", time_format=form)


def test_rows_of_another_form_are_set_aside_when_asked_to():
    times = read_times(pl.Series(with_one(numbers("%Y%m%d"), 0, 0)), "the column", skip=True)
    assert np.flatnonzero(times.bad).tolist() == [0] and times.values[1:].tolist() == DAYS[1:]
    assert times.described() == f"YYYYMMDD, {MOMENTS[1].date()} to {MOMENTS[-1].date()}"
    mostly_wrong = pl.Series(["2021-03-01", *["?"] * 5])
    with pytest.raises(DataError, match="5 of 6 values are no ISO 8601 date"):
        read_times(mostly_wrong, "the column", skip=True)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (
            "unix-sec",
            "'unix-sec' does not exist; did you mean 'unix-s'.; write a form of strptime such as %d/%m/%Y, or",
        ),
        ("%d/%m", "has no year; write it like %d/%m/%Y"),
        ("%Q %Y", "'Q' is a bad directive"),
        ("%Y %Y", "cannot be read"),
        ("%Y%", "stray %"),
    ],
)
def test_forms_that_do_not_exist(form, message):
    with pytest.raises(ConfigError, match=message):
        check_time_format(form)
    for known in NAMED:
        check_time_format(known)


def test_what_is_doubted():
    row = lambda number: f"row {number + 1}"
    year = dt.datetime.now(dt.UTC).year
    soon, far = (int(dt.datetime(year + more, 6, 1, tzinfo=dt.UTC).timestamp()) for more in (1, 2))
    times = read_times(pl.Series([*UNIX, soon, far, -5]), "c")
    early, late = doubts(times, "c", row, explicit=False)
    assert "c: 1 of 43 times, read as unix second, lie before 1979: 1969-12-31 23:59, first in row 43" in early
    assert late.startswith("c: 1 of 43 times, read as unix second, lie after next year: ") and "first in row 42" in late
    assert doubts(times, "c", row, explicit=True) == [late]
    assert doubts(read_times(pl.Series(UNIX), "c"), "c", row, explicit=False) == []
    assert doubts(read_times(pl.Series([1, 2, 3]), "c"), "c", row, explicit=False) == []
