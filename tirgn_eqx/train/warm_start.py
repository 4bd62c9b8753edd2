"""Warm starts: a model that begins with the weights of another one, whose vocabulary is matched by name.

The annotation of an array says whether its first axis is the vocabulary (`tirgn_eqx.types` lists the names of axes):
`entity` has a row for every entity, `rel` one for every relation, `rel2` these and then one for every inverse.
"""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int64

from tirgn_eqx.checkpoint.files import Leaf
from tirgn_eqx.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class NameMap:
    """The old id of every name in a new vocabulary.

    **Arguments:** `entity`, `relation`: by new id the old one, -1 for a new name; `old_entities`, `old_relations`:
    sizes of the old vocabulary.
    """

    entity: Int64[np.ndarray, " entity"]
    relation: Int64[np.ndarray, " rel"]
    old_entities: int
    old_relations: int

    def rows(self, axis: str) -> tuple[Int64[np.ndarray, " row"], int]:
        """(by new row the old one or -1, number of old rows) for the axis `entity`, `rel` or `rel2`."""
        if axis == "entity":
            return self.entity, self.old_entities
        if axis == "rel":
            return self.relation, self.old_relations
        # The inverse of r is r + R, with R of its own vocabulary; an inverse is new where its relation is.
        inverse = np.where(self.relation < 0, -1, self.relation + self.old_relations)
        return np.concatenate([self.relation, inverse]), 2 * self.old_relations


def leading_axes(model: object) -> dict[str, tuple[str | None, Leaf]]:
    """The arrays of a model by path, such as `background.subject`, each with the annotated name of its first axis (None
    without one)."""
    found: dict[str, tuple[str | None, Leaf]] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(model)[0]:
        # Follow the path from field to field: the last field names the axes of the leaf.
        # `Any`: which fields there are is known while the program runs.
        owner: Any = model
        annotation = None
        for key in path:
            if isinstance(key, jax.tree_util.GetAttrKey):
                annotation = {field.name: field.type for field in dataclasses.fields(owner)}[key.name]
                owner = getattr(owner, key.name)
            else:
                owner = owner[key.idx]
        # In a union such as `Float[Array, "word dim"] | None`, one member has the names of axes.
        words = [getattr(kind, "dim_str", "").split() for kind in (annotation, *get_args(annotation))]
        axis = next((names[0] for names in words if names), None)
        found[jax.tree_util.keystr(path, simple=True, separator=".")] = axis, leaf
    return found


def warm_start(fresh: T, old: object, names: NameMap | None = None) -> T:
    """`fresh` with the weights and buffers of `old`; rows of new names stay as they are in `fresh`.

    **Arguments:** `fresh`: a newly built model, whose settings stay; `old`: one of the same kind and widths; `names`:
    maps the vocabulary of `fresh` to that of `old`, None when they are the same.

    **Raises:** ConfigError for a model of another shape, naming the array that differs.
    """
    ours, theirs = leading_axes(fresh), leading_axes(old)
    again = "leave the settings that shape the model as they were, or train anew with `tirgn train`"
    for name in sorted(set(ours) ^ set(theirs)):
        where = "the settings describe a model with" if name in ours else "the settings describe a model without"
        raise ConfigError(f"{where} the array {name!r}, unlike the one to begin from; {again}")
    leaves: list[Array] = []
    for name, (axis, leaf) in ours.items():
        value, rows = np.asarray(theirs[name][1]), None
        if names is not None and axis in ("entity", "rel", "rel2"):
            place, number = names.rows(axis)
            # An array that is annotated with relations may have one row that all share.
            rows = place if leaf.shape[0] == len(place) and len(value) == number else None
        expected = value.shape if rows is None else (len(rows), *value.shape[1:])
        if leaf.shape != expected:
            raise ConfigError(
                f"array {name!r} is {list(expected)} in the model to begin from, and {list(leaf.shape)} with these "
                f"settings; {again}"
            )
        if rows is not None:
            filled, known = np.array(leaf), rows >= 0
            filled[known] = value[rows[known]]
            value = filled
        # Copied, because a training donates its arrays.
        leaves.append(jnp.array(value, leaf.dtype))
    return jax.tree.unflatten(jax.tree.structure(fresh), leaves)


def fingerprint(model: object) -> str:
    """The sha256 over all arrays of a model."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(model):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
