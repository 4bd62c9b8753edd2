"""Event tables: who did what to whom and when, a row for each event, cut to a window and into snapshots."""

import hashlib
import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tirgn_eqx.data.graph import ReadReport, TemporalGraph, from_facts
from tirgn_eqx.data.readers.event_columns import parse_columns
from tirgn_eqx.data.readers.event_table import EventTable, is_frame, read_table
from tirgn_eqx.data.readers.table_files import form_of, table_form
from tirgn_eqx.data.readers.timestamps import Times, doubts, read_times, span
from tirgn_eqx.errors import ConfigError, DataError, DataWarning, nearest

# Name of a granularity: (seconds in one unit of time, units in one snapshot).
GRANULARITIES = {"15min": (60, 15), "hour": (3600, 1), "day": (86_400, 1)}
# Kinds of data, in a graph's provenance, that are event tables: `parquet` also stands for a folder of parquet files.
EVENT_KINDS = ("parquet", "table", "frame")
# What a reader of event tables was told, which it is told again for another table of the same kind.
READING = ("num_days", "max_events", "granularity", "time_format", "columns", "skip_bad_rows")
DEFAULT_DAYS = 30
_log = logging.getLogger("tirgn_eqx")
_DAY = 86_400
_SPARSE = 0.01  # of the median day's events: below, a day far behind the others is no part of the data


def read_events(
    source: Any,
    *,
    num_days: int | None = None,
    max_events: int = 0,
    granularity: str = "day",
    time_format: str | None = None,
    columns: str | Mapping[str, str] | None = None,
    skip_bad_rows: bool = False,
) -> TemporalGraph:
    """The temporal graph of an event table, cut by snapshot into 80 % train, 10 % valid and 10 % test.

    Entities and relations keep their names. Their ids follow their first appearance in the whole table (names break
    ties), also of what `num_days` and `max_events` leave out: so the order of two names is the same for every window
    and granularity, and no later event changes it. An event that the table holds twice counts twice.

    **Arguments:**

    - `source`: a parquet, CSV, TSV, NDJSON, Arrow or Feather file, a folder of such parts, or a DataFrame of polars
      or pandas; further columns are ignored.
    - `num_days`: keep the most recent calendar days (UTC); None = 30, 0 = all. They are counted back from the last
      day. Days with less than 1 % of the median day's events that lie further behind the days before them than any
      two of those lie apart are stray: left out, with a DataWarning.
    - `max_events`: keep this many events; 0 = all. Every day is thinned in the same proportion, evenly over
      its hours (see `thin`).
    - `granularity`: length of a snapshot: `15min` (times in minutes), `hour` (hours), `day` (days), each
      counted from 1970-01-01 UTC.
    - `time_format`: the form of the times, of strptime (`%d/%m/%Y`) or one of `timestamps.NAMED`;
      None: decided over all rows (`read_times`). Small whole numbers are step numbers: each is a snapshot, and
      `num_days` and `granularity` have no meaning.
    - `columns`: the columns for `entity1`, `relation`, `entity2`, `timestamp`, as a dict or as
      `entity1=subject,relation=verb`; None: found by well-known names. Numbers for all four are places in a CSV
      file without a header.
    - `skip_bad_rows`: set rows aside that lack a name, or whose time has another form than those of most rows, and
      count them in `TemporalGraph.read`, instead of refusing the table.

    **Raises:** ConfigError for an impossible option; DataError for a source that is no such table, with column
    and row, or for fewer than three snapshots.
    """
    if granularity not in GRANULARITIES:
        hint = nearest(granularity, GRANULARITIES)
        raise ConfigError(f"granularity {granularity!r} does not exist{hint}; known: {', '.join(GRANULARITIES)}")
    for option, value in (("num_days", num_days), ("max_events", max_events)):
        if value is not None and value < 0:
            raise ConfigError(f"{option} = {value}: must be at least 0; 0 keeps all")
    source = source if is_frame(source) else Path(os.path.expanduser(source))
    where = "the table" if is_frame(source) else str(source)
    table = read_table(source, columns, skip_bad_rows)
    place = f"{where}: column {table.columns['timestamp']}"
    times = read_times(
        table.frame["timestamp"], place, time_format=time_format, skip=skip_bad_rows, row=lambda row: table.row(row)
    )
    for message in doubts(times, place, table.row, time_format is not None):
        warnings.warn(message, DataWarning, stacklevel=2)
    if times.bad.any():
        table, times = table.without(times.bad), _without(times)
    window = _window(times, num_days, max_events, granularity, where)
    facts, names, outside = _facts(table, times, window, max_events)
    try:
        split = split_by_snapshot(facts[:, 3], f"{where}{window.at}")
    except DataError:
        raise _too_few(facts, times, window, outside, where) from None
    _say(times.described(), table.columns, parse_columns(columns))
    absolute = None if is_frame(source) else os.path.abspath(source)
    given = {"time_format": time_format, "columns": _columns_text(columns), "skip_bad_rows": skip_bad_rows or None}
    options = window.options | {"max_events": max_events} | {key: value for key, value in given.items() if value}
    return from_facts(
        "events" if absolute is None else _stem(absolute),
        facts,
        split,
        len(names[0]),
        len(names[1]),
        time_interval=window.interval or None,  # of step numbers, that of all train times
        clock_origin=int(facts[:, 3].min()),
        time_unit=window.unit if times.dated else None,
        entity_names=names[0],
        relation_names=names[1],
        provenance={"kind": _kind(source)} | ({} if absolute is None else {"path": absolute}) | options,
        read=ReadReport(
            lines=table.lines,
            facts=len(facts),
            blank=table.blank,
            bad=table.bad,
            outside=outside,
            thinned=table.frame.height - outside - len(facts),
            times=times.described(),
        ),
    )


