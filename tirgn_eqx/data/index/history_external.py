"""The history vocabulary of a graph larger than memory: rows spilt to the disk by subject, and indexed part by part.

A row is a fact in one of its two directions. Parts are ranges of subjects, so ranges of keys of both indices: the index
of one part follows that of the part before it, and all of them are what `build_history_vocabulary` gives at once.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.history import check_sizes, index_rows
from tirgn_eqx.storage.npy_columns import Column, chunks

FIELDS = {"first": np.int64, "candidate": np.int32, "occurrence": np.int64}
ROW_BYTES = 160  # that a row takes while its part is indexed, both indices at once; measured
_SUBJECT, _RELATION, _OBJECT, _TIME = range(4)
_SPILT = 4 * 4  # bytes of a row on the disk


@dataclass(frozen=True)
class Built:
    """What was made in a folder: length, type and sha256 of every column by name (`entity-first`); how many `parts`;
    `spilt`: bytes that were on the disk meanwhile."""

    columns: dict[str, dict[str, Any]]
    parts: int
    spilt: int


def index_in_parts(
    graph: TemporalGraph,
    out: Path,
    spill: Path,
    *,
    rows: int,
    part: tuple[int, int] | None = None,
) -> Built:
    """Write the history vocabulary of `graph` to the folder `out`, as columns `entity-first.npy` and so on.

    **Arguments:** `spill`: an empty folder; `rows`: that are indexed in memory at once, or those of one key where it
    has more; `part`: as of `build_history_vocabulary`.

    **Raises:** DataError when there is more than 63 bits can number; OSError.
    """
    check_sizes(graph)
    counts = np.zeros(graph.num_entities, np.int64)
    for subject, _, _, _ in _both_ways(graph, part, min(rows, BLOCK)):
        counts += np.bincount(subject, minlength=len(counts))
    bounds = _ranges(counts, rows)
    _spill(graph, part, bounds, spill, min(rows, BLOCK))
    rel2, entities, times = 2 * graph.num_relations, graph.num_entities, graph.num_snapshots
    # Of either index: its column beside the subject in the key, how many numbers that has, and the same of candidates.
    forms = {"entity": (_RELATION, rel2, _OBJECT, entities), "relation": (_OBJECT, entities, _RELATION, rel2)}
    with ThreadPoolExecutor(2) as pool:
        writing = {
            kind: pool.submit(_write, kind, *form, times=times, bounds=bounds, spill=spill, out=out, rows=rows)
            for kind, form in forms.items()
        }
        columns = {name: said for future in writing.values() for name, said in future.result().items()}
    return Built(columns, len(bounds) - 1, int(counts.sum()) * _SPILT)


BLOCK = 1 << 21  # facts that are dealt to parts at once


def _both_ways(
    graph: TemporalGraph, part: tuple[int, int] | None, most: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """int32 (subject, relation, object, time) of some facts, then of their inverses, until all were there."""
    for begin in range(0, graph.num_facts, most):
        columns = (graph.subject, graph.relation, graph.object, graph.snapshot)
        subject, relation, object_, time = (np.asarray(column[begin : begin + most]) for column in columns)
        for rows in ((subject, relation, object_, time), (object_, relation + graph.num_relations, subject, time)):
            if part is not None:
                own = rows[0] % part[1] == part[0]
                rows = tuple(column[own] for column in rows)
            yield rows  # pyright: ignore[reportReturnType]


def _ranges(counts: np.ndarray, most: int) -> np.ndarray:
    """Bounds of ranges of numbers, each with at most `most` rows, or a single number. **Arguments:** `counts`: rows of
    each number."""
    ends = np.concatenate([[0], np.cumsum(counts)])
    bounds = [0]
    while bounds[-1] < len(counts):
        begin = bounds[-1]
        bounds.append(max(begin + 1, int(np.searchsorted(ends, ends[begin] + most, side="right")) - 1))
    return np.array(bounds, np.int64)


def _place(spill: Path, number: int) -> Path:
    return spill / f"rows-{number}"


def _spill(graph: TemporalGraph, part: tuple[int, int] | None, bounds: np.ndarray, spill: Path, most: int) -> None:
    """Deal the rows to files of their parts."""
    for rows in _both_ways(graph, part, most):
        number = np.searchsorted(bounds, rows[_SUBJECT], side="right") - 1
        # Numbers of 16 bits are sorted without comparing them.
        order = np.argsort(number.astype(np.uint16) if len(bounds) < 2**16 else number, kind="stable")
        table = np.stack([column[order] for column in rows], 1)
        number = number[order]
        starts = np.flatnonzero(np.diff(number, prepend=-1))
        for begin, end in pairwise([*starts.tolist(), len(number)]):
            with _place(spill, int(number[begin])).open("ab") as file:
                file.write(np.ascontiguousarray(table[begin:end], "<i4").data.cast("B"))


def _write(
    kind: str,
    second: int,
    seconds: int,
    candidate: int,
    candidates: int,
    *,
    times: int,
    bounds: np.ndarray,
    spill: Path,
    out: Path,
    rows: int,
) -> dict[str, dict[str, Any]]:
    """Index part after part of one kind; what each column holds, by name."""
    groups = 0
    columns = {name: Column(out / f"{kind}-{name}.npy", dtype) for name, dtype in FIELDS.items()}
    with columns["first"], columns["candidate"], columns["occurrence"]:
        for number, low in enumerate(bounds[:-1].tolist()):
            for piece in _pieces(_place(spill, number), second, seconds, rows):
                # Counted from the part's own first key, so that its numbers stay small.
                key = piece[:, _SUBJECT].astype(np.int64)
                key -= low
                key *= seconds
                key += piece[:, second]
                index = index_rows(key, piece[:, candidate], piece[:, _TIME], candidates, times, low * seconds)
                columns["first"].append(index.first)
                columns["candidate"].append(index.candidate)
                occurrence = index.occurrence
                occurrence += groups * times
                columns["occurrence"].append(occurrence)
                groups += len(index.first)
    return {f"{kind}-{name}": column.described for name, column in columns.items()}


def _pieces(path: Path, second: int, seconds: int, most: int) -> Iterator[np.ndarray]:
    """int32 `(row, 4)`: the rows of a part; of a subject that has more than `most` some, by ranges of `second`."""
    if not path.exists():
        return
    table = np.memmap(path, "<i4", "r").reshape(-1, 4)
    if len(table) <= most:
        yield np.asarray(table)
        return
    counts = np.zeros(seconds, np.int64)
    for chunk in chunks(table, most):
        counts += np.bincount(chunk[:, second], minlength=seconds)
    inside: Callable[[np.ndarray, int, int], np.ndarray] = lambda chunk, low, high: chunk[
        (chunk[:, second] >= low) & (chunk[:, second] < high)
    ]
    for low, high in pairwise(_ranges(counts, most).tolist()):
        piece = np.concatenate([inside(chunk, low, high) for chunk in chunks(table, most)])
        if len(piece):
            yield piece
