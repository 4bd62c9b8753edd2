"""Folders in the RE-GCN text format: facts in three splits, sizes, optional names and static graph."""

import os.path
import shlex
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tirgn_eqx.data.graph import SPLITS, GraphFields, ReadReport, StaticGraph, TemporalGraph, from_facts
from tirgn_eqx.data.readers.integer_text import (
    INT32_MAX,
    FormCheck,
    Layout,
    TextRows,
    integer_blocks,
    make_report,
    most_ids,
    read_integers,
)
from tirgn_eqx.data.readers.mapped_writer import FactBlock, MappedFields
from tirgn_eqx.data.readers.name_files import complete_names, read_names
from tirgn_eqx.data.times import TIME_MAX, UNIT_NAMES, describe_times, in_units, to_text
from tirgn_eqx.errors import DataError, DataWarning, shown
from tirgn_eqx.storage.untrusted import check_regular, parse_json, told

TIMES_FILE = "times.json"
# Any of these makes a folder one of facts, whatever tables lie beside them.
FOLDER_FILES = ("stat.txt", "train.txt", "valid.txt", "test.txt", "entity2id.txt", "relation2id.txt")
_COLUMNS = ("subject", "relation", "object", "time")
_MOST = 5  # columns of a fact; the published sets end a line in a 0 or -1 that means nothing
_NEED = "a dataset folder holds train.txt, valid.txt, test.txt and stat.txt"


def is_folder(path: str) -> bool:
    """Whether a path is a folder that holds any file of the format."""
    return any(os.path.exists(os.path.join(path, name)) for name in FOLDER_FILES)


def read_folder(path: str | Path) -> TemporalGraph:
    """The temporal graph in a folder of the RE-GCN text format.

    Facts are lines `subject relation object time`, separated by tabs or spaces, in any order; a fifth column is
    ignored, and exact duplicates are kept. Times are whole numbers in any unit, or dates and times of ISO 8601; gaps
    are fine. `entity2id.txt` and `relation2id.txt` (`name<TAB>id`, see `read_names`) and `e-w-graph.txt`
    (`entity relation word`) are optional; an id without a name is called `entity 17`. A `times.json` may say what
    numbers for times mean, as `write_folder` writes it: `unit_seconds`, `interval` and `origin`.

    **Arguments:** `path`: the folder; its name becomes the graph's name.

    **Raises:** DataError for anything that is no such folder, with file, line and value. Two splits that share a
    timestamp only raise a DataWarning: each fact stays in its split, and the history before a time never includes it.

    Source: the layout of https://github.com/Lee-zix/RE-GCN.
    """
    folder = _Folder(_existing(path))
    # One check for all files, so that dates in one and numbers in another are refused.
    parts, forms = [], FormCheck()
    for split in SPLITS:
        file = folder.split_file(split)
        rows = read_integers(file, folder.layout, forms)
        if len(rows.values) == 0:
            raise folder.no_facts(file)
        folder.check_ids(file, rows)
        parts.append(rows)
    # All files together decide whether days are the unit. The times are converted at once and then given back to their
    # files.
    facts, unit = in_units(np.concatenate([rows.values for rows in parts]), forms.form)
    sizes = [len(rows.values) for rows in parts]
    parts = [rows._replace(values=values) for rows, values in zip(parts, np.split(facts, np.cumsum(sizes)[:-1]))]
    for split, (early, late) in enumerate(pairwise(parts)):
        folder.check_boundary(split, early, late, unit)
    fields = folder.read_fields(len(facts), unit)
    fields["read"] = make_report(parts, facts, forms.form, unit)
    return from_facts(facts=facts, split=np.repeat(np.arange(len(SPLITS)), sizes), **fields)


