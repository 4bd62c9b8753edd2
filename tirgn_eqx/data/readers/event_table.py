"""Event tables of every kind as one polars frame with four columns: files, folders of parts, DataFrames."""

import contextlib
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeGuard, cast

import numpy as np

from tirgn_eqx.data.readers.table_columns import COLUMNS, NEED, find_columns, parse_columns
from tirgn_eqx.data.readers.table_files import COUNT, Empty, Part, PartReader, find_parts
from tirgn_eqx.errors import DataError, DataWarning, shown
from tirgn_eqx.storage.table_probe import kept
from tirgn_eqx.storage.untrusted import Unsound, told

if TYPE_CHECKING:
    import polars as pl

_DROP = "drop or fill these rows, or set them aside with --skip-bad-rows"
_FRAME = "the table"  # the name of a DataFrame in messages


class EventTable(NamedTuple):
    """The rows of a table.

    **Arguments:** `frame`: a polars DataFrame of `COLUMNS` and of the columns that were asked for beside them; names as
    text, neither null nor empty; `source`: the number
    of each row in what was read, from 0, None where they are the same; `lines`, `blank`, `bad`: rows in all, empty
    lines, and rows left out; `columns`: the column taken for each role; `starts`, `names`: the first row of each part,
    and its name.
    """

    frame: "pl.DataFrame"
    source: np.ndarray | None
    lines: int
    blank: int
    bad: int
    columns: dict[str, str]
    starts: list[int]
    names: list[str]

    def row_name(self, number: int) -> str:
        """How a message names a row of `frame`."""
        place = number if self.source is None else int(self.source[number])
        if len(self.starts) == 1:
            return f"row {place + 1:,}"
        part = int(np.searchsorted(self.starts, place, side="right")) - 1
        return f"row {place - self.starts[part] + 1:,} of {os.path.basename(self.names[part])}"

    def without(self, bad: np.ndarray) -> "EventTable":
        """The table without the rows of `frame` that are `bad`, bool `(row,)`."""
        keep = np.flatnonzero(~bad)
        # Numbers of rows in the source are passed on, so that messages after several removals name the right one.
        source = keep if self.source is None else self.source[keep]
        return self._replace(frame=self.frame.filter(~bad), source=source, bad=self.bad + int(bad.sum()))


class Frame(Protocol):
    """A DataFrame of pandas, or like one."""

    @property
    def columns(self) -> Iterable[object]: ...

    # `Any`: the columns of other libraries, whose types are not known here.
    def __getitem__(self, name: Any, /) -> Any: ...


def is_frame(source: object) -> "TypeGuard[pl.DataFrame | pl.LazyFrame | Frame]":
    """Whether a value is a DataFrame of polars or pandas, or like one."""
    # Not `hasattr`: polars resolves the schema of a LazyFrame for its `columns`, and warns.
    return not isinstance(source, str | bytes | os.PathLike) and "columns" in dir(source)


def read_table(
    source: object,
    columns: str | Mapping[str, str] | None = None,
    skip_bad_rows: bool = False,
    beside: Sequence[str] = (),
) -> EventTable:
    """The four columns of a table.

    **Arguments:** `source`: a file, a folder of parts, or a DataFrame; `columns`: names by role, see `parse_columns`;
    `skip_bad_rows`: leave rows out that lack a name, instead of refusing them; `beside`: further columns to read, as
    text, in which values may be missing.

    **Raises:** DataError for what is no such table, with file, column and row.
    """
    chosen = parse_columns(columns)
    if is_frame(source):
        where, what, table = _FRAME, "it", _from_frame(source, chosen, beside)
    else:
        path = Path(cast("str | os.PathLike[str]", source))
        where, what, table = str(source), "the file", _from_files(path, chosen, beside)
    if table.frame.height == 0:
        raise DataError(f"{where}: no events in {what}; {NEED}")
    return _drop_incomplete(table, where, skip_bad_rows)


class _EmptyPart(DataError):
    """A part without a single byte."""


def _from_files(path: Path, chosen: dict[str, str], beside: Sequence[str]) -> EventTable:
    import polars as pl

    parts = find_parts(path, NEED)
    frames, columns, lines = [], {}, 0
    starts, blank, read = [], [], []
    # All parts are probed by one helper process.
    with kept() if len(parts) > 1 or parts[0].form != "parquet" else contextlib.nullcontext():
        for part in parts:
            try:
                frame, columns = _read_part(part, chosen, columns, beside)
            except _EmptyPart:
                if len(parts) == 1:
                    raise
                continue
            empty = np.zeros(frame.height, bool)
            if COUNT in frame.columns:
                # A line that is empty has no value in any field.
                is_empty = pl.all_horizontal(pl.col(COLUMNS).is_null()) & (pl.col(COUNT) == 0)
                empty = frame.select(is_empty).to_series().to_numpy()
            read.append(part)
            starts.append(lines)
            blank.append(empty)
            lines += frame.height
            frames.append(frame.select(*COLUMNS, *beside))
    if not read:
        raise DataError(f"{path}: no events in its parts; {NEED}")
    frame = frames[0] if len(frames) == 1 else _join(frames, read)
    table = EventTable(frame, None, lines, 0, 0, columns, starts, [part.name for part in read])
    empty = np.concatenate(blank)
    return table.without(empty)._replace(blank=int(empty.sum()), bad=0) if empty.any() else table


