"""Questions with their evidence, as arrays: gathered by look-ups, then padded to a shape and put on the device."""

from collections.abc import Container
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array

from tirgn_eqx.data.index.evidence import EvidenceIndex, Known, Partners
from tirgn_eqx.data.index.occurrences import find, ranges
from tirgn_eqx.types import (
    Answers,
    EvidenceBatch,
    EvidenceEntityQueries,
    EvidenceRelationQueries,
    GlobalGraph,
    Neighbours,
)

MOST_LINKS = 2**16
KINDS = ("entity", "relation")
# What is padded, and the arrays of each length.
LENGTHS = {
    "unit": ("subject", "relation", "activity", "query_group"),
    "answer": ("answer_query", "answer", "answer_weight", "answer_cell", "answer_popular"),
    "true": ("true_query", "true"),
    "partner": ("partner_object", "partner_features"),
    "entry": ("entry_neighbour", "entry_relation", "entry_features"),
    "cell": ("cell_query", "cell_neighbour", "cell_popular"),
    "exact": ("exact_cell", "exact_entry"),
    "kind": ("group",),
    "popular": ("popular_group", "popular_object", "popular_features"),
    "link": ("link_subject", "link_object", "link_features"),
    "pair_unit": ("pair_subject", "pair_object", "pair_partner"),
    "pair_answer": ("pair_answer_query", "pair_answer", "pair_answer_weight"),
    "pair_true": ("pair_true_query", "pair_true"),
    "asked": ("evidence_query", "evidence_entry"),
}
# Arrays of positions whose padding, and whose -1 (nowhere), lie one past the end of what they point into.
POINTS_INTO = {
    "entry_neighbour": "partner",
    "cell_query": "unit",
    "cell_popular": "popular",
    "exact_cell": "cell",
    "popular_group": "kind",
    "answer_cell": "cell",
    "answer_popular": "popular",
    "true_query": "unit",
    "pair_partner": "partner",
    "evidence_query": "pair_unit",
    "pair_true_query": "pair_unit",
}


@dataclass(frozen=True)
class EvidenceBucket:
    """One padded shape: a size for every name in `LENGTHS`, in that order; at least 1, for nothing can be looked up in
    an array without rows."""

    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(max(size, 1) for size in self.sizes))

    def __getitem__(self, name: str) -> int:
        return self.sizes[list(LENGTHS).index(name)]


@dataclass(frozen=True)
class Asked:
    """Facts whose parts are asked for, int64 `(question,)` each: (subject, relation, ?) and (subject, ?, object)."""

    subject: np.ndarray
    relation: np.ndarray
    object: np.ndarray


_NOTHING = Asked(*[np.zeros(0, np.int64)] * 3)


