"""The documents that checkpoints, training states and finished stages hold, as pydantic models.

A file may come from anywhere, so every document is validated here, once, before anything is built from it. Types are
strict: a number in quotes is an error, not a number.
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tirgn_eqx.config import TrainingConfig, all_settings
from tirgn_eqx.data.clock import describe_clock
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.readers.integer_text import TIME_MAX
from tirgn_eqx.data.vocabulary import describe_vocabulary
from tirgn_eqx.errors import CheckpointError, ConfigError, shown

STATE_TYPE = "tirgn-training-state"

# Half of the range of int32, because inverse relations double the ids.
Size = Annotated[int, Field(gt=0, le=int(np.iinfo(np.int32).max) // 2)]
Time = Annotated[int, Field(ge=-TIME_MAX, le=TIME_MAX)]
Count = Annotated[int, Field(ge=0, lt=2**53)]  # whole numbers up to here are exact in every JSON reader
Finite = Annotated[float, Field(allow_inf_nan=False)]
# The settings of a training as `TrainingConfig.to_dict` writes them; the config class checks them itself.
Settings = dict[str, object]


class Document(BaseModel):
    """A JSON document, or a part of one. Fields that are not declared are ignored."""

    # pydantic reserves names that begin with `model_`, such as `model_type`, unless it is told not to.
    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, frozen=True, protected_namespaces=())

    def to_dict(self) -> dict[str, Any]:
        """The JSON-compatible form, without the fields that were never set. (`Any`: callers pass parts of it on as
        keyword arguments.)"""
        return self.model_dump(exclude_unset=True)


AnyDocument = TypeVar("AnyDocument", bound=Document)


class Provenance(Document, extra="allow"):
    """Where data came from, by the options that read them again; further options are numbers or switches."""

    kind: str = ""
    path: str = ""
    name: str = ""
    granularity: str = ""
    time_format: str = ""
    static_words: str = ""
    columns: str = ""
    num_days: int | None = None
    max_events: int = 0

    @model_validator(mode="after")
    def _check_further_options(self) -> "Provenance":
        for name, value in (self.model_extra or {}).items():
            if not isinstance(value, bool | int | float):
                raise ValueError(f"data ({name} = {shown(value)})")
        return self


class DataDescription(Document, extra="allow"):
    """The data of a training: what `TemporalGraph.describe` says, their provenance, and the model's clock.

    `last_learnt_time`: the last time of train and valid; of checkpoints alone, and None in those of older versions.
    """

    name: str = ""
    sha256: str = ""
    provenance: Provenance | None = None
    time_interval: Annotated[int, Field(ge=1, le=2 * TIME_MAX)] = 1
    clock_origin: Time = 0
    first_time: Time = 0
    last_time: Time = 0
    last_learnt_time: Time | None = None

    @property
    def learnt_until(self) -> int:
        """The last time that a checkpoint was trained on or selected by, as far as it says."""
        # Checkpoints of older versions do not say which of their data they learnt from.
        return self.last_time if self.last_learnt_time is None else self.last_learnt_time


class StaticGraphDescription(Document):
    """What the arrays of a static graph do not say: where each relation's edges end, and the number of words."""

    bounds: list[int]
    num_words: int


class Calibration(Document, extra="allow"):
    """Temperatures of the probabilities by kind of query, as `tirgn eval --calibrate` found them."""

    temperature: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}


class _Vocabulary(Document):
    """Sizes and names of a vocabulary, which a checkpoint and a training state both hold."""

    num_entities: Size
    num_relations: Size
    entities: list[str] | None = None
    relations: list[str] | None = None

    @model_validator(mode="after")
    def _check_names(self) -> "_Vocabulary":
        for kind, names, number in (
            ("entities", self.entities, self.num_entities),
            ("relations", self.relations, self.num_relations),
        ):
            if names is not None and len(names) != number:
                raise ValueError(f"{kind}: expected {number:,} names")
        return self


