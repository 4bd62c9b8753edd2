"""What the rows of a file of scores name, as ids of a graph; the first row that names nothing is refused."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.occurrences import find
from tirgn_eqx.data.names import find_names, fold_name
from tirgn_eqx.data.times import parse_snapshot_time
from tirgn_eqx.errors import DataError, nearest, shown
from tirgn_eqx.evaluate.score_files import ScoreFile

if TYPE_CHECKING:
    import polars as pl

Rows = Int64[np.ndarray, " row"]


class RowQueries(NamedTuple):
    """The query (subject, relation, ?) of every row at a snapshot, int64 `(row,)` each. Relations from `num_relations`
    on are inverse: they predict the subject, and their `subject` is the object of the fact."""

    subject: Rows
    relation: Rows
    snapshot: Rows


def refuse_first(path: Path, bad: Bool[np.ndarray, " row"], say: Callable[[int], str]) -> None:
    """**Raises:** DataError with the number of the first bad row (from 1), what `say` says of it, and how many are."""
    if bad.any():
        number = int(bad.sum())
        more = f"; {number:,} rows are like that" if number > 1 else ""
        row = int(bad.argmax())
        raise DataError(f"{path}: row {row + 1:,}: {say(row)}{more}")


def read_row_queries(file: ScoreFile, graph: TemporalGraph) -> RowQueries:
    """The queries of a file by id.

    **Arguments:** `graph`: with the ids that the file means, see `ScoreFile.metadata`.

    **Raises:** DataError for a name, id or time that the graph does not have, and for a row that predicts not exactly
    one of subject and object.
    """
    relations, path = graph.num_relations, file.path
    subject = read_ids(file, "subject", graph.entity_names, graph.num_entities)
    object_ = read_ids(file, "object", graph.entity_names, graph.num_entities)
    # Other tools number inverse relations, too, as this package does.
    relation = read_ids(file, "relation", graph.relation_names, 2 * relations)
    refuse_first(path, relation < 0, lambda row: "has no relation, which is not predicted here")
    open_parts = (subject < 0).astype(int) + (object_ < 0)
    refuse_first(
        path,
        open_parts != 1,
        lambda row: (
            "subject and object are both " + ("empty" if open_parts[row] else "given") + "; leave the part "
            "empty that is predicted" + ("" if open_parts[row] else ", and give the answer of a rank as answer")
        ),
    )
    inverse = subject < 0
    refuse_first(
        path,
        inverse & (relation >= relations),
        lambda row: (
            f"predicts the subject of the inverse relation {relation[row]}; give the relation itself, below "
            f"{relations:,}"
        ),
    )
    snapshot = _snapshots(file, graph)
    return RowQueries(np.where(inverse, object_, subject), relation + relations * inverse, snapshot)


def read_ids(file: ScoreFile, name: str, names: tuple[str, ...] | None, size: int) -> Rows:
    """The ids in a column, -1 where it is empty: text is looked up exactly as it is, whole numbers are ids.

    **Arguments:** `name`: of the column; `names`: by id, None where there are none; `size`: the number of ids.

    **Raises:** DataError with the row of the first that does not exist.
    """
    import polars as pl

    column, kind = file.columns[name], "relation" if name == "relation" else "entity"
    column = _whole_numbers(column)
    if column.dtype == pl.Null or column.dtype.is_integer():
        ids = column.cast(pl.Int64).fill_null(-1).to_numpy()
        bad = (ids < -1) | (ids >= size)
        refuse_first(file.path, bad, lambda row: f"{name} {ids[row]} is no id; ids are 0 to {size - 1:,}")
        return ids
    if not isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum):
        raise DataError(f"{file.path}: column {name} has type {str(column.dtype)[:80]}; give names or ids")
    known = names or tuple(map(str, range(size)))
    if len(set(known)) != len(known):
        raise DataError(f"{file.path}: column {name} holds names, of which the data have equal ones; give ids")
    # A cell of spaces alone is empty; outer spaces may belong to a name.
    text = column.cast(pl.String)
    empty = (text.str.strip_chars() == "").fill_null(True).to_numpy()
    distinct = text.drop_nulls().unique()
    ids = text.replace_strict(distinct, find_names(distinct.to_list(), known), default=-1, return_dtype=pl.Int64)
    ids = np.where(empty, -1, ids.to_numpy())

    def unknown(row: int) -> str:
        folded = {fold_name(one): one for one in known}
        close = folded.get(fold_name(text[row]))
        hint = nearest(text[row], known) if close is None else f"; did you mean {close!r}?"
        return f"{kind} {shown(text[row])} is not known{hint}"

    refuse_first(file.path, (ids < 0) & ~empty, unknown)
    return ids


def _whole_numbers(column: "pl.Series") -> "pl.Series":
    """Floats that are all whole as integers: where a number is missing, some tools write the others as floats."""
    import polars as pl

    if not column.dtype.is_float():
        return column
    known = column.fill_nan(None)
    whole = bool((known.drop_nulls() == known.drop_nulls().round()).all())
    return known.cast(pl.Int64, strict=False) if whole else column


def _snapshots(file: ScoreFile, graph: TemporalGraph) -> Rows:
    """The snapshot of every row by its time."""
    import polars as pl

    column = _whole_numbers(file.columns["time"])
    if column.dtype.is_integer():
        text, times = column, column.cast(pl.Int64).fill_null(np.iinfo(np.int64).min).to_numpy()
    elif isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum | pl.Date | pl.Datetime):
        text = column.cast(pl.String)

        @functools.cache
        def parse(value: str) -> int | None:
            try:
                return parse_snapshot_time(graph, value)
            except DataError:
                return None

        distinct = text.drop_nulls().unique()
        found = [np.iinfo(np.int64).min if (time := parse(value)) is None else time for value in distinct.to_list()]
        times = text.replace_strict(distinct, found, default=np.iinfo(np.int64).min, return_dtype=pl.Int64).to_numpy()
    else:
        raise DataError(f"{file.path}: column time has type {str(column.dtype)[:80]}; give dates or whole numbers")
    snapshot = find(graph.times, times)
    first, last = int(graph.times[0]), int(graph.times[-1])
    refuse_first(
        file.path,
        snapshot < 0,
        lambda row: (
            f"time {shown(text[row])} is no snapshot of {graph.name}; they go from {first} to {last}"
            + ("" if graph.time_unit is None else " in its unit of time, or as dates")
        ),
    )
    return snapshot
