"""The global history vocabulary: what was seen before, for every question and any time.

For entity questions: the objects seen with (s, r), inverse facts included. For relation questions: the
relations, inverse ones included, seen between s and o. Built once from the facts; its size is proportional
to them, nothing is written to disk, and one index answers for every time t, because a question's candidates
are kept in order of first occurrence: those seen before t are a prefix.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import DataError


@dataclass(frozen=True)
class HistoryIndex:
    """Candidates by key (a question's two ids as one integer) and time.

    `first`: int64 `(group,)`, ascending: key * num_times + first snapshot of the group, a group being one
    (key, candidate); `candidate`: int32 `(group,)`; `occurrence`: int64, ascending: group * num_times +
    snapshot for every distinct snapshot in which the group occurs.
    """

    first: np.ndarray
    candidate: np.ndarray
    occurrence: np.ndarray
    num_times: int

    @property
    def nbytes(self) -> int:
        return self.first.nbytes + self.candidate.nbytes + self.occurrence.nbytes

    def _ranges(self, keys: np.ndarray, time: int) -> tuple[np.ndarray, np.ndarray]:
        base = keys.astype(np.int64) * self.num_times
        return np.searchsorted(self.first, base), np.searchsorted(self.first, base + time)

    def count(self, keys: np.ndarray, time: int) -> np.ndarray:
        """int64 `(key,)`: how many candidates each key has before snapshot `time`, over all history."""
        low, high = self._ranges(keys, time)
        return high - low

    def lookup(self, keys: np.ndarray, time: int, window: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The candidates of every key seen before snapshot `time`.

        **Arguments:** `keys`: int64 `(key,)`; `time`: a snapshot number; `window`: only the last `window`
        snapshots before `time` (0 = all).

        **Returns:** (position in `keys`, candidate), both int32 and in order of position.
        """
        low, high = self._ranges(keys, time)
        length = high - low
        position = np.repeat(np.arange(len(keys), dtype=np.int32), length)
        group = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length - low, length)
        if window:
            # The prefix holds groups that began before `time`, so a last occurrence before it exists.
            base = group * self.num_times
            last = self.occurrence[np.searchsorted(self.occurrence, base + time) - 1] - base
            recent = last >= time - window
            position, group = position[recent], group[recent]
        return position, self.candidate[group]


@dataclass(frozen=True)
class HistoryVocabulary:
    """History of entity questions and of relation questions over one graph."""

    entity: HistoryIndex
    relation: HistoryIndex
    num_entities: int
    num_relations: int

    def entity_keys(self, subject: np.ndarray, relation: np.ndarray) -> np.ndarray:
        """int64 keys of (s, r), r in 0 .. 2 num_relations - 1."""
        return subject.astype(np.int64) * (2 * self.num_relations) + relation

    def relation_keys(self, subject: np.ndarray, object: np.ndarray) -> np.ndarray:
        """int64 keys of (s, o)."""
        return subject.astype(np.int64) * self.num_entities + object

    def report(self) -> dict[str, Any]:
        """Number of (s, r) pairs with history, mean number of objects per pair, and the size in memory."""
        pairs = len(np.unique(self.entity.first // self.entity.num_times))
        return {
            "pairs": pairs,
            "objects_per_pair": len(self.entity.candidate) / pairs,
            "bytes": self.entity.nbytes + self.relation.nbytes,
        }


def _index(key: np.ndarray, candidate: np.ndarray, time: np.ndarray, candidates: int, times: int) -> HistoryIndex:
    # One integer per occurrence: a single sort by key, candidate and time, and distinct ones side by side.
    code = np.sort((key * candidates + candidate) * times + time)
    code = code[np.diff(code, prepend=-1) != 0]
    pair = code // times
    time = code - pair * times
    starts = np.flatnonzero(np.diff(pair, prepend=-1))
    key_of_pair = pair[starts] // candidates
    first = key_of_pair * times + time[starts]
    # Sorted by key already, so a merge of short runs.
    order = np.argsort(first, kind="stable")
    # Every group's occurrences move together: those of group g of the new order begin at starts[order[g]].
    length = np.diff(starts, append=len(code))[order]
    group = np.repeat(np.arange(len(order)), length)
    place = np.arange(len(code)) + np.repeat(starts[order] - (np.cumsum(length) - length), length)
    return HistoryIndex(
        first=first[order],
        candidate=(pair[starts] - key_of_pair * candidates)[order].astype(np.int32),
        occurrence=group * times + time[place],
        num_times=times,
    )


def build_history_vocabulary(graph: TemporalGraph) -> HistoryVocabulary:
    """Index the history of `graph`, every split included; a look-up names the time it may see up to.

    **Raises:** DataError when entities^2 * relations * snapshots exceeds what 63 bits can number.
    """
    rel2, entities, times = 2 * graph.num_relations, graph.num_entities, graph.num_snapshots
    if entities * rel2 * entities * times >= 2**63:
        raise DataError(
            f"{graph.name}: {entities} entities, {graph.num_relations} relations and {times} snapshots are too "
            "many to index; use a coarser granularity or fewer days"
        )
    both = lambda a, b: np.concatenate([a, b]).astype(np.int64)
    subject, object_ = both(graph.subject, graph.object), both(graph.object, graph.subject)
    relation = both(graph.relation, graph.relation + graph.num_relations)
    time = both(graph.snapshot, graph.snapshot)
    # NumPy sorts without holding Python's lock, so the two indices take the time of one.
    with ThreadPoolExecutor(2) as pool:
        entity = pool.submit(_index, subject * rel2 + relation, object_, time, entities, times)
        relations = pool.submit(_index, subject * entities + object_, relation, time, rel2, times)
    return HistoryVocabulary(
        entity=entity.result(),
        relation=relations.result(),
        num_entities=entities,
        num_relations=graph.num_relations,
    )
