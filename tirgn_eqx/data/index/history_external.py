"""The history vocabulary of a graph larger than memory: rows are written to files by subject, then indexed by file.

A row is a fact in one of its two directions. A part is a range of subjects, hence a range of keys of both indexes. The
indexes of the parts, one after the other, equal the index that `build_history_vocabulary` builds in memory.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.history_index import build_history_index, check_sizes
from tirgn_eqx.storage.npy_columns import Column, chunks

FIELDS = {"first": np.int64, "candidate": np.int32, "occurrence": np.int64}
ROW_BYTES = 160  # memory per row while both indexes of a part are built; measured
BLOCK = 1 << 21  # facts read at once
_SUBJECT, _RELATION, _OBJECT, _TIME = range(4)  # columns of a row
_ROW_BYTES_ON_DISK = 4 * 4


@dataclass(frozen=True)
class BuiltParts:
    """What was written: length, type and sha256 of every column by name (`entity-first`); the number of `parts`;
    `spilt`: bytes of the temporary files."""

    columns: dict[str, Mapping[str, object]]
    parts: int
    spilt: int


@dataclass(frozen=True)
class _KeyForm:
    """Where the columns of one index are in a row: a key is subject * seconds + row[second]."""

    second: int
    seconds: int
    candidate: int
    candidates: int


def index_in_parts(
    graph: TemporalGraph, out: Path, spill: Path, *, rows: int, part: tuple[int, int] | None = None
) -> BuiltParts:
    """Write the history vocabulary of `graph` to the folder `out`, as columns `entity-first.npy` and so on.

    **Arguments:** `spill`: an empty folder; `rows`: the most rows to index in memory at once, exceeded only by a
    single key that has more; `part`: see `build_history_vocabulary`.

    **Raises:** DataError when there is more than 63 bits can number; OSError.
    """
    check_sizes(graph)
    # The facts are read twice: the bounds of the parts must be known before the first row can be spilt.
    counts = np.zeros(graph.num_entities, np.int64)
    for subject, _, _, _ in _both_directions(graph, part, min(rows, BLOCK)):
        counts += np.bincount(subject, minlength=len(counts))
    bounds = _bounds(counts, rows)
    _spill(graph, part, bounds, spill, min(rows, BLOCK))
    rel2, entities = 2 * graph.num_relations, graph.num_entities
    forms = {
        "entity": _KeyForm(_RELATION, rel2, _OBJECT, entities),
        "relation": _KeyForm(_OBJECT, entities, _RELATION, rel2),
    }
    with ThreadPoolExecutor(2) as pool:
        writing = [
            pool.submit(_write, kind, form, graph.num_snapshots, bounds, spill, out, rows)
            for kind, form in forms.items()
        ]
    columns = {name: described for future in writing for name, described in future.result().items()}
    return BuiltParts(columns, len(bounds) - 1, int(counts.sum()) * _ROW_BYTES_ON_DISK)


def _both_directions(graph: TemporalGraph, part: tuple[int, int] | None, most: int) -> Iterator[list[np.ndarray]]:
    """int32 (subject, relation, object, time): blocks of at most `most` facts, each followed by its inverses."""
    for begin in range(0, graph.num_facts, most):
        columns = (graph.subject, graph.relation, graph.object, graph.snapshot)
        subject, relation, object_, time = (np.asarray(column[begin : begin + most]) for column in columns)
        for rows in ([subject, relation, object_, time], [object_, relation + graph.num_relations, subject, time]):
            if part is not None:
                own = rows[_SUBJECT] % part[1] == part[0]
                rows = [column[own] for column in rows]
            yield rows


def _bounds(counts: np.ndarray, most: int) -> np.ndarray:
    """Bounds of ranges of ids, each with at most `most` rows or a single id; `counts`: rows of each id.

    For example, counts = [2, 1, 9, 1, 1] with most = 3 give [0, 2, 3, 5].
    """
    ends = np.concatenate([[0], np.cumsum(counts)])
    bounds = [0]
    while bounds[-1] < len(counts):
        begin = bounds[-1]
        bounds.append(max(begin + 1, int(np.searchsorted(ends, ends[begin] + most, side="right")) - 1))
    return np.array(bounds, np.int64)


def _spill_file(spill: Path, number: int) -> Path:
    return spill / f"rows-{number}"


def _spill(graph: TemporalGraph, part: tuple[int, int] | None, bounds: np.ndarray, spill: Path, most: int) -> None:
    """Append every row to the file of its part."""
    for rows in _both_directions(graph, part, most):
        number = np.searchsorted(bounds, rows[_SUBJECT], side="right") - 1
        # NumPy sorts 16-bit integers by radix, which is faster.
        order = np.argsort(number.astype(np.uint16) if len(bounds) < 2**16 else number, kind="stable")
        table = np.stack([column[order] for column in rows], 1)
        number = number[order]
        starts = np.flatnonzero(np.diff(number, prepend=-1))
        for begin, end in pairwise([*starts.tolist(), len(number)]):
            # Opened for every append: there may be more parts than files that a process may hold open.
            with _spill_file(spill, int(number[begin])).open("ab") as file:
                file.write(np.ascontiguousarray(table[begin:end], "<i4").data.cast("B"))


def _write(
    kind: str, form: _KeyForm, times: int, bounds: np.ndarray, spill: Path, out: Path, rows: int
) -> dict[str, Mapping[str, object]]:
    """Index the parts of one kind in order; returns the description of each column, by name."""
    groups = 0
    columns = {name: Column(out / f"{kind}-{name}.npy", dtype) for name, dtype in FIELDS.items()}
    with columns["first"], columns["candidate"], columns["occurrence"]:
        for number, low in enumerate(bounds[:-1].tolist()):
            for piece in _pieces(_spill_file(spill, number), form, rows):
                # Keys count from the part's first one, so that more parts fit the one-integer sort.
                key = piece[:, _SUBJECT].astype(np.int64)
                key -= low
                key *= form.seconds
                key += piece[:, form.second]
                candidate, base = piece[:, form.candidate], low * form.seconds
                index = build_history_index(key, candidate, piece[:, _TIME], form.candidates, times, base)
                columns["first"].append(index.first)
                columns["candidate"].append(index.candidate)
                # Groups are numbered on from the parts before: an occurrence is group * times + snapshot.
                occurrence = index.occurrence
                occurrence += groups * times
                columns["occurrence"].append(occurrence)
                groups += len(index.first)
    return {f"{kind}-{name}": column.described for name, column in columns.items()}


def _pieces(path: Path, form: _KeyForm, most: int) -> Iterator[np.ndarray]:
    """int32 `(row, 4)`: the rows of a part; where one subject has more than `most`, by ranges of the second id."""
    if not path.exists():
        return
    table = np.memmap(path, "<i4", "r").reshape(-1, 4)
    if len(table) <= most:
        yield np.asarray(table)
        return
    counts = np.zeros(form.seconds, np.int64)
    for chunk in chunks(table, most):
        counts += np.bincount(chunk[:, form.second], minlength=form.seconds)
    # The whole file is read again for every range, because only the rows of one range fit into the memory.
    for low, high in pairwise(_bounds(counts, most).tolist()):
        inside = ((chunk, chunk[:, form.second]) for chunk in chunks(table, most))
        piece = np.concatenate([chunk[(second >= low) & (second < high)] for chunk, second in inside])
        if len(piece):
            yield piece
