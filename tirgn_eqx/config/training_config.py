"""Every setting of a training run, with its default; JSON and TOML in and out; published presets."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from tirgn_eqx.errors import ConfigError, nearest, shown
from tirgn_eqx.storage.untrusted import check_regular, parse_json, parse_toml

Number = int | float
_LARGEST = 2**31 - 1  # of a whole number without a limit of its own
_LONGEST_FILE = 1 << 20  # bytes of a file of settings


def _setting(default: Any, help: str, *, low: Number | None = None, high: Number | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "low": low, "high": high})


@dataclass(frozen=True)
class TiRGNTrainingConfig:
    """Model and training settings. Defaults suit event streams; `PRESETS` hold the published settings."""

    # model
    model: Literal["tirgn", "regcn", "evidence"] = _setting(
        "tirgn", "what is trained: TiRGN, RE-GCN that it grew out of, or evidence: intensities of past events, summed"
    )
    embedding_dim: int = _setting(200, "width d of entity and relation embeddings", low=2)
    history_len: int = _setting(7, "snapshots in the local window that the encoder evolves over", low=1)
    num_layers: int = _setting(2, "graph convolution layers per snapshot", low=1)
    l2_normalize: bool = _setting(True, "L2-normalise entity and relation states at every step")
    static_graph: bool = _setting(True, "use the static graph when the data has one")
    static_blocks: int = _setting(100, "diagonal blocks in the static graph's relation weights", low=1)
    history: Literal["mask", "evidence"] = _setting(
        "mask",
        "what is made of the past beside the window: the history mode as published, or evidence, a model of its own, "
        "and a gate that weighs both",
    )
    history_rate: float = _setting(0.3, "share of history mode in the mixture", low=0, high=1)
    history_window: int = _setting(50, "snapshots the history vocabulary looks back; 0 = all", low=0)
    history_mask: Literal["multiply", "exclude"] = _setting(
        "multiply", "unseen candidates in history mode: logit 0 (as released) or excluded (-inf)"
    )
    conv_channels: int = _setting(50, "channels of the decoders' convolution", low=1)
    conv_kernel: int = _setting(3, "width of the decoders' convolution; odd", low=1)
    dropout: float = _setting(0.2, "dropout after each graph layer", low=0, high=0.99)
    input_dropout: float = _setting(0.2, "dropout on the decoders' input", low=0, high=0.99)
    feature_dropout: float = _setting(0.2, "dropout on the decoders' feature maps", low=0, high=0.99)
    hidden_dropout: float = _setting(0.2, "dropout on the decoders' output vector", low=0, high=0.99)
    evidence_preset: str = _setting("evidence", "with history = evidence: the preset that the evidence is trained with")
    evidence_heads: int = _setting(32, "evidence: kinds of past events that it tells apart", low=1)
    evidence_hidden: int = _setting(32, "evidence: width of the hidden layer between ages, counts and intensity", low=1)
    evidence_context: bool = _setting(
        True, "evidence: let what subject and object did with others weigh in, beside what they did together"
    )
    evidence_background: bool = _setting(
        True,
        "evidence: an embedding of every entity, for candidates that never met the subject; costs most of the time",
    )
    max_partners: int = _setting(512, "evidence: of a subject, only the partners met last, this many; 0 = all", low=0)
    # loss
    loss_filter: bool = _setting(
        False, "evidence: compare an answer with what is not true alone, as the time-aware filter ranks it"
    )
    task_weight: float = _setting(0.7, "weight of the entity loss; the relation loss gets the rest", low=0, high=1)
    static_weight: float = _setting(0.5, "weight of the static loss", low=0)
    angle: float = _setting(14.0, "degrees that a state may turn from its static embedding per step", low=0)
    angle_grows: bool = _setting(True, "let the allowed angle grow with the position in the window")
    loss: Literal["full", "sampled", "shared"] = _setting(
        "full", "softmax over all entities, over negatives drawn per query, or over entities drawn per snapshot"
    )
    num_negatives: int = _setting(10, "negatives per query when loss = sampled", low=1)
    num_shared: int = _setting(
        1024, "entities drawn per snapshot when loss = shared, beside all that it touches", low=1
    )
    unique_questions: bool = _setting(False, "decode equal questions of a snapshot once, counted by their facts")
    targets_per_step: int = _setting(
        1, "consecutive target snapshots that share one evolution and one update; 1 = as published", low=1
    )
    # optimisation
    epochs: int = _setting(100, "passes over the training snapshots", low=0)
    learning_rate: float = _setting(1e-3, "Adam's step size", low=0)
    lr_schedule: Literal["constant", "linear", "cosine"] = _setting(
        "constant", "step size over the run: constant as published, or falling to 0 at the last of `epochs`"
    )
    weight_decay: float = _setting(1e-5, "L2 term added to the gradient before Adam", low=0)
    grad_clip: float = _setting(1.0, "global gradient norm limit; 0 = none", low=0)
    ema_decay: float = _setting(
        0.0, "moving average of the weights, validated and saved: its decay per step; 0 = none", low=0, high=0.99999
    )
    batch_size: int = _setting(1024, "queries scored at once; 0 = the whole snapshot", low=0)
    precision: Literal["auto", "bf16", "f32", "f64"] = _setting(
        "auto", "compute type, auto: bf16, but f32 on a CPU; parameters stay f32 (f64: f64)"
    )
    remat: Literal["none", "dots", "full"] = _setting("dots", "what the window scan keeps for the backward pass")
    unroll: bool = _setting(
        False,
        "on a CPU, evolve the window without a loop: faster by a tenth, compiled in twice the time, with no remat",
    )
    seed: int = _setting(0, "seed of initialisation, order and dropout", low=0)
    # validation, stopping, output
    eval_interval: int = _setting(5, "epochs between validations", low=1)
    patience: int = _setting(15, "epochs without a better validation before stopping; 0 = never stop", low=0)
    monitor: Literal["mrr", "nll"] = _setting("mrr", "validation figure that early stopping follows")
    checkpoint_interval: int = _setting(10, "epochs between numbered checkpoints; 0 = none", low=0)
    save_every: int = _setting(
        0, "steps between saves of the training's state, beside those after each epoch; 0 = those alone", low=0
    )
    save_minutes: float = _setting(
        10.0, "minutes between saves of the training's state inside an epoch; 0 = none", low=0
    )
    keep: int = _setting(0, "numbered checkpoints that stay, the newest ones; 0 = all", low=0)
    max_bad_steps: int = _setting(
        10,
        "steps of an epoch that may give no finite loss or gradient, and are passed over; more, or all, end the run",
        low=0,
    )
    max_buckets: int = _setting(3, "padded batch shapes, each compiled once", low=1)
    logdir: str = _setting("runs/tirgn", "folder of TensorBoard and JSON-lines logs")

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _checked(field, hints[field.name], getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        if self.conv_kernel % 2 == 0:
            raise ConfigError(f"conv_kernel = {self.conv_kernel}: must be odd; try {self.conv_kernel + 1}")
        if self.history == "evidence" and self.model == "evidence":
            raise ConfigError("history = evidence: for tirgn and regcn; the evidence model is evidence already")

    def replace(self, **changes: Any) -> "TiRGNTrainingConfig":
        """A copy with `changes`; raises ConfigError for a key that does not exist or a value out of range."""
        known = {field.name: field for field in dataclasses.fields(self)}
        hints = get_type_hints(type(self))
        for key, value in changes.items():
            if key not in known:
                raise ConfigError(f"config key {key!r} does not exist{nearest(key, known)}")
            changes[key] = _checked(known[key], hints[key], value)
        return dataclasses.replace(self, **changes)

    @property
    def model_type(self) -> str:
        """What checkpoints call the model: `model`, and whether evidence goes with it."""
        return f"{self.model}-evidence" if self.history == "evidence" else self.model

    def to_dict(self) -> dict[str, Any]:
        """All settings as JSON-compatible values."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    def to_toml(self) -> str:
        """The settings as TOML that `read_config` reads back."""
        text = [f"{key} = {json.dumps(value)}" for key, value in self.to_dict().items()]
        return "\n".join(text) + "\n"


