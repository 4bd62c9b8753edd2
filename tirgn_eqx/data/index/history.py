"""Building the global history vocabulary: in memory, or beside the facts of a graph that is mapped from the disk.

The vocabulary of a mapped graph is built part by part (see `tirgn_eqx.data.index.history_external`) and kept in the
graph's folder, where later processes find it.
"""

import errno
import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph, both_directions
from tirgn_eqx.data.index.history_external import FIELDS, ROW_BYTES, index_in_parts
from tirgn_eqx.data.index.history_index import HistoryIndex, HistoryVocabulary, build_history_index, check_sizes
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.storage.atomic_write import flush, scratch_folder, write_text
from tirgn_eqx.storage.locks import NO_LOCKS, exclusive_lock
from tirgn_eqx.storage.npy_columns import check_column, map_column
from tirgn_eqx.storage.untrusted import check_regular, parse_json

FORMAT = "tirgn history"
VERSION = 1
MEMORY_MB = 2048
PREFIX = "history-"
_REMEDY = "delete the folder, and it is built again"
_MAX_RECORD_BYTES = 1 << 16
# Errors of a folder that nothing can be built in although there may be space.
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, *NO_LOCKS)
_temporary_folders: list[tempfile.TemporaryDirectory[str]] = []


def build_history_vocabulary(graph: TemporalGraph, *, part: tuple[int, int] | None = None) -> HistoryVocabulary:
    """Index the history of `graph`, every split included; each look-up says how far its history reaches.

    The vocabulary of a mapped graph is kept on the disk, see `mapped_vocabulary`.

    **Arguments:** `part`: (index, count): only the queries about subjects s with s % count == index, both directions
    of every fact included; None: all.

    **Raises:** ConfigError for an impossible part; DataError when there is more than 63 bits can number.
    """
    if graph.mapped_folder is not None or isinstance(graph.subject, np.memmap):
        return mapped_vocabulary(graph, part=part)
    _check_part(part)
    check_sizes(graph)
    rel2, entities, times = 2 * graph.num_relations, graph.num_entities, graph.num_snapshots
    subject, relation, object_ = both_directions(graph)
    time = np.concatenate([graph.snapshot, graph.snapshot]).astype(np.int64)
    if part is not None:
        own = subject % part[1] == part[0]
        subject, relation, object_, time = (column[own] for column in (subject, relation, object_, time))
    # NumPy sorts without holding the interpreter lock, so that the two indexes take the time of one.
    with ThreadPoolExecutor(2) as pool:
        by_relation = pool.submit(build_history_index, subject * rel2 + relation, object_, time, entities, times)
        by_object = pool.submit(build_history_index, subject * entities + object_, relation, time, rel2, times)
    return HistoryVocabulary(by_relation.result(), by_object.result(), entities, graph.num_relations)


