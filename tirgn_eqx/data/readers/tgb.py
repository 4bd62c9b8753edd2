"""Folders of TGB 2.0: the four temporal knowledge graphs, as py-tgb keeps them.

Source: Gastinger, Huang et al., TGB 2.0: A Benchmark for Learning on Temporal Knowledge Graphs and Heterogeneous
Graphs (NeurIPS 2024), and the format that py-tgb 2.3.0 reads.
"""

import csv
import os.path
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tirgn_eqx.data import dates
from tirgn_eqx.data.dates import Form
from tirgn_eqx.data.graph import StaticGraph, TemporalGraph, from_facts
from tirgn_eqx.data.readers.integer_text import (
    TIME_MAX,
    Forms,
    Rows,
    gathered,
    mixed,
    read_blocks,
    read_rows,
    report_of,
)
from tirgn_eqx.errors import DataError, DataWarning, shown

# Whose entities and relations are names, not numbers; and which sets have negatives drawn in advance.
NAMED = ("tkgl-smallpedia", "tkgl-wikidata")
SAMPLED = ("tkgl-wikidata",)
DATASETS = ("tkgl-smallpedia", "tkgl-polecat", "tkgl-icews", "tkgl-wikidata")
COLUMNS = ("time", "head", "tail", "relation")
_NEED = "a TGB folder holds NAME_edgelist.csv with the columns timestamp, head, tail, relation"
_VALID = _TEST = 0.15  # shares of the facts, by time
# Under which names the columns are known, in any order; a folder of py-tgb itself is read by their places.
_NAMES = {
    "time": {"timestamp", "time", "ts", "date", "datetime", "unix_time"},
    "head": {"head", "subject", "source", "src", "head_id"},
    "tail": {"tail", "object", "destination", "target", "dst", "tail_id"},
    "relation": {"relation", "relation_type", "relation_id", "rel", "predicate", "edge_type"},
}


def tgb_name(folder: str | Path) -> str | None:
    """Which set of TGB 2.0 a folder holds, or None. **Raises:** DataError for more than one."""
    found = [name for name in DATASETS if os.path.lexists(Path(folder) / f"{name}_edgelist.csv")]
    if len(found) > 1:
        raise DataError(f"{folder}: holds {' and '.join(found)}; give each a folder of its own, as py-tgb does")
    return found[0] if found else None


def read_tgb(path: str | Path) -> TemporalGraph:
    """The temporal graph in a folder of TGB 2.0, with its ids and its splits.

    Entities are numbered in the order in which they come, subject before object, as py-tgb does; relations too where
    they have names, and as in the file where they are numbers without gaps. The splits are cut at the timestamps at
    which 70 and 85 % of the facts have happened. Facts that occur twice are kept. The static facts of
    tkgl-smallpedia and tkgl-wikidata become the static graph, every object a word of its own.

    **Arguments:** `path`: the folder, such as `datasets/tkgl_icews`.

    **Raises:** DataError for a file that cannot be read, with its line and value.
    """
    folder = Path(os.path.expanduser(path))
    name = tgb_name(folder) if folder.is_dir() else None
    if name is None:
        raise DataError(f"{folder}: is no folder of TGB 2.0 ({', '.join(DATASETS)}); {_NEED}")
    file = folder / f"{name}_edgelist.csv"
    named = name in NAMED
    rows, names = _named(file) if named else _numbered(file)
    if len(rows.values) == 0:
        raise DataError(f"{file}: no facts; {_NEED}")
    facts, unit = dates.in_units(rows.values, rows.form)
    split = _split(facts[:, 3])
    missing = [word for number, word in enumerate(("train", "valid", "test")) if not (split == number).any()]
    if missing:
        raise DataError(f"{file}: no {missing[0]} facts when cut at 70 and 85 % of them by time; is the file whole?")
    entities, relations = names
    static = folder / f"{name}_static_edgelist.csv"
    return from_facts(
        name,
        facts,
        split,
        len(entities),
        len(relations),
        time_unit=unit,
        entity_names=entities,
        relation_names=relations,
        static=_static(static, entities) if named and os.path.lexists(static) else None,
        provenance={"kind": "tgb", "path": os.path.abspath(folder)},
        read=report_of([rows], facts, rows.form, unit),
    )


