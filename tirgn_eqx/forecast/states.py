"""Models at one target: all that questions share is computed once, then each costs its own part alone."""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from tirgn_eqx.data.batches.evidence_queries import (
    LENGTHS,
    MOST_LINKS,
    Asked,
    EvidenceBucket,
    Gatherer,
    assembled,
    natural_bucket,
    padded,
)
from tirgn_eqx.data.batches.windows import WindowLoader
from tirgn_eqx.data.forecast_target import Outlook
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.evaluate.encoding import Encoder
from tirgn_eqx.evaluate.explain import Carried, carried
from tirgn_eqx.models import Evidence, Mixture, Model, RecurrentGraphModel, logits
from tirgn_eqx.runtime.compiling import Programs, compile_ahead
from tirgn_eqx.types import GlobalGraph, Queries

MOST_UNITS = 256  # questions at once
UNITS = (1, 16, MOST_UNITS)
# Sizes of the smallest padded shape of one question; every larger shape is four times the one before.
SMALLEST = {"partner": 32, "entry": 64, "cell": 32, "exact": 16, "popular": 256, "asked": 16}


@runtime_checkable
class State(Protocol):
    """A model at one target. Ids are arrays of up to `MOST_UNITS`; relations include inverse ones."""

    def entity(self, subject: np.ndarray, relation: np.ndarray) -> np.ndarray:
        """float32 `(question, entity)`: probability of every object of (subject, relation, ?)."""
        ...

    def relation(self, subject: np.ndarray, object: np.ndarray) -> np.ndarray:
        """float32 `(question, rel2)`: probability of every relation of (subject, ?, object)."""
        ...


def _padded(number: int) -> int:
    return next(size for size in UNITS if size >= number)


def _power(number: int, smallest: int) -> int:
    """`smallest`, times four as often as it takes to reach `number`."""
    size = smallest
    while size < number:
        size *= 4
    return size


