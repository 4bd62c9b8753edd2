"""Names of entities and relations: how they are compared, and how they are added to a graph."""

import dataclasses
import unicodedata
from collections.abc import Sequence

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph


def fold_name(name: str) -> str:
    """`name` as it is looked up where none is exactly equal: without outer spaces, case and Unicode form."""
    # Unicode's canonical caseless match: case is folded in the decomposed form, since composed letters may fold
    # in another way. Composing again changes no comparison.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name.strip()).casefold())


def find_names(names: Sequence[str], vocabulary: Sequence[str]) -> np.ndarray:
    """int64 `(name,)`: the id of each of `names` in `vocabulary` (names by id), -1 where it has none."""
    ids = {name: number for number, name in enumerate(vocabulary)}
    return np.array([ids.get(name, -1) for name in names], np.int64)


def add_names(graph: TemporalGraph, entities: Sequence[str] = (), relations: Sequence[str] = ()) -> TemporalGraph:
    """`graph`, which has names, with those that it lacks added after its own as entities and relations without facts.

    Ids that it has stay what they are.
    """
    assert graph.entity_names is not None and graph.relation_names is not None
    # A dict keeps the order of insertion: the graph's own names come first, and so keep their ids.
    entity_names = tuple(dict.fromkeys((*graph.entity_names, *entities)))
    relation_names = tuple(dict.fromkeys((*graph.relation_names, *relations)))
    if (entity_names, relation_names) == (graph.entity_names, graph.relation_names):
        return graph
    return dataclasses.replace(
        graph,
        num_entities=len(entity_names),
        num_relations=len(relation_names),
        entity_names=entity_names,
        relation_names=relation_names,
    )
