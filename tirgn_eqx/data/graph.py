"""`TemporalGraph`: facts (subject, relation, object, time) in time order, with names, splits and provenance."""

import dataclasses
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NotRequired, TypedDict, Unpack

import numpy as np

from tirgn_eqx.errors import DataError

SPLITS = ("train", "valid", "test")
BLOCK_FACTS = 1 << 20  # facts that a pass over all facts holds at a time
# Keywords of `load_graph`, JSON-compatible. `Any`, because every form of data has options of its own types, which
# `load_graph` checks.
LoadOptions = dict[str, Any]
GraphDescription = dict[str, object]  # of `TemporalGraph.describe`; in that class, `object` is a column


@dataclass(frozen=True)
class StaticGraph:
    """Time-less facts entity - static relation - word (the `e-w-graph.txt` of the RE-GCN format).

    **Arguments:** `entity`, `relation`, `word`: int32 arrays of one length; `num_relations`, `num_words`.
    """

    entity: np.ndarray
    relation: np.ndarray
    word: np.ndarray
    num_relations: int
    num_words: int


@dataclass(frozen=True)
class ReadReport:
    """How a reader accounts for its source: every line or row is counted exactly once.

    **Arguments:** numbers of lines or rows, but for `times`.

    - `lines`: all of them, without a header.
    - `facts`: those that became facts of the graph.
    - `blank`: empty lines.
    - `bad`: rows with a null or an unusable value, left out because the caller asked for that.
    - `outside`: events before or after the window that `num_days` keeps.
    - `thinned`: events that `max_events` left out.
    - `times`: how the times were understood, such as `unix milliseconds, 2021-03-01 to 2021-03-20`; None for plain
      step numbers.

    **Raises:** ValueError where the parts do not sum to `lines`, so that the reader has lost some.
    """

    lines: int
    facts: int
    blank: int = 0
    bad: int = 0
    outside: int = 0
    thinned: int = 0
    times: str | None = None

    def __post_init__(self) -> None:
        parts = self.facts + self.blank + self.bad + self.outside + self.thinned
        if parts != self.lines:
            raise ValueError(f"{self.lines} lines were read, but {parts} are accounted for")


class Labels(TypedDict, total=False):
    """The fields of `TemporalGraph` that say nothing of facts, splits and ids."""

    name: str
    time_interval: int
    clock_origin: int
    provenance: LoadOptions


class KnownValues(TypedDict, total=False):
    """What `TemporalGraph` computes on first use, or learns from its reader."""

    checksum: str
    offsets: np.ndarray
    split_counts: np.ndarray
    mapped_folder: Path | None


class FurtherFields(TypedDict, total=False):
    """The optional fields of `TemporalGraph` that come with facts."""

    time_unit: int | None
    entity_names: tuple[str, ...] | None
    relation_names: tuple[str, ...] | None
    static: StaticGraph | None
    read: ReadReport | None
    provenance: LoadOptions


class GraphFields(FurtherFields):
    """What `from_facts` takes beside facts and splits."""

    name: str
    num_entities: int
    num_relations: int
    time_interval: NotRequired[int | None]
    clock_origin: NotRequired[int | None]


