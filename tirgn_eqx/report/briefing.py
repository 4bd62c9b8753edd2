"""A briefing: what is most probable and most unusual in the next steps, by actor, each with its past events."""

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tirgn_eqx.checkpoint.event_figures import TestedHorizon, read_event_figures
from tirgn_eqx.checkpoint.metadata import CheckpointMetadata
from tirgn_eqx.data.forecast_journal import journal_files
from tirgn_eqx.data.forecast_target import make_forecast_target
from tirgn_eqx.data.graph import LoadOptions
from tirgn_eqx.data.readers.load import load_graph
from tirgn_eqx.data.times import UNIT_NAMES, format_snapshot_time, to_text
from tirgn_eqx.evaluate.results import DatasetDescription, Document
from tirgn_eqx.evaluate.track_record import TrackRecord, all_days, score_journal
from tirgn_eqx.forecast.events import EventForecast, EventForecaster
from tirgn_eqx.forecast.timeline import Timeline, TimelineMaker

POOL = 2000  # the most probable facts, among which those of the actors are looked for


@dataclass(frozen=True)
class BriefingOptions:
    """What a briefing holds.

    **Arguments:** `horizon`: in steps; `top`: facts of each list; `actors`: how many of the most active ones have a
    list; `per_actor`: facts of such a list; `watched`: names of actors that have one whatever their activity.
    """

    horizon: int = 7
    top: int = 20
    actors: int = 24
    per_actor: int = 5
    watched: tuple[str, ...] = ()


class BriefedFact(EventForecast):
    """A forecast with the past events behind it."""

    timeline: Timeline


class ActorBriefing(Document):
    """An actor: `events`: in which it took part in the last `STEPS` steps; `facts`: its most probable ones, in either
    role."""

    name: str
    events: int
    facts: list[BriefedFact]


class BriefedModel(Document):
    """The model of a briefing: its checkpoint's path, type, time of training, the packages that computed it, and the
    last time that it was trained on or selected by."""

    checkpoint: str
    model_type: str
    created: str
    learnt_until: int | str | None = None
    versions: dict[str, str] = {}


class Briefing(Document):
    """The document of `tirgn brief`.

    - `dataset`: the facts that were known, the last of them at `known_until`; `model`; `made`: when.
    - `time`, `until`: the first and the last time that is forecast; `horizon`: how many steps these are, each a `step`
      (day, hour, ... or step).
    - `since`: where the timelines and the counts of the actors' events begin.
    - `hindsight`: whether the model learnt from times that are forecast, so that its forecasts prove nothing.
    - `tested`: how good the model's probabilities were on test, for the nearest horizon that was tested; None where
      the checkpoint does not say.
    - `record`: the track record of a journal, of the forecasts that were over before.
    - `probable`, `unusual`: the facts with the highest probability, and with the highest lift; `actors`: the watched
      ones, then the most active ones.
    """

    dataset: DatasetDescription
    model: BriefedModel
    made: str
    known_until: int | str
    time: int | str
    until: int | str
    horizon: int
    step: str
    since: int | str
    hindsight: bool = False
    tested: TestedHorizon | None = None
    record: TrackRecord | None = None
    probable: list[BriefedFact]
    unusual: list[BriefedFact]
    actors: list[ActorBriefing]


