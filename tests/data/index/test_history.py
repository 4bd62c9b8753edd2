import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import both_directions, facts_of_a_graph, make_graph
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.errors import DataError


def candidates_before(graph, kind, time, window):
    """{(a, b): candidates} by reading every fact."""
    seen = {}
    for s, r, o, t in both_directions(graph):
        if t < time and (window == 0 or t >= time - window):
            key, candidate = ((s, r), o) if kind == "entity" else ((s, o), r)
            seen.setdefault(key, set()).add(candidate)
    return seen


def all_pairs(graph, kind):
    second = 2 * graph.num_relations if kind == "entity" else graph.num_entities
    pairs = np.stack(np.meshgrid(np.arange(graph.num_entities), np.arange(second), indexing="ij"), -1)
    return pairs.reshape(-1, 2)


def keys_of(vocabulary, kind, pairs):
    make = vocabulary.entity_keys if kind == "entity" else vocabulary.relation_keys
    return make(pairs[:, 0], pairs[:, 1])


@settings(max_examples=120, deadline=None)
@given(facts=facts_of_a_graph(), kind=st.sampled_from(["entity", "relation"]), shuffle=st.integers(0, 5))
def test_lookup_is_what_was_seen_before_for_every_time_and_window(facts, kind, shuffle):
    graph = make_graph(**facts)
    vocabulary = build_history_vocabulary(graph)
    index = getattr(vocabulary, kind)
    pairs = np.random.default_rng(shuffle).permutation(all_pairs(graph, kind))
    keys = keys_of(vocabulary, kind, pairs)
    for time in range(graph.num_snapshots + 1):
        for window in (0, 1, 2, 3, graph.num_snapshots + 1):
            expected = candidates_before(graph, kind, time, window)
            position, candidate = index.lookup(keys, time, window)
            assert position.dtype == candidate.dtype == np.int32
            assert np.all(np.diff(position) >= 0)
            for i, pair in enumerate(pairs):
                found = candidate[position == i].tolist()
                assert len(found) == len(set(found))
                assert set(found) == expected.get(tuple(pair.tolist()), set())
        everything = candidates_before(graph, kind, time, 0)
        counts = [len(everything.get(tuple(pair.tolist()), ())) for pair in pairs]
        assert index.count(keys, time).tolist() == counts


def test_repeated_unknown_and_no_keys():
    graph = make_graph([(0, 0, 1, 0), (0, 0, 2, 1), (0, 0, 1, 2)], num_entities=4, num_relations=1)
    index = build_history_vocabulary(graph).entity
    # (3, 0) and (3, inverse) never occur; the key after the last possible one is past every group.
    position, candidate = index.lookup(np.array([0, 6, 0, 7, 8]), 2)
    assert position.tolist() == [0, 0, 2, 2] and candidate.tolist() == [1, 2, 1, 2]
    assert index.count(np.array([0, 6, 0, 7, 8]), 2).tolist() == [2, 0, 2, 0, 0]
    position, candidate = index.lookup(np.zeros(0, np.int64), 2)
    assert len(position) == len(candidate) == 0


def test_a_window_forgets_and_remembers_again():
    facts = [(0, 0, 1, 0), (0, 0, 2, 1), (0, 0, 2, 2), (0, 0, 1, 3), (0, 0, 3, 4)]
    index = build_history_vocabulary(make_graph(facts, num_entities=4, num_relations=1)).entity
    seen = lambda time, window: sorted(index.lookup(np.array([0]), time, window)[1].tolist())
    assert seen(3, 0) == [1, 2] and seen(3, 2) == [2] and seen(4, 1) == [1] and seen(4, 2) == [1, 2]


@settings(max_examples=30, deadline=None)
@given(facts=facts_of_a_graph())
def test_report(facts):
    graph = make_graph(**facts)
    vocabulary = build_history_vocabulary(graph)
    seen = candidates_before(graph, "entity", graph.num_snapshots, 0)
    report = vocabulary.report()
    assert report["pairs"] == len(seen)
    assert report["objects_per_pair"] == pytest.approx(sum(map(len, seen.values())) / len(seen))
    parts = [vocabulary.entity, vocabulary.relation]
    assert report["bytes"] == sum(p.first.nbytes + p.candidate.nbytes + p.occurrence.nbytes for p in parts)


def test_size_is_proportional_to_the_facts_and_not_to_the_vocabulary():
    facts = [(0, 0, 1, 0), (1, 0, 2, 1)]
    sizes = [
        build_history_vocabulary(make_graph(facts, num_entities=n, num_relations=1)).report()["bytes"]
        for n in (3, 1_000_000)
    ]
    assert sizes[0] == sizes[1]


def test_too_many_to_number():
    graph = make_graph([(0, 0, 1, 0)], num_entities=2**26, num_relations=2**10)
    with pytest.raises(DataError, match="coarser granularity"):
        build_history_vocabulary(graph)
