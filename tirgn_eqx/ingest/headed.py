"""Lines of files whose first line names their columns: tab-separated text, in which a value may stand in quotes."""

import csv
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl

from tirgn_eqx.errors import shown
from tirgn_eqx.ingest.lines import BYTE_ORDER_MARK, Rows
from tirgn_eqx.ingest.sources import Unreadable

# Some published files have tabs too many at the end of their lines.
_MOST_PADDING = 16
_MOST_COLUMNS = 1000
_DAY = 86_400
_FIRST_DAY, _LAST_DAY = pl.date(1, 1, 1), pl.date(9999, 12, 31)


@dataclass(frozen=True)
class Codebook:
    """The columns of a source, in the order in which it publishes them, and other names that they have had."""

    title: str
    columns: tuple[str, ...]
    other_names: Mapping[str, str] = field(default_factory=dict)

    @property
    def header(self) -> bytes:
        """The first line of a file."""
        return "\t".join(self.columns).encode()

    def read_header(self, header: bytes) -> tuple[str, ...]:
        """The columns that a first line names: those of the codebook by its names, any other as an empty text.

        Case, outer spaces, quotes and underscores for spaces make no difference.
        """
        known = {_plain(name): name for name in self.columns} | {_plain(k): v for k, v in self.other_names.items()}
        names = header.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace").rstrip("\r\t").split("\t")
        return tuple(known.get(_plain(name), "") for name in names)

    def find_layouts(self, header: bytes, needed: Collection[str]) -> dict[int, tuple[str, ...]]:
        """The columns of lines under a first line, by their number.

        A line may end in tabs that the first line lacks. A first line that names more columns than were published, as
        some of POLECAT's do, stands before lines of the published ones.

        **Raises:** Unreadable for a first line that lacks a column, or names too many.
        """
        layout = self.read_header(header)
        if missing := [name for name in needed if name not in layout]:
            found = header.decode("utf-8", "replace").strip().replace("\t", ", ")
            raise Unreadable(
                f"its first line names no column {', '.join(missing)}; {self.title}'s files begin with the names of "
                f"their columns, this one with {shown(found, 60)}"
            )
        if len(layout) > _MOST_COLUMNS:
            raise Unreadable(f"its first line names {len(layout):,} columns; {self.title} has {len(self.columns)}")
        layouts = {len(layout) + more: layout + ("",) * more for more in range(_MOST_PADDING + 1)}
        return layouts if len(layout) <= len(self.columns) else {len(self.columns): self.columns} | layouts


class TypedRows(NamedTuple):
    """Rows with what their texts stand for.

    **Arguments:** `frame`: the texts, and columns of their own for what they stand for; `checks`: by column of the
    codebook, whether its value is possible; `noted`: what was repaired or noticed, as conditions; `kept`: the columns
    to go on with.
    """

    frame: pl.DataFrame
    checks: dict[str, pl.Expr]
    noted: dict[str, pl.Expr]
    kept: list[str]


