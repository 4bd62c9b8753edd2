"""The global history vocabulary: what was seen before, for every question and any time.

For entity questions: the objects seen with (s, r), inverse facts included. For relation questions: the
relations, inverse ones included, seen between s and o. Built once from the facts; its size is proportional
to them, and one index answers for every time t, because a question's candidates
are kept in order of first occurrence: those seen before t are a prefix.

A graph that is mapped from the disk has its vocabulary there too, built part by part and kept beside it: see
`tirgn_eqx.data.index.history_external` and `tirgn_eqx.data.index.history_files`.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.storage.npy_columns import chunks


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


def index_rows(
    key: np.ndarray, candidate: np.ndarray, time: np.ndarray, candidates: int, times: int, base: int = 0
) -> HistoryIndex:
    """The index of rows in any order. **Arguments:** `key`, `candidate`, `time`: whole numbers `(row,)`, `key` counted
    from `base`; `candidates`, `times`: how many of these there are."""
    starts, key, candidate, time = _sorted_rows(key, candidate, time, candidates, times)
    first = (key + base) * times + time[starts]
    # Sorted by key already, so a merge of short runs.
    order = np.argsort(first, kind="stable")
    first, candidate = first[order], candidate[order].astype(np.int32)
    # Every group's occurrences move together: those of group g of the new order begin at starts[order[g]].
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
    """Distinct rows by key, candidate and time: where each (key, candidate) begins, its key and candidate, int64
    `(group,)`; and the times, int64 `(row,)`."""
    if len(key) and (int(key.max()) + 1) * candidates * times < 2**63:
        # One integer per occurrence: a single sort by key, candidate and time, and distinct ones side by side.
        code = key.astype(np.int64)
        code *= candidates
        code += candidate
        code *= times
        code += time
        code.sort()
        code = code[np.diff(code, prepend=-1) != 0]
        pair = code // times
        code -= pair * times
        starts = np.flatnonzero(np.diff(pair, prepend=-1))
        pair = pair[starts]
        key = pair // candidates
        return starts, key, pair - key * candidates, code
    order = np.lexsort((time, candidate, key))
    columns = [column[order].astype(np.int64) for column in (key, candidate, time)]
    differs = lambda column: np.diff(column, prepend=-1) != 0
    new_pair = differs(columns[0]) | differs(columns[1])
    distinct = new_pair | differs(columns[2])
    starts = np.flatnonzero(new_pair[distinct])
    key, candidate, time = (column[distinct] for column in columns)
    return starts, key[starts], candidate[starts], time


def check_sizes(graph: TemporalGraph) -> None:
    """**Raises:** DataError when 63 bits cannot number what is looked up: a key with a time, or with a candidate."""
    rel2, entities, times = 2 * graph.num_relations, graph.num_entities, graph.num_snapshots
    if max(entities * rel2 * times, entities * entities * times, entities * entities * rel2) >= 2**63:
        raise DataError(
            f"{graph.name}: {entities} entities, {graph.num_relations} relations and {times} snapshots are too "
            "many to index; use a coarser granularity or fewer days"
        )


def build_history_vocabulary(graph: TemporalGraph, *, part: tuple[int, int] | None = None) -> HistoryVocabulary:
    """Index the history of `graph`, every split included; a look-up names the time it may see up to.

    The vocabulary of a graph that is mapped from the disk is built there once, see `mapped_vocabulary`.

    **Arguments:** `part`: (index, count): only the questions about subjects s with s % count == index, both directions
    of every fact included; None: all.

    **Raises:** ConfigError for an impossible part; DataError when there is more than 63 bits can number.
    """
    if part is not None and not 0 <= part[0] < part[1]:
        raise ConfigError(f"part {part}: must be (index, count) with 0 <= index < count")
    if graph.mapped_folder is not None or isinstance(graph.subject, np.memmap):
        from tirgn_eqx.data.index.history_files import mapped_vocabulary

        return mapped_vocabulary(graph, part=part)
    check_sizes(graph)
    rel2, entities, times = 2 * graph.num_relations, graph.num_entities, graph.num_snapshots
    both = lambda a, b: np.concatenate([a, b]).astype(np.int64)
    subject, object_ = both(graph.subject, graph.object), both(graph.object, graph.subject)
    relation = both(graph.relation, graph.relation + graph.num_relations)
    time = both(graph.snapshot, graph.snapshot)
    if part is not None:
        own = subject % part[1] == part[0]
        subject, relation, object_, time = (column[own] for column in (subject, relation, object_, time))
    # NumPy sorts without holding Python's lock, so the two indices take the time of one.
    with ThreadPoolExecutor(2) as pool:
        entity = pool.submit(index_rows, subject * rel2 + relation, object_, time, entities, times)
        relations = pool.submit(index_rows, subject * entities + object_, relation, time, rel2, times)
    return HistoryVocabulary(
        entity=entity.result(),
        relation=relations.result(),
        num_entities=entities,
        num_relations=graph.num_relations,
    )
