"""Mapped graphs: a folder with one npy file per column, whose pages the system reads from the disk as they are used.

`graph.json` names the folder of the columns beside it, their lengths and their sha256. It is written last, so that a
folder holds the graph that it held before, or the new one. Reading checks every header, length and number before the
columns are used.
"""

import dataclasses
import hashlib
import json
import os.path
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tirgn_eqx.data.graph import SPLITS, ReadReport, StaticGraph, TemporalGraph, default_origin
from tirgn_eqx.data.readers.integer_text import INT32_MAX, most_ids
from tirgn_eqx.data.times import TIME_MAX, UNIT_NAMES
from tirgn_eqx.errors import ConfigError, DataError, shown
from tirgn_eqx.storage.atomic_write import flush, scratch_folder, write_bytes, write_text
from tirgn_eqx.storage.locks import exclusive_lock
from tirgn_eqx.storage.npy_columns import CHUNK, Column, check_column, map_column
from tirgn_eqx.storage.untrusted import check_regular, is_utf8, parse_json

_FORMAT = "tirgn mapped graph"
_VERSION = 1
_RECORD = "graph.json"
_COLUMNS = {"subject": np.int32, "relation": np.int32, "object": np.int32, "snapshot": np.int32, "split": np.int8}
_KINDS = {"entity": "entities", "relation": "relations"}
_STATIC = ("entity", "relation", "word")
_COUNTS = ("lines", "facts", "blank", "bad", "outside", "thinned")
_FIX = "make it again with `tirgn data map`"
_RECORD_BYTES = 1 << 20
_MOST = 1 << 40  # facts, lines, bytes of names
# No separators: a record from elsewhere must not lead out of its folder.
_FOLDER = re.compile(r"facts-[0-9a-f]{16}-[0-9]{1,9}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class FactBlock(NamedTuple):
    """Some facts, each column `(fact,)` of whole numbers; `split`: 0 train, 1 valid, 2 test."""

    subject: np.ndarray
    relation: np.ndarray
    object: np.ndarray
    time: np.ndarray
    split: np.ndarray


# --- writing -------------------------------------------------------------------------------------------------------


def map_graph(graph: TemporalGraph, folder: str | Path) -> TemporalGraph:
    """Write `graph` to `folder` and load it from there; see `write_mapped`."""
    fields = ("name", "num_entities", "num_relations", "time_interval", "clock_origin", "time_unit", "read")
    fields += ("entity_names", "relation_names", "static")
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
    return write_mapped(folder, blocks, source=graph.provenance, **{name: getattr(graph, name) for name in fields})


def write_mapped(
    folder: str | Path,
    facts: Iterable[FactBlock],
    *,
    finish: Callable[[], dict[str, Any]] = dict,
    **fields: Any,
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
            record, fields = _write_facts(work, facts, fields, finish)
            record["names"] = {
                kind: _write_names(work / f"{kind}_names.json", fields.get(f"{kind}_names")) for kind in _KINDS
            }
            record["static"] = _write_static(work, fields.get("static"), record["columns"])
            flush(work)
            # The columns are whole and on the disk before the record names them; until then it names the old ones.
            record["folder"] = _move_columns(folder, work, record)
            record["sha256"] = _checksum(folder, record)
            write_text(folder / _RECORD, json.dumps(record, indent=1) + "\n")
            # Only now does nothing name the old columns any more.
            _remove_others(folder, record)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); free space there, or name another") from error
    return read_mapped(folder)


def _check_place(folder: Path) -> None:
    try:
        # Hidden files are allowed: an interrupted writer leaves its lock in a folder that is otherwise empty.
        usable = not folder.exists() or (
            folder.is_dir() and ((folder / _RECORD).exists() or all(x.name.startswith(".") for x in folder.iterdir()))
        )
    except OSError:
        usable = False
    if not usable:
        raise ConfigError(f"{folder}: holds something else than a mapped graph; name an empty or a new folder")


def _write_facts(
    work: Path, facts: Iterable[FactBlock], fields: dict[str, Any], finish: Callable[[], dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `graph.json` says of the facts, written to `work`; and all fields."""
    columns = {name: Column(work / f"{name}.npy", dtype) for name, dtype in _COLUMNS.items()}
    times, highest, snapshots = [], np.zeros(3, np.int64), _SnapshotCounter()
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
            for name, values in zip(_COLUMNS, (*block[:3], snapshot, block.split)):
                columns[name].append(values)
    fields = fields | finish()
    if not times:
        raise DataError(f"{fields['name']}: no facts; nothing can be trained on an empty graph")
    # `finish` may have given the sizes, so that ids can be compared with them only here.
    sizes = (fields["num_entities"], fields["num_relations"], fields["num_entities"])
    for name, most, size in zip(_COLUMNS, highest.tolist(), sizes):
        if most >= size:
            raise DataError(f"{fields['name']}: {name} {most} is beyond the {size:,} there are; correct the count")
    with Column(work / "times.npy", np.int64) as columns["times"]:
        columns["times"].append(np.concatenate(times))
    # JSON takes no numpy numbers, so that each becomes a plain one.
    interval, origin = fields.get("time_interval"), fields.get("clock_origin")
    interval = int(divisor or 1) if interval is None else int(interval)
    origin = default_origin(int(times[0][0]), interval) if origin is None else int(origin)
    read, unit, number = fields.get("read"), fields.get("time_unit"), columns["subject"].length
    if read is not None and read.facts != number:
        raise ValueError(f"{read.facts} facts were read, but {number} written")
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "name": fields["name"],
        "facts": number,
        "snapshots": columns["times"].length,
        "num_entities": int(fields["num_entities"]),
        "num_relations": int(fields["num_relations"]),
        "time_interval": interval,
        "clock_origin": origin,
        "time_unit": None if unit is None else int(unit),
        "read": None if read is None else dataclasses.asdict(read),
        "source": fields.get("source") or {},
        "columns": {name: column.described for name, column in columns.items()},
    }, fields


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

    def __init__(self):
        self._time, self._split, self._count = None, 0, 0

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


def _write_names(path: Path, names: tuple[str, ...] | None) -> dict[str, Any] | None:
    if names is None:
        return None
    content = json.dumps(list(names), ensure_ascii=False).encode()
    write_bytes(path, content)
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _write_static(work: Path, static: StaticGraph | None, columns: dict[str, Any]) -> dict[str, int] | None:
    if static is None:
        return None
    for name in _STATIC:
        with Column(work / f"static_{name}.npy", np.int32) as column:
            column.append(getattr(static, name))
        columns[f"static_{name}"] = column.described
    return {"num_relations": int(static.num_relations), "num_words": int(static.num_words)}


def _move_columns(folder: Path, work: Path, record: dict[str, Any]) -> str:
    """Give the columns in `work` a name of their own in `folder`, never one that another graph had."""
    content = {key: record[key] for key in ("columns", "names")}
    tag = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    number = 1
    # A process may still map columns of the same content, so that their folder is not written again.
    while (place := folder / f"facts-{tag}-{number}").exists():
        number += 1
    work.rename(place)
    flush(folder)
    return place.name


def _checksum(folder: Path, record: dict[str, Any]) -> str:
    """`TemporalGraph.checksum` of what was written."""
    place = folder / record["folder"]
    # Mapped, because they may be larger than the memory.
    columns = {name: np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in (*_COLUMNS, "times")}
    sizes = {name: record[name] for name in ("name", "num_entities", "num_relations", "time_interval")}
    return TemporalGraph(**columns, **sizes).checksum


def _remove_others(folder: Path, record: dict[str, Any]) -> None:
    """Remove what an earlier graph left in the folder."""
    for pattern, kept in (("facts-*", record["folder"]), ("history-*", f"history-{record['sha256'][:32]}")):
        for place in folder.glob(pattern):
            # Indices of the very same facts stay: the checksum begins the name of their folder.
            if not place.name.startswith(kept):
                shutil.rmtree(place, ignore_errors=True)


# --- reading -------------------------------------------------------------------------------------------------------


def is_mapped(folder: str | Path) -> bool:
    """Whether a folder says that it holds a mapped graph."""
    return os.path.isfile(Path(folder) / _RECORD)


def read_mapped(path: str | Path) -> TemporalGraph:
    """The graph in a folder that `write_mapped` made, its columns mapped from the disk and checked in one pass.

    **Raises:** DataError for a folder that is no such graph or is damaged: one line with the file and what is wrong.
    """
    folder = Path(os.path.expanduser(path))
    record = _Record(folder / _RECORD)
    facts, snapshots = record.number("facts", 1, _MOST), record.number("snapshots", 1, INT32_MAX)
    entities = record.number("num_entities", 1, INT32_MAX)
    # The ids of inverse relations, r + relations, must fit in 32 bits as well.
    relations = record.number("num_relations", 1, INT32_MAX // 2)
    place = folder / record.text("folder", _FOLDER)
    sizes = {"entity": entities, "relation": relations}
    names = {kind: _read_names(record, place, kind, size) for kind, size in sizes.items()}
    for kind, size in sizes.items():
        # Memory grows with the number of ids, so that a damaged or hostile record must not claim billions.
        if size > most_ids(facts + len(names[kind] or ())):
            raise record.error(f"{size:,} {_KINDS[kind]}, but {facts:,} facts")
    limits = (entities, relations, entities, snapshots, len(SPLITS))
    columns: dict[str, Any] = {
        name: map_column(place / f"{name}.npy", dtype, facts, _FIX) for name, dtype in _COLUMNS.items()
    }
    times = map_column(place / "times.npy", np.int64, snapshots, _FIX)
    for (name, values), limit in zip(columns.items(), limits):
        check_column(place / f"{name}.npy", values, record.sha256(name), _FIX, 0, limit)
    check_column(place / "times.npy", times, record.sha256("times"), _FIX, -TIME_MAX, TIME_MAX + 1)
    _check_order(place, columns["snapshot"], columns["split"], times)
    absolute = os.path.abspath(folder)
    graph = TemporalGraph(
        **columns,
        name=record.text("name"),
        times=np.array(times),
        num_entities=entities,
        num_relations=relations,
        # Two times are at most 2 * TIME_MAX apart.
        time_interval=record.number("time_interval", 1, 2 * TIME_MAX),
        clock_origin=record.number("clock_origin", -TIME_MAX, TIME_MAX),
        time_unit=record.time_unit(),
        read=record.read_report(facts),
        entity_names=names["entity"],
        relation_names=names["relation"],
        static=_read_static(record, place, entities),
        provenance={"kind": "mapped", "path": absolute},
    )
    # To compute the checksum would sort all facts; the sha256 of the columns was compared already.
    return graph.with_known(checksum=record.text("sha256", _SHA256), mapped_folder=Path(absolute))


class _Record:
    """The values of `graph.json`, by key. **Raises:** DataError for one of another type or out of range."""

    def __init__(self, path: Path):
        self.path = path
        try:
            check_regular(path)
            with path.open("rb") as file:
                # One byte more than allowed tells a file that is too long.
                content = file.read(_RECORD_BYTES + 1)
            self.document = parse_json(content) if len(content) <= _RECORD_BYTES else None
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); {_FIX}") from error
        except ValueError as error:
            raise DataError(f"{path}: no JSON; {_FIX}") from error
        if not isinstance(self.document, dict) or self.document.get("format") != _FORMAT:
            raise self.error(f"does not say that it is a {_FORMAT}")
        if self.document.get("version") != _VERSION:
            raise self.error(f"version {shown(self.document.get('version'))}, expected {_VERSION}")

    def error(self, problem: str) -> DataError:
        return DataError(f"{self.path}: {problem}; {_FIX}")

    def find(self, *keys: str) -> Any:
        value: Any = self.document
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def number(self, keys: str, low: int, high: int) -> int:
        """A whole number. **Arguments:** `keys`: from the outermost on, with spaces between them."""
        value = self.find(*keys.split())
        # Not `isinstance`: `true` in JSON becomes a bool, which is an int.
        if type(value) is not int or not low <= value <= high:
            raise self.error(f"{keys} is {shown(value)}, expected a whole number from {low} to {high}")
        return value

    def text(self, key: str, form: re.Pattern[str] | None = None) -> str:
        value = self.find(key)
        if not _is_text(value) or (form is not None and form.fullmatch(value) is None):
            raise self.error(f"{key} is {shown(value)}, no such name")
        return value

    def sha256(self, column: str) -> str:
        value = self.find("columns", column, "sha256")
        if not isinstance(value, str):
            raise self.error(f"says no sha256 of {column}")
        return value

    def time_unit(self) -> int | None:
        unit = self.find("time_unit")
        if unit is not None and (type(unit) is not int or unit not in UNIT_NAMES):
            raise self.error(f"time_unit is {shown(unit)}, expected one of {', '.join(map(str, UNIT_NAMES))}")
        return unit

    def read_report(self, facts: int) -> ReadReport | None:
        if self.find("read") is None:
            return None
        counts = {key: self.number(f"read {key}", 0, _MOST) for key in _COUNTS}
        times = self.find("read", "times")
        if counts["facts"] != facts or not (times is None or _is_text(times)):
            raise self.error("read does not tell of these facts")
        try:
            return ReadReport(**counts, times=times)
        except ValueError as error:
            raise self.error(f"read: {error}") from error


def _is_text(value: Any) -> bool:
    """Whether a value is text that can be written as UTF-8: JSON can name halves of letters."""
    return isinstance(value, str) and is_utf8(value)


def _check_order(place: Path, snapshot: np.ndarray, split: np.ndarray, times: np.ndarray) -> None:
    """**Raises:** DataError for facts that are not in order, snapshots without facts, and times that do not rise."""
    last = -1
    for begin in range(0, len(snapshot), CHUNK):
        part = slice(begin, begin + CHUNK)
        # Rises with the snapshot, and in a snapshot with the split; `last` is that of the fact before this part. The
        # first fact of all must be in snapshot 0, a step after -1.
        code = snapshot[part].astype(np.int64) * len(SPLITS) + split[part]
        step = np.diff(snapshot[part].astype(np.int64), prepend=last // len(SPLITS) if begin else -1)
        bad = (np.diff(code, prepend=last) < 0) | (step > 1)
        if bad.any():
            row = begin + int(np.argmax(bad))
            raise DataError(f"{place / 'snapshot.npy'}: fact {row} is not in order of time and split; {_FIX}")
        last = int(code[-1])
    found = last // len(SPLITS) + 1
    if found != len(times):
        raise DataError(f"{place / 'times.npy'}: {len(times):,} times, but facts of {found:,}; {_FIX}")
    if np.any(np.diff(times) <= 0):
        raise DataError(f"{place / 'times.npy'}: times do not rise; {_FIX}")


def _read_names(record: _Record, place: Path, kind: str, number: int) -> tuple[str, ...] | None:
    if record.find("names", kind) is None:
        return None
    path = place / f"{kind}_names.json"
    size = record.number(f"names {kind} bytes", 0, _MOST)
    try:
        check_regular(path)
        if path.stat().st_size != size:
            raise DataError(f"{path}: {path.stat().st_size:,} bytes, expected {size:,}; {_FIX}")
        content = path.read_bytes()
        names = parse_json(content.decode())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {_FIX}") from error
    except ValueError as error:
        raise DataError(f"{path}: no JSON; {_FIX}") from error
    if hashlib.sha256(content).hexdigest() != record.find("names", kind, "sha256"):
        raise DataError(f"{path}: has another sha256 than was written down; {_FIX}")
    if not isinstance(names, list) or len(names) != number or not all(map(_is_text, names)):
        raise DataError(f"{path}: not a list of {number:,} names; {_FIX}")
    return tuple(names)


def _read_static(record: _Record, place: Path, entities: int) -> StaticGraph | None:
    if record.find("static") is None:
        return None
    length = record.number("columns static_entity length", 1, INT32_MAX)
    most = min(most_ids(length), INT32_MAX - entities)
    relations = record.number("static num_relations", 1, most)
    words = record.number("static num_words", 1, most)
    columns = {}
    for name, limit in zip(_STATIC, (entities, relations, words)):
        path = place / f"static_{name}.npy"
        values = map_column(path, np.int32, length, _FIX)
        check_column(path, values, record.sha256(f"static_{name}"), _FIX, 0, limit)
        columns[name] = np.array(values)
    return StaticGraph(**columns, num_relations=relations, num_words=words)
