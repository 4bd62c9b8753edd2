"""Folders in the RE-GCN text format: facts in three splits, sizes, optional names and static graph."""

import os.path
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tirgn_eqx.data.graph import SPLITS, StaticGraph, TemporalGraph, from_facts
from tirgn_eqx.data.table import INT32_MAX, integer_blocks, most_ids, read_blocks, read_integers
from tirgn_eqx.errors import DataError, DataWarning, shown

COLUMNS = ("subject", "relation", "object", "time")
_NEED = "a dataset folder holds train.txt, valid.txt, test.txt and stat.txt"


def read_folder(path: str | Path) -> TemporalGraph:
    """The temporal graph in a folder of the RE-GCN text format.

    Facts are lines `subject relation object time`, separated by tabs or spaces; further columns are ignored,
    order does not matter, exact duplicates are kept. Time is any whole number in any unit; gaps are fine.
    `entity2id.txt` and `relation2id.txt` (`name<TAB>id`) and `e-w-graph.txt` (`entity relation word`) are
    optional; an id without a name is called `entity 17`.

    **Arguments:** `path`: the folder; its name becomes the graph's name.

    **Raises:** DataError for anything that is no such folder, with file, line and value. Two splits that
    share a boundary timestamp only raise a DataWarning: each fact stays in its split, and what is known
    before a time never includes that time.

    Source: the layout of https://github.com/Lee-zix/RE-GCN.
    """
    folder, stat, num_entities, num_relations = _open_folder(path)
    sizes = {"subject": num_entities, "relation": num_relations, "object": num_entities}
    facts, lines = [], []
    for split in SPLITS:
        file = folder / f"{split}.txt"
        rows, numbers = read_integers(file, COLUMNS, _NEED)
        if len(rows) == 0:
            raise DataError(f"{file}: no facts; every split needs at least one")
        _check_ids(file, rows, numbers, COLUMNS, sizes, stat)
        facts.append(rows)
        lines.append(numbers)
    _check_order(folder, facts, lines)
    fields = _read_fields(folder, stat, num_entities, num_relations, sum(map(len, facts)))
    split = np.repeat(np.arange(len(SPLITS)), [len(rows) for rows in facts])
    return from_facts(facts=np.concatenate(facts), split=split, **fields)


class Unsorted(Exception):
    """The facts of a folder do not come in order of time."""