def mapped_vocabulary(
    graph: TemporalGraph, *, part: tuple[int, int] | None = None, memory_mb: int = MEMORY_MB, rows: int | None = None
) -> HistoryVocabulary:
    """The history vocabulary of `graph`, mapped from the disk.

    It is read from the graph's folder, and built there first when it is missing or damaged, while other processes that
    need it wait. For a graph without a folder, or with one that cannot be written, it lies in a temporary folder that
    is removed with the process.

    **Arguments:** `part`: see `build_history_vocabulary`; `memory_mb`: mebibytes that building may take, approximately
    and without the mapped files; `rows`: rows to index at once, instead of `memory_mb` (a fact makes two rows).

    **Raises:** ConfigError for an impossible argument; DataError when there is more than 63 bits can number, or no
    space on the disk.
    """
    _check_part(part)
    if memory_mb < 1:
        raise ConfigError(f"memory_mb = {memory_mb}: must be at least 1")
    rows = rows or max(1, (memory_mb << 20) // ROW_BYTES)
    try:
        if graph.mapped_folder is not None:
            try:
                return _open_or_build(graph, graph.mapped_folder, part, rows)
            except OSError as error:
                if error.errno not in _NOT_WRITABLE:
                    raise
        temporary = tempfile.TemporaryDirectory(prefix="tirgn-history-", ignore_cleanup_errors=True)
        try:
            place = Path(temporary.name) / "made"
            _build(graph, Path(temporary.name), place, part, rows)
            return _open(place, graph, part)
        finally:
            # On POSIX, mapped files stay readable without their names, so even a killed process leaves none behind.
            if os.name == "nt":
                _temporary_folders.append(temporary)  # Windows removes no mapped files; they go with the process
            else:
                temporary.cleanup()
    except OSError as error:
        raise DataError(
            f"{graph.mapped_folder or tempfile.gettempdir()}: the history index cannot be written "
            f"({error.strerror}); about "
            # A fact takes about 54 bytes of the index, and 32 of spilt rows, which lie beside it until it is built.
            f"{graph.num_facts * 90 // 10**6 + 1:,} MB are needed there, free them"
        ) from error


def _check_part(part: tuple[int, int] | None) -> None:
    if part is not None and not 0 <= part[0] < part[1]:
        raise ConfigError(f"part {part}: must be (index, count) with 0 <= index < count")


def _open_or_build(graph: TemporalGraph, home: Path, part: tuple[int, int] | None, rows: int) -> HistoryVocabulary:
    # The checksum in the name keeps indexes of earlier contents of the folder apart from this one.
    name = f"{PREFIX}{graph.checksum[:32]}"
    place = home / (name if part is None else f"{name}-{part[0]}-of-{part[1]}")
    try:
        return _open(place, graph, part)
    except DataError:
        pass  # missing or damaged
    with exclusive_lock(home / ".history.lock"):
        try:
            return _open(place, graph, part)  # built by another process in the meantime
        except DataError:
            _build(graph, home, place, part, rows)
    return _open(place, graph, part)


def _build(graph: TemporalGraph, home: Path, place: Path, part: tuple[int, int] | None, rows: int) -> None:
    with scratch_folder(home, "history") as work:
        out, spill = work / "out", work / "spill"
        out.mkdir()
        spill.mkdir()
        built = index_in_parts(graph, out, spill, rows=rows, part=part)
        record = _identity(graph, part) | {"columns": built.columns, "parts": built.parts, "spilt_bytes": built.spilt}
        # The record is written last and the folder renamed when it is whole: an index that opens is never half built.
        write_text(out / "index.json", json.dumps(record, indent=1) + "\n")
        # What stands here could not be opened, and a rename does not replace a folder with files in it.
        shutil.rmtree(place, ignore_errors=True)
        out.rename(place)
        # Without this, a power failure may lose the rename.
        flush(home)


def _identity(graph: TemporalGraph, part: tuple[int, int] | None) -> dict[str, object]:
    """What the record of a kept vocabulary must say."""
    record: dict[str, object] = {"format": FORMAT, "version": VERSION, "part": part and list(part)}
    # A temporary index serves only the process that built it, so hashing all its facts would prove nothing.
    if graph.mapped_folder is not None:
        record["sha256"] = graph.checksum
    record |= {"num_entities": graph.num_entities, "num_relations": graph.num_relations, "times": graph.num_snapshots}
    return record


def _open(place: Path, graph: TemporalGraph, part: tuple[int, int] | None) -> HistoryVocabulary:
    """**Raises:** DataError for a vocabulary that is missing, damaged, or of another graph."""
    path = place / "index.json"
    try:
        check_regular(path)
        with path.open("rb") as file:
            record = parse_json(file.read(_MAX_RECORD_BYTES))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read; {_REMEDY}") from error
    if not isinstance(record, dict) or any(record.get(key) != value for key, value in _identity(graph, part).items()):
        raise DataError(f"{path}: belongs to other facts; {_REMEDY}")
    indexes = {}
    for kind, candidates in (("entity", graph.num_entities), ("relation", 2 * graph.num_relations)):
        columns = {}
        for field, dtype in FIELDS.items():
            name = f"{kind}-{field}"
            try:
                length, sha256 = int(record["columns"][name]["length"]), str(record["columns"][name]["sha256"])
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise DataError(f"{path}: says nothing usable of {name}.npy; {_REMEDY}") from error
            columns[field] = map_column(place / f"{name}.npy", dtype, length, _REMEDY)
            # Candidates become indices into scores, so their range is checked; the other columns are only searched.
            high = candidates if field == "candidate" else None
            check_column(place / f"{name}.npy", columns[field], sha256, _REMEDY, high=high)
        if len(columns["first"]) != len(columns["candidate"]):
            raise DataError(f"{path}: says two lengths; {_REMEDY}")
        indexes[kind] = HistoryIndex(**columns, num_times=graph.num_snapshots)
    return HistoryVocabulary(**indexes, num_entities=graph.num_entities, num_relations=graph.num_relations)
