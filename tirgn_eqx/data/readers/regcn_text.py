"""Folders in the RE-GCN text format: facts in three splits, sizes, optional names and static graph."""

import os.path
import shlex
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tirgn_eqx.data import dates
from tirgn_eqx.data.graph import SPLITS, ReadReport, StaticGraph, TemporalGraph, from_facts
from tirgn_eqx.data.readers.integer_text import (
    INT32_MAX,
    TIME_MAX,
    Forms,
    Rows,
    integer_blocks,
    most_ids,
    read_integers,
    report_of,
)
from tirgn_eqx.data.readers.name_files import filled, read_names
from tirgn_eqx.errors import DataError, DataWarning, shown
from tirgn_eqx.storage.untrusted import check_regular, parse_json, told

COLUMNS = ("subject", "relation", "object", "time")
_MOST = 5  # columns of a fact; the published sets end a line in a 0 or -1 that means nothing
TIMES_FILE = "times.json"
_NEED = "a dataset folder holds train.txt, valid.txt, test.txt and stat.txt"


def read_folder(path: str | Path) -> TemporalGraph:
    """The temporal graph in a folder of the RE-GCN text format.

    Facts are lines `subject relation object time`, separated by tabs or spaces; a fifth column is ignored, order does
    not matter, exact duplicates are kept. Time is any whole number in any unit, or a date or time of ISO 8601; gaps are
    fine. `entity2id.txt` and `relation2id.txt` (`name<TAB>id`, see `read_names`) and `e-w-graph.txt`
    (`entity relation word`) are optional; an id without a name is called `entity 17`. What numbers for times mean, a
    `times.json` may say, as `write_folder` writes it: `unit_seconds`, `interval` and `origin`.

    **Arguments:** `path`: the folder; its name becomes the graph's name.

    **Raises:** DataError for anything that is no such folder, with file, line and value. Two splits that
    share a boundary timestamp only raise a DataWarning: each fact stays in its split, and what is known
    before a time never includes that time.

    Source: the layout of https://github.com/Lee-zix/RE-GCN.
    """
    folder, stat, num_entities, num_relations = _open_folder(path)
    sizes = {"subject": num_entities, "relation": num_relations, "object": num_entities}
    parts, forms = [], Forms()
    for split in SPLITS:
        file = _split_file(folder, split)
        rows = read_integers(file, COLUMNS, _NEED, forms, most=_MOST, short=_short(folder))
        if len(rows.values) == 0:
            raise _empty(folder, file)
        _check_ids(file, rows, COLUMNS, sizes, stat)
        parts.append(rows)
    facts, unit = dates.in_units(np.concatenate([rows.values for rows in parts]), forms.form)
    ends = np.cumsum([len(rows.values) for rows in parts])
    parts = [rows._replace(values=values) for rows, values in zip(parts, np.split(facts, ends[:-1]))]
    for split, (early, late) in enumerate(pairwise(parts)):
        _check_boundary(folder, split, early, late, unit)
    fields = _read_fields(folder, stat, num_entities, num_relations, len(facts))
    split = np.repeat(np.arange(len(SPLITS)), [len(rows.values) for rows in parts])
    return from_facts(
        facts=facts,
        split=split,
        read=report_of(parts, facts, forms.form, unit),
        **fields,
        **_read_times(folder, unit),
    )


def read_unsplit(path: str | Path) -> TemporalGraph:
    """All facts of a folder in the RE-GCN text format, however they were split: every one is in `train`.

    For data whose splits cannot be used as they are, because they were drawn at random or one is missing, and which
    are to be cut by time. As `read_folder`, but of `train.txt`, `valid.txt` and `test.txt` only one must be there, none
    needs a fact of its own, they may overlap in time, and without a `stat.txt` the ids and names say how many there
    are. Facts that stand in several files are kept as often.

    **Arguments:** `path`: the folder, or a file of facts in it, which is then the only one.

    **Returns:** a graph with ids, names, static graph and times of the folder; its `provenance` is empty, because
    `load_graph` would not load it as it is.

    **Raises:** DataError as `read_folder`.
    """
    alone = Path(os.path.expanduser(path))
    folder = alone.parent if os.path.isfile(alone) else _existing(path)
    files = [alone] if os.path.isfile(alone) else [folder / f"{split}.txt" for split in SPLITS]
    files = [file for file in files if os.path.lexists(file)]
    if not files:
        raise DataError(f"{folder}: none of train.txt, valid.txt and test.txt is there; {_NEED}")
    parts, forms = [], Forms()
    for file in files:
        short = "a fact needs its time; complete the line"
        parts.append(read_integers(file, COLUMNS, _NEED, forms, most=_MOST, short=short))
    facts = np.concatenate([rows.values for rows in parts])
    if len(facts) == 0:
        raise DataError(f"{folder}: no facts in {', '.join(file.name for file in files)}")
    stat = folder / "stat.txt"
    if os.path.lexists(stat):
        num_entities, num_relations = _read_sizes(stat)
    else:
        ids = {"entity": facts[:, [0, 2]], "relation": facts[:, 1]}
        num_entities, num_relations = (
            1 + max(int(found.max()), *(read_names(folder / f"{kind}2id.txt", None, kind, stat) or (0,)))
            for kind, found in ids.items()
        )
    sizes = {"subject": num_entities, "relation": num_relations, "object": num_entities}
    for file, rows in zip(files, parts):
        _check_ids(file, rows, COLUMNS, sizes, stat)
    facts, unit = dates.in_units(facts, forms.form)
    fields = _read_fields(folder, stat, num_entities, num_relations, len(facts))
    fields |= {"provenance": {}, "name": alone.stem if alone in files else fields["name"]}
    fields |= {"read": report_of(parts, facts, forms.form, unit)} | _read_times(folder, unit)
    return from_facts(facts=facts, split=np.zeros(len(facts), np.int8), **fields)


