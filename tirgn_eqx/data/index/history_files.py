"""The history vocabulary of a mapped graph, kept beside its facts: built once, whichever process comes first."""

import errno
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.history import HistoryIndex, HistoryVocabulary
from tirgn_eqx.data.index.history_external import FIELDS, ROW_BYTES, index_in_parts
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.storage.files import building, flush, in_turn, write_text
from tirgn_eqx.storage.npy_columns import check_column, map_column
from tirgn_eqx.storage.untrusted import check_regular, parse_json

FORMAT = "tirgn history"
VERSION = 1
MEMORY_MB = 2048
PREFIX = "history-"
_NEED = "delete the folder, and it is built again"
_MOST = 1 << 16  # bytes of its record
# Why a folder takes no files although they would fit.
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_unkept: list[Any] = []


def mapped_vocabulary(
    graph: TemporalGraph,
    *,
    part: tuple[int, int] | None = None,
    memory_mb: int = MEMORY_MB,
    rows: int | None = None,
) -> HistoryVocabulary:
    """The history vocabulary of `graph`, mapped from the disk: that which is kept in the graph's folder; built there
    first when it is missing or damaged, while other processes that need it wait. The vocabulary of a graph without a
    folder, or with one that cannot be written, lies in a temporary folder that goes with the process.

    **Arguments:** `part`: as of `build_history_vocabulary`; `memory_mb`: mebibytes that building may take about, beside
    the mapped files; `rows`: that are indexed at once, instead (a fact makes two).

    **Raises:** ConfigError for an impossible argument; DataError when there is more than 63 bits can number, or no
    space on the disk.
    """
    if part is not None and not 0 <= part[0] < part[1]:
        raise ConfigError(f"part {part}: must be (index, count) with 0 <= index < count")
    if memory_mb < 1:
        raise ConfigError(f"memory_mb = {memory_mb}: must be at least 1")
    rows = rows or max(1, (memory_mb << 20) // ROW_BYTES)
    try:
        if graph.mapped_folder is not None:
            try:
                return _kept(graph, graph.mapped_folder, part, rows)
            except OSError as error:
                if error.errno not in _CLOSED:
                    raise
        temporary = tempfile.TemporaryDirectory(prefix="tirgn-history-", ignore_cleanup_errors=True)
        try:
            place = Path(temporary.name) / "made"
            _build(graph, Path(temporary.name), place, part, rows)
            return _open(place, graph, part)
        finally:
            if os.name == "nt":
                _unkept.append(temporary)  # mapped files cannot be removed there
            else:
                temporary.cleanup()
    except OSError as error:
        raise DataError(
            f"{graph.mapped_folder or tempfile.gettempdir()}: the history index cannot be written ({error.strerror}); "
            f"about {graph.num_facts * 90 // 10**6 + 1:,} MB are needed there, free them"
        ) from error


def _kept(graph: TemporalGraph, home: Path, part: tuple[int, int] | None, rows: int) -> HistoryVocabulary:
    name = f"{PREFIX}{graph.checksum[:32]}"
    place = home / (name if part is None else f"{name}-{part[0]}-of-{part[1]}")
    try:
        return _open(place, graph, part)
    except DataError:
        pass  # missing or damaged
    with in_turn(home / ".history.lock"):
        try:
            return _open(place, graph, part)  # built by another process in the meantime
        except DataError:
            _build(graph, home, place, part, rows)
    return _open(place, graph, part)


def _build(graph: TemporalGraph, home: Path, place: Path, part: tuple[int, int] | None, rows: int) -> None:
    with building(home, "history") as work:
        out, spill = work / "out", work / "spill"
        out.mkdir()
        spill.mkdir()
        built = index_in_parts(graph, out, spill, rows=rows, part=part)
        said = _said(graph, part) | {"columns": built.columns, "parts": built.parts, "spilt_bytes": built.spilt}
        write_text(out / "index.json", json.dumps(said, indent=1) + "\n")
        shutil.rmtree(place, ignore_errors=True)
        out.rename(place)
        flush(home)


def _said(graph: TemporalGraph, part: tuple[int, int] | None) -> dict[str, Any]:
    """What a kept vocabulary must say of itself."""
    sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations, "times": graph.num_snapshots}
    whole = {"sha256": graph.checksum} if graph.mapped_folder is not None else {}
    return {"format": FORMAT, "version": VERSION, "part": part and list(part)} | whole | sizes


def _open(place: Path, graph: TemporalGraph, part: tuple[int, int] | None) -> HistoryVocabulary:
    """**Raises:** DataError for one that is not there, is of another graph, or is damaged."""
    record = place / "index.json"
    try:
        check_regular(record)
        with record.open("rb") as file:
            said = parse_json(file.read(_MOST))
    except (OSError, ValueError) as error:
        raise DataError(f"{record}: cannot be read; {_NEED}") from error
    if not isinstance(said, dict) or any(said.get(key) != value for key, value in _said(graph, part).items()):
        raise DataError(f"{record}: belongs to other facts; {_NEED}")
    found: dict[str, dict[str, np.ndarray]] = {"entity": {}, "relation": {}}
    highest = {"entity": graph.num_entities, "relation": 2 * graph.num_relations}
    for kind, columns in found.items():
        for field, dtype in FIELDS.items():
            path = place / f"{kind}-{field}.npy"
            try:
                column = said["columns"][f"{kind}-{field}"]
                length, sha256 = int(column["length"]), str(column["sha256"])
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise DataError(f"{record}: says nothing usable of {path.name}; {_NEED}") from error
            columns[field] = map_column(path, dtype, length, _NEED)
            high = highest[kind] if field == "candidate" else None
            check_column(path, columns[field], sha256, _NEED, high=high)
        if len(columns["first"]) != len(columns["candidate"]):
            raise DataError(f"{record}: says two lengths; {_NEED}")
    indexes = {kind: HistoryIndex(**columns, num_times=graph.num_snapshots) for kind, columns in found.items()}
    return HistoryVocabulary(**indexes, num_entities=graph.num_entities, num_relations=graph.num_relations)
