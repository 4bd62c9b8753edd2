"""Event tables of every kind as one polars frame with four columns: files, folders of parts, DataFrames."""

import contextlib
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tirgn_eqx.data.readers.table_files import ACCEPTED_TABLES, COUNT, Empty, Part, PartReader, find_parts
from tirgn_eqx.errors import ConfigError, DataError, DataWarning, nearest, shown
from tirgn_eqx.storage.table_probe import kept
from tirgn_eqx.storage.untrusted import Unsound, told

COLUMNS = ("entity1", "relation", "entity2", "timestamp")
_NEED = f"expected {ACCEPTED_TABLES}, with the columns {', '.join(COLUMNS)}"
_DROP = "drop or fill these rows, or set them aside with --skip-bad-rows"
_FORM = "write it like --columns entity1=subject,relation=verb,entity2=object,timestamp=day"
_FRAME = "the table"  # the name of a DataFrame in messages
# Well-known names of the columns. Those of entities come in pairs: a `source` without a `target` may be where an event
# was reported.
_PAIRS = [
    tuple(pair.split("/"))
    for pair in (
        "entity1/entity2 subject/object subj/obj source/target src/dst src/tgt source/destination src/dest head/tail "
        "h/t s/o actor1/actor2 actor1name/actor2name actor1_name/actor2_name sender/receiver sender/recipient from/to "
        "subject_name/object_name source_name/target_name"
    ).split()
]
_RELATIONS = (
    "relation rel r predicate pred p relation_type edge edge_type event_type event eventcode event_code relation_name "
    "cameo_code label verb interaction"
).split()
_TIMES = (
    "timestamp time datetime date t ts event_time event_date dateadded when day date_time created_at occurred_at"
).split()
_LAST_TIMES = ["sqldate", "year"]


# --- which columns ---------------------------------------------------------------------------------------------------


def parse_columns(columns: str | Mapping[str, str] | None) -> dict[str, str]:
    """`entity1=subject,relation=verb` as names by role; roles that are left out are found by well-known names.

    **Raises:** ConfigError for a role that does not exist, or is given twice.
    """
    if columns is None or isinstance(columns, Mapping):
        pairs = list((columns or {}).items())
    else:
        pairs = []
        for part in columns.split(","):
            role, equals, name = (word.strip() for word in part.partition("="))
            if part.strip() and not (equals and name):
                raise ConfigError(f"columns: {shown(part)} is not role=column; {_FORM}")
            pairs += [(role, name)] if part.strip() else []
    names: dict[str, str] = {}
    for role, name in pairs:
        if role not in COLUMNS:
            known = ", ".join(COLUMNS)
            raise ConfigError(f"columns: {shown(role)} does not exist{nearest(role, COLUMNS)}; known: {known}; {_FORM}")
        if role in names:
            raise ConfigError(f"columns: {role} is given twice; {_FORM}")
        names[role] = str(name)
    return names


def _find_columns(columns: Sequence[str], chosen: Mapping[str, str], where: str) -> dict[str, str]:
    """The column of each role: as `chosen`, else of the role's own name, else the one with a well-known name.

    **Arguments:** `columns`: those of the table; `chosen`: as `parse_columns` gives them; `where`: the table, for
    messages.

    **Raises:** DataError for a role without a column, or with several.
    """
    for role, name in chosen.items():
        if name not in columns:
            hint = nearest(name, columns)
            raise DataError(f"{where}: has no column {shown(name)} for {role}{hint}; found {_list(columns)}; {_FORM}")
    found = dict(chosen)
    free = [name for name in columns if name not in found.values()]
    # The names of the roles go before all others, so that a table with exactly these is never unclear.
    found |= {role: role for role in COLUMNS if role not in found and role in free}
    names: dict[str, list[str]] = {}
    for name in free:
        if name not in found.values():
            # Columns that differ in case only stand together here, and `_only` asks which one is meant.
            names.setdefault(name.strip().lower(), []).append(name)
    _find_entities(found, names, where)
    # A day or a year counts only where no finer time was found: GDELT has `SQLDATE`, `Year` and `DATEADDED`.
    for role, aliases in (("relation", _RELATIONS), ("timestamp", _TIMES), ("timestamp", _LAST_TIMES)):
        fitting = [name for alias in aliases for name in names.get(alias, [])]
        if role not in found and fitting:
            found[role] = _only(role, names.get(role) or fitting, where)
    missing = [role for role in COLUMNS if role not in found]
    if missing:
        raise DataError(
            f"{where}: missing columns {', '.join(missing)}; found {_list(columns)}; rename them, or say which they "
            f"are with --columns {missing[0]}=NAME; {_NEED}"
        )
    twice = [name for name in found.values() if list(found.values()).count(name) > 1]
    if twice:
        raise DataError(f"{where}: column {shown(twice[0])} cannot have two roles; {_FORM}")
    return {role: found[role] for role in COLUMNS}


