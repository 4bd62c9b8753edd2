"""Timelines of past events against a count over all facts."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.helpers import event_model, facts_of, facts_of_a_graph, make_graph
from tirgn_eqx.forecast.events import EventForecast, EventForecaster, PastEvents
from tirgn_eqx.forecast.timeline import TimelineMaker


def forecast_of(names, s, r, o, because=()):
    """What a forecaster says of a fact, but for its probability."""
    return EventForecast.model_construct(
        subject=names.entities[s], relation=names.relations[r], object=names.entities[o], because=list(because)
    )


def steps_before(end, time, interval):
    """Steps of the clock from a time to the target, at least one."""
    return max(1, end // interval - time // interval)


def expected_rows(facts, end, steps, interval, chosen):
    """(events in all, when last, {time: events} within `steps`) of the rows of `facts` before `end` that are chosen."""
    rows = facts[chosen & (facts[:, 3] < end)]
    times, counts = np.unique(rows[:, 3], return_counts=True)
    recent = {int(t): int(n) for t, n in zip(times, counts) if steps_before(end, t, interval) <= steps}
    return len(rows), int(times[-1]) if len(times) else None, recent


@example({"facts": [(0, 0, 0, 0), (0, 0, 0, 2)], "valid": 2, "test": 2, "num_entities": 1, "num_relations": 1}, 1, 1)
@settings(max_examples=25, deadline=None)
@given(given_facts=facts_of_a_graph(), at=st.integers(1, 9), steps=st.integers(1, 9))
def test_every_past_event_is_counted_once_and_none_from_the_target_on(given_facts, at, steps):
    graph = make_graph(**given_facts)
    facts = facts_of(graph)
    # Times of snapshots, in place of their numbers.
    facts[:, 3] = graph.times[facts[:, 3]]
    if at <= facts[0, 3]:
        return
    forecaster = EventForecaster(*event_model(graph), graph, at=at)
    make = TimelineMaker(forecaster, steps)
    for s, r, o in {tuple(row) for row in facts[:, :3].tolist()} | {(0, 0, 0)}:
        timeline = make(forecast_of(forecaster.names, s, r, o))
        fact = (facts[:, :3] == (s, r, o)).all(1)
        others = (facts[:, 0] == s) & (facts[:, 1] == r) & ~fact
        wanted = [expected_rows(facts, at, timeline.steps, graph.time_interval, chosen) for chosen in (fact, others)]
        rows = timeline.rows
        assert len(rows) == (2 if wanted[1][0] else 1) and timeline.steps <= steps
        for row, (events, last, recent) in zip(rows, wanted):
            assert (row.events, row.last) == (events, last)
            assert {one.time: one.events for one in row.times} == recent
            assert all(one.ago == steps_before(at, one.time, graph.time_interval) for one in row.times)
        assert rows[0].object == forecaster.names.entities[o] and all(row.object is None for row in rows[1:])


def test_other_events_of_the_two_actors_have_rows_of_their_own():
    rows = [(0, 0, 1, 0), (1, 1, 0, 2), (0, 0, 2, 3), (0, 0, 1, 4), (0, 0, 1, 4)]
    graph = make_graph(rows, num_entities=3, num_relations=2)
    forecaster = EventForecaster(*event_model(graph), graph)
    past = [
        PastEvents(subject=s, relation=r, object=o, events=1, last=0) for s, r, o in (("0", "0", "1"), ("1", "1", "0"))
    ]
    timeline = TimelineMaker(forecaster)(forecast_of(forecaster.names, 0, 0, 1, past))
    assert [(row.subject, row.relation, row.object, row.events, row.last) for row in timeline.rows] == [
        ("0", "0", "1", 3, 4),
        ("1", "1", "0", 1, 2),
        ("0", "0", None, 1, 3),
    ]
    assert [(time.time, time.ago, time.events) for time in timeline.rows[0].times] == [(0, 5, 1), (4, 1, 2)]
    assert (timeline.begin, timeline.steps) == (0, 5)


def test_entities_of_one_name_count_together():
    names = {"entity_names": ("A", "B", "A"), "relation_names": ("r",)}
    graph = make_graph([(0, 0, 1, 0), (2, 0, 1, 1), (2, 0, 1, 3)], num_entities=3, num_relations=1, **names)
    forecaster = EventForecaster(*event_model(graph), graph)
    (row,) = TimelineMaker(forecaster)(forecast_of(forecaster.names, 2, 0, 1)).rows
    assert row.events == 3 and [time.time for time in row.times] == [0, 1, 3]
