"""Mapped graphs: a folder with one npy file per column, read from the disk where it is looked at.

`graph.json` names the folder of the columns beside it, and their lengths and sha256; it is written last, so that a
folder holds the graph that it held before, or the new one.
"""

import dataclasses
import hashlib
import itertools
import json
import os.path
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tirgn_eqx.data.graph import SPLITS, StaticGraph, TemporalGraph, default_origin
from tirgn_eqx.data.readers.integer_text import INT32_MAX, TIME_MAX
from tirgn_eqx.data.readers.mapped_read import COLUMNS, FORMAT, RECORD, STATIC, VERSION, read_mapped
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.storage.atomic_write import flush, scratch_folder, write_bytes, write_text
from tirgn_eqx.storage.locks import exclusive_lock
from tirgn_eqx.storage.npy_columns import Column


class Facts(NamedTuple):
    """Some facts, each column `(fact,)` of whole numbers; `split`: 0 train, 1 valid, 2 test."""

    subject: np.ndarray
    relation: np.ndarray
    object: np.ndarray
    time: np.ndarray
    split: np.ndarray


def map_graph(graph: TemporalGraph, folder: str | Path) -> TemporalGraph:
    """`graph`, written to `folder` and mapped from there; see `write_mapped`."""
    fields = ("name", "num_entities", "num_relations", "time_interval", "clock_origin", "time_unit", "read")
    fields += ("entity_names", "relation_names", "static")
    facts = (
        Facts(
            subject=graph.subject[rows],
            relation=graph.relation[rows],
            object=graph.object[rows],
            time=graph.times[graph.snapshot[rows]],
            split=graph.split[rows],
        )
        for rows in graph.blocks()
    )
    return write_mapped(folder, facts, source=graph.provenance, **{name: getattr(graph, name) for name in fields})


def write_mapped(
    folder: str | Path,
    facts: Iterable[Facts],
    *,
    finish: Callable[[], dict[str, Any]] = dict,
    **fields: Any,
) -> TemporalGraph:
    """The graph of `facts`, written to `folder` as they come, and mapped from there. Never are all of them in memory.

    **Arguments:**

    - `folder`: made where needed. A mapped graph in it is replaced; what was built from that is removed.
    - `facts`: in order of time, and of split at equal times.
    - `fields`: of `TemporalGraph`: `name`, `num_entities`, `num_relations`, and `time_interval`, `clock_origin` (None:
      as in `from_facts`), `time_unit`, `read`, `entity_names`, `relation_names`, `static`; `source`: where the facts
      came from, JSON-compatible.
    - `finish`: gives further fields once all facts were taken.

    **Raises:** ConfigError for a folder that holds something else; DataError for facts in another order or with numbers
    out of range, while another process writes there, or when it cannot be written.
    """
    folder = Path(os.path.expanduser(folder))
    _check_place(folder)
    busy = DataError(f"{folder}: another process is writing a graph there; wait for its end")
    try:
        with exclusive_lock(folder / ".graph.lock", busy), scratch_folder(folder, "graph") as work:
            said, fields = _write_facts(work, facts, fields, finish)
            said["names"] = {
                kind: _write_names(work / f"{kind}_names.json", fields.get(f"{kind}_names"))
                for kind in ("entity", "relation")
            }
            said |= _write_static(work, fields.get("static"), said["columns"])
            flush(work)
            said["folder"] = _settle(folder, work, said)
            said["sha256"] = _checksum(folder, said)
            write_text(folder / RECORD, json.dumps(said, indent=1) + "\n")
            _remove_others(folder, said)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); free space there, or name another") from error
    return read_mapped(folder)


def _check_place(folder: Path) -> None:
    try:
        usable = not folder.exists() or (
            folder.is_dir() and ((folder / RECORD).exists() or all(x.name.startswith(".") for x in folder.iterdir()))
        )
    except OSError:
        usable = False
    if not usable:
        raise ConfigError(f"{folder}: holds something else than a mapped graph; name an empty or a new folder")


