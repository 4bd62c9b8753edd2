"""What came of facts that are named: how often each occurred between two snapshots."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int64

from tirgn_eqx.data.graph import TemporalGraph

Fact = tuple[str, str, str]  # subject, relation and object by name


def count_occurrences(
    graph: TemporalGraph,
    facts: Sequence[Fact],
    begin: Int64[np.ndarray, " fact"],
    end: Int64[np.ndarray, " fact"],
) -> Int64[np.ndarray, " fact"]:
    """How often each fact occurred from snapshot `begin` on and before snapshot `end`.

    A name that the graph does not have occurred never; one that stands for several ids means all of them. Ids are the
    names of a graph without names.
    """
    if not facts:
        return np.zeros(0, np.int64)
    entities = _number(name for subject, _, object_ in facts for name in (subject, object_))
    relations = _number(relation for _, relation, _ in facts)

    def code(subject: np.ndarray, relation: np.ndarray, object_: np.ndarray) -> np.ndarray:
        # Numbers among the names of these facts alone, so that no product of a large vocabulary overflows.
        return (subject * len(relations) + relation) * len(entities) + object_

    columns = np.array([(entities[s], relations[r], entities[o]) for s, r, o in facts], np.int64).T
    wanted, row = np.unique(code(*columns), return_inverse=True)
    entity, relation = _local_ids(graph, entities, "entity"), _local_ids(graph, relations, "relation")
    snapshots, found = graph.num_snapshots + 1, [np.zeros(0, np.int64)]
    for block in graph.blocks():
        s, r, o = entity[graph.subject[block]], relation[graph.relation[block]], entity[graph.object[block]]
        named = (s >= 0) & (r >= 0) & (o >= 0)
        key = code(s[named], r[named], o[named])
        place = np.minimum(np.searchsorted(wanted, key), len(wanted) - 1)
        hit = wanted[place] == key
        found.append(place[hit] * snapshots + graph.snapshot[block][named][hit])
    occurred, row = np.sort(np.concatenate(found)), row.ravel() * snapshots
    return np.searchsorted(occurred, row + end) - np.searchsorted(occurred, row + begin)


def names_of(graph: TemporalGraph, kind: str) -> tuple[str, ...]:
    """The names of a graph's entities or relations (`kind`: "entity" or "relation"); ids as text where it has none."""
    names, number = (
        (graph.entity_names, graph.num_entities) if kind == "entity" else (graph.relation_names, graph.num_relations)
    )
    return tuple(map(str, range(number))) if names is None else names


def _number(names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found.setdefault(name, len(found))
    return found


def _local_ids(graph: TemporalGraph, numbers: dict[str, int], kind: str) -> Int64[np.ndarray, " id"]:
    """By id of the graph, the number of its name, -1 for a name that has none."""
    return np.array([numbers.get(name, -1) for name in names_of(graph, kind)], np.int64)
