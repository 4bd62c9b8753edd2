"""How often each rule applies in a split, how often it is right, and what an evidence model has learnt to make of it.

A rule says that one thing speaks for another: a past triple (s, q, o), last seen so many steps ago, for the fact
(s, r, o). It applies to a candidate of a query when the candidate has such evidence, and is right when the candidate is
an answer. Both directions of queries count: (s, r, ?) with the past triple (s, q, o), and (?, r, o) likewise.
"""
# JAX's own annotations are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int64

from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader, EvidenceOptions
from tirgn_eqx.data.batches.evidence_queries import build_batch
from tirgn_eqx.data.batches.windows import WindowLoader
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.evidence import EvidenceIndex, plain_ages
from tirgn_eqx.data.index.occurrences import find, ranges
from tirgn_eqx.evaluate.encoding import model_at
from tirgn_eqx.evaluate.results import evaluated_snapshots
from tirgn_eqx.evaluate.rule_codes import EVENT, NUM_KINDS, POPULAR_OBJECT, POPULAR_SUBJECT, RuleCodes
from tirgn_eqx.models import Evidence, Mixture, MixtureAtTarget
from tirgn_eqx.models.entries import EntryFactors
from tirgn_eqx.models.evidence import EvidenceLoaderOptions
from tirgn_eqx.runtime.compiling import CompileCache
from tirgn_eqx.types import EvidenceBatch

BATCH_QUERIES = 2048
CHUNK = 2**18  # applications that are looked at in one go
MAX_PENDING = 2**21  # rows of a tally before they are summed

Gathered = dict[str, np.ndarray]


@dataclass(frozen=True)
class RuleCounts:
    """The rules that apply in a split, by ascending code.

    - `support`: (query, candidate) that each applies to; `came`: those of which the candidate was an answer.
    - `mass`: float64, the probability that a model gives its candidates by each rule, summed; 0 without a model.
    - `base_support`, `base_came`: int64 `(relation, kind)`: candidates of the queries about a relation that have any
      evidence of the kind, and those that were answers.
    - `queries`, `answers`: int64 `(relation,)`, of both directions.
    """

    codes: RuleCodes
    code: Int64[np.ndarray, " rule"]
    support: Int64[np.ndarray, " rule"]
    came: Int64[np.ndarray, " rule"]
    mass: Float[np.ndarray, " rule"]
    base_support: Int64[np.ndarray, "relation kind"]
    base_came: Int64[np.ndarray, "relation kind"]
    queries: Int64[np.ndarray, " relation"]
    answers: Int64[np.ndarray, " relation"]


class RuleCoverage(NamedTuple):
    """What a set of rules says of a split: the (query, candidate) that any of them applies to, the answers among
    these, and all answers and queries."""

    named: int
    covered: int
    answers: int
    queries: int


class _HostFactors(NamedTuple):
    """`EntryFactors` on the host, in the padded sizes of the batch."""

    head: Float[np.ndarray, "entry head"]
    head_weight: Float[np.ndarray, "query head"]
    exact: Float[np.ndarray, " exact"]
    factor: Float[np.ndarray, " cell"]
    popular: Float[np.ndarray, " popular"]
    scale: Float[np.ndarray, " query"]
    total: Float[np.ndarray, " query"]


class _Tally:
    """Sums by rule, of rows that come batch by batch."""

    def __init__(self) -> None:
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []
        self._pending = 0

    def add(self, code: np.ndarray, *columns: np.ndarray) -> None:
        """Add one row for each of `code`: its columns."""
        unique, place = np.unique(code, return_inverse=True)
        sums = np.stack([np.bincount(place, column, len(unique)) for column in columns], 1)
        self._rows.append((unique, sums))
        self._pending += len(unique)
        if self._pending > MAX_PENDING:
            self._rows = [self.total()]
            self._pending = len(self._rows[0][0])

    def total(self) -> tuple[np.ndarray, np.ndarray]:
        """(code, ascending; the sums of its columns, float64)."""
        code, place = np.unique(np.concatenate([rows for rows, _ in self._rows]), return_inverse=True)
        out = np.zeros((len(code), self._rows[0][1].shape[1]))
        np.add.at(out, place, np.concatenate([sums for _, sums in self._rows]))
        return code, out


