"""Event tables: who did what to whom and when, a row for each event, cut to a window and into snapshots."""

import hashlib
import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from tirgn_eqx.data.graph import LoadOptions, ReadReport, TemporalGraph, from_facts
from tirgn_eqx.data.readers.event_table import EventTable, is_frame, read_table
from tirgn_eqx.data.readers.numeric_times import Times, format_span
from tirgn_eqx.data.readers.static_words import make_static_graph, parse_static_words, word_columns
from tirgn_eqx.data.readers.table_columns import parse_columns
from tirgn_eqx.data.readers.table_files import PACKED_SUFFIXES, form_of, table_form
from tirgn_eqx.data.readers.timestamps import find_doubts, read_times
from tirgn_eqx.data.times import DAY
from tirgn_eqx.errors import ConfigError, DataError, DataWarning, nearest

if TYPE_CHECKING:
    import polars as pl

# Name of a granularity: (seconds in one unit of time, units in one snapshot).
GRANULARITIES = {"15min": (60, 15), "hour": (3600, 1), "day": (DAY, 1)}
# Kinds of data, in a graph's provenance, that are event tables: `parquet` also stands for a folder of parquet files.
EVENT_KINDS = ("parquet", "table", "frame")
_DEFAULT_DAYS = 30
_SPARSE = 0.01  # of the median day's events; days with fewer, far behind the others, are stray
_log = logging.getLogger("tirgn_eqx")


