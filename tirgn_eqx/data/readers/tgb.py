"""Folders of TGB 2.0: the four temporal knowledge graphs, as py-tgb keeps them.

Source: Gastinger, Huang et al., TGB 2.0: A Benchmark for Learning on Temporal Knowledge Graphs and Heterogeneous
Graphs (NeurIPS 2024), and the format that py-tgb 2.3.0 reads.
"""

import csv
import os.path
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tirgn_eqx.data.graph import SPLITS, StaticGraph, TemporalGraph, from_facts
from tirgn_eqx.data.readers.integer_text import (
    FormCheck,
    Layout,
    TextRows,
    decode_block,
    gather_rows,
    make_report,
    mixed_times,
    read_rows,
    read_text_blocks,
)
from tirgn_eqx.data.times import TIME_MAX, TimeForm, in_units, parse_number_or_date
from tirgn_eqx.errors import DataError, DataWarning, shown

if TYPE_CHECKING:
    import polars as pl

DATASETS = ("tkgl-smallpedia", "tkgl-polecat", "tkgl-icews", "tkgl-wikidata")
NAMED = ("tkgl-smallpedia", "tkgl-wikidata")  # entities and relations are names, not numbers
SAMPLED = ("tkgl-wikidata",)  # the negatives of each query are a sample of the entities
_NEED = "a TGB folder holds NAME_edgelist.csv with the columns timestamp, head, tail, relation"
_LAYOUT = Layout(("time", "head", "tail", "relation"), _NEED, most=4)
_VALID = _TEST = 0.15  # shares of the facts, by time
# Names of the columns, which may be in any order; under other names they are taken by place, as py-tgb does.
_COLUMN_NAMES = {
    "time": {"timestamp", "time", "ts", "date", "datetime", "unix_time"},
    "head": {"head", "subject", "source", "src", "head_id"},
    "tail": {"tail", "object", "destination", "target", "dst", "tail_id"},
    "relation": {"relation", "relation_type", "relation_id", "rel", "predicate", "edge_type"},
}
_Names = tuple[tuple[str, ...], tuple[str, ...]]  # of entities and of relations, by id


def tgb_name(folder: str | Path) -> str | None:
    """Which dataset of TGB 2.0 a folder holds, or None. **Raises:** DataError for more than one."""
    found = [name for name in DATASETS if os.path.lexists(Path(folder) / f"{name}_edgelist.csv")]
    if len(found) > 1:
        raise DataError(f"{folder}: holds {' and '.join(found)}; give each a folder of its own, as py-tgb does")
    return found[0] if found else None