def make_briefing(
    forecaster: EventForecaster,
    checkpoint: str,
    metadata: CheckpointMetadata,
    options: BriefingOptions = BriefingOptions(),
    record: TrackRecord | None = None,
) -> Briefing:
    """Forecast what a briefing holds.

    **Arguments:** `forecaster`, `metadata`: of the checkpoint at the path `checkpoint`; `record`: of former forecasts.

    **Raises:** DataError for a watched actor that is not known; ConfigError for a horizon that cannot be forecast;
    CheckpointError for test figures in the checkpoint that are none.
    """
    # What cannot be used is refused before the work begins.
    tested = read_event_figures(metadata, checkpoint).nearest(options.horizon)
    watched = list(dict.fromkeys(forecaster.names.entities[forecaster.names.entity(name)] for name in options.watched))
    horizon, target = options.horizon, forecaster.target
    pool = forecaster.events(max(POOL, options.top), horizon=horizon)
    unusual = forecaster.events(options.top, horizon=horizon, by="lift")
    timeline = TimelineMaker(forecaster)

    def briefed(facts: Sequence[EventForecast]) -> list[BriefedFact]:
        return [BriefedFact(**fact.model_dump(), timeline=timeline(fact)) for fact in facts]

    activity = count_activity(forecaster, timeline.steps)
    listed = {name: _facts_of(forecaster, name, options) for name in watched}
    for name, _ in activity.most_common():
        if len(listed) >= options.actors + len(watched):
            break
        if name not in listed and (facts := [fact for fact in pool if name in (fact.subject, fact.object)]):
            listed[name] = facts[: options.per_actor]
    graph, history = forecaster.graph, target.history
    first, data = int(graph.times[target.target]), metadata.data
    last = first + (horizon - 1) * graph.time_interval
    seconds = (graph.time_unit or 0) * graph.time_interval
    return Briefing(
        dataset=DatasetDescription.of(history),
        model=BriefedModel(
            checkpoint=checkpoint,
            model_type=metadata.model_type,
            created=metadata.created,
            learnt_until=None if data is None else to_text(data.learnt_until, graph.time_unit),
            versions=metadata.versions or {},
        ),
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        known_until=format_snapshot_time(history, history.num_snapshots - 1),
        time=forecaster.time,
        until=to_text(last, graph.time_unit),
        horizon=horizon,
        step=UNIT_NAMES.get(seconds, "step"),
        since=timeline.begin,
        hindsight=data is not None and first <= data.learnt_until,
        tested=tested,
        record=record,
        probable=briefed(pool[: options.top]),
        unusual=briefed(unusual),
        actors=[
            ActorBriefing(name=name, events=activity[name], facts=briefed(facts)) for name, facts in listed.items()
        ],
    )


def read_record(journal: str | Path, forecaster: EventForecaster) -> TrackRecord | None:
    """The track record of a journal by what is known before the forecaster's target; None where it has no forecasts.

    **Raises:** as `score_journal`.
    """
    folder, known = Path(journal).expanduser(), forecaster.graph.provenance
    if not folder.is_dir() or not journal_files(folder):
        return None
    if known and known.get("kind") != "frame":
        # Read again, with all days, events and names: the forecaster may know the last days alone, or a sample, and
        # the journal may hold forecasts of other models.
        whole: LoadOptions = {"max_events": 0} if known.get("max_events") else {}
        graph = load_graph(**known | all_days(known) | whole)
    else:
        graph = forecaster.graph
    time = int(forecaster.graph.times[forecaster.target.target])
    return score_journal(folder, make_forecast_target(graph, time).history)


def count_activity(forecaster: EventForecaster, steps: int) -> Counter[str]:
    """The number of events of the last `steps` steps in which each actor took part, by name."""
    graph, clock = forecaster.graph, forecaster.index.clock
    first = int(np.searchsorted(clock, clock[forecaster.target.target] - steps))
    rows = slice(int(graph.offsets[first]), None)
    s, o = graph.subject[rows], graph.object[rows]
    # An event of an actor with itself is one event.
    taking_part = np.concatenate([s, o[s != o]])
    counts = np.bincount(taking_part, minlength=graph.num_entities)
    found = Counter[str]()
    for number in np.flatnonzero(counts).tolist():
        found[forecaster.names.entities[number]] += int(counts[number])
    return found


def _facts_of(forecaster: EventForecaster, name: str, options: BriefingOptions) -> list[EventForecast]:
    """The most probable facts of an actor in either role."""
    number, horizon = options.per_actor, options.horizon
    found = forecaster.events(number, horizon=horizon, subject=name)
    # A fact of an actor with itself is in both lists.
    found += [one for one in forecaster.events(number, horizon=horizon, object=name) if one.subject != name]
    return sorted(found, key=lambda fact: -fact.probability)[:number]