@dataclass(frozen=True)
class ReadingOptions:
    """How an event table is read. None stands for an option that was not given: the reader's default applies.

    **Arguments:**

    - `num_days`: keep the most recent calendar days (UTC); default 30, 0 = all. They are counted back from the last
      day. Days with less than 1 % of the median day's events that lie further behind the days before them than any two
      of those lie apart are stray: left out, with a DataWarning.
    - `max_events`: keep this many events; default 0 = all. Every day is thinned in the same proportion, evenly over its
      hours (see `thin`).
    - `granularity`: length of a snapshot: `15min` (times in minutes), `hour` (hours) or `day` (days, the default), each
      counted from 1970-01-01 UTC.
    - `time_format`: the form of the times, of strptime (`%d/%m/%Y`) or one of `timestamps.NAMED_FORMS`; default:
      decided over all rows (`read_times`). Small whole numbers are step numbers: each is a snapshot, and `num_days` and
      `granularity` have no meaning.
    - `columns`: the columns for `entity1`, `relation`, `entity2`, `timestamp`, as a dict or as
      `entity1=subject,relation=verb`; default: found by well-known names. Numbers for all four are places in a CSV
      file without a header.
    - `skip_bad_rows`: leave rows out that lack a name, or whose time has another form than those of most rows, and
      count them in `TemporalGraph.read`; default: refuse the table.
    - `static_words`: the words of a static graph, some of `country`, `sector` and `name`, such as `country,name`;
      default: no static graph. Countries and sectors are read from the columns `entity1_country`, `entity1_sector`,
      `entity2_country` and `entity2_sector`; see `make_static_graph`.
    """

    num_days: int | None = None
    max_events: int | None = None
    granularity: str | None = None
    time_format: str | None = None
    columns: str | Mapping[str, str] | None = None
    skip_bad_rows: bool | None = None
    static_words: str | None = None

    def given(self) -> LoadOptions:
        """The options that were given, as keywords for `load_graph`."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def check(self) -> None:
        """**Raises:** ConfigError for a granularity or words that do not exist, or a negative number."""
        parse_static_words(self.static_words)
        if self.granularity is not None and self.granularity not in GRANULARITIES:
            hint, known = nearest(self.granularity, GRANULARITIES), ", ".join(GRANULARITIES)
            raise ConfigError(f"granularity {self.granularity!r} does not exist{hint}; known: {known}")
        for option, value in (("num_days", self.num_days), ("max_events", self.max_events)):
            if value is not None and value < 0:
                raise ConfigError(f"{option} = {value}: must be at least 0; 0 keeps all")


READING_OPTIONS = tuple(field.name for field in fields(ReadingOptions))


def read_events(source: object, options: ReadingOptions | None = None) -> TemporalGraph:
    """The temporal graph of an event table, cut by snapshot into 80 % train, 10 % valid and 10 % test.

    Entities and relations keep their names. Their ids follow their first appearance in the whole table (names break
    ties), also in rows that `num_days` and `max_events` leave out: so the order of two names is the same for every
    window and granularity, and no later event changes it. An event that the table holds twice counts twice.

    **Arguments:** `source`: a parquet, CSV, TSV, NDJSON, Arrow or Feather file, a folder of such parts, or a DataFrame
    of polars or pandas; further columns are ignored.

    **Raises:** ConfigError for an impossible option; DataError for a source that is no such table, with column
    and row, or for fewer than three snapshots.
    """
    options = options or ReadingOptions()
    options.check()
    max_events, skip = options.max_events or 0, bool(options.skip_bad_rows)
    file = None if is_frame(source) else Path(os.path.expanduser(cast("str | os.PathLike[str]", source)))
    where = "the table" if file is None else str(file)
    kinds = parse_static_words(options.static_words)
    table = read_table(source if file is None else file, options.columns, skip, word_columns(kinds))
    place = f"{where}: column {table.columns['timestamp']}"
    times = read_times(
        table.frame["timestamp"], place, time_format=options.time_format, skip=skip, row_name=table.row_name
    )
    for message in find_doubts(times, place, table.row_name, options.time_format is not None):
        warnings.warn(message, DataWarning, stacklevel=2)
    if times.bad.any():
        table, values = table.without(times.bad), times.values[~times.bad]
        times = times._replace(values=values, bad=np.zeros(len(values), bool))
    window = _make_window(times, options.num_days, options.granularity or "day", where)
    facts, entity_names, relation_names, outside = _make_facts(table, times, window, max_events)
    try:
        split = split_by_snapshot(facts[:, 3], f"{where}{window.at}")
    except DataError:
        raise _too_few_snapshots(facts, times, window, outside, where) from None
    chosen = parse_columns(options.columns)
    _log_understanding(times.describe(), table.columns, chosen)
    kind, name, path = "frame", "events", {}
    if file is not None:
        kind = "parquet" if table_form(file) == "parquet" else "table"
        name, path = _table_name(file), {"path": os.path.abspath(file)}
    texts = {"time_format": options.time_format, "columns": ",".join(f"{k}={v}" for k, v in chosen.items())}
    texts["static_words"] = ",".join(kinds)
    static = None
    if kinds:
        # Words are those that are known before the first snapshot that is forecast.
        known = window.keeps(times.values) & (times.values < int(facts[split == 1, 3].min()) * window.unit)
        static = make_static_graph(table.frame.filter(known), entity_names, kinds, where)
    given = {key: value for key, value in (texts | {"skip_bad_rows": skip}).items() if value}
    return from_facts(
        name,
        facts,
        split,
        len(entity_names),
        len(relation_names),
        time_interval=window.interval or None,  # of step numbers, that of all train times
        # The first time, so that a constant that is added to all times changes nothing (docs/model.md).
        clock_origin=int(facts[:, 3].min()),
        time_unit=window.unit if times.dated else None,
        entity_names=entity_names,
        relation_names=relation_names,
        static=static,
        provenance={"kind": kind} | path | window.options | {"max_events": max_events} | given,
        read=ReadReport(
            lines=table.lines,
            facts=len(facts),
            blank=table.blank,
            bad=table.bad,
            outside=outside,
            thinned=table.frame.height - outside - len(facts),
            times=times.describe(),
        ),
    )


def _log_understanding(times: str, found: dict[str, str], chosen: dict[str, str]) -> None:
    """Log once how times were understood, and which columns were taken without being asked for."""
    taken = ", ".join(f"{role} = {name}" for role, name in found.items() if name not in (role, chosen.get(role)))
    for note in filter(None, (taken and f"columns: {taken}", f"times: {times}")):
        _log.info(note, extra={"once": True})


def _table_name(path: Path) -> str:
    """The name of a table: that of its file without the suffixes that say its form."""
    name = os.path.basename(os.path.abspath(path))
    for packed in PACKED_SUFFIXES:
        name = name.removesuffix(packed)
    return Path(name).stem if form_of(name) else name


class _Window(NamedTuple):
    """Which events are kept, and what their snapshots are.

    **Arguments:** `low`, `high`: the first and last day, or None for all; `unit`: seconds in a unit of time, 1 for step
    numbers; `interval`: units in a snapshot, 0 for step numbers; `at`: the granularity, for messages; `options`: for
    the provenance.
    """

    low: int | None
    high: int | None
    unit: int
    interval: int
    at: str
    options: dict[str, int | str]

    def keeps(self, seconds: np.ndarray) -> np.ndarray:
        """bool: which of some times lie in the window."""
        if self.low is None or self.high is None:
            return np.ones(len(seconds), bool)
        day = seconds // DAY
        return (day >= self.low) & (day <= self.high)


def _make_window(times: Times, num_days: int | None, granularity: str, where: str) -> _Window:
    """The window of `num_days`, with a DataWarning for events behind it."""
    if not times.dated:
        for option, value in (("num_days", num_days), ("granularity", granularity)):
            if value and value != "day":
                warnings.warn(
                    f"{where}: {option} = {value} is ignored; its times are step numbers, each of which is a snapshot",
                    DataWarning,
                    stacklevel=3,
                )
        return _Window(None, None, 1, 0, "", {})
    days = _DEFAULT_DAYS if num_days is None else num_days
    options = {"num_days": days, "granularity": granularity}
    window = _Window(None, None, *GRANULARITIES[granularity], f" at granularity {granularity}", options)
    if not days:
        return window
    day = times.values // DAY
    counts = np.bincount(day - day.min())  # of at most 3.7 million days
    distinct = np.flatnonzero(counts)
    distinct, counts = distinct + day.min(), counts[distinct]
    last = _find_last_day(distinct, counts)
    stray = distinct > last
    if stray.any():
        warnings.warn(
            f"{where}: {counts[stray].sum():,} of {len(day):,} events, {format_span(distinct[stray] * DAY, True)}, are "
            f"left out as stray: --num-days counts back from {np.datetime64(last, 'D')}, since later days lie apart "
            "and have less than 1 % of a usual day's events",
            DataWarning,
            stacklevel=3,
        )
    return window._replace(low=last - days + 1, high=last)


def _find_last_day(days: np.ndarray, counts: np.ndarray) -> int:
    """The day that a window counts back from.

    The last day of a feed may be short, so that only days further behind the others than any of those lie apart are
    stray.
    """
    # At least half of the days have as many events as the median, so that `full` is never empty.
    full = days[counts >= _SPARSE * np.median(counts)]
    last = int(full[-1])
    apart = int(np.diff(full).max(initial=1))
    for day in days[days > last].tolist():
        if day - last > apart:
            break
        last = day
    return last


def _too_few_snapshots(facts: np.ndarray, times: Times, window: _Window, outside: int, where: str) -> DataError:
    """The error for fewer than three snapshots, with the times as they were understood."""
    distinct = len(np.unique(facts[:, 3]))
    inside = times.span(window.keeps(times.values))
    advice = "choose a finer granularity (15min, hour) or more days" if times.dated else "give more steps"
    if outside:
        advice = (
            f"{outside:,} of {len(times.values):,} events, which are of {times.span()}, lie outside "
            f"the window: give more with --num-days (0 = all), correct a stray date, or {advice}"
        )
    return DataError(
        f"{where}{window.at}: {distinct} distinct times ({len(facts):,} events, {times.form}, {inside}), but train, "
        f"valid and test need at least 3; {advice}"
    )


def _make_facts(
    table: EventTable, times: Times, window: _Window, max_events: int
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...], int]:
    """int64 `(fact, 4)` in the units of the window, the names by id, and how many events lie outside the window."""
    entities, (subject, object_) = _number_names(table.frame["entity1"], table.frame["entity2"])
    relations, (relation,) = _number_names(table.frame["relation"])
    facts = np.stack([subject, relation, object_, times.values], 1)
    # `facts` holds copies of these.
    del subject, relation, object_
    # Before the window cuts, so that the order of ids does not depend on it.
    first_entity = _first_times(facts, (0, 2), len(entities))
    first_relation = _first_times(facts, (1,), len(relations))
    rows, outside = len(facts), 0
    if window.low is not None:
        facts = facts[window.keeps(facts[:, 3])]
        outside = rows - len(facts)
    if max_events and len(facts) > max_events:
        # `thin` counts in seconds; a step number is thinned as a day is.
        scale = 1 if times.dated else DAY
        facts[:, 3] *= scale
        facts = thin(facts, max_events)
        facts[:, 3] //= scale
    step = window.interval or 1
    # Seconds to units, down to the start of a snapshot: at 15min, second 1000 becomes minute 15.
    facts[:, 3] = facts[:, 3] // (window.unit * step) * step
    entity_names = _renumber(facts, (0, 2), first_entity, entities)
    return facts, entity_names, _renumber(facts, (1,), first_relation, relations), outside


def _number_names(*columns: "pl.Series") -> tuple[list[str], list[np.ndarray]]:
    """The sorted distinct names of polars Series of text, and each Series as int64 positions among them."""
    import polars as pl

    names = pl.concat(columns).unique().sort()
    # An Enum numbers its categories in the order given, which is the sorted one here.
    kind = pl.Enum(names)
    return names.to_list(), [column.cast(kind).to_physical().to_numpy().astype(np.int64) for column in columns]


def _first_times(facts: np.ndarray, columns: tuple[int, ...], number: int) -> np.ndarray:
    """int64 `(name,)`: the first time at which each of `number` names occurs in one of the columns."""
    first = np.full(number, np.iinfo(np.int64).max)
    for column in columns:
        # Plain assignment would keep only the last of the rows that have the same name.
        np.minimum.at(first, facts[:, column], facts[:, 3])
    return first


def _renumber(facts: np.ndarray, columns: tuple[int, ...], first: np.ndarray, names: list[str]) -> tuple[str, ...]:
    """Replace positions among `names` by ids in order of `first` time, then name; returns the names by id."""
    occurs = np.zeros(len(first), bool)
    for column in columns:
        occurs[facts[:, column]] = True
    # The names are sorted, so that the stable sort breaks ties of time by name.
    order = np.argsort(first, kind="stable")
    kept = order[occurs[order]]
    ids = np.full(len(first), -1, np.int64)
    ids[kept] = np.arange(len(kept))
    for column in columns:
        facts[:, column] = ids[facts[:, column]]
    return tuple(names[position] for position in kept.tolist())


def thin(facts: np.ndarray, max_events: int) -> np.ndarray:
    """`max_events` of the facts, every day in the same proportion (largest remainders make the sum exact).

    **Arguments:** `facts`: int64 `(fact, 4)`, the last column in seconds.

    **Returns:** int64 `(max_events, 4)`. Neither the order of the rows nor another day's events nor the date change
    which of a day's facts stay, at a given proportion.
    """
    _, day, count = np.unique(facts[:, 3] // DAY, return_inverse=True, return_counts=True)
    share = count * max_events / len(facts)
    quota = share.astype(np.int64)
    # Ascending in minus the remainder: the largest comes first.
    remainder_first = np.argsort(quota - share, kind="stable")
    quota[remainder_first[: max_events - quota.sum()]] += 1
    # Sorted by content, so that the order of the rows in the source makes no difference.
    by_day = facts[np.lexsort((facts[:, 3], facts[:, 2], facts[:, 1], facts[:, 0], day))]
    kept, start = [], 0
    for total, keep in zip(count.tolist(), quota.tolist()):
        rows = by_day[start : start + total]
        start += total
        chance = np.random.default_rng(_make_seed(rows)).random(total)
        # By time, in random order at equal times. The middles of `keep` equal parts stay, which are spread over the
        # day: of 10 rows, 3 are the rows 1, 5 and 8, counted from 0.
        rows = rows[np.lexsort((chance, rows[:, 3]))]
        kept.append(rows[(2 * np.arange(keep) + 1) * total // (2 * max(keep, 1))])
    return np.concatenate(kept)


def _make_seed(day: np.ndarray) -> int:
    """A seed from the events of a day alone: the order of their names, and their times of day.

    **Arguments:** `day`: int64 `(fact, 4)`, the last column in seconds.
    """
    # Ranks among the names of this day, which no other day changes.
    entities = np.unique(day[:, [0, 2]], return_inverse=True)[1].ravel()
    relations = np.unique(day[:, 1], return_inverse=True)[1].ravel()
    content = np.concatenate([entities, relations, day[:, 3] % DAY])
    # Python's own `hash` differs from process to process.
    return int.from_bytes(hashlib.sha256(content.astype("<i8").tobytes()).digest())


def split_by_snapshot(times: np.ndarray, where: str, shares: tuple[int, int, int] = (80, 10, 10)) -> np.ndarray:
    """int8 `(fact,)`: 0, 1, 2 for the first 80 %, next 10 % and last 10 % of the distinct times, at least one each.

    **Arguments:** `times`: int64 `(fact,)`; `where`: what was read, for messages; `shares`: in percent.

    **Raises:** DataError for fewer than three distinct times.
    """
    distinct, snapshot = np.unique(times, return_inverse=True)
    total = len(distinct)
    if total < 3:
        raise DataError(
            f"{where}: {total} distinct times, but train, valid and test need at least 3; "
            "choose a finer granularity (15min, hour) or more days"
        )
    # In whole numbers: 0.29 * 100 is 28.999999999999996 as a float.
    train_end = max(1, min(total * shares[0] // 100, total - 2))
    valid_end = min(max(total * (shares[0] + shares[1]) // 100, train_end + 1), total - 1)
    return np.searchsorted([train_end, valid_end], snapshot, side="right").astype(np.int8)
