"""Times of snapshots as people write them, and back."""

import datetime
import re

from tirgn_eqx.data.events import EVENT_KINDS, GRANULARITIES
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import DataError, shown


def moment(graph: TemporalGraph, snapshot: int) -> int | str:
    """When a snapshot was: ISO 8601 (UTC) for event tables, whose times count from 1970."""
    time, granularity = int(graph.times[snapshot]), graph.provenance.get("granularity")
    if graph.provenance.get("kind") not in EVENT_KINDS or granularity not in GRANULARITIES:
        return time
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=time * GRANULARITIES[granularity][0])
    return moment.date().isoformat() if granularity == "day" else moment.isoformat(timespec="minutes")


def parse_time(graph: TemporalGraph, at: str | int) -> int:
    """A moment in the unit of `graph.times`. **Raises:** DataError for what is no time."""
    granularity = str(graph.provenance.get("granularity"))
    dated = graph.provenance.get("kind") in EVENT_KINDS and granularity in GRANULARITIES
    if isinstance(at, int) or (not dated and re.fullmatch(r"\s*-?[0-9]{1,16}\s*", at)):
        return int(at)
    if not dated:
        raise DataError(
            f"time {shown(at)}: {graph.name} has numbers for times; give one, such as {int(graph.times[-1])}"
        )
    try:
        when = datetime.datetime.fromisoformat(at)
    except ValueError as error:
        raise DataError(f"time {shown(at)}: not a date or time; write it as 2018-02-01 or 2018-02-01T06:00") from error
    when = when if when.tzinfo else when.replace(tzinfo=datetime.UTC)
    unit, interval = GRANULARITIES[granularity]
    return int(when.timestamp()) // (unit * interval) * interval
