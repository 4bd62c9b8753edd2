"""How often named facts occurred, against a loop over all facts."""

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import facts_of, facts_of_a_graph, make_graph
from tirgn_eqx.data.index.outcomes import count_occurrences, names_of


@settings(max_examples=40, deadline=None)
@given(facts_of_a_graph(), st.integers(0, 2**32 - 1), st.booleans())
def test_counts_are_those_of_a_loop(arguments, seed, named):
    graph, rng = make_graph(**arguments), np.random.default_rng(seed)
    if named:
        # Two ids may have one name, which then means both.
        entities = tuple(f"actor {i // 2}" for i in range(graph.num_entities))
        fields = {"entity_names": entities, "relation_names": tuple("pqrstuv"[: graph.num_relations])}
        graph = dataclasses.replace(graph, **fields)
    entities, relations = (names_of(graph, kind) for kind in ("entity", "relation"))
    rows = [(entities[s], relations[r], entities[o], t) for s, r, o, t in facts_of(graph).tolist()]
    facts = [rows[number][:3] for number in rng.integers(0, len(rows), 6)] + [("nobody", relations[0], entities[0])]
    begin = rng.integers(0, graph.num_snapshots + 1, len(facts))
    end = np.minimum(begin + rng.integers(0, 4, len(facts)), graph.num_snapshots)
    found = count_occurrences(graph, facts, begin, end)
    assert found.tolist() == [
        sum(row[:3] == fact and first <= row[3] < last for row in rows)
        for fact, first, last in zip(facts, begin.tolist(), end.tolist())
    ]


def test_no_facts_are_counted_never():
    graph = make_graph(np.array([[0, 0, 1, 0], [0, 0, 1, 1]]), num_entities=2, num_relations=1)
    assert count_occurrences(graph, [], np.zeros(0, np.int64), np.zeros(0, np.int64)).shape == (0,)
