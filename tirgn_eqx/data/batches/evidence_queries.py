"""Queries with their evidence as arrays: gathered by look-ups, then padded to a shape and put on the device."""

import dataclasses
from collections.abc import Container
from dataclasses import dataclass
from typing import TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from tirgn_eqx.data.batches.loader import KINDS
from tirgn_eqx.data.index.evidence import Cutoff, EvidenceIndex, NeighbourLookup
from tirgn_eqx.data.index.occurrences import find, ranges
from tirgn_eqx.types import (
    Answers,
    EvidenceBatch,
    EvidenceEntityQueries,
    EvidenceRelationQueries,
    GlobalGraph,
    Neighbours,
)

ModuleT = TypeVar("ModuleT", bound=eqx.Module)
MAX_LINKS = 2**16
# The padded axes, and the arrays of each. Those of relation queries begin with `relation_` or `evidence_`.
AXES: dict[str, tuple[str, ...]] = {
    "query": ("subject", "relation", "activity", "query_group"),
    "answer": ("answer_query", "answer", "answer_weight", "answer_cell", "answer_popular"),
    "true": ("true_query", "true_candidate"),
    "neighbour": ("neighbour_object", "neighbour_features"),
    "entry": ("entry_neighbour", "entry_relation", "entry_features"),
    "cell": ("cell_query", "cell_neighbour", "cell_popular"),
    "exact": ("exact_cell", "exact_entry"),
    "group": ("group",),
    "popular": ("popular_group", "popular_object", "popular_features"),
    "link": ("link_subject", "link_object", "link_features"),
    "relation_query": ("relation_subject", "relation_object", "relation_neighbour"),
    "relation_answer": ("relation_answer_query", "relation_answer", "relation_answer_weight"),
    "relation_true": ("relation_true_query", "relation_true_candidate"),
    "evidence": ("evidence_query", "evidence_entry"),
}
# Arrays of positions whose padding, and whose -1 (nowhere), become one past the end of the axis they point into.
POINTS_INTO = {
    "entry_neighbour": "neighbour",
    "cell_query": "query",
    "cell_popular": "popular",
    "exact_cell": "cell",
    "popular_group": "group",
    "answer_cell": "cell",
    "answer_popular": "popular",
    "true_query": "query",
    "relation_neighbour": "neighbour",
    "relation_true_query": "relation_query",
    "evidence_query": "relation_query",
}


@dataclass(frozen=True)
class EvidenceBucket:
    """One padded shape: a size for every axis in `AXES`, in that order, and at least 1, because nothing can be gathered
    from an array without rows."""

    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(max(size, 1) for size in self.sizes))

    def __getitem__(self, axis: str) -> int:
        return self.sizes[list(AXES).index(axis)]


@dataclass(frozen=True)
class QueryFacts:
    """Facts, int64 `(fact,)` each, that stand for the queries (subject, relation, ?) and (subject, ?, object)."""

    subject: np.ndarray
    relation: np.ndarray
    object: np.ndarray


_NO_FACTS = QueryFacts(*[np.zeros(0, np.int64)] * 3)


