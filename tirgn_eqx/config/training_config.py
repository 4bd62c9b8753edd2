"""The settings of a training: one class for each model family, with the defaults that suit event streams."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal, TypedDict, TypeVar

from tirgn_eqx.config.setting import AUTO, Range, Switch, Traits, override, setting, settings_of
from tirgn_eqx.errors import ConfigError, nearest, shown

Config = TypeVar("Config", bound="TrainingConfig")  # not typing.Self, which beartype takes in whole classes alone

PARTS = ("structure", "evidence")  # of a mixture

# One shorthand for each heading under which the reference lists the settings.
_model = partial(setting, group="Model")
_loss = partial(setting, group="Loss")
_optimisation = partial(setting, group="Optimisation")
_computation = partial(setting, group="Computation", searchable=False)
_stopping = partial(setting, group="Validation and stopping", searchable=False, resumable=True)
_output = partial(setting, group="Output", searchable=False, resumable=True)


class WindowLengths(TypedDict):
    """What an evaluator must know of a configuration, as keyword arguments."""

    history_len: int
    history_window: int


@dataclass(frozen=True)
class TrainingConfig:
    """What the configurations of all families have in common. `family` names the family, `label` is its name in prose.

    Values are checked when a configuration is made, so one that exists is valid.
    """

    family: ClassVar[str]
    label: ClassVar[str]

    seed: int = setting(
        0, "seed of initialisation, order and dropout", low=0, group="Optimisation", searchable=False, shared=True
    )
    logdir: str = _output("runs/tirgn", "folder of TensorBoard and JSON-lines logs")

    def __post_init__(self) -> None:
        for name, value in check_values(type(self), {name: getattr(self, name) for name in _names(type(self))}).items():
            # The class is frozen. Checked values may differ from the given ones, such as 1.0 from 1.
            object.__setattr__(self, name, value)

    def replace(self: Config, /, **changes: object) -> Config:
        """A copy with `changes`. **Raises:** ConfigError for a key that does not exist or a value out of range."""
        # `__init__` would check as well, but declares types that values of a file need not have.
        return dataclasses.replace(self, **check_values(type(self), changes))

    @property
    def model_type(self) -> str:
        """What checkpoints and results call the model."""
        return self.family

    def window(self) -> WindowLengths:
        """`history_len` and `history_window` of the recurrent graph encoder. A family without an encoder has zeros,
        which its evaluator does not read."""
        return WindowLengths(history_len=0, history_window=0)

    def to_dict(self) -> dict[str, object]:
        """The family and all settings as JSON-compatible values; `config_from_dict` reads them back."""
        return {"family": self.family, **{name: getattr(self, name) for name in settings_of(type(self))}}

    def to_toml(self) -> str:
        """The family and all settings as TOML, which `read_config` reads back."""
        # Python's standard library reads TOML and does not write it.
        return "\n".join(_toml_lines(self.to_dict())) + "\n"


def _toml_lines(document: Mapping[str, object], table: str = "") -> list[str]:
    # Tables come last: in TOML, every line after the head of a table belongs to it.
    tables = {name: value for name, value in document.items() if isinstance(value, Mapping)}
    # JSON's numbers, texts and booleans are valid TOML, which has no null.
    values = {name: value for name, value in document.items() if name not in tables and value is not None}
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    for name, values in tables.items():
        lines += ["", f"[{table}{name}]", *_toml_lines(values, f"{table}{name}.")]
    return lines


@dataclass(frozen=True)
class ModelTrainingConfig(TrainingConfig):
    """What the families that gradient steps train have in common: all but the mixture, whose two parts are such."""

    embedding_dim: int = _model(200, "width d of entity and relation embeddings", low=2)
    static_graph: bool = _model(True, "use the static graph when the data has one")
    dropout: float = _model(0.2, "dropout after each graph layer", low=0, high=0.99, search=Range(0.0, 0.5))
    task_weight: float = _loss(0.7, "weight of the entity loss; the relation loss gets the rest", low=0, high=1)
    learning_rate: float = _optimisation(1e-3, "Adam's step size", low=0, search=Range(1e-4, 1e-2, log=True))
    lr_schedule: Literal["constant", "linear", "cosine"] = _optimisation(
        "constant", "step size over the run: constant, as published, or falling to 0 at the last of `epochs`"
    )
    weight_decay: float = _optimisation(1e-5, "L2 term added to the gradient before Adam", low=0)
    grad_clip: float = _optimisation(1.0, "global gradient norm limit; 0 = none", low=0)
    ema_decay: float = _optimisation(
        0.0, "moving average of the weights, validated and saved: its decay per step; 0 = none", low=0, high=0.99999
    )
    batch_size: int = _optimisation(1024, "queries scored at once; 0 = the whole snapshot", low=0)
    precision: Literal["auto", "bf16", "f32", "f64"] = _computation(
        "auto", "compute type, auto: bf16, but f32 on a CPU that is no faster with bf16; parameters stay f32 (f64: f64)"
    )
    max_buckets: int = _computation(3, "padded batch shapes, each compiled once", low=1)
    epochs: int = _stopping(100, "passes over the training snapshots", low=0)
    eval_interval: int = _stopping(5, "epochs between validations", low=1)
    patience: int = _stopping(15, "epochs without a better validation before stopping; 0 = never stop", low=0)
    monitor: Literal["mrr", "nll"] = _stopping(
        "mrr", "validation figure that early stopping follows", resumable=False, shared=True
    )
    max_skipped_steps: int = _stopping(
        10, "non-finite steps of an epoch that are skipped; more, or only such steps, end the run", low=0, shared=True
    )
    checkpoint_interval: int = _output(10, "epochs between numbered checkpoints; 0 = none", low=0)
    save_every: int = _output(
        0,
        "steps between saves of the training state, beside those after each epoch; 0 = only those",
        low=0,
        shared=True,
    )
    save_minutes: float = _output(
        10.0, "minutes between saves of the training state inside an epoch; 0 = none", low=0, shared=True
    )
    keep: int = _output(0, "numbered checkpoints that stay, the newest ones; 0 = all", low=0)


@dataclass(frozen=True)
class RecurrentTrainingConfig(ModelTrainingConfig):
    """What TiRGN and RE-GCN have in common: the graph encoder, the convolutional decoders and the loss."""

    history_len: int = _model(
        7, "snapshots in the local window that the encoder evolves over", low=1, search=Range(1, 10)
    )
    history_window: int = _model(50, "snapshots the history vocabulary looks back; 0 = all", low=0)
    num_layers: int = _model(2, "graph convolution layers per snapshot", low=1, search=Range(1, 3))
    l2_normalize: bool = _model(True, "L2-normalise entity and relation states at every step")
    static_blocks: int = _model(
        100, "diagonal blocks in the static graph's relation weights", low=1, requires=("static_graph", (True,))
    )
    conv_channels: int = _model(50, "channels of the decoders' convolution", low=1)
    conv_kernel: int = _model(3, "width of the decoders' convolution; odd", low=1, odd=True)
    input_dropout: float = _model(0.2, "dropout on the decoders' input", low=0, high=0.99)
    feature_dropout: float = _model(0.2, "dropout on the decoders' feature maps", low=0, high=0.99)
    hidden_dropout: float = _model(0.2, "dropout on the decoders' output vector", low=0, high=0.99)
    static_weight: float = _loss(0.5, "weight of the static loss", low=0, requires=("static_graph", (True,)))
    angle: float = _loss(
        14.0,
        "degrees that a state may turn from its static embedding per step",
        low=0,
        search=Range(0.0, 20.0),
        requires=("static_graph", (True,)),
    )
    angle_grows: bool = _loss(
        True, "let the allowed angle grow with the position in the window", requires=("static_graph", (True,))
    )
    loss: Literal["full", "sampled", "shared"] = _loss(
        "full", "softmax over all entities, over negatives drawn per query, or over entities drawn per snapshot"
    )
    num_negatives: int = _loss(10, "negatives per query when loss = sampled", low=1, requires=("loss", ("sampled",)))
    num_shared: int = _loss(
        1024,
        "entities drawn per snapshot when loss = shared, beside all that it touches",
        low=1,
        requires=("loss", ("shared",)),
    )
    unique_queries: bool = _loss(False, "decode equal queries of a snapshot once, counted by their facts")
    targets_per_step: int = _optimisation(
        1, "consecutive target snapshots that share one evolution and one update; 1 = as published", low=1
    )
    remat: Literal["none", "dots", "full"] = _computation("dots", "what the window scan keeps for the backward pass")
    unroll: bool = _computation(
        False, "on a CPU, evolve the window without a loop: a tenth faster, twice the compile time, and no remat"
    )

    def window(self) -> WindowLengths:
        return WindowLengths(history_len=self.history_len, history_window=self.history_window)


@dataclass(frozen=True)
class TiRGNTrainingConfig(RecurrentTrainingConfig):
    """TiRGN (Li et al., IJCAI 2022): a recurrent graph encoder, mixed with a mode that knows the history."""

    family: ClassVar[str] = "tirgn"
    label: ClassVar[str] = "TiRGN"

    history_rate: float = _model(0.3, "share of history mode in the mixture", low=0, high=1, search=Range(0.0, 0.9))
    history_mask: Literal["multiply", "exclude"] = _model(
        "multiply", "candidates outside the history in history mode: logit 0 (as released) or excluded (-inf)"
    )


@dataclass(frozen=True)
class REGCNTrainingConfig(RecurrentTrainingConfig):
    """RE-GCN (Li et al., SIGIR 2021), which TiRGN grew out of: no history mode and no time vectors."""

    family: ClassVar[str] = "regcn"
    label: ClassVar[str] = "RE-GCN"

    history_window: int = override(
        RecurrentTrainingConfig,
        "history_window",
        50,
        help="when loss = sampled or shared, snapshots back in which the history names entities to score; 0 = all",
        requires=("loss", ("sampled", "shared")),
    )


_override = partial(override, ModelTrainingConfig)
_BACKGROUND: Traits = {"requires": ("evidence_background", (True, AUTO))}


@dataclass(frozen=True)
class EvidenceTrainingConfig(ModelTrainingConfig):
    """The evidence model: intensities of past events, summed. It learns in a few epochs and needs no GPU."""

    family: ClassVar[str] = "evidence"
    label: ClassVar[str] = "evidence"

    embedding_dim: int = _override("embedding_dim", 64, **_BACKGROUND)
    static_graph: bool = _override("static_graph", True, **_BACKGROUND)
    dropout: float = _override("dropout", 0.3, help="dropout on the background's embeddings", **_BACKGROUND)
    evidence_heads: int = _model(32, "kinds of past events that it tells apart", low=1)
    evidence_hidden: int = _model(32, "width of the hidden layer between ages, counts and intensity", low=1)
    evidence_context: bool = _model(
        True, "weigh in what subject and object did with others, beside what they did together"
    )
    evidence_background: Switch = _model(
        AUTO,
        "an embedding of every entity, for candidates that never met the subject; costs most of the time; auto: where "
        "facts are events and not lasting states",
    )
    max_partners: int = _model(512, "most recent neighbours of a subject that are looked at; 0 = all", low=0)
    loss_filter: Switch = _loss(
        AUTO,
        "leave other true answers out of an answer's loss, as the time-aware filter does; auto: where facts last",
    )
    learning_rate: float = _override("learning_rate", 5e-3, search=Range(1e-3, 2e-2, log=True))
    lr_schedule: Literal["constant", "linear", "cosine"] = _override("lr_schedule", "cosine")
    weight_decay: float = _override("weight_decay", 0.0)
    batch_size: int = _override("batch_size", 2048)
    max_buckets: int = _override("max_buckets", 2)
    epochs: int = _override(
        "epochs", 0, help="passes over the training snapshots; 0 = 3 for events, at most 12 where facts last"
    )
    eval_interval: int = _override("eval_interval", 1)
    patience: int = _override("patience", 3)

    @property
    def has_background(self) -> bool:
        """`evidence_background`, where `auto`, which training decides by the data, stands for what suits events."""
        return self.evidence_background is not False

    @property
    def filters_loss(self) -> bool:
        """`loss_filter`, where `auto`, which training decides by the data, stands for what suits events."""
        return self.loss_filter is True


@dataclass(frozen=True)
class MixtureTrainingConfig(TrainingConfig):
    """A recurrent graph model (the structure) and the evidence model, trained one after the other, and a gate that
    weighs the two, fitted last. `seed` is that of the gate.

    The parts log in `structure` and `evidence` below `logdir`.
    """

    family: ClassVar[str] = "mixture"
    label: ClassVar[str] = "a mixture"

    structure: TiRGNTrainingConfig | REGCNTrainingConfig = field(default_factory=TiRGNTrainingConfig)
    evidence: EvidenceTrainingConfig = field(default_factory=EvidenceTrainingConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        # A part may come from elsewhere, with a folder of its own; two mixtures must not log in one place.
        for name in PARTS:
            part = dataclasses.replace(getattr(self, name), logdir=f"{self.logdir}/{name}")
            object.__setattr__(self, name, part)

    @classmethod
    def of(
        cls,
        structure: TiRGNTrainingConfig | REGCNTrainingConfig,
        evidence: EvidenceTrainingConfig | None = None,
    ) -> "MixtureTrainingConfig":
        """`structure` with `evidence` (None: its defaults), which takes over the settings that both parts share, such
        as the seed."""
        evidence = evidence or EvidenceTrainingConfig()
        shared = {name: getattr(structure, name) for name in SHARED}
        return cls(structure.seed, structure.logdir, structure, evidence.replace(**shared))

    def replace(self, /, **changes: object) -> "MixtureTrainingConfig":
        """A copy with `changes`: a setting by its name is the structure's, and also the evidence's where both parts
        share it; `structure` and `evidence` are whole configurations, or settings by name."""
        parts = {}
        for name in PARTS:
            part, change = getattr(self, name), changes.pop(name, {})
            if not isinstance(change, TrainingConfig | Mapping):
                raise ConfigError(f"{name} = {shown(change)}: must be settings by name")
            parts[name] = change if isinstance(change, TrainingConfig) else part.replace(**_of_family(part, change))
        # Not the structure's: the parts log in folders below that of the mixture, see `__post_init__`.
        if "logdir" in changes:
            parts["logdir"] = changes.pop("logdir")
        # Otherwise the structure would say that the setting is one of another family, and not how to give it here.
        for name in changes:
            if name in settings_of(EvidenceTrainingConfig) and name not in settings_of(type(self.structure)):
                raise ConfigError(
                    f"{name} is a setting of evidence, not of {self.structure.label}; give evidence.{name}"
                )
        parts["structure"] = parts["structure"].replace(**changes)
        shared = {name: value for name, value in changes.items() if name in SHARED}
        parts["evidence"] = parts["evidence"].replace(**shared)
        # The seed is a setting of the mixture as well: that of its gate.
        own = {name: value for name, value in shared.items() if name in settings_of(MixtureTrainingConfig)}
        return dataclasses.replace(self, **check_values(MixtureTrainingConfig, parts | own))

    @property
    def model_type(self) -> str:
        return f"{self.structure.family}-evidence"

    def window(self) -> WindowLengths:
        return self.structure.window()

    def to_dict(self) -> dict[str, object]:
        return super().to_dict() | {name: getattr(self, name).to_dict() for name in PARTS}


@dataclass(frozen=True)
class EventTrainingConfig(TrainingConfig):
    """The rates of events: whether a fact will occur, and how often. `base` is the model that says who the object of a
    new fact would be; without one, that is by how often the relation had each object."""

    family: ClassVar[str] = "events"
    label: ClassVar[str] = "the event model"
    monitor: ClassVar[str] = "nll"  # what selects the best epoch

    rate_hidden: int = _model(64, "width of the hidden layers between activity and rates", low=1)
    periods: str = _model(
        "auto", "periods of the rates in steps, such as 7 or 24,168; auto: those of the training data; none"
    )
    learning_rate: float = _optimisation(3e-3, "Adam's step size, falling to 0", low=0)
    epochs: int = _stopping(
        0,
        "passes over the training snapshots, of which ten without a better valid likelihood end a training; 0 = at "
        "least 6, and at least 1,200 steps",
        low=0,
    )
    snapshots_per_epoch: int = _optimisation(400, "training snapshots drawn for a pass, if there are more", low=1)
    rows_per_step: int = _optimisation(8192, "facts, and pairs, drawn for a step", low=16)
    base: TrainingConfig | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.periods != "auto":
            self.periods_list()

    def periods_list(self) -> tuple[float, ...]:
        """`periods` as numbers; none for `auto`, which training decides by the data.

        **Raises:** ConfigError for what is no list of positive numbers.
        """
        if self.periods in ("auto", "none"):
            return ()
        try:
            found = tuple(float(part) for part in self.periods.split(","))
        except ValueError:
            found = (-1.0,)
        if not all(0 < period < float("inf") for period in found):
            raise ConfigError(f"periods = {shown(self.periods)}: must be auto, none, or positive steps such as 7,30")
        return found

    @property
    def model_type(self) -> str:
        return "events" if self.base is None else f"{self.base.model_type}-events"

    def window(self) -> WindowLengths:
        return super().window() if self.base is None else self.base.window()

    def to_dict(self) -> dict[str, object]:
        return super().to_dict() | ({} if self.base is None else {"base": self.base.to_dict()})


SHARED = tuple(name for name, one in settings_of(ModelTrainingConfig).items() if one.shared)
_PART_KINDS = {
    "structure": (TiRGNTrainingConfig | REGCNTrainingConfig, "TiRGN or RE-GCN"),
    "evidence": (EvidenceTrainingConfig, "the evidence model"),
    "base": (ModelTrainingConfig | MixtureTrainingConfig | None, "a model that ranks"),
}
FAMILIES: dict[str, type[TrainingConfig]] = {
    one.family: one
    for one in (
        TiRGNTrainingConfig,
        REGCNTrainingConfig,
        EvidenceTrainingConfig,
        MixtureTrainingConfig,
        EventTrainingConfig,
    )
}


def family_of(name: object) -> type[TrainingConfig]:
    """The configuration class of a family. **Raises:** ConfigError with the nearest name."""
    if not isinstance(name, str) or name not in FAMILIES:
        raise ConfigError(f"family = {shown(name)}: must be one of {', '.join(FAMILIES)}{nearest(str(name), FAMILIES)}")
    return FAMILIES[name]


def check_names(config: type[TrainingConfig], names: Iterable[str]) -> None:
    """**Raises:** ConfigError for a name that is no setting of this family: it says which families have it, or what
    was probably meant."""
    known = _names(config)
    for name in names:
        if name in known:
            continue
        if owners := [one for one in FAMILIES.values() if name in _names(one)]:
            labels, families = (" and ".join(getattr(one, key) for one in owners) for key in ("label", "family"))
            raise ConfigError(
                f"{name} is a setting of {labels}, not of {config.label}; leave it out, or train {families}"
            )
        raise ConfigError(f"config key {shown(name)} does not exist for {config.label}{nearest(name, known)}")


def _names(config: type[TrainingConfig]) -> list[str]:
    """The settings of a family, and the parts of a mixture."""
    return [one.name for one in dataclasses.fields(config)]


def check_values(config: type[TrainingConfig], changes: Mapping[str, object]) -> dict[str, object]:
    """`changes` as the types of the settings. **Raises:** ConfigError for a name or a value that cannot be."""
    check_names(config, changes)
    known, found = settings_of(config), dict(changes)
    for name, value in changes.items():
        if name in known:
            found[name] = known[name].checked(value)
            continue
        kinds, label = _PART_KINDS[name]
        if not isinstance(value, kinds):
            raise ConfigError(f"{name} = {getattr(value, 'label', shown(value))}: must be settings of {label}")
    return found


def _of_family(config: TrainingConfig, changes: Mapping[str, object]) -> dict[str, object]:
    """`changes` without the family, which must be that of `config`."""
    if (family := changes.get("family", config.family)) != config.family:
        raise ConfigError(f"family = {shown(family)}: these are settings of {config.label} ({config.family})")
    return {name: value for name, value in changes.items() if name != "family"}
