"""Every occurrence of every (s, r, o), for the recurrency baseline, which counts what happened before.

Both directions are counted: an inverse fact (o, r + relations, s) is a fact like any other.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph, both_directions
from tirgn_eqx.data.index.occurrences import accumulate, ranges
from tirgn_eqx.errors import DataError


class HistoryCandidates(NamedTuple):
    """The candidates that some queries have in their history, in the order of the queries.

    `query`: position of the query; `candidate`: entity; `last`: the latest occurrence of this (s, r, o) in the
    history, a row of `RecurrenceIndex.occurrence`.
    """

    query: np.ndarray
    candidate: np.ndarray
    last: np.ndarray


@dataclass(frozen=True)
class RecurrenceIndex:
    """Every occurrence of every (s, r, o), in order of (s, r), o and time.

    `occurrence`: int64, ascending: triple * num_snapshots + snapshot, exact duplicates kept; `start`: int64
    `(triple,)`, the triple's first occurrence; `key`: int64 `(triple,)`, ascending: s * 2 relations + r;
    `candidate`: int32 `(triple,)`, o; `clock`: float64 `(snapshot,)`, the time of a snapshot in steps.
    """

    occurrence: np.ndarray
    start: np.ndarray
    key: np.ndarray
    candidate: np.ndarray
    clock: np.ndarray
    rel2: int

    @property
    def num_snapshots(self) -> int:
        return len(self.clock)

    @cached_property
    def relation(self) -> np.ndarray:
        """int64 `(occurrence,)`: the relation of every occurrence."""
        length = np.diff(self.start, append=len(self.occurrence))
        return np.repeat(self.key % self.rel2, length)

    @cached_property
    def time(self) -> np.ndarray:
        """float64 `(occurrence,)`: when it happened, in steps."""
        return self.clock[self.occurrence % self.num_snapshots]

    def keys(self, subject: np.ndarray, relation: np.ndarray) -> np.ndarray:
        """int64: (s, r) as one integer, r with inverses."""
        return subject.astype(np.int64) * self.rel2 + relation

    def history(self, keys: np.ndarray, before: int) -> HistoryCandidates:
        """The candidates that occurred with each key before snapshot `before`."""
        # Equal keys are adjacent, one row for each candidate.
        query, triple = ranges(np.searchsorted(self.key, keys), np.searchsorted(self.key, keys + 1))
        last = np.searchsorted(self.occurrence, triple * self.num_snapshots + before) - 1
        # A row before the first one of the triple belongs to another triple: this one has not occurred yet.
        occurred = last >= self.start[triple]
        return HistoryCandidates(query[occurred], self.candidate[triple[occurred]], last[occurred])

    def strength(self, decay: np.ndarray) -> np.ndarray:
        """float64 `(occurrence,)`: the sum of 2^(-decay (k - j)) over this occurrence, at time k, and all earlier ones
        of its triple, at times j.

        **Arguments:** `decay`: float64 `(rel2,)`, in 1 / step. At a later time t the sum over the same occurrences is
        this times 2^(-decay (t - k)).
        """
        rate = decay[self.relation]
        # Time may go back from one triple to the next, where the fade is not used.
        fade = np.exp2(-rate * np.maximum(np.diff(self.time, prepend=self.time[:1]), 0))
        total = np.ones(len(self.occurrence))
        accumulate(total, fade, self.start)
        return total


def build_recurrence_index(graph: TemporalGraph) -> RecurrenceIndex:
    """Index all facts of `graph`, every split included; each look-up says how far its history reaches.

    **Raises:** DataError when entities^2 * relations exceeds what 63 bits can number.
    """
    rel2, entities, snapshots = 2 * graph.num_relations, graph.num_entities, graph.num_snapshots
    if entities * rel2 * entities >= 2**63:
        raise DataError(f"{graph.name}: {entities} entities and {graph.num_relations} relations are too many to index")
    subject, relation, object_ = both_directions(graph)
    time = np.concatenate([graph.snapshot, graph.snapshot]).astype(np.int64)
    code = (subject * rel2 + relation) * entities + object_
    # Duplicates keep a row each. The last of them is the one that look-ups find, and its strength includes the others.
    order = np.lexsort((time, code))
    code, time = code[order], time[order]
    new = np.diff(code, prepend=-1) != 0
    start = np.flatnonzero(new)
    return RecurrenceIndex(
        occurrence=(np.cumsum(new) - 1) * snapshots + time,
        start=start,
        key=code[start] // entities,
        candidate=(code[start] % entities).astype(np.int32),
        clock=graph.time_index,
        rel2=rel2,
    )