def _checked(field: dataclasses.Field, hint: Any, value: Any) -> Any:
    """`value` as the type of `field`, or a ConfigError that says what would be accepted."""
    choices = get_args(hint)
    where = f"{field.name} = {shown(value)}"
    if choices:
        if value not in choices:
            raise ConfigError(f"{where}: must be one of {', '.join(choices)}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1000 else math.inf
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{where}: must be {hint.__name__}, not {type(value).__name__}")
    low, high = field.metadata["low"], field.metadata["high"]
    if low is not None and not value >= low:
        raise ConfigError(f"{where}: must be at least {low}")
    if high is not None and not value <= high:
        raise ConfigError(f"{where}: must be at most {high}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}: must be a finite number")
    if hint is int and high is None and value > _LARGEST:
        raise ConfigError(f"{where}: must be at most {_LARGEST}")
    return value


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`["angle=10", "loss=sampled"]` as typed settings (the command line's `--set key=value`)."""
    hints = get_type_hints(TiRGNTrainingConfig)
    changes = {}
    for text in assignments:
        key, equals, raw = text.partition("=")
        key = key.strip().replace("-", "_")
        if not equals:
            raise ConfigError(f"--set {shown(text)}: expected key=value, such as --set angle=10")
        if key not in hints:
            raise ConfigError(f"config key {shown(key)} does not exist{nearest(key, hints)}")
        try:
            value = parse_toml(f"value = {raw.strip()}")["value"]
        except ValueError:
            value = raw.strip()
        changes[key] = value
    return changes


def read_config(path: str | Path) -> dict[str, Any]:
    """The settings in a TOML or JSON file, as a dict for `replace`; raises ConfigError with file and line."""
    path = Path(path)
    try:
        check_regular(path)
        if path.stat().st_size > _LONGEST_FILE:
            raise ConfigError(f"{path}: longer than {_LONGEST_FILE:,} bytes, as no settings are; check --config")
        text = path.read_text(encoding="utf-8")
        settings = parse_json(text) if path.suffix == ".json" else parse_toml(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check --config") from error
    except ValueError as error:
        kind = path.suffix.lstrip(".") or "TOML"
        raise ConfigError(f"{path}: not valid {kind}: {error}; write lines like epochs = 20") from error
    known = [field.name for field in dataclasses.fields(TiRGNTrainingConfig)]
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: expected settings by name, found {type(settings).__name__}")
    for key in settings:
        if key not in known:
            raise ConfigError(f"{path}: config key {shown(key)} does not exist{nearest(key, known)}")
    return settings


# Published settings (Li et al., IJCAI 2022, and for `regcn-`: Li et al., SIGIR 2021, and the released codes' scripts).
# The whole snapshot is one batch and the history vocabulary is never cut, as published. Ours: `sim`, sized for the
# simulated world and two CPU cores, and `gdelt-events`, for daily event streams.
_PUBLISHED = {"batch_size": 0, "history_window": 0, "epochs": 500, "patience": 15, "eval_interval": 1, "unroll": True}
_RE_GCN = _PUBLISHED | {"model": "regcn", "angle": 10.0}
_EVIDENCE = {
    "model": "evidence",
    "embedding_dim": 64,
    "dropout": 0.3,
    "learning_rate": 5e-3,
    "lr_schedule": "cosine",
    "weight_decay": 0.0,
    "epochs": 3,
    "eval_interval": 1,
    "patience": 3,
    "batch_size": 2048,
    "max_buckets": 2,
}
PRESETS: dict[str, dict[str, Any]] = {
    "icews14s": _PUBLISHED | {"history_len": 9, "num_layers": 2, "static_graph": True, "angle": 14.0},
    "icews14": _PUBLISHED | {"history_len": 9, "num_layers": 2, "static_graph": True, "angle": 14.0},
    "icews18": _PUBLISHED | {"history_len": 10, "num_layers": 2, "static_graph": True, "angle": 10.0},
    "icews05-15": _PUBLISHED | {"history_len": 15, "num_layers": 2, "static_graph": True, "angle": 10.0},
    "gdelt": _PUBLISHED | {"history_len": 7, "num_layers": 2, "static_graph": False},
    "wiki": _PUBLISHED | {"history_len": 2, "num_layers": 2, "static_graph": False, "evidence_preset": "evidence-wiki"},
    "yago": _PUBLISHED | {"history_len": 1, "num_layers": 1, "static_graph": False, "evidence_preset": "evidence-yago"},
    "regcn-icews14s": _RE_GCN | {"history_len": 3, "num_layers": 2, "static_graph": True},
    "regcn-icews18": _RE_GCN | {"history_len": 6, "num_layers": 2, "static_graph": True},
    "regcn-icews05-15": _RE_GCN | {"history_len": 10, "num_layers": 2, "static_graph": True},
    "regcn-gdelt": _RE_GCN | {"history_len": 1, "num_layers": 2, "static_graph": False},
    "regcn-wiki": _RE_GCN
    | {"history_len": 2, "num_layers": 2, "static_graph": False, "evidence_preset": "evidence-wiki"},
    "regcn-yago": _RE_GCN
    | {"history_len": 1, "num_layers": 1, "static_graph": False, "evidence_preset": "evidence-yago"},
    "sim": {
        "embedding_dim": 64,
        "history_len": 3,
        "num_layers": 1,
        "history_rate": 0.5,
        "learning_rate": 2e-3,
        "epochs": 30,
        "ema_decay": 0.995,
        "precision": "f32",
        "remat": "none",
        "max_buckets": 1,
    },
    "evidence": _EVIDENCE,
    "evidence-yago": _EVIDENCE | {"evidence_background": False, "loss_filter": True, "batch_size": 512, "epochs": 8},
    "evidence-wiki": _EVIDENCE | {"evidence_background": False, "loss_filter": True, "batch_size": 1024, "epochs": 5},
    "gdelt-events": {"history_len": 7, "num_layers": 2, "static_graph": False, "history_window": 50},
}


# How to train what a preset describes. `exact` is the published training. `fast` estimates its loss: equal questions
# are decoded once, and only the entities that a snapshot touches are evolved and scored, with a few drawn ones that
# stand for the others. Larger steps and an average of the weights make up for the noise of the estimate.
RECIPES: dict[str, dict[str, Any]] = {
    "exact": {},
    "fast": {
        "unique_questions": True,
        "loss": "shared",
        "num_shared": 512,
        "learning_rate": 1.5e-3,
        "ema_decay": 0.998,
    },
}


def preset(name: str) -> TiRGNTrainingConfig:
    """The config of a preset by name; raises ConfigError with the nearest name."""
    if name not in PRESETS:
        raise ConfigError(f"preset {name!r} does not exist{nearest(name, PRESETS)}; known: {', '.join(PRESETS)}")
    return TiRGNTrainingConfig(**PRESETS[name])
