"""`EventForecaster`: which facts will come, how probable they are, and how that compares with what is usual."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, Int64

from tirgn_eqx.checkpoint.event_figures import EventTestSummary, read_event_figures
from tirgn_eqx.checkpoint.models import load_event_model
from tirgn_eqx.config import EventTrainingConfig
from tirgn_eqx.data.clock import Metadata
from tirgn_eqx.data.forecast_target import make_forecast_target
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.data.times import format_snapshot_time, parse_snapshot_time
from tirgn_eqx.data.vocabulary import match_checkpoint
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.evaluate.event_rates import Expected, RatesForecaster
from tirgn_eqx.evaluate.event_scores import HORIZONS
from tirgn_eqx.forecast.event_documents import Calibration, EventForecast, EventProbabilities, PastEvents
from tirgn_eqx.forecast.history import check_vocabulary, load_history
from tirgn_eqx.forecast.names import Names
from tirgn_eqx.forecast.object_shares import ObjectShares, expected_of_unseen, rows_of
from tirgn_eqx.forecast.probable import KINDS, BestFacts, FactRows, Kind, largest, largest_sums
from tirgn_eqx.forecast.states import state_at
from tirgn_eqx.models import EventModel

MAX_HORIZON = max(HORIZONS)  # steps, the longest that the rates are trained for
ROWS = 2**16  # known facts that are looked at together
REASONS = 3
LEAST_PROBABILITY = 0.01  # of facts that are sorted by lift: rarer ones have any lift

Wanted = tuple[int | None, int | None, int | None]
NamesOrIds = Sequence[str] | Sequence[int] | Int[np.ndarray, " row"]


class EventForecaster:
    """Forecasts which facts come, from one target time on, from all that is known before it.

    **Arguments:** as of `Forecaster`; `temperature`: of the model that ranks; `tested`: how good the
    probabilities were on test.

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
        temperature: dict[str, float] | None = None,
        tested: EventTestSummary | None = None,
        metadata: Metadata | None = None,
    ):
        graph = graph if metadata is None else match_checkpoint(graph, metadata, "the model")
        check_vocabulary(model, graph)
        time = None if at is None else parse_snapshot_time(graph, at)
        self.names, self.target = Names(graph), make_forecast_target(graph, time)
        self.graph, self.index = self.target.graph, ActivityIndex(self.target.graph)
        self.rates = RatesForecaster(model.rates, self.index, (1,), self.target.history_end)
        state = None
        if model.base is not None:
            state = state_at(model.base, self.target, EvidenceIndex(self.target.graph), **config.window())
        self.tested = tested
        self.shares = ObjectShares(self.index, state, (temperature or {}).get("entity", 1.0))

    @classmethod
    def load(
        cls, checkpoint: str | Path, data_path: str | None = None, *, at: str | int | None = None, **load: Any
    ) -> "EventForecaster":
        """The event forecaster of a checkpoint; arguments and errors as of `Forecaster.load`."""
        model, config, metadata = load_event_model(checkpoint)
        graph = load_history(checkpoint, metadata, data_path, load)
        tested = read_event_figures(metadata, checkpoint)
        return cls(model, config, graph, at=at, temperature=metadata.temperature, tested=tested)

    @property
    def time(self) -> int | str:
        """The first time that is forecast."""
        return format_snapshot_time(self.graph, self.target.target)

    # --- the most probable facts -------------------------------------------------------------------------------------

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
        """The `number` most probable facts within `horizon` steps, exactly, most probable first, whether they came
        before or not; or those with the highest lift among the known facts with a probability of at least 1 %.

        Novel and unseen facts are looked at pair after pair in order of the expected number of each, until no further
        pair could have one of the best. That is at once where much is probable, and may take minutes for an `object` by
        itself about which little is known.

        **Arguments:** names, of which each that is given must be that of the fact.

        **Raises:** DataError for a name that is not known; ConfigError for a number below 1, or a horizon below 1 or
        above `MAX_HORIZON`.
        """
        check_horizon(horizon)
        if number < 1:
            raise ConfigError(f"number = {number}: must be at least 1")
        wanted = (
            None if subject is None else self.names.entity(subject),
            None if relation is None else self.names.relation(relation),
            None if object is None else self.names.entity(object),
        )
        best = BestFacts(number)
        for rows in self._known(wanted, horizon):
            key = rows.probability
            if by == "lift":
                key = np.where(key >= LEAST_PROBABILITY, rows.expected / self._usual(rows, horizon), 0)
            best.add(rows, key)
        if by == "probability":
            self._add_novel(best, wanted, horizon)
            self._add_unseen(best, wanted, horizon)
        usual = self._usual(best.rows, horizon)
        return [self._named(best.rows, row, float(usual[row]), horizon) for row in range(len(best.rows))]

    def _known(self, wanted: Wanted, horizon: int) -> Iterator[FactRows]:
        """All known facts that are wanted, part by part."""
        facts = self.index.known_facts(self.target.history_end)
        for begin in range(0, len(facts), ROWS):
            some = facts[begin : begin + ROWS]
            ids = self.index.parts(some)
            chosen = np.ones(len(some), bool)
            for part, one in zip(ids, wanted):
                chosen &= True if one is None else part == one
            if chosen.any():
                found = self.rates.known(some[chosen], self.target.target, (horizon,))
                s, r, o = (part[chosen] for part in ids)
                yield FactRows(s, r, o, found.mean[:, 0], found.probability[:, 0], np.zeros(len(s), np.int64))

    def _add_novel(self, best: BestFacts, wanted: Wanted, horizon: int) -> None:
        """Add facts of known pairs with objects that are new to them."""
        pairs = self.index.known_pairs(self.target.history_end)
        s, r = np.divmod(self.index.pair.key[pairs], self.index.relations)
        chosen = np.ones(len(pairs), bool)
        for part, one in zip((s, r), wanted):
            chosen &= True if one is None else part == one
        pairs, s, r = pairs[chosen], s[chosen], r[chosen]
        found = self.rates.novel(pairs, self.target.target, (horizon,))
        order = np.argsort(-found.mean[:, 0], kind="stable")
        for begin in range(0, len(order), self.shares.chunk):
            rows = order[begin : begin + self.shares.chunk]
            if not self._add_pairs(best, s[rows], r[rows], wanted[2], rows_of(found, rows), "novel"):
                return

    def _add_unseen(self, best: BestFacts, wanted: Wanted, horizon: int) -> None:
        """Add facts of pairs that never were."""
        factors = self.rates.unseen(self.target.target, (horizon,))
        subjects, relations = (
            np.arange(size) if one is None else np.array([one])
            for one, size in zip(wanted, (self.index.entities, self.index.relations))
        )
        places = largest_sums(factors.subject[subjects], factors.relation[relations, 0])
        while chunk := list(itertools.islice(places, self.shares.chunk)):
            i, j = np.array(chunk).T
            s, r = subjects[i], relations[j]
            # All that the index has came before the target.
            new = self.index.pair.group(s * self.index.relations + r) < 0
            if not self._add_pairs(
                best, s[new], r[new], wanted[2], expected_of_unseen(factors, s[new], r[new]), "unseen"
            ):
                return

    def _add_pairs(
        self,
        best: BestFacts,
        subject: Int64[np.ndarray, " pair"],
        relation: Int64[np.ndarray, " pair"],
        object: int | None,
        found: Expected,
        kind: Kind,
    ) -> bool:
        """Add the facts of some pairs, the one with the largest expected number first.

        **Returns:** False where not even that one could have one of the best facts, so that none after it can.
        """
        if len(subject) == 0:
            return True
        # A fact is at most as probable as it would be if it were all of its pair, and did not come in bursts.
        if -np.expm1(-found.mean[0, 0]) < best.least:
            return False
        expected, objects = self.shares.rows(subject, relation), np.arange(self.index.entities)
        if object is not None:
            expected, objects = expected[:, [object]], np.array([object])
        expected *= found.mean[:, :1]
        # Those alone that the same bound lets through, a bit below it for its rounding.
        bound = -np.log1p(-best.least) * (1 - 1e-9) if best.least < 1 else np.inf
        row, column = np.divmod(np.flatnonzero((expected > 0) & (expected >= bound)), len(objects))
        some, expected = rows_of(found, row), expected[row, column]
        probability = some.of_share((expected / some.mean[:, 0])[:, None])[:, 0]
        ids = (subject[row] * self.index.relations + relation[row]) * self.index.entities + objects[column]
        chosen = largest(probability, ids, best.number)
        row, column = row[chosen], column[chosen]
        kinds = np.full(len(chosen), KINDS.index(kind))
        rows = FactRows(subject[row], relation[row], objects[column], expected[chosen], probability[chosen], kinds)
        best.add(rows, rows.probability)
        return True

    # --- given facts -------------------------------------------------------------------------------------------------

    def probabilities(
        self, subjects: NamesOrIds, relations: NamesOrIds, objects: NamesOrIds, *, horizon: int = 1
    ) -> EventProbabilities:
        """How probable given facts are within `horizon` steps, whether they came before or not; thousands a second.

        **Arguments:** the three parts of every fact, by name or by id.

        **Raises:** DataError for a name or id that is not known, or columns of different lengths; ConfigError as
        `events`.
        """
        check_horizon(horizon)
        s, r, o = self._ids("entity", subjects), self._ids("relation", relations), self._ids("entity", objects)
        if not len(s) == len(r) == len(o):
            raise DataError(f"{len(s)} subjects, {len(r)} relations and {len(o)} objects; give one of each for a fact")
        index, target = self.index, self.target.target
        fact = index.fact.group((s * index.relations + r) * index.entities + o)
        pair = index.pair.group(s * index.relations + r)
        kind = np.where(fact >= 0, 0, np.where(pair >= 0, 1, 2))
        expected, probability = np.zeros(len(s)), np.zeros(len(s))
        if (known := kind == 0).any():
            groups, place = np.unique(fact[known], return_inverse=True)
            found = self.rates.known(groups, target, (horizon,))
            expected[known], probability[known] = found.mean[place, 0], found.probability[place, 0]
        new = kind > 0
        share = np.zeros(len(s))
        share[new] = self.shares.of(s[new], r[new], o[new])
        if (novel := kind == 1).any():
            groups, place = np.unique(pair[novel], return_inverse=True)
            found = rows_of(self.rates.novel(groups, target, (horizon,)), place)
            expected[novel] = share[novel] * found.mean[:, 0]
            probability[novel] = found.of_share(share[novel, None])[:, 0]
        if (unseen := kind == 2).any():
            found = expected_of_unseen(self.rates.unseen(target, (horizon,)), s[unseen], r[unseen])
            expected[unseen] = share[unseen] * found.mean[:, 0]
            probability[unseen] = found.of_share(share[unseen, None])[:, 0]
        rows = FactRows(s, r, o, expected, probability, kind)
        usual = self._usual(rows, horizon)
        usual = np.where(usual > 0, usual, np.nan)
        places: list[int] = kind.tolist()
        kinds: list[Kind] = [KINDS[place] for place in places]
        return EventProbabilities(s, r, o, kinds, probability, expected, usual, expected / usual)

    def _ids(self, kind: Literal["entity", "relation"], given: NamesOrIds) -> Int64[np.ndarray, " row"]:
        if len(given) == 0 or isinstance(given[0], str):
            return self.names.ids(kind, map(str, given))
        ids, number = np.asarray(given, np.int64), len(self.names.of[kind])
        if len(wrong := ids[(ids < 0) | (ids >= number)]):
            raise DataError(f"{kind} {wrong[0]}: ids of this model go from 0 to {number - 1:,}")
        return ids

    # --- what is said of a fact --------------------------------------------------------------------------------------

    def _usual(self, rows: FactRows, horizon: int) -> Float[np.ndarray, " row"]:
        """How often each fact came so far in as many steps as the horizon has."""
        index, end = self.index, self.target.history_end
        key = (rows.subject * index.relations + rows.relation) * index.entities + rows.object
        return index.fact.events_before(key, end) * horizon / max(float(index.clock[end]), 1.0)

    def _named(self, rows: FactRows, row: int, usual: float, horizon: int) -> EventForecast:
        s, r, o = int(rows.subject[row]), int(rows.relation[row]), int(rows.object[row])
        expected = float(rows.expected[row])
        return EventForecast(
            subject=self.names.entities[s],
            relation=self.names.relations[r],
            object=self.names.entities[o],
            kind=KINDS[int(rows.kind[row])],
            probability=float(rows.probability[row]),
            expected=expected,
            usual=usual or None,
            lift=expected / usual if usual else None,
            because=self._past(s, r, o),
            # What was tested are facts with a past.
            calibration=self._calibration(float(rows.probability[row]), horizon) if rows.kind[row] == 0 else None,
        )

    def _calibration(self, probability: float, horizon: int) -> Calibration | None:
        tested = None if self.tested is None else self.tested.nearest(horizon)
        found = None if tested is None else tested.bin_of(probability)
        if tested is None or found is None:
            return None
        return Calibration(
            horizon=tested.horizon,
            low=found.low,
            high=found.high,
            facts=found.facts,
            occurred=found.occurred,
            interval=found.interval,
        )

    def _past(self, s: int, r: int, o: int) -> list[PastEvents]:
        """The past events of two entities by relation: the same fact, then the latest others, in either direction."""
        index, found = self.index, list[tuple[bool, int, PastEvents]]()
        for first, second in dict.fromkeys(((s, o), (o, s))):
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


def check_horizon(horizon: int) -> None:
    """**Raises:** ConfigError for steps that the rates were not trained for."""
    if not 1 <= horizon <= MAX_HORIZON:
        raise ConfigError(f"horizon = {horizon}: must be from 1 to {MAX_HORIZON} steps, for which rates are trained")