def _find_entities(found: dict[str, str], names: dict[str, list[str]], where: str) -> None:
    """Add the columns of the entities, from `names` by their lower-case form, to those that are `found`."""
    for role, other, place in (("entity1", "entity2", 0), ("entity2", "entity1", 1)):
        if role in found and other not in found:
            for pair in _PAIRS:
                if pair[place] == found[role].strip().lower() and pair[1 - place] in names:
                    found[other] = _only(other, names[pair[1 - place]], where)
                    break
            return
    if "entity1" in found:
        return
    pairs = [pair for pair in _PAIRS if pair[0] in names and pair[1] in names]
    # `Entity1` and `Entity2` are clear, whatever other pairs there are.
    if len(pairs) > 1 and _PAIRS[0] in pairs:
        pairs = [_PAIRS[0]]
    if len(pairs) > 1:
        candidates = [f"{names[first][0]} and {names[second][0]}" for first, second in pairs]
        raise DataError(
            f"{where}: several pairs of columns may be the entities: {'; '.join(candidates[:4])}; say which with "
            f"--columns entity1={names[pairs[0][0]][0]},entity2={names[pairs[0][1]][0]}"
        )
    if pairs:
        # What is the tail of a head, such as `t`, is not the time as well.
        for role, name in zip(("entity1", "entity2"), pairs[0]):
            found[role] = _only(role, names.pop(name), where)


def _only(role: str, fitting: Sequence[str], where: str) -> str:
    if len(fitting) > 1:
        raise DataError(
            f"{where}: columns {_list(fitting)} may each be the {role}; say which with --columns {role}={fitting[0]}"
        )
    return fitting[0]


def _list(names: Iterable[str]) -> str:
    """The first few names of columns."""
    names = [name if len(name) <= 40 else f"{name[:37]}..." for name in names]
    return ", ".join(names[:12]) + (f" and {len(names) - 12:,} more" if len(names) > 12 else "") or "none"


# --- the table -------------------------------------------------------------------------------------------------------


class EventTable(NamedTuple):
    """The rows of a table.

    **Arguments:** `frame`: a polars DataFrame of `COLUMNS`; names as text, neither null nor empty; `source`: the number
    of each row in what was read, from 0, None where they are the same; `lines`, `blank`, `bad`: rows in all, empty
    lines, and rows left out; `columns`: the column taken for each role; `starts`, `names`: the first row of each part,
    and its name.
    """

    frame: Any
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


def is_frame(source: Any) -> bool:
    """Whether a value is a DataFrame of polars or pandas, or like one."""
    return not isinstance(source, str | bytes | os.PathLike) and "columns" in dir(source)


def read_table(source: Any, columns: str | Mapping[str, str] | None = None, skip_bad_rows: bool = False) -> EventTable:
    """The four columns of a table.

    **Arguments:** `source`: a file, a folder of parts, or a DataFrame; `columns`: names by role, see `parse_columns`;
    `skip_bad_rows`: leave rows out that lack a name, instead of refusing them.

    **Raises:** DataError for what is no such table, with file, column and row.
    """
    chosen = parse_columns(columns)
    where = _FRAME if is_frame(source) else str(source)
    table = _from_frame(source, chosen) if is_frame(source) else _from_files(Path(source), chosen)
    if table.frame.height == 0:
        raise DataError(f"{where}: no events in {'it' if is_frame(source) else 'the file'}; {_NEED}")
    return _drop_incomplete(table, where, skip_bad_rows)


