"""Graphs written as folders in the RE-GCN text format and as event tables."""

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from tirgn_eqx.data.graph import SPLITS, TemporalGraph, default_interval, default_origin
from tirgn_eqx.data.readers.events import GRANULARITIES, ReadingOptions
from tirgn_eqx.data.readers.name_files import read_names
from tirgn_eqx.data.readers.regcn_text import FOLDER_FILES, TIMES_FILE
from tirgn_eqx.data.times import DAY
from tirgn_eqx.errors import ConfigError, DataError, DataWarning, shown
from tirgn_eqx.storage.atomic_write import atomic_write, flush, scratch_folder

if TYPE_CHECKING:
    import polars as pl

_FILES = {*FOLDER_FILES, "e-w-graph.txt", TIMES_FILE}
# Suffixes of tables that are read, but not written: nobody means a folder of that name.
_OTHER_TABLES = tuple(".csv .tsv .txt .json .jsonl .ndjson .arrow .feather .ipc .gz .zst .npz".split())


def write_folder(graph: TemporalGraph, out: str | Path, *, force: bool = False) -> None:
    """Write `graph` as a folder in the RE-GCN text format, which `load_graph` and other programs read.

    `train.txt`, `valid.txt` and `test.txt` hold lines `subject relation object time` of ids, `stat.txt` the numbers of
    entities and relations, `entity2id.txt` and `relation2id.txt` the names, `e-w-graph.txt` the static graph, if there
    are any. Times are the whole numbers of the graph. `times.json` says what they mean where that does not follow
    from them: `unit_seconds` (null for step numbers), `interval` and `origin` of the model's clock.

    **Arguments:** `out`: made where needed; `force`: replace a folder that holds such files and no others.

    **Raises:** ConfigError for a folder that may not be replaced; DataError for names that such a folder cannot hold
    and for a graph with an empty split; OSError when it cannot be written. Nothing is left behind then.
    """
    # The rename below has to replace the folder that a link leads to, not the link.
    out = Path(os.path.realpath(os.path.expanduser(out)))
    check_free(out, True, force)
    for split, count in zip(SPLITS, graph.split_counts.sum(1).tolist()):
        if not count:
            raise DataError(
                f"{graph.name}: no facts in {split}; cut it by time first (`cut_by_time`, --split 80/10/10)"
            )
    # Beside `out`, because a rename cannot leave its file system.
    with scratch_folder(out.parent, out.name) as work:
        new = work / "new"
        new.mkdir()
        _write_facts(graph, new)
        (new / "stat.txt").write_text(f"{graph.num_entities}\t{graph.num_relations}\n", encoding="utf-8")
        for kind, names in (("entity", graph.entity_names), ("relation", graph.relation_names)):
            if names is not None:
                _write_names(new / f"{kind}2id.txt", names, kind, graph.name)
        if graph.static is not None:
            with (new / "e-w-graph.txt").open("wb") as file:
                _write_rows(file, graph.static.entity, graph.static.relation, graph.static.word)
        times = {"unit_seconds": graph.time_unit, "interval": graph.time_interval, "origin": graph.clock_origin}
        # Only a clock that a reader would not derive from the facts is written: published folders get no extra file.
        interval = default_interval(graph.times[graph.split_snapshots("train")])
        origin = default_origin(int(graph.times[0]), interval)
        if times != {"unit_seconds": None, "interval": interval, "origin": origin}:
            (new / TIMES_FILE).write_text(json.dumps(times) + "\n", encoding="utf-8")
        # The contents must be on the disk before the rename: a crash could otherwise leave empty files in its place.
        for path in (*new.iterdir(), new):
            flush(path)
        # `os.rename` does not replace a folder that holds files.
        with _moved_away(out, work / "old"):
            os.rename(new, out)
        flush(out.parent)


def write_events(graph: TemporalGraph, out: str | Path, *, force: bool = False) -> None:
    """Write `graph` as an event table in order of time: parquet with the columns entity1, relation, entity2, timestamp.

    Ids become names, or text of the numbers where the graph has no names. Dates and times are written as such, step
    numbers as they are. An event table holds no splits, no static graph and no entities without facts.

    **Arguments:** `out`: a `.parquet` file; `force`: replace a file.

    **Raises:** ConfigError for a file that is there; DataError for a name of several ids; OSError.
    """
    import polars as pl

    out = Path(os.path.expanduser(out))
    check_free(out, False, force)
    entities = _name_series(graph.entity_names, graph.num_entities, "entity", graph.name)
    relations = _name_series(graph.relation_names, graph.num_relations, "relation", graph.name)
    times = pl.Series(graph.times)
    if graph.time_unit == DAY:
        # A date of polars is an int32 of days since 1970, as the graph's times are here.
        times = times.cast(pl.Int32).cast(pl.Date)
    elif graph.time_unit is not None:
        times = (times * graph.time_unit * 1_000_000).cast(pl.Datetime("us"))
    table = pl.DataFrame(
        {
            "entity1": entities.gather(pl.Series(np.asarray(graph.subject))),
            "relation": relations.gather(pl.Series(np.asarray(graph.relation))),
            "entity2": entities.gather(pl.Series(np.asarray(graph.object))),
            "timestamp": times.gather(pl.Series(np.asarray(graph.snapshot))),
        }
    )
    # An open file, because polars takes no path whose bytes are not UTF-8.
    with atomic_write(out) as temporary, temporary.open("wb") as file:
        table.write_parquet(file)