@dataclass(frozen=True)
class Gatherer:
    """Gathers the evidence of queries from an index.

    **Arguments:** `max_partners`: neighbours of a subject, those of the latest occurrence (0 = all); `context`,
    `background`: make the features that the model's settings of these names use.
    """

    index: EvidenceIndex
    max_partners: int = 0
    context: bool = True
    background: bool = True

    def gather(
        self, facts: QueryFacts, cutoff: Cutoff, truth: QueryFacts | None = None, *, kinds: Container[str] = KINDS
    ) -> dict[str, np.ndarray]:
        """All arrays of a batch by the names in `AXES`, unpadded, and `global_activity`, the activity of all entities.

        **Arguments:** `truth`: all that is true at the target, for evaluation; every answer is then kept by itself,
        while otherwise equal answers are merged; `kinds`: of the queries; others are left out.
        """
        index, subjects = self.index, np.unique(facts.subject)
        found = index.neighbours(subjects, cutoff, self.max_partners)
        out = {
            "neighbour_object": index.pair_object[found.pair],
            "neighbour_features": index.pair_features(found, subjects, cutoff, self.context),
            "entry_neighbour": found.entry_neighbour,
            "entry_relation": index.triple_relation[found.entry],
            "entry_features": index.entry_features(found, cutoff),
        }
        out |= self._entity(facts if "entity" in kinds else _NO_FACTS, truth, found, subjects, cutoff)
        out |= self._relation(facts if "relation" in kinds else _NO_FACTS, truth, found, subjects)
        if self.background:
            arrays = index.global_graph(cutoff, MAX_LINKS)
            return out | dict(zip(("global_activity", *AXES["link"]), arrays))
        empty = np.zeros(0, np.int64)
        # `pad` wants every name of `AXES`; without `global_activity` no model is given these.
        return out | {"link_subject": empty, "link_object": empty, "link_features": np.zeros((0, 1), np.float32)}

    def _entity(
        self, facts: QueryFacts, truth: QueryFacts | None, found: NeighbourLookup, subjects: np.ndarray, cutoff: Cutoff
    ) -> dict[str, np.ndarray]:
        index = self.index
        keys, query = np.unique(facts.subject * index.rel2 + facts.relation, return_inverse=True)
        subject, relation = keys // index.rel2, keys % index.rel2
        # A cell for every query and neighbour of its subject.
        owner = np.searchsorted(subjects, subject)
        bounds = np.searchsorted(found.owner, np.arange(len(subjects) + 1))
        cell_query, cell_neighbour = ranges(bounds[owner], bounds[owner + 1])
        # Entries are in order of neighbour and relation.
        entries = found.entry_neighbour * index.rel2 + index.triple_relation[found.entry]
        entry = find(entries, cell_neighbour * index.rel2 + relation[cell_query])
        exact = np.flatnonzero(entry >= 0)
        groups, query_group = np.unique(relation, return_inverse=True)
        popular_group, popular_object, popular_features = index.popular_objects(groups, cutoff)
        true = None if truth is None else (truth.subject * index.rel2 + truth.relation, truth.object)
        answers = _answers(query, facts.object, keys, true, index.entities)
        query, answer = answers["answer_query"], answers["answer"]
        # Cells are in order of query and neighbour, the neighbours of a subject in order of entity.
        cell_object = index.pair_object[found.pair][cell_neighbour]
        cells = cell_query * index.entities + cell_object
        popular = popular_group * index.entities + popular_object
        return answers | {
            "subject": subject,
            "relation": relation,
            "activity": index.activity(subject, cutoff),
            "cell_query": cell_query,
            "cell_neighbour": cell_neighbour,
            "cell_popular": find(popular, query_group[cell_query] * index.entities + cell_object),
            "exact_cell": exact,
            "exact_entry": entry[exact],
            "group": groups,
            "query_group": query_group,
            "popular_group": popular_group,
            "popular_object": popular_object,
            "popular_features": popular_features,
            "answer_cell": find(cells, query * index.entities + answer),
            "answer_popular": find(popular, query_group[query] * index.entities + answer),
        }

    def _relation(
        self, facts: QueryFacts, truth: QueryFacts | None, found: NeighbourLookup, subjects: np.ndarray
    ) -> dict[str, np.ndarray]:
        index = self.index
        keys, query = np.unique(facts.subject * index.entities + facts.object, return_inverse=True)
        # Neighbours are in order of subject and entity, so their pairs ascend, as `find` needs it.
        neighbour = find(subjects[found.owner] * index.entities + index.pair_object[found.pair], keys)
        bounds = np.searchsorted(found.entry_neighbour, np.arange(len(found.pair) + 1))
        met = np.flatnonzero(neighbour >= 0)
        position, evidence_entry = ranges(bounds[neighbour[met]], bounds[neighbour[met] + 1])
        true = None if truth is None else (truth.subject * index.entities + truth.object, truth.relation)
        answers = _answers(query, facts.relation, keys, true, index.rel2)
        return {f"relation_{name}": values for name, values in answers.items()} | {
            "relation_subject": keys // index.entities,
            "relation_object": keys % index.entities,
            "relation_neighbour": neighbour,
            "evidence_query": met[position],
            "evidence_entry": evidence_entry,
        }


