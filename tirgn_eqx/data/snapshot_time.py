"""Times of snapshots as people write them, and back."""

import datetime
import re

from tirgn_eqx.data import dates
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import DataError, shown


def moment(graph: TemporalGraph, snapshot: int) -> int | str:
    """When a snapshot was: ISO 8601 (UTC) for data with dates, whose times count from 1970."""
    whole_minutes = int(graph.times[0]) % 60 == 0 and graph.time_interval % 60 == 0
    return dates.text_of(
        int(graph.times[snapshot]), graph.time_unit, seconds=graph.time_unit == 1 and not whole_minutes
    )


def parse_time(graph: TemporalGraph, at: str | int) -> int:
    """A moment in the unit of `graph.times`. **Raises:** DataError for what is no time."""
    unit = graph.time_unit
    if isinstance(at, int) or (unit is None and re.fullmatch(r"\s*-?[0-9]{1,16}\s*", at)):
        return int(at)
    if unit is None:
        raise DataError(
            f"time {shown(at)}: {graph.name} has numbers for times; give one, such as {int(graph.times[-1])}"
        )
    try:
        when = datetime.datetime.fromisoformat(at)
    except ValueError as error:
        raise DataError(f"time {shown(at)}: not a date or time; write it as 2018-02-01 or 2018-02-01T06:00") from error
    when = when if when.tzinfo else when.replace(tzinfo=datetime.UTC)
    # Snapshots lie a whole number of intervals from the first one, which need not be a multiple of the interval.
    first, interval = int(graph.times[0]), graph.time_interval
    return first + (int(when.timestamp()) // unit - first) // interval * interval
