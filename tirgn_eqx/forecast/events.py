"""`EventForecaster`: which facts will come, how probable they are, and how that compares with what is usual."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int64

from tirgn_eqx.checkpoint.models import load_event_model
from tirgn_eqx.config import EventTrainingConfig
from tirgn_eqx.data.clock import Metadata
from tirgn_eqx.data.forecast_target import make_forecast_target
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.data.times import format_snapshot_time, parse_snapshot_time
from tirgn_eqx.data.vocabulary import match_checkpoint
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.evaluate.event_rates import RatesForecaster
from tirgn_eqx.evaluate.results import Document
from tirgn_eqx.forecast.history import check_vocabulary, load_history
from tirgn_eqx.forecast.names import Names
from tirgn_eqx.forecast.states import MAX_QUERIES, State, state_at
from tirgn_eqx.models import EventModel

MAX_PAIRS = 512  # of those with novel facts, the most active, whose objects are looked at one by one
REASONS = 3
LEAST_PROBABILITY = 0.01  # of facts that are sorted by lift: rarer ones have any lift
SMOOTHING = 0.1  # events that every object is taken to have had with a relation, where no model ranks objects


class PastEvents(Document):
    """Past events of two entities under one relation: how often, and when last."""

    subject: str
    relation: str
    object: str
    events: int
    last: int | str


class EventForecast(Document):
    """A fact by name that may come within a horizon.

    - `probability`: that it comes at least once; `expected`: how often.
    - `usual`: how often it came in as many steps so far, None for a fact that never did; `lift`: `expected` over
      `usual`.
    - `because`: the past events of the two, those under the same relation first.
    """

    subject: str
    relation: str
    object: str
    probability: float
    expected: float
    usual: float | None = None
    lift: float | None = None
    because: list[PastEvents] = []


@dataclass
class _Found:
    """Facts by id with their expected numbers and probabilities, `(row,)` each."""

    subject: Int64[np.ndarray, " row"]
    relation: Int64[np.ndarray, " row"]
    object: Int64[np.ndarray, " row"]
    expected: Float[np.ndarray, " row"]
    probability: Float[np.ndarray, " row"]
    usual: Float[np.ndarray, " row"] = field(init=False)


class EventForecaster:
    """Forecasts which facts come, from one target time on, from all that is known before it.

    **Arguments:** as of `Forecaster`.

    **Example:**

        forecaster = EventForecaster.load("models/events/tirgn_best.npz")
        for fact in forecaster.events(20, horizon=7):
            print(fact.subject, fact.relation, fact.object, fact.probability)
    """

    def __init__(
        self,
        model: EventModel,
        config: EventTrainingConfig,
        graph: TemporalGraph,
        *,
        at: str | int | None = None,
        metadata: Metadata | None = None,
    ):
        graph = graph if metadata is None else match_checkpoint(graph, metadata, "the model")
        check_vocabulary(model, graph)
        time = None if at is None else parse_snapshot_time(graph, at)
        self.names, self.target = Names(graph), make_forecast_target(graph, time)
        self.graph, self.index = self.target.graph, ActivityIndex(self.target.graph)
        self.rates = RatesForecaster(model.rates, self.index, (1,), self.target.history_end)
        self.state: State | None = None
        if model.base is not None:
            self.state = state_at(model.base, self.target, EvidenceIndex(self.target.graph), **config.window())

    @classmethod
    def load(
        cls, checkpoint: str | Path, data_path: str | None = None, *, at: str | int | None = None, **load: Any
    ) -> "EventForecaster":
        """The event forecaster of a checkpoint; arguments and errors as of `Forecaster.load`."""
        model, config, metadata = load_event_model(checkpoint)
        graph = load_history(checkpoint, metadata, data_path, load)
        return cls(model, config, graph, at=at)

    @property
    def time(self) -> int | str:
        """The first time that is forecast."""
        return format_snapshot_time(self.graph, self.target.target)

    def events(
        self,
        number: int = 20,
        *,
        horizon: int = 1,
        subject: str | None = None,
        relation: str | None = None,
        object: str | None = None,
        by: Literal["probability", "lift"] = "probability",
    ) -> list[EventForecast]:
        """The `number` most probable facts within `horizon` steps, or those with the highest lift among the facts with
        a probability of at least 1 %.

        **Arguments:** names, of which each that is given must be that of the fact.

        **Raises:** DataError for a name that is not known; ConfigError for a horizon below 1.
        """
        if horizon < 1:
            raise ConfigError(f"horizon = {horizon}: must be at least 1")
        wanted = (
            None if subject is None else self.names.entity(subject),
            None if relation is None else self.names.relation(relation),
            None if object is None else self.names.entity(object),
        )
        found = [self._known(wanted, horizon), self._novel(wanted, horizon)]
        columns = ("subject", "relation", "object", "expected", "probability")
        joined = _Found(*(np.concatenate([getattr(one, name) for one in found]) for name in columns))
        joined.usual = self._usual(joined, horizon)
        key = joined.probability
        if by == "lift":
            known = (joined.usual > 0) & (joined.probability >= LEAST_PROBABILITY)
            key = np.where(known, joined.expected / np.where(known, joined.usual, 1), -np.inf)
        order = np.lexsort((joined.object, joined.relation, joined.subject, -key))[:number]
        return [self._named(joined, row) for row in order.tolist() if np.isfinite(key[row])]

    def _known(self, wanted: tuple[int | None, ...], horizon: int) -> _Found:
        facts = self.index.known_facts(self.target.history_end)
        ids = self.index.parts(facts)
        chosen = np.ones(len(facts), bool)
        for part, one in zip(ids, wanted):
            chosen &= True if one is None else part == one
        found = self.rates.known(facts[chosen], self.target.target, (horizon,))
        s, r, o = (part[chosen] for part in ids)
        return _Found(s, r, o, found.mean[:, 0], found.probability[:, 0])

    def _novel(self, wanted: tuple[int | None, ...], horizon: int) -> _Found:
        """Facts of known pairs with objects that are new to them: the expected number of the pair, divided by who the
        object would be."""
        subject, relation, object_ = wanted
        pairs = self.index.known_pairs(self.target.history_end)
        s, r = np.divmod(self.index.pair.key[pairs], self.index.relations)
        chosen = np.ones(len(pairs), bool)
        chosen &= True if subject is None else s == subject
        chosen &= True if relation is None else r == relation
        pairs, s, r = pairs[chosen], s[chosen], r[chosen]
        expected = self.rates.novel(pairs, self.target.target, (horizon,)).mean[:, 0]
        best = np.argsort(-expected, kind="stable")[:MAX_PAIRS]
        pairs, s, r, expected = pairs[best], s[best], r[best], expected[best]
        parts = [np.zeros(0, np.int64)] * 3 + [np.zeros(0)] * 2
        rows: list[list[np.ndarray]] = [parts]
        for begin in range(0, len(pairs), MAX_QUERIES):
            chunk = slice(begin, begin + MAX_QUERIES)
            share = self._objects(s[chunk], r[chunk])
            mean = share * expected[chunk][:, None]
            candidates = np.arange(self.index.entities) if object_ is None else np.array([object_])
            mean = mean[:, candidates]
            query, place = np.nonzero(mean > 0)
            number = mean[query, place]
            rows.append([s[chunk][query], r[chunk][query], candidates[place], number, -np.expm1(-number)])
        return _Found(*(np.concatenate(column) for column in zip(*rows)))

    def _objects(self, subject: np.ndarray, relation: np.ndarray) -> Float[np.ndarray, "query entity"]:
        """The share of every object that is new to its pair; each row sums to 1."""
        index, every = self.index, np.arange(self.index.entities)
        if self.state is not None:
            share = self.state.entity(subject, relation).astype(np.float64)
        else:
            key = relation[:, None] * index.entities + every
            row = index.popular.last(index.popular.group(key), self.target.history_end)
            share = np.where(row >= 0, index.popular.events[np.maximum(row, 0)], 0) + SMOOTHING
        key = (subject * index.relations + relation)[:, None] * index.entities + every
        known = index.fact.last(index.fact.group(key), self.target.history_end) >= 0
        share = np.where(known, 0, share)
        return share / np.maximum(share.sum(1, keepdims=True), 1e-300)

    def _usual(self, found: _Found, horizon: int) -> Float[np.ndarray, " row"]:
        """How often each fact came so far in as many steps as the horizon has."""
        index, end = self.index, self.target.history_end
        row = index.fact.last(
            index.fact.group((found.subject * index.relations + found.relation) * index.entities + found.object), end
        )
        events = np.where(row >= 0, index.fact.events[np.maximum(row, 0)], 0)
        return events.astype(np.float64) * horizon / max(float(index.clock[end]), 1.0)

    def _named(self, found: _Found, row: int) -> EventForecast:
        s, r, o = int(found.subject[row]), int(found.relation[row]), int(found.object[row])
        expected, usual = float(found.expected[row]), float(found.usual[row])
        return EventForecast(
            subject=self.names.entities[s],
            relation=self.names.relations[r],
            object=self.names.entities[o],
            probability=float(found.probability[row]),
            expected=expected,
            usual=usual or None,
            lift=expected / usual if usual else None,
            because=self._past(s, r, o),
        )

    def _past(self, s: int, r: int, o: int) -> list[PastEvents]:
        """The past events of two entities by relation: the same fact, then the latest others, in either direction."""
        index, found = self.index, list[tuple[bool, int, PastEvents]]()
        for first, second in ((s, o), (o, s)):
            groups = index.fact.group((first * index.relations + np.arange(index.relations)) * index.entities + second)
            rows = index.fact.last(groups, self.target.history_end)
            for relation in np.flatnonzero(rows >= 0).tolist():
                snapshot = int(index.fact.occurrence[rows[relation]] % len(index.clock))
                past = PastEvents(
                    subject=self.names.entities[first],
                    relation=self.names.relations[relation],
                    object=self.names.entities[second],
                    events=int(index.fact.events[rows[relation]]),
                    last=format_snapshot_time(self.graph, snapshot),
                )
                found.append(((first, relation) == (s, r), snapshot, past))
        found.sort(key=lambda one: (not one[0], -one[1], one[2].relation))
        return [past for _, _, past in found[:REASONS]]
