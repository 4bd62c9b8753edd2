"""Graphs written as folders in the RE-GCN text format and as event tables."""

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tirgn_eqx.data.dates import DAY
from tirgn_eqx.data.graph import SPLITS, TemporalGraph, default_interval, default_origin
from tirgn_eqx.data.readers.events import GRANULARITIES
from tirgn_eqx.data.readers.name_files import read_names
from tirgn_eqx.data.readers.regcn_text import TIMES_FILE
from tirgn_eqx.errors import ConfigError, DataError, DataWarning, shown
from tirgn_eqx.storage.atomic_write import atomic_write, flush, scratch_folder

_FILES = {"stat.txt", "entity2id.txt", "relation2id.txt", "e-w-graph.txt", TIMES_FILE}
_FILES |= {f"{split}.txt" for split in SPLITS}
# Endings of tables that are read, but not written: nobody means a folder of that name.
_TABLES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".arrow", ".feather", ".ipc", ".gz", ".zst", ".npz")


def write_folder(graph: TemporalGraph, out: str | Path, *, force: bool = False) -> None:
    """Write `graph` as a folder in the RE-GCN text format, which `load_graph` and other programs read.

    `train.txt`, `valid.txt` and `test.txt` hold lines `subject relation object time` of ids, `stat.txt` the numbers of
    entities and relations, `entity2id.txt` and `relation2id.txt` the names, `e-w-graph.txt` the static graph, as far as
    there are any. Times are the whole numbers that the graph has. What those mean, `times.json` says, where it does not
    follow from them: `unit_seconds` (null for step numbers), `interval` and `origin` of the model's clock.

    **Arguments:** `out`: made where needed; `force`: replace a folder that holds such files and no others.

    **Raises:** ConfigError for a folder that may not be replaced; DataError for names that such a folder cannot hold,
    and a graph with an empty split; OSError when it cannot be written. Nothing is left behind then.
    """
    out = Path(os.path.realpath(os.path.expanduser(out)))
    check_free(out, True, force)
    for split, count in zip(SPLITS, graph.split_counts.sum(1).tolist()):
        if not count:
            raise DataError(
                f"{graph.name}: no facts in {split}; cut it by time first (`cut_by_time`, --split 80/10/10)"
            )
    with scratch_folder(out.parent, out.name) as work:
        new = work / "new"
        new.mkdir()
        _write_facts(graph, new)
        (new / "stat.txt").write_text(f"{graph.num_entities}\t{graph.num_relations}\n", encoding="utf-8")
        for kind, names in (("entity", graph.entity_names), ("relation", graph.relation_names)):
            if names is not None:
                _write_names(new / f"{kind}2id.txt", names, kind, graph.name)
        if graph.static is not None:
            columns = (graph.static.entity, graph.static.relation, graph.static.word)
            with (new / "e-w-graph.txt").open("wb") as file:
                _write_rows(file, *columns)
        said = {"unit_seconds": graph.time_unit, "interval": graph.time_interval, "origin": graph.clock_origin}
        if said != _default_times(graph):
            (new / TIMES_FILE).write_text(json.dumps(said) + "\n", encoding="utf-8")
        for file in new.iterdir():
            flush(file)
        flush(new)
        with _moved_away(out, work / "old"):
            os.rename(new, out)
        flush(out.parent)


def write_events(graph: TemporalGraph, out: str | Path, *, force: bool = False) -> None:
    """Write `graph` as an event table in order of time: parquet with the columns entity1, relation, entity2, timestamp.

    Ids become names, numbers where the graph has none. Dates and times are written as such, step numbers as they are.
    An event table holds no splits, no static graph and no entities without facts.

    **Arguments:** `out`: a `.parquet` file; `force`: replace a file.

    **Raises:** ConfigError for a file that is there; DataError for a name of several ids; OSError.
    """
    import polars as pl

    out = Path(os.path.expanduser(out))
    check_free(out, False, force)
    columns = {}
    for kind, names, size in (
        ("entity", graph.entity_names, graph.num_entities),
        ("relation", graph.relation_names, graph.num_relations),
    ):
        names = tuple(map(str, range(size))) if names is None else names
        _check_distinct(names, kind, graph.name)
        columns[kind] = pl.Series(names, dtype=pl.String)
    times = pl.Series(graph.times)
    if graph.time_unit == DAY:
        times = times.cast(pl.Int32).cast(pl.Date)
    elif graph.time_unit is not None:
        times = (times * graph.time_unit * 1_000_000).cast(pl.Datetime("us"))
    table = pl.DataFrame(
        {
            "entity1": columns["entity"].gather(pl.Series(np.asarray(graph.subject))),
            "relation": columns["relation"].gather(pl.Series(np.asarray(graph.relation))),
            "entity2": columns["entity"].gather(pl.Series(np.asarray(graph.object))),
            "timestamp": times.gather(pl.Series(np.asarray(graph.snapshot))),
        }
    )
    # An open file: polars takes no path whose bytes are not UTF-8.
    with atomic_write(out) as temporary, temporary.open("wb") as file:
        table.write_parquet(file)


