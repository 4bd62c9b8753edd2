"""Mapped graphs, read: every header, length and number is checked before the columns are used."""

import hashlib
import os.path
import re
from pathlib import Path
from typing import Any

import numpy as np

from tirgn_eqx.data.dates import UNITS
from tirgn_eqx.data.graph import SPLITS, ReadReport, StaticGraph, TemporalGraph, default_origin
from tirgn_eqx.data.readers.integer_text import INT32_MAX, TIME_MAX, most_ids
from tirgn_eqx.errors import DataError, shown
from tirgn_eqx.storage.npy_columns import CHUNK, check_column, map_column
from tirgn_eqx.storage.untrusted import check_regular, parse_json

FORMAT = "tirgn mapped graph"
VERSION = 1
RECORD = "graph.json"
COLUMNS = {"subject": np.int32, "relation": np.int32, "object": np.int32, "snapshot": np.int32, "split": np.int8}
STATIC = ("entity", "relation", "word")
_NEED = "make it again with `tirgn data map`"
_MOST = 1 << 20  # bytes of graph.json
_FOLDER = re.compile(r"facts-[0-9a-f]{16}-[0-9]{1,9}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_mapped(folder: str | Path) -> bool:
    """Whether a folder says that it holds a mapped graph."""
    return os.path.isfile(Path(folder) / RECORD)


def read_mapped(path: str | Path, name: str | None = None) -> TemporalGraph:
    """The graph in a folder that `write_mapped` made, its columns mapped from the disk. They are gone through once.

    **Arguments:** `path`: the folder; `name`: instead of the graph's own.

    **Raises:** DataError for a folder that is no such graph or is damaged: one line with the file and what is wrong.
    """
    folder = Path(os.path.expanduser(path))
    said = _Record(folder / RECORD)
    facts, snapshots = said.number("facts", 1, 1 << 40), said.number("snapshots", 1, INT32_MAX)
    sizes = {"num_entities": INT32_MAX, "num_relations": INT32_MAX // 2}
    sizes = {key: said.number(key, 1, most) for key, most in sizes.items()}
    place = folder / said.text("folder", _FOLDER)
    entities, relations = sizes["num_entities"], sizes["num_relations"]
    limits = {"subject": entities, "relation": relations, "object": entities, "snapshot": snapshots}
    limits["split"] = len(SPLITS)
    names = {kind: _names(said, place, kind, sizes[f"num_{kinds}"]) for kind, kinds in _KINDS.items()}
    for kind, kinds in _KINDS.items():
        if sizes[f"num_{kinds}"] > most_ids(facts + len(names[kind] or ())):
            raise said.wrong(f"{sizes[f'num_{kinds}']:,} {kinds}, but {facts:,} facts")
    columns: dict[str, Any] = {
        key: map_column(place / f"{key}.npy", dtype, facts, _NEED) for key, dtype in COLUMNS.items()
    }
    times = map_column(place / "times.npy", np.int64, snapshots, _NEED)
    for key, values in columns.items():
        check_column(place / f"{key}.npy", values, said.sha256(key), _NEED, 0, limits[key])
    check_column(place / "times.npy", times, said.sha256("times"), _NEED, -TIME_MAX, TIME_MAX + 1)
    _check_order(place, columns["snapshot"], columns["split"], times)
    interval = said.number("time_interval", 1, 2 * TIME_MAX)
    # Folders of earlier versions do not say it.
    known = said.find("clock_origin") is not None
    origin = said.number("clock_origin", -TIME_MAX, TIME_MAX) if known else default_origin(int(times[0]), interval)
    graph = TemporalGraph(
        name=said.text("name") if name is None else name,
        **columns,
        times=np.array(times),
        num_entities=entities,
        num_relations=relations,
        time_interval=interval,
        clock_origin=origin,
        time_unit=_unit(said),
        read=_report(said, facts),
        entity_names=names["entity"],
        relation_names=names["relation"],
        static=_static(said, place, entities),
        provenance={"kind": "mapped", "path": os.path.abspath(folder)} | ({} if name is None else {"name": name}),
    )
    # Its checksum takes as long as sorting all facts, and the sha256 of the columns were compared.
    graph.__dict__["checksum"] = said.text("sha256", _SHA256)
    object.__setattr__(graph, "home", Path(os.path.abspath(folder)))
    return graph


def _unit(said: "_Record") -> int | None:
    unit = said.find("time_unit")
    if unit is not None and (type(unit) is not int or unit not in UNITS):
        raise said.wrong(f"time_unit is {shown(unit)}, expected one of {', '.join(map(str, UNITS))}")
    return unit


def _report(said: "_Record", facts: int) -> ReadReport | None:
    if said.find("read") is None:
        return None
    counts = {key: said.number("read", key, 0, 1 << 40) for key in _COUNTS}
    times = said.find("read", "times")
    if counts["facts"] != facts or not (times is None or _is_text(times)):
        raise said.wrong("read does not tell of these facts")
    try:
        return ReadReport(**counts, times=times)
    except ValueError as error:
        raise said.wrong(f"read: {error}") from error


_COUNTS = ("lines", "facts", "blank", "bad", "outside", "thinned")
_KINDS = {"entity": "entities", "relation": "relations"}


class _Record:
    """What `graph.json` says, asked for by key. **Raises:** DataError for what is not of the kind that is asked for."""

    def __init__(self, path: Path):
        self.path = path
        try:
            check_regular(path)
            with path.open("rb") as file:
                content = file.read(_MOST + 1)
            self.said = parse_json(content) if len(content) <= _MOST else None
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); {_NEED}") from error
        except ValueError as error:
            raise DataError(f"{path}: no JSON; {_NEED}") from error
        if not isinstance(self.said, dict) or self.said.get("format") != FORMAT:
            raise self.wrong(f"does not say that it is a {FORMAT}")
        if self.said.get("version") != VERSION:
            raise self.wrong(f"version {shown(self.said.get('version'))}, expected {VERSION}")

    def wrong(self, what: str) -> DataError:
        return DataError(f"{self.path}: {what}; {_NEED}")

    def find(self, *keys: str) -> Any:
        value: Any = self.said
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def number(self, *keys_and_range: Any) -> int:
        *keys, low, high = keys_and_range
        value = self.find(*keys)
        if type(value) is not int or not low <= value <= high:
            raise self.wrong(f"{' '.join(keys)} is {shown(value)}, expected a whole number from {low} to {high}")
        return value

    def text(self, key: str, form: re.Pattern[str] | None = None) -> str:
        value = self.find(key)
        if not _is_text(value) or (form is not None and form.fullmatch(value) is None):
            raise self.wrong(f"{key} is {shown(value)}, no such name")
        return value

    def sha256(self, column: str) -> str:
        value = self.find("columns", column, "sha256")
        if not isinstance(value, str):
            raise self.wrong(f"says no sha256 of {column}")
        return value


def _is_text(value: Any) -> bool:
    """Whether a value is text that can be written as UTF-8: JSON can name halves of letters."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _check_order(place: Path, snapshot: np.ndarray, split: np.ndarray, times: np.ndarray) -> None:
    """**Raises:** DataError for facts that are not in order, snapshots without facts, and times that do not rise."""
    last = -1
    for begin in range(0, len(snapshot), CHUNK):
        part = slice(begin, begin + CHUNK)
        code = snapshot[part].astype(np.int64) * len(SPLITS) + split[part]
        step = np.diff(snapshot[part].astype(np.int64), prepend=last // len(SPLITS) if begin else -1)
        bad = (np.diff(code, prepend=last) < 0) | (step > 1)
        if bad.any():
            row = begin + int(np.argmax(bad))
            raise DataError(f"{place / 'snapshot.npy'}: fact {row} is not in order of time and split; {_NEED}")
        last = int(code[-1])
    seen = last // len(SPLITS) + 1
    if seen != len(times):
        raise DataError(f"{place / 'times.npy'}: {len(times):,} times, but facts of {seen:,}; {_NEED}")
    if np.any(np.diff(times) <= 0):
        raise DataError(f"{place / 'times.npy'}: times do not rise; {_NEED}")


def _names(said: _Record, place: Path, kind: str, number: int) -> tuple[str, ...] | None:
    if said.find("names", kind) is None:
        return None
    path = place / f"{kind}_names.json"
    size = said.number("names", kind, "bytes", 0, 1 << 40)
    try:
        check_regular(path)
        if path.stat().st_size != size:
            raise DataError(f"{path}: {path.stat().st_size:,} bytes, expected {size:,}; {_NEED}")
        content = path.read_bytes()
        names = parse_json(content.decode())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {_NEED}") from error
    except ValueError as error:
        raise DataError(f"{path}: no JSON; {_NEED}") from error
    if hashlib.sha256(content).hexdigest() != said.find("names", kind, "sha256"):
        raise DataError(f"{path}: has another sha256 than was written down; {_NEED}")
    if not isinstance(names, list) or len(names) != number or not all(map(_is_text, names)):
        raise DataError(f"{path}: not a list of {number:,} names; {_NEED}")
    return tuple(names)


def _static(said: _Record, place: Path, entities: int) -> StaticGraph | None:
    if said.find("static") is None:
        return None
    length = said.number("columns", "static_entity", "length", 1, INT32_MAX)
    most = min(most_ids(length), INT32_MAX - entities)
    relations, words = (said.number("static", key, 1, most) for key in ("num_relations", "num_words"))
    columns: dict[str, Any] = {"num_relations": relations, "num_words": words}
    for key, limit in zip(STATIC, (entities, relations, words)):
        path = place / f"static_{key}.npy"
        values = map_column(path, np.int32, length, _NEED)
        check_column(path, values, said.sha256(f"static_{key}"), _NEED, 0, limit)
        columns[key] = np.array(values)
    return StaticGraph(**columns)