def _say(times: str, found: dict[str, str], chosen: dict[str, str]) -> None:
    """Notes once how times were understood, and which columns were taken without being asked for."""
    taken = ", ".join(f"{role} = {name}" for role, name in found.items() if name not in (role, chosen.get(role)))
    for note in filter(None, (taken and f"columns: {taken}", f"times: {times}")):
        _log.info(note, extra={"once": True})


class _Window(NamedTuple):
    """Which events are kept, and what their snapshots are.

    **Arguments:** `low`, `high`: the days, or all of `None`; `unit`: seconds in a unit of time, 1 for step numbers;
    `interval`: units in a snapshot, 0 for step numbers; `at`: the granularity, for messages; `options`: what the
    provenance keeps.
    """

    low: int | None
    high: int | None
    unit: int
    interval: int
    at: str
    options: dict[str, Any]

    def keeps(self, seconds: np.ndarray) -> np.ndarray:
        """bool: which of some times lie in the window."""
        if self.low is None or self.high is None:
            return np.ones(len(seconds), bool)
        day = seconds // _DAY
        return (day >= self.low) & (day <= self.high)


def _too_few(facts: np.ndarray, times: Times, window: _Window, outside: int, where: str) -> DataError:
    """What is said of fewer than three snapshots, with the times that were understood."""
    distinct = len(np.unique(facts[:, 3]))
    inside = span(times.values[window.keeps(times.values)], times.dated)
    advice = "choose a finer granularity (15min, hour) or more days" if times.dated else "give more steps"
    if outside:
        advice = (
            f"{outside:,} of {len(times.values):,} events, which are of {span(times.values, times.dated)}, lie outside "
            f"the window: give more with --num-days (0 = all), correct a stray date, or {advice}"
        )
    return DataError(
        f"{where}{window.at}: {distinct} distinct times ({len(facts):,} events, {times.form}, {inside}), but train, "
        f"valid and test need at least 3; {advice}"
    )


def _window(times: Times, num_days: int | None, max_events: int, granularity: str, where: str) -> _Window:
    """**Returns:** the window of `num_days`; says which events lie behind it."""
    if not times.dated:
        given = {"num_days": num_days, "granularity": granularity != "day" and granularity}
        for option, value in given.items():
            if value:
                warnings.warn(
                    f"{where}: {option} = {value} is ignored; its times are step numbers, each of which is a snapshot",
                    DataWarning,
                    stacklevel=3,
                )
        return _Window(None, None, 1, 0, "", {})
    unit, interval = GRANULARITIES[granularity]
    days = DEFAULT_DAYS if num_days is None else num_days
    options = {"num_days": days, "granularity": granularity}
    at = f" at granularity {granularity}"
    if not days:
        return _Window(None, None, unit, interval, at, options)
    day = times.values // _DAY
    counts = np.bincount(day - day.min())  # of at most 3.7 million days
    distinct = np.flatnonzero(counts)
    distinct, counts = distinct + day.min(), counts[distinct]
    last = _last_day(distinct, counts)
    stray = int(counts[distinct > last].sum())
    if stray:
        dates = span(distinct[distinct > last] * _DAY, True)
        warnings.warn(
            f"{where}: {stray:,} of {len(day):,} events, {dates}, are left out as stray: --num-days counts back from "
            f"{np.datetime64(last, 'D')}, since later days lie apart and have less than 1 % of a usual day's events",
            DataWarning,
            stacklevel=3,
        )
    return _Window(last - days + 1, last, unit, interval, at, options)


