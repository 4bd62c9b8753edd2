"""The rates of all events at a target, at the level at which events came lately."""
# Equinox's own annotations are partial.
# pyright: reportUnknownMemberType=false

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int64

from tirgn_eqx.data.batches.event_rows import fact_rows, make_horizons, pair_rows
from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.data.index.evidence import Cutoff
from tirgn_eqx.data.index.occurrences import ranges
from tirgn_eqx.models.event_rates import EventRates, ExpectedCounts, at_least_once
from tirgn_eqx.types import ActivityRows, Horizons

ROWS = 2**15  # rows that are computed at once; every batch is padded to as many, so that one shape is compiled
LEVEL_SNAPSHOTS = 7  # before the target, whose events tell the level: a week of days, whatever its weekdays
LEVEL_ROWS = 2**13  # facts, and pairs, of each of them that are counted, spread evenly
SMOOTHING = 0.1  # events that every object is taken to have had with a relation, where no model ranks objects
PRIOR_EVENTS = 50.0  # as many events at the model's own level are added, so that few real ones change little

POISSON = 1e9  # a shape that is as good as infinite

Groups = Int64[np.ndarray, " row"]


class Expected(NamedTuple):
    """The number of rows within horizons: its mean, and the shape of the gamma factor of its rate; float64."""

    mean: Float[np.ndarray, "row horizon"]
    shape: Float[np.ndarray, " row"]

    @property
    def probability(self) -> Float[np.ndarray, "row horizon"]:
        """That a row occurs at least once within each horizon."""
        return at_least_once(self.mean, self.shape[:, None])

    def of_share(self, share: Float[np.ndarray, "row part"], horizon: int = 0) -> Float[np.ndarray, "row part"]:
        """The probability that a part of a row's events occurs at least once, within the horizon at that position.

        The parts of a row have its gamma factor in common: where it is busy, all of them are. Each is negative binomial
        with the same shape and its share of the mean.
        """
        return at_least_once(share * self.mean[:, [horizon]], self.shape[:, None])


class Totals(NamedTuple):
    """Numbers of known, novel and unseen facts."""

    known: float
    novel: float
    unseen: float


@dataclass(frozen=True)
class UnseenFactors:
    """The log expected number of an unseen pair is that of its subject plus that of its relation; `total`: of all
    unseen pairs of every relation together."""

    subject: Float[np.ndarray, " entity"]
    relation: Float[np.ndarray, "rel horizon"]
    total: Float[np.ndarray, "rel horizon"]


