from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import both_directions, facts_of_a_graph, make_graph, random_graph
from tirgn_eqx.data.index.snapshots import SnapshotStore, build_snapshot, stack_window


def edges_of(snapshot):
    named = snapshot.active[snapshot.source], snapshot.relation, snapshot.active[snapshot.target]
    return [tuple(int(x) for x in edge) for edge in zip(*named)]


@settings(max_examples=120, deadline=None)
@given(facts=facts_of_a_graph())
def test_every_snapshot_against_its_facts(facts):
    graph = make_graph(**facts)
    for index in range(graph.num_snapshots):
        snapshot = build_snapshot(graph, index)
        edges = [(s, r, o) for s, r, o, t in both_directions(graph) if t == index]
        facts = edges[: len(edges) // 2]
        assert snapshot.active.tolist() == sorted({s for s, _, _ in edges})
        assert Counter(edges_of(snapshot)) == Counter(edges)
        assert np.all(np.diff(snapshot.target) >= 0)
        into, out_of = Counter(o for _, _, o in edges), Counter(s for s, _, _ in edges)
        assert snapshot.degree.tolist() == [into[entity] for entity in snapshot.active]
        assert into == out_of
        by_relation = Counter(r for _, r, _ in edges)
        assert snapshot.relation_count.tolist() == [by_relation[r] for r in range(2 * graph.num_relations)]
        pairs = list(zip(snapshot.pair_relation.tolist(), snapshot.active[snapshot.pair_entity].tolist()))
        assert pairs == sorted({(r, s) for s, r, _ in facts})
        assert snapshot.sizes == (len(into), len(edges), len(pairs))


def test_duplicates_and_self_loops_count_as_often_as_they_occur():
    facts = [(5, 0, 5, 0), (5, 1, 2, 0), (5, 1, 2, 0), (5, 1, 3, 0)]
    snapshot = build_snapshot(make_graph(facts, num_entities=7, num_relations=2), 0)
    assert snapshot.active.tolist() == [2, 3, 5]
    # Entity 5: its self loop enters it twice, its three other facts once each through their inverses.
    assert snapshot.degree.tolist() == [2, 1, 5]
    assert snapshot.relation_count.tolist() == [1, 3, 1, 3]
    assert list(zip(snapshot.pair_relation.tolist(), snapshot.pair_entity.tolist())) == [(0, 2), (1, 2)]


@settings(max_examples=40, deadline=None)
@given(facts=facts_of_a_graph(), history_len=st.integers(1, 4), extra=st.integers(0, 3))
def test_windows_end_before_their_target_and_are_padded_at_the_front(facts, history_len, extra):
    graph = make_graph(**facts)
    store = SnapshotStore(graph)
    for target in range(graph.num_snapshots + 1):
        snapshots = store.window(target, history_len)
        numbers = list(range(max(0, target - history_len), target))
        assert [edges_of(s) for s in snapshots] == [edges_of(build_snapshot(graph, i)) for i in numbers]
        least = store.window_sizes(target, history_len)
        assert least.tolist() == [max(column) for column in zip((1, 1, 1), *(s.sizes for s in snapshots))]
        active, edge, pair = sizes = tuple(int(size) + extra for size in least)
        stacked = stack_window(snapshots, history_len, sizes, graph.num_entities, graph.num_relations)
        missing = history_len - len(snapshots)
        assert stacked["valid"].tolist() == [False] * missing + [True] * len(snapshots)
        for row in range(history_len):
            get = {name: values[row] for name, values in stacked.items()}
            snapshot = snapshots[row - missing] if row >= missing else None
            a, e, p = snapshot.sizes if snapshot else (0, 0, 0)
            assert get["active"][a:].tolist() == [graph.num_entities] * (active - a)
            assert get["degree"][a:].tolist() == [0] * (active - a)
            assert get["edge_target"][e:].tolist() == [active] * (edge - e)
            assert get["pair_relation"][p:].tolist() == [graph.num_relations] * (pair - p)
            for name, size in (("edge_source", active), ("pair_entity", active)):
                assert np.all((get[name] >= 0) & (get[name] < size))
            if snapshot is None:
                assert not get["relation_count"].any()
                continue
            for name, values in {
                "active": snapshot.active,
                "degree": snapshot.degree,
                "edge_source": snapshot.source,
                "edge_relation": snapshot.relation,
                "edge_target": snapshot.target,
                "pair_entity": snapshot.pair_entity,
                "pair_relation": snapshot.pair_relation,
            }.items():
                assert np.array_equal(get[name][: len(values)], values)
            assert np.array_equal(get["relation_count"], snapshot.relation_count)


def test_the_store_builds_a_snapshot_once():
    store = SnapshotStore(random_graph(0))
    assert store[3] is store[3]
    assert store.window(4, 2)[1] is store[3]


def test_beyond_its_limit_the_store_forgets_what_was_not_used_for_longest():
    graph = make_graph([(0, 0, 1, t) for t in range(4)], num_entities=2, num_relations=1)
    store = SnapshotStore(graph, most=2)
    first, second = store[0], store[1]
    assert store[0] is first  # used again
    store[2]
    assert store[0] is first and store[1] is not second
    # Now 0 and 1 are kept: sizes stay known without a snapshot.
    assert store.sizes(2) == (2, 2, 1) == store.sizes(3)