def _answers(
    query: np.ndarray,
    answer: np.ndarray,
    keys: np.ndarray,
    truth: tuple[np.ndarray, np.ndarray] | None,
    candidates: int,
) -> dict[str, np.ndarray]:
    """The answers of queries and, with `truth` = (key, candidate), all that is true of the queries with `keys`."""
    weight = np.ones(len(query), np.float32)
    true_query = true = np.zeros(0, np.int64)
    if truth is None:
        code, number = np.unique(query * candidates + answer, return_counts=True)
        query, answer, weight = code // candidates, code % candidates, number.astype(np.float32)
    else:
        # The truth has facts of all splits, of which some answer no query of this split.
        place = find(keys, truth[0])
        code = np.unique(place[place >= 0] * candidates + truth[1][place >= 0])
        true_query, true = code // candidates, code % candidates
    names = ("answer_query", "answer", "answer_weight", "true_query", "true_candidate")
    return dict(zip(names, (query, answer, weight, true_query, true)))


def natural_bucket(gathered: dict[str, np.ndarray]) -> EvidenceBucket:
    """The shape without padding."""
    return EvidenceBucket(tuple(len(gathered[names[0]]) for names in AXES.values()))


def rounded_bucket(gathered: dict[str, np.ndarray]) -> EvidenceBucket:
    """The shape with every size rounded up to a power of two: for single queries, which then share a few shapes."""
    # At least 8: sizes up to 8 become 8, and 9 becomes 16.
    return EvidenceBucket(tuple(1 << max(size - 1, 7).bit_length() for size in natural_bucket(gathered).sizes))


def pad(gathered: dict[str, np.ndarray], bucket: EvidenceBucket) -> dict[str, np.ndarray]:
    """The arrays of a batch, padded to `bucket`: int32 and float32; and `global_activity`, if it was gathered."""
    out = {}
    for axis, names in AXES.items():
        for name in names:
            values = gathered[name]
            past = bucket[POINTS_INTO[name]] if name in POINTS_INTO else 0
            # Links are summed over all entities, which are no padded axis.
            if name == "link_subject":
                past = len(gathered.get("global_activity", ()))
            padded = np.full(
                (bucket[axis], *values.shape[1:]), past, np.float32 if values.dtype.kind == "f" else np.int32
            )
            padded[: len(values)] = np.where(values < 0, past, values) if name in POINTS_INTO else values
            out[name] = padded
    if "global_activity" in gathered:
        # Every batch has all entities, so that there is nothing to pad.
        out["global_activity"] = gathered["global_activity"].astype(np.float32)
    return out


def build_batch(gathered: dict[str, np.ndarray], bucket: EvidenceBucket) -> EvidenceBatch:
    """The batch, padded to `bucket`, on the device."""
    return assemble(jax.device_put(pad(gathered, bucket)))


def assemble(arrays: dict[str, Array]) -> EvidenceBatch:
    """The batch of the arrays that `pad` gives."""

    def make(module: type[ModuleT], prefix: str, **others: eqx.Module) -> ModuleT:
        """A module of the arrays that are named as its fields, with or without the prefix."""
        names = [field.name for field in dataclasses.fields(module) if field.name not in others]
        found = [arrays[prefix + name] if prefix + name in arrays else arrays[name] for name in names]
        return module(**dict(zip(names, found)), **others)

    return EvidenceBatch(
        make(Neighbours, "neighbour_"),
        make(EvidenceEntityQueries, "", answers=make(Answers, "")),
        make(EvidenceRelationQueries, "relation_", answers=make(Answers, "relation_")),
        make(GlobalGraph, "global_") if "global_activity" in arrays else None,
    )
