"""What an ingest counts: lines, late events, repeated facts, and gaps in time."""

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import polars as pl

from tirgn_eqx.ingest.clean import DROPPED, Events
from tirgn_eqx.ingest.documents import EventsSummary, Gap, Gaps, Ranges, TimesSeen, Totals
from tirgn_eqx.ingest.event_format import FACT
from tirgn_eqx.ingest.lines import ParsedLines

# Classes of days between the day of an event and the day on which it became known, each up to a largest number.
LATE = {"1 day": 1, "2 to 7 days": 7, "8 to 31 days": 31, "32 to 365 days": 365, "more": None}
QUARTER_HOUR, DAY = 900, 86_400  # seconds


class RowCounts:
    """Counts of an ingest: `rows` by what became of them, `late` events by how late, what was `noted` in rows that are
    well-formed, and the times seen."""

    def __init__(self):
        names = ("read", "malformed", *DROPPED, "repeated_ids", "accepted", "blank_lines", "latin1")
        self.rows: Counter[str] = Counter(dict.fromkeys(names, 0))
        self.late: Counter[str] = Counter(dict.fromkeys((*LATE, "early"), 0))
        self.noted: Counter[str] = Counter()
        self.quarter_hours: set[int] = set()
        self.days: set[int] = set()

    def add_lines(self, filled: int, blank: int, malformed: int) -> None:
        """Count the lines of a file; `filled` are all that are not `blank`."""
        self.rows.update({"read": filled, "blank_lines": blank, "malformed": malformed})

    def add_parsed(self, parsed: ParsedLines) -> None:
        """Count what does not belong to one file of a block: encodings and times."""
        self.rows["latin1"] += parsed.latin1
        self.noted.update(parsed.noted)
        self.quarter_hours.update(parsed.quarters.tolist())
        self.days.update(parsed.days.tolist())

    def add_events(self, events: Events, new: np.ndarray) -> None:
        """Count events; `new` `(event,)` says which occur for the first time."""
        accepted = int(new.sum())
        self.rows.update(events.dropped | {"accepted": accepted, "repeated_ids": len(new) - accepted})
        self.noted["generic_actor"] += events.generic
        late = events.late.filter(pl.Series(new, dtype=pl.Boolean)).drop_nulls().to_numpy()
        bounds = [0, *(most for most in LATE.values() if most is not None)]
        # With these bounds, searchsorted gives 0 for at most 0 days, 1 for 1 day, 2 for 2 to 7 days, and so on to 5 for
        # more than 365. Class 0 is not late.
        counts = np.bincount(np.searchsorted(bounds, late, side="left"), minlength=len(bounds) + 1)
        self.late.update(dict(zip(LATE, counts[1:].tolist())))
        self.late["early"] += int((late < 0).sum())

    def add_to(self, totals: Totals) -> Totals:
        """The totals of earlier ingests with these counts added."""
        return Totals(
            rows={name: count + totals.rows.get(name, 0) for name, count in self.rows.items()},
            late={name: count + totals.late.get(name, 0) for name, count in self.late.items()},
            noted={name: self.noted[name] + totals.noted.get(name, 0) for name in self.noted | totals.noted},
        )

    def merge_seen(self, seen: TimesSeen) -> TimesSeen:
        """The times that earlier ingests saw with those of this one."""
        return TimesSeen(
            quarter_hours=merge_ranges(seen.quarter_hours, self.quarter_hours), days=merge_ranges(seen.days, self.days)
        )


class TableCounts:
    """Counts events on their way into the table, and drops those that repeat a fact.

    Of events with the same fact, the one with the smallest id stays. **Arguments:** `keep_duplicates`: count
    the repeated facts but keep them; `on_repeats`: called with the events that are dropped.
    """

    def __init__(self, keep_duplicates: bool, on_repeats: Callable[[pl.DataFrame], None] = lambda events: None):
        self._keep, self._on_repeats = keep_duplicates, on_repeats
        self.events = self.repeated = self.self_loops = 0
        self.actors: set[str] = set()
        self.relations: set[str] = set()
        self.first: dt.datetime | None = None
        self.last: dt.datetime | None = None

    def __call__(self, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """The events of the table, in order of time. The events of one time are collected before any is returned."""
        held: list[pl.DataFrame] = []
        for frame in itertools.chain(frames, [None]):
            if frame is None:
                whole = pl.concat(held) if held else None
                held = []
            else:
                # Events of the last time of a frame are held back: the next frame may hold more of them, and repeated
                # facts are found only among all events of a time.
                begins_last = int(frame["timestamp"].search_sorted(frame["timestamp"][-1], side="left"))
                same_time = held and held[-1]["timestamp"][-1] == frame["timestamp"][-1]
                if begins_last == 0 and same_time:
                    held.append(frame)
                    continue
                whole = pl.concat([*held, frame.head(begins_last)])
                held = [frame.slice(begins_last)]
            if whole is not None and whole.height:
                yield self._count(whole)

    def _count(self, frame: pl.DataFrame) -> pl.DataFrame:
        # Within a time, events are in order of their id, so the first one has the smallest.
        first = frame.select(pl.struct(FACT).is_first_distinct()).to_series()
        repeated = frame.filter(~first)
        self.repeated += repeated.height
        if repeated.height and not self._keep:
            self._on_repeats(repeated)
            frame = frame.filter(first)
        self.events += frame.height
        self.self_loops += int((frame["entity1"] == frame["entity2"]).sum())
        self.actors.update(frame["entity1"].unique(), frame["entity2"].unique())
        self.relations.update(frame["relation"].unique())
        self.first = self.first or frame["timestamp"][0]
        self.last = frame["timestamp"][-1]
        return frame

    def summarize(self, accepted: int, ids_kept: int) -> EventsSummary:
        """The counts of the table.

        **Arguments:** `accepted`: events that all ingests have accepted; `ids_kept`: how many of the dropped ones are
        known by their ids.
        """
        # Facts that earlier ingests dropped are not in the frames: they are the accepted events that the table lacks.
        dropped = 0 if self._keep else accepted - self.events
        return EventsSummary(
            events=self.events,
            repeated_facts=self.repeated if self._keep else dropped,
            forgotten_repeats=max(0, dropped - ids_kept),
            self_loops=self.self_loops,
            actors=len(self.actors),
            relations=len(self.relations),
            first=None if self.first is None else self.first.isoformat(sep=" "),
            last=None if self.last is None else self.last.isoformat(sep=" "),
        )


def merge_ranges(ranges: Ranges, values: Iterable[int]) -> Ranges:
    """The union of `ranges` (first and last included) and of single values, as ascending ranges."""
    merged: Ranges = []
    for first, last in sorted([*ranges, *((value, value) for value in values)]):
        # Adjacent ranges become one: (1, 3) and (4, 4) are (1, 4).
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


def find_gaps(ranges: Ranges, unit: int) -> Gaps:
    """The times between ascending ranges. **Arguments:** `unit`: seconds of one step of time."""
    form = "%Y-%m-%d" if unit == DAY else "%Y-%m-%d %H:%M"
    gaps = []
    for (_, before), (after, _) in itertools.pairwise(ranges):
        first, last = (
            dt.datetime.fromtimestamp(value * unit, dt.UTC).strftime(form) for value in (before + 1, after - 1)
        )
        gaps.append(Gap(first=first, last=last, count=after - before - 1))
    return Gaps(count=sum(gap.count for gap in gaps), ranges=gaps)
