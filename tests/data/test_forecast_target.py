"""A time to be forecast: the history before it, and the model's clock at it."""

import dataclasses

import pytest

from tests.helpers import make_graph
from tirgn_eqx.data.forecast_target import make_forecast_target
from tirgn_eqx.errors import DataError


def at_times(times):
    facts = [(number % 3, 0, (number + 1) % 3, time) for number, time in enumerate(times)]
    return make_graph(facts, num_entities=3, num_relations=1, valid=len(facts) - 2, test=len(facts) - 1)


def test_the_target_is_an_empty_snapshot_after_the_history():
    graph = at_times([3, 5, 9, 13, 15])
    before = [3, 5, 9, 13, 15]
    cases = ((9, [3, 5, 7, 9], 2), (17, [*before, 17], 5), (30, [*before, 17, 30], 5))
    for time, times, history_end in cases:
        found = make_forecast_target(graph, time)
        assert found.graph.times.tolist() == times
        assert (found.target, found.history_end) == (len(times) - 1, history_end)
        assert found.graph.snapshot.tolist() == list(range(history_end))
    assert make_forecast_target(graph).graph.times[-1] == 15 + graph.time_interval
    with pytest.raises(DataError, match="nothing is known before 3, for the first facts are of 3"):
        make_forecast_target(graph, 3)


def test_a_forecast_far_ahead_holds_the_clock():
    graph = at_times(range(100, 110))

    def index(time):
        return float(make_forecast_target(graph, time).time_index)

    assert [index(time) for time in (105, 110, 115, 119, 120, 121, 2**40)] == [5, 10, 15, 19, 19, 19, 19]
    # The history before an earlier time has its own length.
    assert float(make_forecast_target(dataclasses.replace(graph, times=graph.times * 2 - 100), 104).time_index) == 4
    assert float(make_forecast_target(dataclasses.replace(graph, clock_origin=150), 110).time_index) == -40