def _split(time: np.ndarray) -> np.ndarray:
    """int8: 0 train, 1 valid, 2 test. As TGB cuts: quantiles of the times of all facts and their inverses."""
    valid, test = np.quantile(np.concatenate([time, time]), [1 - _VALID - _TEST, 1 - _TEST])
    return (time > valid).astype(np.int8) + (time > test).astype(np.int8)


Names = tuple[tuple[str, ...], tuple[str, ...]]


def _numbered(path: Path) -> tuple[Rows, Names]:
    """The facts of a file of numbers, columns subject, relation, object, time; and the names of entities and relations:
    their numbers."""
    layout = _layout(path, COLUMNS)
    blocks = (_numbers(path, first, block, layout) for first, block in read_blocks(path, _NEED))
    rows = gathered(path, blocks, COLUMNS, Forms())
    found = rows.values
    number, first, place = np.unique(found[:, 1:3].ravel(), return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    ends = rank[place.ravel()].reshape(-1, 2)
    kinds, relation = np.unique(found[:, 3], return_inverse=True)
    if len(kinds) and kinds[-1] != len(kinds) - 1:
        warnings.warn(
            f"{path}: relations are numbered up to {kinds[-1]}, but there are {len(kinds)}; TGB's numbers of inverse "
            "relations may then be those of others, so its figures may differ",
            DataWarning,
            stacklevel=4,
        )
    facts = np.stack([ends[:, 0], relation.ravel(), ends[:, 1], found[:, 0]], 1)
    entities = tuple(map(str, number[order].tolist()))
    return rows._replace(values=facts), (entities, tuple(map(str, kinds.tolist())))


def _numbers(path: Path, first: int, block: bytes, layout: "_Layout") -> Rows:
    """The rows of a block of a file of numbers, in the order of `COLUMNS`; its first line holds their names."""
    if layout.places == tuple(range(layout.width)) and b'"' not in block:
        # The line of names becomes a blank one, so that lines keep their numbers.
        block = b"\n" + block.partition(b"\n")[2] if first == 1 else block
        block = block.replace(b",", b"\t")
    else:
        lines = [b""] * _count(block)
        for number, fields in _text(path, first, block, layout):
            lines[number - first : number - first + 1] = ["\t".join(fields).encode()]
        block = b"".join(line + b"\n" for line in lines)
    rows = read_rows(path, first, block, COLUMNS, most=len(COLUMNS))
    return rows._replace(lines=rows.lines - 1, blank=rows.blank - 1) if first == 1 else rows


def _named(path: Path) -> tuple[Rows, Names]:
    """The facts of a file of names, columns subject, relation, object, time; and the names by number."""
    layout = _layout(path, COLUMNS)
    entities: dict[str, int] = {}
    relations: dict[str, int] = {}
    blocks, lines, blank, form = [], -1, 0, Form.NUMBER  # the first line holds the names of the columns
    first_line: int | None = None
    for first, block in read_blocks(path, _NEED):
        lines += _count(block)
        blank += sum(not line.strip() for line in block.split(b"\n")[: _count(block)])
        found = []
        for number, (when, head, tail, relation) in _text(path, first, block, layout):
            time = dates.parse(when.strip())
            if time is None or abs(time[0]) > TIME_MAX:
                raise DataError(
                    f"{path}:{number}: time is {shown(when, 40)}, not a whole number of 53 bits; correct it"
                )
            if first_line is None:
                first_line, form = number, time[1]
            elif time[1].dated != form.dated:
                raise mixed(f"{path}:{number}", time[1].dated, f"{path}:{first_line}")
            form = max(form, time[1])
            head_id = entities.setdefault(head, len(entities))
            tail_id = entities.setdefault(tail, len(entities))
            found.append((head_id, relations.setdefault(relation, len(relations)), tail_id, time[0]))
        blocks.append(np.array(found, np.int64).reshape(-1, 4))
    facts = np.concatenate(blocks or [np.zeros((0, 4), np.int64)])
    rows = Rows(facts, np.zeros(len(facts), np.int64), lines, blank, form)
    return rows, (tuple(entities), tuple(relations))


def _static(path: Path, entities: tuple[str, ...]) -> StaticGraph | None:
    """The static facts whose head has dated facts, or None without any."""
    layout = _layout(path, ("head", "tail", "relation"))
    known = {name: number for number, name in enumerate(entities)}
    relations: dict[str, int] = {}
    words: dict[str, int] = {}
    blocks = []
    for first, block in read_blocks(path, _NEED):
        blocks.append(
            [
                (known[head], relations.setdefault(relation, len(relations)), words.setdefault(tail, len(words)))
                for _, (head, tail, relation) in _text(path, first, block, layout)
                if head in known
            ]
        )
    facts = np.array([fact for block in blocks for fact in block], np.int32).reshape(-1, 3)
    if len(facts) == 0:
        return None
    return StaticGraph(facts[:, 0], facts[:, 1], facts[:, 2], len(relations), len(words))


class _Layout(NamedTuple):
    """Where the wanted columns stand in a csv. **Arguments:** `width`: columns of the file; `places`; `names`."""

    width: int
    places: tuple[int, ...]
    names: tuple[str, ...]


def _layout(path: Path, columns: tuple[str, ...]) -> _Layout:
    """Where the columns stand, by their names in the first line; by their places where it holds other names.

    **Raises:** DataError when the first line is a fact, which TGB would pass over, or holds some of the names alone.
    """
    standard = _Layout(len(columns), tuple(range(len(columns))), columns)
    _, block = next(read_blocks(path, _NEED), (1, b""))
    if not block:
        return standard
    line = block.split(b"\n")[0].decode("utf-8", "replace")
    names = [name.strip().lower() for name in _fields(path, 1, line)]
    if "time" in columns and dates.parse(names[0]) is not None:
        raise DataError(f"{path}:1: a fact where the names of the columns are expected; {_NEED}")
    places = {column: [place for place, name in enumerate(names) if name in _NAMES[column]] for column in columns}
    if all(len(found) == 1 for found in places.values()):
        return _Layout(len(names), tuple(found[0] for found in places.values()), tuple(names))
    if len(names) == len(columns) and all(found in ([], [place]) for place, found in enumerate(places.values())):
        return standard
    unclear = " and ".join(column for column, found in places.items() if len(found) != 1)
    raise DataError(f"{path}:1: of the columns {shown(','.join(names))}, it is unclear which is {unclear}; {_NEED}")


def _count(block: bytes) -> int:
    """Lines of a block, of which the last one of a file may lack its end."""
    return block.count(b"\n") + (not block.endswith(b"\n"))


def _text(path: Path, first: int, block: bytes, layout: _Layout) -> Iterator[tuple[int, list[str]]]:
    """Line number and wanted columns of each line of a block, without the first line of the file and blank ones."""
    try:
        lines = block.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        number = first + block[: error.start].count(b"\n")
        raise DataError(f"{path}:{number}: not UTF-8 text; convert the file to UTF-8") from error
    for number, line in enumerate(lines, first):
        if number == 1 or not line.strip():
            continue
        fields = _fields(path, number, line)
        wanted = [fields[place] for place in layout.places] if len(fields) == layout.width else []
        if not wanted or not all(wanted):
            told = f"{shown(line.strip(), 40)} is not {','.join(layout.names)}"
            raise DataError(f"{path}:{number}: {told}; complete or delete the line")
        yield number, wanted


def _fields(path: Path, number: int, line: str) -> list[str]:
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise DataError(f"{path}:{number}: {shown(line, 40)} is no line of a csv ({error}); correct it") from error
