"""The evidence index: every past triple of a subject, with numbers that say when and how often it occurred.

Each (s, q, o) before the target is one piece of evidence (an entry) for the candidate o of a query about s. Everything
is a look-up in indexes that are built once, so that any target can be asked for, in any order.
"""

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph, both_directions
from tirgn_eqx.data.index.occurrences import HALF_LIVES, Occurrences, build_occurrences, count_first, find, ranges
from tirgn_eqx.errors import DataError

SCALE = np.float32(0.3)  # brings logarithms of ages and counts near to 1
PLAIN_FEATURES = 2 + len(HALF_LIVES)
ENTRY_FEATURES = PLAIN_FEATURES + 4
PAIR_FEATURES = PLAIN_FEATURES
# Two numbers of neighbours, the share by three of the half-lives, and the plain features of object and subject.
CONTEXT_FEATURES = 5 + 2 * PLAIN_FEATURES
# A strength fades towards 0; the floor keeps its logarithm finite.
LEAST_STRENGTH = 0.01
NEVER = 1000.0  # age, in steps, of what never happened
# `plain_features` of what never happened: no events (log1p(0) is log(1)), and strengths that have faded to 0.
NEVER_ACTIVE = np.log(np.array([NEVER, 1, *[LEAST_STRENGTH] * len(HALF_LIVES)], np.float32)) * SCALE


def check_numbering(graph: TemporalGraph, relations: int) -> None:
    """**Raises:** DataError unless every (triple of `relations`, snapshot) has a number of 63 bits, as indexes sort."""
    if graph.num_entities**2 * relations * graph.num_snapshots >= 2**63:
        raise DataError(
            f"{graph.name}: {graph.num_entities:,} entities, {graph.num_relations:,} relations and "
            f"{graph.num_snapshots:,} snapshots are too many to index; use a coarser granularity"
        )


@dataclass(frozen=True)
class Cutoff:
    """Where the history of a target ends: before snapshot number `before`; ages are measured at `now`, in steps."""

    before: int
    now: float


@dataclass(frozen=True)
class NeighbourLookup:
    """The neighbours of some subjects in the history, and the entries of each, in the order of the subjects.

    Per neighbour: `owner`, position of the subject; `pair`, group in the pair index; `row`, its last occurrence. Per
    entry: `entry_neighbour`, position of its neighbour here; `entry`, group in the triple index; `entry_row`, its last
    occurrence.
    """

    owner: np.ndarray
    pair: np.ndarray
    row: np.ndarray
    entry_neighbour: np.ndarray
    entry: np.ndarray
    entry_row: np.ndarray