def options_to_read_back(graph: TemporalGraph) -> ReadingOptions:
    """The options with which `load_graph` finds the snapshots of `graph` in the event table written of it.

    A DataWarning tells of snapshots that no granularity tells apart.
    """
    if graph.time_unit is None:
        return ReadingOptions(time_format="steps")
    starts = graph.times * graph.time_unit
    # The coarsest granularity that keeps all snapshots apart. `num_days=0` keeps all days; the default is the last 30.
    for name in ("day", "hour", "15min"):
        unit, count = GRANULARITIES[name]
        if not np.any(starts % (unit * count)):
            return ReadingOptions(num_days=0, granularity=name)
    warnings.warn(
        f"{graph.name}: has snapshots that are no whole quarters of an hour, the finest that are told apart when an "
        "event table is read; write a folder to keep them",
        DataWarning,
        stacklevel=2,
    )
    return ReadingOptions(num_days=0, granularity="15min")


def check_free(out: Path, folder: bool, force: bool) -> None:
    """**Raises:** ConfigError for a place that holds something, unless it may be replaced."""
    if folder and out.suffix.lower() in _OTHER_TABLES:
        raise ConfigError(f"{out}: a table is written as .parquet, and a folder has no such ending; name another --out")
    if os.path.isdir(out):
        inside = sorted(os.listdir(out))
        # Even with --force, a folder with any other file is not replaced: it may hold somebody's work.
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


def _write_facts(graph: TemporalGraph, folder: Path) -> None:
    with ExitStack() as stack:
        files = [stack.enter_context((folder / f"{split}.txt").open("wb")) for split in SPLITS]
        # Block by block, because the columns of a mapped graph may be larger than the memory.
        for block in graph.blocks():
            columns = graph.subject[block], graph.relation[block], graph.object[block]
            split, times = graph.split[block], graph.times[graph.snapshot[block]]
            for number, file in enumerate(files):
                rows = np.flatnonzero(split == number)
                if len(rows):
                    _write_rows(file, *(column[rows] for column in (*columns, times)))


def _write_rows(file: BinaryIO, *columns: np.ndarray) -> None:
    """Columns of numbers as lines, tabs between them."""
    import polars as pl

    frame = pl.DataFrame({str(number): np.asarray(column) for number, column in enumerate(columns)})
    frame.write_csv(file, separator="\t", include_header=False)


def _write_names(path: Path, names: tuple[str, ...], kind: str, graph_name: str) -> None:
    """**Raises:** DataError for names that would not be read as they are."""
    _check_distinct(names, kind, graph_name)
    text = "".join(f"{name}\t{number}\n" for number, name in enumerate(names))
    try:
        path.write_bytes(text.encode())
        # Read back with the reader itself, because it decides by all lines together which column is the id. Its warning
        # means that it took the other one.
        with warnings.catch_warnings():
            warnings.simplefilter("error", DataWarning)
            read: dict[int, str] = read_names(path, len(names), kind, path.with_name("stat.txt")) or {}
    except (UnicodeEncodeError, DataError, DataWarning):
        read = {}
    wrong = [name for number, name in enumerate(names) if not _fits_line(name) or read.get(number, name) != name]
    wrong += [name for number, name in enumerate(names) if number not in read]
    if wrong:
        raise DataError(
            f"{graph_name}: {kind} {shown(wrong[0])} cannot stand in {path.name}, which holds a line for each name, "
            "without spaces around it; rename it, or write an event table (--out NAME.parquet)"
        )


def _fits_line(name: str) -> bool:
    # Besides line ends, readers refuse NUL and, at the end of a file, Ctrl-Z.
    return bool(name) and name == name.strip() and not any(letter in name for letter in "\n\r\0\x1a")


def _name_series(names: tuple[str, ...] | None, size: int, kind: str, graph_name: str) -> "pl.Series":
    """A polars Series of the name of every id."""
    import polars as pl

    names = tuple(map(str, range(size))) if names is None else names
    _check_distinct(names, kind, graph_name)
    return pl.Series(names, dtype=pl.String)


def _check_distinct(names: tuple[str, ...], kind: str, graph_name: str) -> None:
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if first.setdefault(name, number) != number:
            raise DataError(
                f"{graph_name}: {kind} {shown(name)} is the name of {first[name]} and of {number}; give each a name of "
                "its own"
            )


@contextmanager
def _moved_away(out: Path, old: Path) -> Iterator[None]:
    """Move what is at `out` to `old`, and back if the block fails."""
    exists = os.path.lexists(out)
    if exists:
        os.rename(out, old)
    try:
        yield
    except BaseException:
        # Ctrl-C between the two renames must bring the old folder back, too.
        if exists:
            os.rename(old, out)
        raise
