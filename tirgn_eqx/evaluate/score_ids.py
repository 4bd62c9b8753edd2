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
_NO_TIME = int(np.iinfo(np.int64).min)


class RowQueries(NamedTuple):
    """The query (subject, relation, ?) of every row at a snapshot, int64 `(row,)` each. Relations from `num_relations`
    on are inverse: they predict the subject, and their `subject` is the object of the fact. The snapshot is -1 where
    there are no facts at the time of a row."""

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

    **Raises:** DataError for a name or id that the graph does not have, for what is no time, and for a row that
    predicts not exactly one of subject and object.
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

    kind = "relation" if name == "relation" else "entity"
    column = _whole_numbers(file, name, f"ids are 0 to {size - 1:,}")
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


def _whole_numbers(file: ScoreFile, name: str, advice: str) -> "pl.Series":
    """A column, whole numbers as int64: also floats that are all whole, because some tools write the others as floats
    where a number is missing.

    **Raises:** DataError with the row of the first number that int64 does not hold, such as an infinite one; `advice`:
    what to give instead.
    """
    import polars as pl

    column = file.columns[name]
    known = column.fill_nan(None) if column.dtype.is_float() else column
    whole = known.dtype.is_float() and bool((known.drop_nulls() == known.drop_nulls().round()).all())
    if not (whole or known.dtype.is_integer()):
        return column
    found = known.cast(pl.Int64, strict=False)
    lost = (found.is_null() & known.is_not_null()).to_numpy()
    refuse_first(file.path, lost, lambda row: f"{name} {known[row]} is no whole number of 64 bits; {advice}")
    return found


def _snapshots(file: ScoreFile, graph: TemporalGraph) -> Rows:
    """The snapshot of every row by its time, -1 for a time at which the graph has no facts.

    Such a row is of a query that is not asked, as one at another snapshot is: a comparison leaves facts out that one of
    the models cannot rank, and with them, it may be, a whole snapshot.
    """
    import polars as pl

    column = _whole_numbers(file, "time", "give dates or whole numbers")
    if column.dtype.is_integer():
        text, times = column, column.fill_null(_NO_TIME).to_numpy()
    elif isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum | pl.Date | pl.Datetime):
        text = column.cast(pl.String)

        @functools.cache
        def parse(value: str) -> int | None:
            try:
                return parse_snapshot_time(graph, value)
            except DataError:
                return None

        distinct = text.drop_nulls().unique()
        found = [_NO_TIME if (time := parse(value)) is None else time for value in distinct.to_list()]
        times = text.replace_strict(distinct, found, default=_NO_TIME, return_dtype=pl.Int64).to_numpy()
    else:
        raise DataError(f"{file.path}: column time has type {str(column.dtype)[:80]}; give dates or whole numbers")
    refuse_first(
        file.path,
        times == _NO_TIME,
        lambda row: (
            ("has no time" if text[row] is None else f"time {shown(text[row])} is none that can be read")
            + f"; {describe_span(graph)}"
        ),
    )
    return find(graph.times, times)


def describe_span(graph: TemporalGraph) -> str:
    """Between which times the snapshots of a graph are, for messages."""
    unit = "" if graph.time_unit is None else " in its unit of time, or as dates"
    return f"the snapshots of {graph.name} go from {int(graph.times[0])} to {int(graph.times[-1])}{unit}"