def _last_day(days: np.ndarray, counts: np.ndarray) -> int:
    """The day that a window counts back from. The last day of a feed may be short: only days that lie further behind
    the others than any of those lie apart are stray."""
    full = days[counts >= _SPARSE * np.median(counts)]
    last = int(full[-1])
    apart = int(np.diff(full).max(initial=1))
    for day in days[days > last].tolist():
        if day - last > apart:
            break
        last = day
    return last


def _facts(
    table: EventTable, times: Times, window: _Window, max_events: int
) -> tuple[np.ndarray, list[tuple[str, ...]], int]:
    """int64 `(fact, 4)` in the units of the window; the names of entities and relations by id; how many events lie
    outside the window."""
    frame = table.frame
    entities, subject, object_ = _codes(frame["entity1"], frame["entity2"])
    relations, relation = _codes(frame["relation"])
    facts = np.stack([subject, relation, object_, times.values], 1)
    del subject, relation, object_
    first = [_first_times(facts, columns, len(names)) for columns, names in (((0, 2), entities), ((1,), relations))]
    rows, outside = len(facts), 0
    if window.low is not None:
        facts = facts[window.keeps(facts[:, 3])]
        outside = rows - len(facts)
    if max_events and len(facts) > max_events:
        # A step is thinned as a day is.
        facts[:, 3] *= 1 if times.dated else _DAY
        facts = thin(facts, max_events)
        facts[:, 3] //= 1 if times.dated else _DAY
    step = window.interval or 1
    facts[:, 3] = facts[:, 3] // (window.unit * step) * step
    named = []
    for columns, names, begin in (((0, 2), entities, first[0]), ((1,), relations, first[1])):
        new, kept = _in_order(facts, columns, begin)
        for column in columns:
            facts[:, column] = new[facts[:, column]]
        named.append(tuple(names[code] for code in kept.tolist()))
    return facts, named, outside


def _first_times(facts: np.ndarray, columns: tuple[int, ...], number: int) -> np.ndarray:
    """int64 `(name,)`: the first time at which each code stands in one of the columns."""
    first = np.full(number, np.iinfo(np.int64).max)
    for column in columns:
        np.minimum.at(first, facts[:, column], facts[:, 3])
    return first


def _in_order(facts: np.ndarray, columns: tuple[int, ...], first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The new id of each code, in order of first time, then name, for those that occur; and the codes by new id."""
    occurs = np.zeros(len(first), bool)
    for column in columns:
        occurs[facts[:, column]] = True
    order = np.argsort(first, kind="stable")
    kept = order[occurs[order]]
    new = np.full(len(first), -1, np.int64)
    new[kept] = np.arange(len(kept))
    return new, kept


def _without(times: Times) -> Times:
    keep = ~times.bad
    return times._replace(values=times.values[keep], bad=times.bad[keep])


def _columns_text(columns: str | Mapping[str, str] | None) -> str:
    return ",".join(f"{role}={name}" for role, name in parse_columns(columns).items())


def _kind(source: Any) -> str:
    if is_frame(source):
        return "frame"
    return "parquet" if table_form(source) == "parquet" else "table"


def _stem(path: str) -> str:
    """The name of a table: that of its file without the endings that say its form."""
    name = Path(path).name
    for packed in (".gz", ".zst"):
        name = name.removesuffix(packed)
    return Path(name).stem if form_of(name) else name


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


def split_by_snapshot(times: np.ndarray, where: str, shares: tuple[int, int, int] = (80, 10, 10)) -> np.ndarray:
    """int8 `(fact,)`: 0, 1, 2 for the first 80 %, next 10 % and last 10 % of the distinct times.

    Each gets at least one. **Arguments:** `times`: int64 `(fact,)`; `where`: what was read, for the message; `shares`:
    in percent, other than these.
    """
    distinct, snapshot = np.unique(times, return_inverse=True)
    total = len(distinct)
    if total < 3:
        raise DataError(
            f"{where}: {total} distinct times, but train, valid and test need at least 3; "
            "choose a finer granularity (15min, hour) or more days"
        )
    train_end = max(1, min(total * shares[0] // 100, total - 2))
    valid_end = min(max(total * (shares[0] + shares[1]) // 100, train_end + 1), total - 1)
    return np.searchsorted([train_end, valid_end], snapshot, side="right").astype(np.int8)


def _codes(*columns: Any) -> tuple:
    """The sorted distinct names of polars Series of text, and each Series as int64 positions among them."""
    import polars as pl

    names = pl.concat(columns).unique().sort()
    kind = pl.Enum(names)
    return names.to_list(), *(column.cast(kind).to_physical().to_numpy().astype(np.int64) for column in columns)
