"""A model at one target: what all queries share is computed once, and each query then costs its own part alone."""
# Equinox's own annotations are partial.
# pyright: reportUnknownMemberType=false, reportUnknownLambdaType=false

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int64

from tirgn_eqx.data.batches.evidence_queries import (
    AXES,
    MAX_LINKS,
    EvidenceBucket,
    Gatherer,
    QueryFacts,
    assemble,
    natural_bucket,
    pad,
)
from tirgn_eqx.data.batches.loader import KINDS, Kind
from tirgn_eqx.data.batches.windows import WindowLoader
from tirgn_eqx.data.forecast_target import ForecastTarget
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.data.times import format_snapshot_time
from tirgn_eqx.evaluate.encoding import Encoder
from tirgn_eqx.evaluate.explain import IntensityParts, Share, explain_candidate, intensity_parts
from tirgn_eqx.evaluate.results import Document
from tirgn_eqx.models import Encoding, Evidence, Mixture, MixtureAtTarget, Model, RecurrentGraphModel, logits
from tirgn_eqx.runtime.compiling import CompileCache, compile_ahead
from tirgn_eqx.types import EntityCache, EvidenceBatch, GlobalGraph, Queries

Ids = Int64[np.ndarray, " query"]
ResultT = TypeVar("ResultT")
MAX_QUERIES = 256  # that are forecast at once
# Every padded number of queries is compiled once, so there are few of them.
PADDED_QUERIES = (1, 16, MAX_QUERIES)
# Sizes of the smallest padded shape of one query; every larger shape is four times the one before.
SMALLEST = {"neighbour": 32, "entry": 64, "cell": 32, "exact": 16, "popular": 256, "evidence": 16}


class HistoryExplanation(Document):
    """What a recurrent graph model's forecast of a candidate rests on: how many `events` of the same subject, relation
    and object there were, when the `last` was, and the share of the probability that history mode gives."""

    events: int
    last: int | str | None = None
    from_history: float


class EvidenceExplanation(Document):
    """What the intensity of a candidate consists of, largest share first; see `Share`."""

    shares: list[Share]


def _pad_queries(number: int) -> int:
    return next(size for size in PADDED_QUERIES if size >= number)


def _pad_by_four(number: int, smallest: int) -> int:
    """`smallest` times the least power of four that reaches `number`."""
    size = smallest
    while size < number:
        size *= 4
    return size


class RecurrentState:
    """A recurrent graph model at one target: the encoder's state, and the history vocabulary.

    Arguments of queries are ids of up to `MAX_QUERIES` queries; relations include inverse ones.
    """

    def __init__(
        self,
        model: RecurrentGraphModel,
        target: ForecastTarget,
        index: EvidenceIndex,
        history_len: int,
        history_window: int,
    ):
        self.model, self.index, self.history_end, self.history_window = model, index, target.history_end, history_window
        self.vocabulary = build_history_vocabulary(target.graph)
        windows = WindowLoader(target.graph, None, history_len=history_len)
        encoding, _ = Encoder(model, windows)(target.target, target.history_end)
        self.time_index = jnp.asarray(target.time_index)
        self.encoding = encoding.with_cache()
        self._decode = {kind: CompileCache(self._decoder(kind)) for kind in KINDS}

    @staticmethod
    def _decoder(kind: Kind) -> Callable[..., tuple[Array, Array]]:
        def decode(
            model: RecurrentGraphModel, encoding: Encoding, queries: Queries, time_index: Array
        ) -> tuple[Array, Array]:
            raw, history, candidates, _ = model.decode(encoding, queries, time_index, model.buffers, kind=kind)
            in_history = logits.in_history(queries, len(candidates))
            both = logits.log_probabilities(
                raw, history, candidates, in_history, model.history_rate, model.history_mask
            )
            past = logits.log_probabilities(raw, history, candidates, in_history, 1.0, model.history_mask)
            # A quotient of probabilities that may both underflow, so it is taken of their logs; rounding may pass 1.
            return jnp.exp(both), jnp.minimum(model.history_rate * jnp.exp(past - both), 1)

        return decode

    def _run(self, kind: Kind, first: Ids, second: Ids) -> tuple[np.ndarray, np.ndarray]:
        """(probabilities, the share of each that history mode gives)."""
        if kind == "entity":
            index, keys = self.vocabulary.entity, self.vocabulary.entity_keys(first, second)
        else:
            index, keys = self.vocabulary.relation, self.vocabulary.relation_keys(first, second)
        query, candidate = index.lookup(keys, self.history_end, self.history_window)
        count, size = _pad_queries(len(first)), _pad_by_four(len(query), 64)
        # Padded history pairs belong to query `count`, one past the last, which scatters drop.
        columns = [(first, count, 0), (second, count, 0), (query, size, count), (candidate, size, 0)]
        padded = (np.concatenate([x, np.full(length - len(x), past)]).astype(np.int32) for x, length, past in columns)
        queries = Queries.without_answers(*map(jnp.asarray, padded))
        found = self._decode[kind]((count, size), self.model, self.encoding, queries, self.time_index)
        return np.asarray(found[0])[: len(first)], np.asarray(found[1])[: len(first)]

    def entity(self, subject: Ids, relation: Ids) -> Float32[np.ndarray, "query entity"]:
        """The probability of every object of (subject, relation, ?)."""
        return self._run("entity", subject, relation)[0]

    def relation(self, subject: Ids, object: Ids) -> Float32[np.ndarray, "query rel2"]:
        """The probability of every relation of (subject, ?, object)."""
        return self._run("relation", subject, object)[0]

    def explained(self, subject: int, relation: int) -> tuple[np.ndarray, Callable[[int], HistoryExplanation]]:
        """The probability of every object of one entity query, `(entity,)`, and what explains a candidate."""
        probability, from_history = self._run("entity", np.array([subject]), np.array([relation]))
        triple = self.index.triple

        def explain(candidate: int) -> HistoryExplanation:
            share = float(from_history[0, candidate])
            key = np.array([(subject * self.index.entities + candidate) * self.index.rel2 + relation])
            row = triple.last(triple.group(key), self.history_end)[0]
            if row < 0:
                return HistoryExplanation(events=0, from_history=share)
            last = format_snapshot_time(self.index.graph, int(triple.occurrence[row] % self.index.graph.num_snapshots))
            return HistoryExplanation(events=int(triple.events[row]), last=last, from_history=share)

        return probability[0], explain