@dataclass(frozen=True)
class Gatherer:
    """Gathers evidence as a model needs it.

    **Arguments:** `index`; `max_partners`: of a subject, those met last (0 = all); `context`, `background`: make the
    features that the model's settings of these names need.
    """

    index: EvidenceIndex
    max_partners: int = 0
    context: bool = True
    background: bool = True

    def gather(
        self, asked: Asked, known: Known, truth: Asked | None = None, *, kinds: Container[str] = KINDS
    ) -> dict[str, np.ndarray]:
        """All arrays of a batch by the names in `LENGTHS`, unpadded, and `everybody`, the activity of all entities.

        **Arguments:** `truth`: all that is true at the target, for evaluation; then every answer is kept for itself,
        else equal ones are put together; `kinds`: of the questions, of which others are left out.
        """
        of = lambda kind: asked if kind in kinds else _NOTHING
        subjects = np.unique(asked.subject)
        partners = self.index.partners(subjects, known, self.max_partners)
        out = self._evidence(partners, subjects, known)
        out |= self._entity(of("entity"), truth, partners, subjects, known)
        out |= self._relation(of("relation"), truth, partners, subjects)
        empty = np.zeros(0, np.int64)
        out |= {"link_subject": empty, "link_object": empty, "link_features": np.zeros((0, 1), np.float32)}
        if self.background:
            names = ("everybody", "link_subject", "link_object", "link_features")
            out |= dict(zip(names, self.index.surroundings(known, MOST_LINKS)))
        return out

    def _evidence(self, partners: Partners, subjects: np.ndarray, known: Known) -> dict[str, np.ndarray]:
        index = self.index
        return {
            "partner_object": index.pair_object[partners.pair],
            "partner_features": index.pair_features(partners, subjects, known, self.context),
            "entry_neighbour": partners.entry_neighbour,
            "entry_relation": index.triple_relation[partners.entry],
            "entry_features": index.entry_features(partners, known),
        }

    def _entity(
        self, asked: Asked, truth: Asked | None, partners: Partners, subjects: np.ndarray, known: Known
    ) -> dict[str, np.ndarray]:
        index = self.index
        code = lambda facts: facts.subject * index.rel2 + facts.relation
        units, unit = np.unique(code(asked), return_inverse=True)
        subject, relation = units // index.rel2, units % index.rel2
        owner = np.searchsorted(subjects, subject)
        bounds = np.searchsorted(partners.owner, np.arange(len(subjects) + 1))
        cell_query, cell_neighbour = ranges(bounds[owner], bounds[owner + 1])
        # Entries are in order of pair and relation.
        entries = partners.entry_neighbour * index.rel2 + index.triple_relation[partners.entry]
        entry = find(entries, cell_neighbour * index.rel2 + relation[cell_query])
        exact = np.flatnonzero(entry >= 0)
        kinds, query_group = np.unique(relation, return_inverse=True)
        popular_group, popular_object, popular_features = index.popular_objects(kinds, known)
        true = None if truth is None else (code(truth), truth.object)
        answers = _answers(unit, asked.object, units, true, index.entities)
        unit, answer = answers["answer_query"], answers["answer"]
        # Cells are in order of unit and partner, partners of one subject in order of object.
        cell_object = index.pair_object[partners.pair][cell_neighbour]
        cells = cell_query * index.entities + cell_object
        popular = popular_group * index.entities + popular_object
        return answers | {
            "subject": subject,
            "relation": relation,
            "activity": index.activity(subject, known),
            "cell_query": cell_query,
            "cell_neighbour": cell_neighbour,
            "cell_popular": find(popular, query_group[cell_query] * index.entities + cell_object),
            "exact_cell": exact,
            "exact_entry": entry[exact],
            "group": kinds,
            "query_group": query_group,
            "popular_group": popular_group,
            "popular_object": popular_object,
            "popular_features": popular_features,
            "answer_cell": find(cells, unit * index.entities + answer),
            "answer_popular": find(popular, query_group[unit] * index.entities + answer),
        }

    def _relation(
        self, asked: Asked, truth: Asked | None, partners: Partners, subjects: np.ndarray
    ) -> dict[str, np.ndarray]:
        index = self.index
        code = lambda facts: facts.subject * index.entities + facts.object
        units, unit = np.unique(code(asked), return_inverse=True)
        partner = find(subjects[partners.owner] * index.entities + index.pair_object[partners.pair], units)
        bounds = np.searchsorted(partners.entry_neighbour, np.arange(len(partners.pair) + 1))
        met = np.flatnonzero(partner >= 0)
        evidence_query, evidence_entry = ranges(bounds[partner[met]], bounds[partner[met] + 1])
        true = None if truth is None else (code(truth), truth.relation)
        answers = _answers(unit, asked.relation, units, true, index.rel2)
        return {f"pair_{name}": values for name, values in answers.items()} | {
            "pair_subject": units // index.entities,
            "pair_object": units % index.entities,
            "pair_partner": partner,
            "evidence_query": met[evidence_query],
            "evidence_entry": evidence_entry,
        }


