"""Snapshots as edge lists over the entities that have an edge in them, and windows of them padded to one shape."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph

MAX_CACHED_FACTS = 1 << 25  # about one gigabyte of snapshots


@dataclass(frozen=True)
class Snapshot:
    """The edges of one snapshot in both directions (the inverse of relation r is r + num_relations).

    `active`: entities with an edge, ascending; `degree`: their in-degree, exact duplicates counted; `edge_source`,
    `edge_target`: positions in `active`, sorted by target; (`pair_relation`, `pair_entity`): the distinct (relation,
    subject) pairs of the original facts, sorted by relation, subjects as positions in `active`. The fields have the
    names of those of `tirgn_eqx.types.Window`.
    """

    active: np.ndarray
    degree: np.ndarray
    edge_source: np.ndarray
    edge_relation: np.ndarray
    edge_target: np.ndarray
    relation_count: np.ndarray
    pair_relation: np.ndarray
    pair_entity: np.ndarray

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(active entities, edges, pairs): the least sizes of a padded window that holds this snapshot."""
        return len(self.active), len(self.edge_source), len(self.pair_relation)

    @property
    def num_facts(self) -> int:
        return len(self.edge_source) // 2


def build_snapshot(graph: TemporalGraph, index: int) -> Snapshot:
    """Snapshot number `index` of `graph`, with the facts of every split."""
    rows = slice(graph.offsets[index], graph.offsets[index + 1])
    s, r, o = graph.subject[rows], graph.relation[rows], graph.object[rows]
    active, position = np.unique(np.concatenate([s, o]), return_inverse=True)
    subject, object_ = position[: len(s)], position[len(s) :]
    source = np.concatenate([subject, object_])
    target = np.concatenate([object_, subject])
    relation = np.concatenate([r, r + graph.num_relations])
    # By target, because the means over in-edges take their segments as ascending.
    order = np.argsort(target, kind="stable")
    # Subjects of the original facts alone: in the released code, an inverse relation pools those of its relation.
    pair = np.unique(r.astype(np.int64) * len(active) + subject)
    return Snapshot(
        active=active.astype(np.int32),
        degree=np.bincount(target, minlength=len(active)).astype(np.float32),
        edge_source=source[order].astype(np.int32),
        edge_relation=relation[order].astype(np.int32),
        edge_target=target[order].astype(np.int32),
        relation_count=np.bincount(relation, minlength=2 * graph.num_relations).astype(np.float32),
        pair_relation=(pair // len(active)).astype(np.int32),
        pair_entity=(pair % len(active)).astype(np.int32),
    )


class SnapshotStore:
    """The snapshots of a graph, built on first use and cached (about 30 bytes a fact). Threads may share a store.

    **Arguments:** `max_facts`: when the cached snapshots hold more facts, the least recently used are dropped.
    """

    def __init__(self, graph: TemporalGraph, max_facts: int = MAX_CACHED_FACTS):
        self.graph: TemporalGraph = graph
        self.max_facts: int = max_facts
        self._cache: OrderedDict[int, Snapshot] = OrderedDict()
        self._cached_facts = 0
        self._sizes: dict[int, tuple[int, int, int]] = {}
        self._lock = Lock()

    def __getitem__(self, index: int) -> Snapshot:
        with self._lock:
            snapshot = self._cache.get(index)
            if snapshot is not None:
                self._cache.move_to_end(index)
                return snapshot
        # Built without the lock, so that threads do not wait for each other; of two equal ones, one is kept.
        snapshot = build_snapshot(self.graph, index)
        with self._lock:
            if index not in self._cache:
                self._cache[index] = snapshot
                self._cached_facts += snapshot.num_facts
            # One snapshot stays even if it alone is over the limit.
            while self._cached_facts > self.max_facts and len(self._cache) > 1:
                self._cached_facts -= self._cache.popitem(last=False)[1].num_facts
        return snapshot

    def sizes(self, index: int) -> tuple[int, int, int]:
        """`Snapshot.sizes` of a snapshot; remembered even when the snapshot itself was dropped."""
        if index not in self._sizes:
            self._sizes[index] = self[index].sizes
        return self._sizes[index]

    def window(self, target: int, history_len: int) -> list[Snapshot]:
        """The last `history_len` snapshots strictly before snapshot `target`, oldest first."""
        return [self[index] for index in range(max(0, target - history_len), target)]

    def window_sizes(self, target: int, history_len: int) -> np.ndarray:
        """int64 `(3,)`: the largest (active, edge, pair) counts in the window before `target`, at least 1."""
        sizes = [self.sizes(index) for index in range(max(0, target - history_len), target)]
        return np.max(np.asarray(sizes, np.int64).reshape(-1, 3), axis=0, initial=1)


def stack_window(
    snapshots: list[Snapshot], history_len: int, sizes: tuple[int, ...], num_entities: int, num_relations: int
) -> dict[str, np.ndarray]:
    """The fields of a `tirgn_eqx.types.Window`, padded to `sizes` = (active, edge, pair).

    Short windows are padded at the front by snapshots with `valid` False. Padding indices lie one past the
    end: `num_entities` for `active`, the active size for `edge_target`, `num_relations` for `pair_relation`.
    """
    active, edge, pair = sizes
    # Padding that lies one past the end leaves `edge_target` ascending, as segment sums need it, and they drop it.
    fields = {
        "valid": np.zeros(history_len, bool),
        "active": np.full((history_len, active), num_entities, np.int32),
        "degree": np.zeros((history_len, active), np.float32),
        "edge_source": np.zeros((history_len, edge), np.int32),
        "edge_relation": np.zeros((history_len, edge), np.int32),
        "edge_target": np.full((history_len, edge), active, np.int32),
        "relation_count": np.zeros((history_len, 2 * num_relations), np.float32),
        "pair_entity": np.zeros((history_len, pair), np.int32),
        "pair_relation": np.full((history_len, pair), num_relations, np.int32),
    }
    for row, snapshot in enumerate(snapshots, start=history_len - len(snapshots)):
        fields["valid"][row] = True
        for name, values in vars(snapshot).items():
            fields[name][row, : len(values)] = values
    return fields