class HeadedLines:
    """How the lines under one header are read, see `LineForm`.

    **Arguments:** `book`: of the source; `header`: the first line of the file; `needed`, `optional`: columns to read;
    `read_types`: makes `TypedRows` of the texts of these columns, in which a missing value is null.

    **Raises:** Unreadable for a first line without one of the columns that are needed.
    """

    def __init__(
        self,
        book: Codebook,
        header: bytes,
        needed: Collection[str],
        optional: Collection[str],
        read_types: Callable[[pl.DataFrame], TypedRows],
    ):
        self._layouts = book.find_layouts(header, needed)
        self._named = len(book.read_header(header))
        self._columns = [*needed, *optional]
        self._read_types = read_types

    @property
    def layouts(self) -> Mapping[int, tuple[str, ...]]:
        """The names of the columns by their number."""
        return self._layouts

    @property
    def widths(self) -> str:
        """The number of columns, for messages."""
        return str(min(self._layouts))

    @property
    def exact(self) -> Collection[int]:
        """The number of names in the header, and of columns in the codebook where those are fewer."""
        return {min(self._layouts), self._named}

    def read(self, data: bytes, width: int) -> Rows:
        """The rows of lines of `width` columns."""
        layout = self._layouts[width]
        places = {name: layout.index(name) for name in self._columns if name in layout}
        # Columns after the last one that the header names have to be empty.
        named = min(width, self._named)
        padding = [f"column_{number + 1}" for number in range(named, width)]
        table = pl.read_csv(
            data,
            separator="\t",
            has_header=False,
            quote_char=None,
            columns=sorted({*places.values(), *range(named, width)}),
            schema={f"column_{number + 1}": pl.String for number in range(width)},
        )
        empty = [pl.col(name).fill_null("").str.strip_chars() == "" for name in padding]
        table = table.select(
            *(pl.col(f"column_{place + 1}").alias(name) for name, place in places.items()),
            *(pl.lit(None, pl.String).alias(name) for name in self._columns if name not in places),
            pl.all_horizontal(pl.lit(True), *empty).alias("unpadded"),
        )
        table = _unquote(table, self._columns) if b'"' in data else table.with_columns(quoted=pl.lit(False))
        table = table.with_columns(
            pl.when(~pl.col(name).is_in(["", "None"])).then(pl.col(name)) for name in self._columns
        )
        typed = self._read_types(table)
        checks = {"": pl.col("unpadded")} | typed.checks
        # The first check that fails gives the reason; it is null where all hold.
        fails = [~holds.fill_null(False) for holds in checks.values()]
        fault = pl.coalesce(pl.when(failed).then(number) for number, failed in enumerate(fails))
        frame = typed.frame.with_columns(fault=fault.cast(pl.Int8))
        good = frame["fault"].is_null()
        noted = {"quoted": pl.col("quoted"), "trailing_tabs": pl.lit(width > self._named), **typed.noted}
        counts = frame.filter(good).select(condition.fill_null(False).alias(name) for name, condition in noted.items())
        columns = list(checks)

        def describe(row: int, line: bytes) -> str:
            column = columns[frame["fault"][row]]
            if not column:
                return f"{line.count(9) + 1} columns; expected {self.widths}"
            value = table[column][row]
            return f"{column} is empty" if value is None else f"{column} {shown(value, 40)}"

        totals = {name: int(column.sum()) for name, column in counts.to_dict().items()}
        return Rows(frame.select(typed.kept), (~good).to_numpy(), describe, totals)

    def times(self, frame: pl.DataFrame, width: int) -> tuple[np.ndarray, np.ndarray]:
        """No quarter hours, and the days of the rows."""
        return np.empty(0, np.int64), frame["time"].unique().to_numpy() // _DAY

    def repair(self, line: bytes) -> bytes | None:
        """A line with tabs inside of quotes, with a space for each of them and without the quotes."""
        if b'"' not in line:
            return None
        try:
            # Latin-1 gives every byte back as it was.
            fields = next(csv.reader([line.decode("latin-1").rstrip("\r")], delimiter="\t", strict=True))
        except (csv.Error, StopIteration):
            return None
        while len(fields) > self._named and not fields[-1].strip():
            fields.pop()
        if len(fields) not in self.exact:
            return None
        # No other white space: read as Latin-1, some letters of UTF-8 hold bytes that are white space too.
        return "\t".join(re.sub("[\t\r\n]", " ", text) for text in fields).encode("latin-1")


def parse_days(column: str) -> pl.Expr:
    """Days as `2014-01-31`, with or without a time of day after them, in seconds since 1970; null for anything else."""
    text = pl.col(column)
    alone = (text.str.len_bytes() == 10) | text.str.contains(r"^.{10}[ T]")
    day = text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    # The date type holds years that the one of Python does not.
    return pl.when(alone & day.is_between(_FIRST_DAY, _LAST_DAY)).then(day.cast(pl.Int32).cast(pl.Int64) * _DAY)


def is_number(column: str) -> pl.Expr:
    """Whether a text is a finite number, or missing."""
    return pl.col(column).is_null() | pl.col(column).cast(pl.Float64, strict=False).is_finite()


def _plain(name: str) -> str:
    return re.sub(r"[\s_]+", " ", name.strip().strip('"')).strip().casefold()


def _unquote(table: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Values without the quotes that they stand in, and with one quote for two in them; `quoted`: rows with such."""
    quoted = {
        name: pl.col(name).str.starts_with('"') & pl.col(name).str.ends_with('"') & (pl.col(name).str.len_bytes() > 1)
        for name in columns
    }
    inside = pl.col(columns).str.head(-1).str.slice(1).str.replace_all('""', '"', literal=True)
    return table.with_columns(
        inside.name.prefix("inside "), quoted=pl.any_horizontal(found.fill_null(False) for found in quoted.values())
    ).with_columns(
        pl.when(found).then(pl.col(f"inside {name}")).otherwise(pl.col(name)).alias(name)
        for name, found in quoted.items()
    )