def _answers(
    unit: np.ndarray,
    answer: np.ndarray,
    units: np.ndarray,
    truth: tuple[np.ndarray, np.ndarray] | None,
    candidates: int,
) -> dict[str, np.ndarray]:
    """The answers of units, and all that is true of those; `truth`: (units by code, candidates), or None."""
    weight = np.ones(len(unit), np.float32)
    true_query = true = np.zeros(0, np.int64)
    if truth is None:
        code, number = np.unique(unit * candidates + answer, return_counts=True)
        unit, answer, weight = code // candidates, code % candidates, number.astype(np.float32)
    else:
        place = find(units, truth[0])
        code = np.unique(place[place >= 0] * candidates + truth[1][place >= 0])
        true_query, true = code // candidates, code % candidates
    names = ("answer_query", "answer", "answer_weight", "true_query", "true")
    return dict(zip(names, (unit, answer, weight, true_query, true)))


def natural_bucket(gathered: dict[str, np.ndarray]) -> EvidenceBucket:
    """The shape without padding."""
    return EvidenceBucket(tuple(len(gathered[names[0]]) for names in LENGTHS.values()))


def rounded_bucket(gathered: dict[str, np.ndarray]) -> EvidenceBucket:
    """The shape with every size rounded up to a power of two: for single questions, which then share a few shapes."""
    return EvidenceBucket(tuple(1 << max(size - 1, 7).bit_length() for size in natural_bucket(gathered).sizes))


def padded(gathered: dict[str, np.ndarray], bucket: EvidenceBucket) -> dict[str, np.ndarray]:
    """The arrays of a batch, padded to `bucket`: int32 and float32. `everybody` is among them where it was gathered."""
    put = {}
    for name, arrays in LENGTHS.items():
        size = bucket[name]
        for array in arrays:
            values = gathered[array]
            past = bucket[POINTS_INTO[array]] if array in POINTS_INTO else 0
            if array == "link_subject":
                past = len(gathered.get("everybody", ()))
            out = np.full((size, *values.shape[1:]), past, np.float32 if values.dtype.kind == "f" else np.int32)
            out[: len(values)] = np.where(values < 0, past, values) if array in POINTS_INTO else values
            put[array] = out
    if "everybody" in gathered:
        put["everybody"] = gathered["everybody"].astype(np.float32)
    return put


def on_device(gathered: dict[str, np.ndarray], bucket: EvidenceBucket) -> EvidenceBatch:
    """The batch, padded to `bucket`."""
    return assembled(jax.device_put(padded(gathered, bucket)))


def assembled(put: dict[str, Array]) -> EvidenceBatch:
    """The batch of the arrays that `padded` gives."""
    answers = lambda kind: Answers(
        answer_query=put[f"{kind}answer_query"],
        answer=put[f"{kind}answer"],
        answer_weight=put[f"{kind}answer_weight"],
        true_query=put[f"{kind}true_query"],
        true_candidate=put[f"{kind}true"],
    )
    same = lambda *names: {name: put[name] for name in names}
    return EvidenceBatch(
        neighbours=Neighbours(
            object=put["partner_object"],
            features=put["partner_features"],
            **same("entry_neighbour", "entry_relation", "entry_features"),
        ),
        entity=EvidenceEntityQueries(
            answers=answers(""),
            **same("subject", "relation", "activity", "cell_query", "cell_neighbour", "cell_popular"),
            **same("exact_cell", "exact_entry"),
            **same("group", "query_group", "popular_group", "popular_object", "popular_features"),
            **same("answer_cell", "answer_popular"),
        ),
        relation=EvidenceRelationQueries(
            subject=put["pair_subject"],
            object=put["pair_object"],
            neighbour=put["pair_partner"],
            answers=answers("pair_"),
            **same("evidence_query", "evidence_entry"),
        ),
        global_graph=None
        if "everybody" not in put
        else GlobalGraph(activity=put["everybody"], **same("link_subject", "link_object", "link_features")),
    )
