"""Mapped graphs written: facts become a folder of columns block by block; see `mapped` for its form."""

import dataclasses
import hashlib
import json
import os.path
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict, Unpack, cast

import numpy as np

from tirgn_eqx.data.graph import (
    SPLITS,
    FurtherFields,
    GraphFields,
    LoadOptions,
    StaticGraph,
    TemporalGraph,
    default_origin,
)
from tirgn_eqx.data.readers.integer_text import INT32_MAX
from tirgn_eqx.data.readers.mapped import COLUMNS, FORMAT, KINDS, RECORD, STATIC_COLUMNS, VERSION, read_mapped
from tirgn_eqx.data.times import TIME_MAX
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.storage.atomic_write import flush, scratch_folder, write_bytes, write_text
from tirgn_eqx.storage.locks import exclusive_lock
from tirgn_eqx.storage.npy_columns import Column, ColumnDescription


class FactBlock(NamedTuple):
    """Some facts, each column `(fact,)` of whole numbers; `split`: 0 train, 1 valid, 2 test."""

    subject: np.ndarray
    relation: np.ndarray
    object: np.ndarray
    time: np.ndarray
    split: np.ndarray


class MappedFields(FurtherFields, total=False):
    """What `write_mapped` takes beside the facts; `source`: where they came from, JSON-compatible."""

    name: str
    num_entities: int
    num_relations: int
    time_interval: int | None
    clock_origin: int | None
    source: LoadOptions


class _NamesDescription(TypedDict):
    bytes: int
    sha256: str


class _StaticSizes(TypedDict):
    num_relations: int
    num_words: int


class _Record(TypedDict):
    """`graph.json`."""

    format: str
    version: int
    name: str
    facts: int
    snapshots: int
    num_entities: int
    num_relations: int
    time_interval: int
    clock_origin: int
    time_unit: int | None
    read: dict[str, object] | None
    source: LoadOptions
    columns: dict[str, ColumnDescription]
    # From here on, `write_mapped` adds what the files on the disk say.
    names: NotRequired[dict[str, _NamesDescription | None]]
    static: NotRequired[_StaticSizes | None]
    folder: NotRequired[str]
    sha256: NotRequired[str]


def map_graph(graph: TemporalGraph, folder: str | Path) -> TemporalGraph:
    """Write `graph` to `folder` and load it from there; see `write_mapped`."""
    blocks = (
        FactBlock(
            subject=graph.subject[rows],
            relation=graph.relation[rows],
            object=graph.object[rows],
            time=graph.times[graph.snapshot[rows]],
            split=graph.split[rows],
        )
        for rows in graph.blocks()
    )
    return write_mapped(
        folder,
        blocks,
        name=graph.name,
        num_entities=graph.num_entities,
        num_relations=graph.num_relations,
        time_interval=graph.time_interval,
        clock_origin=graph.clock_origin,
        time_unit=graph.time_unit,
        read=graph.read,
        entity_names=graph.entity_names,
        relation_names=graph.relation_names,
        static=graph.static,
        source=graph.provenance,
    )


def write_mapped(
    folder: str | Path,
    facts: Iterable[FactBlock],
    *,
    finish: Callable[[], MappedFields] = MappedFields,
    **fields: Unpack[MappedFields],
) -> TemporalGraph:
    """Write facts to `folder` block by block, and load their graph from there. They are never in memory as a whole.

    **Arguments:**

    - `folder`: made where needed. A mapped graph in it is replaced, with the indices that were built of it.
    - `facts`: in order of time, and of split at equal times.
    - `fields`: of `TemporalGraph`: `name`, `num_entities`, `num_relations`, and `time_interval`, `clock_origin` (None:
      as in `from_facts`), `time_unit`, `read`, `entity_names`, `relation_names`, `static`; `source`: where the facts
      came from, JSON-compatible.
    - `finish`: called after the last block, gives further fields.

    **Raises:** ConfigError for a folder that holds something else; DataError for facts in another order or with numbers
    out of range, while another process writes there, or when it cannot be written.
    """
    folder = Path(os.path.expanduser(folder))
    _check_place(folder)
    busy = DataError(f"{folder}: another process is writing a graph there; wait for its end")
    try:
        with exclusive_lock(folder / ".graph.lock", busy), scratch_folder(folder, "graph") as work:
            written = _write_facts(work, facts)
            # `finish` may know the sizes only after the last block, so that ids are compared with them only now.
            known = fields | finish()
            record = _make_record(written, cast(GraphFields, known), known.get("source"))
            names = {"entity": known.get("entity_names"), "relation": known.get("relation_names")}
            record["names"] = {kind: _write_names(work / f"{kind}_names.json", names[kind]) for kind in KINDS}
            record["static"] = _write_static(work, known.get("static"), record["columns"])
            flush(work)
            # The columns are whole and on the disk before the record names them; until then it names the old ones.
            place = _move_columns(folder, work, record)
            checksum = _checksum(place, record)
            record["folder"], record["sha256"] = place.name, checksum
            write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")
            # Only now does nothing name the old columns any more. Indices of the very same facts stay: the checksum
            # begins the name of their folder.
            _remove_others(folder, "facts-*", place.name)
            _remove_others(folder, "history-*", f"history-{checksum[:32]}")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); free space there, or name another") from error
    return read_mapped(folder)