def read_unsplit(path: str | Path) -> TemporalGraph:
    """All facts of a folder in the RE-GCN text format, however they were split: every one is in `train`.

    For data whose splits cannot be used and which are to be cut by time: they were drawn at random, or one is missing.
    As `read_folder`, but of `train.txt`, `valid.txt` and `test.txt` only one must be there, none needs a fact, they may
    overlap in time, and without a `stat.txt` the ids and names say how many there are. Facts that stand in several
    files are kept as often.

    **Arguments:** `path`: the folder, or a file of facts in it, which is then the only one.

    **Returns:** a graph without `provenance`, because `load_graph` would not load it as it is.

    **Raises:** DataError as `read_folder`.
    """
    alone = Path(os.path.expanduser(path))
    place = alone.parent if os.path.isfile(alone) else _existing(path)
    files = [alone] if os.path.isfile(alone) else [place / f"{split}.txt" for split in SPLITS]
    files = [file for file in files if os.path.lexists(file)]
    if not files:
        raise DataError(f"{place}: none of train.txt, valid.txt and test.txt is there; {_NEED}")
    forms, layout = FormCheck(), Layout(_COLUMNS, _NEED, _MOST, "a fact needs its time; complete the line")
    parts = [read_integers(file, layout, forms) for file in files]
    facts = np.concatenate([rows.values for rows in parts])
    if len(facts) == 0:
        raise DataError(f"{place}: no facts in {', '.join(file.name for file in files)}")
    # Without a `stat.txt` the facts of all files give the sizes, so that ids are checked only now.
    folder = _Folder(place, facts)
    for file, rows in zip(files, parts):
        folder.check_ids(file, rows)
    facts, unit = in_units(facts, forms.form)
    fields = folder.read_fields(len(facts), unit)
    fields["provenance"] = {}
    if alone in files:
        fields["name"] = alone.stem
    fields["read"] = make_report(parts, facts, forms.form, unit)
    return from_facts(facts=facts, split=np.zeros(len(facts), np.int8), **fields)


class StreamingError(Exception):
    """Facts of a folder that cannot be taken as they come: not in order of time, or in a unit that changes."""


class FolderStream:
    """The facts of a folder whose files are each in order of time, block by block, as `write_mapped` takes them.

    After the last block, `fields` is what `write_mapped` needs besides.

    **Arguments:** `path`: as of `read_folder`.

    **Raises:** DataError as `read_folder`; while iterating, StreamingError for files in another order, and for times
    that begin as dates and go on with times of day, so that days are not their unit.
    """

    def __init__(self, path: str | Path):
        self.fields: MappedFields = {}
        self._path = path

    def __iter__(self) -> Iterator[FactBlock]:
        folder = _Folder(_existing(self._path))
        number, lines, blank, before, unit = 0, 0, 0, None, None
        forms, ends = FormCheck(), []
        for split, name in enumerate(SPLITS):
            file = folder.split_file(name)
            newest = None  # the first row with the latest time of this split
            for rows in integer_blocks(file, folder.layout):
                lines, blank = lines + rows.lines, blank + rows.blank
                if len(rows.values) == 0:
                    continue
                folder.check_ids(file, rows)
                forms.add(file, rows)
                values, block_unit = in_units(rows.values, forms.form)
                # The blocks before were given out in days, and here is a time of day.
                if number and block_unit != unit:
                    raise StreamingError
                rows, unit = rows._replace(values=values), block_unit
                time = values[:, 3]
                # Starts from the latest time so far, because the order must hold from block to block as well.
                if np.any(np.diff(time, prepend=time[0] if newest is None else newest.values[0, 3]) < 0):
                    raise StreamingError
                if newest is None and before is not None:
                    # In order of time, the first row of a split is its earliest one.
                    folder.check_boundary(split - 1, before, rows._replace(values=values[:1]), unit)
                if newest is None or time[-1] > newest.values[0, 3]:
                    # The first row of the latest time, which `read_folder` names in its messages as well.
                    last = int(np.searchsorted(time, time[-1]))
                    newest = rows._replace(values=values[last : last + 1], numbers=rows.numbers[last : last + 1])
                number += len(values)
                # In order of time, the first and last rows have the least and the greatest time.
                ends += [int(time[0]), int(time[-1])]
                yield FactBlock._make((*values.T, np.full(len(values), split, np.int8)))
            if newest is None:
                raise folder.no_facts(file)
            before = newest
        fields = folder.read_fields(number, unit)
        report = ReadReport(lines, number, blank, times=describe_times(forms.form, min(ends), max(ends), unit))
        self.fields = {**fields, "source": fields.get("provenance", {}), "read": report}


