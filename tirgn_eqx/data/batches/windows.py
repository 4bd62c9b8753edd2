"""The windows before the targets of a split, without queries: the input of the encoder."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tirgn_eqx.data.batches.buckets import round_up
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.snapshots import SnapshotStore, stack_window
from tirgn_eqx.types import EntityRows, Window


class WindowAt(NamedTuple):
    """A window, the entities that have an edge in it, its length without padding, and the clock at the target."""

    window: Window
    rows: EntityRows
    length: int
    time_index: Float[Array, ""]


class WindowLoader:
    """Builds the window before any target of one split; all of them padded to one shape.

    **Arguments:** `graph`; `split`: None for targets of all; `history_len`; `history_end`: no window contains this
    snapshot or a later one (multi-step); `store`: of the same graph, to be shared.
    """

    def __init__(
        self,
        graph: TemporalGraph,
        split: str | None,
        *,
        history_len: int,
        history_end: int | None = None,
        store: SnapshotStore | None = None,
    ):
        self.graph, self.history_len, self.history_end = graph, history_len, history_end
        self.store = store or SnapshotStore(graph)
        targets = np.arange(graph.num_snapshots) if split is None else graph.split_snapshots(split)
        # Snapshot 0 has no window before it.
        ends = [self._end(target) for target in targets[targets > 0].tolist()]
        sizes = [self.store.window_sizes(end, history_len) for end in ends]
        largest = np.max(np.asarray(sizes, np.int64).reshape(-1, 3), axis=0, initial=1).tolist()
        self.sizes = (round_up(largest[0]), round_up(largest[1]), round_up(largest[2]))
        active = max((len(self._active(end)) for end in ends), default=1)
        self.num_rows = min(round_up(active), graph.num_entities)

    def _end(self, target: int, history_end: int | None = None) -> int:
        return min(x for x in (target, self.history_end, history_end) if x is not None)

    def _active(self, end: int) -> np.ndarray:
        """Entities with an edge in the window that ends before snapshot `end`, ascending."""
        window = self.store.window(end, self.history_len)
        # The empty array serves windows without snapshots: `concatenate` needs at least one array.
        return np.unique(np.concatenate([np.zeros(0, np.int32), *(snapshot.active for snapshot in window)]))

    def build(self, target: int, history_end: int | None = None) -> WindowAt:
        """The window before snapshot `target`; it also ends before snapshot `history_end`, if given."""
        graph, entities, end = self.graph, self.graph.num_entities, self._end(target, history_end)
        snapshots = self.store.window(end, self.history_len)
        fields = stack_window(snapshots, self.history_len, self.sizes, entities, graph.num_relations)
        active = self._active(end)
        index, weight = np.full(self.num_rows, entities, np.int32), np.zeros(self.num_rows, np.float32)
        index[: len(active)], weight[: len(active)] = active, 1
        # Entity ids become positions among the rows.
        place = np.searchsorted(active, fields["active"]).astype(np.int32)
        fields["active"] = np.where(fields["active"] == entities, np.int32(self.num_rows), place)
        window = Window(**{name: jnp.asarray(value) for name, value in fields.items()})
        rows = EntityRows(jnp.asarray(index), jnp.asarray(weight))
        return WindowAt(window, rows, len(snapshots), jnp.asarray(graph.time_index[target]))
