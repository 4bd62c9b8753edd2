"""Snapshots as edge lists over their own few entities, and windows of them padded to one shape."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph

KEPT = 1 << 25  # facts whose snapshots are kept: a gigabyte of them


@dataclass(frozen=True)
class Snapshot:
    """One snapshot's edges in both directions (inverse relations are r + num_relations).

    `active`: entities with an edge, ascending; `degree`: their in-degree, exact duplicates counted;
    `source`, `target`: positions in `active`, sorted by target; `pair_relation`, `pair_entity`: distinct
    (relation, subject) pairs of the facts as stored, subjects as positions in `active`, sorted by relation.
    """

    active: np.ndarray
    degree: np.ndarray
    source: np.ndarray
    relation: np.ndarray
    target: np.ndarray
    relation_count: np.ndarray
    pair_relation: np.ndarray
    pair_entity: np.ndarray

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(active entities, edges, pairs): what a padded window must hold."""
        return len(self.active), len(self.source), len(self.pair_relation)


def build_snapshot(graph: TemporalGraph, index: int) -> Snapshot:
    """Snapshot `index` of `graph`, every split included."""
    rows = slice(graph.offsets[index], graph.offsets[index + 1])
    s, r, o = graph.subject[rows], graph.relation[rows], graph.object[rows]
    active, position = np.unique(np.concatenate([s, o]), return_inverse=True)
    subject, object_ = position[: len(s)], position[len(s) :]
    source = np.concatenate([subject, object_])
    target = np.concatenate([object_, subject])
    relation = np.concatenate([r, r + graph.num_relations])
    order = np.argsort(target, kind="stable")
    pair = np.unique(r.astype(np.int64) * len(active) + subject)
    return Snapshot(
        active=active.astype(np.int32),
        degree=np.bincount(target, minlength=len(active)).astype(np.float32),
        source=source[order].astype(np.int32),
        relation=relation[order].astype(np.int32),
        target=target[order].astype(np.int32),
        relation_count=np.bincount(relation, minlength=2 * graph.num_relations).astype(np.float32),
        pair_relation=(pair // len(active)).astype(np.int32),
        pair_entity=(pair % len(active)).astype(np.int32),
    )


class SnapshotStore:
    """The snapshots of a graph, built on first use and kept: about 30 bytes a fact.

    **Arguments:** `most`: facts of the snapshots that are kept; beyond it, those that were not used for longest go.
    """

    def __init__(self, graph: TemporalGraph, most: int = KEPT):
        self.graph: TemporalGraph = graph
        self.most: int = most
        self._built: OrderedDict[int, Snapshot] = OrderedDict()
        self._facts = 0
        self._sizes: dict[int, tuple[int, int, int]] = {}
        # Batches are built in a thread of their own.
        self._lock = Lock()

    def __getitem__(self, index: int) -> Snapshot:
        with self._lock:
            snapshot = self._built.get(index)
            if snapshot is not None:
                self._built.move_to_end(index)
                return snapshot
        snapshot = build_snapshot(self.graph, index)
        with self._lock:
            if index not in self._built:
                self._built[index] = snapshot
                self._facts += _facts(snapshot)
            while self._facts > self.most and len(self._built) > 1:
                self._facts -= _facts(self._built.popitem(last=False)[1])
        return snapshot

    def sizes(self, index: int) -> tuple[int, int, int]:
        """`Snapshot.sizes` of a snapshot, known without it once it was built."""
        if index not in self._sizes:
            self._sizes[index] = self[index].sizes
        return self._sizes[index]

    def window(self, target: int, history_len: int) -> list[Snapshot]:
        """The last `history_len` snapshots strictly before snapshot `target`, oldest first."""
        return [self[index] for index in range(max(0, target - history_len), target)]

    def window_sizes(self, target: int, history_len: int) -> np.ndarray:
        """int64 `(3,)`: the largest (active, edge, pair) counts in the window before `target`."""
        sizes = [self.sizes(index) for index in range(max(0, target - history_len), target)]
        return np.max(np.asarray(sizes, np.int64).reshape(-1, 3), axis=0, initial=1)


def _facts(snapshot: Snapshot) -> int:
    return len(snapshot.source) // 2


def stack_window(
    snapshots: list[Snapshot],
    history_len: int,
    sizes: tuple[int, int, int],
    num_entities: int,
    num_relations: int,
) -> dict[str, np.ndarray]:
    """The fields of a `tirgn_eqx.types.Window`, padded to `sizes` = (active, edge, pair).

    Short windows are padded at the front by snapshots with `valid` False. Padding indices lie one past the
    end: `num_entities` for `active`, the active size for `edge_target`, `num_relations` for `pair_relation`.
    """
    active, edge, pair = sizes
    full = lambda width, value, dtype="int32": np.full((history_len, width), value, dtype)
    fields = {
        "valid": np.zeros(history_len, bool),
        "active": full(active, num_entities),
        "degree": full(active, 0, "float32"),
        "edge_source": full(edge, 0),
        "edge_relation": full(edge, 0),
        "edge_target": full(edge, active),
        "relation_count": full(2 * num_relations, 0, "float32"),
        "pair_entity": full(pair, 0),
        "pair_relation": full(pair, num_relations),
    }
    for row, snapshot in enumerate(snapshots, start=history_len - len(snapshots)):
        a, e, p = snapshot.sizes
        fields["valid"][row] = True
        fields["active"][row, :a] = snapshot.active
        fields["degree"][row, :a] = snapshot.degree
        fields["edge_source"][row, :e] = snapshot.source
        fields["edge_relation"][row, :e] = snapshot.relation
        fields["edge_target"][row, :e] = snapshot.target
        fields["relation_count"][row] = snapshot.relation_count
        fields["pair_entity"][row, :p] = snapshot.pair_entity
        fields["pair_relation"][row, :p] = snapshot.pair_relation
    return fields