class Unsorted(Exception):
    """The facts of a folder cannot be taken as they come: not in order of time, or in a unit that changes."""


def stream_folder(path: str | Path, finish: dict[str, Any]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The facts of a folder whose files are each in order of time, some at a time: int64 `(fact, 4)` as `from_facts`
    takes them, and the split of each, int8.

    **Arguments:** `path`: as of `read_folder`; `finish`: takes, at the end, what else `from_facts` needs.

    **Raises:** DataError as `read_folder`; Unsorted for files in another order, and for times that begin as dates and
    go on with times of day, so that days are not their unit.
    """
    folder, stat, num_entities, num_relations = _open_folder(path)
    sizes = {"subject": num_entities, "relation": num_relations, "object": num_entities}
    number, before, unit = 0, None, None
    forms, counts, ends = Forms(), [], []
    for split, name in enumerate(SPLITS):
        file = _split_file(folder, name)
        newest = None
        for rows in integer_blocks(file, COLUMNS, _NEED, most=_MOST, short=_short(folder)):
            counts.append((rows.lines, rows.blank))
            if len(rows.values) == 0:
                continue
            _check_ids(file, rows, COLUMNS, sizes, stat)
            forms.add(file, rows)
            values, now = dates.in_units(rows.values, forms.form)
            if number and now != unit:
                raise Unsorted
            rows, unit = rows._replace(values=values), now
            time = values[:, 3]
            if np.any(np.diff(time, prepend=time[0] if newest is None else newest.values[0, 3]) < 0):
                raise Unsorted
            if newest is None and before is not None:
                _check_boundary(folder, split - 1, before, rows._replace(values=values[:1]), unit)
            if newest is None or time[-1] > newest.values[0, 3]:
                last = int(np.searchsorted(time, time[-1]))
                newest = rows._replace(values=values[last : last + 1], numbers=rows.numbers[last : last + 1])
            number += len(values)
            ends += [int(time[0]), int(time[-1])]
            yield values, np.full(len(values), split, np.int8)
        if newest is None:
            raise _empty(folder, file)
        before = newest
    finish.update(_read_fields(folder, stat, num_entities, num_relations, number))
    lines, blank = (sum(count) for count in zip(*counts))
    times = dates.told(forms.form, min(ends), max(ends), unit)
    finish.update(_read_times(folder, unit), read=ReadReport(lines, number, blank, times=times))


def _convert(folder: Path) -> str:
    """The command that makes splits."""
    return f"`tirgn data convert {shlex.quote(str(folder))} --out DIR`"


def _split_file(folder: Path, split: str) -> Path:
    """The file of a split. **Raises:** DataError where it is missing while others are there."""
    file = folder / f"{split}.txt"
    if not os.path.lexists(file) and any(os.path.lexists(folder / f"{other}.txt") for other in SPLITS):
        raise DataError(
            f"{file}: file is missing; {_NEED}; {_convert(folder)} cuts the facts that are there into all three"
        )
    return file


def _short(folder: Path) -> str:
    """What to do about a line with too few columns."""
    return f"complete the line; facts need times, by which {_convert(folder)} can then cut the splits"


def _empty(folder: Path, file: Path) -> DataError:
    return DataError(
        f"{file}: no facts; every split needs at least one, and {_convert(folder)} cuts all facts into three"
    )


def _existing(path: str | Path) -> Path:
    folder = Path(os.path.expanduser(path))
    if not os.path.isdir(folder):
        state = "is a file, not a folder" if os.path.exists(folder) else "folder is missing"
        raise DataError(f"{folder}: {state}; {_NEED}")
    return folder


def _open_folder(path: str | Path) -> tuple[Path, Path, int, int]:
    """The folder, its `stat.txt`, and the two numbers in it."""
    folder = _existing(path)
    return folder, folder / "stat.txt", *_read_sizes(folder / "stat.txt")


def _read_fields(folder: Path, stat: Path, num_entities: int, num_relations: int, number: int) -> dict[str, Any]:
    """What `from_facts` takes beside the `number` facts of a folder."""
    names = {
        kind: read_names(folder / f"{kind}2id.txt", size, kind, stat)
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
        "entity_names": filled(names["entity"], num_entities, "entity", folder),
        "relation_names": filled(names["relation"], num_relations, "relation", folder),
        "static": _read_static(folder / "e-w-graph.txt", num_entities, stat),
        "provenance": {"kind": "folder", "path": absolute},
    }


def _read_times(folder: Path, unit: int | None) -> dict[str, Any]:
    """What `from_facts` takes on times. **Arguments:** `unit`: of dates; None for numbers, which `times.json` explains.

    **Raises:** DataError for a `times.json` that cannot be read.
    """
    path = folder / TIMES_FILE
    if unit is not None or not os.path.lexists(path):
        return {"time_unit": unit}
    try:
        check_regular(path)
        said = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({told(error)}); delete it, or write the folder anew") from error
    said = said if isinstance(said, dict) else {}
    unit = said.get("unit_seconds")
    if unit is not None and not (type(unit) is int and unit in dates.UNITS):
        known = ", ".join(map(str, dates.UNITS))
        raise DataError(f"{path}: unit_seconds is {shown(unit)}, expected one of {known}; correct or delete it")
    for key, (low, high) in {"interval": (1, 2 * TIME_MAX), "origin": (-TIME_MAX, TIME_MAX)}.items():
        value = said.get(key)
        if not (type(value) is int and low <= value <= high):
            raise DataError(
                f"{path}: {key} is {shown(value)}, expected a whole number from {low} to {high}; correct or delete it"
            )
    return {"time_unit": unit, "time_interval": said["interval"], "clock_origin": said["origin"]}


def _read_sizes(path: Path) -> tuple[int, int]:
    rows, numbers, *_ = read_integers(path, ("entities", "relations"), _NEED)
    if len(rows) != 1:
        raise DataError(f"{path}: {len(rows)} lines, expected one: entities relations; correct the file")
    # Inverse relations are ids r + relations, and must fit in 32 bits as well.
    for column, size, limit in zip(("entities", "relations"), rows[0].tolist(), (INT32_MAX, INT32_MAX // 2)):
        if not 0 < size <= limit:
            raise DataError(f"{path}:{numbers[0]}: {size} {column}, outside 1 to {limit}; correct the count")
    return int(rows[0, 0]), int(rows[0, 1])


def _check_ids(path: Path, rows: Rows, columns: tuple[str, ...], sizes: dict[str, int], stat: Path) -> None:
    limit = np.array([sizes.get(column, np.iinfo(np.int64).max) for column in columns])
    beyond = rows.values >= limit
    if beyond.any():
        row = int(np.argmax(beyond.any(1)))
        column = columns[int(np.argmax(beyond[row]))]
        value = rows.values[row, columns.index(column)]
        kind = "relations" if column == "relation" else "entities"
        raise DataError(
            f"{path}:{rows.numbers[row]}: {column} {value} is beyond {stat.name}, which counts {sizes[column]} "
            f"{kind} (ids 0 to {sizes[column] - 1}); correct the id, or the count in {stat}"
        )


def _check_boundary(folder: Path, split: int, early: Rows, late: Rows, unit: int | None) -> None:
    """No fact of `split` comes after one of the next split."""
    newest, oldest = int(np.argmax(early.values[:, 3])), int(np.argmin(late.values[:, 3]))
    end, start = early.values[newest, 3], late.values[oldest, 3]
    names = f"{SPLITS[split]}.txt", f"{SPLITS[split + 1]}.txt"
    text = lambda time: dates.text_of(int(time), unit, seconds=unit == 1)
    if end > start:
        raise DataError(
            f"{folder / names[0]}:{early.numbers[newest]}: time {text(end)} is later than time {text(start)} at "
            f"{names[1]}:{late.numbers[oldest]}; every {SPLITS[split]} fact must come before the "
            f"{SPLITS[split + 1]} facts, so cut the splits by time: {_convert(folder)}"
        )
    if end == start:
        warnings.warn(
            f"{folder}: {names[0]} and {names[1]} share the timestamp {text(end)}; each fact stays in its "
            "split, and none of them counts as history at that time",
            DataWarning,
            stacklevel=3,
        )


def _read_static(path: Path, num_entities: int, stat: Path) -> StaticGraph | None:
    """The static graph, or None when there is no such file."""
    if not os.path.lexists(path):
        return None
    columns = ("entity", "static relation", "word")
    rows = read_integers(path, columns, "expected lines `entity relation word`", most=len(columns) + 1)
    if len(rows.values) == 0:
        raise DataError(f"{path}: no static facts; delete the file if there are none")
    _check_ids(path, rows, columns, {"entity": num_entities}, stat)
    num_relations, num_words = (rows.values[:, 1:].max(0) + 1).tolist()
    most = min(most_ids(len(rows.values)), INT32_MAX - num_entities)
    if num_words > most or num_relations > most // 2:
        raise DataError(
            f"{path}: {num_relations} static relations and {num_words} words in {len(rows.values)} lines; "
            "number both from 0 without holes"
        )
    entity, relation, word = rows.values.T.astype(np.int32)
    return StaticGraph(entity, relation, word, num_relations, num_words)