def _check_place(folder: Path) -> None:
    try:
        # Hidden files are allowed: an interrupted writer leaves its lock in a folder that is otherwise empty.
        usable = not folder.exists() or (
            folder.is_dir() and ((folder / RECORD).exists() or all(x.name.startswith(".") for x in folder.iterdir()))
        )
    except OSError:
        usable = False
    if not usable:
        raise ConfigError(f"{folder}: holds something else than a mapped graph; name an empty or a new folder")


class _Written(NamedTuple):
    """What `_write_facts` found out on its way.

    **Arguments:** `columns`: of `graph.json`; `highest`: subject, relation and object id; `first_time`: None without
    facts; `divisor`: the greatest common divisor of the distances between train times, 0 for a single one.
    """

    columns: dict[str, ColumnDescription]
    highest: list[int]
    first_time: int | None
    divisor: int


def _write_facts(work: Path, facts: Iterable[FactBlock]) -> _Written:
    """Write the columns of the facts to `work`, in one pass. **Raises:** DataError for facts that no graph can hold."""
    columns = {name: Column(work / f"{name}.npy", dtype) for name, dtype in COLUMNS.items()}
    times, highest, snapshots = [np.zeros(0, np.int64)], np.zeros(3, np.int64), _SnapshotCounter()
    train_time, divisor = None, 0
    with columns["subject"], columns["relation"], columns["object"], columns["snapshot"], columns["split"]:
        for block in facts:
            block = FactBlock._make(np.asarray(column) for column in block)
            if not len(block.time):
                continue
            _check_numbers(columns["subject"].length, block)
            snapshot, begins = snapshots.assign(columns["subject"].length, block)
            times.append(block.time[begins].astype(np.int64))
            trained = block.time[block.split == 0].astype(np.int64)
            if len(trained):
                # The first distance is that to the last train time of the blocks before; for the very first time it
                # is 0, which changes no greatest common divisor.
                steps = np.diff(trained, prepend=trained[0] if train_time is None else train_time)
                train_time, divisor = trained[-1], int(np.gcd.reduce(steps, initial=divisor))
            highest = np.maximum(highest, [column.max() for column in block[:3]])
            for name, values in zip(COLUMNS, (*block[:3], snapshot, block.split)):
                columns[name].append(values)
    starts = np.concatenate(times)
    with Column(work / "times.npy", np.int64) as columns["times"]:
        columns["times"].append(starts)
    described = {name: column.described for name, column in columns.items()}
    return _Written(described, highest.tolist(), int(starts[0]) if len(starts) else None, divisor)


def _make_record(written: _Written, fields: GraphFields, source: LoadOptions | None) -> _Record:
    """The record of the facts. **Raises:** DataError for no facts, or for an id beyond the sizes."""
    name, number = fields["name"], written.columns["subject"]["length"]
    if written.first_time is None:
        raise DataError(f"{name}: no facts; nothing can be trained on an empty graph")
    sizes = (fields["num_entities"], fields["num_relations"], fields["num_entities"])
    for column, most, size in zip(COLUMNS, written.highest, sizes):
        if most >= size:
            raise DataError(f"{name}: {column} {most} is beyond the {size:,} there are; correct the count")
    interval, origin = fields.get("time_interval"), fields.get("clock_origin")
    interval = (written.divisor or 1) if interval is None else interval
    origin = default_origin(written.first_time, interval) if origin is None else origin
    read, unit = fields.get("read"), fields.get("time_unit")
    if read is not None and read.facts != number:
        raise ValueError(f"{read.facts} facts were read, but {number} written")
    # JSON takes no numpy numbers, which callers may give, so that each becomes a plain one.
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "facts": number,
        "snapshots": written.columns["times"]["length"],
        "num_entities": int(fields["num_entities"]),
        "num_relations": int(fields["num_relations"]),
        "time_interval": int(interval),
        "clock_origin": int(origin),
        "time_unit": None if unit is None else int(unit),
        "read": None if read is None else dataclasses.asdict(read),
        "source": source or {},
        "columns": written.columns,
    }