def count_rules(
    graph: TemporalGraph,
    split: Literal["valid", "test"],
    index: EvidenceIndex | None = None,
    *,
    max_partners: int = 0,
    model: Evidence | Mixture | None = None,
    history_len: int = 0,
) -> RuleCounts:
    """Count the rules of a split, single-step, and sum what `model` makes of each.

    The probability that a past event gives its candidate is the intensity that the model adds for it, divided by the
    intensity of all candidates of the query.

    **Arguments:** `index`: of the same graph, built here unless given; `max_partners`: of the model whose rules are
    counted; `model`: None leaves `mass` at 0; `history_len`: of the structure in a mixture, as trained.

    **Raises:** DataError where no snapshot of the split has a past.
    """
    evidence = model.evidence if isinstance(model, Mixture) else model
    loader = _loader(graph, split, index, max_partners, evidence)
    factors_of = None if model is None else _Factors(model, loader, history_len)
    codes, tally, relations = RuleCodes(graph.num_relations), _Tally(), graph.num_relations
    base_support, base_came = (np.zeros((relations, NUM_KINDS), np.int64) for _ in range(2))
    queries, answers = (np.zeros(relations, np.int64) for _ in range(2))
    for item in loader.items.tolist():
        target, _, found = loader.gather(item, kinds=("entity",))
        factors = None if factors_of is None else factors_of(item, target, found)
        relation = found["relation"] % relations
        came = _cells_that_came(found, graph.num_entities)
        for cell, entry, code in _event_rules(codes, found):
            mass = np.zeros(len(cell)) if factors is None else _entry_mass(factors, found, cell, entry)
            tally.add(code, np.ones(len(cell)), came[cell], mass)
        of_cell = relation[found["cell_query"]]
        base_support[:, EVENT] += np.bincount(of_cell, minlength=relations)
        base_came[:, EVENT] += np.bincount(of_cell[came], minlength=relations)
        # Queries with the same relation share their popular objects.
        group = found["group"][found["popular_group"]]
        shared = np.bincount(found["query_group"], minlength=len(found["group"]))[found["popular_group"]]
        right = _popular_that_came(found, graph.num_entities)
        mass = np.zeros(len(group)) if factors is None else _popular_mass(factors, found)
        tally.add(codes.of_popular(group, plain_ages(found["popular_features"])), shared, right, mass)
        kind = np.where(group >= relations, POPULAR_SUBJECT, POPULAR_OBJECT)
        np.add.at(base_support, (group % relations, kind), shared)
        np.add.at(base_came, (group % relations, kind), right)
        queries += np.bincount(relation, minlength=relations)
        answered, _ = _answers(found)
        answers += np.bincount(relation[answered], minlength=relations)
    code, sums = tally.total()
    support, came, mass = sums.T
    return RuleCounts(
        codes, code, support.astype(np.int64), came.astype(np.int64), mass, base_support, base_came, queries, answers
    )


