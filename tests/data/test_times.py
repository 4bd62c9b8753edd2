"""Times as people write them: which texts are times, and that those of snapshots are read back."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import make_graph
from tirgn_eqx.data.times import (
    DAY,
    TimeForm,
    describe_times,
    format_snapshot_time,
    in_units,
    join_dates,
    parse_number_or_date,
    parse_snapshot_time,
    to_text,
)
from tirgn_eqx.errors import DataError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-17", (-17, TimeForm.NUMBER)),
        ("9" * 5000, (10**30, TimeForm.NUMBER)),
        ("17.0", (17, TimeForm.FLOAT)),
        ("1.7e1", (17, TimeForm.FLOAT)),
        ("1.5146e+09", None),
        ("17.5", None),
        ("1970-01-02", (DAY, TimeForm.DATE)),
        ("1970/01/02", (DAY, TimeForm.DATE)),
        ("1970-01-01T01:00+01:00", (0, TimeForm.DATE_AND_TIME)),
        ("1970-01-01 00:01 UTC", (60, TimeForm.DATE_AND_TIME)),
        ("1970-01-01 00:00:00.5", None),
        ("1970-13-01", None),
        ("tomorrow", None),
    ],
)
def test_which_texts_are_times(text, expected):
    assert parse_number_or_date(text) == expected


def test_a_date_and_its_time_of_day_are_one_field():
    fields = "0 1 2 2018-02-01 06:00 UTC".split()
    assert join_dates(fields) == ["0", "1", "2", "2018-02-01 06:00 UTC"]
    assert join_dates(["0", "1", "2", "17", "06:00"]) == ["0", "1", "2", "17", "06:00"]


def test_dates_alone_count_days():
    facts = np.array([[0, 0, 0, 3 * DAY]])
    assert in_units(facts, TimeForm.DATE)[0].tolist() == [[0, 0, 0, 3]] and in_units(facts, TimeForm.DATE)[1] == DAY
    assert in_units(facts, TimeForm.DATE_AND_TIME) == (facts, 1) and in_units(facts, TimeForm.FLOAT) == (facts, None)
    assert describe_times(TimeForm.DATE, 0, 3, DAY) == "dates, 1970-01-01 to 1970-01-04"
    assert describe_times(TimeForm.NUMBER, 0, 3, None) is None and to_text(10**9, DAY) == 10**9


@given(st.sampled_from([60, 3600, DAY]), st.integers(-5000, 20_000), st.integers(1, 9))
def test_the_time_of_a_snapshot_is_read_back(unit, first, step):
    facts = [(0, 0, 1, first + step * number) for number in range(4)]
    graph = make_graph(facts, num_entities=2, num_relations=1)
    graph = dataclasses.replace(graph, time_unit=unit)
    for snapshot, time in enumerate(graph.times.tolist()):
        assert parse_snapshot_time(graph, format_snapshot_time(graph, snapshot)) == time
    numbers = dataclasses.replace(graph, time_unit=None)
    assert format_snapshot_time(numbers, 1) == parse_snapshot_time(numbers, str(first + step)) == first + step
    with pytest.raises(DataError, match="has numbers for times; give one, such as"):
        parse_snapshot_time(numbers, "2018-02-01")
    with pytest.raises(DataError, match="time 'soon': not a date or time"):
        parse_snapshot_time(graph, "soon")
