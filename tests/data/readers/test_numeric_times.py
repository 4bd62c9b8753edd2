"""Whole numbers as times: their magnitude over all of them decides, and what may mean two things is refused."""

import datetime as dt

import numpy as np
import pytest

from tirgn_eqx.data.readers.numeric_times import (
    CALENDAR,
    DIVISORS,
    Times,
    UnclearTimes,
    calendar_seconds,
    format_span,
    is_likely,
    likely_until,
    read_numbers,
)

DAY = 86_400
START = dt.datetime(2021, 3, 1, 12, 34, 56, tzinfo=dt.UTC)
DATES = [START + dt.timedelta(days=number) for number in range(9)]
PATTERNS = {"YYYYMM": "%Y%m", "YYYYMMDD": "%Y%m%d", "YYYYMMDDHH": "%Y%m%d%H", "YYYYMMDDHHMM": "%Y%m%d%H%M"}
PATTERNS |= {"YYYYMMDDHHMMSS": "%Y%m%d%H%M%S"}


@pytest.mark.parametrize("form", CALENDAR)
def test_digits_of_a_date_are_read_as_that_date(form):
    pattern = PATTERNS[form]
    times = read_numbers(np.array([int(f"{date:{pattern}}") for date in DATES]))
    expected = [dt.datetime.strptime(f"{date:{pattern}}", pattern).replace(tzinfo=dt.UTC) for date in DATES]
    assert times.form == form and times.dated and not times.bad.any()
    assert times.values.tolist() == [int(date.timestamp()) for date in expected]


@pytest.mark.parametrize("unit", DIVISORS)
def test_the_magnitude_tells_the_unit_of_unix_times(unit):
    seconds = np.array([int(date.timestamp()) for date in DATES])
    times = read_numbers(seconds * DIVISORS[unit] + DIVISORS[unit] // 2)
    assert times.values.tolist() == seconds.tolist() and times.form.startswith("unix ") and not times.bad.any()
    assert times.describe() == f"{times.form}s, 2021-03-01 to 2021-03-09"


def test_small_numbers_are_steps_and_none_overflows():
    times = read_numbers(np.array([-(2**63), 3, 5, 4]))
    assert (times.form, times.dated) == ("step number", False)
    assert times.bad.tolist() == [True, False, False, False] and times.span(~times.bad) == "3 to 5"
    assert read_numbers(np.zeros(0, np.int64)).form == "step number"


def test_numbers_of_another_form_are_bad():
    seconds = [int(date.timestamp()) for date in DATES]
    # Unknown, a date, and milliseconds among seconds; an early date may be meant.
    times = read_numbers(np.array([*seconds, 0, -1, 20210301, seconds[0] * 1000, 100_000_000]))
    assert times.form == "unix second"
    assert np.flatnonzero(times.bad).tolist() == [9, 10, 11, 12]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([44_197 + day for day in range(9)], "may be Excel's dates from 2021-01-01 to 2021-01-09, or step numbers"),
        ([25_012_018, 26_012_018, 1_022_018], "end in a year, such as 26012018; .* --time-format %d%m%Y$"),
        ([1_022_018, 2_022_018, 3_022_018], "--time-format %d%m%Y or --time-format %m%d%Y"),
        ([99_999_999] * 3, "8 digits that are no dates YYYYMMDD, such as 99999999"),
    ],
)
def test_numbers_that_may_mean_two_things_are_refused(values, words):
    with pytest.raises(UnclearTimes, match=words):
        read_numbers(np.array(values))


def test_the_calendar_knows_its_days():
    numbers = np.array([20200229, 20210229, 20211301, 20210100, 99991231, 2021030, -20210301])
    seconds, fits = calendar_seconds(numbers, "YYYYMMDD")
    assert fits.tolist() == [True, False, False, False, True, False, False]
    assert seconds[0] == dt.datetime(2020, 2, 29, tzinfo=dt.UTC).timestamp()
    numbers = np.array([20210301240000, 20210301235960, 20210301235959])
    assert calendar_seconds(numbers, "YYYYMMDDHHMMSS")[1].tolist() == [False, False, True]


def test_spans_show_the_time_of_day_within_a_day():
    assert format_span(np.array([7, 3]), False) == "3 to 7" and format_span(np.array([3, 3]), False) == "3"
    assert format_span(np.array([0, 3 * DAY]), True) == "1970-01-01 to 1970-01-04"
    assert format_span(np.array([0, 3600]), True) == "1970-01-01 00:00 to 1970-01-01 01:00"
    assert format_span(np.array([DAY, DAY]), True) == "1970-01-02"
    assert (
        Times(np.array([0]), np.zeros(1, bool), "time of the form %d").describe() == "times of the form %d, 1970-01-01"
    )


def test_times_are_likely_from_1979_until_the_end_of_next_year():
    late = likely_until()
    end = dt.datetime.fromtimestamp(late, dt.UTC)
    assert end.strftime("%m-%d %H:%M:%S") == "12-31 23:59:59" and end.year == dt.datetime.now(dt.UTC).year + 1
    assert is_likely(np.array([283_996_799, 283_996_800, late, late + 1])).tolist() == [False, True, True, False]
