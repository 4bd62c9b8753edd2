"""Event tables of every kind as one polars frame: files, folders of parts, DataFrames."""

import contextlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tirgn_eqx.data.readers.event_columns import COLUMNS, by_position, find_columns, parse_columns
from tirgn_eqx.data.readers.table_files import ACCEPTED, COUNT, Empty, Part, Reader, parts
from tirgn_eqx.errors import DataError, DataWarning, shown
from tirgn_eqx.storage.table_probe import kept
from tirgn_eqx.storage.untrusted import Unsound, told

NEED = f"expected {ACCEPTED}, with the columns {', '.join(COLUMNS)}"
DROP = "drop or fill these rows, or set them aside with --skip-bad-rows"


class EventTable(NamedTuple):
    """The rows of a table.

    **Arguments:** `frame`: the columns of `COLUMNS`; names as text, neither null nor empty; `source`: the number of
    each row in what was read, from 0; `lines`, `blank`, `bad`: rows in all, empty lines, and rows set aside;
    `columns`: the column taken for each role; `starts`, `names`: the first row of each part, and its name, for
    messages.
    """

    frame: Any
    source: np.ndarray | None
    lines: int
    blank: int
    bad: int
    columns: dict[str, str]
    starts: list[int]
    names: list[str]

    def row(self, number: int) -> str:
        """How a message names a row of `frame`."""
        place = number if self.source is None else int(self.source[number])
        if len(self.starts) == 1:
            return f"row {place + 1:,}"
        part = int(np.searchsorted(self.starts, place, side="right")) - 1
        return f"row {place - self.starts[part] + 1:,} of {os.path.basename(self.names[part])}"

    def without(self, bad: np.ndarray) -> "EventTable":
        """The table with rows of `frame` set aside."""
        import polars as pl

        keep = np.flatnonzero(~bad)
        source = keep if self.source is None else self.source[keep]
        return self._replace(frame=self.frame.filter(pl.Series(~bad)), source=source, bad=self.bad + int(bad.sum()))


def is_frame(source: Any) -> bool:
    """Whether a value is a DataFrame of polars or pandas, or like one."""
    return not isinstance(source, str | bytes | os.PathLike) and "columns" in dir(source)


def read_table(source: Any, columns: str | Mapping[str, str] | None = None, skip_bad_rows: bool = False) -> EventTable:
    """The four columns of a table.

    **Arguments:** `source`: a file, a folder of parts, or a DataFrame; `columns`: names by role, see `parse_columns`;
    `skip_bad_rows`: set rows aside that lack a name, instead of refusing them.

    **Raises:** DataError for what is no such table, with file, column and row.
    """
    chosen = parse_columns(columns)
    where = "the table" if is_frame(source) else str(source)
    table = _of_frame(source, chosen) if is_frame(source) else _of_files(Path(source), chosen)
    if table.frame.height == 0:
        raise DataError(f"{where}: no events in {'it' if is_frame(source) else 'the file'}; {NEED}")
    return _checked(table, where, skip_bad_rows)


class _EmptyPart(DataError):
    """A part without a single byte."""


def _of_files(path: Path, chosen: dict[str, str]) -> EventTable:
    import polars as pl

    files = parts(path, NEED)
    frames, columns, lines = [], {}, 0
    starts, blank, read = [], [], []
    with kept() if len(files) > 1 or files[0].form != "parquet" else contextlib.nullcontext():
        for part in files:
            try:
                frame, columns = _of_part(part, chosen, columns)
            except _EmptyPart:
                if len(files) == 1:
                    raise
                continue
            read.append(part)
            empty = np.zeros(frame.height, bool)
            if COUNT in frame.columns:
                # A line that is empty has no value in any field.
                empty = (
                    frame.select(pl.all_horizontal(pl.col(COLUMNS).is_null()) & (pl.col(COUNT) == 0))
                    .to_series()
                    .to_numpy()
                )
            starts.append(lines)
            blank.append(empty)
            lines += frame.height
            frames.append(frame.select(COLUMNS))
    if not read:
        raise DataError(f"{path}: no events in its parts; {NEED}")
    frame = frames[0] if len(frames) == 1 else _joined(frames, read)
    table = EventTable(frame, None, lines, 0, 0, columns, starts, [part.name for part in read])
    empty = np.concatenate(blank)
    return table.without(empty)._replace(blank=int(empty.sum()), bad=0) if empty.any() else table


def _of_part(part: Part, chosen: dict[str, str], before: dict[str, str]) -> tuple[Any, dict[str, str]]:
    """One part with its columns by role, and which they are; every part has those of the first."""
    try:
        likely = [*COLUMNS, *chosen.values(), *before.values()]
        reader = Reader(part, likely, header=not (part.form == "csv" and by_position(chosen)))
        found = find_columns(reader.columns, before or chosen, part.name, NEED)
        frame = reader.read(list(found.values()))
    except (Unsound, OSError) as error:
        kind = {"parquet": "parquet file", "csv": "CSV table", "ndjson": "NDJSON table", "arrow": "Arrow file"}[
            part.form
        ]
        refused = _EmptyPart if isinstance(error, Empty) else DataError
        need = f"; {NEED}" if part.form in ("parquet", "arrow") else "; correct it"
        raise refused(f"{part.name}: not a readable {kind} ({told(error)}){need}") from error
    except Exception as error:
        import polars as pl

        if not isinstance(error, pl.exceptions.PolarsError):
            raise
        raise DataError(f"{part.name}: not a readable table ({told(error)[:200]}); {NEED}") from error
    frame = frame.rename({name: role for role, name in found.items() if name != role})
    frame = _named(frame, part.name, found)
    if part.form == "csv":
        _check_line_ends(frame, part.name)
    return frame, found