def rule_coverage(
    graph: TemporalGraph,
    split: Literal["valid", "test"],
    code: Int64[np.ndarray, " rule"],
    index: EvidenceIndex | None = None,
    *,
    max_partners: int = 0,
    relation: int | None = None,
) -> RuleCoverage:
    """What the rules with these codes say together of the queries of a split, single-step.

    **Arguments:** `code`: in any order; `index`, `max_partners`: as of `count_rules`; `relation`: only queries about
    this one, in both directions.

    **Raises:** DataError where no snapshot of the split has a past.
    """
    loader, entities = _loader(graph, split, index, max_partners, None), graph.num_entities
    codes, wanted = RuleCodes(graph.num_relations), np.sort(code)
    named = covered = answers = queries = 0
    for item in loader.items.tolist():
        _, _, found = loader.gather(item, kinds=("entity",))
        objects = found["neighbour_object"][found["cell_neighbour"]]
        candidates: list[np.ndarray] = []  # as numbers: query * entities + candidate
        for cell, _, of_cell in _event_rules(codes, found):
            cell = cell[find(wanted, of_cell) >= 0]
            candidates.append(found["cell_query"][cell] * entities + objects[cell])
        group = found["group"][found["popular_group"]]
        popular = np.flatnonzero(find(wanted, codes.of_popular(group, plain_ages(found["popular_features"]))) >= 0)
        # Popular objects are in order of their group, so each query names a run of those that were found.
        of_popular, query_group = found["popular_group"][popular], found["query_group"]
        query, place = ranges(*(np.searchsorted(of_popular, query_group, side) for side in ("left", "right")))
        candidates.append(query * entities + found["popular_object"][popular][place])
        asked = np.ones(len(found["relation"]), bool)
        if relation is not None:
            asked = found["relation"] % graph.num_relations == relation
        union = np.unique(np.concatenate(candidates))
        union = union[asked[union // entities]]
        query, answer = _answers(found)
        query, answer = query[asked[query]], answer[asked[query]]
        named += len(union)
        covered += int((find(union, query * entities + answer) >= 0).sum())
        answers += len(query)
        queries += int(asked.sum())
    return RuleCoverage(named, covered, answers, queries)


def _loader(
    graph: TemporalGraph,
    split: Literal["valid", "test"],
    index: EvidenceIndex | None,
    max_partners: int,
    evidence: Evidence | None,
) -> EvidenceLoader:
    # Only a model reads context and background; counting needs neither.
    features: EvidenceLoaderOptions = {"context": False, "background": False, "max_partners": max_partners}
    if evidence is not None:
        features = evidence.loader_options
    options = EvidenceOptions(batch_size=BATCH_QUERIES, with_truth=True, **features)
    # Without a snapshot that has a past, no rule applies.
    evaluated_snapshots(graph, split)
    return EvidenceLoader(graph, index or EvidenceIndex(graph), split, options)


class _Factors:
    """What a model makes of the evidence of a batch, computed on the device."""

    def __init__(self, model: Evidence | Mixture, loader: EvidenceLoader, history_len: int):
        graph, self._loader = loader.graph, loader
        mixture = isinstance(model, Mixture)
        self._model_at = model_at(model, WindowLoader(graph, None, history_len=history_len) if mixture else None)
        self._factors = CompileCache(_factors)

    def __call__(self, item: int, target: int, found: Gathered) -> _HostFactors:
        bucket = self._loader.buckets[self._loader.bucket_of[item]]
        # As an evaluation computes probabilities: some GPUs round f32 products to 10 bits by default.
        with jax.default_matmul_precision("highest"):
            factors = self._factors(bucket, self._model_at(target, None), build_batch(found, bucket))
        return _HostFactors(*(np.asarray(x, np.float32) for x in factors))


def _factors(model: Evidence | MixtureAtTarget, batch: EvidenceBatch) -> EntryFactors:
    return model.entry_factors(batch)


def _event_rules(codes: RuleCodes, found: Gathered) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(cell, entry, code) of every past triple of every candidate, some candidates at a time."""
    neighbour, age = found["cell_neighbour"], plain_ages(found["entry_features"])
    bounds = np.searchsorted(found["entry_neighbour"], np.arange(len(found["neighbour_object"]) + 1))
    low, high = bounds[neighbour], bounds[neighbour + 1]
    until, begin = np.cumsum(high - low), 0
    while begin < len(neighbour):
        limit = int(until[begin] - high[begin] + low[begin]) + CHUNK
        # At least one candidate, however many past triples it has.
        end = max(begin + 1, int(np.searchsorted(until, limit, "right")))
        cell, entry = ranges(low[begin:end], high[begin:end])
        relation = found["relation"][found["cell_query"][cell + begin]]
        yield cell + begin, entry, codes.of_events(relation, found["entry_relation"][entry], age[entry])
        begin = end


def _entry_mass(
    factors: _HostFactors, found: Gathered, cell: np.ndarray, entry: np.ndarray
) -> Float[np.ndarray, " application"]:
    """The probability that each entry gives the candidate of its cell; see `EntryFactors`."""
    query, number = found["cell_query"][cell], len(found["entry_relation"])
    intensity = np.einsum("nh,nh->n", factors.head_weight[query], factors.head[entry])
    # Cells ascend in `exact_cell`, and so do these numbers, as `find` needs it.
    place = find(found["exact_cell"] * number + found["exact_entry"], cell * number + entry)
    intensity[place >= 0] += factors.exact[place[place >= 0]]
    return intensity * factors.factor[cell] / factors.total[query]


def _popular_mass(factors: _HostFactors, found: Gathered) -> Float[np.ndarray, " popular"]:
    """The probability that each popular object gets for being one, summed over the queries of its relation."""
    number = len(found["query_group"])
    scale = np.bincount(found["query_group"], factors.scale[:number] / factors.total[:number])
    return factors.popular[: len(found["popular_group"])] * scale[found["popular_group"]]


def _cells_that_came(found: Gathered, entities: int) -> Bool[np.ndarray, " cell"]:
    """Whether the candidate of each cell is true."""
    cells = found["cell_query"] * entities + found["neighbour_object"][found["cell_neighbour"]]
    return find(found["true_query"] * entities + found["true_candidate"], cells) >= 0


def _popular_that_came(found: Gathered, entities: int) -> Int64[np.ndarray, " popular"]:
    """For how many queries of its relation each popular object is true."""
    popular = found["popular_group"] * entities + found["popular_object"]
    place = find(popular, found["query_group"][found["true_query"]] * entities + found["true_candidate"])
    return np.bincount(place[place >= 0], minlength=len(popular))


def _answers(found: Gathered) -> tuple[np.ndarray, np.ndarray]:
    """(query, answer), each once."""
    both = np.unique(np.stack([found["answer_query"], found["answer"]], 1), axis=0)
    return both[:, 0], both[:, 1]