def stream_folder(path: str | Path, finish: dict[str, Any]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The facts of a folder whose files are each in order of time, some at a time: int64 `(fact, 4)` as `from_facts`
    takes them, and the split of each, int8.

    **Arguments:** `path`: as of `read_folder`; `finish`: takes, at the end, what else `from_facts` needs.

    **Raises:** DataError as `read_folder`; Unsorted for files in another order.
    """
    folder, stat, num_entities, num_relations = _open_folder(path)
    sizes = {"subject": num_entities, "relation": num_relations, "object": num_entities}
    number, before = 0, None
    for split, name in enumerate(SPLITS):
        file = folder / f"{name}.txt"
        newest = None
        for rows, numbers in integer_blocks(file, COLUMNS, _NEED):
            if len(rows) == 0:
                continue
            _check_ids(file, rows, numbers, COLUMNS, sizes, stat)
            time = rows[:, 3]
            if np.any(np.diff(time, prepend=time[0] if newest is None else newest[0][0, 3]) < 0):
                raise Unsorted
            if newest is None and before is not None:
                _check_boundary(folder, split - 1, *before, rows[:1], numbers[:1])
            if newest is None or time[-1] > newest[0][0, 3]:
                last = int(np.searchsorted(time, time[-1]))
                newest = rows[last : last + 1], numbers[last : last + 1]
            number += len(rows)
            yield rows, np.full(len(rows), split, np.int8)
        if newest is None:
            raise DataError(f"{file}: no facts; every split needs at least one")
        before = newest
    finish.update(_read_fields(folder, stat, num_entities, num_relations, number))


def _open_folder(path: str | Path) -> tuple[Path, Path, int, int]:
    """The folder, its `stat.txt`, and the two numbers in it."""
    folder = Path(os.path.expanduser(path))
    if not os.path.isdir(folder):
        state = "is a file, not a folder" if os.path.exists(folder) else "folder is missing"
        raise DataError(f"{folder}: {state}; {_NEED}")
    return folder, folder / "stat.txt", *_read_sizes(folder / "stat.txt")


def _read_fields(folder: Path, stat: Path, num_entities: int, num_relations: int, number: int) -> dict[str, Any]:
    """What `from_facts` takes beside the `number` facts of a folder."""
    names = {
        kind: _read_names(folder / f"{kind}2id.txt", size, kind, stat)
        for kind, size in (("entity", num_entities), ("relation", num_relations))
    }
    for column, size, kind in (("entities", num_entities, "entity"), ("relations", num_relations, "relation")):
        told = number + len(names[kind] or ())
        if size > most_ids(told):
            raise DataError(
                f"{stat}: {size:,} {column}, but {number:,} facts and {told - number:,} names; correct the count"
            )
    absolute = os.path.abspath(folder)
    return {
        "name": os.path.basename(absolute),
        "num_entities": num_entities,
        "num_relations": num_relations,
        "entity_names": _filled(names["entity"], num_entities, "entity"),
        "relation_names": _filled(names["relation"], num_relations, "relation"),
        "static": _read_static(folder / "e-w-graph.txt", num_entities, stat),
        "provenance": {"kind": "folder", "path": absolute},
    }


def _read_sizes(path: Path) -> tuple[int, int]:
    rows, numbers = read_integers(path, ("entities", "relations"), _NEED)
    if len(rows) != 1:
        raise DataError(f"{path}: {len(rows)} lines, expected one: entities relations; correct the file")
    # Inverse relations are ids r + relations, and must fit in 32 bits as well.
    for column, size, limit in zip(("entities", "relations"), rows[0].tolist(), (INT32_MAX, INT32_MAX // 2)):
        if not 0 < size <= limit:
            raise DataError(f"{path}:{numbers[0]}: {size} {column}, outside 1 to {limit}; correct the count")
    return int(rows[0, 0]), int(rows[0, 1])


def _check_ids(
    path: Path,
    rows: np.ndarray,
    numbers: np.ndarray,
    columns: tuple[str, ...],
    sizes: dict[str, int],
    stat: Path,
) -> None:
    limit = np.array([sizes.get(column, np.iinfo(np.int64).max) for column in columns])
    beyond = rows >= limit
    if beyond.any():
        row = int(np.argmax(beyond.any(1)))
        column = columns[int(np.argmax(beyond[row]))]
        value = rows[row, columns.index(column)]
        kind = "relations" if column == "relation" else "entities"
        raise DataError(
            f"{path}:{numbers[row]}: {column} {value} is beyond {stat.name}, which counts {sizes[column]} "
            f"{kind} (ids 0 to {sizes[column] - 1}); correct the id, or the count in {stat}"
        )


def _check_order(folder: Path, facts: list[np.ndarray], lines: list[np.ndarray]) -> None:
    for early, late in pairwise(range(len(SPLITS))):
        _check_boundary(folder, early, facts[early], lines[early], facts[late], lines[late])


def _check_boundary(
    folder: Path, split: int, early: np.ndarray, early_lines: np.ndarray, late: np.ndarray, late_lines: np.ndarray
) -> None:
    """No fact of `split` comes after one of the next split."""
    newest, oldest = int(np.argmax(early[:, 3])), int(np.argmin(late[:, 3]))
    end, start = early[newest, 3], late[oldest, 3]
    names = f"{SPLITS[split]}.txt", f"{SPLITS[split + 1]}.txt"
    if end > start:
        raise DataError(
            f"{folder / names[0]}:{early_lines[newest]}: time {end} is later than time {start} at "
            f"{names[1]}:{late_lines[oldest]}; every {SPLITS[split]} fact must come before the "
            f"{SPLITS[split + 1]} facts, so cut the splits by time"
        )
    if end == start:
        warnings.warn(
            f"{folder}: {names[0]} and {names[1]} share the timestamp {end}; each fact stays in its "
            "split, and none of them counts as history at that time",
            DataWarning,
            stacklevel=4,
        )


def _filled(names: dict[int, str] | None, size: int, kind: str) -> tuple[str, ...] | None:
    """A name for every id, or None where there are no names."""
    return None if names is None else tuple(names.get(entry) or f"{kind} {entry}" for entry in range(size))


def _read_names(path: Path, size: int, kind: str, stat: Path) -> dict[int, str] | None:
    """Names by id from lines `name<TAB>id[<TAB>more]`, or None when there is no such file.

    Without a tab the last word is the id; a first line that is only a count (as OpenKE writes it) is skipped.
    """
    if not os.path.lexists(path):
        return None
    names: dict[int, str] = {}
    for number, line in _lines(path, f"expected lines `name<TAB>id` of every {kind}"):
        if not line.strip():
            continue
        fields = line.split("\t") if "\t" in line else line.rsplit(None, 1)
        if number == 1 and len(fields) == 1 and line.strip().isdecimal():
            continue
        name, key = fields[0].strip(), fields[1].strip() if len(fields) > 1 else ""
        if not (key.isascii() and key.isdecimal()):
            raise DataError(f"{path}:{number}: {kind} id is {shown(key, 40)}, expected name<TAB>id; correct the line")
        entry = int(key[:20])
        if entry >= size:
            raise DataError(
                f"{path}:{number}: {kind} {key[:20]} is beyond {stat.name}, which counts {size} "
                f"(ids 0 to {size - 1}); correct the id, or the count in {stat}"
            )
        if names.setdefault(entry, name) != name:
            raise DataError(
                f"{path}:{number}: {kind} {entry} is called {shown(name, 40)}, but {shown(names[entry], 40)} before; "
                "give each id one name"
            )
    return names


def _lines(path: Path, need: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line of a file in UTF-8."""
    for first, block in read_blocks(path, need):
        for number, line in enumerate(block.split(b"\n"), first):
            try:
                yield number, line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{path}:{number}: not UTF-8 text; convert the file to UTF-8") from error


def _read_static(path: Path, num_entities: int, stat: Path) -> StaticGraph | None:
    """The static graph, or None when there is no such file."""
    if not os.path.lexists(path):
        return None
    columns = ("entity", "static relation", "word")
    rows, numbers = read_integers(path, columns, "expected lines `entity relation word`")
    if len(rows) == 0:
        raise DataError(f"{path}: no static facts; delete the file if there are none")
    _check_ids(path, rows, numbers, columns, {"entity": num_entities}, stat)
    num_relations, num_words = (rows[:, 1:].max(0) + 1).tolist()
    most = min(most_ids(len(rows)), INT32_MAX - num_entities)
    if num_words > most or num_relations > most // 2:
        raise DataError(
            f"{path}: {num_relations} static relations and {num_words} words in {len(rows)} lines; "
            "number both from 0 without holes"
        )
    entity, relation, word = rows.T.astype(np.int32)
    return StaticGraph(entity, relation, word, num_relations, num_words)
