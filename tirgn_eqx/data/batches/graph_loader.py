"""Batches of recurrent graph models: a window of snapshots, and the queries about its target with their history."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tirgn_eqx.data.batches.buckets import Bucket, group_loads, round_up
from tirgn_eqx.data.batches.loader import KINDS, Loader, LoaderOptions, Prepared
from tirgn_eqx.data.batches.negatives import draw_others, negative_sampling
from tirgn_eqx.data.batches.queries import (
    ONE_SHARD,
    Shards,
    SnapshotQueries,
    blank,
    build_queries,
    divide,
    division_sizes,
    pack,
)
from tirgn_eqx.data.graph import SPLITS, TemporalGraph
from tirgn_eqx.data.index.history_index import HistoryVocabulary
from tirgn_eqx.data.index.snapshots import Snapshot, SnapshotStore, stack_window
from tirgn_eqx.runtime.meshes import Placement, table_rows
from tirgn_eqx.runtime.processes import largest_of_all
from tirgn_eqx.types import Batch, EntityRows, Queries, Window

# The queries of one target by kind, and those of every target of a step by target, oldest first.
TargetQueries = dict[str, SnapshotQueries]
StepQueries = dict[int, TargetQueries]


@dataclass(frozen=True, kw_only=True)
class GraphOptions(LoaderOptions):
    """How a graph loader builds its batches.

    - `history_len`: snapshots of the window; `history_window`: snapshots of the history vocabulary (0 = all).
    - `unique`: decode equal queries once.
    - `bucket_cost`: the entity queries, padding included, that a further padded shape must save at least, for it is
      compiled.
    - `num_negatives`: candidates drawn for each answer of entity queries; `num_shared`: entities drawn for all queries
      of a snapshot together.
    - `rows`: evolve all entities, those with an edge in the window, or those that anything in the batch touches.
    - `targets_per_step`: consecutive targets that share one evolution, of a window as much longer.
    - `fed_back`: windows go on after `history_end`, with the snapshots of the loader's store.
    """

    history_len: int
    history_window: int = 0
    unique: bool = False
    bucket_cost: float = 0.0
    num_negatives: int = 0
    num_shared: int = 0
    rows: Literal["all", "window", "touched"] = "all"
    targets_per_step: int = 1
    fed_back: bool = False


class GraphLoader(Loader[Batch, GraphOptions, Bucket]):
    """Builds the batch of any target snapshot of one split. Its `items` are the targets, or with `targets_per_step` the
    last target of every step; each of those is forecast from what precedes it.

    **Arguments:** `store`: snapshots of the graph, to be shared; `placement`: the devices that batches go to.
    """

    def __init__(
        self,
        graph: TemporalGraph,
        vocabulary: HistoryVocabulary,
        split: str,
        options: GraphOptions,
        *,
        store: SnapshotStore | None = None,
        placement: Placement | None = None,
    ):
        super().__init__(graph, split, options)
        self.vocabulary, self.store = vocabulary, store or SnapshotStore(graph)
        self.placement = placement or Placement()
        self.table_rows = table_rows(graph.num_entities, self.placement.mesh)
        # Touched and drawn entities depend on the queries of all shards.
        own = self.placement.own_parts if options.rows != "touched" else range(self.placement.num_parts)
        self.shards = Shards(self.placement.num_parts, tuple(own))
        # Every k-th target up to the last one, so that only the first step may have fewer than k: of 8 targets and
        # k = 3, numbers 1, 4 and 7.
        self.items = self.snapshots[(len(self.snapshots) - 1) % options.targets_per_step :: options.targets_per_step]
        # Each earlier target of a step sees one snapshot less, so that the first one still sees `history_len`.
        self.window_len = options.history_len + options.targets_per_step - 1
        self._plan()

    def history_end(self, target: int) -> int:
        """The snapshot before which the history of `target` ends."""
        return target if self.options.history_end is None else min(target, self.options.history_end)

    def window_end(self, target: int) -> int:
        """The snapshot before which the window of `target` ends."""
        return target if self.options.fed_back else self.history_end(target)

    def padded_work(self, bucket: Bucket) -> int:
        """The padded number of entity queries."""
        return bucket.num_micro * bucket.entity[0]

    # --- shapes ------------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        """Choose the padded shapes and the shape of every item."""
        targets = self.items.tolist()
        if not targets:
            return self.set_buckets([], self.items)
        micros = np.zeros(len(targets), np.int64)
        rows, windows = np.zeros_like(micros), np.zeros((len(targets), 3), np.int64)
        sizes = {kind: np.zeros((len(targets), 4), np.int64) for kind in KINDS}
        for i, target in enumerate(targets):
            step = self._step_queries(target)
            windows[i] = self.store.window_sizes(self.window_end(target), self.window_len)
            micros[i] = max(self._num_micro(queries) for queries in step.values())
            rows[i] = self._max_rows(target, step)
            for kind in KINDS:
                sizes[kind][i] = self._micro_sizes(step, kind)
        load, most = sizes["entity"][:, 0] * micros, min(self.options.max_buckets, len(targets))
        group = group_loads(load, most, self.options.bucket_cost)
        members = [group == number for number in range(group.max() + 1)]
        if self.shards.count > 1:
            # Shards end where the padded number of queries says, which is known only now.
            padded = {kind: [self._round_up(int(of[mine, 0].max())) for mine in members] for kind, of in sizes.items()}
            for i, target in enumerate(targets):
                for kind in KINDS:
                    sizes[kind][i] = self._micro_sizes(self._step_queries(target), kind, padded[kind][group[i]])
            # Each process has counted the history of its own shards, but all of them must compile the same shapes.
            sizes = {kind: largest_of_all(of) for kind, of in sizes.items()}
        shapes = [
            Bucket(
                self._round_up_all(windows[mine]),
                int(micros[mine].max()),
                self._round_up_all(sizes["entity"][mine]),
                self._round_up_all(sizes["relation"][mine]),
                min(self._round_up(int(rows[mine].max())), self.table_rows),
            )
            for mine in members
        ]
        self.set_buckets(shapes, group)

    def _micro_sizes(self, step: StepQueries, kind: str, padded_queries: int | None = None) -> np.ndarray:
        """int64 `(4,)`: what a micro-batch of any target of a step must hold, see `division_sizes`."""
        shards = ONE_SHARD if padded_queries is None else self.shards
        # The target alone seeds the division, so that what is measured here fits the batches of every epoch.
        sizes = [
            division_sizes(
                queries[kind],
                divide(queries[kind].num_queries, self._num_micro(queries), target),
                getattr(self.vocabulary, kind),
                padded_queries,
                shards,
            )
            for target, queries in step.items()
        ]
        return np.max(sizes, axis=0)

    def _round_up(self, size: int) -> int:
        """A padded size, which the devices along each axis can share evenly."""
        size, mesh = round_up(size), self.placement.mesh
        multiple = 1 if mesh is None else math.lcm(*mesh.shape.values())
        return -(-size // multiple) * multiple

    def _round_up_all(self, sizes: np.ndarray) -> tuple[int, ...]:
        """The largest of every column, rounded up."""
        return tuple(map(self._round_up, sizes.max(0).tolist()))

    def _num_micro(self, queries: TargetQueries) -> int:
        most = max(of_kind.num_queries for of_kind in queries.values())
        return 1 if self.options.batch_size == 0 else max(1, -(-most // self.options.batch_size))

    def _touched(self, target: int, step: StepQueries) -> np.ndarray:
        """The entities, ascending, that the window names, and for "touched" also those that the queries, their answers
        and their history name: all that must be evolved whatever is drawn."""
        named = [snapshot.active for snapshot in self._window(target)]
        if self.options.rows == "touched":
            for queries in step.values():
                entity, window = queries["entity"], self.options.history_window
                _, history = self.vocabulary.entity.lookup(entity.key, entity.history_end, window)
                named += [entity.subject, entity.answer, queries["relation"].condition, history]
        return np.unique(np.concatenate(named))

    def _max_rows(self, target: int, step: StepQueries) -> int:
        """The most rows that the step of `target` can need; 0 when all entities are evolved."""
        if self.options.rows == "all":
            return 0
        answers = sum(len(queries["entity"].answer) for queries in step.values())
        draws = self.options.num_shared + self.options.num_negatives * answers
        return min(self.graph.num_entities, len(self._touched(target, step)) + draws)

    # --- batches -----------------------------------------------------------------------------------------------

    def _window(self, target: int) -> list[Snapshot]:
        return self.store.window(self.window_end(target), self.window_len)

    def _step_queries(self, target: int) -> StepQueries:
        """The queries of every target of the step that ends with `target`."""
        first = max(target - self.options.targets_per_step + 1, int(self.snapshots[0]))
        return {member: {kind: self._queries(member, kind) for kind in KINDS} for member in range(first, target + 1)}

    def _queries(self, target: int, kind: str) -> SnapshotQueries:
        options, split = self.options, SPLITS.index(self.split)
        return build_queries(
            self.graph,
            self.vocabulary,
            target,
            split,
            kind,
            unique=options.unique,
            history_end=self.history_end(target),
            candidates=options.candidates(target) if options.candidates and kind == "entity" else None,
        )

    def build(self, item: int, epoch: int = 0) -> Prepared[Batch]:
        """The batch of target `item`, and of the targets before it that share its step; `epoch` decides the draws
        alone."""
        bucket = self.buckets[self.bucket_of[item]]
        options, put = self.options, self.placement
        step = self._step_queries(item)
        packed = {kind: self._packed(step, kind, bucket, epoch) for kind in KINDS}
        window = stack_window(
            self._window(item), self.window_len, bucket.window, self.graph.num_entities, self.graph.num_relations
        )
        rows = None
        if bucket.rows:
            # The last number keeps these draws apart from those of the negatives, whose seed is (seed, epoch, target).
            rng = np.random.default_rng((options.seed, epoch, item, 1))
            rows = self._few_rows(self._touched(item, step), window, packed, bucket.rows, rng)
        elif self.table_rows > self.graph.num_entities:
            rows = self._all_rows(window)
        times, target_of_micro = self.graph.time_index[item], None
        if options.targets_per_step > 1:
            targets = np.arange(item - options.targets_per_step + 1, item + 1)
            # The first step may lack targets, even reach before snapshot 0. Those have no queries, so any time will do.
            times = self.graph.time_index[np.maximum(targets, 0)]
            target_of_micro = put(np.repeat(np.arange(len(targets), dtype=np.int32), bucket.num_micro))
        answer_rows = {kind: packed[kind].pop("row") for kind in KINDS}
        entity, relation = (
            Queries(**{name: put(values, queries=True) for name, values in packed[kind].items()}) for kind in KINDS
        )
        batch = Batch(
            Window(**{name: put(values) for name, values in window.items()}),
            entity,
            relation,
            put(times),
            rows=rows,
            target_of_micro=target_of_micro,
        )
        # Each fact answers two entity queries.
        facts = int((answer_rows["entity"] >= 0).sum()) // 2
        return Prepared(item, self.bucket_of[item], batch, facts, answer_rows)

    def _packed(self, step: StepQueries, kind: str, bucket: Bucket, epoch: int) -> dict[str, np.ndarray]:
        """The padded queries of one kind, with `row`; the micro-batches of the targets of a step follow each other."""
        candidates = self.graph.num_entities if kind == "entity" else 2 * self.graph.num_relations
        parts = []
        for target, queries in step.items():
            fields = pack(
                queries[kind],
                divide(queries[kind].num_queries, self._num_micro(queries), target),
                getattr(self.vocabulary, kind),
                self.options.history_window,
                bucket.num_micro,
                getattr(bucket, kind),
                candidates,
                self.shards,
            )
            if self.options.num_negatives and kind == "entity":
                fields |= self._negatives(fields, np.random.default_rng((self.options.seed, epoch, target)))
            # Only now, because negatives are drawn among what is not true.
            if not self.options.with_truth:
                del fields["true_query"], fields["true_candidate"]
            parts.append(fields)
        # The first step may have fewer targets than the others.
        parts = [blank(parts[0])] * (self.options.targets_per_step - len(parts)) + parts
        return {name: np.concatenate([fields[name] for fields in parts]) for name in parts[0]}

    def _few_rows(
        self,
        touched: np.ndarray,
        window: dict[str, np.ndarray],
        packed: dict[str, dict[str, np.ndarray]],
        size: int,
        rng: np.random.Generator,
    ) -> EntityRows:
        """The rows of a batch, padded to `size`; replaces entity ids in `window` and `packed` by positions in them."""
        entities, entity = self.graph.num_entities, packed["entity"]
        if self.options.num_negatives:
            # Without those of padded answers, which are zeros that nobody drew.
            drawn = np.setdiff1d(entity["negatives"][entity["answer_weight"] > 0], touched)
        else:
            drawn = draw_others(rng, touched, entities, self.options.num_shared)
        ids = np.concatenate([touched, drawn])
        # The drawn entities share the weight of all that could have been drawn.
        stands_for = (entities - len(touched)) / max(len(drawn), 1)
        weights = np.repeat([1.0, stands_for], [len(touched), len(drawn)])
        # Ascending, because ids are turned into positions by binary search.
        order = np.argsort(ids)
        index, weight = np.full(size, self.table_rows, np.int32), np.zeros(size, np.float32)
        index[: len(ids)], weight[: len(ids)] = ids[order], weights[order]
        in_batch = [(window, "active")]
        if self.options.rows == "touched":
            in_batch += [(entity, name) for name in ("subject", "answer", "history_candidate")]
            in_batch += [(entity, "negatives")] * bool(self.options.num_negatives)
            in_batch += [(packed["relation"], name) for name in ("subject", "condition")]
        for fields, name in in_batch:
            # Padding of `active` and of candidates becomes one past the rows; other padding is id 0, whose weight is 0.
            position = np.searchsorted(index[: len(ids)], fields[name]).astype(np.int32)
            fields[name] = np.where(fields[name] == entities, np.int32(size), position)
        return EntityRows(self.placement(index), self.placement(weight))

    def _all_rows(self, window: dict[str, np.ndarray]) -> EntityRows:
        """All rows of a table that ends with padding; moves the padding of `window` past that of the table."""
        entities, active = self.graph.num_entities, window["active"]
        window["active"] = np.where(active == entities, np.int32(self.table_rows), active)
        return EntityRows(None, self.placement((np.arange(self.table_rows) < entities).astype(np.float32)))

    def _negatives(self, fields: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """`negatives` of every answer, and whether the answer and its negatives are in its query's history."""
        entities = self.graph.num_entities
        shape = (*fields["answer"].shape, self.options.num_negatives)
        negatives, in_history = np.zeros(shape, np.int32), np.zeros((*shape[:2], 1 + shape[2]), bool)
        for m in range(shape[0]):
            of_micro = {name: values[m] for name, values in fields.items()}
            real, true = of_micro["answer_weight"] > 0, of_micro["true_candidate"] < entities
            if not real.any():
                continue
            query, answer = of_micro["answer_query"][real], of_micro["answer"][real]
            pairs = of_micro["true_query"][true], of_micro["true_candidate"][true]
            negatives[m, real] = negative_sampling(rng, query, *pairs, entities, self.options.num_negatives)
            chosen = np.concatenate([answer[:, None], negatives[m, real]], 1)
            history = of_micro["history_candidate"] < entities
            # As int64, since queries times entities may exceed 32 bits.
            codes = of_micro["history_query"][history].astype(np.int64) * entities
            codes += of_micro["history_candidate"][history]
            in_history[m, real] = np.isin(query.astype(np.int64)[:, None] * entities + chosen, codes)
        return {"negatives": negatives, "candidate_in_history": in_history}
