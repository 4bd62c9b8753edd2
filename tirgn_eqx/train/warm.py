"""A trained model in another vocabulary: what is known by name keeps its numbers, what is new begins anew."""

import dataclasses
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import CheckpointError, DataError
from tirgn_eqx.models import Model

Names = tuple[tuple[str, ...], tuple[str, ...]]  # of entities and of relations, by id


@dataclass(frozen=True)
class Mapping:
    """Where the entities and relations of a new vocabulary were in an old one: int64 ids, -1 for new ones; `relation`
    counts inverse relations too. `gone`: how many of the old ones the new vocabulary lacks."""

    entity: np.ndarray
    relation: np.ndarray
    gone_entities: int
    gone_relations: int

    def report(self) -> dict[str, dict[str, int]]:
        """Counts of what is kept, new and gone."""
        half = self.relation[: len(self.relation) // 2]
        counts = lambda place, gone: {"kept": int((place >= 0).sum()), "new": int((place < 0).sum()), "gone": gone}
        return {
            "entities": counts(self.entity, self.gone_entities),
            "relations": counts(half, self.gone_relations),
        }


def map_names(old: Names, new: Names) -> Mapping:
    """Where the names of `new` stand in `old`."""
    places = []
    for before, after in zip(old, new):
        ids = {name: number for number, name in enumerate(before)}
        places.append(np.array([ids.get(name, -1) for name in after], np.int64))
    entity, relation = places
    inverse = np.where(relation >= 0, relation + len(old[1]), -1)
    gone = [len(before) - int((place >= 0).sum()) for before, place in zip(old, places)]
    return Mapping(entity, np.concatenate([relation, inverse]), *gone)


def with_gone(graph: TemporalGraph, old: Names) -> TemporalGraph:
    """`graph` with the names that it lacks of `old` behind its own: entities and relations without facts."""
    assert graph.entity_names is not None and graph.relation_names is not None
    names = []
    for before, after in zip(old, (graph.entity_names, graph.relation_names)):
        present = set(after)
        names.append((*after, *(name for name in before if name not in present)))
    sizes = {"num_entities": len(names[0]), "num_relations": len(names[1])}
    return dataclasses.replace(graph, entity_names=names[0], relation_names=names[1], **sizes)


def names_of(graph: TemporalGraph) -> Names:
    """**Raises:** DataError for data without names."""
    if graph.entity_names is None or graph.relation_names is None:
        raise DataError(f"{graph.name}: has no names, by which a model could be taken over; use an event table")
    return graph.entity_names, graph.relation_names


def warm_start(old: Model, fresh: Model, mapping: Mapping, where: str) -> Model:
    """`fresh` with the numbers of `old`: rows of entities and relations by `mapping`, everything else as it is.

    Which arrays belong to a vocabulary is in their types: the first axis is named `entity` or `rel2`.

    **Arguments:** `where`: what is taken over, for messages.

    **Raises:** CheckpointError where the two are not models of one shape.
    """
    edges = lambda model: getattr(getattr(model, "structure", model), "static_edges", None)
    if edges(old) is not None or edges(fresh) is not None:
        raise CheckpointError(f"{where}: has a static graph, whose words are not taken over; train anew")
    return _merged(old, fresh, mapping, where, "model")


def _merged(old: Any, fresh: Any, mapping: Mapping, where: str, path: str) -> Any:
    if type(old) is not type(fresh):
        raise CheckpointError(
            f"{where}: {path} is a {type(old).__name__} there and a {type(fresh).__name__} here; leave the settings of "
            "the model as they were"
        )
    if isinstance(old, tuple | list):
        if len(old) != len(fresh):
            raise CheckpointError(
                f"{where}: {path} has {len(old)} parts there and {len(fresh)} here; leave the settings of the model as "
                "they were"
            )
        parts = [_merged(a, b, mapping, where, f"{path}[{number}]") for number, (a, b) in enumerate(zip(old, fresh))]
        return type(old)(parts)
    if not isinstance(old, eqx.Module):
        return fresh
    hints, changes = get_type_hints(type(old)), {}
    for field in dataclasses.fields(old):
        if field.metadata.get("static"):
            continue
        a, b, here = getattr(old, field.name), getattr(fresh, field.name), f"{path}.{field.name}"
        if isinstance(a, jax.Array) and isinstance(b, jax.Array):
            changes[field.name] = _rows(a, b, _first_axis(hints[field.name]), mapping, where, here)
        else:
            changes[field.name] = _merged(a, b, mapping, where, here)
    names = list(changes)
    return eqx.tree_at(
        lambda m: [getattr(m, name) for name in names],
        fresh,
        [changes[name] for name in names],
        is_leaf=lambda x: x is None,
    )


def _first_axis(hint: Any) -> str:
    """The name of an array type's first axis."""
    for part in (hint, *get_args(hint)):
        if hasattr(part, "dim_str"):
            return (part.dim_str.split() or [""])[0]
    return ""


def _rows(old: jax.Array, fresh: jax.Array, axis: str, mapping: Mapping, where: str, path: str) -> jax.Array:
    place = {"entity": mapping.entity, "rel2": mapping.relation}.get(axis)
    whole = place is not None and len(fresh) == len(place)  # some kernels are shared by all relations
    expected = (len(fresh), *old.shape[1:]) if whole else old.shape
    if fresh.shape != expected:
        raise CheckpointError(
            f"{where}: {path} is {list(old.shape)} there and {list(fresh.shape)} here; leave the settings of the model "
            "as they were"
        )
    if not whole or place is None:
        return old.astype(fresh.dtype)
    known = jnp.asarray(place >= 0).reshape(-1, *[1] * (old.ndim - 1))
    return jnp.where(known, old[np.maximum(place, 0)], fresh).astype(fresh.dtype)
