"""What the past says about questions: every past triple of the subject, with numbers that say when and how often.

Each (s, q, o) known before the target is one piece of evidence (an entry) for the candidate o of a question about s.
Everything is a look-up in indexes that are built once, so that any time can be asked for, in any order.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph, both_directions
from tirgn_eqx.data.index.occurrences import HALF_LIVES, Occurrences, build_occurrences, find, ranges
from tirgn_eqx.errors import DataError

SCALE = np.float32(0.3)  # brings logarithms of ages and counts near to 1
PLAIN_FEATURES = 2 + len(HALF_LIVES)
ENTRY_FEATURES = PLAIN_FEATURES + 4
PAIR_FEATURES = PLAIN_FEATURES
CONTEXT_FEATURES = 5 + 2 * PLAIN_FEATURES
LEAST_STRENGTH = 0.01
NEVER = 1000.0  # age, in steps, of what never happened


@dataclass(frozen=True)
class Known:
    """How much is known of a target: all snapshots before number `before`; ages end at `now`, a time in steps."""

    before: int
    now: float


@dataclass(frozen=True)
class Partners:
    """The known partners of some subjects, and the entries of each, in the subjects' order.

    `owner`: position of the subject; `pair`: group in the pair index; `row`: its last occurrence; `entry_neighbour`:
    position of the entry's pair here; `entry`: group in the triple index; `entry_row`: its last occurrence.
    """

    owner: np.ndarray
    pair: np.ndarray
    row: np.ndarray
    entry_neighbour: np.ndarray
    entry: np.ndarray
    entry_row: np.ndarray


class EvidenceIndex:
    """All facts of a graph in both directions, indexed by what is asked of them.

    `triple` keys are (s * entities + o) * rel2 + q, `pair` keys s * entities + o, `subject` keys s, `given` keys
    s * rel2 + q, `popular` keys q * entities + o.

    **Raises:** DataError when entities^2 * relations * snapshots exceeds what 63 bits can number.
    """

    def __init__(self, graph: TemporalGraph):
        self.graph: TemporalGraph = graph
        self.entities: int = graph.num_entities
        self.rel2: int = 2 * graph.num_relations
        if self.entities**2 * self.rel2 * graph.num_snapshots >= 2**63:
            raise DataError(
                f"{graph.name}: {self.entities:,} entities, {graph.num_relations:,} relations and "
                f"{graph.num_snapshots:,} snapshots are too many to index; use a coarser granularity"
            )
        self.clock: np.ndarray = graph.time_index - graph.time_index[0]
        s, q, o = both_directions(graph)
        time = np.concatenate([graph.snapshot, graph.snapshot]).astype(np.int64)
        build = lambda key, **options: build_occurrences(key, time, self.clock, **options)
        self.triple: Occurrences = build((s * self.entities + o) * self.rel2 + q)
        self.pair: Occurrences = build(s * self.entities + o)
        self.subject: Occurrences = build(s)
        self.given: Occurrences = build(s * self.rel2 + q, faded=False)
        self.popular: Occurrences = build(q * self.entities + o)
        self._last_surroundings: tuple[tuple[Known, int], tuple[np.ndarray, ...]] | None = None

    @property
    def nbytes(self) -> int:
        return sum(index.nbytes for index in (self.triple, self.pair, self.subject, self.given, self.popular))

    @cached_property
    def triple_relation(self) -> np.ndarray:
        """int64: q of every triple."""
        return self.triple.key % self.rel2

    @cached_property
    def _triple_given(self) -> np.ndarray:
        """int64: group in `given` of every triple."""
        return find(self.given.key, self.triple.key // self.rel2 // self.entities * self.rel2 + self.triple_relation)

    @cached_property
    def _triples_of_pair(self) -> np.ndarray:
        """int64: where the triples of each pair begin, and where the last ones end."""
        return np.searchsorted(self.triple.key, np.append(self.pair.key, self.entities**2) * self.rel2)

    @cached_property
    def pair_subject(self) -> np.ndarray:
        return self.pair.key // self.entities

    @cached_property
    def pair_object(self) -> np.ndarray:
        return self.pair.key % self.entities

    def known(self, target: int, before: int | None = None) -> Known:
        """What is known of `target`; `before`: nothing from this snapshot on, where that is earlier.

        Ages end at the first snapshot that is not known: a model that has learnt to forecast the next one forecasts
        later ones as if they were next. (Let the ages go on, and in data whose facts last it takes all of them for
        ended: on YAGO's valid split, multi-step MRR 0.48 instead of 0.73, on ICEWS14s 0.396 instead of 0.392.)
        """
        before = target if before is None else min(target, before)
        return Known(before, float(self.clock[before]))

    # --- how much is known -----------------------------------------------------------------------------------

    def num_links(self, known: Known) -> int:
        """How many pairs are known."""
        return int(np.searchsorted(self._pair_beginnings, known.before))

    def num_popular(self, relations: np.ndarray, known: Known) -> int:
        """How many objects are known of `relations`, together."""
        base = relations * len(self.clock)
        return int(
            (
                np.searchsorted(self._popular_beginnings, base + known.before)
                - np.searchsorted(self._popular_beginnings, base)
            ).sum()
        )

    def num_objects(self, subjects: np.ndarray, relations: np.ndarray, known: Known) -> np.ndarray:
        """int64: with how many objects each subject is known to have had the relation."""
        base = (subjects * self.rel2 + relations) * len(self.clock)
        return np.searchsorted(self._given_beginnings, base + known.before) - np.searchsorted(
            self._given_beginnings, base
        )

    @cached_property
    def _pair_beginnings(self) -> np.ndarray:
        return np.sort(self.pair.first_snapshot)

    @cached_property
    def _popular_beginnings(self) -> np.ndarray:
        return np.sort(self.popular.key // self.entities * len(self.clock) + self.popular.first_snapshot)

    @cached_property
    def _given_beginnings(self) -> np.ndarray:
        given = self.given.key[self._triple_given]
        return np.sort(given * len(self.clock) + self.triple.first_snapshot)

    # --- what is known of some subjects ------------------------------------------------------------------------

    def partners(self, subjects: np.ndarray, known: Known, most: int = 0) -> Partners:
        """The partners of `subjects`, and how they met.

        **Arguments:** `most`: of each subject, only the partners met last, this many (0 = all): ties go to those met
        more often, then to the smaller number.
        """
        low, high = np.searchsorted(self.pair_subject, subjects), np.searchsorted(self.pair_subject, subjects + 1)
        owner, pair = ranges(low, high)
        seen = self.pair.first_snapshot[pair] < known.before
        owner, pair = owner[seen], pair[seen]
        row = self.pair.last(pair, known.before)
        if most and len(owner) and np.bincount(owner).max() > most:
            order = np.lexsort((pair, -self.pair.events[row], -(self.pair.occurrence[row] % len(self.clock)), owner))
            begin = np.searchsorted(owner, owner)  # `owner` is in order, before and after
            kept = np.sort(order[np.arange(len(owner)) - begin < most])
            owner, pair, row = owner[kept], pair[kept], row[kept]
        entry_neighbour, entry = ranges(self._triples_of_pair[pair], self._triples_of_pair[pair + 1])
        seen = self.triple.first_snapshot[entry] < known.before
        entry_neighbour, entry = entry_neighbour[seen], entry[seen]
        return Partners(owner, pair, row, entry_neighbour, entry, self.triple.last(entry, known.before))

    def entry_features(self, partners: Partners, known: Known) -> np.ndarray:
        """float32 `(entry, ENTRY_FEATURES)`: of the triple alone; then in how many snapshots it was, and its age beside
        that of (s, q) with anyone, that age, and its age beside that of the pair."""
        entry, row = partners.entry, partners.entry_row
        age = self.triple.age(row, known.now)
        given = self.triple_given_age(entry, known)
        pair = self.pair.age(partners.row, known.now)[partners.entry_neighbour]
        more = [self.triple.snapshots(row, entry), age - given, given, age - pair]
        return np.concatenate([plain_features(self.triple, row, known.now), _logs(*more)], 1)

    def triple_given_age(self, entry: np.ndarray, known: Known) -> np.ndarray:
        """float32: steps since the subject of each triple last had its relation, with anyone."""
        return self.given.age(self.given.last(self._triple_given[entry], known.before), known.now)

    def pair_features(self, partners: Partners, subjects: np.ndarray, known: Known, context: bool) -> np.ndarray:
        """float32 `(pair, PAIR_FEATURES)`, and with `context` CONTEXT_FEATURES more: how many partners of the subject
        were met later, how many it has, the pair's share of all that the subject did (by the longer half-lives), and
        what is known of the object and of the subject."""
        plain = plain_features(self.pair, partners.row, known.now)
        if not context:
            return plain
        owner, age = partners.owner, self.pair.age(partners.row, known.now)
        order = np.lexsort((age, owner))
        begin = np.searchsorted(owner, owner)
        place = np.arange(len(owner))
        new = np.diff(owner[order], prepend=-1) != 0
        new |= np.diff(age[order], prepend=-1) != 0
        later = np.empty(len(owner), np.float32)
        later[order] = np.maximum.accumulate(np.where(new, place, 0)) - begin
        number = np.bincount(owner, minlength=len(subjects))[owner].astype(np.float32)
        strength = self.pair.faded(partners.row, known.now)[:, 1:]
        row = self.subject.last(self.subject.group(subjects), known.before)
        # A subject without a past has no partners, so that what is made of its row is not used.
        of_subject = self.subject.faded(np.maximum(row, 0), known.now)[:, 1:]
        share = np.log(strength / (of_subject[owner] + 1e-3) + 1e-3) * SCALE
        objects = self.activity(self.pair_object[partners.pair], known)
        return np.concatenate([plain, _logs(later, number), share, objects, self.activity(subjects, known)[owner]], 1)

    def activity(self, entities: np.ndarray, known: Known) -> np.ndarray:
        """float32 `(entity, PLAIN_FEATURES)`: when and how often entities were in any fact."""
        last = self._last_surroundings
        if last is not None and last[0][0] == known:
            return last[1][0][entities]
        row = self.subject.last(self.subject.group(entities), known.before)
        seen = row >= 0
        out = np.empty((len(entities), PLAIN_FEATURES), np.float32)
        out[seen] = plain_features(self.subject, row[seen], known.now)
        out[~seen] = np.log(np.array([NEVER, 1, *[LEAST_STRENGTH] * len(HALF_LIVES)], np.float32)) * SCALE
        return out

    # --- what is known of relations and of everybody -------------------------------------------------------------

    def popular_objects(self, relations: np.ndarray, known: Known) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(position in `relations`, object, features) of everything seen with each relation."""
        low = np.searchsorted(self.popular.key, relations * self.entities)
        high = np.searchsorted(self.popular.key, (relations + 1) * self.entities)
        owner, group = ranges(low, high)
        seen = self.popular.first_snapshot[group] < known.before
        owner, group = owner[seen], group[seen]
        row = self.popular.last(group, known.before)
        return owner, self.popular.key[group] % self.entities, plain_features(self.popular, row, known.now)

    def surroundings(self, known: Known, most: int) -> tuple[np.ndarray, ...]:
        """The activity of all entities, and `links`; remembered, for a snapshot may be asked about in many parts."""
        last = self._last_surroundings  # one look: another thread may put its own there
        if last is None or last[0] != (known, most):
            made = (self.activity(np.arange(self.entities), known), *self.links(known, most))
            self._last_surroundings = last = (known, most), made
        return last[1]

    def links(self, known: Known, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(subject, object, features) of every known pair, or of the `most` that met last, ties going to those that
        met more often; by subject."""
        pair = np.flatnonzero(self.pair.first_snapshot < known.before)
        row = self.pair.last(pair, known.before)
        if len(pair) > most:
            when = self.pair.occurrence[row] % len(self.clock)
            # Pairs of one snapshot: those that met more often, and then any, whatever their numbers.
            order = np.lexsort((_mixed(self.pair.key[pair]), -self.pair.events[row], -when))
            kept = np.sort(order[:most])
            pair, row = pair[kept], row[kept]
        return self.pair_subject[pair], self.pair_object[pair], plain_features(self.pair, row, known.now)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """uint64: numbers in no order, the same ones always (the mixing of splitmix64)."""
    x = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return x ^ (x >> np.uint64(27))


def plain_features(index: Occurrences, row: np.ndarray, now: float) -> np.ndarray:
    """float32 `(row, PLAIN_FEATURES)`: log of age, of 1 + events, and of the events faded by every half-life."""
    age = np.log(np.maximum(index.age(row, now), 0.5))
    events = np.log1p(index.events[row])
    faded = np.log(index.faded(row, now) + np.float32(LEAST_STRENGTH))
    return np.concatenate([np.stack([age, events], 1), faded], 1).astype(np.float32) * SCALE


def _logs(*columns: np.ndarray) -> np.ndarray:
    """float32 `(row, column)`: log(1 + x), scaled."""
    return np.log1p(np.stack(columns, 1).astype(np.float32)) * SCALE
