"""What all loaders share: batches of a few padded shapes, in an order by seed and epoch, built ahead in a thread."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np

from tirgn_eqx.data.batches.prefetch import prefetch
from tirgn_eqx.data.graph import SPLITS, TemporalGraph

Kind = Literal["entity", "relation"]
KINDS: tuple[Kind, Kind] = ("entity", "relation")
# Of a snapshot: int64 (subject, relation, object), relations of both directions.
Candidates = Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]
BatchT = TypeVar("BatchT")
OptionsT = TypeVar("OptionsT", bound="LoaderOptions")
BucketT = TypeVar("BucketT", bound=Hashable)


@dataclass(frozen=True)
class Prepared(Generic[BatchT]):
    """A batch with what the host keeps about it.

    `target`: the snapshot (the last one, if several share the batch); `bucket`: position in `Loader.buckets`;
    `num_facts`: facts of the split that are asked for. `rows[kind]`: int64, shaped as the answers of that kind: the
    position of each answer among [facts, inverse facts] of the target. -1 is padding.
    """

    target: int
    bucket: int
    batch: BatchT
    num_facts: int
    rows: dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """How a loader builds its batches.

    - `batch_size`: queries of a micro-batch or part (0 = the whole snapshot).
    - `max_buckets`: the most padded shapes.
    - `history_end`: no target's history contains this snapshot or a later one (multi-step forecasts); None: it ends
      before the target.
    - `with_truth`: keep every answer by itself, and add the filter of evaluation.
    - `candidates`: of a snapshot, the triples that make the filter of entity queries in place of what is true.
    - `seed`: of the order and of random draws.
    """

    batch_size: int = 0
    max_buckets: int = 3
    history_end: int | None = None
    with_truth: bool = False
    candidates: Candidates | None = None
    seed: int = 0


class Loader(ABC, Generic[BatchT, OptionsT, BucketT]):
    """Builds the batches of one split of a graph.

    Nothing at or after a target's time enters its batch except the queries' own answers and the filter.

    A subclass calls `set_buckets` in its constructor. `items` are the numbers by which its batches are known, in time
    order; `bucket_of` is the padded shape of each, a position in `buckets`; `snapshots` are the targets of the split.
    """

    items: np.ndarray
    buckets: list[BucketT]
    bucket_of: dict[int, int]

    def __init__(self, graph: TemporalGraph, split: str, options: OptionsT):
        self.graph, self.split, self.options = graph, split, options
        # Snapshot 0 has no history to forecast from.
        targets = graph.split_snapshots(split)
        self.snapshots = targets[targets > 0]

    def set_buckets(self, shapes: list[BucketT], group: np.ndarray) -> None:
        """Give item i the padded shape `shapes[group[i]]`. Equal shapes, which rounding makes, become one bucket, for
        each is compiled once."""
        self.buckets = list(dict.fromkeys(shapes))
        self.bucket_of = {item: self.buckets.index(shapes[g]) for item, g in zip(self.items.tolist(), group.tolist())}

    def split_facts(self, target: int) -> np.ndarray:
        """Rows of the split's facts at snapshot `target`."""
        rows = np.arange(*self.graph.offsets[target : target + 2].tolist())
        return rows[self.graph.split[rows] == SPLITS.index(self.split)]

    @abstractmethod
    def build(self, item: int, epoch: int = 0) -> Prepared[BatchT]:
        """The batch known as `item`; `epoch` decides random draws alone."""

    @abstractmethod
    def padded_work(self, bucket: BucketT) -> int:
        """How much work a batch of a bucket is, to compare buckets by."""

    def order(self, epoch: int) -> np.ndarray:
        """The items in the order of `epoch`, a function of the seed and the epoch alone."""
        # From no state of its own, so that a training that is resumed within an epoch meets the same order.
        return np.random.default_rng((self.options.seed, epoch)).permutation(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def epoch(self, epoch: int, start: int = 0) -> Generator[Prepared[BatchT], None, None]:
        """Every batch once in the order of `epoch`, without the first `start`, built ahead in a thread."""
        return prefetch(lambda item: self.build(item, epoch), self.order(epoch)[start:].tolist())

    def in_order(self) -> Generator[Prepared[BatchT], None, None]:
        """Every batch once, in time order, built ahead in a thread."""
        return prefetch(self.build, self.items.tolist())

    def one_of_each(self) -> Generator[Prepared[BatchT], None, None]:
        """A batch of every bucket, the one with the most work first."""
        work = [self.padded_work(bucket) for bucket in self.buckets]
        for number in np.argsort(work)[::-1].tolist():
            yield self.build(next(item for item, bucket in self.bucket_of.items() if bucket == number))
