"""What a training reports while it runs, one dataclass for each kind of event, and its result at the end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import jax

from tirgn_eqx.checkpoint.metadata import Settings
from tirgn_eqx.config import EventTrainingConfig, ModelTrainingConfig, TrainingConfig
from tirgn_eqx.data.batches.buckets import Bucket
from tirgn_eqx.data.batches.evidence_loader import EvidenceBucket
from tirgn_eqx.evaluate.results import Evaluation, Figures

PartName = Literal["evidence", "structure"]  # of a mixture


class EvaluationFigures(TypedDict):
    """The parts of an `EvaluationReport` that are not by direction or snapshot; the figures are those of `filter`
    except for `entity_raw`."""

    split: str
    setting: str
    filter: str
    entity: Figures
    entity_raw: Figures
    relation: Figures
    mrr_interval: list[float]
    strata: list[dict[str, object]]


class GivenPart(TypedDict):
    """What a result says of a part of a mixture that was not trained, because its checkpoint was given.

    - `created`, `seed`, `best_epoch`, `validation`: as the checkpoint tells them, None where it does not.
    """

    status: Literal["given"]
    model_type: str
    created: str | None
    seed: object
    best_epoch: int | None
    validation: object


class RefitResult(TypedDict):
    """What a result says of a model that was trained once more, on train and valid together; see `refit`.

    - `checkpoint`; `epochs`: trained epochs of every part; `test`; `total_time`: seconds.
    """

    checkpoint: str
    epochs: dict[str, int]
    test: EvaluationFigures
    total_time: float


class EventFigures(TypedDict):
    """What a result says of an event model: `valid_nll` in nats for each event, and `test`, an `EventReport`."""

    valid_nll: float
    test: dict[str, Any]


class TrainingResult(TypedDict):
    """What `train_tirgn` returns, JSON-compatible.

    - `status`: "complete", or "interrupted" with the figures known so far.
    - `epochs_trained`: whole epochs; `total_time`: seconds, interrupted parts included.
    - `best_mrr`, `best_epoch`: of the validation of the best checkpoint; `early_stopped`.
    - `model_type`, `checkpoint`, `parameters`, `device`.
    - `oom_overrides`: settings that were changed because memory ran out; `skipped_steps`: non-finite ones.
    - `validation`, `test`: the evaluation of the best checkpoint on either split, None when interrupted before.
    - `stages`: of a mixture, the result of each part; `refit`: where it was asked for; `events`: of an event model.
    """

    status: Literal["complete", "interrupted"]
    epochs_trained: int
    best_mrr: float | None
    best_epoch: int | None
    total_time: float
    early_stopped: bool
    model_type: str
    checkpoint: str | None
    parameters: int | None
    oom_overrides: Settings
    skipped_steps: int
    device: str
    validation: EvaluationFigures | None
    test: EvaluationFigures | None
    stages: NotRequired[dict[PartName, "TrainingResult | GivenPart"]]
    refit: NotRequired[RefitResult]
    events: NotRequired[EventFigures]


@dataclass(frozen=True)
class StartRecord:
    """A training starts: `dataset` describes the graph, `history` the index of the past, `buckets` the batch shapes."""

    dataset: dict[str, object]
    config: ModelTrainingConfig | EventTrainingConfig
    parameters: int
    buckets: Sequence[Bucket | EvidenceBucket]
    history: Mapping[str, int | float]
    steps_per_epoch: int


@dataclass(frozen=True)
class ResumeRecord:
    """A training continues after `step` steps of `epoch`."""

    epoch: int
    step: int
    global_step: int


@dataclass(frozen=True)
class CompileRecord:
    """The step was compiled for the batch shape of this number."""

    bucket: int
    seconds: float


@dataclass(frozen=True)
class StepRecord:
    """Progress within an epoch, at most a few times a second; `loss` is that of a recent step."""

    epoch: int
    step: int
    steps_per_epoch: int
    loss: float
    facts: int
    facts_per_second: float


@dataclass(frozen=True)
class EpochRecord:
    """An epoch ended: `loss` is the mean over its finite steps, `memory` the device's peak in bytes, where known."""

    epoch: int
    epochs: int
    loss: float
    seconds: float
    facts_per_second: float
    memory: int | None


