"""Documents on disk that a report reads, as strict models: the one place where their contents are checked."""

import math
import sys
from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tirgn_eqx.errors import CheckpointError, shown
from tirgn_eqx.evaluate.filters import Filter

_LARGEST = 2**53  # whole numbers up to here are exact as floats
_EMPTY_FOR_NULL = BeforeValidator(lambda value: {} if value is None else value)


def to_finite(value: object) -> float | None:
    """`value` as a float where it is a finite number, else None."""
    # A bool is an int in Python. A whole number beyond the largest float would fail in `float`.
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > sys.float_info.max:
        return None
    return None if math.isnan(value) else float(value)


Integer = Annotated[int, Field(ge=-_LARGEST, le=_LARGEST)]
Count = Annotated[int, Field(ge=0, le=_LARGEST)]
# Writers say null or NaN for the mean of nothing.
Number = Annotated[float | None, AfterValidator(to_finite)]
# A mean of float32 probabilities may exceed 1 by its rounding.
Fraction = Annotated[float, Field(ge=0, le=1 + 1e-6)]


class _Document(BaseModel):
    # Strict, so that the text "3" is no number. Up to version 2.9, pydantic keeps names such as `model_type` for
    # itself, and warns of them.
    model_config = ConfigDict(strict=True, frozen=True, populate_by_name=True, protected_namespaces=())


class RankMetrics(_Document):
    """MRR and Hits as fractions, NLL in nats; None for what was not measured."""

    mrr: Number = None
    hits_at_1: Number = None
    hits_at_3: Number = None
    hits_at_10: Number = None
    nll: Number = None


class DatasetSummary(_Document):
    """Name, checksum, counts and source of a dataset; `left_out`: facts by split whose names a model does not know."""

    name: str = "?"
    sha256: str | None = None
    facts: Count | None = None
    entities: Count | None = None
    relations: Count | None = None
    snapshots: Count | None = None
    provenance: Annotated[dict[str, object], _EMPTY_FOR_NULL] = {}
    left_out: dict[str, Count] = {}


class BestEpoch(_Document):
    """The epoch that a checkpoint was written after."""

    epoch: Count | None = None


class BestMetrics(BestEpoch):
    """The epoch and its validation metrics; `events`: where they are of the base of an event model, the epoch of the
    rates, whose training the logs beside it are of."""

    validation: Annotated[RankMetrics, _EMPTY_FOR_NULL] = RankMetrics()
    events: BestEpoch | None = None


class CheckpointSummary(_Document):
    """What a checkpoint says of its model beside the arrays; `config`: the settings by name."""

    model_type: str = "?"
    created: str = "–"
    config: dict[str, object] = {}
    versions: dict[str, str] = {}
    data: DatasetSummary = DatasetSummary()
    metrics: BestMetrics = BestMetrics()
    seed: Integer | None = None


class ProgressSummary(_Document):
    """How far a training has come: the epoch it is in, counted from 1, its best epoch and the seconds it has taken."""

    epoch: Count = 1
    best_epoch: Count | None = None
    seconds: Number = None


class TrainingStateSummary(_Document):
    """What the report needs of `tirgn_state.json`."""

    progress: ProgressSummary
    config: dict[str, object] = {}
    data: DatasetSummary = DatasetSummary()


class CalibrationBin(_Document):
    """Queries whose best candidate had a probability between `low` and `high`: its mean, and how often it was right."""

    # A field cannot be called `from`, a keyword of Python.
    low: Fraction = Field(alias="from")
    high: Fraction = Field(alias="to")
    queries: Annotated[Count, Field(gt=0)]
    probability: Fraction
    right: Fraction


class CalibrationMetrics(_Document):
    """Brier score, expected calibration error, and the bins of the reliability diagram."""

    brier: Number
    ece: Number
    reliability: tuple[CalibrationBin, ...]


class SnapshotMetrics(_Document):
    """MRR of the queries of one snapshot; `label`: its time as people write it."""

    time: Integer
    queries: Count
    mrr: Number = None
    label: Integer | str | None = None


class StratumDocument(_Document):
    """Metrics of the queries whose answer is of one kind by what came before; `share`: of all queries."""

    name: str
    queries: Count
    share: Fraction
    figures: RankMetrics


class _EvaluatedModel(_Document):
    model_type: str = "?"
    checksum_matches: bool | None = None
    versions: Annotated[dict[str, str], _EMPTY_FOR_NULL] = {}
    seed: Integer | None = None


class EvaluationDocument(_EvaluatedModel):
    """What `tirgn eval` and `tirgn baseline` print with `--json`."""

    dataset: DatasetSummary
    split: str
    setting: str
    filter: Filter = "time"
    entity: RankMetrics
    entity_raw: RankMetrics | None = None
    object: RankMetrics | None = None
    subject: RankMetrics | None = None
    relation: RankMetrics | None = None
    calibration: CalibrationMetrics | None = None
    strata: tuple[StratumDocument, ...] = ()
    snapshots: tuple[SnapshotMetrics, ...] = ()


class ComparedModel(_EvaluatedModel):
    """One of the two models of a comparison."""

    name: str
    setting: str
    entity: RankMetrics
    calibration: CalibrationMetrics | None = None


class MetricDifference(_Document):
    """The difference of one metric, first model minus second, in points, with its interval."""

    points: Number
    interval_points: tuple[Number, Number]

    @property
    def complete(self) -> bool:
        """Whether there is anything to show: no value is null."""
        return None not in (self.points, *self.interval_points)


class ComparedStratum(_Document):
    """Queries of one kind: the MRR of both models and the difference; without these where there are no queries."""

    name: str
    queries: Count
    share: Number
    mrr: tuple[Number, Number] = (None, None)
    difference: Number = None
    interval: tuple[Number, Number] = (None, None)

    @property
    def points(self) -> tuple[float, float, float] | None:
        """The difference and its interval in points; None where a value is null."""
        low, high = self.interval
        if None in self.mrr or self.difference is None or low is None or high is None:
            return None
        return 100 * self.difference, 100 * low, 100 * high


class ComparisonDocument(_Document):
    """What `tirgn compare` writes of two models on the same queries; `strata`: by what divides the queries."""

    dataset: DatasetSummary
    split: str
    filter: Filter = "time"
    models: tuple[ComparedModel, ComparedModel]
    difference: dict[str, MetricDifference]
    confidence: Fraction = 0.95
    strata: dict[str, tuple[ComparedStratum, ...]]


class ComparisonsDocument(_Document):
    """Several comparisons in one file."""

    comparisons: Annotated[tuple[ComparisonDocument, ...], Field(min_length=1)]


D = TypeVar("D", bound=_Document)


def check_document(model: type[D], content: bytes | str | Mapping[str, object], place: object, todo: str) -> D:
    """`content`, JSON or parsed already, as `model`.

    **Arguments:** `place`: the file, for the message; `todo`: what to do where the document is wrong.

    **Raises:** CheckpointError that names the file, the first wrong key, what was found there, and `todo`.
    """
    try:
        if isinstance(content, Mapping):
            return model.model_validate(content)
        return model.model_validate_json(content)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False)[0]
    # The place ("strata", "relation", 3) as strata.relation[3].
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in wrong["loc"]).lstrip(".")
    if wrong["type"] == "missing":
        said = "is missing"
    else:
        said = wrong["msg"].removeprefix("Input ") + (f" (found {shown(wrong['input'])})" if key else "")
    raise CheckpointError(f"{place}: {f'{key}: ' if key else ''}{said}; {todo}")
