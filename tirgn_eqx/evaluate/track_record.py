"""The track record of forecasts: a journal of them, joined with what came.

A forecast is judged once the data hold a snapshot after its horizon: the newest snapshot may still be growing. Until
then it waits. A fact with a name that the data do not have did not come in them; such names are told, because they may
have been changed. Forecasts of times that the model was trained on or selected by prove nothing and are left out.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tirgn_eqx.data.forecast_journal import JournalLine, Selection, Time, read_journal
from tirgn_eqx.data.graph import LoadOptions, TemporalGraph
from tirgn_eqx.data.index.outcomes import count_occurrences, names_of
from tirgn_eqx.data.readers.load import load_graph, reading_of, simulated
from tirgn_eqx.data.times import DAY, format_snapshot_time, to_text
from tirgn_eqx.errors import DataError, DataWarning, shown
from tirgn_eqx.evaluate.event_tally import EventReliabilityBin
from tirgn_eqx.evaluate.judged_forecasts import ForecastScores, JudgedForecasts, RuleComparison
from tirgn_eqx.evaluate.results import DatasetDescription, Document

WEEK = 7  # days, or steps of data without dates
MAX_NAMES = 20  # unknown names that are told
_MOST_DAYS = 10**6  # of a window: more than there are; 0, which stands for all, keeps stray ones in the future
Rule = Literal["usual", "never", "base rate"]
# What becomes of a forecast that is not scored.
Reason = Literal["hindsight", "other_steps", "before_data", "waiting"]
REASONS: tuple[Reason, ...] = ("hindsight", "other_steps", "before_data", "waiting")


class ModelScores(ForecastScores):
    """How good the forecasts of one model were; `name`: its checkpoint's; `learnt_until`: the last time it was trained
    on or selected by; `first`, `last`: of the targets."""

    sha256: str
    learnt_until: Time | None
    first: Time
    last: Time


class JournalCounts(Document):
    """What became of the forecasts in a journal.

    - `forecasts`: all of them; every one is counted once in one of the next five.
    - `scored`: judged, and `in_advance` of them: written before the target, by the clock of the writer (None for data
      without dates).
    - `waiting`: the horizon is not over in the data.
    - `before_data`: the target is before the first snapshot of the data.
    - `hindsight`: of a time that the model was trained on or selected by.
    - `other_steps`: of steps of another length than the data have, which are another question.
    - `unknown`: of those scored, facts with a name that the data do not have.
    - `repeated`: further lines of the same forecasts, which are not counted.
    """

    forecasts: int
    scored: int
    waiting: int
    before_data: int
    hindsight: int
    other_steps: int
    unknown: int
    repeated: int
    in_advance: int | None


class TrackRecord(Document):
    """The document of `tirgn score`: how good the forecasts in a journal were.

    - `journal`: its folder; `dataset`: the data that say what came, from `data_from` to `data_until`.
    - `counts`: of the forecasts; `unknown_names`: the first names that the data do not have.
    - `next_due`: the time that the data must reach before the next forecast is judged, None where none waits.
    - `scores`: of all that were judged, None for none; then the following are empty.
    - `rules`: the usual rate (`usual`), `never`, and `base rate`, the share that came, which is known afterwards alone.
    - `ece`, `reliability`: the expected calibration error of probabilities of at least 1 %, and its bins.
    - `weeks`: by the Monday of the target's week (of data without dates: the first of seven steps); `relations`,
      `horizons` (in steps), `selections` (how the facts were chosen) and `models`.
    - `drift`: by whole weeks from the last time that the model knew to the target, 0 for the first seven days.
    """

    journal: str
    dataset: DatasetDescription
    data_from: Time
    data_until: Time
    counts: JournalCounts
    unknown_names: list[str]
    next_due: Time | None
    scores: ForecastScores | None
    rules: dict[Rule, RuleComparison]
    ece: float | None
    reliability: list[EventReliabilityBin]
    weeks: list[ForecastScores]
    relations: list[ForecastScores]
    horizons: list[ForecastScores]
    selections: list[ForecastScores]
    models: list[ModelScores]
    drift: list[ForecastScores]

    def is_below(self, min_skill: float) -> bool:
        """Whether the skill against the usual rate is known and below `min_skill`."""
        return self.scores is not None and self.scores.skill is not None and self.scores.skill < min_skill


@dataclass(frozen=True)
class _Clock:
    """The times of data in the unit of a journal: seconds since 1970-01-01 UTC, or plain numbers.

    **Arguments:** `step`, `day`: the length of a step of the data, and of a day (of data without dates, a step).
    """

    times: np.ndarray
    step: int
    day: int
    dated: bool

    @classmethod
    def of(cls, graph: TemporalGraph) -> "_Clock":
        unit = graph.time_unit or 1
        step = graph.time_interval * unit
        return cls(graph.times * unit, step, step if graph.time_unit is None else DAY, graph.time_unit is not None)

    def text(self, time: int) -> Time:
        """A time as the data write it."""
        if not self.dated:
            return time
        return to_text(time // DAY, DAY) if time % DAY == 0 and self.step % DAY == 0 else to_text(time, 1)

    def reason(self, line: JournalLine) -> Reason | None:
        """Why a forecast cannot be scored; None where it can."""
        if line.model.learnt_time is not None and line.begin <= line.model.learnt_time:
            return "hindsight"
        if any((time - int(self.times[0])) % self.step for time in (line.begin, line.end)):
            return "other_steps"
        if line.begin < self.times[0]:
            return "before_data"
        return "waiting" if line.end > self.times[-1] else None

    def week(self, first: int, line: JournalLine) -> int:
        """The beginning of the week of a target: a Monday, or without dates one of seven steps from `first` on."""
        # 1970-01-05 was a Monday.
        first = 4 * DAY if self.dated else first
        return line.begin - (line.begin - first) % (WEEK * self.day)

    def weeks_since_learning(self, line: JournalLine) -> int | None:
        """Whole weeks from the last time that the model knew to the target; None where that is not known."""
        known = line.model.learnt_time
        return None if known is None else (line.begin - known - 1) // (WEEK * self.day)


def score_journal(folder: str | Path, graph: TemporalGraph, *, model_sha256: str | None = None) -> TrackRecord:
    """The track record of the journal in `folder`, by the facts of `graph`.

    **Arguments:** `model_sha256`: of a checkpoint's file, whose forecasts alone are looked at; None: all.

    **Raises:** DataError for a folder without a journal, a line that is no forecast, data with dates where the journal
    has none or the reverse, and data that have not a single name of what they are to judge.
    """
    journal, clock = read_journal(folder), _Clock.of(graph)
    lines = [line for line in journal.lines if model_sha256 in (None, line.model.sha256)]
    _check_unit(folder, lines, graph, clock)
    kinds: dict[Reason | None, list[JournalLine]] = {kind: [] for kind in (None, *REASONS)}
    for line in lines:
        kinds[clock.reason(line)].append(line)
    judged = _join(kinds[None], graph, clock)
    unknown = _unknown_names(folder, judged.lines, graph)
    ece, reliability = judged.reliability() if judged.lines else (None, [])
    first = min((line.begin for line in judged.lines), default=0)
    weeks = judged.by(partial(clock.week, first))
    by_number = sorted(judged.by(lambda line: line.relation).items(), key=lambda group: -len(group[1].lines))
    horizons = judged.by(lambda line: (line.end - line.begin) // clock.step)
    drift = judged.by(clock.weeks_since_learning)
    return TrackRecord(
        journal=str(folder),
        dataset=DatasetDescription.of(graph),
        data_from=format_snapshot_time(graph, 0),
        data_until=format_snapshot_time(graph, graph.num_snapshots - 1),
        counts=JournalCounts(
            forecasts=len(lines),
            scored=len(judged.lines),
            waiting=len(kinds["waiting"]),
            before_data=len(kinds["before_data"]),
            hindsight=len(kinds["hindsight"]),
            other_steps=len(kinds["other_steps"]),
            unknown=sum(map(bool, unknown)),
            repeated=journal.repeated,
            in_advance=sum(line.written_time < line.begin for line in judged.lines) if clock.dated else None,
        ),
        unknown_names=list(dict.fromkeys(name for names in unknown for name in names))[:MAX_NAMES],
        next_due=clock.text(min(line.end for line in kinds["waiting"])) if kinds["waiting"] else None,
        scores=judged.score("all") if judged.lines else None,
        rules=_compare(judged) if judged.lines else {},
        ece=ece,
        reliability=reliability,
        weeks=[weeks[begin].score(_week_name(clock, begin)) for begin in sorted(weeks)],
        relations=[group.score(name) for name, group in by_number],
        horizons=[horizons[steps].score(steps) for steps in sorted(horizons)],
        selections=[group.score(name) for name, group in judged.by(lambda line: describe(line.selection)).items()],
        models=[_score_model(group, clock) for group in judged.by(lambda line: line.model.sha256).values()],
        drift=[drift[age].score(age) for age in sorted(drift)],
    )


def read_outcomes(
    folder: str | Path, data_path: str | None = None, *, model_sha256: str | None = None, **load: Any
) -> TemporalGraph:
    """The data that say what came of the forecasts in a journal: all days of them, else read as those that the last
    forecast was made from.

    **Arguments:** `data_path`: None reads those data again; `model_sha256`: of a checkpoint's file, whose last forecast
    it is, None: that of any; `load`: options of `load_graph`, which win over others.

    **Raises:** DataError for a folder without a journal, and for data that cannot be read. DataWarning for a limit on
    the number of events, which thins what came in another proportion than what was known.
    """
    lines = [line for line in read_journal(folder).lines if model_sha256 in (None, line.model.sha256)]
    provenance = lines[-1].data.provenance if lines else {}
    if data_path is None and not provenance:
        raise DataError(f"{folder}: does not say where its data came from; give --data-path")
    known = provenance if data_path is None else {"path": data_path} | reading_of(provenance, data_path)
    options: dict[str, Any] = known | all_days(known) | load
    if options.get("max_events"):
        warnings.warn(
            f"{options.get('path')}: max_events = {options['max_events']} thins what came, in another proportion than "
            "what the forecasts were made from, so that fewer or more come than were expected; forecast and score "
            "without it",
            DataWarning,
            stacklevel=2,
        )
    return load_graph(**options)


def all_days(known: Mapping[str, Any]) -> LoadOptions:
    """The options that read every day of data whose other options are `known`, but for stray ones in the future, after
    which nothing would wait for its horizon any more."""
    if simulated(str(known.get("path"))):
        # Its days are a part of it.
        return {}
    # Data without dates were read without a number of days, and would warn of one.
    return {"num_days": _MOST_DAYS if known.get("num_days") else 0}


def describe(selection: Selection) -> str:
    """How facts were chosen, such as `20 by lift, relation 042`."""
    parts = ((part, getattr(selection, part)) for part in ("subject", "relation", "object"))
    names = (f", {part} {name}" for part, name in parts if name is not None)
    return f"{selection.number} by {selection.by}{''.join(names)}"


def _check_unit(folder: str | Path, lines: Sequence[JournalLine], graph: TemporalGraph, clock: _Clock) -> None:
    other = next((line for line in lines if (line.unit == "second") != clock.dated), None)
    if other is not None:
        kinds = ("dates", "numbers") if clock.dated else ("numbers", "dates")
        raise DataError(
            f"{graph.name}: has {kinds[0]} for times, but the journal {folder} {kinds[1]}, such as "
            f"{shown(other.target)}; give the data that its forecasts were made from, with newer events"
        )


def _join(lines: list[JournalLine], graph: TemporalGraph, clock: _Clock) -> JudgedForecasts:
    begin, end = (
        np.searchsorted(clock.times, np.array([getattr(line, name) for line in lines], np.int64))
        for name in ("begin", "end")
    )
    facts = [(line.subject, line.relation, line.object) for line in lines]
    return JudgedForecasts.of(lines, count_occurrences(graph, facts, begin, end))


def _unknown_names(folder: str | Path, lines: Sequence[JournalLine], graph: TemporalGraph) -> list[list[str]]:
    """The names of every forecast that the data do not have. **Raises:** DataError where they have none at all."""
    entities, relations = set(names_of(graph, "entity")), set(names_of(graph, "relation"))
    found = [
        [
            name
            for name, known in ((line.subject, entities), (line.relation, relations), (line.object, entities))
            if name not in known
        ]
        for line in lines
    ]
    if found and all(len(names) == 3 for names in found):
        raise DataError(
            f"{graph.name}: has none of the names in the journal {folder}, such as {shown(found[0][0])}; give the data "
            "that its forecasts were made from, with newer events"
        )
    return found


def _compare(judged: JudgedForecasts) -> dict[Rule, RuleComparison]:
    never = np.zeros(len(judged.lines))
    rules: dict[Rule, np.ndarray] = {"usual": judged.usual, "never": never, "base rate": never + judged.came.mean()}
    return {name: judged.compare(rule) for name, rule in rules.items()}


def _score_model(judged: JudgedForecasts, clock: _Clock) -> ModelScores:
    last = judged.lines[-1].model
    return ModelScores(
        **judged.score(last.name).to_dict(),
        sha256=last.sha256,
        learnt_until=last.learnt_until,
        first=clock.text(int(judged.begin.min())),
        last=clock.text(int(judged.begin.max())),
    )


def _week_name(clock: _Clock, begin: int) -> Time:
    return to_text(begin // DAY, DAY) if clock.dated else begin