class _Folder:
    """A folder and the sizes in its `stat.txt`; without one, those of `facts`, int64 `(fact, 4)`, and the names."""

    def __init__(self, path: Path, facts: np.ndarray | None = None):
        self.path, self.stat = path, path / "stat.txt"
        if facts is None or os.path.lexists(self.stat):
            self.num_entities, self.num_relations = _read_sizes(self.stat)
        else:
            self.num_entities, self.num_relations = (
                # Names may be given for ids that no fact has.
                1 + max(int(ids.max()), *(self._read_names(kind, None) or (0,)))
                for kind, ids in (("entity", facts[:, [0, 2]]), ("relation", facts[:, 1]))
            )
        self.convert = f"`tirgn data convert {shlex.quote(str(path))} --out DIR`"
        short = f"complete the line; facts need times, by which {self.convert} can then cut the splits"
        self.layout = Layout(_COLUMNS, _NEED, _MOST, short)

    def split_file(self, split: str) -> Path:
        """The file of a split. **Raises:** DataError where it is missing while others are there."""
        file = self.path / f"{split}.txt"
        if not os.path.lexists(file) and any(os.path.lexists(self.path / f"{other}.txt") for other in SPLITS):
            raise DataError(
                f"{file}: file is missing; {_NEED}; {self.convert} cuts the facts that are there into all three"
            )
        return file

    def no_facts(self, file: Path) -> DataError:
        return DataError(
            f"{file}: no facts; every split needs at least one, and {self.convert} cuts all facts into three"
        )

    def check_ids(self, file: Path, rows: TextRows) -> None:
        """**Raises:** DataError for an id beyond those of `stat.txt`."""
        _check_ids(file, rows, _COLUMNS, (self.num_entities, self.num_relations, self.num_entities), self.stat)

    def check_boundary(self, split: int, early: TextRows, late: TextRows, unit: int | None) -> None:
        """**Raises:** DataError for a fact of `split` after one of the next split. DataWarning for the same time."""
        newest, oldest = int(np.argmax(early.values[:, 3])), int(np.argmin(late.values[:, 3]))
        end, start = int(early.values[newest, 3]), int(late.values[oldest, 3])
        names = f"{SPLITS[split]}.txt", f"{SPLITS[split + 1]}.txt"
        end_text, start_text = to_text(end, unit, seconds=unit == 1), to_text(start, unit, seconds=unit == 1)
        if end > start:
            raise DataError(
                f"{self.path / names[0]}:{early.numbers[newest]}: time {end_text} is later than time {start_text} at "
                f"{names[1]}:{late.numbers[oldest]}; every {SPLITS[split]} fact must come before the "
                f"{SPLITS[split + 1]} facts, so cut the splits by time: {self.convert}"
            )
        if end == start:
            warnings.warn(
                f"{self.path}: {names[0]} and {names[1]} share the timestamp {end_text}; each fact stays in its "
                "split, and none of them counts as history at that time",
                DataWarning,
                stacklevel=3,
            )

    def read_fields(self, number: int, unit: int | None) -> GraphFields:
        """What `from_facts` takes beside `number` facts. **Arguments:** `unit`: of dates; None for numbers."""
        sizes = {"entity": self.num_entities, "relation": self.num_relations}
        names = {kind: self._read_names(kind, size) for kind, size in sizes.items()}
        for kind, plural in (("entity", "entities"), ("relation", "relations")):
            named, size = len(names[kind] or ()), sizes[kind]
            # Memory grows with the number of ids: a digit too many in `stat.txt` must not claim all of it.
            if size > most_ids(number + named):
                raise DataError(
                    f"{self.stat}: {size:,} {plural}, but {number:,} facts and {named:,} names; correct the count"
                )
        absolute = os.path.abspath(self.path)
        # Dates say what their unit is, so that `times.json` is for numbers only.
        clock = _Clock(unit) if unit is not None else _read_times_file(self.path / TIMES_FILE)
        return {
            "name": os.path.basename(absolute),
            "num_entities": self.num_entities,
            "num_relations": self.num_relations,
            "entity_names": complete_names(names["entity"], self.num_entities, "entity", self.path),
            "relation_names": complete_names(names["relation"], self.num_relations, "relation", self.path),
            "static": _read_static(self.path / "e-w-graph.txt", self.num_entities, self.stat),
            "provenance": {"kind": "folder", "path": absolute},
            "time_unit": clock.unit,
            "time_interval": clock.interval,
            "clock_origin": clock.origin,
        }

    def _read_names(self, kind: str, size: int | None) -> dict[int, str] | None:
        return read_names(self.path / f"{kind}2id.txt", size, kind, self.stat)


