"""The model's clock: what a checkpoint keeps of it, and how data that a checkpoint is used with get it.

Weights know time as a number of steps from an origin. Data that are read again with other or more days begin with
another snapshot, so that a clock of their own would give every time another number.
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Protocol, TypedDict, cast, runtime_checkable

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import DataError, DataWarning, shown

# The gaps between a few snapshots may all happen to be multiples of a longer step; more gaps than this are no chance.
_FEW_GAPS = 3


@runtime_checkable
class MetadataDocument(Protocol):
    """The metadata of a checkpoint or a training state as a validated document, such as `load_model` returns."""

    def to_dict(self) -> Mapping[str, object]:
        """The JSON-compatible form."""
        ...


Metadata = Mapping[str, object] | MetadataDocument


def metadata_by_key(metadata: Metadata) -> Mapping[str, object]:
    """Metadata in either form by the keys that they have in the file."""
    return metadata if isinstance(metadata, Mapping) else metadata.to_dict()


class _Config(TypedDict, total=False):
    """The settings that name the model families."""

    family: str
    structure: Mapping[str, object] | str
    base: Mapping[str, object] | str


class _Data(TypedDict, total=False):
    """What `describe_clock` said of the training data; metadata of older versions lack some of it."""

    time_interval: int
    clock_origin: int
    first_time: int | None
    last_time: int | None
    provenance: Mapping[str, object] | None


def describe_clock(graph: TemporalGraph) -> dict[str, int]:
    """The clock of a graph and its first and last time, as checkpoints and training states keep them."""
    return {
        "time_interval": int(graph.time_interval),
        "clock_origin": int(graph.clock_origin),
        "first_time": int(graph.times[0]),
        "last_time": int(graph.times[-1]),
    }


def apply_clock(graph: TemporalGraph, metadata: Metadata, *, learning: bool = False) -> TemporalGraph:
    """`graph` with the clock of a checkpoint, so that a time has the same number of steps as in its training.

    A RE-GCN checkpoint knows only the order of snapshots: its graphs stay as they are, unless the rates of an event
    model, which count steps, come with it.

    **Arguments:** `metadata`: of the checkpoint or training state; without an origin in it, its clock counts from 0.
    `learning`: the checkpoint is to be trained on these data, so that they may be far from those it was trained on.

    **Raises:** DataError for a graph with a step of another length. DataWarning for data far from those of the
    training: TiRGN's linear time vector grows with every step, so that it forecasts badly there.
    """
    described = metadata_by_key(metadata)
    # Metadata that come from files were validated when they were read.
    config, data = cast(_Config, described.get("config") or {}), cast(_Data, described.get("data") or {})
    families = list(_families(config))
    if families == ["regcn"]:
        return graph
    interval, origin = data.get("time_interval", graph.time_interval), data.get("clock_origin", 0)
    _check_step(graph, data, interval)
    if "tirgn" in families and not learning:
        _warn_if_far(graph, data, interval)
    if (interval, origin) == (graph.time_interval, graph.clock_origin):
        return graph
    return graph.relabel(time_interval=interval, clock_origin=origin)


def _families(config: Mapping[str, object]) -> Iterator[object]:
    """The families of a model and its parts: the settings of a mixture hold those of its neural part under `structure`,
    and those of an event model the model that ranks under `base`."""
    yield config.get("family")
    for part in (config.get("structure"), config.get("base")):
        if isinstance(part, Mapping):
            yield from _families(cast(Mapping[str, object], part))


def _check_step(graph: TemporalGraph, data: _Data, interval: int) -> None:
    """**Raises:** DataError for a graph whose step is not `interval`, the one of a checkpoint with `data`."""
    there, here = (data.get("provenance") or {}).get("granularity"), graph.provenance.get("granularity")
    if there is not None and here is not None and there != here:
        raise DataError(
            f"{graph.name}: one step is {shown(here, 20)}, but {shown(there, 20)} in the training of the checkpoint, "
            "whose clock counts steps; read the data with its --granularity, or train anew on these"
        )
    if interval == graph.time_interval:
        return
    # A single snapshot has no gaps. Its step is then 0, which is a multiple of any interval, so that it passes.
    gaps = np.diff(graph.times)
    step = int(np.gcd.reduce(gaps)) if len(gaps) else 0
    # With few snapshots, the interval was taken from their gaps and may be a multiple of the true one.
    if step % interval or (step != interval and len(gaps) > _FEW_GAPS):
        raise DataError(
            f"{graph.name}: one step is {step:,} in its unit of time, but {interval:,} in the training of the "
            "checkpoint, whose clock counts steps; give data with the same step, or train anew on these"
        )


def _warn_if_far(graph: TemporalGraph, data: _Data, interval: int) -> None:
    """DataWarning for data whose end is further from those of a checkpoint than the length of these."""
    first, last, end = data.get("first_time"), data.get("last_time"), int(graph.times[-1])
    if first is None or last is None:
        return
    # Data that end within the time of the training give two distances of at most 0, and hence no warning.
    distance, side = max((end - last, "after the last"), (first - end, "before the first"))
    # A training on a single snapshot lasts one step, not 0.
    length = last - first + interval
    # As far ahead as the training data last, forecasts lose little: on a simulated world the MRR falls from .616 to
    # .613, but at twice that distance to .577 (docs/model.md).
    if distance > length:
        warnings.warn(
            f"{graph.name}: ends {distance // interval:,} steps {side} that the checkpoint was trained on, and its "
            f"training data last {length // interval:,}; so far from what it learnt TiRGN forecasts worse with every "
            "step, so retrain it on newer data; or do these count time from another moment?",
            DataWarning,
            stacklevel=4,
        )