def reading_options(graph: TemporalGraph) -> dict[str, Any]:
    """The options by which `load_graph` finds the snapshots of `graph` in what `write_events` wrote of it; with a
    DataWarning for snapshots that no granularity tells apart."""
    if graph.time_unit is None:
        return {"time_format": "steps"}
    starts = graph.times * graph.time_unit
    for name in ("day", "hour", "15min"):
        seconds = GRANULARITIES[name][0] * GRANULARITIES[name][1]
        if not np.any(starts % seconds):
            return {"num_days": 0, "granularity": name}
    warnings.warn(
        f"{graph.name}: has snapshots that are no whole quarters of an hour, the finest that are told apart when an "
        "event table is read; write a folder to keep them",
        DataWarning,
        stacklevel=2,
    )
    return {"num_days": 0, "granularity": "15min"}


def check_free(out: Path, folder: bool, force: bool) -> None:
    """**Raises:** ConfigError for a place that holds something, unless it may be replaced."""
    if folder and out.suffix.lower() in _TABLES:
        raise ConfigError(f"{out}: a table is written as .parquet, and a folder has no such ending; name another --out")
    if os.path.isdir(out):
        inside = sorted(os.listdir(out))
        other = next((name for name in inside if name not in _FILES), None)
        if not folder or other is not None:
            what = f"a folder that holds {shown(other)}" if other else "a folder"
            raise ConfigError(f"{out}: is {what}; name another place, nothing of it is replaced")
        if inside and not force:
            raise ConfigError(f"{out}: holds a data set; --force replaces it, or name another folder")
    elif os.path.lexists(out):
        if folder:
            raise ConfigError(f"{out}: is a file, not a folder; name another place")
        if not force:
            raise ConfigError(f"{out}: exists; --force replaces it, or name another file")


def _default_times(graph: TemporalGraph) -> dict[str, Any]:
    """What a folder says of its times that holds no word on them."""
    interval = default_interval(graph.times[graph.split_snapshots("train")])
    return {"unit_seconds": None, "interval": interval, "origin": default_origin(int(graph.times[0]), interval)}


def _write_facts(graph: TemporalGraph, folder: Path) -> None:
    files = [(folder / f"{split}.txt").open("wb") for split in SPLITS]
    try:
        for block in graph.blocks():
            split, times = graph.split[block], graph.times[graph.snapshot[block]]
            for number, file in enumerate(files):
                rows = np.flatnonzero(split == number)
                if len(rows):
                    columns = (graph.subject[block], graph.relation[block], graph.object[block], times)
                    _write_rows(file, *(column[rows] for column in columns))
    finally:
        for file in files:
            file.close()


def _write_rows(file: Any, *columns: np.ndarray) -> None:
    """Columns of numbers as lines, tabs between them."""
    import polars as pl

    frame = pl.DataFrame({str(number): np.asarray(column) for number, column in enumerate(columns)})
    frame.write_csv(file, separator="\t", include_header=False)


def _write_names(path: Path, names: tuple[str, ...], kind: str, name: str) -> None:
    """**Raises:** DataError for names that would not be read as they are."""
    _check_distinct(names, kind, name)
    text = "".join(f"{each}\t{number}\n" for number, each in enumerate(names))
    try:
        path.write_bytes(text.encode())
        with warnings.catch_warnings():
            warnings.simplefilter("error", DataWarning)
            read: dict[int, str] = read_names(path, len(names), kind, path.with_name("stat.txt")) or {}
    except (UnicodeEncodeError, DataError, DataWarning):
        read = {}
    wrong = next(
        (each for number, each in enumerate(names) if not _plain(each) or read.get(number, each) != each), None
    )
    if wrong is None and len(read) < len(names):
        wrong = next((each for number, each in enumerate(names) if number not in read), None)
    if wrong is not None:
        raise DataError(
            f"{name}: {kind} {shown(wrong)} cannot stand in {path.name}, which holds a line for each name, without "
            "spaces around it; rename it, or write an event table (--out NAME.parquet)"
        )


def _plain(name: str) -> bool:
    return bool(name) and name == name.strip() and not any(letter in name for letter in "\n\r\0\x1a")


def _check_distinct(names: tuple[str, ...], kind: str, name: str) -> None:
    if len(set(names)) < len(names):
        known: dict[str, int] = {}
        for number, each in enumerate(names):
            if known.setdefault(each, number) != number:
                raise DataError(
                    f"{name}: {kind} {shown(each)} is the name of {known[each]} and of {number}; give each a name of "
                    "its own"
                )


@contextmanager
def _moved_away(out: Path, old: Path) -> Iterator[None]:
    """What is at `out` is put aside, and back where the new does not take its place."""
    there = os.path.lexists(out)
    if there:
        os.rename(out, old)
    try:
        yield
    except BaseException:
        if there:
            os.rename(old, out)
        raise
