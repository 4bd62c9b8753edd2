"""What is known before a moment, with the moment itself as an empty snapshot that can be forecast."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import DataError


@dataclass(frozen=True)
class Outlook:
    """A graph that ends with empty snapshots; the last one, `target`, is to be forecast, and nothing from snapshot
    `known` on happened before it, `known` being the first empty one."""

    graph: TemporalGraph
    target: int
    known: int

    @property
    def time_index(self) -> np.float64:
        """The model's clock at the target, held where as many steps lie ahead of the last known snapshot as the known
        ones last: further from what it learnt, a linear time vector says nothing."""
        clock = self.graph.time_index
        last = clock[self.known - 1]
        return np.minimum(clock[self.target], 2 * last - clock[0] + 1)


def outlook(graph: TemporalGraph, time: int | None = None) -> Outlook:
    """What was known before `time`, in the unit of `graph.times`; None: the step after the last snapshot.

    Facts at `time` and later are left out. A target further than a step ahead is forecast as in the multi-step
    setting: what is known ends a step after the last snapshot, and the clock alone goes on, in models for as many steps
    as are known.

    **Raises:** DataError where nothing happened before `time`.
    """
    step = graph.time_interval
    time = int(graph.times[-1]) + step if time is None else time
    kept = int(np.searchsorted(graph.times, time))
    if kept == 0:
        raise DataError(
            f"{graph.name}: nothing is known before {time}, for the first facts are of {int(graph.times[0])}; "
            "ask for a later time"
        )
    last = int(graph.times[kept - 1])
    further = [last + step] * (last + step < time)
    facts = slice(0, int(graph.offsets[kept]))
    fields = {name: getattr(graph, name)[facts] for name in ("subject", "relation", "object", "snapshot", "split")}
    times = np.concatenate([graph.times[:kept], np.array([*further, time], np.int64)])
    return Outlook(dataclasses.replace(graph, times=times, **fields), kept + len(further), kept)
