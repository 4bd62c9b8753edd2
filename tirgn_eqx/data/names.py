"""Vocabularies by name: further names appended to a graph's, and which id of one vocabulary has which in another."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph


def places(names: Sequence[str], known: Sequence[str]) -> np.ndarray:
    """int64 `(name,)`: where each of `names` stands in `known`, -1 for those that do not."""
    ids = {name: number for number, name in enumerate(known)}
    return np.array([ids.get(name, -1) for name in names], np.int64)


def with_further_names(
    graph: TemporalGraph, entities: Sequence[str] = (), relations: Sequence[str] = ()
) -> TemporalGraph:
    """`graph` with those of the names that it lacks after its own: entities and relations without facts.

    **Arguments:** `graph`: with names; ids that it has stay what they are.
    """
    assert graph.entity_names is not None and graph.relation_names is not None
    both = [
        tuple(dict.fromkeys((*own, *further)))
        for own, further in ((graph.entity_names, entities), (graph.relation_names, relations))
    ]
    if both == [graph.entity_names, graph.relation_names]:
        return graph
    return dataclasses.replace(
        graph,
        num_entities=len(both[0]),
        num_relations=len(both[1]),
        entity_names=both[0],
        relation_names=both[1],
    )


def with_kept_names(graph: TemporalGraph, described: dict[str, Any]) -> TemporalGraph:
    """`graph` as a checkpoint knows it that keeps names which its data no longer has: they stand after those of the
    data. Any other graph stays as it is.

    **Arguments:** `described`: the checkpoint's metadata.
    """
    kept = []
    for own, known in ((graph.entity_names, "entities"), (graph.relation_names, "relations")):
        names = tuple(described.get(known) or ())
        if own is None or names[: len(own)] != own:
            return graph
        kept.append(names)
    return with_further_names(graph, *kept)
