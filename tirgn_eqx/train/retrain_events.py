"""Retraining an event model: its rates are trained anew on newer data, and replace the old ones when they are as good.

A training takes minutes and has no weights of entities, so that nothing is gained from the old weights. Both models
then forecast the test split of the new data, which neither has seen. A track record may say whether it is time at all.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

import jax.random as jr
from beartype import beartype

from tirgn_eqx.checkpoint.files import replace_checkpoint
from tirgn_eqx.checkpoint.run_folder import lock_folder
from tirgn_eqx.config import EventTrainingConfig
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.evaluate.event_scores import EventReport, HorizonScores, evaluate_events
from tirgn_eqx.evaluate.results import Document
from tirgn_eqx.evaluate.track_record import TrackRecord
from tirgn_eqx.models import EventModel, EventRates
from tirgn_eqx.train.api import train_tirgn
from tirgn_eqx.train.events import OnRecord, StageRecord, Stop, TrainingResult, ignore, never
from tirgn_eqx.train.retrain import (
    LOCK,
    MAX_REGRESSION,
    DataWindow,
    NameMapping,
    Predecessor,
    describe_window,
    map_names,
    prepare,
)
from tirgn_eqx.train.warm_start import warm_start


class HorizonComparison(Document):
    """Scores of the new and of the old model over one horizon, by the same facts; `skill`: 1 - Brier of the new one /
    Brier of the old one."""

    horizon: int
    brier: list[float]
    log_score: list[float]
    ece: list[float]
    skill: float


class EventComparison(Document):
    """Both models on the test split, which neither has seen."""

    split: str
    horizons: list[HorizonComparison]


class EventDecision(TypedDict):
    """Whether the checkpoint was replaced, and why: the skill of the new model against the old one, the mean over
    horizons, and by how much it might be below 0."""

    replaced: bool
    skill: float
    max_regression: float


class RetrainingReason(TypedDict):
    """Whether a track record asks for a retraining, and what it says: the number of forecasts of the checkpoint that
    were judged and that wait, their skill with its interval (None for too few), and the least skill that was asked
    for."""

    due: bool
    journal: str
    scored: int
    waiting: int
    skill: float | None
    skill_interval: list[float] | None
    min_skill: float


class EventRetrainingResult(TypedDict):
    """What `retrain_events` returns, JSON-compatible: as `RetrainingResult`, with an `EventComparison` and an
    `EventDecision`; `reason`: where a track record was asked."""

    status: Literal["replaced", "kept", "interrupted"]
    checkpoint: str
    previous: str | None
    dataset: Mapping[str, object]
    window: DataWindow
    mapping: NameMapping
    model_type: NotRequired[str]
    training: NotRequired[TrainingResult]
    comparison: NotRequired[dict[str, object]]
    decision: NotRequired[EventDecision]
    reason: NotRequired[RetrainingReason]


def find_reason(record: TrackRecord, min_skill: float) -> RetrainingReason:
    """What a track record of one checkpoint says about its retraining: that it is due where the skill against the usual
    rate is known and below `min_skill`."""
    scores = record.scores
    return {
        "due": record.is_below(min_skill),
        "journal": record.journal,
        "scored": record.counts.scored,
        "waiting": record.counts.waiting,
        "skill": None if scores is None else scores.skill,
        "skill_interval": None if scores is None else scores.skill_interval,
        "min_skill": min_skill,
    }


@beartype
def retrain_events(
    old: Predecessor,
    graph: TemporalGraph,
    config: EventTrainingConfig,
    *,
    model_dir: str | Path,
    max_regression: float = MAX_REGRESSION,
    keep_gone: bool = False,
    reason: RetrainingReason | None = None,
    on_record: OnRecord | None = None,
    run_name: str | None = None,
    stop: Stop | None = None,
) -> EventRetrainingResult:
    """Train event rates anew on `graph`, and replace those of `old` unless the new ones forecast its test split worse.

    **Arguments:** as of `retrain`; `max_regression`: how far the skill of the new Brier score against the old one may
    be below 0, 0.01 being one percent; `reason`: kept in the result.

    **Returns:** a dict, see `EventRetrainingResult`.

    **Raises:** as `retrain`.
    """
    model_dir, stop, emit = Path(model_dir), stop or never, on_record or ignore
    # Both models count steps and the places in a week from one origin.
    graph, mapping = prepare(old, graph, config, model_dir, max_regression, keep_gone)
    report: EventRetrainingResult = {
        "status": "interrupted",
        "checkpoint": str(old.path),
        "previous": None,
        "dataset": graph.describe(),
        "window": describe_window(graph),
        "mapping": mapping,
    }
    if reason is not None:
        report["reason"] = reason
    with lock_folder(model_dir, LOCK, "retraining"):
        training = train_tirgn(graph, config, model_dir, on_record=emit, run_name=run_name, stop=stop)
        report["model_type"], report["training"] = training["model_type"], training
        if "events" not in training or stop():
            return report
        emit(StageRecord("comparison"))
        new = EventReport.model_validate(training["events"]["test"])
        comparison = _compare(new, evaluate_events(_former(old, graph), graph, split=new.split))
        skill = sum(one.skill for one in comparison.horizons) / len(comparison.horizons)
        # A NaN compares false, and the old checkpoint stays.
        replaced = skill >= -max_regression
        if replaced:
            with lock_folder(old.path.parent):
                previous = replace_checkpoint(old.path, training["checkpoint"] or "", old.sha256)
            report["previous"] = str(previous)
        report["status"] = "replaced" if replaced else "kept"
        report["comparison"] = comparison.to_dict()
        report["decision"] = {"replaced": replaced, "skill": skill, "max_regression": max_regression}
        return report


def _former(old: Predecessor, graph: TemporalGraph) -> EventRates:
    """The old rates with the vocabulary of `graph`: relations that are new to them begin as in a fresh model."""
    assert isinstance(old.model, EventModel) and isinstance(old.config, EventTrainingConfig)
    fresh = EventRates(graph.num_entities, graph.num_relations, old.config, key=jr.key(old.config.seed))
    return warm_start(fresh, old.model.rates, map_names(old, graph))


def _compare(new: EventReport, old: EventReport) -> EventComparison:
    def scores(one: HorizonScores, other: HorizonScores) -> HorizonComparison:
        models = one.rules["model"], other.rules["model"]
        brier = [rule.brier for rule in models]
        return HorizonComparison(
            horizon=one.horizon,
            brier=brier,
            log_score=[rule.log_score for rule in models],
            ece=[one.ece, other.ece],
            skill=1 - brier[0] / brier[1] if brier[1] > 0 else float("nan"),
        )

    return EventComparison(split=new.split, horizons=[scores(one, two) for one, two in zip(new.horizons, old.horizons)])