@dataclass(frozen=True)
class TemporalGraph:
    """A temporal knowledge graph: facts sorted by time and cut into train, valid and test.

    **Arguments:**

    - `name`: shown with every result.
    - `subject`, `relation`, `object`: int32 `(fact,)`; ids are `0 .. num_entities - 1` and
      `0 .. num_relations - 1`. Inverse relations (`r + num_relations`) are never stored.
    - `snapshot`: int32 `(fact,)`, non-decreasing: which entry of `times` the fact happened at.
    - `split`: int8 `(fact,)`: 0 train, 1 valid, 2 test; non-decreasing inside a snapshot.
    - `times`: int64 `(snapshot,)`, strictly increasing: the distinct timestamps, in the unit of the source.
      A gap between two timestamps makes no empty snapshot.
    - `time_interval`: length of one step of the model's clock, in the unit of `times`.
    - `clock_origin`: the time at which the model's clock is 0, in the unit of `times`; see `time_index`.
    - `time_unit`: seconds in one unit of `times`, which then count from 1970-01-01 UTC; None for plain step numbers.
    - `entity_names`, `relation_names`: names by id, or None when the source has none.
    - `static`: the static graph, or None.
    - `provenance`: where the facts came from and with which options; JSON-compatible, and enough for
      `tirgn_eqx.data.load_graph(**provenance)` to load them again.
    - `read`: how the reader accounts for every line of the source, or None for data that were not read from lines.
    - `left_out`: facts of train, valid and test that `match_checkpoint` left out, because the checkpoint lacks a name.

    `mapped_folder` is set by `read_mapped` alone: the folder that the graph is mapped from, where indices are kept.
    """

    name: str
    subject: np.ndarray
    relation: np.ndarray
    object: np.ndarray
    snapshot: np.ndarray
    split: np.ndarray
    times: np.ndarray
    num_entities: int
    num_relations: int
    time_interval: int
    clock_origin: int = 0
    entity_names: tuple[str, ...] | None = None
    relation_names: tuple[str, ...] | None = None
    static: StaticGraph | None = None
    provenance: LoadOptions = field(default_factory=dict)
    read: ReadReport | None = field(default=None, compare=False)
    time_unit: int | None = None
    left_out: tuple[int, int, int] = field(default=(0, 0, 0), compare=False)
    mapped_folder: Path | None = field(default=None, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.subject) == 0:
            raise DataError(f"{self.name}: no facts; nothing can be trained on an empty graph")
        if any(
            # In blocks, because the differences of a mapped column may not fit in memory; with one fact more, so that
            # the last fact of a block is compared with the first one of the next.
            np.any(np.diff(self.snapshot[begin : begin + BLOCK_FACTS + 1]) < 0)
            for begin in range(0, self.num_facts, BLOCK_FACTS)
        ):
            raise DataError(f"{self.name}: facts are not in time order; build the graph with `from_facts`")

    def relabel(self, **changes: Unpack[Labels]) -> "TemporalGraph":
        """`dataclasses.replace` of fields that say nothing of facts, splits and ids, such as `name` or the clock.

        What was computed from the facts is kept, and `mapped_folder`; `dataclasses.replace` drops both.
        """
        # Not `time_index`, which depends on the clock.
        known = {name: vars(self)[name] for name in ("checksum", "offsets", "split_counts") if name in vars(self)}
        return dataclasses.replace(self, **changes).with_known(mapped_folder=self.mapped_folder, **known)

    def with_known(self, **values: Unpack[KnownValues]) -> "TemporalGraph":
        """This graph, told values of its cached properties, and of `mapped_folder`, that are known already."""
        # A frozen dataclass forbids plain assignment. A cached property finds a value that is stored under its name.
        for name, value in values.items():
            object.__setattr__(self, name, value)
        return self

    @property
    def num_facts(self) -> int:
        return len(self.subject)

    @property
    def num_snapshots(self) -> int:
        return len(self.times)

    @cached_property
    def offsets(self) -> np.ndarray:
        """int64 `(snapshot + 1,)`: facts of snapshot i are rows `offsets[i]:offsets[i + 1]`."""
        # Search for numbers of the column's own type: numpy would copy the whole column to convert it.
        return np.searchsorted(self.snapshot, np.arange(self.num_snapshots + 1, dtype=self.snapshot.dtype))

    @cached_property
    def time_index(self) -> np.ndarray:
        """float64 `(snapshot,)`: the model's clock, `(time - clock_origin) // time_interval`.

        It is negative before the origin. With origin 0, as for the published datasets, it is that of TiRGN's released
        code.
        """
        return ((self.times - self.clock_origin) // self.time_interval).astype(np.float64)

    def split_mask(self, split: str) -> np.ndarray:
        """bool `(fact,)`: the facts of `split`."""
        return self.split == SPLITS.index(split)

    @cached_property
    def split_counts(self) -> np.ndarray:
        """int64 `(split, snapshot)`: how many facts of each split a snapshot holds."""
        counts = np.zeros(len(SPLITS) * self.num_snapshots, np.int64)
        for rows in self.blocks():
            # In int64, because the split is int8 and the product would overflow.
            place = self.split[rows].astype(np.int64) * self.num_snapshots + self.snapshot[rows]
            counts += np.bincount(place, minlength=len(counts))
        return counts.reshape(len(SPLITS), self.num_snapshots)

    def split_snapshots(self, split: str) -> np.ndarray:
        """int64 `(snapshot,)`: those that hold at least one fact of `split`, in time order."""
        return np.flatnonzero(self.split_counts[SPLITS.index(split)])

    def blocks(self) -> Iterator[slice]:
        """Ranges of whole snapshots that cover all facts, each of at most `BLOCK_FACTS` facts or of one snapshot."""
        offsets, begin = self.offsets, 0
        while begin < self.num_snapshots:
            # The last boundary within BLOCK_FACTS, or the next one where a single snapshot is larger.
            end = max(begin + 1, int(np.searchsorted(offsets, offsets[begin] + BLOCK_FACTS, side="right")) - 1)
            # The empty snapshots of a forecast target make no block.
            if offsets[end] > offsets[begin]:
                yield slice(int(offsets[begin]), int(offsets[end]))
            begin = end

    @cached_property
    def checksum(self) -> str:
        """sha256 over the facts (ids and times, sorted), the splits, and the sizes; names do not enter."""
        # All ids come first, then all times, so that the sizes of the blocks do not enter. Facts of a snapshot share
        # their time, so times need no sorting. The bytes are little-endian int64 on every machine.
        digest = hashlib.sha256(f"{self.num_entities} {self.num_relations}\n".encode())
        for block in self.blocks():
            digest.update(self._sorted_rows(block).astype("<i8").tobytes())
        for block in self.blocks():
            digest.update(self.times[self.snapshot[block]].astype("<i8").tobytes())
        return digest.hexdigest()

    def _sorted_rows(self, block: slice) -> np.ndarray:
        """int64 `(fact, 4)`: subject, relation, object, split of whole snapshots, by snapshot, split and ids."""
        columns = [column[block] for column in (self.split, self.subject, self.relation, self.object)]
        sizes = (len(SPLITS), self.num_entities, self.num_relations, self.num_entities)
        snapshot = self.snapshot[block].astype(np.int64)
        snapshot -= snapshot[0]
        # Ids out of range would make different facts share a code.
        fits = all(int(column.min()) >= 0 and int(column.max()) < size for column, size in zip(columns, sizes))
        if fits and (int(snapshot[-1]) + 1) * math.prod(sizes) < 2**63:
            # One number per fact sorts many times faster than five columns.
            code = snapshot
            # The code is a number in mixed radix, (((snapshot * 3 + split) * E + s) * R + r) * E + o. Divisions in
            # reverse order give the columns back.
            for column, size in zip(columns, sizes):
                code *= size
                code += column
            code.sort()
            for number, size in zip((3, 2, 1, 0), reversed(sizes)):
                code, columns[number] = np.divmod(code, size)
        else:
            order = np.lexsort((*reversed(columns), snapshot))
            columns = [column[order] for column in columns]
        split, subject, relation, object_ = columns
        return np.stack([subject, relation, object_, split], 1, dtype=np.int64)

    def describe(self) -> GraphDescription:
        """Name, checksum and counts, which every shown result carries; and the facts left out, if any, by split."""
        description: GraphDescription = {
            "name": self.name,
            "sha256": self.checksum,
            "facts": self.num_facts,
            "entities": self.num_entities,
            "relations": self.num_relations,
            "snapshots": self.num_snapshots,
        }
        if any(self.left_out):
            description["left_out"] = dict(zip(SPLITS, self.left_out))
        return description


def both_directions(
    graph: TemporalGraph, facts: slice | np.ndarray = slice(None)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int64 (subject, relation, object) of `facts`, then of their inverses."""
    subject, relation, object_ = (x[facts].astype(np.int64) for x in (graph.subject, graph.relation, graph.object))
    relation = np.concatenate([relation, relation + graph.num_relations])
    return np.concatenate([subject, object_]), relation, np.concatenate([object_, subject])


def from_facts(
    name: str,
    facts: np.ndarray,
    split: np.ndarray,
    num_entities: int,
    num_relations: int,
    *,
    time_interval: int | None = None,
    clock_origin: int | None = None,
    **fields: Unpack[FurtherFields],
) -> TemporalGraph:
    """A `TemporalGraph` from facts in any order.

    **Arguments:**

    - `facts`: int64 `(fact, 4)`, columns subject, relation, object, time.
    - `split`: `(fact,)` of 0, 1, 2.
    - `time_interval`: None takes `default_interval` of the train times.
    - `clock_origin`: None takes `default_origin`.
    - `fields`: further ones of `TemporalGraph`.
    """
    facts = np.asarray(facts, np.int64).reshape(-1, 4)
    split = np.asarray(split, np.int8)
    # The last key of lexsort counts first. It is stable: facts of one time and split keep the order of the source.
    order = np.lexsort((split, facts[:, 3]))
    facts, split = facts[order], split[order]
    times, snapshot = np.unique(facts[:, 3], return_inverse=True)
    first = int(times[0]) if len(times) else 0
    if time_interval is None:
        # Of the train times alone: a later fact must not change the clock of earlier forecasts.
        time_interval = default_interval(np.unique(facts[split == 0, 3]))
    subject, relation, object_ = (facts[:, column].astype(np.int32) for column in range(3))
    return TemporalGraph(
        name=name,
        subject=subject,
        relation=relation,
        object=object_,
        snapshot=snapshot.astype(np.int32),
        split=split,
        times=times,
        num_entities=num_entities,
        num_relations=num_relations,
        time_interval=time_interval,
        clock_origin=default_origin(first, time_interval) if clock_origin is None else clock_origin,
        **fields,
    )


def default_interval(times: np.ndarray) -> int:
    """The greatest step that divides all distances between train times, so that no two share a step; 1 for one time.

    For the published datasets this is the distance of their first two times, which the released code takes.

    **Arguments:** `times`: int64 `(time,)`, increasing.
    """
    return int(np.gcd.reduce(np.diff(times))) or 1


def default_origin(first: int, interval: int) -> int:
    """0 where the first time index is 0 or 1, as for the published datasets, else the first time.

    The linear time vector of TiRGN grows with the time index. Counted from far away, as unix seconds are, it would be
    so large that its gradient drowns all others.

    **Arguments:** `first`: the earliest time; `interval`: the length of a step in the same unit.
    """
    return 0 if first // interval in (0, 1) else first