def _write_facts(
    work: Path, facts: Iterable[Facts], fields: dict[str, Any], finish: Callable[[], dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `graph.json` says of the facts, written to `work`; and all fields."""
    columns = {name: Column(work / f"{name}.npy", dtype) for name, dtype in COLUMNS.items()}
    times, highest, order = [], np.zeros(3, np.int64), _Order()
    train_time, divisor = None, 0
    with columns["subject"], columns["relation"], columns["object"], columns["snapshot"], columns["split"]:
        for block in facts:
            block = Facts._make(np.asarray(column) for column in block)
            if not len(block.time):
                continue
            _check_numbers(columns["subject"].length, block)
            snapshot, new = order.place(columns["subject"].length, block)
            times.append(block.time[new].astype(np.int64))
            trained = block.time[block.split == 0].astype(np.int64)
            if len(trained):
                steps = np.diff(trained, prepend=trained[0] if train_time is None else train_time)
                train_time, divisor = trained[-1], int(np.gcd.reduce(steps, initial=divisor))
            highest = np.maximum(highest, [column.max() for column in block[:3]])
            for name, values in zip(COLUMNS, (*block[:3], snapshot, block.split)):
                columns[name].append(values)
    fields = fields | finish()
    if not times:
        raise DataError(f"{fields['name']}: no facts; nothing can be trained on an empty graph")
    sizes = (fields["num_entities"], fields["num_relations"], fields["num_entities"])
    for name, most, size in zip(COLUMNS, highest.tolist(), sizes):
        if most >= size:
            raise DataError(f"{fields['name']}: {name} {most} is beyond the {size:,} there are; correct the count")
    with Column(work / "times.npy", np.int64) as column:
        column.append(np.concatenate(times))
    interval = fields.get("time_interval")
    if interval is None:
        interval = divisor or 1
    origin = fields.get("clock_origin")
    if origin is None:
        origin = default_origin(int(times[0][0]), int(interval))
    read, unit = fields.get("read"), fields.get("time_unit")
    if read is not None and read.facts != columns["subject"].length:
        raise ValueError(f"{read.facts} facts were read, but {columns['subject'].length} written")
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": fields["name"],
        "facts": columns["subject"].length,
        "snapshots": column.length,
        "num_entities": int(fields["num_entities"]),
        "num_relations": int(fields["num_relations"]),
        "time_interval": int(interval),
        "clock_origin": int(origin),
        "time_unit": None if unit is None else int(unit),
        "read": None if read is None else dataclasses.asdict(read),
        "source": fields.get("source") or {},
        "columns": {name: made.described for name, made in (columns | {"times": column}).items()},
    }, fields


def _check_numbers(first: int, block: Facts) -> None:
    """**Raises:** DataError for a number that no graph can hold. **Arguments:** `first`: facts before this block."""
    limits = ((0, INT32_MAX), (0, INT32_MAX), (0, INT32_MAX), (-TIME_MAX, TIME_MAX), (0, len(SPLITS) - 1))
    for name, column, (low, high) in zip(Facts._fields, block, limits):
        if len(column) != len(block.time) or column.dtype.kind not in "iu":
            raise DataError(f"fact {first}: {name} has {len(column)} numbers of {column.dtype}; give one for each fact")
        if int(column.min()) < low or int(column.max()) > high:
            row = int(np.argmax((column < low) | (column > high)))
            raise DataError(f"fact {first + row}: {name} is {column[row]}, outside {low} to {high}; correct it")


class _Order:
    """Which snapshot facts belong to that come in order of time and split."""

    def __init__(self):
        self._time, self._split, self._count = None, 0, 0

    def place(self, first: int, block: Facts) -> tuple[np.ndarray, np.ndarray]:
        """The snapshot of each fact, and which facts begin one. **Raises:** DataError for facts in another order."""
        time = block.time.astype(np.int64)
        step = np.diff(time, prepend=time[0] - 1 if self._time is None else self._time)
        back = (step < 0) | ((step == 0) & (np.diff(block.split.astype(np.int64), prepend=self._split) < 0))
        if back.any():
            row = int(np.argmax(back))
            raise DataError(
                f"fact {first + row}: at time {time[row]} and of split {SPLITS[block.split[row]]}, but later facts or "
                "splits came before it; sort the facts by time, then by split"
            )
        new = step > 0
        snapshot = self._count + np.cumsum(new) - 1
        self._time, self._split, self._count = int(time[-1]), int(block.split[-1]), int(snapshot[-1]) + 1
        return snapshot, new


def _write_names(path: Path, names: tuple[str, ...] | None) -> dict[str, Any] | None:
    if names is None:
        return None
    content = json.dumps(list(names), ensure_ascii=False).encode()
    write_bytes(path, content)
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _write_static(work: Path, static: StaticGraph | None, columns: dict[str, Any]) -> dict[str, Any]:
    if static is None:
        return {"static": None}
    for name in STATIC:
        with Column(work / f"static_{name}.npy", np.int32) as column:
            column.append(getattr(static, name))
        columns[f"static_{name}"] = column.described
    return {"static": {"num_relations": int(static.num_relations), "num_words": int(static.num_words)}}


def _settle(folder: Path, work: Path, said: dict[str, Any]) -> str:
    """Give the columns in `work` a name of their own in `folder`."""
    content = {key: said[key] for key in ("columns", "names")}
    tag = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    for number in itertools.count(1):
        place = folder / f"facts-{tag}-{number}"
        if not place.exists():
            work.rename(place)
            flush(folder)
            return place.name
    raise AssertionError


def _checksum(folder: Path, said: dict[str, Any]) -> str:
    """`TemporalGraph.checksum` of what was written."""
    column = lambda name: np.load(folder / said["folder"] / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    sizes = {name: said[name] for name in ("name", "num_entities", "num_relations", "time_interval")}
    return TemporalGraph(**{name: column(name) for name in (*COLUMNS, "times")}, **sizes).checksum


def _remove_others(folder: Path, said: dict[str, Any]) -> None:
    """What an earlier graph left in the folder."""
    for pattern, kept in (("facts-*", said["folder"]), ("history-*", f"history-{said['sha256'][:32]}")):
        for place in folder.glob(pattern):
            if not place.name.startswith(kept):
                shutil.rmtree(place, ignore_errors=True)


def in_order(blocks: Iterator[tuple[np.ndarray, np.ndarray]]) -> Iterator[Facts]:
    """Rows as `stream_folder` gives them, as facts."""
    for rows, split in blocks:
        yield Facts._make((*rows.T, split))