class EvidenceIndex:
    """All facts of a graph in both directions, as five indexes of `Occurrences`.

    Keys: `triple` (s * entities + o) * rel2 + q; `pair` s * entities + o; `subject` s; `subject_relation` s * rel2 + q;
    `popular` q * entities + o. So a pair's triples are adjacent, and so are a subject's pairs.

    **Raises:** DataError when entities^2 * relations * snapshots exceeds what 63 bits can number.
    """

    def __init__(self, graph: TemporalGraph):
        self.graph: TemporalGraph = graph
        self.entities: int = graph.num_entities
        self.rel2: int = 2 * graph.num_relations
        check_numbering(graph, self.rel2)
        self.clock: np.ndarray = graph.time_index - graph.time_index[0]
        s, q, o = both_directions(graph)
        time = np.concatenate([graph.snapshot, graph.snapshot]).astype(np.int64)
        build = partial(build_occurrences, snapshot=time, clock=self.clock)
        self.triple: Occurrences = build((s * self.entities + o) * self.rel2 + q)
        self.pair: Occurrences = build(s * self.entities + o)
        self.subject: Occurrences = build(s)
        # Only its ages and keys are read, so that its strengths need not be stored.
        self.subject_relation: Occurrences = build(s * self.rel2 + q, faded=False)
        self.popular: Occurrences = build(q * self.entities + o)
        self._last_global_graph: tuple[tuple[Cutoff, int], tuple[np.ndarray, ...]] | None = None

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes for x in (self.triple, self.pair, self.subject, self.subject_relation, self.popular))

    @cached_property
    def triple_relation(self) -> np.ndarray:
        """int64: q of every triple."""
        return self.triple.key % self.rel2

    @cached_property
    def _subject_relation_of_triple(self) -> np.ndarray:
        """int64: group in `subject_relation` of every triple."""
        # (s * entities + o) * rel2 + q becomes s * rel2 + q.
        key = self.triple.key // self.rel2 // self.entities * self.rel2 + self.triple_relation
        return find(self.subject_relation.key, key)

    @cached_property
    def _triples_of_pair(self) -> np.ndarray:
        """int64 `(pair + 1,)`: the first triple of each pair, and the number of triples."""
        # The keys of the triples of pair p go from p * rel2 to below (p + 1) * rel2; the last bound is past all pairs.
        return np.searchsorted(self.triple.key, np.append(self.pair.key, self.entities**2) * self.rel2)

    @cached_property
    def pair_subject(self) -> np.ndarray:
        return self.pair.key // self.entities

    @cached_property
    def pair_object(self) -> np.ndarray:
        return self.pair.key % self.entities

    def cutoff(self, target: int, before: int | None = None) -> Cutoff:
        """Where the history of `target` ends; `before`: at this snapshot, where it is earlier.

        Ages end at the first snapshot that is not history: a model that has learnt to forecast the next snapshot
        forecasts later ones as if they were next. (With ages that go on it would take lasting facts for ended: on
        YAGO's valid split, multi-step MRR 0.48 instead of 0.73, but on ICEWS14s 0.396 instead of 0.392.)
        """
        before = target if before is None else min(target, before)
        return Cutoff(before, float(self.clock[before]))

    # --- how much history there is -----------------------------------------------------------------------------

    # Loaders size their padded axes by these counts, without gathering what they count.
    def num_links(self, cutoff: Cutoff) -> int:
        """The number of pairs in the history."""
        return int(np.searchsorted(self._first_of_pairs, cutoff.before))

    def num_popular(self, relations: np.ndarray, cutoff: Cutoff) -> int:
        """The number of distinct (relation, object) in the history of `relations`."""
        return int(count_first(self._first_of_popular, relations, cutoff.before, len(self.clock)).sum())

    def num_objects(self, subjects: np.ndarray, relations: np.ndarray, cutoff: Cutoff) -> np.ndarray:
        """int64: with how many distinct objects each subject had the relation."""
        return count_first(self._first_of_objects, subjects * self.rel2 + relations, cutoff.before, len(self.clock))

    @cached_property
    def _first_of_pairs(self) -> np.ndarray:
        return np.sort(self.pair.first_snapshot)

    @cached_property
    def _first_of_popular(self) -> np.ndarray:
        return np.sort(self.popular.key // self.entities * len(self.clock) + self.popular.first_snapshot)

    @cached_property
    def _first_of_objects(self) -> np.ndarray:
        key = self.subject_relation.key[self._subject_relation_of_triple]
        return np.sort(key * len(self.clock) + self.triple.first_snapshot)

    # --- evidence about some subjects ----------------------------------------------------------------------------

    def neighbours(self, subjects: np.ndarray, cutoff: Cutoff, max_neighbours: int = 0) -> NeighbourLookup:
        """The neighbours of `subjects`, ascending by entity, with their entries.

        **Arguments:** `max_neighbours`: keep this many of each subject, those of the latest occurrence (0 = all); ties
        go to pairs with more events, then to the smaller entity.
        """
        # Pair keys begin with the subject, so that the pairs of a subject are one run, ascending by neighbour.
        low, high = np.searchsorted(self.pair_subject, subjects), np.searchsorted(self.pair_subject, subjects + 1)
        owner, pair = ranges(low, high)
        # The index holds the facts of all splits: pairs and triples that begin at the cutoff or later are no history.
        past = self.pair.first_snapshot[pair] < cutoff.before
        owner, pair = owner[past], pair[past]
        row = self.pair.last(pair, cutoff.before)
        if max_neighbours and len(owner) and np.bincount(owner).max() > max_neighbours:
            # The last key of lexsort decides first: subject, then latest occurrence, then events, then smaller entity.
            order = np.lexsort((pair, -self.pair.events[row], -(self.pair.occurrence[row] % len(self.clock)), owner))
            # `order` permutes within owners, so that owner i still begins where it begins in `owner`.
            rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
            # In the order of pairs again, because positions of neighbours are found by binary search.
            kept = np.sort(order[rank < max_neighbours])
            owner, pair, row = owner[kept], pair[kept], row[kept]
        entry_neighbour, entry = ranges(self._triples_of_pair[pair], self._triples_of_pair[pair + 1])
        past = self.triple.first_snapshot[entry] < cutoff.before
        entry_neighbour, entry = entry_neighbour[past], entry[past]
        return NeighbourLookup(owner, pair, row, entry_neighbour, entry, self.triple.last(entry, cutoff.before))

    def entry_features(self, found: NeighbourLookup, cutoff: Cutoff) -> np.ndarray:
        """float32 `(entry, ENTRY_FEATURES)`: the plain features of the triple, the number of its snapshots, its age
        minus that of (s, q) with any object, that age, and its age minus that of the pair."""
        entry, row = found.entry, found.entry_row
        age = self.triple.age(row, cutoff.now)
        last = self.subject_relation.last(self._subject_relation_of_triple[entry], cutoff.before)
        relation_age = self.subject_relation.age(last, cutoff.now)
        pair_age = self.pair.age(found.row, cutoff.now)[found.entry_neighbour]
        # No difference is negative: (s, q) and the pair occur whenever the triple does, so they are never older.
        more = [self.triple.snapshots(row, entry), age - relation_age, relation_age, age - pair_age]
        return np.concatenate([plain_features(self.triple, row, cutoff.now), _log_columns(*more)], 1)

    def pair_features(self, found: NeighbourLookup, subjects: np.ndarray, cutoff: Cutoff, context: bool) -> np.ndarray:
        """float32 `(pair, PAIR_FEATURES)`, and with `context` CONTEXT_FEATURES more: how many neighbours of the subject
        occurred later, how many it has, the pair's share of all events of the subject (by the longer half-lives), and
        the activity of the object and of the subject."""
        plain = plain_features(self.pair, found.row, cutoff.now)
        if not context:
            return plain
        owner, age = found.owner, self.pair.age(found.row, cutoff.now)
        # By owner and age, the neighbours before the first one of the same age are those that occurred later.
        order = np.lexsort((age, owner))
        place = np.arange(len(owner))
        new = (np.diff(owner[order], prepend=-1) != 0) | (np.diff(age[order], prepend=-1) != 0)
        later = np.empty(len(owner), np.float32)
        later[order] = np.maximum.accumulate(np.where(new, place, 0)) - np.searchsorted(owner, owner)
        number = np.bincount(owner, minlength=len(subjects))[owner].astype(np.float32)
        strength = self.pair.faded(found.row, cutoff.now)[:, 1:]
        row = self.subject.last(self.subject.group(subjects), cutoff.before)
        # A subject without a history (row -1) owns no neighbours, so that row 0 in its place is not used.
        of_subject = self.subject.faded(np.maximum(row, 0), cutoff.now)[:, 1:]
        # The small constants keep quotient and logarithm finite where both strengths have faded to 0.
        share = np.log(strength / (of_subject[owner] + 1e-3) + 1e-3) * SCALE
        objects = self.activity(self.pair_object[found.pair], cutoff)
        subject_activity = self.activity(subjects, cutoff)[owner]
        return np.concatenate([plain, _log_columns(later, number), share, objects, subject_activity], 1)

    def activity(self, entities: np.ndarray, cutoff: Cutoff) -> np.ndarray:
        """float32 `(entity, PLAIN_FEATURES)`: when and how often entities were in any fact."""
        last = self._last_global_graph
        # The activity of all entities is cached with the links; it does not depend on how many links were kept.
        if last is not None and last[0][0] == cutoff:
            return last[1][0][entities]
        row = self.subject.last(self.subject.group(entities), cutoff.before)
        active = row >= 0
        out = np.empty((len(entities), PLAIN_FEATURES), np.float32)
        out[active] = plain_features(self.subject, row[active], cutoff.now)
        out[~active] = NEVER_ACTIVE
        return out

    # --- evidence about relations and about all entities -------------------------------------------------------

    def popular_objects(self, relations: np.ndarray, cutoff: Cutoff) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(position in `relations`, object, features) of every object in the history of each relation."""
        low = np.searchsorted(self.popular.key, relations * self.entities)
        high = np.searchsorted(self.popular.key, (relations + 1) * self.entities)
        owner, group = ranges(low, high)
        past = self.popular.first_snapshot[group] < cutoff.before
        owner, group = owner[past], group[past]
        row = self.popular.last(group, cutoff.before)
        return owner, self.popular.key[group] % self.entities, plain_features(self.popular, row, cutoff.now)

    def global_graph(self, cutoff: Cutoff, max_links: int) -> tuple[np.ndarray, ...]:
        """The activity of all entities, and `links`; cached, because a snapshot may be asked for in many parts."""
        last = self._last_global_graph  # read once: another thread may replace it
        if last is None or last[0] != (cutoff, max_links):
            made = (self.activity(np.arange(self.entities), cutoff), *self.links(cutoff, max_links))
            self._last_global_graph = last = (cutoff, max_links), made
        return last[1]

    def links(self, cutoff: Cutoff, max_links: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(subject, object, features) of every pair in the history, by subject; of more than `max_links`, those of the
        latest occurrence, ties going to pairs with more events."""
        pair = np.flatnonzero(self.pair.first_snapshot < cutoff.before)
        row = self.pair.last(pair, cutoff.before)
        if len(pair) > max_links:
            last = self.pair.occurrence[row] % len(self.clock)
            # Further ties are broken by a hash, for which no entity is special.
            order = np.lexsort((_hashed(self.pair.key[pair]), -self.pair.events[row], -last))
            # In the order of subjects again: sums over links take their indices as sorted.
            kept = np.sort(order[:max_links])
            pair, row = pair[kept], row[kept]
        return self.pair_subject[pair], self.pair_object[pair], plain_features(self.pair, row, cutoff.now)


def _hashed(numbers: np.ndarray) -> np.ndarray:
    """uint64: a fixed pseudo-random number for every number (the mixing of splitmix64)."""
    # Products of uint64 arrays wrap around modulo 2^64 without a warning, as the mixing needs.
    x = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return x ^ (x >> np.uint64(27))


def plain_features(index: Occurrences, row: np.ndarray, now: float) -> np.ndarray:
    """float32 `(row, PLAIN_FEATURES)`: log of age, of 1 + events, and of the events faded by every half-life."""
    # The clock counts whole steps, so an event within the current step has age 0, whose logarithm is not finite.
    age = np.log(np.maximum(index.age(row, now), 0.5))
    events = np.log1p(index.events[row])
    faded = np.log(index.faded(row, now) + np.float32(LEAST_STRENGTH))
    return np.concatenate([np.stack([age, events], 1), faded], 1).astype(np.float32) * SCALE


def plain_ages(features: np.ndarray) -> np.ndarray:
    """int64: the ages, in whole steps, that `plain_features` were made of; 0 for those below one step."""
    # Stored in float32, the logarithm of an age below 100,000 steps is exact to a tenth of a step. What happened within
    # the current step was given the age 0.5, which must not be rounded up.
    return np.rint(np.exp(features[:, 0].astype(np.float64) / SCALE) - 0.1).astype(np.int64)


def _log_columns(*columns: np.ndarray) -> np.ndarray:
    """float32 `(row, column)`: log(1 + x), scaled."""
    return np.log1p(np.stack(columns, 1).astype(np.float32)) * SCALE