class CheckpointMetadata(_Vocabulary):
    """What a checkpoint says of its model beside the weights.

    **Arguments:**

    - `config`: the settings of the training.
    - `metrics`: the figures of the checkpoint's epoch, or whatever `save_model` was given.
    - `data`: what it was trained on; `versions`: of the packages that computed it; `created`: an ISO 8601 time.
    """

    model_type: str = ""
    format_version: int = 0
    config: Settings = {}
    static_graph: StaticGraphDescription | None = None
    metrics: dict[str, object] | None = None
    data: DataDescription | None = None
    versions: dict[str, str] | None = None
    created: str = ""
    calibration: Calibration | None = None

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the data of the training came from, as options of `load_graph`; empty where it does not say."""
        return {} if self.data is None or self.data.provenance is None else self.data.provenance.to_dict()

    @property
    def checksum(self) -> str | None:
        """Of the data of the training; None where it does not say."""
        return None if self.data is None else self.data.sha256 or None

    @property
    def is_refit(self) -> bool:
        """Whether the model was trained on the valid split, too, so that no figure on valid means anything."""
        return (self.metrics or {}).get("refit") is True

    @property
    def temperature(self) -> dict[str, float] | None:
        """Of the probabilities by kind of query; None for a model that was never calibrated."""
        return None if self.calibration is None else self.calibration.temperature


class TrainingProgress(Document):
    """How far a training has come.

    **Arguments:**

    - `epoch`, `step`: the current epoch and its finished steps; `global_step`: finished steps in all.
    - `last_validated`: the last validated epoch, -1 for none.
    - `best_value`, `best_epoch`: of early stopping, None before the first validation; `best_mrr`: of that epoch.
    - `seconds`: trained so far; `skipped_steps`: non-finite steps of earlier epochs.
    - `oom_overrides`: settings that were changed because memory ran out.
    """

    epoch: Count
    step: Count
    global_step: Count
    last_validated: Annotated[int, Field(ge=-1, lt=2**53)] = -1
    best_value: Finite | None = None
    best_epoch: Count | None = None
    best_mrr: float | None = None  # NaN stands for a validation that was not finite
    seconds: Finite = 0.0
    oom_overrides: Settings = {}
    skipped_steps: Count = 0

    @field_validator("oom_overrides")
    @classmethod
    def _check_settings(cls, settings: Settings) -> Settings:
        known = all_settings()
        for name, value in settings.items():
            if name not in known:
                raise ValueError(f"progress (config key {shown(name)} does not exist)")
            try:
                known[name].checked(value)
            except ConfigError as error:
                raise ValueError(f"progress ({error})") from error
        return settings


class TrainingIdentity(_Vocabulary):
    """What a training state belongs to: a training with other settings, data, names or initial weights is another one.

    **Arguments:** `start`: the fingerprint of the model that the training began from, None for random weights.
    """

    config: Settings
    data: DataDescription
    start: str | None = None

    @classmethod
    def of(cls, graph: TemporalGraph, config: TrainingConfig, start: str | None = None) -> "TrainingIdentity":
        """The identity of a training of `config` on `graph`."""
        return cls(config=config.to_dict(), data=describe_data(graph), start=start, **describe_vocabulary(graph))


class TrainingStateMetadata(TrainingIdentity):
    """The metadata of a training state: what it belongs to, and how far it has come."""

    model_type: Literal["tirgn-training-state"] = STATE_TYPE
    progress: TrainingProgress


class StageIdentity(Document):
    """What a stage was trained with: settings, checksum of the data, and `start` as in `TrainingIdentity`."""

    config: Settings
    sha256: str
    start: str | None = None


class StageDocument(Document):
    """`stage.json` of a finished stage: what it was trained with, what its training returned, and its best checkpoint,
    the name of a file in the same folder."""

    identity: StageIdentity
    best: str
    result: dict[str, object]

    @field_validator("best")
    @classmethod
    def _check_name(cls, best: str) -> str:
        # A path with folders in it could lead out of the folder of the stage.
        if Path(best).name != best:
            raise ValueError("best: must be the name of a file in the same folder")
        return best


def describe_data(graph: TemporalGraph) -> DataDescription:
    """The description of `graph` that checkpoints and training states hold."""
    return DataDescription.model_validate(graph.describe() | {"provenance": graph.provenance} | describe_clock(graph))


def last_learnt_time(graph: TemporalGraph) -> int | None:
    """The last time of train and valid, in the unit of `graph.times`; None where both are empty."""
    learnt = [int(graph.times[found[-1]]) for split in ("train", "valid") if len(found := graph.split_snapshots(split))]
    return max(learnt, default=None)


def parse_document(kind: type[AnyDocument], found: object, path: Path, advice: str = "train again") -> AnyDocument:
    """`found`, parsed JSON of the file `path`, as a document of this kind.

    **Raises:** CheckpointError that names the first entry that is missing or of another type.
    """
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        raise CheckpointError(f"{path}: says nothing usable about its {_first_fault(error)}; {advice}") from error


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place, found = [str(part) for part in first["loc"]], shown(first["input"])
    # Validators of this module name the entry themselves.
    if first["type"] == "value_error":
        return first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"{place[0]} ({place[-1]} is missing)"
    if place[:1] in (["entities"], ["relations"]):
        return f"{place[0]}: expected names, not {found}"
    return f"{place[0]} ({place[-1]} = {found})" if place else f"contents ({found})"
