"""The model's clock as a checkpoint keeps it, given to the data that the checkpoint meets.

Weights know time as numbers of steps from an origin. Data that are read again, from a later day on or with more days,
have another first snapshot, so that their own clock would give every time another number.
"""

import dataclasses
import warnings
from typing import Any

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import DataError, DataWarning, shown

# With more distances between snapshots than this, gaps alone do not make all of them multiples of a longer step.
_CHANCE = 3


def clock_of(graph: TemporalGraph) -> dict[str, int]:
    """The clock of a graph, as checkpoints and training states keep it, with the times that it went through."""
    return {
        "time_interval": int(graph.time_interval),
        "clock_origin": int(graph.clock_origin),
        "first_time": int(graph.times[0]),
        "last_time": int(graph.times[-1]),
    }


def with_clock(graph: TemporalGraph, described: dict[str, Any], *, learning: bool = False) -> TemporalGraph:
    """`graph` with the clock of a checkpoint: a time has the same number of steps as in the checkpoint's training.

    **Arguments:** `described`: the metadata of the checkpoint, or of a training state. Without an origin in it, its
    clock counts from 0. RE-GCN knows the order of snapshots alone: for it, every graph stays as it is. `learning`: the
    checkpoint is to be trained on these data, so that it may be far from them.

    **Raises:** DataError for a graph whose step has another length. A DataWarning tells of data so far from those of
    the training that TiRGN, whose linear time vector grows with every step, forecasts badly from them.
    """
    config, data = described.get("config") or {}, described.get("data") or {}
    structure = config.get("structure")
    families = (config.get("family"), structure.get("family") if isinstance(structure, dict) else None)
    if families[0] == "regcn":
        return graph
    interval, origin = data.get("time_interval", graph.time_interval), data.get("clock_origin", 0)
    _check_step(graph, data, interval)
    if "tirgn" in families and not learning:
        _doubt(graph, data, interval)
    if (interval, origin) == (graph.time_interval, graph.clock_origin):
        return graph
    found = dataclasses.replace(graph, time_interval=interval, clock_origin=origin)
    # What takes long to find and does not depend on the clock.
    kept = ("checksum", "offsets", "split_counts", "home")
    found.__dict__.update({name: value for name, value in graph.__dict__.items() if name in kept})
    return found


def _check_step(graph: TemporalGraph, data: dict[str, Any], interval: int) -> None:
    """**Raises:** DataError for a graph whose step is not that of a checkpoint with `data`."""
    there, here = (data.get("provenance") or {}).get("granularity"), graph.provenance.get("granularity")
    if there is not None and here is not None and there != here:
        raise DataError(
            f"{graph.name}: one step is {shown(here, 20)}, but {shown(there, 20)} in the training of the checkpoint, "
            "whose clock counts steps; read the data with its --granularity, or train anew on these"
        )
    if interval == graph.time_interval:
        return
    distances = np.diff(graph.times)
    step = int(np.gcd.reduce(distances)) if len(distances) else 0
    # The interval of a few snapshots is that of their gaps, so they may have the checkpoint's nevertheless.
    if step % interval or (step != interval and len(distances) > _CHANCE):
        raise DataError(
            f"{graph.name}: one step is {step:,} in its unit of time, but {interval:,} in the training of the "
            "checkpoint, whose clock counts steps; give data with the same step, or train anew on these"
        )


def _doubt(graph: TemporalGraph, data: dict[str, Any], interval: int) -> None:
    """Warn of data that end further from those of a checkpoint than these lasted."""
    first, last, end = data.get("first_time"), data.get("last_time"), int(graph.times[-1])
    if first is None or last is None:
        return
    far, side = max((end - last, "after the last"), (first - end, "before the first"))
    lasted = last - first + interval
    if far > lasted:
        warnings.warn(
            f"{graph.name}: ends {far // interval:,} steps {side} that the checkpoint was trained on, and its training "
            f"data last {lasted // interval:,}; so far from what it learnt TiRGN forecasts worse with every step, so "
            "retrain it on newer data; or do these count time from another moment?",
            DataWarning,
            stacklevel=4,
        )
