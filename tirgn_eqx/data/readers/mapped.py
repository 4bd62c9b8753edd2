"""Mapped graphs: a folder with one npy file per column, whose pages the system reads from the disk as they are used.

`graph.json` names the folder of the columns beside it, their lengths and their sha256. It is written last, so that a
folder holds the graph that it held before, or the new one. Reading checks every header, length and number before the
columns are used. `mapped_writer` writes such folders.
"""

import hashlib
import os.path
import re
from pathlib import Path
from typing import TypeGuard

import numpy as np

from tirgn_eqx.data.graph import SPLITS, ReadReport, StaticGraph, TemporalGraph
from tirgn_eqx.data.readers.integer_text import INT32_MAX, most_ids
from tirgn_eqx.data.times import TIME_MAX, UNIT_NAMES
from tirgn_eqx.errors import DataError, shown
from tirgn_eqx.storage.npy_columns import CHUNK, check_column, map_column
from tirgn_eqx.storage.untrusted import check_regular, is_utf8, parse_json

FORMAT = "tirgn mapped graph"
VERSION = 1
RECORD = "graph.json"
COLUMNS = {"subject": np.int32, "relation": np.int32, "object": np.int32, "snapshot": np.int32, "split": np.int8}
KINDS = {"entity": "entities", "relation": "relations"}
STATIC_COLUMNS = ("entity", "relation", "word")
_COUNTS = ("lines", "facts", "blank", "bad", "outside", "thinned")
_FIX = "make it again with `tirgn data map`"
_RECORD_BYTES = 1 << 20
_MOST = 1 << 40  # facts, lines, bytes of names
# No separators: a record from elsewhere must not lead out of its folder.
_FOLDER = re.compile(r"facts-[0-9a-f]{16}-[0-9]{1,9}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_mapped(folder: str | Path) -> bool:
    """Whether a folder says that it holds a mapped graph."""
    return os.path.isfile(Path(folder) / RECORD)


def read_mapped(path: str | Path) -> TemporalGraph:
    """The graph in a folder that `write_mapped` made, its columns mapped from the disk and checked in one pass.

    **Raises:** DataError for a folder that is no such graph or is damaged: one line with the file and what is wrong.
    """
    folder = Path(os.path.expanduser(path))
    record = _Record(folder / RECORD)
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
            raise record.error(f"{size:,} {KINDS[kind]}, but {facts:,} facts")
    limits = (entities, relations, entities, snapshots, len(SPLITS))
    columns = {name: map_column(place / f"{name}.npy", dtype, facts, _FIX) for name, dtype in COLUMNS.items()}
    times = map_column(place / "times.npy", np.int64, snapshots, _FIX)
    for (name, values), limit in zip(columns.items(), limits):
        check_column(place / f"{name}.npy", values, record.sha256(name), _FIX, 0, limit)
    check_column(place / "times.npy", times, record.sha256("times"), _FIX, -TIME_MAX, TIME_MAX + 1)
    _check_order(place, columns["snapshot"], columns["split"], times)
    absolute = os.path.abspath(folder)
    graph = TemporalGraph(
        name=record.text("name"),
        subject=columns["subject"],
        relation=columns["relation"],
        object=columns["object"],
        snapshot=columns["snapshot"],
        split=columns["split"],
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
        if not isinstance(self.document, dict) or self.document.get("format") != FORMAT:
            raise self.error(f"does not say that it is a {FORMAT}")
        if self.document.get("version") != VERSION:
            raise self.error(f"version {shown(self.document.get('version'))}, expected {VERSION}")

    def error(self, problem: str) -> DataError:
        return DataError(f"{self.path}: {problem}; {_FIX}")

    def find(self, *keys: str) -> object:
        """The value under some keys, from the outermost on; None where there is none."""
        value: object = self.document
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


def _is_text(value: object) -> TypeGuard[str]:
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
    columns: dict[str, np.ndarray] = {}
    for name, limit in zip(STATIC_COLUMNS, (entities, relations, words)):
        path = place / f"static_{name}.npy"
        values = map_column(path, np.int32, length, _FIX)
        check_column(path, values, record.sha256(f"static_{name}"), _FIX, 0, limit)
        columns[name] = np.array(values)
    return StaticGraph(columns["entity"], columns["relation"], columns["word"], relations, words)