def _joined(frames: list[Any], files: list[Part]) -> Any:
    import polars as pl

    kinds = [frame.schema["timestamp"] for frame in frames]
    odd = next((number for number, kind in enumerate(kinds) if kind.is_temporal() != kinds[0].is_temporal()), None)
    try:
        if odd is not None:
            raise pl.exceptions.SchemaError("not the same type")
        return pl.concat(frames, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        odd = odd or next((number for number, kind in enumerate(kinds) if kind != kinds[0]), 0)
        raise DataError(
            f"{files[odd].name}: column timestamp has type {str(kinds[odd])[:80]}, but {str(kinds[0])[:80]} in "
            f"{os.path.basename(files[0].name)}; write all parts alike"
        ) from error


def _of_frame(source: Any, chosen: dict[str, str]) -> EventTable:
    import polars as pl

    if isinstance(source, pl.LazyFrame):
        found = find_columns(source.collect_schema().names(), chosen, "the table", NEED)
        frame = source.select(**{role: pl.col(name) for role, name in found.items()}).collect()
    elif isinstance(source, pl.DataFrame):
        found = find_columns(source.columns, chosen, "the table", NEED)
        frame = source.select(**{role: pl.col(name) for role, name in found.items()})
    else:
        names = {str(name): name for name in source.columns}
        found = find_columns(list(names), chosen, "the table", NEED)
        frame = pl.DataFrame({role: _of_pandas(source[names[name]], role, name) for role, name in found.items()})
    frame = _named(frame, "the table", found)
    return EventTable(frame, None, frame.height, 0, 0, found, [0], ["the table"])


def _of_pandas(column: Any, role: str, name: str) -> Any:
    """A column of pandas, or like one, as a polars Series; what stands for no value there is null."""
    import polars as pl

    zone = getattr(column.dtype, "tz", None)
    if zone is not None:
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


def _named(frame: Any, where: str, found: dict[str, str]) -> Any:
    """`frame` with its names as text, and times that are bytes too."""
    import polars as pl

    text = [role for role in COLUMNS if role != "timestamp" or frame.schema[role] == pl.Binary]
    return frame.with_columns(_text(frame[role], where, found[role]) for role in text)


def _text(column: Any, where: str, name: str) -> Any:
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
        bad = ~np.isnan(values) & ~((values == np.floor(values)) & (np.abs(values) < 2.0**53))
        if bad.any():
            number = int(np.argmax(bad))
            raise DataError(
                f"{refused} has type {kind} with values that are no whole numbers, first {values[number]} in row "
                f"{number + 1}; expected names as text, or whole numbers"
            )
        return column.fill_nan(None).cast(pl.Int64).cast(pl.String)
    if isinstance(kind, pl.Decimal) and kind.scale == 0:
        return column.cast(pl.Int128).cast(pl.String)
    if isinstance(kind, pl.String | pl.Categorical | pl.Enum | pl.Null) or kind.is_integer():
        return column.cast(pl.String)
    raise DataError(f"{refused} has type {str(kind)[:80]}; expected names as text, or whole numbers")


def _checked(table: EventTable, where: str, skip: bool) -> EventTable:
    """The table without rows that lack a name or a time. **Raises:** DataError for one, unless they are set aside."""
    import polars as pl

    bad = np.zeros(table.frame.height, bool)
    for role in COLUMNS:
        column, name = table.frame[role], table.columns[role]
        unusable = {"null": column.is_null()}
        if column.dtype == pl.String:
            unusable["empty"] = (column.str.strip_chars() == "").fill_null(False)
        for what, found in unusable.items():
            rows = found.to_numpy()
            if rows.any() and not skip:
                raise DataError(
                    f"{where}: column {name} has {int(rows.sum())} {what} values, first in "
                    f"{table.row(int(np.argmax(rows)))} (counted from 1); {DROP}"
                )
            bad |= rows
    if not bad.any():
        return table
    if bad.all():
        raise DataError(f"{where}: all {table.lines:,} rows lack a name or a time; {NEED}")
    return table.without(bad)


def _check_line_ends(frame: Any, where: str) -> None:
    """Warns of names with a line break, which most often is a quote that a text table does not close.

    **Raises:** DataError for a name with a carriage return, at which another program may end a line.
    """
    for role in COLUMNS[:3]:
        for mark, what in (("\r", "a carriage return"), ("\n", "a line break")):
            found = frame[role].str.contains(mark, literal=True).fill_null(False)
            if not found.any():
                continue
            number = int(found.arg_max() or 0)
            message = (
                f"{where}: {int(found.sum()):,} names have {what} in them, first {shown(frame[role][number], 40)} as "
                f"{role} in row {number + 1:,}"
            )
            if mark == "\r":
                raise DataError(f"{message}; end all lines alike, with LF, CRLF or CR")
            warnings.warn(f"{message}; is a quote not closed?", DataWarning, stacklevel=6)
