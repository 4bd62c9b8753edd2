"""What an ingest counts, and the report that is made of it."""

import datetime as dt
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import polars as pl

from tirgn_eqx.gdelt.clean import DROPPED, Events
from tirgn_eqx.gdelt.columns import FACT
from tirgn_eqx.gdelt.read import Rows

# Days between what an event says happened and when it became known: name and largest number.
LATE = {"1 day": 1, "2 to 7 days": 7, "8 to 31 days": 31, "32 to 365 days": 365, "more": None}
UNITS = {"quarter_hours": 900, "days": 86_400}
Ranges = list[list[int]]


class Counts:
    """Counts of a run: `rows` by what became of them, `late` events by how late, times `seen` by unit."""

    def __init__(self):
        names = ("read", "malformed", *DROPPED, "repeated_ids", "accepted", "blank_lines", "latin1")
        self.rows: Counter[str] = Counter(dict.fromkeys(names, 0))
        self.late: Counter[str] = Counter(dict.fromkeys((*LATE, "early"), 0))
        self.seen: dict[str, set[int]] = {name: set() for name in UNITS}

    def add_lines(self, filled: int, blank: int, rejects: int) -> None:
        """Counts lines of a file: those that hold something, those that do not, and those that are no event."""
        self.rows.update({"read": filled, "blank_lines": blank, "malformed": rejects})

    def add_rows(self, rows: Rows) -> None:
        """Counts what does not belong to one file of a block: its encoding and its times."""
        self.rows["latin1"] += rows.latin1
        self.seen["quarter_hours"].update(rows.quarters.tolist())
        self.seen["days"].update(rows.days.tolist())

    def add_events(self, events: Events, new: np.ndarray) -> None:
        """Counts its events; `new` `(event,)` says which GlobalEventIDs were not there before."""
        accepted = int(new.sum())
        self.rows.update(events.dropped | {"accepted": accepted, "repeated_ids": len(new) - accepted})
        late = events.late.filter(pl.Series(new, dtype=pl.Boolean)).to_numpy()
        bounds = [0, *(most for most in LATE.values() if most is not None)]
        counts = np.bincount(np.searchsorted(bounds, late, side="left"), minlength=len(bounds) + 1)
        self.late.update(dict(zip(LATE, counts[1:].tolist())))
        self.late["early"] += int((late < 0).sum())

    def plus(self, totals: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        """The counts with those of earlier runs."""
        add = lambda now, before: {name: count + before.get(name, 0) for name, count in now.items()}
        return {"rows": add(self.rows, totals.get("rows", {})), "late": add(self.late, totals.get("late", {}))}


class TableCounts:
    """Counts the events on their way into the table and takes out, or leaves in, those that repeat a fact.

    Of events with the same fact the one with the smallest GlobalEventID is the first. **Arguments:**
    `keep_duplicates`: leave repeated facts in.
    """

    def __init__(self, keep_duplicates: bool):
        self._keep = keep_duplicates
        self.events = self.repeated = self.self_loops = 0
        self.actors: set[str] = set()
        self.relations: set[str] = set()
        self.first: dt.datetime | None = None
        self.last: dt.datetime | None = None

    def __call__(self, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Events in order of time as they go into the table. A time's events are held together until all are there."""
        held: list[pl.DataFrame] = []
        for frame in itertools.chain(frames, [None]):
            if frame is None:
                whole = pl.concat(held) if held else None
                held = []
            else:
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
        distinct = frame.unique(FACT, keep="first", maintain_order=True)
        self.repeated += frame.height - distinct.height
        frame = frame if self._keep else distinct
        self.events += frame.height
        self.self_loops += int((frame["entity1"] == frame["entity2"]).sum())
        for names, columns in ((self.actors, ("entity1", "entity2")), (self.relations, ("relation",))):
            for column in columns:
                names.update(frame[column].unique())
        self.first = self.first or frame["timestamp"][0]
        self.last = frame["timestamp"][-1]
        return frame

    def to_dict(self, accepted: int) -> dict[str, Any]:
        """The counts of the table. **Arguments:** `accepted`: events of all runs that came to it."""
        return {
            "events": self.events,
            "repeated_facts": self.repeated if self._keep else accepted - self.events,
            "self_loops": self.self_loops,
            "actors": len(self.actors),
            "relations": len(self.relations),
            "first": None if self.first is None else self.first.isoformat(sep=" "),
            "last": None if self.last is None else self.last.isoformat(sep=" "),
        }


def malformed_in_words(report: dict[str, Any]) -> str:
    """How many lines of a run were no event, the commonest reason with its first line, and where they all are."""
    rows, malformed = report["rows"], report["malformed"]
    most = malformed["most"]
    value = most["reason"].partition(" ")[2]
    hint = ""
    if value.startswith(("'\"", "\"'")):
        hint = "; GDELT puts nothing in quotes: write the file again without them"
    elif re.fullmatch(r"'[0-9]\.[0-9]+E\+?[0-9]+'", value, re.IGNORECASE):
        hint = "; a spreadsheet has rounded it: take the file as GDELT wrote it"
    return (
        f"{rows['malformed']:,} of {rows['read']:,} lines malformed, most: {most['reason']} "
        f"({most['file']}:{most['line']}){hint}; see {malformed['file']}"
    )


def merged_ranges(ranges: Ranges, values: Iterable[int]) -> Ranges:
    """The values and those in `ranges` (first and last included) as ranges, in order."""
    merged: Ranges = []
    for first, last in sorted([*map(tuple, ranges), *((value, value) for value in values)]):
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(last, merged[-1][1])
        else:
            merged.append([first, last])
    return merged


def missing(ranges: Ranges, unit: int) -> dict[str, Any]:
    """What lies between the ranges of times that were seen: how many units of time, and their ranges."""
    gaps = [(before[1] + 1, after[0] - 1) for before, after in itertools.pairwise(ranges)]
    form = "%Y-%m-%d" if unit == UNITS["days"] else "%Y-%m-%d %H:%M"
    told = lambda value: dt.datetime.fromtimestamp(value * unit, dt.UTC).strftime(form)
    return {
        "count": sum(last - first + 1 for first, last in gaps),
        "ranges": [{"first": told(first), "last": told(last), "count": last - first + 1} for first, last in gaps],
    }
