"""When the past events behind a forecast of events came: the fact itself, the two actors, and the subject's others."""

import numpy as np
from jaxtyping import Int64

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.data.index.occurrences import Occurrences
from tirgn_eqx.data.times import format_snapshot_time, to_text
from tirgn_eqx.evaluate.results import Document
from tirgn_eqx.forecast.events import EventForecast, EventForecaster

STEPS = 90  # that a timeline reaches back, if the history does


class PastTime(Document):
    """A past time with events: `ago`: how many steps before the first one that is forecast; `events`: how many."""

    time: int | str
    ago: int
    events: int


class TimelineRow(Document):
    """Past events of one kind: how many in all, when last, and the times within the timeline, ascending.

    `object` is None for all objects but that of the forecast; `last` is None where there never was an event.
    """

    subject: str
    relation: str
    object: str | None = None
    events: int
    last: int | str | None = None
    times: list[PastTime] = []


class Timeline(Document):
    """The past of a fact before its forecast, `steps` steps from the time `begin` on.

    - `rows`: the fact itself, even if it never came; the other events of the two actors that the forecast names; and
      those of the subject with the relation and anyone else.
    """

    begin: int | str
    steps: int
    rows: list[TimelineRow]


class TimelineMaker:
    """Makes the timelines of a forecaster's facts.

    **Arguments:** `steps`: how far back they reach, at most as far as the history.
    """

    def __init__(self, forecaster: EventForecaster, steps: int = STEPS):
        self.index: ActivityIndex = forecaster.index
        self.graph: TemporalGraph = forecaster.graph
        target = forecaster.target
        # Empty snapshots at the end of the graph are the times to be forecast. The clock counts whole steps, so that a
        # target between two times of the data may be in the step of the last fact, which came before it nevertheless.
        ago = np.rint(self.index.clock[target.target] - self.index.clock[: target.history_end]).astype(np.int64)
        self._ago = np.maximum(ago, 1)
        self.steps = min(steps, int(self._ago[0]))
        begin = int(self.graph.times[target.target]) - self.steps * self.graph.time_interval
        self.begin = to_text(begin, self.graph.time_unit)
        self._entities, self._relations = _ids_by(forecaster.names.entities), _ids_by(forecaster.names.relations)

    def __call__(self, fact: EventForecast) -> Timeline:
        """The timeline of a fact that the forecaster named."""
        subject, relation, object_ = fact.subject, fact.relation, fact.object
        own = self._of_fact(subject, relation, object_)
        rows = [self._row(own, subject, relation, object_)]
        for past in fact.because:
            if (past.subject, past.relation, past.object) != (subject, relation, object_):
                found = self._of_fact(past.subject, past.relation, past.object)
                rows.append(self._row(found, past.subject, past.relation, past.object))
        others = self._of_pair(subject, relation) - own
        if others.any():
            rows.append(self._row(others, subject, relation, None))
        return Timeline(begin=self.begin, steps=self.steps, rows=rows)

    def _of_fact(self, subject: str, relation: str, object: str) -> Int64[np.ndarray, " snapshot"]:
        """The events of a fact by snapshot."""
        pair = (self._entities[subject][:, None] * self.index.relations + self._relations[relation]).ravel()
        key = (pair[:, None] * self.index.entities + self._entities[object]).ravel()
        return self._count(self.index.fact, key)

    def _of_pair(self, subject: str, relation: str) -> Int64[np.ndarray, " snapshot"]:
        key = (self._entities[subject][:, None] * self.index.relations + self._relations[relation]).ravel()
        return self._count(self.index.pair, key)

    def _count(self, occurrences: Occurrences, keys: Int64[np.ndarray, " key"]) -> Int64[np.ndarray, " snapshot"]:
        """The events of some keys together, by snapshot of the history."""
        counts = np.zeros(len(self._ago), np.int64)
        groups = occurrences.group(keys)
        for group, last in zip(groups.tolist(), occurrences.last(groups, len(self._ago)).tolist()):
            if last >= 0:
                rows = slice(int(occurrences.start[group]), last + 1)
                # `events` are running totals of the group.
                number = np.diff(occurrences.events[rows].astype(np.int64), prepend=0)
                counts[occurrences.occurrence[rows] % len(occurrences.clock)] += number
        return counts

    def _row(
        self, counts: Int64[np.ndarray, " snapshot"], subject: str, relation: str, object: str | None
    ) -> TimelineRow:
        snapshots = np.flatnonzero(counts).tolist()
        times = [
            PastTime(
                time=format_snapshot_time(self.graph, snapshot),
                ago=int(self._ago[snapshot]),
                events=int(counts[snapshot]),
            )
            for snapshot in snapshots
            if self._ago[snapshot] <= self.steps
        ]
        return TimelineRow(
            subject=subject,
            relation=relation,
            object=object,
            events=int(counts.sum()),
            last=format_snapshot_time(self.graph, snapshots[-1]) if snapshots else None,
            times=times,
        )


def _ids_by(names: tuple[str, ...]) -> dict[str, Int64[np.ndarray, " id"]]:
    """The ids of every name. A reader cannot tell ids of one name apart, so that their events count together."""
    ids: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        ids.setdefault(name, []).append(number)
    return {name: np.array(found, np.int64) for name, found in ids.items()}
