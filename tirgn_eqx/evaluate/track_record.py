"""The track record of forecasts: a journal of them, joined with what came.

A forecast is judged once the data hold a snapshot after its horizon: the newest snapshot may still be growing. Until
then it waits. A fact with a name that the data do not have did not come in them; such names are told, because they may
have been changed. Forecasts of times that the model was trained on or selected by prove nothing and are left out.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int64

from tirgn_eqx.data.forecast_journal import JournalLine, Time, instant, read_journal
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.times import DAY, format_snapshot_time, to_text
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.event_scores import FLOOR, EventReliabilityBin, RuleTally, skill_interval
from tirgn_eqx.evaluate.results import DatasetDescription, Document

WEEK = 7  # days, or steps of data without dates
MAX_NAMES = 20  # unknown names that are told
Interval = tuple[float, float]


class ForecastScores(Document):
    """How good some forecasts were.

    - `name`: which ones, such as a relation, or the first day of a week.
    - `forecasts`, `came`: how many, and how many of their facts came; `targets`: their different target times.
    - `probability`: the mean; `calibration`: the number of facts that came to the one expected, the sum of the
      probabilities (above 1: too low ones); None where that is 0.
    - `events`, `expected`: how often the facts came in all, and how often they were expected to.
    - `brier`, `log_score`: means, the latter in nats; lower is better.
    - `skill`: 1 - Brier / Brier of the usual rate, None where the latter is 0; `skill_interval`: of it, 95 % of a
      bootstrap over target times, None for a single one.
    """

    name: int | str
    forecasts: int
    came: int
    targets: int
    probability: float
    calibration: float | None
    events: int
    expected: float
    brier: float
    log_score: float
    skill: float | None
    skill_interval: Interval | None


class RuleComparison(Document):
    """A simple rule on the same forecasts, and the skill of the forecasts against it, as in `ForecastScores`."""

    brier: float
    log_score: float
    skill: float | None
    skill_interval: Interval | None


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
    rules: dict[Literal["usual", "never", "base rate"], RuleComparison]
    ece: float | None
    reliability: list[EventReliabilityBin]
    weeks: list[ForecastScores]
    relations: list[ForecastScores]
    horizons: list[ForecastScores]
    selections: list[ForecastScores]
    models: list[ModelScores]
    drift: list[ForecastScores]


def score_journal(folder: str | Path, graph: TemporalGraph, *, model_sha256: str | None = None) -> TrackRecord:
    """The track record of the journal in `folder`, by the facts of `graph`.

    **Arguments:** `model_sha256`: of a checkpoint's file, whose forecasts alone are looked at; None: all.

    **Raises:** DataError for a folder without a journal, a line that is no forecast, and for data with dates where the
    journal has none, or the reverse.
    """
    raise NotImplementedError
