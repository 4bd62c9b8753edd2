"""A graph that ends at a time to be forecast: the history before it, and the time itself as an empty snapshot."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import DataError


@dataclass(frozen=True)
class ForecastTarget:
    """A snapshot without facts that is to be forecast, at the end of a graph.

    **Arguments:** `graph`: the history, then one or two empty snapshots; `target`: index of the last one;
    `history_end`: index of the first empty one, so that the history is all snapshots before it.
    """

    graph: TemporalGraph
    target: int
    history_end: int

    @property
    def history(self) -> TemporalGraph:
        """The facts before the target, without the empty snapshots."""
        return dataclasses.replace(self.graph, times=self.graph.times[: self.history_end])

    @property
    def time_index(self) -> np.float64:
        """The model's clock at the target, but at most as many steps after the history as the history has.

        Further from the times of its training, a linear time vector says nothing.
        """
        clock = self.graph.time_index
        last = clock[self.history_end - 1]
        # The history spans last - clock[0] + 1 steps, and as many again may follow `last`.
        return np.minimum(clock[self.target], 2 * last - clock[0] + 1)


def make_forecast_target(graph: TemporalGraph, time: int | None = None) -> ForecastTarget:
    """The forecast target at `time`, in the unit of `graph.times`; None takes the step after the last snapshot.

    Facts at `time` and later are left out. A target more than a step ahead is forecast as in the multi-step setting:
    the history ends a step after its last snapshot, and only the clock goes on to the target.

    **Raises:** DataError where nothing happened before `time`.
    """
    step = graph.time_interval
    time = int(graph.times[-1]) + step if time is None else time
    # From the left: a snapshot at `time` itself is cut off, because its facts are what the forecast is about.
    kept = int(np.searchsorted(graph.times, time))
    if kept == 0:
        raise DataError(
            f"{graph.name}: nothing is known before {time}, for the first facts are of {int(graph.times[0])}; "
            "ask for a later time"
        )
    last = int(graph.times[kept - 1])
    # The first of two empty snapshots is where the history ends; the second carries the clock of the target.
    between = [last + step] if last + step < time else []
    facts = slice(0, int(graph.offsets[kept]))
    fields = {name: getattr(graph, name)[facts] for name in ("subject", "relation", "object", "snapshot", "split")}
    times = np.concatenate([graph.times[:kept], np.array([*between, time], np.int64)])
    return ForecastTarget(dataclasses.replace(graph, times=times, **fields), kept + len(between), kept)