class _EmptyPart(DataError):
    """A part without a single byte."""


def _from_files(path: Path, chosen: dict[str, str]) -> EventTable:
    import polars as pl

    parts = find_parts(path, _NEED)
    frames, columns, lines = [], {}, 0
    starts, blank, read = [], [], []
    # All parts are probed by one helper process.
    with kept() if len(parts) > 1 or parts[0].form != "parquet" else contextlib.nullcontext():
        for part in parts:
            try:
                frame, columns = _read_part(part, chosen, columns)
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
            frames.append(frame.select(COLUMNS))
    if not read:
        raise DataError(f"{path}: no events in its parts; {_NEED}")
    frame = frames[0] if len(frames) == 1 else _join(frames, read)
    table = EventTable(frame, None, lines, 0, 0, columns, starts, [part.name for part in read])
    empty = np.concatenate(blank)
    return table.without(empty)._replace(blank=int(empty.sum()), bad=0) if empty.any() else table


def _read_part(part: Part, chosen: dict[str, str], before: dict[str, str]) -> tuple[Any, dict[str, str]]:
    """One part with its columns by role, and which they are; every part has those of the first."""
    import polars as pl

    by_position = len(chosen) == len(COLUMNS) and all(name.isdecimal() for name in chosen.values())
    try:
        # The helper process checks these in one pass. A column that turns out to be another one costs a second pass.
        likely = [*COLUMNS, *chosen.values(), *before.values()]
        reader = PartReader(part, likely, header=not (part.form == "csv" and by_position))
        found = _find_columns(reader.columns, before or chosen, part.name)
        frame = reader.read(list(found.values()))
    except (Unsound, OSError) as error:
        kinds = {"parquet": "parquet file", "csv": "CSV table", "ndjson": "NDJSON table", "arrow": "Arrow file"}
        refused = _EmptyPart if isinstance(error, Empty) else DataError
        advice = _NEED if part.form in ("parquet", "arrow") else "correct it"
        raise refused(f"{part.name}: not a readable {kinds[part.form]} ({told(error)}); {advice}") from error
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{part.name}: not a readable table ({told(error)[:200]}); {_NEED}") from error
    frame = frame.rename({name: role for role, name in found.items() if name != role})
    # Before parts are joined: one may have numbers for names where another has text.
    frame = _with_text_names(frame, part.name, found)
    if part.form == "csv":
        _check_line_ends(frame, part.name)
    return frame, found


def _join(frames: list[Any], parts: list[Part]) -> Any:
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


def _from_frame(source: Any, chosen: dict[str, str]) -> EventTable:
    import polars as pl

    if isinstance(source, pl.DataFrame | pl.LazyFrame):
        lazy = source.lazy()
        found = _find_columns(lazy.collect_schema().names(), chosen, _FRAME)
        frame = lazy.select(**{role: pl.col(name) for role, name in found.items()}).collect()
    else:
        names = {str(name): name for name in source.columns}
        found = _find_columns(list(names), chosen, _FRAME)
        frame = pl.DataFrame({role: _from_pandas(source[names[name]], role, name) for role, name in found.items()})
    frame = _with_text_names(frame, _FRAME, found)
    return EventTable(frame, None, frame.height, 0, 0, found, [0], [_FRAME])


def _from_pandas(column: Any, role: str, name: str) -> Any:
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


def _with_text_names(frame: Any, where: str, found: dict[str, str]) -> Any:
    """`frame` with its names as text, and times that are bytes too."""
    import polars as pl

    text = [role for role in COLUMNS if role != "timestamp" or frame.schema[role] == pl.Binary]
    return frame.with_columns(_to_text(frame[role], where, found[role]) for role in text)


def _to_text(column: Any, where: str, name: str) -> Any:
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
        raise DataError(f"{where}: all {table.lines:,} rows lack a name or a time; {_NEED}")
    return table.without(bad)


def _check_line_ends(frame: Any, where: str) -> None:
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