def _existing(path: str | Path) -> Path:
    folder = Path(os.path.expanduser(path))
    if not os.path.isdir(folder):
        state = "is a file, not a folder" if os.path.exists(folder) else "folder is missing"
        raise DataError(f"{folder}: {state}; {_NEED}")
    return folder


class _Clock(NamedTuple):
    """What times mean: seconds in their unit, None for step numbers; the model's clock, None where facts decide it."""

    unit: int | None = None
    interval: int | None = None
    origin: int | None = None


def _read_times_file(path: Path) -> _Clock:
    """What a `times.json` says of the clock, if it is there. **Raises:** DataError for one that cannot be read."""
    if not os.path.lexists(path):
        return _Clock()
    try:
        check_regular(path)
        document = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({told(error)}); delete it, or write the folder anew") from error
    document = document if isinstance(document, dict) else {}
    unit = document.get("unit_seconds")
    if unit is not None and not (type(unit) is int and unit in UNIT_NAMES):
        known = ", ".join(map(str, UNIT_NAMES))
        raise DataError(f"{path}: unit_seconds is {shown(unit)}, expected one of {known}; correct or delete it")
    for key, (low, high) in {"interval": (1, 2 * TIME_MAX), "origin": (-TIME_MAX, TIME_MAX)}.items():
        value = document.get(key)
        if not (type(value) is int and low <= value <= high):
            raise DataError(
                f"{path}: {key} is {shown(value)}, expected a whole number from {low} to {high}; correct or delete it"
            )
    return _Clock(unit, document["interval"], document["origin"])


def _read_sizes(path: Path) -> tuple[int, int]:
    rows, numbers, *_ = read_integers(path, Layout(("entities", "relations"), _NEED))
    if len(rows) != 1:
        raise DataError(f"{path}: {len(rows)} lines, expected one: entities relations; correct the file")
    # Inverse relations are ids r + relations, and must fit in 32 bits as well.
    for column, size, limit in zip(("entities", "relations"), rows[0].tolist(), (INT32_MAX, INT32_MAX // 2)):
        if not 0 < size <= limit:
            raise DataError(f"{path}:{numbers[0]}: {size} {column}, outside 1 to {limit}; correct the count")
    return int(rows[0, 0]), int(rows[0, 1])


def _check_ids(file: Path, rows: TextRows, columns: tuple[str, ...], sizes: tuple[int, ...], stat: Path) -> None:
    """**Raises:** DataError for an id in the first columns that is beyond their `sizes`."""
    beyond = rows.values[:, : len(sizes)] >= sizes
    if beyond.any():
        row = int(np.argmax(beyond.any(1)))
        place = int(np.argmax(beyond[row]))
        kind = "relations" if columns[place] == "relation" else "entities"
        raise DataError(
            f"{file}:{rows.numbers[row]}: {columns[place]} {rows.values[row, place]} is beyond {stat.name}, which "
            f"counts {sizes[place]} {kind} (ids 0 to {sizes[place] - 1}); correct the id, or the count in {stat}"
        )


def _read_static(path: Path, num_entities: int, stat: Path) -> StaticGraph | None:
    """The static graph, or None when there is no such file."""
    if not os.path.lexists(path):
        return None
    columns = ("entity", "static relation", "word")
    rows = read_integers(path, Layout(columns, "expected lines `entity relation word`", len(columns) + 1))
    if len(rows.values) == 0:
        raise DataError(f"{path}: no static facts; delete the file if there are none")
    _check_ids(path, rows, columns, (num_entities,), stat)
    num_relations, num_words = (rows.values[:, 1:].max(0) + 1).tolist()
    # The static encoder numbers words behind the entities and adds an inverse to each relation, all in 32 bits.
    most = min(most_ids(len(rows.values)), INT32_MAX - num_entities)
    if num_words > most or num_relations > most // 2:
        raise DataError(
            f"{path}: {num_relations} static relations and {num_words} words in {len(rows.values)} lines; "
            "number both from 0 without holes"
        )
    entity, relation, word = rows.values.T.astype(np.int32)
    return StaticGraph(entity, relation, word, num_relations, num_words)
