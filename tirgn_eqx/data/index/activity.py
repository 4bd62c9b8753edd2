"""Activity: when and how often facts, pairs, actors and relations occurred, as features of how often they will.

A fact is (s, r, o), a pair is (s, r). What may come after a target is of three kinds: facts that occurred before it
(known), facts with another object of a pair that did (novel), and facts of pairs that never did (unseen).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int64

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.evidence import NEVER_ACTIVE, PLAIN_FEATURES, SCALE, Cutoff, check_numbering, plain_features
from tirgn_eqx.data.index.occurrences import Occurrences, build_occurrences, count_first

Ids = Int64[np.ndarray, " row"]
OWN_FEATURES = PLAIN_FEATURES + 4  # of a fact or a pair itself
WORLD_FEATURES = PLAIN_FEATURES + 1
# Of a fact: itself, its pair, (r, o), (s, o), (o, s), the relation, s and o in either role, and the world.
FACT_FEATURES = OWN_FEATURES + 9 * PLAIN_FEATURES + WORLD_FEATURES
# Of a pair: itself, the number of its objects, the relation, s in either role, and the world.
PAIR_FEATURES = OWN_FEATURES + 1 + 3 * PLAIN_FEATURES + WORLD_FEATURES
# Of an entity as the subject of unseen pairs: its activity in either role, the number of its pairs, and the world.
SUBJECT_FEATURES = 2 * PLAIN_FEATURES + 1 + WORLD_FEATURES
# Of a relation of unseen pairs: its activity and the number of its pairs.
RELATION_FEATURES = PLAIN_FEATURES + 1
# Of a week in days, a day in hours, half hours and quarter hours, and a week in hours; longer ones are no period of an
# event stream that lasts a year.
CANDIDATE_PERIODS = (7.0, 24.0, 48.0, 96.0, 168.0, 336.0, 672.0)
MAX_PERIODS = 2
LEAST_EXPLAINED = 0.05
CHANCE = 0.001  # of taking noise for a period


@dataclass(frozen=True)
class Happened:
    """What happened in a window of snapshots: positions of facts or pairs in their index, and how often each did."""

    group: Ids
    count: Float[np.ndarray, " row"]


class ActivityIndex:
    """All facts of a graph, forward alone, as indexes of `Occurrences`.

    Keys: `fact` (s * relations + r) * entities + o; `pair` s * relations + r; `popular` r * entities + o; `actors` s *
    entities + o; `subject` s; `object` o; `relation` r; `world` 0.

    **Raises:** DataError when entities^2 * relations * snapshots exceeds what 63 bits can number.
    """

    def __init__(self, graph: TemporalGraph):
        self.graph, self.entities, self.relations = graph, graph.num_entities, graph.num_relations
        check_numbering(graph, self.relations)
        # Ages are counted from the first snapshot that is there; the place in a period is one of the clock that the
        # data have with a checkpoint, so that a longer or a shorter history does not move the days of the week.
        self.origin = float(graph.time_index[0])
        self.clock: np.ndarray = graph.time_index - self.origin
        s, r, o = (ids.astype(np.int64) for ids in (graph.subject, graph.relation, graph.object))
        time = graph.snapshot.astype(np.int64)

        def build(key: np.ndarray) -> Occurrences:
            return build_occurrences(key, time, self.clock)

        self.fact, self.pair = build((s * self.relations + r) * self.entities + o), build(s * self.relations + r)
        self.popular, self.actors = build(r * self.entities + o), build(s * self.entities + o)
        self.subject, self.object, self.relation = build(s), build(o), build(r)
        self.world = build(np.zeros_like(s))

    def cutoff(self, target: int) -> Cutoff:
        """Where the history of `target` ends."""
        return Cutoff(target, float(self.clock[target]))

    def parts(self, fact: Ids) -> tuple[Ids, Ids, Ids]:
        """(subject, relation, object) of facts by their position."""
        pair, object_ = np.divmod(self.fact.key[fact], self.entities)
        return *np.divmod(pair, self.relations), object_

    @cached_property
    def _first_loop(self) -> int:
        loops = np.flatnonzero(self.graph.subject == self.graph.object)
        return int(self.graph.snapshot[loops[0]]) if len(loops) else self.graph.num_snapshots

    def has_loops(self, before: int) -> bool:
        """Whether an entity acted on itself before a snapshot; where none did, none is taken to do so."""
        return self._first_loop < before

    def window_end(self, target: int, horizon: int) -> int:
        """The first snapshot that is no more within `horizon` steps from the time of snapshot `target` on."""
        return int(np.searchsorted(self.clock, self.clock[target] + horizon))

    def covers(self, target: int, horizon: int, end: int) -> bool:
        """Whether the snapshots before `end` reach to the end of a horizon."""
        return bool(self.clock[target] + horizon <= self.clock[end - 1] + 1)

    # --- what is known before a cutoff, and what happened after it ---------------------------------------------------

    def known_facts(self, before: int) -> Ids:
        """The positions of the facts that occurred before snapshot `before`, in the order in which they first did."""
        return self.fact.known_before(before)

    def known_pairs(self, before: int) -> Ids:
        """The positions of the pairs that occurred before snapshot `before`, in the order in which they first did."""
        return self.pair.known_before(before)

    def happened(self, begin: int, end: int) -> tuple[Happened, Happened, Happened]:
        """(known facts, pairs with novel facts, unseen pairs) of the snapshots from `begin` to before `end`."""
        rows = slice(int(self.graph.offsets[begin]), int(self.graph.offsets[end]))
        s, r, o = (ids[rows].astype(np.int64) for ids in (self.graph.subject, self.graph.relation, self.graph.object))
        fact, count = np.unique(self.fact.group((s * self.relations + r) * self.entities + o), return_counts=True)
        known = self.fact.first_snapshot[fact] < begin
        pair = self.pair.group(self.fact.key[fact[~known]] // self.entities)
        seen = self.pair.first_snapshot[pair] < begin

        def summed(chosen: np.ndarray) -> Happened:
            groups, place = np.unique(pair[chosen], return_inverse=True)
            return Happened(groups, np.bincount(place, count[~known][chosen], len(groups)).astype(np.float64))

        return Happened(fact[known], count[known].astype(np.float64)), summed(seen), summed(~seen)

    def new_facts(self, begin: int, end: int) -> Ids:
        """The positions of the facts that occurred for the first time in the snapshots from `begin` to before `end`."""
        return self.fact.known_before(end)[self.fact.num_known(begin) :]

    # --- features ------------------------------------------------------------------------------------------------

    def fact_features(self, fact: Ids, cutoff: Cutoff) -> Float[np.ndarray, "row FACT_FEATURES"]:
        """float32: features of known facts by their position."""
        s, r, o = self.parts(fact)
        columns = [self._own(self.fact, fact, cutoff)]
        keys = [
            (self.pair, s * self.relations + r),
            (self.popular, r * self.entities + o),
            (self.actors, s * self.entities + o),
            (self.actors, o * self.entities + s),
            (self.relation, r),
            (self.subject, s),
            (self.object, o),
            (self.object, s),
            (self.subject, o),
        ]
        columns += [self._activity(index, key, cutoff) for index, key in keys]
        return np.concatenate([*columns, self._world(len(fact), cutoff)], 1)

    def pair_features(self, pair: Ids, cutoff: Cutoff) -> Float[np.ndarray, "row PAIR_FEATURES"]:
        """float32: features of known pairs by their position."""
        s, r = np.divmod(self.pair.key[pair], self.relations)
        objects = self._num_before(self._first_of_pairs, pair, cutoff)
        columns = [
            self._own(self.pair, pair, cutoff),
            np.log1p(objects.astype(np.float32))[:, None] * SCALE,
            self._activity(self.relation, r, cutoff),
            self._activity(self.subject, s, cutoff),
            self._activity(self.object, s, cutoff),
        ]
        return np.concatenate([*columns, self._world(len(pair), cutoff)], 1)

    def subject_features(self, cutoff: Cutoff) -> Float[np.ndarray, "entity SUBJECT_FEATURES"]:
        """float32: features of all entities as subjects of unseen pairs."""
        entities = np.arange(self.entities)
        pairs = self._num_before(self._first_of_subjects, entities, cutoff)
        columns = [
            self._activity(self.subject, entities, cutoff),
            self._activity(self.object, entities, cutoff),
            np.log1p(pairs.astype(np.float32))[:, None] * SCALE,
        ]
        return np.concatenate([*columns, self._world(len(entities), cutoff)], 1)

    def relation_features(self, cutoff: Cutoff) -> Float[np.ndarray, "rel RELATION_FEATURES"]:
        """float32: features of all relations of unseen pairs."""
        relations = np.arange(self.relations)
        pairs = self._num_before(self._first_of_relations, relations, cutoff)
        columns = [
            self._activity(self.relation, relations, cutoff),
            np.log1p(pairs.astype(np.float32))[:, None] * SCALE,
        ]
        return np.concatenate(columns, 1)

    def _own(self, index: Occurrences, group: Ids, cutoff: Cutoff) -> np.ndarray:
        """The plain features, the number of snapshots, the age against the usual gap between two of them, whether there
        is a gap, and the time since the first."""
        row = index.last(group, cutoff.before)
        age, number = index.age(row, cutoff.now), index.snapshots(row, group)
        since = (cutoff.now - self.clock[index.first_snapshot[group]]).astype(np.float32)
        again = number > 1
        gap = (since - age) / np.maximum(number - 1, 1)
        against = np.where(again, np.log((age + 0.5) / (gap + 0.5)), 0)
        more = np.stack([np.log1p(number) * SCALE, against * SCALE, again, np.log1p(since) * SCALE], 1)
        return np.concatenate([plain_features(index, row, cutoff.now), more.astype(np.float32)], 1)

    def _activity(self, index: Occurrences, key: np.ndarray, cutoff: Cutoff) -> np.ndarray:
        """The plain features of any keys; of those that never occurred as if it were very long ago."""
        row = index.last(index.group(key), cutoff.before)
        features = plain_features(index, np.maximum(row, 0), cutoff.now)
        return np.where(row[:, None] >= 0, features, NEVER_ACTIVE)

    def _world(self, rows: int, cutoff: Cutoff) -> np.ndarray:
        """How much happens at all, and how long the history is."""
        found = self._activity(self.world, np.zeros(1, np.int64), cutoff)[0]
        return np.tile(np.append(found, np.float32(np.log1p(cutoff.now)) * SCALE), (rows, 1))

    @cached_property
    def _first_of_pairs(self) -> np.ndarray:
        """Ascending pair * snapshots + first snapshot, of every fact."""
        pair = self.pair.group(self.fact.key // self.entities)
        return np.sort(pair * len(self.clock) + self.fact.first_snapshot)

    @cached_property
    def _first_of_subjects(self) -> np.ndarray:
        return np.sort(self.pair.key // self.relations * len(self.clock) + self.pair.first_snapshot)

    @cached_property
    def _first_of_relations(self) -> np.ndarray:
        return np.sort(self.pair.key % self.relations * len(self.clock) + self.pair.first_snapshot)

    def _num_before(self, first: np.ndarray, keys: np.ndarray, cutoff: Cutoff) -> np.ndarray:
        return count_first(first, keys, cutoff.before, len(self.clock))


def find_periods(graph: TemporalGraph) -> tuple[float, ...]:
    """The periods, in steps of the clock, of the number of facts in the train split, 0 at a step without any: at most
    `MAX_PERIODS` of `CANDIDATE_PERIODS`, the best one first removed from the data before the next is looked for.

    Each explains at least `LEAST_EXPLAINED` of the variance of log(1 + facts) about a slow drift, and more than noise
    of as many snapshots would but in one of 1 / `CHANCE` data sets.
    """
    snapshots = graph.split_snapshots("train")
    place = (graph.time_index[snapshots] - graph.time_index[snapshots[0]]).astype(np.int64)
    clock = np.arange(place[-1] + 1, dtype=np.float64)
    rest = np.log1p(np.bincount(place, np.diff(graph.offsets)[snapshots]))
    # A slow drift is no period.
    rest = rest - np.polyval(np.polyfit(clock, rest, 2), clock) if len(clock) > 3 else np.zeros(len(clock))
    total, found = float((rest**2).sum()), list[float]()
    for _ in range(MAX_PERIODS):
        best: tuple[float, float, np.ndarray] | None = None
        free = len(clock) - 3 - 4 * (len(found) + 1)
        for period in CANDIDATE_PERIODS:
            # A period must be seen a few times to be one.
            if period in found or clock[-1] < 4 * period or total <= 0 or free < 1:
                continue
            waves = phases(clock, (period,))
            fitted = waves @ np.linalg.lstsq(waves, rest, rcond=None)[0]
            explained = float((fitted**2).sum()) / total
            share = float((fitted**2).sum()) / max(float((rest**2).sum()), 1e-300)
            chance = _explained_by_chance(share, free) * len(CANDIDATE_PERIODS)
            if explained >= LEAST_EXPLAINED and chance < CHANCE and (best is None or explained > best[0]):
                best = explained, period, rest - fitted
        if best is None:
            break
        found.append(best[1])
        rest = best[2]
    return tuple(sorted(found))


def _explained_by_chance(share: float, free: int) -> float:
    """The probability that four waves explain at least `share` of the variance of Gaussian noise with `free` further
    degrees of freedom: the tail of a beta distribution with parameters 2 and free / 2."""
    return (1 - share) ** (free / 2) * (1 + share * free / 2)


def phases(clock: Float[np.ndarray, " time"], periods: tuple[float, ...]) -> Float[np.ndarray, "time wave"]:
    """Sine and cosine of every period, and of its half, at each time."""
    angles = [2 * np.pi * harmonic * clock / period for period in periods for harmonic in (1, 2)]
    waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    return np.stack(waves, 1) if waves else np.zeros((len(clock), 0))
