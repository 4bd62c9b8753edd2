"""Files of queries, and of facts whose probability is asked for: CSV, as spreadsheets write it, and parquet."""

import csv
import functools
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tirgn_eqx.errors import DataError, shown
from tirgn_eqx.forecast.names import Names
from tirgn_eqx.storage.table_probe import check_parquet
from tirgn_eqx.storage.untrusted import Unsound, check_regular, told

if TYPE_CHECKING:
    import polars as pl

PARTS = ("subject", "relation", "object")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_FORM = f"the first line names the columns {', '.join(PARTS)}, which commas separate (also read: ; tab |)"
# How files begin that gzip, zstd, zlib and zip have written.
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"PK")
# Spreadsheets write "Unicode text" as UTF-16.
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def read_queries(path: Path) -> "pl.DataFrame":
    """Read a CSV or parquet file of queries, or of whole facts.

    A CSV file is UTF-8, with or without a byte order mark, or UTF-16 with one. Its lines may end in any way, and cells
    may be quoted. Commas, semicolons, tabs or bars separate cells, whichever separates the names of the columns in the
    first line. Further columns and empty lines are ignored.

    **Returns:** three text columns, in every row null in the part that is predicted; without any null where every row
    names a whole fact.

    **Raises:** DataError for any other file, with the row (counted from 1, below the names of the columns).
    """
    import polars as pl

    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            check_parquet(path)
            with path.open("rb") as file:  # polars takes no path whose bytes are not UTF-8
                table = pl.read_parquet(file)
        else:
            table = _read_csv(path)
    except (pl.exceptions.PolarsError, Unsound, OSError) as error:
        need = f"give CSV or parquet with {', '.join(PARTS)}"
        raise DataError(f"{path}: no table that can be read ({told(error)[:300]}); {need}") from error
    missing = [part for part in PARTS if part not in table.columns]
    if missing:
        raise DataError(
            f"{path}: missing columns {', '.join(missing)}; found {', '.join(table.columns[:12])[:300] or 'none'}; "
            "leave a column empty, do not leave it out"
        )
    for part in PARTS:
        kind = table.schema[part]
        if not (isinstance(kind, pl.String | pl.Categorical | pl.Enum | pl.Null) or kind.is_integer()):
            raise DataError(f"{path}: column {part} has type {str(kind)[:80]}; give names as text")
    # Outer spaces may belong to a name; a cell of spaces alone is empty.
    table = table.select(pl.col(part).cast(pl.String) for part in PARTS).with_columns(
        pl.when(pl.col(part).str.strip_chars() != "").then(pl.col(part)).alias(part) for part in PARTS
    )
    if table.height == 0:
        raise DataError(f"{path}: no queries in the file; give one in every row")
    empty = table.select(pl.sum_horizontal(pl.all().is_null().cast(pl.Int32))).to_series()
    # The first row says which of the two the file holds.
    expected = min(int(empty[0]), 1)
    bad = (empty != expected).arg_true()
    if len(bad):
        found, wanted = int(empty[int(bad[0])]), "expected one, the part to predict"
        if expected == 0 or found == 0:
            wanted = f"and row 1 has {expected}; queries, which leave one cell empty, and whole facts go in two files"
        raise DataError(f"{path}: row {bad[0] + 1} has {found} empty cells, {wanted}; {len(bad)} rows are like that")
    return table


def asks_for_facts(table: "pl.DataFrame") -> bool:
    """Whether the rows of a file of queries are whole facts, so that nothing but their probability is open."""
    return sum(table.null_count().row(0)) == 0


def check_names(path: Path, table: "pl.DataFrame", names: Names) -> None:
    """Look up every name of a table of queries.

    **Raises:** DataError with file and row for the first name that `names` does not find.
    """

    @functools.cache
    def error_of(part: str, name: str) -> DataError | None:
        try:
            names.id("relation" if part == "relation" else "entity", name)
        except DataError as error:
            return error

    # All rows are read before the error is raised, so that it can say how many are wrong.
    wrong: list[tuple[int, DataError]] = []
    for number, row in enumerate(table.select(PARTS).iter_rows(), start=1):
        errors = [error for part, name in zip(PARTS, row) if name is not None and (error := error_of(part, name))]
        wrong += [(number, error) for error in errors[:1]]
    if wrong:
        more = f"; {len(wrong):,} rows in all have such names" if len(wrong) > 1 else ""
        raise DataError(f"{path}: row {wrong[0][0]}: {wrong[0][1]}{more}")


def _read_csv(path: Path) -> "pl.DataFrame":
    """The columns of a CSV file as text."""
    import polars as pl

    text = _text_of(path)
    head = re.search(r"[^\r\n]*\S[^\r\n]*", text)
    if head is None:
        raise DataError(f"{path}: the file is empty; {_FORM}")
    separator = _separator(path, head[0])
    rows: list[list[str]] = []
    # Strict, because a quote that is never closed would otherwise take in the rest of the file without an error.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for row in reader:
            # A row of separators alone is kept, so that it is reported by its number as one with too many empty cells.
            if not any(cell.strip() for cell in row) and (len(row) < 2 or not rows):
                continue  # an empty line
            if rows and len(row) != len(rows[0]):
                raise DataError(
                    f"{path}: row {len(rows)} has {len(row)} cells, expected {len(rows[0])}, which "
                    f"{_SEPARATORS[separator]} separate; leave a cell empty, do not leave it out"
                )
            rows.append(row)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {told(error)}; close quotes where they end") from error
    names = [_column_name(name) for name in rows[0]]
    twice = [part for part in PARTS if names.count(part) > 1]
    if twice:
        raise DataError(f"{path}: two columns are called {twice[0]}; {_FORM}")
    columns: list[list[str]] = [list(column) for column in zip(*rows[1:])] or [[] for _ in names]
    chosen = {part: columns[names.index(part)] for part in PARTS if part in names}
    return pl.DataFrame(chosen, schema=dict.fromkeys(chosen, pl.String))


def _separator(path: Path, head: str) -> str:
    """The separator by which the first line names the columns."""
    found = {mark: {_column_name(name) for name in next(csv.reader([head], delimiter=mark))} for mark in _SEPARATORS}
    best = max(_SEPARATORS, key=lambda mark: len(found[mark] & set(PARTS)))
    missing = [part for part in PARTS if part not in found[best]]
    if not missing:
        return best
    if len(missing) == len(PARTS):
        raise DataError(f"{path}: the first line is {shown(head)}, which names no column; {_FORM}")
    raise DataError(
        f"{path}: missing columns {', '.join(missing)} in the first line, {shown(head)}; {_FORM}; leave a column "
        "empty, do not leave it out"
    )


def _column_name(name: str) -> str:
    return name.strip().strip("\"'").lower()


def _text_of(path: Path) -> str:
    """The text of a CSV file; compressed ones are refused, since their size when unpacked has no limit."""
    check_regular(path)
    content = path.read_bytes()
    if content.startswith(_COMPRESSED):
        raise Unsound("it is compressed; unpack it first")
    encoding = _BYTE_ORDER_MARKS.get(content[:2], "utf-8-sig")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        form = "UTF-8" if content[:2] not in _BYTE_ORDER_MARKS else "UTF-16"
        raise DataError(f"{path}:{line}: not {form} text; save it as CSV in UTF-8") from error
