"""What an ingest has to know of a source of events."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tirgn_eqx.ingest.lines import LineForm
from tirgn_eqx.ingest.options import IngestOptions

if TYPE_CHECKING:
    Schema = dict[str, pl.DataType]
else:
    # The run-time type checker of the tests does not take the types of polars as arguments of another type.
    Schema = dict

FACT = ("entity1", "relation", "entity2", "timestamp")
# Columns that say something of the actors themselves; a reader can make a static graph of them.
ATTRIBUTES = ("entity1_country", "entity1_sector", "entity2_country", "entity2_sector")
_FACT_TYPES = {name: pl.Datetime("us") if name == "timestamp" else pl.String() for name in FACT}


@dataclass(frozen=True)
class EventFormat:
    """A source of events: which files are its own, how they are read, and which columns its table has.

    The rows that its `LineForm` gives have the columns `actor1`, `actor2`, `relation`, `time` (seconds since 1970),
    `late` (days from the event until it became known, or null), `QuadClass`, those of `columns`, and those of
    `ATTRIBUTES` if the options ask for them.

    **Arguments:**

    - `source`, `title`: its name as an option and in sentences.
    - `names`, `examples`: which files of a folder are its own, and how such files are called, for messages.
    - `headed`: whether the first line of every file names its columns. `lines` is then given that line, else b"".
    - `lines`: how the lines of a file are read. It raises Unreadable for a first line that is not of this source.
    - `recognizes`: whether the first line of a file is of this source.
    - `columns`: the columns of the table after the fact, with their types; the id of the event is the last one.
    - `filters`: the reasons for which the options leave rows out, as conditions on the rows.
    - `is_generic`: whether a name stands for a kind of person or body.
    - `identity`: int64 `(row,)` of rows of the table, equal for two records of one event and for no others.
    - `file_days`: the first and last day, since 1970, that a file of some name can hold, or None if its name does not
      say it.
    """

    source: str
    title: str
    names: re.Pattern[str]
    examples: str
    headed: bool
    lines: Callable[[IngestOptions, bytes], LineForm]
    recognizes: Callable[[bytes], bool]
    columns: Schema
    filters: Callable[[IngestOptions], dict[str, pl.Expr]]
    is_generic: Callable[[pl.Expr], pl.Expr]
    identity: Callable[[pl.DataFrame], np.ndarray]
    file_days: Callable[[str], tuple[int, int] | None]

    @property
    def id_column(self) -> str:
        """The column of the table with the id of the event."""
        return next(reversed(self.columns))

    @property
    def sort_key(self) -> tuple[str, str]:
        """The columns that put the events of a table in order."""
        return "timestamp", self.id_column

    def schema_of_key(self) -> Schema:
        """The columns of `sort_key` with their types."""
        time, number = self.sort_key
        return {time: _FACT_TYPES[time], number: self.columns[number]}

    def schema(self, options: IngestOptions) -> Schema:
        """The columns of the table with their types."""
        attributes = dict.fromkeys(ATTRIBUTES, pl.String()) if options.attributes else {}
        return {**_FACT_TYPES, **attributes, **self.columns}
