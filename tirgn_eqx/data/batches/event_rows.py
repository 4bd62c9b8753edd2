"""Batches of the event model: facts and pairs with their activity before a target, and how often they came after it."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int64

from tirgn_eqx.data.index.activity import (
    FACT_FEATURES,
    PAIR_FEATURES,
    ActivityIndex,
    Happened,
    phases,
)
from tirgn_eqx.data.index.evidence import Cutoff
from tirgn_eqx.types import ActivityRows, EventBatch, Horizons, KnownPairs


@dataclass(frozen=True)
class EventRowsOptions:
    """How batches are drawn. `horizons`: in steps, ascending; `rows`: of facts, and of pairs, that a batch holds;
    `periods`: of the model; `seed`: of the draws."""

    horizons: tuple[int, ...]
    rows: int
    periods: tuple[float, ...]
    seed: int = 0


def make_horizons(
    index: ActivityIndex, target: int, horizons: tuple[int, ...], periods: tuple[float, ...], history_end: int
) -> Horizons:
    """`horizons` in steps from the time of snapshot `target` on, none of whose steps depends on which snapshots there
    are after it.

    **Arguments:** `history_end`: the snapshot at whose time ages are taken: `target`, or one before a target that is
    further ahead.
    """
    step = np.arange(max(horizons), dtype=np.float64)
    time = index.clock[target] + step
    return Horizons(
        jnp.asarray(time - index.clock[history_end], jnp.float32),
        jnp.asarray(phases(time + index.origin, periods), jnp.float32),
        jnp.asarray(np.array(horizons) - 1, jnp.int32),
    )


class EventRowsLoader:
    """Draws batches from an index: what occurred within the longest horizon, and a sample of what did not, each row
    weighted by how many it stands for, so that sums over a batch are unbiased."""

    def __init__(self, index: ActivityIndex, options: EventRowsOptions):
        self.index, self.options = index, options
        # In the order in which they first occurred, so that those before any target are the first ones.
        subject, relation = np.divmod(index.pair.key[index.known_pairs(index.graph.num_snapshots)], index.relations)
        self._pairs = jnp.asarray(subject.astype(np.int32)), jnp.asarray(relation.astype(np.int32))

    def build(self, target: int, end: int, epoch: int = 0) -> EventBatch:
        """The batch of `target`; nothing from snapshot `end` on is read."""
        index, options = self.index, self.options
        rng = np.random.default_rng((options.seed, epoch, target))
        cutoff = index.cutoff(target)
        windows = [index.happened(target, min(index.window_end(target, one), end)) for one in options.horizons]
        counted = np.array([index.covers(target, one, end) for one in options.horizons], np.float32)
        totals = np.array([sum(part.count.sum() for part in window) for window in windows])
        facts = _draw(rng, index.known_facts(target), [known for known, _, _ in windows], options.rows)
        pairs = _draw(rng, index.known_pairs(target), [novel for _, novel, _ in windows], options.rows)
        unseen = _draw(rng, np.zeros(0, np.int64), [one for _, _, one in windows], options.rows)
        is_known = (np.arange(len(self._pairs[0])) < index.pair.num_known(target)).astype(np.float32)
        return EventBatch(
            self._rows(facts, index.parts(facts.group), index.fact_features(facts.group, cutoff), FACT_FEATURES),
            self._rows(pairs, self._pair(pairs), index.pair_features(pairs.group, cutoff), PAIR_FEATURES),
            self._rows(unseen, self._pair(unseen), np.zeros((len(unseen.group), 0), np.float32), 0),
            jnp.asarray(index.subject_features(cutoff)),
            jnp.asarray(index.relation_features(cutoff)),
            KnownPairs(*self._pairs, jnp.asarray(is_known)),
            make_horizons(index, target, options.horizons, options.periods, target),
            jnp.asarray(counted),
            jnp.asarray(float(totals @ counted), jnp.float32),
        )

    def _pair(self, drawn: "Drawn") -> tuple[np.ndarray, ...]:
        return np.divmod(self.index.pair.key[drawn.group], self.index.relations)

    def _rows(self, drawn: "Drawn", ids: tuple[np.ndarray, ...], features: np.ndarray, width: int) -> ActivityRows:
        """The rows, padded to the size of the batch."""

        def padded(values: np.ndarray, kind: type[np.int32] | type[np.float32]) -> np.ndarray:
            out = np.zeros((self.options.rows, *values.shape[1:]), kind)
            out[: len(values)] = values
            return out

        assert features.shape[1] == width
        return ActivityRows(
            jnp.asarray(padded(ids[0], np.int32)),
            jnp.asarray(padded(ids[1], np.int32)),
            jnp.asarray(padded(features, np.float32)),
            jnp.asarray(padded(drawn.count, np.float32)),
            jnp.asarray(padded(drawn.weight, np.float32)),
        )


@dataclass(frozen=True)
class Drawn:
    """Positions in an index, `(row,)`; their counts within every horizon, `(row, horizon)`; their weights."""

    group: Int64[np.ndarray, " row"]
    count: Float[np.ndarray, "row horizon"]
    weight: Float[np.ndarray, " row"]


def _draw(rng: np.random.Generator, every: np.ndarray, windows: list[Happened], rows: int) -> Drawn:
    """Of the groups `every`, those that occurred within the last of `windows`, and a sample of the others; at most
    `rows`, of which up to half occurred where there are more of both."""
    occurred = windows[-1].group
    count = np.zeros((len(occurred), len(windows)))
    for place, window in enumerate(windows):
        count[np.searchsorted(occurred, window.group), place] = window.count
    quiet = len(every) - len(occurred) if len(every) else 0
    most = max(rows - quiet, rows // 2)
    weight = np.ones(len(occurred))
    if len(occurred) > most:
        chosen = np.sort(rng.choice(len(occurred), most, replace=False))
        weight = np.full(most, len(occurred) / most)
        occurred, count = occurred[chosen], count[chosen]
    if quiet == 0:
        return Drawn(occurred, count, weight)
    room = rows - len(occurred)
    others = (
        np.setdiff1d(every, windows[-1].group, assume_unique=True)
        if quiet <= 4 * room
        else _others(rng, every, windows[-1].group, room)
    )
    if len(others) > room:
        others = rng.choice(others, room, replace=False)
    return Drawn(
        np.concatenate([occurred, others]),
        np.concatenate([count, np.zeros((len(others), len(windows)))]),
        np.concatenate([weight, np.full(len(others), quiet / max(len(others), 1))]),
    )


def _others(rng: np.random.Generator, every: np.ndarray, without: np.ndarray, number: int) -> np.ndarray:
    """About `number` of `every` that are not in `without`, with replacement, which costs less than to list all."""
    drawn = every[rng.integers(0, len(every), number + len(without) // 2)]
    place = np.minimum(np.searchsorted(without, drawn), max(len(without) - 1, 0))
    fresh = drawn if len(without) == 0 else drawn[without[place] != drawn]
    return fresh[:number]


def fact_rows(index: ActivityIndex, fact: np.ndarray, cutoff: Cutoff, rows: int) -> ActivityRows:
    """Known facts without counts, padded to `rows`: what is asked for a forecast."""
    _, relation, _ = index.parts(fact)
    return _plain_rows(relation, index.fact_features(fact, cutoff), rows)


def pair_rows(index: ActivityIndex, pair: np.ndarray, cutoff: Cutoff, rows: int) -> ActivityRows:
    """Known pairs without counts, padded to `rows`."""
    relation = index.pair.key[pair] % index.relations
    return _plain_rows(relation, index.pair_features(pair, cutoff), rows)


def _plain_rows(relation: np.ndarray, features: np.ndarray, rows: int) -> ActivityRows:
    spare = rows - len(relation)
    ids = jnp.asarray(np.pad(relation, (0, spare)).astype(np.int32))
    none = jnp.zeros((rows, 1))
    return ActivityRows(ids, ids, jnp.asarray(np.pad(features, ((0, spare), (0, 0)))), none, none[:, 0])