def read_tgb(path: str | Path) -> TemporalGraph:
    """The temporal graph in a folder of TGB 2.0, with its ids and its splits.

    Entities are numbered in the order in which they come, subject before object, as py-tgb does; so are relations
    where they have names, and as in the file where they are numbers without gaps. The splits are cut at the timestamps
    at which 70 and 85 % of the facts have happened. Facts that occur twice are kept. The static facts of
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
    rows, (entities, relations) = _read_named(file) if named else _read_numbered(file)
    if len(rows.values) == 0:
        raise DataError(f"{file}: no facts; {_NEED}")
    facts, unit = in_units(rows.values, rows.form)
    split = _split(facts[:, 3])
    missing = [word for number, word in enumerate(SPLITS) if not (split == number).any()]
    if missing:
        raise DataError(f"{file}: no {missing[0]} facts when cut at 70 and 85 % of them by time; is the file whole?")
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
        static=_read_static(static, entities) if named and os.path.lexists(static) else None,
        provenance={"kind": "tgb", "path": os.path.abspath(folder)},
        read=make_report([rows], facts, rows.form, unit),
    )


def _split(time: np.ndarray) -> np.ndarray:
    """int8: 0 train, 1 valid, 2 test. As TGB cuts: quantiles of the times of all facts and their inverses."""
    # Quantiles interpolate by the number of values, so that doubling the times can move a boundary.
    valid, test = np.quantile(np.concatenate([time, time]), [1 - _VALID - _TEST, 1 - _TEST])
    return (time > valid).astype(np.int8) + (time > test).astype(np.int8)


# --- files of numbers ----------------------------------------------------------------------------------------------


def _read_numbered(path: Path) -> tuple[TextRows, _Names]:
    """The facts of a file of numbers, columns subject, relation, object, time; their names are the numbers."""
    places = _find_columns(path, _LAYOUT.columns)
    blocks = (_read_numbers(path, first, block, places) for first, block in read_text_blocks(path, _NEED))
    rows = gather_rows(path, blocks, _LAYOUT, FormCheck())
    values = rows.values
    # Row by row, head before tail: the order in which py-tgb numbers the entities.
    number, first, place = np.unique(values[:, 1:3].ravel(), return_index=True, return_inverse=True)
    order = np.argsort(first)
    # `order` lists the distinct numbers as they come, and `rank` is its inverse, from number to new id.
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    ends = rank[place.ravel()].reshape(-1, 2)
    kinds, relation = np.unique(values[:, 3], return_inverse=True)
    if len(kinds) and kinds[-1] != len(kinds) - 1:
        warnings.warn(
            f"{path}: relations are numbered up to {kinds[-1]}, but there are {len(kinds)}; TGB's numbers of inverse "
            "relations may then be those of others, so its figures may differ",
            DataWarning,
            stacklevel=4,
        )
    facts = np.stack([ends[:, 0], relation.ravel(), ends[:, 1], values[:, 0]], 1)
    entities = tuple(map(str, number[order].tolist()))
    return rows._replace(values=facts), (entities, tuple(map(str, kinds.tolist())))


def _read_numbers(path: Path, first: int, block: bytes, places: "_Places") -> TextRows:
    """The rows of a block of a file of numbers, columns as in `_LAYOUT`; its first line holds the column names."""
    if places.indices == tuple(range(places.width)) and b'"' not in block:
        # The line of names becomes a blank one, so that lines keep their numbers.
        block = b"\n" + block.partition(b"\n")[2] if first == 1 else block
        block = block.replace(b",", b"\t")
    else:
        lines = [b""] * _count_lines(block)
        for number, fields in _split_lines(path, first, block, places):
            lines[number - first : number - first + 1] = ["\t".join(fields).encode()]
        block = b"".join(line + b"\n" for line in lines)
    rows = read_rows(path, first, block, _LAYOUT)
    return rows._replace(lines=rows.lines - 1, blank=rows.blank - 1) if first == 1 else rows


# --- files of names ------------------------------------------------------------------------------------------------


class _Ids(dict[str, int]):
    """Ids of names, in the order in which they come."""

    def number(self, names: "pl.Series") -> np.ndarray:
        """int64 ids of a polars Series of names; new ones get the next ids."""
        import polars as pl

        # Only distinct names go through Python.
        distinct = names.unique(maintain_order=True)
        ids = [self.setdefault(name, len(self)) for name in distinct.to_list()]
        return names.replace_strict(distinct, pl.Series(ids, dtype=pl.Int64)).to_numpy()


def _read_named(path: Path) -> tuple[TextRows, _Names]:
    """The facts of a file of names, columns subject, relation, object, time; and the names by id."""
    places = _find_columns(path, _LAYOUT.columns)
    entities, relations = _Ids(), _Ids()

    def read_block(first: int, block: bytes) -> TextRows:
        import polars as pl

        numbers, frame = _read_frame(path, first, block, places)
        time, form = _parse_times(path, numbers, frame["time"])
        # Subject before object, fact after fact.
        ends = frame.select(pl.concat_list("head", "tail").explode()).to_series()
        head, tail = entities.number(ends).reshape(-1, 2).T
        lines = _count_lines(block) - (first == 1)
        values = np.stack([head, relations.number(frame["relation"]), tail, time], 1)
        return TextRows(values, numbers, lines, lines - len(numbers), form)

    blocks = (read_block(first, block) for first, block in read_text_blocks(path, _NEED))
    layout = Layout(("subject", "relation", "object", "time"), _NEED)
    return gather_rows(path, blocks, layout, FormCheck()), (tuple(entities), tuple(relations))


def _parse_times(path: Path, numbers: np.ndarray, texts: "pl.Series") -> tuple[np.ndarray, TimeForm]:
    """int64 times of a polars Series of text on the lines `numbers`, and their latest form."""
    import polars as pl

    # Facts are many and times few, so that each distinct text is parsed once.
    parsed = {text: parse_number_or_date(text.strip()) for text in texts.unique().to_list()}
    times = {text: time for text, time in parsed.items() if time is not None and abs(time[0]) <= TIME_MAX}
    dated = {form.dated for _, form in times.values()}
    # Some time is wrong: look for the first line that has it.
    if len(times) < len(parsed) or len(dated) > 1:
        for number, text in zip(numbers.tolist(), texts):
            if text not in times:
                raise DataError(
                    f"{path}:{number}: time is {shown(text, 40)}, not a whole number of 53 bits; correct it"
                )
            if times[text][1].dated != times[texts[0]][1].dated:
                raise mixed_times(f"{path}:{number}", times[text][1].dated, f"{path}:{numbers[0]}")
    values = texts.replace_strict(list(times), pl.Series([time for time, _ in times.values()], dtype=pl.Int64))
    return values.to_numpy(), max((form for _, form in times.values()), default=TimeForm.NUMBER)


def _read_static(path: Path, entities: tuple[str, ...]) -> StaticGraph | None:
    """The static facts of entities that have dated facts, or None without any."""
    places = _find_columns(path, ("head", "tail", "relation"))
    # An entity that occurs in static facts only is in no query, and has no id.
    known = {name: number for number, name in enumerate(entities)}
    words, relations, parts = _Ids(), _Ids(), [np.zeros((3, 0), np.int64)]
    for first, block in read_text_blocks(path, _NEED):
        frame = _read_frame(path, first, block, places)[1]
        head = np.array([known.get(name, -1) for name in frame["head"].to_list()], np.int64)
        frame = frame.filter(head >= 0)
        parts.append(np.stack([head[head >= 0], relations.number(frame["relation"]), words.number(frame["tail"])]))
    entity, relation, word = np.concatenate(parts, 1).astype(np.int32)
    return StaticGraph(entity, relation, word, len(relations), len(words)) if len(entity) else None


# --- csv -----------------------------------------------------------------------------------------------------------


class _Places(NamedTuple):
    """Where the wanted columns are in a csv.

    **Arguments:** `columns`: the wanted ones; `width`: columns of the file; `indices`: of the wanted ones; `names`: of
    all columns.
    """

    columns: tuple[str, ...]
    width: int
    indices: tuple[int, ...]
    names: tuple[str, ...]


def _find_columns(path: Path, columns: tuple[str, ...]) -> _Places:
    """Where the columns are, by their names in the first line, or by their places where it holds other names.

    **Raises:** DataError when the first line is a fact, which TGB would skip, or holds only some of the names.
    """
    standard = _Places(columns, len(columns), tuple(range(len(columns))), columns)
    _, block = next(read_text_blocks(path, _NEED), (1, b""))
    if not block:
        return standard
    line = block.split(b"\n")[0].decode("utf-8", "replace")
    names = [name.strip().lower() for name in _split_line(path, 1, line)]
    if "time" in columns and parse_number_or_date(names[0]) is not None:
        raise DataError(f"{path}:1: a fact where the names of the columns are expected; {_NEED}")
    found = {column: [n for n, name in enumerate(names) if name in _COLUMN_NAMES[column]] for column in columns}
    if all(len(indices) == 1 for indices in found.values()):
        return _Places(columns, len(names), tuple(indices[0] for indices in found.values()), tuple(names))
    if len(names) == len(columns) and all(indices in ([], [n]) for n, indices in enumerate(found.values())):
        return standard
    unclear = " and ".join(column for column, indices in found.items() if len(indices) != 1)
    raise DataError(f"{path}:1: of the columns {shown(','.join(names))}, it is unclear which is {unclear}; {_NEED}")


def _count_lines(block: bytes) -> int:
    """Lines of a block, of which the last one of a file may lack its end."""
    return block.count(b"\n") + (not block.endswith(b"\n"))


def _read_frame(path: Path, first: int, block: bytes, places: _Places) -> "tuple[np.ndarray, pl.DataFrame]":
    """The wanted columns of a block as a polars frame of text, and the int64 number of each row's line.

    Polars reads a block in which every line is sound; any other goes line by line, so that an error names its line.
    """
    import polars as pl

    lines, separators = _count_lines(block), places.width - 1
    header = 1 if first == 1 else 0
    if b'"' not in block and block.count(b",") == lines * separators:
        schema = {str(number): pl.String for number in range(places.width)}
        try:
            frame = pl.read_csv(block, schema=schema, has_header=False, skip_rows=header, quote_char=None)
        except pl.exceptions.PolarsError:
            frame = pl.DataFrame(schema=schema)
        # As many separators as fit, and no field without text: every line has just its columns.
        if len(frame) == lines - header and not any(column.has_nulls() for column in frame):
            wanted = (pl.col(str(index)).alias(name) for index, name in zip(places.indices, places.columns))
            return np.arange(first + header, first + lines), frame.select(wanted)
    rows = list(_split_lines(path, first, block, places))
    frame = pl.DataFrame([fields for _, fields in rows], dict.fromkeys(places.columns, pl.String), orient="row")
    return np.array([number for number, _ in rows], np.int64), frame


def _split_lines(path: Path, first: int, block: bytes, places: _Places) -> Iterator[tuple[int, list[str]]]:
    """Number and wanted fields of each line of a block, without the first line of the file and blank ones."""
    for number, line in enumerate(decode_block(path, first, block).split("\n"), first):
        if number == 1 or not line.strip():
            continue
        fields = _split_line(path, number, line)
        wanted = [fields[index] for index in places.indices] if len(fields) == places.width else []
        if not wanted or not all(wanted):
            problem = f"{shown(line.strip(), 40)} is not {','.join(places.names)}"
            raise DataError(f"{path}:{number}: {problem}; complete or delete the line")
        yield number, wanted


def _split_line(path: Path, number: int, line: str) -> list[str]:
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise DataError(f"{path}:{number}: {shown(line, 40)} is no line of a csv ({error}); correct it") from error
