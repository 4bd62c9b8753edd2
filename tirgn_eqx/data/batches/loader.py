"""Target snapshots as device-ready batches: a few padded shapes, order by seed and epoch, prefetch."""

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tirgn_eqx.data.batches.buckets import Bucket, group_loads, round_up
from tirgn_eqx.data.batches.negatives import draw_others, negative_sampling
from tirgn_eqx.data.batches.prefetch import prefetch
from tirgn_eqx.data.batches.queries import (
    ONE_PART,
    Candidates,
    Parts,
    Questions,
    ask,
    blank,
    divide,
    division_sizes,
    pack,
)
from tirgn_eqx.data.graph import SPLITS, TemporalGraph
from tirgn_eqx.data.index.history import HistoryVocabulary
from tirgn_eqx.data.index.snapshots import Snapshot, SnapshotStore, stack_window
from tirgn_eqx.runtime.meshes import Placement, table_rows
from tirgn_eqx.runtime.processes import largest_of_all
from tirgn_eqx.types import Batch, EntityRows, Queries, Window

KINDS = ("entity", "relation")


@dataclass(frozen=True)
class Prepared:
    """A batch with what the host keeps about it: which bucket, and which query each answer is.

    `rows[kind]`: int64 `(micro, answer)`, position among [facts, inverse facts] of the target; -1 = padding.
    """

    target: int
    bucket: int
    batch: Batch
    num_facts: int
    rows: dict[str, np.ndarray]


