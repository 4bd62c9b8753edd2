"""Behaviours of the simulated event world: who acts on whom, at which rate, on which day."""

import math
from dataclasses import dataclass

import numpy as np

from tirgn_eqx.data.synthetic.cast import Cast

Shape = tuple[int, int, int]
SparseRates = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Floor:
    """One-off facts: rate `total * subject[s] * relation[r] * object[o]` for every fact with s != o.

    **Arguments:** `total`: expected facts per day; float64 `subject`, `object` `(entity,)` and `relation`
    `(relation,)`, which each sum to 1.
    """

    total: float
    subject: np.ndarray
    relation: np.ndarray
    object: np.ndarray


@dataclass(frozen=True)
class Steady:
    """Recurring and periodic behaviours: `rate` on days with `day % period == phase`, else 0.

    **Arguments:** arrays `(behaviour,)`: int64 `subject`, `relation`, `object`, `period` (days; 1 is recurring),
    `phase`; float64 `rate`, expected events on such a day.
    """

    subject: np.ndarray
    relation: np.ndarray
    object: np.ndarray
    rate: np.ndarray
    period: np.ndarray
    phase: np.ndarray


@dataclass(frozen=True)
class Drifting:
    """Drifting behaviours: `rate` for the partner of the day.

    **Arguments:** int64 `subject`, `relation` and float64 `rate` `(behaviour,)`; int32 `partner` `(day, behaviour)`:
    the entity that is the object on that day, -1 on a quiet day.
    """

    subject: np.ndarray
    relation: np.ndarray
    rate: np.ndarray
    partner: np.ndarray


def active(steady: Steady, drifting: Drifting, day: int, shape: Shape) -> SparseRates:
    """(subject, relation, object, rate) of the facts with a behaviour on a day; several on the same fact add up."""
    on = day % steady.period == steady.phase
    partner = drifting.partner[day].astype(np.int64)
    busy = partner >= 0
    subject = np.concatenate([steady.subject[on], drifting.subject[busy]])
    relation = np.concatenate([steady.relation[on], drifting.relation[busy]])
    object = np.concatenate([steady.object[on], partner[busy]])
    keys, place = np.unique(np.ravel_multi_index((subject, relation, object), shape), return_inverse=True)
    # Independent Poisson processes add up to one whose rate is the sum.
    rate = np.bincount(place, np.concatenate([steady.rate[on], drifting.rate[busy]]), len(keys))
    subject, relation, object = np.unravel_index(keys, shape)
    return subject, relation, object, rate


class Society:
    """The distributions that behaviours are drawn from: who tends to act on whom, and in which relation."""

    def __init__(self, cast: Cast, num_relations: int, rng: np.random.Generator):
        num_entities = len(cast.names)
        # A Zipf law with a flattened head: few entities are in most facts, but none is in nearly all.
        importance = 1 / (8 + rng.permutation(num_entities)) ** 0.8
        # Countries, kind 0, act more often than their organisations.
        importance[cast.kind == 0] *= 1.5
        self.cast, self.rng = cast, rng
        self.importance = importance / importance.sum()
        relation = 1 / (3 + rng.permutation(num_relations)) ** 0.7
        self.relation = relation / relation.sum()
        # Each kind of entity has preferences of its own, around the common ones; 0.05 keeps rare relations possible.
        self.taste = rng.dirichlet(0.6 * num_relations * self.relation + 0.05, size=len(cast.kinds))

    def draw_actor(self) -> tuple[int, int]:
        """A (subject, relation)."""
        subject = int(self.rng.choice(len(self.importance), p=self.importance))
        relation = int(self.rng.choice(len(self.relation), p=self.taste[self.cast.kind[subject]]))
        return subject, relation

    def draw_partners(self, subject: int, count: int) -> np.ndarray:
        """Up to `count` different partners of `subject`, the likely ones mostly first."""
        cast = self.cast
        close = 1.0 + 3.0 * (cast.region == cast.region[subject])
        # The home -1 of alliances is no country that they share.
        close += 12.0 * ((cast.home == cast.home[subject]) & (cast.home >= 0))
        weight = self.importance * close
        weight[subject] = 0
        weight /= weight.sum()
        return self.rng.choice(len(weight), min(count, len(weight) - 1), replace=False, p=weight)


def _rate(probability: float) -> float:
    """The Poisson rate at which something happens at least once a day with `probability`."""
    return -math.log1p(-probability)


