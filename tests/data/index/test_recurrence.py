"""The recurrence index against reading every fact."""

import dataclasses

import numpy as np
import pytest

from tests.helpers import both_directions, make_graph, random_graph
from tirgn_eqx.data.index.recurrence import build_recurrence_index
from tirgn_eqx.errors import DataError


@pytest.fixture(scope="module")
def graph():
    """With times that are not evenly spaced, so that steps and snapshot numbers differ."""
    plain = random_graph(8, num_entities=6, facts=15)
    return dataclasses.replace(plain, times=plain.times**2)


@pytest.mark.parametrize("before", [0, 1, 4, 8])
def test_the_candidates_of_a_key_are_those_of_its_past(graph, before):
    index, facts = build_recurrence_index(graph), both_directions(graph)
    subject, relation = (x.ravel() for x in np.meshgrid(np.arange(6), np.arange(6), indexing="ij"))
    found = index.history(index.keys(subject, relation), before)
    told = {}
    for query, candidate, last in zip(found.query.tolist(), found.candidate.tolist(), found.last.tolist()):
        snapshot = index.occurrence[last] % index.num_snapshots
        told[subject[query], relation[query], candidate] = snapshot
        assert index.relation[last] == relation[query] and index.time[last] == graph.time_index[snapshot]
    expected = {}
    for s, r, o, time in facts:
        if time < before:
            expected[s, r, o] = max(time, expected.get((s, r, o), 0))
    assert told == expected
    assert found.query.tolist() == sorted(found.query.tolist())


def test_a_strength_is_the_faded_number_of_the_occurrences_so_far(graph):
    index, facts = build_recurrence_index(graph), both_directions(graph)
    decay = np.linspace(0, 1, index.rel2)
    strength = index.strength(decay)
    group = np.searchsorted(index.start, np.arange(len(index.occurrence)), side="right") - 1
    checked = 0
    for row, (number, code) in enumerate(zip(group, index.occurrence)):
        s, r = divmod(int(index.key[number]), index.rel2)
        now = int(code % index.num_snapshots)
        same = [time for a, b, c, time in facts if (a, b, c) == (s, r, index.candidate[number]) and time <= now]
        if row + 1 < len(group) and index.occurrence[row + 1] == code:
            continue  # of duplicates, the last row counts all
        ages = index.clock[now] - index.clock[same]
        assert strength[row] == pytest.approx(np.sum(2 ** (-decay[r] * ages)))
        checked += len(same) > 1
    assert checked > 5


def test_duplicates_count_twice():
    graph = make_graph([(0, 0, 1, 0), (0, 0, 1, 0), (0, 0, 1, 1)], num_entities=2, num_relations=1)
    index = build_recurrence_index(graph)
    last = index.history(index.keys(np.array([0]), np.array([0])), 2).last
    assert index.strength(np.zeros(2))[last].tolist() == [3]


def test_too_many_to_number():
    graph = make_graph([(0, 0, 1, 0)], num_entities=2**30, num_relations=4)
    with pytest.raises(DataError, match="too many to index"):
        build_recurrence_index(graph)
