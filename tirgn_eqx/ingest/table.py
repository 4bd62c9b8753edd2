"""The event table on disk: a parquet file that records how it was made, and that is replaced as a whole."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pydantic
from polars.io.plugins import register_io_source

from tirgn_eqx.errors import ConfigError, shown
from tirgn_eqx.ingest.documents import TABLE_FORMAT, Options, TableState
from tirgn_eqx.ingest.event_format import EventFormat, Schema
from tirgn_eqx.ingest.options import IngestOptions
from tirgn_eqx.storage.atomic_write import flush
from tirgn_eqx.storage.table_probe import check_parquet
from tirgn_eqx.storage.untrusted import Unsound, parse_json, told

METADATA = "tirgn.ingest"
ROW_GROUP = 1 << 17  # rows
# Options that tables of earlier versions do not record, with the values that they were made with.
_BEFORE: Options = {"source": "gdelt", "attributes": False}
_IDS_AT_ONCE = 1 << 22  # 32 MiB of ids


def read_state(path: Path, options: IngestOptions, source: EventFormat) -> TableState | None:
    """What the table records of itself, or None if there is no table.

    **Raises:** ConfigError for a file that no ingest wrote, or that was made with other options.
    """
    if not os.path.exists(path):
        return None
    elsewhere = "name another --out, or move the file away"
    try:
        found = check_parquet(path)
        document = parse_json(found.metadata.get(METADATA, "{}"))
    except (Unsound, OSError) as error:
        raise ConfigError(f"{path}: exists and is no readable parquet file ({told(error)}); {elsewhere}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: its record of itself is damaged ({told(error)}); {elsewhere}") from error
    if not isinstance(document, dict) or document.get("format") != TABLE_FORMAT:
        raise ConfigError(f"{path}: exists and was not made by this version of `tirgn data ingest`; {elsewhere}")
    damaged = ConfigError(f"{path}: its record of itself is damaged or not of this table; {elsewhere}")
    try:
        state = TableState.model_validate(document)
    except pydantic.ValidationError as error:
        raise damaged from error
    made_with = _BEFORE | state.options
    differences = [
        f"{name} = {shown(made_with.get(name))}, not {value!r}"
        for name, value in options.to_dict().items()
        if made_with.get(name) != value
    ]
    if differences:
        raise ConfigError(f"{path}: was made with {'; '.join(differences)}; give the same options, or another --out")
    # After the options, which decide on the columns.
    if found.columns != {name: str(kind) for name, kind in source.schema(options).items()}:
        raise damaged
    return state


def read_frames(path: Path) -> Iterator[pl.DataFrame]:
    """The table in order, one part after the other."""
    # The parts are the row groups, so that each is decoded once. Without `glob=False`, polars takes a `*` or `[` in the
    # path as a pattern of several files.
    return read_parts(pl.scan_parquet(path, glob=False), ROW_GROUP)


def read_ids(path: Path, source: EventFormat) -> Iterator[np.ndarray]:
    """The identities of the events of the table, in int64 arrays."""
    for part in read_parts(pl.scan_parquet(path, glob=False).select(source.sort_key), _IDS_AT_ONCE):
        yield source.identity(part)


def read_parts(table: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
    """The rows of a table in order, at most `rows` at once."""
    count = table.select(pl.len()).collect().item()
    for begin in range(0, count, rows):
        yield table.slice(begin, rows).collect()


def write_table(
    path: Path, frames: Callable[[], Iterator[pl.DataFrame]], schema: Schema, state: TableState | None = None
) -> None:
    """Write a parquet file and wait until it is on the disk.

    **Arguments:** `frames`: called once, returns the events in order; `schema`: their columns; `state`: what the file
    records of itself.
    """
    failed: list[BaseException] = []

    def source(*_: object) -> Iterator[pl.DataFrame]:
        try:
            yield from frames()
        except BaseException as error:
            failed.append(error)
            raise

    # polars pulls the events from the generator as it writes, so that the table is never in memory as a whole.
    try:
        register_io_source(source, schema=schema).sink_parquet(
            path,
            compression="zstd",
            row_group_size=ROW_GROUP,
            metadata=None if state is None else {METADATA: json.dumps(state.model_dump(mode="json"))},
            maintain_order=True,
        )
    except pl.exceptions.PolarsError:
        # Before polars 2, the streaming engine wraps whatever the source raises in an error of its own.
        if failed:
            raise failed[0] from None
        raise
    flush(path)
