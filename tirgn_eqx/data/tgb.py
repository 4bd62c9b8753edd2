"""Folders of TGB 2.0: the four temporal knowledge graphs, as py-tgb keeps them.

Source: Gastinger, Huang et al., TGB 2.0: A Benchmark for Learning on Temporal Knowledge Graphs and Heterogeneous
Graphs (NeurIPS 2024), and the format that py-tgb 2.3.0 reads.
"""

import csv
import os.path
import re
import warnings
from pathlib import Path

import numpy as np

from tirgn_eqx.data.graph import StaticGraph, TemporalGraph, from_facts
from tirgn_eqx.data.table import TIME_MAX, read_blocks, read_integers
from tirgn_eqx.errors import DataError, DataWarning, shown

# Whose entities and relations are names, not numbers; and which sets have negatives drawn in advance.
NAMED = ("tkgl-smallpedia", "tkgl-wikidata")
SAMPLED = ("tkgl-wikidata",)
DATASETS = ("tkgl-smallpedia", "tkgl-polecat", "tkgl-icews", "tkgl-wikidata")
COLUMNS = ("time", "head", "tail", "relation")
_NEED = "a TGB folder holds NAME_edgelist.csv with the columns timestamp, head, tail, relation"
_VALID = _TEST = 0.15  # shares of the facts, by time
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


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
    time, head, tail, relation, names = _named(file) if named else _numbered(file)
    if len(time) == 0:
        raise DataError(f"{file}: no facts; {_NEED}")
    split = _split(time)
    missing = [word for number, word in enumerate(("train", "valid", "test")) if not (split == number).any()]
    if missing:
        raise DataError(f"{file}: no {missing[0]} facts when cut at 70 and 85 % of them by time; is the file whole?")
    entities, relations = names
    static = folder / f"{name}_static_edgelist.csv"
    return from_facts(
        name,
        np.stack([head, relation, tail, time], 1),
        split,
        len(entities),
        len(relations),
        entity_names=entities,
        relation_names=relations,
        static=_static(static, entities) if named and os.path.lexists(static) else None,
        provenance={"kind": "tgb", "path": os.path.abspath(folder)},
    )


def _split(time: np.ndarray) -> np.ndarray:
    """int8: 0 train, 1 valid, 2 test. As TGB cuts: quantiles of the times of all facts and their inverses."""
    valid, test = np.quantile(np.concatenate([time, time]), [1 - _VALID - _TEST, 1 - _TEST])
    return (time > valid).astype(np.int8) + (time > test).astype(np.int8)


Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[tuple[str, ...], tuple[str, ...]]]


def _numbered(path: Path) -> Columns:
    """Time, head, tail and relation of a file of numbers, and the names of entities and relations: their numbers."""
    _check_header(path)
    rows, _ = read_integers(path, COLUMNS, _NEED, commas=True)
    number, first, place = np.unique(rows[:, 1:3].ravel(), return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    ends = rank[place.ravel()].reshape(-1, 2)
    kinds, relation = np.unique(rows[:, 3], return_inverse=True)
    if len(kinds) and kinds[-1] != len(kinds) - 1:
        warnings.warn(
            f"{path}: relations are numbered up to {kinds[-1]}, but there are {len(kinds)}; TGB's numbers of inverse "
            "relations may then be those of others, so its figures may differ",
            DataWarning,
            stacklevel=4,
        )
    entities = tuple(map(str, number[order].tolist()))
    return rows[:, 0], ends[:, 0], ends[:, 1], relation.ravel(), (entities, tuple(map(str, kinds.tolist())))


def _named(path: Path) -> Columns:
    """Time, head, tail and relation of a file of names, and the names by number."""
    _check_header(path)
    entities: dict[str, int] = {}
    relations: dict[str, int] = {}
    blocks = []
    for rows in _text(path, COLUMNS):
        found = np.empty((len(rows), 4), np.int64)
        for place, (number, (when, head, tail, relation)) in enumerate(rows):
            if not _INTEGER.fullmatch(when) or abs(int(when)) > TIME_MAX:
                raise DataError(
                    f"{path}:{number}: time is {shown(when, 40)}, not a whole number of 53 bits; correct it"
                )
            head_id = entities.setdefault(head, len(entities))
            tail_id = entities.setdefault(tail, len(entities))
            found[place] = int(when), head_id, tail_id, relations.setdefault(relation, len(relations))
        blocks.append(found)
    time, head, tail, relation = np.concatenate(blocks or [np.zeros((0, 4), np.int64)]).T
    return time, head, tail, relation, (tuple(entities), tuple(relations))


def _static(path: Path, entities: tuple[str, ...]) -> StaticGraph | None:
    """The static facts whose head has dated facts, or None without any."""
    known = {name: number for number, name in enumerate(entities)}
    relations: dict[str, int] = {}
    words: dict[str, int] = {}
    blocks = []
    for rows in _text(path, ("head", "tail", "relation")):
        blocks.append(
            [
                (known[head], relations.setdefault(relation, len(relations)), words.setdefault(tail, len(words)))
                for _, (head, tail, relation) in rows
                if head in known
            ]
        )
    facts = np.array([fact for block in blocks for fact in block], np.int32).reshape(-1, 3)
    if len(facts) == 0:
        return None
    return StaticGraph(facts[:, 0], facts[:, 1], facts[:, 2], len(relations), len(words))


def _check_header(path: Path) -> None:
    """**Raises:** DataError when the first line is a fact, which TGB would pass over."""
    for _, block in read_blocks(path, _NEED):
        line = block.split(b"\n")[0].decode("utf-8", "replace")
        if _INTEGER.fullmatch(line.split(",")[0].strip()):
            raise DataError(f"{path}:1: a fact where the names of the columns are expected; {_NEED}")
        return


def _text(path: Path, columns: tuple[str, ...]):
    """The lines of a file with names, after the first one, in blocks of (line number, columns)."""
    for first, block in read_blocks(path, _NEED):
        rows = []
        try:
            lines = block.decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            number = first + block[: error.start].count(b"\n")
            raise DataError(f"{path}:{number}: not UTF-8 text; convert the file to UTF-8") from error
        for number, line in enumerate(lines, first):
            if number == 1 or not line.strip():
                continue
            line = line.removesuffix("\r")
            fields = line.split(",") if '"' not in line else _quoted(path, number, line)
            if len(fields) < len(columns) or not all(fields[: len(columns)]):
                told = f"{shown(line.strip(), 40)} is not {','.join(columns)}"
                raise DataError(f"{path}:{number}: {told}; complete or delete the line")
            rows.append((number, fields[: len(columns)]))
        yield rows


def _quoted(path: Path, number: int, line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise DataError(f"{path}:{number}: {shown(line, 40)} is no line of a csv ({error}); correct it") from error