def _read_part(
    part: Part, chosen: dict[str, str], before: dict[str, str], beside: Sequence[str]
) -> "tuple[pl.DataFrame, dict[str, str]]":
    """One part with its columns by role, and which they are; every part has those of the first."""
    import polars as pl

    by_position = len(chosen) == len(COLUMNS) and all(name.isdecimal() for name in chosen.values())
    try:
        # The helper process checks these in one pass. A column that turns out to be another one costs a second pass.
        likely = [*COLUMNS, *chosen.values(), *before.values(), *beside]
        reader = PartReader(part, likely, header=not (part.form == "csv" and by_position))
        found = find_columns(reader.columns, before or chosen, part.name)
        _check_beside(beside, reader.columns, part.name)
        frame = reader.read([*found.values(), *beside])
    except (Unsound, OSError) as error:
        kinds = {"parquet": "parquet file", "csv": "CSV table", "ndjson": "NDJSON table", "arrow": "Arrow file"}
        refused = _EmptyPart if isinstance(error, Empty) else DataError
        advice = NEED if part.form in ("parquet", "arrow") else "correct it"
        raise refused(f"{part.name}: not a readable {kinds[part.form]} ({told(error)}); {advice}") from error
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{part.name}: not a readable table ({told(error)[:200]}); {NEED}") from error
    frame = frame.rename({name: role for role, name in found.items() if name != role})
    # Before parts are joined: one may have numbers for names where another has text.
    frame = _with_text_names(frame, part.name, found, beside)
    if part.form == "csv":
        _check_line_ends(frame, part.name)
    return frame, found


