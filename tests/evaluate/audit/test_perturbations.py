"""Each change leaves alone what it does not name."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluate.audit.planted import both_ways, made_graph
from tirgn_eqx.evaluate.audit import ForecastRequest
from tirgn_eqx.evaluate.audit import perturbations as change_to

SEEDS = st.integers(0, 1000)


def make_request(time):
    graph = made_graph()
    facts = change_to.table_of(graph)
    request = ForecastRequest(facts, facts[:0, :2], time, 8, 2, np.arange(8), graph.entity_names)
    return change_to.with_queries(request, both_ways(facts[facts[:, 3] == time], request)[:, :2])


REQUESTS = {time: make_request(time) for time in (5, 13)}
TIMES = st.sampled_from(sorted(REQUESTS))


def parts(request):
    time = request.facts[:, 3]
    return request.facts[time < request.time], request.facts[time == request.time], request.facts[time > request.time]


def same(one, other):
    return one.shape == other.shape and bool((one == other).all())


@given(TIMES, SEEDS)
def test_changes_of_the_present_leave_past_and_future_alone(time, seed):
    request, rng = REQUESTS[time], np.random.default_rng(seed)
    past, now, later = parts(request)
    for changed in (
        change_to.with_other_answers(request, rng),
        change_to.with_random_present(request, rng),
        change_to.without_present(request),
    ):
        assert same(parts(changed)[0], past) and same(parts(changed)[2], later)
        assert changed.queries is request.queries and not same(parts(changed)[1], now)
        assert (np.diff(changed.facts[:, 3]) >= 0).all()
    answers = parts(change_to.with_other_answers(request, rng))[1]
    assert same(answers[:, :2], now[:, :2]) and (answers[:, 2] != now[:, 2]).all()
    assert len(parts(change_to.with_random_present(request, rng))[1]) > len(now)


@given(TIMES, SEEDS)
def test_changes_of_the_future_leave_past_and_present_alone(time, seed):
    request, rng = REQUESTS[time], np.random.default_rng(seed)
    past, now, later = parts(request)
    other, none = change_to.with_random_future(request, rng), change_to.without_future(request)
    for changed in (other, none):
        assert same(parts(changed)[0], past) and same(parts(changed)[1], now)
    assert len(parts(none)[2]) == 0 and len(parts(other)[2]) > len(later)
    assert parts(other)[2][:, :3].max(0).tolist() <= [7, 1, 7]


@given(TIMES, SEEDS)
def test_facts_of_other_times_are_random_and_as_many(time, seed):
    request = REQUESTS[time]
    changed = change_to.with_random_other_times(request, np.random.default_rng(seed))
    assert same(parts(changed)[1], parts(request)[1]) and same(changed.facts[:, 3], request.facts[:, 3])
    assert not same(parts(changed)[0], parts(request)[0])


@given(TIMES, SEEDS)
def test_renumbering_there_and_back_is_nothing(time, seed):
    request, order = REQUESTS[time], np.random.default_rng(seed).permutation(8)
    there = change_to.with_entities_renumbered(request, order)
    assert there.entity_names == tuple(f"E{i}" for i in order) and there.entities.tolist() == order.tolist()
    # The same names take part in the same facts.
    assert same(order[there.facts[:, 0]], request.facts[:, 0]) and same(
        order[there.queries[:, 0]], request.queries[:, 0]
    )
    back = change_to.with_entities_renumbered(there, np.argsort(order))
    for field in dataclasses.fields(request):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(request, field.name))


@given(st.integers(1, 9), SEEDS)
def test_false_queries_come_with_their_inverses(number, seed):
    request = REQUESTS[5]
    queries, answers = change_to.false_queries(request, number, np.random.default_rng(seed))
    assert same(queries[:number, 0], answers[number:]) and same(queries[number:, 0], answers[:number])
    assert same(queries[:number, 1] + 2, queries[number:, 1])


@pytest.mark.parametrize("time", sorted(REQUESTS))
def test_a_table_with_one_entity_has_no_other_answers(time):
    facts = np.array([[0, 0, 0, time]])
    request = ForecastRequest(facts, facts[:, :2], time, 1, 1, np.arange(1))
    assert same(change_to.with_other_answers(request, np.random.default_rng(0)).facts, facts)
