"""Strata of queries against reading every fact."""

import numpy as np
import pytest

from tests.helpers import both_directions, make_graph, random_graph
from tirgn_eqx.evaluate.strata import RECURRENCE, recurrence, split_queries


@pytest.fixture(scope="module")
def graph():
    return random_graph(11, num_entities=12, facts=30)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_strata_of_queries_by_reading_every_fact(graph, split, monkeypatch):
    monkeypatch.setattr("tirgn_eqx.evaluate.strata.CHUNK", 7)
    snapshots = graph.split_snapshots(split)
    asked = list(zip(*(column.tolist() for column in split_queries(graph, split, snapshots))))
    mine = (graph.split == ("train", "valid", "test").index(split)).nonzero()[0]
    expected = []
    for time in snapshots.tolist():
        expected += both_directions(graph, mine[graph.snapshot[mine] == time])
    assert asked == expected
    facts = both_directions(graph)
    for known in (None, int(snapshots[0])):
        limits = None if known is None else np.full(len(asked), known)
        kinds = recurrence(graph, split, limits).tolist()
        assert len(set(kinds)) == 3
        for (s, r, o, t), kind in zip(asked, kinds):
            past = [(a, b, c) for a, b, c, time in facts if time < (t if known is None else known)]
            exact = (s, r, o) in past
            pair = any((a, c) == (s, o) for a, _, c in past)
            assert RECURRENCE[kind] == ("exact recurrence" if exact else "known pair" if pair else "new")


def test_a_pair_is_known_in_either_direction_and_its_own_fact_does_not_count():
    facts = [(0, 0, 1, 0), (1, 1, 0, 1), (2, 0, 3, 1), (2, 0, 3, 1)]
    graph = make_graph(facts, num_entities=4, num_relations=2, valid=1, test=1)
    # (1, 1, 0) is new as a fact, its two entities are not; (2, 0, 3) occurs twice, but at the same time.
    names = [RECURRENCE[number] for number in recurrence(graph, "test")]
    assert names == ["known pair", "new", "new"] * 2