def _join(frames: "list[pl.DataFrame]", parts: list[Part]) -> "pl.DataFrame":
    import polars as pl

    kinds = [frame.schema["timestamp"] for frame in frames]
    # `vertical_relaxed` would also join dates with numbers or text, and turn the dates into these.
    odd = next((number for number, kind in enumerate(kinds) if kind.is_temporal() != kinds[0].is_temporal()), None)
    try:
        if odd is not None:
            raise pl.exceptions.SchemaError("not the same type")
        return pl.concat(frames, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        odd = odd or next((number for number, kind in enumerate(kinds) if kind != kinds[0]), 0)
        raise DataError(
            f"{parts[odd].name}: column timestamp has type {str(kinds[odd])[:80]}, but {str(kinds[0])[:80]} in "
            f"{os.path.basename(parts[0].name)}; write all parts alike"
        ) from error


def _from_frame(
    source: "pl.DataFrame | pl.LazyFrame | Frame", chosen: dict[str, str], beside: Sequence[str]
) -> EventTable:
    import polars as pl

    if isinstance(source, pl.DataFrame | pl.LazyFrame):
        lazy = source.lazy()
        names = lazy.collect_schema().names()
        found = find_columns(names, chosen, _FRAME)
        _check_beside(beside, names, _FRAME)
        frame = lazy.select(*beside, **{role: pl.col(name) for role, name in found.items()}).collect()
    else:
        names = {str(name): name for name in source.columns}
        found = find_columns(list(names), chosen, _FRAME)
        _check_beside(beside, list(names), _FRAME)
        taken = found | {name: name for name in beside}
        frame = pl.DataFrame({role: _from_pandas(source[names[name]], role, name) for role, name in taken.items()})
    frame = _with_text_names(frame, _FRAME, found, beside)
    return EventTable(frame, None, frame.height, 0, 0, found, [0], [_FRAME])


def _from_pandas(column: Any, role: str, name: str) -> "pl.Series":
    """A column of pandas, or like one, as a polars Series with null for pandas' missing values."""
    import polars as pl

    zone = getattr(column.dtype, "tz", None)
    if zone is not None:
        # Numpy has no zones: `to_numpy` would give an array of Python objects.
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    values = column.to_numpy()
    if values.dtype.kind != "O":
        return pl.Series(role, values, nan_to_null=True)
    # None, NaN, NaT and NA are the values that do not equal themselves, or say so in their name.
    rows = [None if value is None or type(value).__name__ in ("NAType", "NaTType") else value for value in values]
    rows = [None if isinstance(value, float) and value != value else value for value in rows]
    try:
        return pl.Series(role, rows, strict=True)
    except (TypeError, pl.exceptions.PolarsError) as error:
        kinds = sorted({type(value).__name__ for value in rows if value is not None})
        raise DataError(
            f"the table: column {name} has values of several types ({', '.join(kinds[:4])}); make them all text"
        ) from error


def _check_beside(beside: Sequence[str], columns: Sequence[str], where: str) -> None:
    if missing := [name for name in beside if name not in columns]:
        raise DataError(
            f"{where}: has no column {', '.join(missing)}, of which a static graph is made; make the table with `tirgn "
            "data ingest --attributes`, or take --static-words name"
        )


def _with_text_names(frame: "pl.DataFrame", where: str, found: dict[str, str], beside: Sequence[str]) -> "pl.DataFrame":
    """`frame` with its names as text, and times that are bytes too."""
    import polars as pl

    text = [role for role in COLUMNS if role != "timestamp" or frame.schema[role] == pl.Binary]
    return frame.with_columns(_to_text(frame[role], where, found.get(role, role)) for role in (*text, *beside))


def _to_text(column: "pl.Series", where: str, name: str) -> "pl.Series":
    """Names as text: text, whole numbers, bytes of UTF-8, and whole floats. **Raises:** DataError for any others."""
    import polars as pl

    kind = column.dtype
    refused = f"{where}: column {name}"
    if isinstance(kind, pl.Binary):
        try:
            return column.cast(pl.String)
        except pl.exceptions.PolarsError:
            for number, value in enumerate(column):
                try:
                    (value or b"").decode()
                except UnicodeDecodeError:
                    raise DataError(
                        f"{refused} has bytes that are not UTF-8, first {shown(value)} in row {number + 1} (counted "
                        "from 1); write it as text"
                    ) from None
            raise
    if kind.is_float():
        values = column.to_numpy()
        # Pandas turns whole numbers with gaps among them into floats, which from 2^53 on do not tell neighbours apart.
        bad = ~np.isnan(values) & ~((values == np.floor(values)) & (np.abs(values) < 2.0**53))
        if bad.any():
            number = int(np.argmax(bad))
            raise DataError(
                f"{refused} has type {kind} with values that are no whole numbers, first {values[number]} in row "
                f"{number + 1}; expected names as text, or whole numbers"
            )
        return column.fill_nan(None).cast(pl.Int64).cast(pl.String)
    if isinstance(kind, pl.Decimal) and kind.scale == 0:
        # A decimal has up to 38 digits, which 64 bits do not hold.
        return column.cast(pl.Int128).cast(pl.String)
    if isinstance(kind, pl.String | pl.Categorical | pl.Enum | pl.Null) or kind.is_integer():
        return column.cast(pl.String)
    raise DataError(f"{refused} has type {str(kind)[:80]}; expected names as text, or whole numbers")


def _drop_incomplete(table: EventTable, where: str, skip: bool) -> EventTable:
    """The table without rows that lack a name or a time. **Raises:** DataError for one, unless they are skipped."""
    import polars as pl

    bad = np.zeros(table.frame.height, bool)
    for role in COLUMNS:
        column = table.frame[role]
        unusable = {"null": column.is_null()}
        if column.dtype == pl.String:
            unusable["empty"] = (column.str.strip_chars() == "").fill_null(False)
        for problem, found in unusable.items():
            if found.any() and not skip:
                raise DataError(
                    f"{where}: column {table.columns[role]} has {found.sum()} {problem} values, first in "
                    f"{table.row_name(found.arg_max() or 0)} (counted from 1); {_DROP}"
                )
            bad |= found.to_numpy()
    if not bad.any():
        return table
    if bad.all():
        raise DataError(f"{where}: all {table.lines:,} rows lack a name or a time; {NEED}")
    return table.without(bad)


def _check_line_ends(frame: "pl.DataFrame", where: str) -> None:
    """Warn of names with a line break, which most often is a quote that a text table does not close.

    **Raises:** DataError for a name with a carriage return, at which another program may end a line.
    """
    for role in COLUMNS[:3]:
        for mark, what in (("\r", "a carriage return"), ("\n", "a line break")):
            found = frame[role].str.contains(mark, literal=True).fill_null(False)
            if not found.any():
                continue
            number = int(found.arg_max() or 0)
            message = (
                f"{where}: {found.sum():,} names have {what} in them, first {shown(frame[role][number], 40)} as "
                f"{role} in row {number + 1:,}"
            )
            if mark == "\r":
                raise DataError(f"{message}; end all lines alike, with LF, CRLF or CR")
            warnings.warn(f"{message}; is a quote not closed?", DataWarning, stacklevel=6)
