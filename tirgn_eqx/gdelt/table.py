"""The event table on disk: a parquet file that says in itself how it was made, replaced whole or not at all."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from tirgn_eqx.errors import ConfigError, shown
from tirgn_eqx.gdelt.clean import SCHEMA
from tirgn_eqx.gdelt.options import IngestOptions
from tirgn_eqx.storage.atomic_write import flush
from tirgn_eqx.storage.table_probe import check_parquet
from tirgn_eqx.storage.untrusted import Unsound, parse_json, told

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
    if not os.path.exists(path):
        return None
    elsewhere = "name another --out, or move the file away"
    try:
        found = check_parquet(path)
        state = parse_json(found.metadata.get(METADATA, "{}"))
    except (Unsound, OSError) as error:
        raise ConfigError(f"{path}: exists and is no readable parquet file ({told(error)}); {elsewhere}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: what it says of itself is damaged ({told(error)}); {elsewhere}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ConfigError(f"{path}: exists and was not made by this version of `tirgn data ingest`; {elsewhere}")
    if found.columns != {name: str(kind) for name, kind in SCHEMA.items()} or not _is_state(state):
        raise ConfigError(f"{path}: what it says of itself is damaged or not of this table; {elsewhere}")
    made, now = state["options"], options.to_dict()
    other = [
        f"{name} = {shown(made.get(name))}, not {value!r}" for name, value in now.items() if made.get(name) != value
    ]
    if other:
        raise ConfigError(f"{path}: was made with {'; '.join(other)}; give the same options, or another --out")
    return state


def _is_state(state: dict[str, Any]) -> bool:
    """Whether all of `empty_state` is there and of its kind."""
    kinds = {"options": dict, "sources": list, "rejects_bytes": int, "seen": dict, "totals": dict}
    if not all(isinstance(state.get(name), kind) for name, kind in kinds.items()):
        return False
    count = lambda value: type(value) is int and 0 <= value < 2**62
    # Days or quarters of an hour since 1970, of times that have dates.
    moment = lambda value: type(value) is int and -(2**26) < value < 2**28
    is_range = lambda pair: isinstance(pair, list) and len(pair) == 2 and all(map(moment, pair)) and pair[0] <= pair[1]
    ranges = [state["seen"].get(name) for name in empty_state()["seen"]]
    if not all(isinstance(found, list) and all(map(is_range, found)) for found in ranges):
        return False
    is_source = lambda entry: isinstance(entry, list) and [type(value) for value in entry] == [str, int, str]
    counted = state["totals"].values()
    good = all(map(is_source, state["sources"])) and count(state["rejects_bytes"])
    return good and all(isinstance(counts, dict) and all(map(count, counts.values())) for counts in counted)


def read_frames(path: Path) -> Iterator[pl.DataFrame]:
    """The table in order, one part after the other."""
    rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
    for begin in range(0, rows, ROW_GROUP):
        yield pl.scan_parquet(path, glob=False).slice(begin, ROW_GROUP).collect()


def read_ids(path: Path) -> Iterator[Any]:
    """The GlobalEventIDs of the table as int64 arrays."""
    rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
    for begin in range(0, rows, 1 << 22):
        part = pl.scan_parquet(path, glob=False).select("GlobalEventID").slice(begin, 1 << 22).collect()
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