class BatchLoader:
    """Builds the batch of any target snapshot of one split.

    **Arguments:** `graph`, `vocabulary`; `split`; `history_len`, `history_window`; `batch_size`: units per
    micro-batch (0 = the whole snapshot); `unique`: ask equal questions once; `max_buckets`: padded shapes;
    `num_negatives`: > 0 draws negatives for each entity question; `num_shared`: > 0 draws entities for all of a
    snapshot's questions together; `rows`: evolve all entities, those with an edge in the window, or those that
    anything in the batch touches; `targets_per_step`: consecutive targets that share one evolution of a window as much
    longer; `known`: nothing from this snapshot on is known to any target (multi-step), but for
    windows that are `fed_back`, whose snapshots the `store` has; `with_truth`: ship the filter of
    evaluation; `candidates`: of a snapshot, (subject, relation, object) to be shipped as the filter of entity questions
    instead of what is true; `seed`: of order and draws; `placement`: the devices that batches go to.

    Nothing at or after a target's time enters its batch except the questions' own answers and the filter; of targets
    that share a step, that holds for what each is forecast from.
    """

    def __init__(
        self,
        graph: TemporalGraph,
        vocabulary: HistoryVocabulary,
        split: str,
        *,
        history_len: int,
        history_window: int = 0,
        batch_size: int = 0,
        unique: bool = False,
        max_buckets: int = 3,
        num_negatives: int = 0,
        num_shared: int = 0,
        rows: Literal["all", "window", "touched"] = "all",
        targets_per_step: int = 1,
        known: int | None = None,
        fed_back: bool = False,
        with_truth: bool = False,
        candidates: Candidates | None = None,
        seed: int = 0,
        store: SnapshotStore | None = None,
        placement: Placement | None = None,
    ):
        self.placement = placement or Placement()
        self.table_rows = table_rows(graph.num_entities, self.placement.mesh)
        # Drawn entities, and those that anything touches, follow from all questions together.
        own = self.placement.own_parts if rows != "touched" else range(self.placement.num_parts)
        self.parts = Parts(self.placement.num_parts, tuple(own))
        self.graph, self.vocabulary = graph, vocabulary
        self.split = split
        self.history_len, self.history_window = history_len, history_window
        self.batch_size, self.unique = batch_size, unique
        self.num_negatives, self.num_shared, self.rows = num_negatives, num_shared, rows
        self.known, self.fed_back = known, fed_back
        self.with_truth, self.candidates, self.seed = with_truth, candidates, seed
        self.store = store or SnapshotStore(graph)
        # Snapshot 0 has no past to forecast from.
        targets = graph.split_snapshots(split)
        targets = targets[targets > 0]
        self.first_target = targets[0] if len(targets) else 0
        self.targets_per_step = targets_per_step
        # Steps are known by their last target, and counted from the end: the first one may have fewer targets.
        self.targets = targets[::-1][::targets_per_step][::-1]
        self.window_len = history_len + targets_per_step - 1
        self.buckets, self.bucket_of = self._plan(max_buckets)

    def known_before(self, target: int) -> int:
        """The snapshot before which the past of `target` is known."""
        return target if self.known is None else min(target, self.known)

    def window_end(self, target: int) -> int:
        """The snapshot before which the window of `target` ends."""
        return target if self.fed_back else self.known_before(target)

    def _window(self, target: int) -> list[Snapshot]:
        return self.store.window(self.window_end(target), self.window_len)

    def _plan(self, max_buckets: int) -> tuple[list[Bucket], dict[int, int]]:
        if len(self.targets) == 0:
            return [], {}
        windows, sizes, micros, rows = [], {kind: [] for kind in KINDS}, [], []
        for target in self.targets.tolist():
            windows.append(self.store.window_sizes(self.window_end(target), self.window_len))
            members = self._questions(target)
            micros.append(max(self._num_micro(questions) for questions in members.values()))
            for kind in KINDS:
                sizes[kind].append(self._sizes(members, kind))
            rows.append(self._num_rows(target, members))
        units = np.array([sizes["entity"][i][0] * micros[i] for i in range(len(micros))])
        groups = group_loads(units, min(max_buckets, len(units)))
        if self.parts.count > 1:
            # Where a part ends is known now that the padded number of units is.
            largest = {kind: np.asarray(sizes[kind])[:, 0].copy() for kind in KINDS}
            for place, target in enumerate(self.targets.tolist()):
                for kind in KINDS:
                    unit = self._round_up(int(largest[kind][groups == groups[place]].max()))
                    sizes[kind][place] = self._sizes(self._questions(target), kind, unit)
            sizes = {kind: largest_of_all(np.asarray(sizes[kind])) for kind in KINDS}
        largest_of = lambda rows, members: tuple(map(self._round_up, np.asarray(rows)[members].max(0).tolist()))
        buckets = []
        for number in range(groups.max() + 1):
            chosen = groups == number
            buckets.append(
                Bucket(
                    largest_of(windows, chosen),
                    int(np.asarray(micros)[chosen].max()),
                    largest_of(sizes["entity"], chosen),
                    largest_of(sizes["relation"], chosen),
                    min(self._round_up(int(np.asarray(rows)[chosen].max())), self.table_rows),
                )
            )
        # Rounding may give two groups one shape, and a shape is compiled once.
        distinct = list(dict.fromkeys(buckets))
        return distinct, {int(t): distinct.index(buckets[g]) for t, g in zip(self.targets, groups)}

    def _sizes(self, members: dict[int, dict[str, Questions]], kind: str, unit: int | None = None) -> np.ndarray:
        """What a micro-batch of any target of a step must hold, see `division_sizes`."""
        needed = np.zeros(4, np.int64)
        for member, questions in members.items():
            division = divide(questions[kind].num_units, self._num_micro(questions), member)
            found = division_sizes(
                questions[kind], division, self._index(kind), unit, ONE_PART if unit is None else self.parts
            )
            needed = np.maximum(needed, found)
        return needed

    def _round_up(self, size: int) -> int:
        """A padded size, which the devices along each axis can share evenly."""
        size, mesh = round_up(size), self.placement.mesh
        every = 1 if mesh is None else math.lcm(*mesh.shape.values())
        return -(-size // every) * every

    def _questions(self, target: int) -> dict[int, dict[str, Questions]]:
        """The questions of every target of the step that ends with `target`, oldest first."""
        first = max(target - self.targets_per_step + 1, int(self.first_target))
        return {member: {kind: self._ask(member, kind) for kind in KINDS} for member in range(first, target + 1)}

    def _ask(self, target: int, kind: str) -> Questions:
        split = SPLITS.index(self.split)
        options: dict[str, Any] = {"unique": self.unique, "known": self.known_before(target)}
        options |= {"candidates": self.candidates(target)} if self.candidates and kind == "entity" else {}
        return ask(self.graph, self.vocabulary, target, split, kind, **options)

    def _index(self, kind: str):
        return self.vocabulary.entity if kind == "entity" else self.vocabulary.relation

    def _num_micro(self, questions: dict[str, Questions]) -> int:
        units = max(question.num_units for question in questions.values())
        return 1 if self.batch_size == 0 else max(1, -(-units // self.batch_size))

    def _touched(self, target: int, members: dict[int, dict[str, Questions]]) -> np.ndarray:
        """The entities, ascending, that the window and (for "touched") the questions, their answers and their
        history name: all that must be evolved whatever is drawn."""
        named = [snapshot.active for snapshot in self._window(target)]
        if self.rows == "touched":
            for questions in members.values():
                entity = questions["entity"]
                _, seen = self.vocabulary.entity.lookup(entity.key, entity.known, self.history_window)
                named += [entity.subject, entity.answer, questions["relation"].condition, seen]
        return np.unique(np.concatenate(named))

    def _num_rows(self, target: int, members: dict[int, dict[str, Questions]]) -> int:
        """The most rows that the step of `target` can need; 0 when all entities are evolved."""
        if self.rows == "all":
            return 0
        answers = sum(len(questions["entity"].answer) for questions in members.values())
        draws = self.num_shared + self.num_negatives * answers
        return min(self.graph.num_entities, len(self._touched(target, members)) + draws)

    def build(self, target: int, epoch: int = 0) -> Prepared:
        """The batch of `target`, and of the targets before it that share its step; `epoch` decides the draws only."""
        number = self.bucket_of[target]
        bucket = self.buckets[number]
        members = self._questions(target)
        packed, rows = {}, {}
        for kind in KINDS:
            fields = [self._fields(member, questions, kind, bucket, epoch) for member, questions in members.items()]
            # Targets before the first one: questions without weight.
            missing = [blank(fields[0])] * (self.targets_per_step - len(members))
            joined = {name: np.concatenate([f[name] for f in missing + fields]) for name in fields[0]}
            rows[kind] = joined.pop("row")
            packed[kind] = joined
        window = stack_window(
            self._window(target),
            self.window_len,
            bucket.window,  # pyright: ignore[reportArgumentType]
            self.graph.num_entities,
            self.graph.num_relations,
        )
        few = None
        if bucket.rows:
            touched = self._touched(target, members)
            few = self._rows(touched, window, packed, bucket.rows, (self.seed, epoch, target))
        elif self.table_rows > self.graph.num_entities:
            few = self._all_rows(window)
        times, of_micro, put = self.graph.time_index[target], None, self.placement
        if self.targets_per_step > 1:
            numbers = np.maximum(np.arange(target - self.targets_per_step + 1, target + 1), 0)
            times = self.graph.time_index[numbers]
            of_micro = np.repeat(np.arange(self.targets_per_step, dtype=np.int32), bucket.num_micro)
        queries = lambda kind: Queries(**{name: put(v, questions=True) for name, v in packed[kind].items()})
        batch = Batch(
            Window(**{name: put(values) for name, values in window.items()}),
            queries("entity"),
            queries("relation"),
            put(times),
            rows=few,
            target_of_micro=None if of_micro is None else put(of_micro),
        )
        facts = int((rows["entity"] >= 0).sum()) // 2
        return Prepared(target, number, batch, facts, rows)

    def _fields(
        self, target: int, questions: dict[str, Questions], kind: str, bucket: Bucket, epoch: int
    ) -> dict[str, np.ndarray]:
        """The packed questions of one kind about one target, with `row`."""
        candidates = self.graph.num_entities if kind == "entity" else 2 * self.graph.num_relations
        fields = pack(
            questions[kind],
            divide(questions[kind].num_units, self._num_micro(questions), target),
            self._index(kind),
            self.history_window,
            bucket.num_micro,
            np.asarray(getattr(bucket, kind)),
            candidates,
            self.parts,
        )
        if self.num_negatives and kind == "entity":
            fields |= self._negatives(fields, target, epoch)
        if not self.with_truth:
            del fields["true_query"], fields["true_candidate"]
        return fields

    def _rows(self, touched: np.ndarray, window: dict, packed: dict, size: int, seed: tuple[int, ...]) -> EntityRows:
        """The rows of a batch, `size` with padding; puts positions in them in the place of entity ids."""
        entities = self.graph.num_entities
        if self.num_negatives:
            real = packed["entity"]["answer_weight"] > 0
            drawn = np.setdiff1d(packed["entity"]["negatives"][real], touched)
        else:
            drawn = draw_others(np.random.default_rng((*seed, 1)), touched, entities, self.num_shared)
        ids = np.concatenate([touched, drawn])
        # Whoever was drawn stands for all that could have been.
        stands_for = (entities - len(touched)) / max(len(drawn), 1)
        weights = np.repeat([1.0, stands_for], [len(touched), len(drawn)])
        order = np.argsort(ids)
        index, weight = np.full(size, self.table_rows, np.int32), np.zeros(size, np.float32)
        index[: len(ids)], weight[: len(ids)] = ids[order], weights[order]

        def place(fields: dict[str, np.ndarray], *names: str) -> None:
            for name in names:
                position = np.searchsorted(index[: len(ids)], fields[name]).astype(np.int32)
                fields[name] = np.where(fields[name] == entities, np.int32(size), position)

        place(window, "active")
        if self.rows == "touched":
            place(packed["entity"], "subject", "answer", "history_candidate", *["negatives"] * bool(self.num_negatives))
            place(packed["relation"], "subject", "condition")
        return EntityRows(self.placement(index), self.placement(weight))

    def _all_rows(self, window: dict) -> EntityRows:
        """All rows of a table that ends with padding, at which the window's padding must not point."""
        entities, active = self.graph.num_entities, window["active"]
        window["active"] = np.where(active == entities, np.int32(self.table_rows), active)
        return EntityRows(None, self.placement((np.arange(self.table_rows) < entities).astype(np.float32)))

    def _negatives(self, fields: dict[str, np.ndarray], target: int, epoch: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng((self.seed, epoch, target))
        entities = self.graph.num_entities
        shape = (*fields["answer"].shape, self.num_negatives)
        negatives, seen = np.zeros(shape, np.int32), np.zeros((*shape[:2], 1 + shape[2]), bool)
        for m in range(shape[0]):
            real = fields["answer_weight"][m] > 0
            if not real.any():
                continue
            unit = fields["answer_query"][m][real]
            true = fields["true_candidate"][m] < entities
            pairs = fields["true_query"][m][true], fields["true_candidate"][m][true]
            negatives[m, real] = negative_sampling(rng, unit, *pairs, entities, self.num_negatives)
            history = fields["history_candidate"][m] < entities
            codes = fields["history_query"][m][history].astype(np.int64) * entities
            codes += fields["history_candidate"][m][history]
            chosen = np.concatenate([fields["answer"][m][real][:, None], negatives[m, real]], 1)
            seen[m, real] = np.isin(unit.astype(np.int64)[:, None] * entities + chosen, codes)
        return {"negatives": negatives, "candidate_in_history": seen}

    def order(self, epoch: int) -> np.ndarray:
        """The targets in the order of `epoch`, a function of the seed and the epoch alone."""
        return np.random.default_rng((self.seed, epoch)).permutation(self.targets)

    def __len__(self) -> int:
        return len(self.targets)

    def epoch(self, epoch: int, start: int = 0) -> Generator[Prepared, None, None]:
        """Every target once, shuffled, built ahead in a thread; the first `start` of them left out."""
        return prefetch(lambda target: self.build(target, epoch), self.order(epoch)[start:].tolist())

    def one_of_each(self) -> Generator[Prepared, None, None]:
        """A batch of every bucket, that with the most questions first."""
        units = [bucket.num_micro * bucket.entity[0] for bucket in self.buckets]
        for number in np.argsort(units)[::-1].tolist():
            yield self.build(next(int(target) for target in self.targets if self.bucket_of[target] == number))

    def in_order(self) -> Generator[Prepared, None, None]:
        """Every target once, in time order, built ahead in a thread."""
        return prefetch(self.build, self.targets.tolist())