@dataclass(frozen=True)
class ValidationRecord:
    """The model was validated after `epoch`; `metrics` of entity queries are `mrr`, `hits_at_1`, ..., `nll`."""

    epoch: int
    best: bool
    metrics: dict[str, float]


@dataclass(frozen=True)
class CheckpointRecord:
    """A checkpoint was written."""

    path: str


@dataclass(frozen=True)
class SkippedStepRecord:
    """A step without finite loss or gradient was not applied; `time`: of its target snapshot."""

    epoch: int
    step: int
    time: int | str
    message: str


@dataclass(frozen=True)
class OutOfMemoryRecord:
    """Memory ran out; the training continues from its last saved state with the settings `overrides`."""

    message: str
    overrides: Settings


@dataclass(frozen=True)
class EarlyStoppingRecord:
    """The training stops before its last epoch."""

    message: str


@dataclass(frozen=True)
class StageRecord:
    """A stage of a mixture, of a retraining or of a refit starts."""

    stage: Literal["evidence", "structure", "gate", "comparison", "refit"]


@dataclass(frozen=True)
class GateRecord:
    """Progress of the gate's fit."""

    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class EndRecord:
    """The training ended, complete or interrupted."""

    result: TrainingResult


TrainingRecord = (
    StartRecord
    | ResumeRecord
    | CompileRecord
    | StepRecord
    | EpochRecord
    | ValidationRecord
    | CheckpointRecord
    | SkippedStepRecord
    | OutOfMemoryRecord
    | EarlyStoppingRecord
    | StageRecord
    | GateRecord
    | EndRecord
)
OnRecord = Callable[[TrainingRecord], None]
Stop = Callable[[], bool]


def ignore(record: TrainingRecord) -> None:
    """The `on_record` of a caller that gave none."""


def without_end(on_record: OnRecord) -> OnRecord:
    """`on_record` for the training of a part, whose end is not that of the whole."""

    def forward(record: TrainingRecord) -> None:
        if not isinstance(record, EndRecord):
            on_record(record)

    return forward


def never() -> bool:
    """The `stop` of a caller that gave none."""
    return False


def make_result(
    config: TrainingConfig,
    status: Literal["complete", "interrupted"],
    *,
    epochs_trained: int = 0,
    best_epoch: int | None = None,
    best_mrr: float | None = None,
    early_stopped: bool = False,
    checkpoint: Path | None = None,
    validation: Evaluation | None = None,
    test: Evaluation | None = None,
    seconds: float = 0.0,
    parameters: int | None = None,
    oom_overrides: Settings | None = None,
    skipped_steps: int = 0,
) -> TrainingResult:
    """The result of a training of `config`; see `TrainingResult`."""
    return {
        "status": status,
        "epochs_trained": epochs_trained,
        "best_mrr": validation.entity["mrr"] if validation else best_mrr,
        "best_epoch": best_epoch,
        "total_time": seconds,
        "early_stopped": early_stopped,
        "model_type": config.model_type,
        "checkpoint": None if checkpoint is None else str(checkpoint),
        "parameters": parameters,
        "oom_overrides": oom_overrides or {},
        "skipped_steps": skipped_steps,
        "device": jax.devices()[0].device_kind,  # pyright: ignore[reportUnknownMemberType]
        "validation": evaluation_figures(validation) if validation else None,
        "test": evaluation_figures(test) if test else None,
    }


def evaluation_figures(evaluation: Evaluation) -> EvaluationFigures:
    """What a result says of an evaluation."""
    report = evaluation.report()
    # All models that are trained rank candidates themselves, and forecast relations, too.
    assert report.entity_raw is not None and report.relation is not None
    return {
        "split": report.split,
        "setting": report.setting,
        "filter": report.filter,
        "entity": report.entity,
        "entity_raw": report.entity_raw,
        "relation": report.relation,
        "mrr_interval": report.mrr_interval,
        "strata": [stratum.to_dict() for stratum in report.strata],
    }