class EvidenceState:
    """An evidence model, alone or in a mixture, at one target: the cached states of all entities, and the encoding."""

    def __init__(self, model: Evidence | Mixture, target: ForecastTarget, index: EvidenceIndex, history_len: int):
        self.index, self.target = index, target.target
        self.cutoff = index.cutoff(target.target, target.history_end)
        self.model_at_target: Evidence | MixtureAtTarget
        if isinstance(model, Mixture):
            windows = WindowLoader(target.graph, None, history_len=history_len)
            encoding, _ = Encoder(model.structure, windows)(target.target, target.history_end)
            evidence = model.evidence
            self.model_at_target = model.at(encoding.with_cache(), jnp.asarray(target.time_index))
        else:
            evidence = self.model_at_target = model
        self.gatherer = Gatherer(index, evidence.max_partners, evidence.context, background=False)
        # The background of all entities is computed here once, instead of gathering the links with every batch.
        self._entity_cache: EntityCache | None = None
        if evidence.background is not None:
            activity, *links = index.global_graph(self.cutoff, MAX_LINKS)
            kinds = (jnp.int32, jnp.int32, jnp.float32)
            links = [jnp.asarray(values, kind) for values, kind in zip(links, kinds)]
            graph = GlobalGraph(jnp.asarray(activity, jnp.float32), *links)

            def cache_entities(model: Evidence, graph: GlobalGraph) -> EntityCache:
                return model.cache_entities(graph)

            self._entity_cache = compile_ahead(cache_entities, evidence, graph)(evidence, graph)
        self._entity, self._relation = _on_batch(_entity_shares), _on_batch(_relation_shares)
        self._parts = _on_batch(intensity_parts)

    def _batch(
        self, kind: Kind, subject: Ids, other: Ids
    ) -> tuple[EvidenceBucket, dict[str, np.ndarray], dict[str, np.ndarray]]:
        """(shape, arrays of the batch, gathered) of queries of one kind; `other`: relations, or objects."""
        # Stands for the part that is predicted: these become the answers of the batch, which no probability reads.
        none = np.zeros_like(other)
        facts = QueryFacts(subject, *((other, none) if kind == "entity" else (none, other)))
        gathered = self.gatherer.gather(facts, self.cutoff, kinds=(kind,))
        natural, count = natural_bucket(gathered), _pad_queries(len(subject))
        # All sizes grow together, so that there are few shapes; each is compiled once.
        times = max(_pad_by_four(natural[name], least * count) // (least * count) for name, least in SMALLEST.items())
        sizes = {name: least * count * times for name, least in SMALLEST.items()}
        bucket = EvidenceBucket(tuple(sizes.get(name, 1 if name == "link" else count) for name in AXES))
        return bucket, pad(gathered, bucket), gathered

    def entity(self, subject: Ids, relation: Ids) -> Float32[np.ndarray, "query entity"]:
        """As `RecurrentState.entity`."""
        bucket, arrays, gathered = self._batch("entity", subject, relation)
        found = np.asarray(self._entity(bucket, self.model_at_target, self._entity_cache, arrays))
        # Gathering has merged equal queries.
        keys = gathered["subject"] * self.index.rel2 + gathered["relation"]
        return found[np.searchsorted(keys, subject * self.index.rel2 + relation)]

    def relation(self, subject: Ids, object: Ids) -> Float32[np.ndarray, "query rel2"]:
        """As `RecurrentState.relation`."""
        bucket, arrays, gathered = self._batch("relation", subject, object)
        found = np.asarray(self._relation(bucket, self.model_at_target, self._entity_cache, arrays))
        keys = gathered["relation_subject"] * self.index.entities + gathered["relation_object"]
        return found[np.searchsorted(keys, subject * self.index.entities + object)]

    def explained(self, subject: int, relation: int) -> tuple[np.ndarray, Callable[[int], EvidenceExplanation]]:
        """As `RecurrentState.explained`."""
        bucket, arrays, gathered = self._batch("entity", *(np.array([x], np.int64) for x in (subject, relation)))
        found = self._parts(bucket, self.model_at_target, self._entity_cache, arrays)
        # Shares are ratios and differences of the parts, so they are computed in f64.
        parts = IntensityParts(*(np.asarray(x, np.float64) for x in found))

        def explain(candidate: int) -> EvidenceExplanation:
            fact = (subject, relation, candidate)
            explanation = explain_candidate(self.index, self.cutoff, fact, self.target, parts, gathered)
            return EvidenceExplanation(shares=explanation.shares)

        return np.asarray(parts.intensity / parts.intensity.sum()), explain


def _entity_shares(model: Evidence | MixtureAtTarget, batch: EvidenceBatch) -> Float[Array, "query entity"]:
    intensity = model.entity_intensities(batch)
    return intensity / jnp.sum(intensity, 1, keepdims=True)


def _relation_shares(model: Evidence | MixtureAtTarget, batch: EvidenceBatch) -> Float[Array, "query rel2"]:
    intensity = model.relation_intensities(batch, model.background_logits(batch))
    return intensity / jnp.sum(intensity, 1, keepdims=True)


def _on_batch(function: Callable[[Evidence | MixtureAtTarget, EvidenceBatch], ResultT]) -> CompileCache[ResultT]:
    """`function(model, batch)` of a batch in parts: arrays that travel to the device with the call, which is cheap, and
    the cached states of all entities, which are there already."""

    def run(model: Evidence | MixtureAtTarget, entity_cache: EntityCache | None, arrays: dict[str, Array]) -> ResultT:
        batch = assemble(arrays)
        # The batch was assembled without a global graph; None must count as a leaf to be replaced by the cached one.
        return function(model, eqx.tree_at(lambda b: b.global_graph, batch, entity_cache, is_leaf=lambda x: x is None))

    return CompileCache(run)


State = RecurrentState | EvidenceState


def state_at(
    model: Model, target: ForecastTarget, index: EvidenceIndex, history_len: int, history_window: int
) -> State:
    """`model` at a target; `index`: of the target's graph; `history_len`, `history_window`: as trained."""
    if isinstance(model, RecurrentGraphModel):
        return RecurrentState(model, target, index, history_len, history_window)
    return EvidenceState(model, target, index, history_len)


def with_temperature(
    probability: Float[np.ndarray, "query candidate"], temperature: float
) -> Float[np.ndarray, "query candidate"]:
    """p^(1 / temperature), normalised in every row."""
    if temperature == 1.0 or probability.size == 0:
        return probability
    # A probability may have underflowed to 0 in f32; the floor keeps its logarithm finite.
    log_p = np.log(np.maximum(probability.astype(np.float64), 1e-300)) / temperature
    # Without the maximum, a low temperature would let all of a row underflow.
    found = np.exp(log_p - log_p.max(1, keepdims=True))
    return found / found.sum(1, keepdims=True)
