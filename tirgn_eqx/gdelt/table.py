"""The event table on disk: a parquet file that says in itself how it was made, replaced whole or not at all."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from tirgn_eqx.errors import ConfigError
from tirgn_eqx.files import flush
from tirgn_eqx.gdelt.clean import SCHEMA
from tirgn_eqx.gdelt.options import IngestOptions

METADATA = "tirgn.ingest"
FORMAT = 1
ROW_GROUP = 1 << 17


def empty_state() -> dict[str, Any]:
    """What a table says of itself before there is one.

    `sources`: name, size and sha256 of every file that went in; `rejects_bytes`: how much of the rejects file
    belongs to it; `seen`: ranges of times that files brought, in quarters of an hour and days since 1970;
    `totals`: the counts of all runs.
    """
    return {"sources": [], "rejects_bytes": 0, "seen": {"quarter_hours": [], "days": []}, "totals": {}}


def read_state(path: Path, options: IngestOptions) -> dict[str, Any] | None:
    """What the table says of itself (see `empty_state`), or None where there is none yet.

    **Raises:** ConfigError for a file that no ingest wrote, or that was made with other options.
    """
    if not path.exists():
        return None
    elsewhere = "name another --out, or move the file away"
    try:
        text = pl.read_parquet_metadata(path).get(METADATA)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ConfigError(f"{path}: exists and is no readable parquet file; {elsewhere}") from error
    state = json.loads(text) if text else {}
    if state.get("format") != FORMAT:
        raise ConfigError(f"{path}: exists and was not made by this version of `tirgn data ingest`; {elsewhere}")
    made, now = state["options"], options.to_dict()
    other = [f"{name} = {made.get(name)!r}, not {value!r}" for name, value in now.items() if made.get(name) != value]
    if other:
        raise ConfigError(f"{path}: was made with {'; '.join(other)}; give the same options, or another --out")
    return state


def read_frames(path: Path) -> Iterator[pl.DataFrame]:
    """The table in order, one part after the other."""
    rows = pl.scan_parquet(path).select(pl.len()).collect().item()
    for begin in range(0, rows, ROW_GROUP):
        yield pl.scan_parquet(path).slice(begin, ROW_GROUP).collect()


def read_ids(path: Path) -> Iterator[Any]:
    """The GlobalEventIDs of the table as int64 arrays."""
    rows = pl.scan_parquet(path).select(pl.len()).collect().item()
    for begin in range(0, rows, 1 << 22):
        part = pl.scan_parquet(path).select("GlobalEventID").slice(begin, 1 << 22).collect()
        yield part.to_series().to_numpy()


def write_table(path: Path, frames: Callable[[], Iterator[pl.DataFrame]], state: dict, options: IngestOptions) -> None:
    """Writes the frames as a parquet file and waits until it is on the disk.

    **Arguments:** `frames`: called once, gives the events in order; `state`: what the table says of itself.
    """
    told = {"format": FORMAT, "options": options.to_dict()} | state
    failed: list[BaseException] = []

    def source(*_: Any) -> Iterator[pl.DataFrame]:
        try:
            yield from frames()
        except BaseException as error:
            failed.append(error)
            raise

    try:
        register_io_source(source, schema=SCHEMA).sink_parquet(
            path,
            compression="zstd",
            row_group_size=ROW_GROUP,
            metadata={METADATA: json.dumps(told)},
            maintain_order=True,
        )
    except pl.exceptions.PolarsError:
        # The streaming engine would tell of its own what happened in here.
        if failed:
            raise failed[0] from None
        raise
    flush(path)
