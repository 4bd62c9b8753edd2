"""The ids of events that the table leaves out because another event has their fact.

Without them, an event that was left out would be new to a later ingest: counted again, and kept if that file says
something else of it. So the table would depend on which files go into which ingest.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from tirgn_eqx.errors import ConfigError
from tirgn_eqx.ingest.event_format import EventFormat, Schema
from tirgn_eqx.ingest.sort import Sorter
from tirgn_eqx.ingest.table import read_parts, write_table
from tirgn_eqx.storage.table_probe import check_parquet
from tirgn_eqx.storage.untrusted import Unsound, told

_ROWS_AT_ONCE = 1 << 20


class RepeatsFile:
    """`NAME.repeats.parquet` beside a table: time and id of each event that was left out, and by which ingest.

    It takes its place before the table, which records the number of its ingests. What an ingest left behind that was
    interrupted between the two is of a later ingest than that, and does not count.

    **Arguments:** `out`: the table; `ingests`: how many ingests it records, 0 for a new table; `folder`: an empty
    folder for temporary files; `run_rows`: events to hold in memory.

    **Raises:** ConfigError for a file that cannot be read or is something else. Tables of earlier versions have none.
    """

    def __init__(self, out: Path, source: EventFormat, ingests: int, folder: Path, run_rows: int):
        self.place, self.path = out.with_suffix(".repeats.parquet"), folder / "new"
        self._source, self._ingest = source, ingests + 1
        columns = source.schema_of_key()
        self._schema: Schema = {**columns, "ingest": pl.Int64()}
        self._new = Sorter(folder, source.sort_key, run_rows)
        self._earlier: pl.LazyFrame | None = None
        self.count = 0
        if ingests and self.place.exists():
            self._check(out)
            self._earlier = pl.scan_parquet(self.place, glob=False).filter(pl.col("ingest") <= ingests)
            self.count = int(self._earlier.select(pl.len()).collect().item())

    def _check(self, out: Path) -> None:
        text = f"{self.place}: is no list of the repeated facts of {out.name}"
        way_out = "put the one back that belongs to it, or move this away: what files repeat of it then counts again"
        try:
            found = check_parquet(self.place)
        except (Unsound, OSError) as error:
            raise ConfigError(f"{text} ({told(error)}); {way_out}") from error
        if found.columns != {name: str(kind) for name, kind in self._schema.items()}:
            raise ConfigError(f"{text} (its columns are {', '.join(found.columns)}); {way_out}")

    def read_ids(self) -> Iterator[np.ndarray]:
        """The identities of the events that earlier ingests left out, in int64 arrays."""
        for part in self._read_earlier():
            yield self._source.identity(part)

    def _read_earlier(self) -> Iterator[pl.DataFrame]:
        if self._earlier is not None:
            yield from read_parts(self._earlier, _ROWS_AT_ONCE)

    def add(self, events: pl.DataFrame) -> None:
        """Add events that this ingest leaves out."""
        self.count += events.height
        self._new.add(events.select(self._source.sort_key))

    def write(self) -> bool:
        """Write the new file at `path`, unless neither it nor the old one holds anything.

        **Returns:** whether it was written.
        """
        # A file of another table, or of an ingest that was interrupted, must not pass for one of this ingest.
        if not self.count and not self.place.exists():
            return False
        new = (frame.with_columns(ingest=pl.lit(self._ingest, pl.Int64)) for frame in self._new.merged())
        write_table(self.path, lambda: itertools.chain(self._read_earlier(), new), self._schema)
        return True
