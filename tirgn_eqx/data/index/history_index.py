"""The global history vocabulary as an index: which candidates occurred with a key before any snapshot.

The key of an entity query is (s, r) and its candidates are objects, inverse facts included. The key of a relation
query is (s, o) and its candidates are relations, inverse ones included. The size is proportional to the number of
facts. One index answers for every time, because the candidates of a key are stored in order of first occurrence: those
that occurred before snapshot t are a prefix.
"""

from dataclasses import dataclass

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.occurrences import ranges
from tirgn_eqx.errors import DataError
from tirgn_eqx.storage.npy_columns import chunks


@dataclass(frozen=True)
class HistoryIndex:
    """Candidates by key (the two ids of a query as one integer) and time. A group is one (key, candidate).

    `first`: int64 `(group,)`, ascending: key * num_times + first snapshot of the group; `candidate`: int32 `(group,)`;
    `occurrence`: int64, ascending: group * num_times + snapshot for every distinct snapshot in which it occurs.

    For example, with 10 snapshots, key 3 occurring with candidate 7 at snapshots 2 and 5 and with candidate 4 at
    snapshot 6 gives `first` = [32, 36], `candidate` = [7, 4] and `occurrence` = [2, 5, 16]. Before snapshot 6, the
    groups of key 3 are those with `first` from 30 to below 36: candidate 7 alone.
    """

    first: np.ndarray
    candidate: np.ndarray
    occurrence: np.ndarray
    num_times: int

    @property
    def nbytes(self) -> int:
        return self.first.nbytes + self.candidate.nbytes + self.occurrence.nbytes

    def _groups(self, keys: np.ndarray, time: int) -> tuple[np.ndarray, np.ndarray]:
        """(first, one past the last) group of every key that occurred before snapshot `time`."""
        base = keys.astype(np.int64) * self.num_times
        return np.searchsorted(self.first, base), np.searchsorted(self.first, base + time)

    def count(self, keys: np.ndarray, time: int) -> np.ndarray:
        """int64 `(key,)`: how many candidates each key has before snapshot `time`, over all history."""
        low, high = self._groups(keys, time)
        return high - low

    def lookup(self, keys: np.ndarray, time: int, window: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The candidates that occurred with every key before snapshot `time`.

        **Arguments:** `keys`: int64 `(key,)`; `time`: a snapshot number; `window`: only the last `window`
        snapshots before `time` (0 = all).

        **Returns:** (position in `keys`, candidate), both int32 and in order of position.
        """
        position, group = ranges(*self._groups(keys, time))
        if window:
            # Every group found began before `time`, so that its last occurrence before `time` exists.
            base = group * self.num_times
            last = self.occurrence[np.searchsorted(self.occurrence, base + time) - 1] - base
            recent = last >= time - window
            position, group = position[recent], group[recent]
        return position.astype(np.int32), self.candidate[group]


@dataclass(frozen=True)
class HistoryVocabulary:
    """History of entity queries and of relation queries over one graph."""

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

    def report(self) -> dict[str, int | float]:
        """Number of (s, r) pairs with history, mean number of objects per pair, and the size in bytes."""
        # In chunks, because the column may lie on the disk. It is sorted, so a key is new where it changes.
        pairs, last = 0, -1
        for first in chunks(self.entity.first):
            key = first // self.entity.num_times
            pairs += int(np.count_nonzero(np.diff(key, prepend=last)))
            last = int(key[-1])
        return {
            "pairs": pairs,
            "objects_per_pair": len(self.entity.candidate) / max(pairs, 1),
            "bytes": self.entity.nbytes + self.relation.nbytes,
        }


def build_history_index(
    key: np.ndarray, candidate: np.ndarray, time: np.ndarray, candidates: int, times: int, base: int = 0
) -> HistoryIndex:
    """Index rows, given in any order.

    **Arguments:** `key`, `candidate`, `time`: integers `(row,)`; `candidates`, `times`: how many there are;
    `base`: is added to the keys.
    """
    starts, key, candidate, time = _sorted_rows(key, candidate, time, candidates, times)
    first = (key + base) * times + time[starts]
    # Sorted by key already, so a merge of short runs.
    order = np.argsort(first, kind="stable")
    first, candidate = first[order], candidate[order].astype(np.int32)
    # The occurrences move with their group: those of group g of the new order begin at starts[order[g]]. Done in
    # place, because the rows of a part of a mapped graph fill the memory it is given.
    length = np.diff(starts, append=len(time))[order]
    place = np.repeat(starts[order] - (np.cumsum(length) - length), length)
    place += np.arange(len(time))
    occurrence = np.repeat(np.arange(len(order)), length)
    occurrence *= times
    occurrence += time[place]
    return HistoryIndex(first=first, candidate=candidate, occurrence=occurrence, num_times=times)


def _sorted_rows(
    key: np.ndarray, candidate: np.ndarray, time: np.ndarray, candidates: int, times: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distinct rows by key, candidate and time, as (start, key and candidate of every group, time of every row)."""
    if len(key) and (int(key.max()) + 1) * candidates * times < 2**63:
        # One integer per row: a single sort in place, after which equal rows are adjacent.
        code = key.astype(np.int64)
        code *= candidates
        code += candidate
        code *= times
        code += time
        code.sort()
        code = code[np.diff(code, prepend=-1) != 0]
        pair = code // times
        # What is left of every code is its time: code % times, without a second division.
        code -= pair * times
        starts = np.flatnonzero(np.diff(pair, prepend=-1))
        pair = pair[starts]
        key = pair // candidates
        return starts, key, pair - key * candidates, code
    # The three numbers do not fit into 63 bits together: sort by columns, which takes more time and memory.
    order = np.lexsort((time, candidate, key))
    key, candidate, time = (column[order].astype(np.int64) for column in (key, candidate, time))
    new_pair = (np.diff(key, prepend=-1) != 0) | (np.diff(candidate, prepend=-1) != 0)
    distinct = new_pair | (np.diff(time, prepend=-1) != 0)
    starts = np.flatnonzero(new_pair[distinct])
    key, candidate, time = (column[distinct] for column in (key, candidate, time))
    return starts, key[starts], candidate[starts], time


def check_sizes(graph: TemporalGraph) -> None:
    """**Raises:** DataError when a key with a time, or with a candidate, exceeds what 63 bits can number."""
    rel2, entities, times = 2 * graph.num_relations, graph.num_entities, graph.num_snapshots
    if max(entities * rel2 * times, entities * entities * times, entities * entities * rel2) >= 2**63:
        raise DataError(
            f"{graph.name}: {entities} entities, {graph.num_relations} relations and {times} snapshots are too "
            "many to index; use a coarser granularity or fewer days"
        )