def _check_numbers(first: int, block: FactBlock) -> None:
    """**Raises:** DataError for a number that no graph can hold. **Arguments:** `first`: facts before this block."""
    limits = ((0, INT32_MAX), (0, INT32_MAX), (0, INT32_MAX), (-TIME_MAX, TIME_MAX), (0, len(SPLITS) - 1))
    for name, column, (low, high) in zip(FactBlock._fields, block, limits):
        if len(column) != len(block.time) or column.dtype.kind not in "iu":
            raise DataError(f"fact {first}: {name} has {len(column)} numbers of {column.dtype}; give one for each fact")
        if int(column.min()) < low or int(column.max()) > high:
            row = int(np.argmax((column < low) | (column > high)))
            raise DataError(f"fact {first + row}: {name} is {column[row]}, outside {low} to {high}; correct it")


class _SnapshotCounter:
    """Numbers the snapshots of blocks of facts that come in order of time and split."""

    def __init__(self) -> None:
        self._time: int | None = None
        self._split, self._count = 0, 0

    def assign(self, first: int, block: FactBlock) -> tuple[np.ndarray, np.ndarray]:
        """The snapshot of each fact, and which facts begin one. **Raises:** DataError for facts in another order."""
        time = block.time.astype(np.int64)
        # The first fact of all is a step after nothing, and so begins a snapshot.
        step = np.diff(time, prepend=time[0] - 1 if self._time is None else self._time)
        back = (step < 0) | ((step == 0) & (np.diff(block.split.astype(np.int64), prepend=self._split) < 0))
        if back.any():
            row = int(np.argmax(back))
            raise DataError(
                f"fact {first + row}: at time {time[row]} and of split {SPLITS[block.split[row]]}, but later facts or "
                "splits came before it; sort the facts by time, then by split"
            )
        begins = step > 0
        # A block that goes on with the last snapshot of the one before begins with its number, count - 1.
        snapshot = self._count + np.cumsum(begins) - 1
        self._time, self._split, self._count = int(time[-1]), int(block.split[-1]), int(snapshot[-1]) + 1
        return snapshot, begins


def _write_names(path: Path, names: tuple[str, ...] | None) -> _NamesDescription | None:
    if names is None:
        return None
    content = json.dumps(list(names), ensure_ascii=False).encode()
    write_bytes(path, content)
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _write_static(work: Path, static: StaticGraph | None, columns: dict[str, ColumnDescription]) -> _StaticSizes | None:
    """Write the static graph, and add its columns to those that are described."""
    if static is None:
        return None
    for name in STATIC_COLUMNS:
        with Column(work / f"static_{name}.npy", np.int32) as column:
            column.append(getattr(static, name))
        columns[f"static_{name}"] = column.described
    return {"num_relations": int(static.num_relations), "num_words": int(static.num_words)}


def _move_columns(folder: Path, work: Path, record: _Record) -> Path:
    """Give the columns in `work` a name of their own in `folder`, never one that another graph had."""
    content = {"columns": record["columns"], "names": record.get("names")}
    tag = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    number = 1
    # A process may still map columns of the same content, so that their folder is not written again.
    while (place := folder / f"facts-{tag}-{number}").exists():
        number += 1
    work.rename(place)
    flush(folder)
    return place


def _checksum(place: Path, record: _Record) -> str:
    """`TemporalGraph.checksum` of what was written to the folder `place`."""
    # Mapped, because they may be larger than the memory.
    columns = {name: np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in (*COLUMNS, "times")}
    return TemporalGraph(
        **columns,
        name=record["name"],
        num_entities=record["num_entities"],
        num_relations=record["num_relations"],
        time_interval=record["time_interval"],
    ).checksum


def _remove_others(folder: Path, pattern: str, kept: str) -> None:
    """Remove the folders that an earlier graph left; names that begin with `kept` are those of this one."""
    for place in folder.glob(pattern):
        if not place.name.startswith(kept):
            shutil.rmtree(place, ignore_errors=True)
