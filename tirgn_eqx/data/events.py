"""Event tables: a parquet file with the columns `entity1`, `relation`, `entity2`, `timestamp`."""

import hashlib
import os.path
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph, from_facts
from tirgn_eqx.data.timestamps import epoch_seconds
from tirgn_eqx.errors import ConfigError, DataError, nearest
from tirgn_eqx.foreign import Unsound, told
from tirgn_eqx.parquet import check_parquet

COLUMNS = ("entity1", "relation", "entity2", "timestamp")
# Name of a granularity: (seconds in one unit of time, units in one snapshot).
GRANULARITIES = {"15min": (60, 15), "hour": (3600, 1), "day": (86_400, 1)}
_DAY = 86_400
_NEED = f"expected a parquet file of events with the columns {', '.join(COLUMNS)}"


def read_events(
    path: str | Path, *, num_days: int = 30, max_events: int = 0, granularity: str = "day"
) -> TemporalGraph:
    """The temporal graph of an event table, cut by snapshot into 80 % train, 10 % valid and 10 % test.

    Entities and relations keep their names. Their ids follow their first appearance in time (names break
    ties), so that no later event changes an earlier id. An event that the table holds twice counts twice.

    **Arguments:**

    - `path`: a parquet file; further columns are ignored. For the forms of `timestamp` see `epoch_seconds`.
    - `num_days`: keep the most recent calendar days (UTC), counted back from the newest event; 0 = all.
    - `max_events`: keep this many events; 0 = all. Every day is thinned in the same proportion, evenly over
      its hours (see `thin`).
    - `granularity`: length of a snapshot: `15min` (times in minutes), `hour` (hours), `day` (days), each
      counted from 1970-01-01 UTC.

    **Raises:** ConfigError for an impossible option; DataError for a file that is no such table, with column
    and row, or for fewer than three snapshots.
    """
    if granularity not in GRANULARITIES:
        hint = nearest(granularity, GRANULARITIES)
        raise ConfigError(f"granularity {granularity!r} does not exist{hint}; known: {', '.join(GRANULARITIES)}")
    for option, value in (("num_days", num_days), ("max_events", max_events)):
        if value < 0:
            raise ConfigError(f"{option} = {value}: must be at least 0; 0 keeps all")
    file = Path(os.path.expanduser(path))
    table = _read_table(file)
    seconds = epoch_seconds(table["timestamp"], f"{file}: column timestamp")
    entities, subject, object = _codes(table["entity1"], table["entity2"])
    relations, relation = _codes(table["relation"])
    facts = np.stack([subject, relation, object, seconds], 1)
    if num_days:
        facts = facts[facts[:, 3] // _DAY > seconds.max() // _DAY - num_days]
    if max_events and len(facts) > max_events:
        facts = thin(facts, max_events)
    unit, interval = GRANULARITIES[granularity]
    facts[:, 3] = facts[:, 3] // (unit * interval) * interval
    ids, entity_names = _by_first_appearance(facts[:, [0, 2]], facts[:, 3], entities)
    facts[:, [0, 2]] = ids
    ids, relation_names = _by_first_appearance(facts[:, [1]], facts[:, 3], relations)
    facts[:, [1]] = ids
    absolute = os.path.abspath(file)
    return from_facts(
        file.stem,
        facts,
        split_by_snapshot(facts[:, 3], f"{file} at granularity {granularity}"),
        len(entity_names),
        len(relation_names),
        time_interval=interval,
        clock_origin=int(facts[:, 3].min()),
        entity_names=entity_names,
        relation_names=relation_names,
        provenance={
            "kind": "parquet",
            "path": absolute,
            "num_days": num_days,
            "max_events": max_events,
            "granularity": granularity,
        },
    )


def thin(facts: np.ndarray, max_events: int) -> np.ndarray:
    """`max_events` of the facts, every day in the same proportion (largest remainders make the sum exact).

    **Arguments:** `facts`: int64 `(fact, 4)`, the last column in seconds.

    **Returns:** int64 `(max_events, 4)`. Neither the order of the rows nor another day's events nor the date change
    which of a day's facts stay, at a given proportion.
    """
    _, day, count = np.unique(facts[:, 3] // _DAY, return_inverse=True, return_counts=True)
    share = count * max_events / len(facts)
    quota = share.astype(np.int64)
    remainder_first = np.argsort(quota - share, kind="stable")
    quota[remainder_first[: max_events - quota.sum()]] += 1
    by_day = facts[np.lexsort((facts[:, 3], facts[:, 2], facts[:, 1], facts[:, 0], day))]
    kept, start = [], 0
    for total, keep in zip(count.tolist(), quota.tolist()):
        rows = by_day[start : start + total]
        start += total
        chance = np.random.default_rng(_seed_of(rows)).random(total)
        rows = rows[np.lexsort((chance, rows[:, 3]))]
        kept.append(rows[(2 * np.arange(keep) + 1) * total // (2 * max(keep, 1))])
    return np.concatenate(kept)


def _seed_of(day: np.ndarray) -> int:
    """A seed from what a day holds: from the order of its own names and its times of day.

    **Arguments:** `day`: int64 `(fact, 4)`, the last column in seconds.
    """
    rank = lambda columns: np.unique(columns, return_inverse=True)[1].ravel()
    content = np.concatenate([rank(day[:, [0, 2]]), rank(day[:, 1]), day[:, 3] % _DAY])
    return int.from_bytes(hashlib.sha256(content.astype("<i8").tobytes()).digest())


def split_by_snapshot(times: np.ndarray, where: str) -> np.ndarray:
    """int8 `(fact,)`: 0, 1, 2 for the first 80 %, next 10 % and last 10 % of the distinct times.

    Each gets at least one. **Arguments:** `times`: int64 `(fact,)`; `where`: what was read, for the message.
    """
    distinct, snapshot = np.unique(times, return_inverse=True)
    total = len(distinct)
    if total < 3:
        raise DataError(
            f"{where}: {total} distinct times, but train, valid and test need at least 3; "
            "choose a finer granularity (15min, hour) or more days"
        )
    train_end = min(total * 8 // 10, total - 2)
    valid_end = min(max(total * 9 // 10, train_end + 1), total - 1)
    return np.searchsorted([train_end, valid_end], snapshot, side="right").astype(np.int8)


def _by_first_appearance(codes: np.ndarray, times: np.ndarray, names: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """New ids for `codes` `(fact, column)` in order of first time, then name; and the names by new id."""
    never = np.iinfo(np.int64).max
    first = np.full(len(names), never)
    np.minimum.at(first, codes.ravel(), np.repeat(times, codes.shape[1]))
    order = np.argsort(first, kind="stable")[: int((first != never).sum())]
    new = np.zeros(len(names), np.int64)
    new[order] = np.arange(len(order))
    return new[codes], tuple(names[code] for code in order)


def _codes(*columns: Any) -> tuple:
    """The sorted distinct names of polars Series of text, and each Series as int64 positions among them."""
    import polars as pl

    names = pl.concat(columns).unique().sort()
    kind = pl.Enum(names)
    return names.to_list(), *(column.cast(kind).to_physical().to_numpy().astype(np.int64) for column in columns)


def _read_table(path: Path) -> Any:
    """The four columns as a polars DataFrame: names as text, neither null nor empty."""
    import polars as pl

    if not os.path.isfile(path):
        state = "is a folder, not a file" if os.path.isdir(path) else "file is missing"
        raise DataError(f"{path}: {state}; {_NEED}")
    try:
        found = check_parquet(path, COLUMNS).columns
        missing = [column for column in COLUMNS if column not in found]
        if missing:
            raise DataError(
                f"{path}: missing columns {', '.join(missing)}; found {_some(found)}; rename or add them, {_NEED}"
            )
        table = pl.read_parquet(path, columns=list(COLUMNS), glob=False)
    except (Unsound, OSError) as error:
        raise DataError(f"{path}: not a readable parquet file ({told(error)}); {_NEED}") from error
    if table.height == 0:
        raise DataError(f"{path}: no events in the file; {_NEED}")
    for column in COLUMNS:
        _check_filled(path, column, table[column].is_null().to_numpy(), "null")
    names = []
    for column in COLUMNS[:3]:
        kind = table[column].dtype
        if not (isinstance(kind, pl.String | pl.Categorical | pl.Enum) or kind.is_integer()):
            raise DataError(
                f"{path}: column {column} has type {str(kind)[:80]}; expected names as text, or whole numbers"
            )
        text = table[column].cast(pl.String)
        _check_filled(path, column, (text.str.strip_chars() == "").to_numpy(), "empty")
        names.append(text)
    return table.with_columns(names)


def _check_filled(path: Path, column: str, bad: np.ndarray, what: str) -> None:
    if bad.any():
        raise DataError(
            f"{path}: column {column} has {int(bad.sum())} {what} values, first in row "
            f"{int(np.argmax(bad)) + 1} (counted from 1); drop or fill these rows"
        )


def _some(names: Iterable[str]) -> str:
    """The first few names of columns."""
    names = [name if len(name) <= 40 else f"{name[:37]}..." for name in names]
    return ", ".join(names[:12]) + (f" and {len(names) - 12:,} more" if len(names) > 12 else "") or "none"