class RecurrentState:
    """TiRGN or RE-GCN at one target: the encoder's state, and the history vocabulary."""

    def __init__(self, model: RecurrentGraphModel, outlook: Outlook, history_len: int, history_window: int):
        self.model, self.graph, self.known = model, outlook.graph, outlook.known
        self.history_window = history_window
        self.vocabulary = build_history_vocabulary(outlook.graph)
        windows = WindowLoader(outlook.graph, None, history_len=history_len)
        encoding, _ = Encoder(model, windows)(outlook.target, outlook.known)
        self.time_index = jnp.asarray(outlook.time_index)
        self.encoding = encoding.with_cache()
        self._programs = {kind: Programs(self._program(kind)) for kind in ("entity", "relation")}

    @staticmethod
    def _program(kind: Any) -> Any:
        def run(model: RecurrentGraphModel, encoding: Any, queries: Queries, time_index: Any) -> Any:
            raw, history, candidates, _ = model.decode(encoding, queries, time_index, model.buffers, kind=kind)
            seen = logits.in_history(queries, len(candidates))
            both = logits.log_probabilities(raw, history, candidates, seen, model.history_rate, model.history_mask)
            past = logits.log_probabilities(raw, history, candidates, seen, 1.0, model.history_mask)
            return jnp.exp(both), jnp.minimum(model.history_rate * jnp.exp(past - both), 1)

        return run

    def _run(self, kind: str, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(probabilities, the share of each that history mode gives)."""
        if kind == "entity":
            index, keys = self.vocabulary.entity, self.vocabulary.entity_keys(first, second)
        else:
            index, keys = self.vocabulary.relation, self.vocabulary.relation_keys(first, second)
        unit, candidate = index.lookup(keys, self.known, self.history_window)
        units, seen = _padded(len(first)), _power(len(unit), 64)
        pad = lambda x, size, past: np.concatenate([x, np.full(size - len(x), past)]).astype(np.int32)
        columns = pad(first, units, 0), pad(second, units, 0), pad(unit, seen, units), pad(candidate, seen, 0)
        queries = Queries.without_answers(*map(jnp.asarray, columns))
        found = self._programs[kind]((units, seen), self.model, self.encoding, queries, self.time_index)
        return np.asarray(found[0])[: len(first)], np.asarray(found[1])[: len(first)]

    def entity(self, subject: np.ndarray, relation: np.ndarray) -> np.ndarray:
        """float32 `(question, entity)`: probability of every object of (subject, relation, ?)."""
        return self._run("entity", subject, relation)[0]

    def relation(self, subject: np.ndarray, object: np.ndarray) -> np.ndarray:
        """float32 `(question, rel2)`: probability of every relation of (subject, ?, object)."""
        return self._run("relation", subject, object)[0]

    def with_history(self, subject: int, relation: int) -> tuple[np.ndarray, np.ndarray]:
        """float32 `(entity,)` each: the probabilities of one entity question, and the share that history mode gives."""
        probability, share = self._run("entity", np.array([subject]), np.array([relation]))
        return probability[0], share[0]


class EvidenceState:
    """Evidence, by itself or with a structure, at one target: the background's view of everybody, and the encoding."""

    def __init__(self, model: Evidence | Mixture, outlook: Outlook, index: EvidenceIndex, history_len: int):
        self.index, self.graph = index, outlook.graph
        self.known = index.known(outlook.target, outlook.known)
        part: Any = model
        self.at: Any = model
        if isinstance(model, Mixture):
            windows = WindowLoader(outlook.graph, None, history_len=history_len)
            encoding, _ = Encoder(model.structure, windows)(outlook.target, outlook.known)
            part, self.at = model.evidence, model.at(encoding.with_cache(), jnp.asarray(outlook.time_index))
        self.gatherer = Gatherer(index, **part.loader_options | {"background": False})
        self.settled = None
        if part.background is not None:
            everybody, *links = index.surroundings(self.known, MOST_LINKS)
            kinds = (jnp.int32, jnp.int32, jnp.float32)
            links = [jnp.asarray(values, kind) for values, kind in zip(links, kinds)]
            around = GlobalGraph(jnp.asarray(everybody, jnp.float32), *links)
            settle = compile_ahead(lambda model, around: model.cache_entities(around), part, around)
            self.settled = settle(part, around)
        shares = lambda intensity: intensity / jnp.sum(intensity, 1, keepdims=True)
        relations = lambda model, batch: model.relation_intensities(batch, model.background_logits(batch))
        self._entity = self._program(lambda model, batch: shares(model.entity_intensities(batch)))
        self._relation = self._program(lambda model, batch: shares(relations(model, batch)))
        self._carried = self._program(carried)

    def _batch(self, kind: str, subject: np.ndarray, other: np.ndarray) -> tuple[Any, Any, dict]:
        """(shape, arrays of the batch, gathered) of questions of one kind; `other`: relations, or objects."""
        none = np.zeros_like(other)
        asked = Asked(subject, *((other, none) if kind == "entity" else (none, other)))
        gathered = self.gatherer.gather(asked, self.known, kinds=(kind,))
        natural, units = natural_bucket(gathered), _padded(len(subject))
        # All sizes grow together: so there are a few shapes, and each is compiled once.
        times = max(_power(natural[name], least * units) // (least * units) for name, least in SMALLEST.items())
        sizes = {name: least * units * times for name, least in SMALLEST.items()}
        bucket = EvidenceBucket(tuple(sizes.get(name, 1 if name == "link" else units) for name in LENGTHS))
        return bucket, padded(gathered, bucket), gathered

    @staticmethod
    def _program(ask: Any) -> Programs:
        """`ask(model, batch)` of a batch in parts: its arrays, which go to the device with the call, at little cost,
        and the background's view of everybody, which lies there."""

        def run(model: Any, settled: Any, arrays: Any) -> Any:
            batch = assembled(arrays)
            return ask(model, eqx.tree_at(lambda b: b.global_graph, batch, settled, is_leaf=lambda x: x is None))

        return Programs(run)

    def entity(self, subject: np.ndarray, relation: np.ndarray) -> np.ndarray:
        """float32 `(question, entity)`: probability of every object of (subject, relation, ?)."""
        bucket, arrays, gathered = self._batch("entity", subject, relation)
        found = np.asarray(self._entity(bucket, self.at, self.settled, arrays))
        code = lambda s, r: s * self.index.rel2 + r
        # Equal questions were put together.
        return found[np.searchsorted(code(gathered["subject"], gathered["relation"]), code(subject, relation))]

    def relation(self, subject: np.ndarray, object: np.ndarray) -> np.ndarray:
        """float32 `(question, rel2)`: probability of every relation of (subject, ?, object)."""
        bucket, arrays, gathered = self._batch("relation", subject, object)
        found = np.asarray(self._relation(bucket, self.at, self.settled, arrays))
        code = lambda s, o: s * self.index.entities + o
        return found[np.searchsorted(code(gathered["pair_subject"], gathered["pair_object"]), code(subject, object))]

    def carried(self, subject: int, relation: int) -> tuple[Carried, dict[str, np.ndarray]]:
        """What carries every candidate of one entity question, and the evidence that was gathered for it."""
        one = lambda number: np.array([number], np.int64)
        bucket, arrays, gathered = self._batch("entity", one(subject), one(relation))
        found = self._carried(bucket, self.at, self.settled, arrays)
        return Carried(*(np.asarray(x, np.float64) for x in found)), gathered


def state_at(model: Model, outlook: Outlook, index: EvidenceIndex, history_len: int, history_window: int) -> State:
    """`model` at the target of `outlook`; `index`: of its graph."""
    if isinstance(model, RecurrentGraphModel):
        return RecurrentState(model, outlook, history_len, history_window)
    return EvidenceState(model, outlook, index, history_len)
