"""Names of entities and relations: how they are compared, and where those of one vocabulary stand in another."""

import dataclasses
import unicodedata
from collections.abc import Sequence

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph


def folded(name: str) -> str:
    """`name` as it is looked up where no name is exactly as given: without outer spaces, case and Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name.strip()).casefold())


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
