"""`TemporalGraph`: facts (subject, relation, object, time) in time order, with names, splits and provenance."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tirgn_eqx.errors import DataError

SPLITS = ("train", "valid", "test")
BLOCK = 1 << 20  # facts that are gone through at once, where all of them are


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
    """How a reader accounts for its source: every line or row that it read is counted exactly once.

    **Arguments:** all are numbers of lines or rows.

    - `lines`: read in all, without a header.
    - `blank`: empty lines.
    - `bad`: rows with a null or an unusable value, set aside because the caller asked for that.
    - `outside`: events before the window that `num_days` keeps, or after it.
    - `thinned`: events that `max_events` left out.
    - `facts`: those that became facts of the graph.
    - `times`: how the times were understood, such as `unix milliseconds, 2021-03-01 to 2021-03-20`; None for plain
      step numbers.

    **Raises:** ValueError where the parts do not sum to `lines`: a reader lost something.
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


@dataclass(frozen=True)
class TemporalGraph:
    """A temporal knowledge graph: facts sorted by time and cut into train, valid and test.

    **Arguments:**

    - `name`: shown with every result.
    - `subject`, `relation`, `object`: int32 `(fact,)`; ids are `0 .. num_entities - 1` and
      `0 .. num_relations - 1`. Inverse relations (`r + num_relations`) are never stored.
    - `snapshot`: int32 `(fact,)`, non-decreasing: which entry of `times` the fact happened at.
    - `split`: int8 `(fact,)`: 0 train, 1 valid, 2 test; inside a snapshot non-decreasing.
    - `times`: int64 `(snapshot,)`, strictly increasing: the distinct timestamps, in the unit of the source.
      A gap between two timestamps gives no empty snapshot.
    - `time_interval`: length of one step of the model's clock, in the unit of `times`.
    - `clock_origin`: the time at which the model's clock is 0, in the unit of `times`; see `time_index`.
    - `time_unit`: seconds in one unit of `times`, which then count from 1970-01-01 UTC; None for plain step numbers.
    - `entity_names`, `relation_names`: names by id, or None when the source has none.
    - `static`: the static graph, or None.
    - `provenance`: where the facts came from and with which options; JSON-compatible, and enough for
      `tirgn_eqx.data.load_graph(**provenance)` to load them again.
    - `read`: how the reader accounts for every line of the source, or None for data that were not read from lines.
    - `left_out`: how many facts of train, valid and test `for_checkpoint` left out, because a checkpoint lacks a name.

    `home` is set by `read_mapped` alone: the folder that the graph is mapped from, where what takes long is kept.
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
    provenance: dict[str, Any] = field(default_factory=dict)
    read: ReadReport | None = field(default=None, compare=False)
    time_unit: int | None = None
    left_out: tuple[int, int, int] = field(default=(0, 0, 0), compare=False)
    home: Path | None = field(default=None, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.subject) == 0:
            raise DataError(f"{self.name}: no facts; nothing can be trained on an empty graph")
        if any(
            np.any(np.diff(self.snapshot[begin : begin + BLOCK + 1]) < 0) for begin in range(0, self.num_facts, BLOCK)
        ):
            raise DataError(f"{self.name}: facts are not in time order; build the graph with `from_facts`")

    @classmethod
    def from_events(cls, source: Any, **options: Any) -> "TemporalGraph":
        """The graph of an event table: a DataFrame of polars or pandas, or a file of one.

        **Arguments:** `source`, `options`: as of `tirgn_eqx.data.read_events`.

        **Raises:** ConfigError, DataError.
        """
        from tirgn_eqx.data.readers.events import read_events

        return read_events(source, **options)

    @property
    def num_facts(self) -> int:
        return len(self.subject)

    @property
    def num_snapshots(self) -> int:
        return len(self.times)

    @cached_property
    def offsets(self) -> np.ndarray:
        """int64 `(snapshot + 1,)`: facts of snapshot i are rows `offsets[i]:offsets[i + 1]`."""
        # Numbers of the column's own type: of any other, the whole column would be copied into a common one.
        return np.searchsorted(self.snapshot, np.arange(self.num_snapshots + 1, dtype=self.snapshot.dtype))

    @cached_property
    def time_index(self) -> np.ndarray:
        """float64 `(snapshot,)`: the model's clock at each snapshot, in steps from `clock_origin`:
        `(time - clock_origin) // time_interval`, negative before the origin.

        With origin 0, which the published datasets have, this is the clock of TiRGN's released code.
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
            place = self.split[rows].astype(np.int64) * self.num_snapshots + self.snapshot[rows]
            counts += np.bincount(place, minlength=len(counts))
        return counts.reshape(len(SPLITS), self.num_snapshots)

    def split_snapshots(self, split: str) -> np.ndarray:
        """int64: the snapshots that hold at least one fact of `split`, in time order."""
        return np.flatnonzero(self.split_counts[SPLITS.index(split)])

    def blocks(self) -> Iterator[slice]:
        """All facts in order, in ranges of whole snapshots: each of at most `BLOCK` facts, or a single snapshot."""
        offsets, begin = self.offsets, 0
        while begin < self.num_snapshots:
            end = max(begin + 1, int(np.searchsorted(offsets, offsets[begin] + BLOCK, side="right")) - 1)
            if offsets[end] > offsets[begin]:
                yield slice(int(offsets[begin]), int(offsets[end]))
            begin = end

    @cached_property
    def checksum(self) -> str:
        """sha256 over the facts (ids and times, sorted), the splits, and the sizes; names do not enter."""
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
        fits = all(int(column.min()) >= 0 and int(column.max()) < size for column, size in zip(columns, sizes))
        if fits and (int(snapshot[-1]) + 1) * math.prod(sizes) < 2**63:
            # One number for each fact: many times faster to sort than five columns.
            code = snapshot
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

    def describe(self) -> dict[str, Any]:
        """What every shown result carries: name, checksum and counts, and by split the facts that were left out."""
        told = {
            "name": self.name,
            "sha256": self.checksum,
            "facts": self.num_facts,
            "entities": self.num_entities,
            "relations": self.num_relations,
            "snapshots": self.num_snapshots,
        }
        return told | ({"left_out": dict(zip(SPLITS, self.left_out))} if any(self.left_out) else {})


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
    **fields: Any,
) -> TemporalGraph:
    """A `TemporalGraph` from rows in any order.

    **Arguments:** `facts`: int64 `(fact, 4)`, columns subject, relation, object, time; `split`: `(fact,)` of
    0, 1, 2; `time_interval`: None takes the greatest common divisor of the distances between the distinct train
    times, so that no two of them share a step of the clock (1 when there is only one). For the published sets, that
    is the distance of their first two times, which the released code takes. `clock_origin`: None takes
    `default_origin`. Further `fields` go to `TemporalGraph`.
    """
    facts = np.asarray(facts, np.int64).reshape(-1, 4)
    split = np.asarray(split, np.int8)
    order = np.lexsort((split, facts[:, 3]))
    facts, split = facts[order], split[order]
    times, snapshot = np.unique(facts[:, 3], return_inverse=True)
    first = int(times[0]) if len(times) else 0
    if time_interval is None:
        time_interval = default_interval(np.unique(facts[split == 0, 3]))
    column = lambda i: facts[:, i].astype(np.int32)
    return TemporalGraph(
        name=name,
        subject=column(0),
        relation=column(1),
        object=column(2),
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
    """The step of the clock of data that do not say it: the greatest that all distances between the distinct train
    times are multiples of; 1 when there is only one time.

    **Arguments:** `times`: int64 `(time,)`, increasing.
    """
    return int(np.gcd.reduce(np.diff(times))) or 1


def default_origin(first: int, interval: int) -> int:
    """The origin of the clock of data that do not say it: 0 where the first time index is 0 or 1, as in the published
    datasets, else the first time.

    Times that count from far away, such as unix seconds or days since 1970, would otherwise give the linear time vector
    of TiRGN numbers so large that its gradient drowns all others.

    **Arguments:** `first`: the earliest time; `interval`: the length of a step in the same unit.
    """
    return 0 if first // interval in (0, 1) else first