def make_steady(society: Society, recurring: float, periodic: float) -> Steady:
    """Behaviours that add up to `recurring` and `periodic` expected facts a day."""
    rng, rows = society.rng, []
    total = 0.0
    while total < recurring:
        subject, relation = society.draw_actor()
        top = min(0.9, float(rng.lognormal(np.log(0.25), 0.5)))
        for place, partner in enumerate(society.draw_partners(subject, int(rng.integers(3, 9)))):
            # A decline from partner to partner: the query (s, r, ?) has a best answer and not several equal ones.
            probability = top / (1 + place)
            rows.append((subject, relation, partner, _rate(probability), 1, 0))
            # The sum is of probabilities, not of rates: a fact happens at most once a day, however high its rate.
            total += probability
    total = 0.0
    while total < periodic:
        subject, relation = society.draw_actor()
        period = int(rng.choice((7, 14)))
        partners = society.draw_partners(subject, int(rng.integers(2, 5)))
        # Different phases, so that no two partners are met on the same day.
        for partner, phase in zip(partners, rng.permutation(period)):
            probability = float(rng.uniform(0.7, 0.95))
            rows.append((subject, relation, partner, _rate(probability), period, phase))
            total += probability / period
    # Without any behaviour, `zip(*rows)` has no columns to give.
    *ids, rate, period, phase = [np.asarray(column) for column in zip(*rows)] or [np.zeros(0)] * 6
    subject, relation, object_, period, phase = (column.astype(np.int64) for column in (*ids, period, phase))
    return Steady(subject, relation, object_, rate.astype(np.float64), period, phase)


def make_drifting(society: Society, expected: float, num_days: int, seed: int) -> Drifting:
    """Behaviours that add up to `expected` facts a day, half of them slow and half in bursts."""
    rng, rows, pools = society.rng, [], []
    total = 0.0
    while total < expected:
        subject, relation = society.draw_actor()
        pool = society.draw_partners(subject, int(rng.integers(3, 7)))
        probability = float(rng.uniform(0.4, 0.85))
        length = float(rng.uniform(25, 60))
        pause = float(rng.choice((0.0, length)))
        # A pause of 0 has no end to be drawn: the next partner follows at once.
        rows.append((subject, relation, _rate(probability), 1 / length, pause and 1 / pause))
        pools.append(pool)
        # Length and pause are the means of geometric times, so this is the share of days with a partner.
        total += probability * length / (length + pause)
    columns = [np.asarray(column) for column in zip(*rows)] or [np.zeros(0)] * 5
    subject, relation = columns[0].astype(np.int64), columns[1].astype(np.int64)
    end, start = columns[3].astype(np.float64), columns[4].astype(np.float64)
    size = np.array([len(pool) for pool in pools], np.int64)
    # A pool has at most 6 partners. The zeros behind a shorter one are never chosen, since choices stay below its size.
    table = np.zeros((len(pools), 6), np.int32)
    for row, pool in zip(table, pools):
        row[: len(pool)] = pool

    # One draw of the same size per day, so that more days leave the earlier ones as they are.
    draws = np.random.default_rng([seed, 1])
    state = np.full(len(pools), -1)
    partner = np.full((num_days, len(pools)), -1, np.int32)
    for day in range(num_days):
        change, choice = draws.random((2, len(pools)))
        if day == 0:
            # The stationary distribution, so that the first day is like any other.
            begins = change < np.where(start > 0, start / (start + end), 1.0)
        else:
            begins = (state < 0) & (change < start)
            ends = (state >= 0) & (change < end)
            begins |= ends & (start == 0)
            state = np.where(ends & (start > 0), -1, state)
        # The square makes the first of a pool more frequent than the last.
        state = np.where(begins, _other(state, (choice**2 * size).astype(np.int64), size), state)
        busy = state >= 0
        partner[day, busy] = table[busy, state[busy]]
    return Drifting(subject, relation, columns[2].astype(np.float64), partner)


def _other(state: np.ndarray, chosen: np.ndarray, size: np.ndarray) -> np.ndarray:
    """`chosen`, or the next one where it is the partner that is leaving."""
    return np.where(chosen == state, (chosen + 1) % np.maximum(size, 1), chosen)


def draw_facts(floor: Floor, steady: Steady, drifting: Drifting, shape: Shape, num_days: int, seed: int) -> np.ndarray:
    """int64 `(fact, 4)`: the facts of all days, each day drawn with a random generator of its own."""
    days = []
    for day in range(num_days):
        # The streams [seed, 0] for behaviours, [seed, 1] for drift and [seed, 2, day] are independent of each other.
        rng = np.random.default_rng([seed, 2, day])
        s, r, o, rate = active(steady, drifting, day, shape)
        # 1 - exp(-rate), exact for small rates as well.
        happens = rng.random(len(rate)) < -np.expm1(-rate)
        keys = [np.ravel_multi_index((s, r, o), shape)[happens]]
        # One Poisson count dealt out by the probabilities gives every fact its own independent Poisson count, without a
        # draw for each of the E * R * E facts.
        count = rng.poisson(floor.total)
        s, r, o = (rng.choice(len(p), count, p=p) for p in (floor.subject, floor.relation, floor.object))
        keys.append(np.ravel_multi_index((s, r, o), shape)[s != o])
        # A fact happens at most once a day, which has the probability 1 - exp(-rate) of the summed rates.
        key = np.unique(np.concatenate(keys))
        days.append(np.stack([*np.unravel_index(key, shape), np.full(len(key), day)], 1))
    return np.concatenate(days)