class RatesForecaster:
    """Forecasts of event rates at any target of one graph; what it learns of the level is kept for other targets.

    **Arguments:** `model`; `index`: of the facts; `horizons`: in steps from the time of the target on; `history_end`:
    the first snapshot that is not known, where it comes before a target. Ages end there, and what fades has faded until
    the target.
    """

    def __init__(
        self, model: EventRates, index: ActivityIndex, horizons: tuple[int, ...], history_end: int | None = None
    ):
        self.model, self.index, self.horizons = model, index, horizons
        self._known, self._novel = eqx.filter_jit(_known), eqx.filter_jit(_novel)
        self._unseen = eqx.filter_jit(_unseen)
        self._history_end = index.graph.num_snapshots if history_end is None else history_end
        self._level_of: dict[int, tuple[Totals, Totals]] = {}

    def _cutoff(self, target: int) -> Cutoff:
        return self.index.cutoff(min(target, self._history_end))

    def _after(self, target: int, horizons: tuple[int, ...]) -> Horizons:
        return make_horizons(self.index, target, horizons, self.model.periods, min(target, self._history_end))

    def _in_chunks(
        self,
        function: Callable[..., ExpectedCounts],
        rows: Callable[[ActivityIndex, np.ndarray, Cutoff, int], ActivityRows],
        groups: Groups,
        target: int,
        horizons: tuple[int, ...],
        level: float,
    ) -> Expected:
        after, shift = self._after(target, horizons), np.log(level)
        size = LEVEL_ROWS if len(groups) <= LEVEL_ROWS else ROWS
        means, shapes = [np.zeros((0, len(horizons)))], [np.zeros(0)]
        for begin in range(0, len(groups), size):
            chunk = groups[begin : begin + size]
            found = function(self.model, rows(self.index, chunk, self._cutoff(target), size), after)
            log_mean, log_shape = (
                np.asarray(values, np.float64)[: len(chunk)] for values in (found.log_mean, found.log_shape)
            )
            means.append(np.exp(log_mean + shift))
            shapes.append(np.exp(log_shape))
        return Expected(np.concatenate(means), np.concatenate(shapes))

    def known(self, facts: Groups, target: int, horizons: tuple[int, ...] | None = None) -> Expected:
        """Of known facts, by their position in the index."""
        level = self.level(target).known
        return self._in_chunks(self._known, fact_rows, facts, target, horizons or self.horizons, level)

    def novel(self, pairs: Groups, target: int, horizons: tuple[int, ...] | None = None) -> Expected:
        """Of all novel facts of known pairs, by the position of the pair in the index."""
        level = self.level(target).novel
        return self._in_chunks(self._novel, pair_rows, pairs, target, horizons or self.horizons, level)

    def unseen(self, target: int, horizons: tuple[int, ...] | None = None, level: float | None = None) -> UnseenFactors:
        """Of pairs that never occurred before `target`."""
        index, cutoff = self.index, self._cutoff(target)
        after = self._after(target, horizons or self.horizons)
        arrays = index.subject_features(cutoff), index.relation_features(cutoff)
        subject, relation = (
            np.asarray(factor, np.float64)
            for factor in self._unseen(self.model, jnp.asarray(arrays[0]), jnp.asarray(arrays[1]), after)
        )
        relation = relation + np.log(self.level(target).unseen if level is None else level)
        s, r = np.divmod(index.pair.key[index.known_pairs(cutoff.before)], index.relations)
        # What all subjects have in common, without those that had the relation already.
        unseen = np.exp(subject).sum() - np.bincount(r, np.exp(subject[s]), index.relations)
        return UnseenFactors(subject, relation, np.maximum(unseen, 0)[:, None] * np.exp(relation))

    # --- the level -------------------------------------------------------------------------------------------------

    def level(self, target: int) -> Totals:
        """By how much more, or less, came in the snapshots before `target` than was expected one step before each."""
        end = min(target, self._history_end)
        before = range(max(1, end - LEVEL_SNAPSHOTS), end)
        for number in before:
            if number not in self._level_of:
                self._level_of[number] = self._compare(number)
        found = np.array([self._level_of[number] for number in before]).reshape(-1, 2, 3)
        real, expected = found.sum(0) + PRIOR_EVENTS
        return Totals(*(real / expected).tolist())

    def _compare(self, number: int) -> tuple[Totals, Totals]:
        """What came at a snapshot, and what was expected then."""
        index = self.index
        real = Totals(*(float(part.count.sum()) for part in index.happened(number, number + 1)))
        expected = list[float]()
        for function, rows, groups in (
            (self._known, fact_rows, index.known_facts(number)),
            (self._novel, pair_rows, index.known_pairs(number)),
        ):
            # Groups stand in the order in which they first occurred, so that every n-th is a fair sample; each
            # snapshot takes others of them.
            step = max(-(-len(groups) // LEVEL_ROWS), 1)
            some = groups[number % step :: step]
            if len(some) == 0:
                expected.append(0.0)
                continue
            mean = self._in_chunks(function, rows, some, number, (1,), 1.0).mean
            expected.append(float(mean.sum()) * len(groups) / len(some))
        expected.append(float(self.unseen(number, (1,), 1.0).total.sum()))
        return real, Totals(*expected)


def popular_share(index: ActivityIndex, pair: Groups, object: Groups, before: int) -> Float[np.ndarray, " row"]:
    """The share that an object has in the novel events of a pair, by how often the relation had each object that is new
    to the pair before a snapshot, and every object `SMOOTHING` times more; 0 for one that is not new.

    **Arguments:** `pair`: subject * relations + relation, any; `object`: one for each.
    """
    subject, relation = np.divmod(pair, index.relations)

    def weight(relation: np.ndarray, object: np.ndarray) -> np.ndarray:
        return index.popular.events_before(relation * index.entities + object, before) + SMOOTHING

    def is_known(pair: np.ndarray, object: np.ndarray) -> np.ndarray:
        return index.fact.last(index.fact.group(pair * index.entities + object), before) >= 0

    # The facts of a pair stand beside each other in the index.
    distinct, place = np.unique(pair, return_inverse=True)
    bounds = np.searchsorted(index.fact.key, (distinct * index.entities, (distinct + 1) * index.entities))
    owner, fact = ranges(*bounds)
    known = index.fact.first_snapshot[fact] < before
    owner, objects = owner[known], index.fact.key[fact[known]] % index.entities
    taken = np.bincount(owner, weight(distinct[owner] % index.relations, objects), len(distinct))[place]
    possible = ~is_known(pair, object)
    if not index.has_loops(before):
        taken = taken + np.where(is_known(pair, subject), 0, weight(relation, subject))
        possible &= subject != object
    whole = index.relation.events_before(relation, before) + SMOOTHING * index.entities - taken
    return np.where(possible & (whole > SMOOTHING / 2), weight(relation, object) / np.maximum(whole, SMOOTHING), 0)


def _known(model: EventRates, rows: ActivityRows, after: Horizons) -> ExpectedCounts:
    return model.known_counts(rows, after)


def _novel(model: EventRates, rows: ActivityRows, after: Horizons) -> ExpectedCounts:
    return model.novel_counts(rows, after)


def _unseen(model: EventRates, subject: Array, relation: Array, after: Horizons) -> tuple[Array, Array]:
    return model.unseen_factors(subject, relation, after)
