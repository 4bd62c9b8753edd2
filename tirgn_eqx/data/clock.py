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

# Data that begin so many times their own length away from the origin are doubted aloud.
_FAR = 100
# With more distances between snapshots than this, gaps alone do not make all of them multiples of a longer step.
_CHANCE = 3


def clock_of(graph: TemporalGraph) -> dict[str, int]:
    """The clock of a graph, as checkpoints and training states keep it; JSON-compatible."""
    return {"time_interval": int(graph.time_interval), "clock_origin": int(graph.clock_origin)}


def with_clock(graph: TemporalGraph, described: dict[str, Any]) -> TemporalGraph:
    """`graph` with the clock of a checkpoint: a time has the same number of steps as in the checkpoint's training.

    **Arguments:** `described`: the metadata of the checkpoint, or of a training state. Without an origin in it, its
    clock counts from 0. RE-GCN knows the order of snapshots alone: for it, every graph stays as it is.

    **Raises:** DataError for a graph whose step has another length. Data that begin far away from the origin raise a
    DataWarning.
    """
    config, data = described.get("config") or {}, described.get("data") or {}
    if config.get("model") == "regcn" and config.get("history") != "evidence":
        return graph
    interval, origin = data.get("time_interval", graph.time_interval), data.get("clock_origin", 0)
    there, here = (data.get("provenance") or {}).get("granularity"), graph.provenance.get("granularity")
    if there is not None and here is not None and there != here:
        raise DataError(
            f"{graph.name}: one step is {shown(here, 20)}, but {shown(there, 20)} in the training of the checkpoint, "
            "whose clock counts steps; read the data with its --granularity, or train anew on these"
        )
    if interval != graph.time_interval:
        distances = np.diff(graph.times)
        step = int(np.gcd.reduce(distances)) if len(distances) else 0
        # The interval of a few snapshots is that of their gaps, so they may have the checkpoint's nevertheless.
        if step % interval or (step != interval and len(distances) > _CHANCE):
            raise DataError(
                f"{graph.name}: one step is {step:,} in its unit of time, but {interval:,} in the training of the "
                "checkpoint, whose clock counts steps; give data with the same step, or train anew on these"
            )
    if (interval, origin) != (graph.time_interval, graph.clock_origin):
        graph = _counted(graph, interval, origin)
    first, last = graph.time_index[[0, -1]]
    if abs(first) > _FAR * (last - first + 1):
        warnings.warn(
            f"{graph.name}: begins {abs(first):,.0f} steps {'before' if first < 0 else 'after'} the clock of the "
            f"checkpoint, which is more than {_FAR} times as long as it lasts; check that both count time from the "
            "same moment, and train anew if they do",
            DataWarning,
            stacklevel=3,
        )
    return graph


def _counted(graph: TemporalGraph, interval: int, origin: int) -> TemporalGraph:
    """`graph` with another clock, which keeps what takes long to find and does not depend on the clock."""
    found = dataclasses.replace(graph, time_interval=interval, clock_origin=origin)
    kept = ("checksum", "offsets", "split_counts", "home")
    found.__dict__.update({name: value for name, value in graph.__dict__.items() if name in kept})
    return found
