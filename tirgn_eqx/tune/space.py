"""What a search may change: settings, each with its range or its choices."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from tirgn_eqx.config import TiRGNTrainingConfig, parse_assignments
from tirgn_eqx.errors import ConfigError, nearest, shown

# What makes trials incomparable, or changes nothing in what a model learns.
FIXED = (
    *("model", "history", "seed", "monitor", "epochs", "eval_interval", "patience", "max_bad_steps", "precision"),
    *("checkpoint_interval", "save_every", "save_minutes", "keep", "logdir", "remat", "unroll", "max_buckets"),
)
# What the evidence model does not read, and what it alone does.
_RECURRENT = (
    *("history_len", "num_layers", "l2_normalize", "static_blocks", "history_rate", "history_window"),
    *("history_mask", "conv_channels", "conv_kernel", "input_dropout", "feature_dropout", "hidden_dropout"),
    *("static_weight", "angle", "angle_grows", "loss", "num_negatives", "num_shared", "unique_questions"),
    "targets_per_step",
)
_EVIDENCE = (
    *("evidence_heads", "evidence_hidden", "evidence_context", "evidence_background", "max_partners", "loss_filter"),
)
_STATIC = ("static_blocks", "static_weight", "angle", "angle_grows")
_HISTORY_MODE = ("history_rate", "history_mask", "history_window")
_MOST_CHOICES = 64
_HOW = "write LOW:HIGH, LOW:HIGH:log, or choices A,B"


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where the setting is. `log`: drawn by their magnitude."""

    low: int | float
    high: int | float
    log: bool = False


@dataclass(frozen=True)
class Choices:
    """Values, one of which is taken."""

    values: tuple[Any, ...]


Space = dict[str, Range | Choices]

_GRAPH: Space = {
    "history_len": Range(1, 10),
    "num_layers": Range(1, 3),
    "dropout": Range(0.0, 0.5),
    "learning_rate": Range(1e-4, 1e-2, log=True),
}
_DEFAULT: dict[str, Space] = {
    "tirgn": _GRAPH | {"history_rate": Range(0.0, 0.9), "angle": Range(0.0, 20.0)},
    "regcn": _GRAPH | {"angle": Range(0.0, 20.0)},
    "evidence": {"dropout": Range(0.0, 0.5), "learning_rate": Range(1e-3, 2e-2, log=True)},
}


def default_space(config: TiRGNTrainingConfig, static: bool) -> Space:
    """What is searched for the model of `config` unless told otherwise. **Arguments:** `static`: whether the data has a
    static graph, without which there is no angle."""
    space = _DEFAULT[config.model]
    return {name: part for name, part in space.items() if _meaningless(name, space, config, static) is None}


def parse_space(texts: list[str]) -> Space:
    """`["history_len=1:6", "learning_rate=1e-4:1e-2:log", "batch_size=256,1024"]` as a space.

    **Raises:** ConfigError for a name that is no setting or not to be searched, and for values that it cannot have.
    """
    space: Space = {}
    for text in texts:
        name, equals, raw = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not raw.strip():
            raise ConfigError(f"--param {shown(text)}: {_HOW}, such as --param history_len=1:6")
        if name in space:
            raise ConfigError(f"--param {shown(text)}: {name} was given before; give it once")
        space[name] = _part(name, raw.strip())
    return space


def check_space(space: Space, config: TiRGNTrainingConfig, static: bool) -> None:
    """**Raises:** ConfigError for a space that is empty, or holds what has no meaning for this model and data."""
    if not space:
        raise ConfigError(
            "nothing to search: every setting is fixed; name one, such as --param learning_rate=1e-4:1e-2"
        )
    for name in space:
        why = _meaningless(name, space, config, static)
        if why is not None:
            raise ConfigError(f"--param {name}: {why}; leave it out")


def to_dict(space: Mapping[str, Range | Choices]) -> dict[str, dict[str, Any]]:
    """The space as JSON has it."""
    plain = {name: dataclasses.asdict(part) for name, part in space.items()}
    return {name: part | ({"values": list(part["values"])} if "values" in part else {}) for name, part in plain.items()}


def said(part: Mapping[str, Any]) -> str:
    """One setting's range or choices, of `to_dict`, as `parse_space` reads them."""
    if "values" in part:
        return ",".join(str(value) for value in part["values"])
    return f"{part['low']}:{part['high']}" + (":log" if part["log"] else "")


def _meaningless(name: str, space: Space, config: TiRGNTrainingConfig, static: bool) -> str | None:
    """Why a setting changes nothing in a training of `config`, or None. What `space` searches may have any value."""
    may_be = lambda other, value: other in space or getattr(config, other) == value
    if config.model == "evidence" and name in _RECURRENT:
        return "has no meaning for evidence, which has neither window nor decoders"
    if name in _EVIDENCE and config.model != "evidence":
        return f"has no meaning for {config.model} itself; search it with --model evidence"
    if name in _HISTORY_MODE and config.model != "tirgn":
        return f"has no meaning for {config.model}, which has no history mode"
    of_background = ("embedding_dim", "dropout", "static_graph")
    if name in of_background and config.model == "evidence" and not may_be("evidence_background", True):
        return "has no meaning for evidence without its background"
    if name in ("static_graph", *_STATIC) and not static or name in _STATIC and not may_be("static_graph", True):
        return "has no meaning without a static graph"
    if name == "evidence_preset" and config.history != "evidence":
        return "has no meaning without evidence beside the model; give --set history=evidence"
    for given, loss in (("num_negatives", "sampled"), ("num_shared", "shared")):
        if name == given and not may_be("loss", loss):
            return f"has no meaning unless loss is {loss}; give --set loss={loss}"
    return None


def _part(name: str, raw: str) -> Range | Choices:
    hints = get_type_hints(TiRGNTrainingConfig)
    if name not in hints:
        raise ConfigError(f"--param: config key {shown(name)} does not exist{nearest(name, hints)}")
    if name in FIXED:
        raise ConfigError(f"--param {name}: is the same for every trial; give it with --set {name}=VALUE")
    where = f"--param {name}={raw}" if len(raw) <= 60 else f"--param {name}={shown(raw)}"
    match = re.fullmatch(r"([^:,]+):([^:,]+)(:log)?", raw)
    if match is None:
        if ":" in raw:
            raise ConfigError(f"{where}: {_HOW}")
        values = [_value(name, text, where) for text in raw.split(",")]
        if len(values) > _MOST_CHOICES:
            raise ConfigError(f"{where}: {len(values)} choices; give at most {_MOST_CHOICES}")
        if len(set(values)) < len(values):
            raise ConfigError(f"{where}: names a choice twice; name each once")
        return Choices(tuple(values))
    if hints[name] not in (int, float):
        raise ConfigError(f"{where}: {name} is no number; give its choices, such as --param {name}=A,B")
    low, high = (_value(name, text, where) for text in match.group(1, 2))
    if not low < high:
        raise ConfigError(f"{where}: {low} is not below {high}; give the lower bound first")
    if match[3] and not low > 0:
        raise ConfigError(f"{where}: a range by magnitude begins above 0; leave :log out, or raise {low}")
    if hints[name] is int and high - low < _MOST_CHOICES:
        for between in range(int(low), int(high)):
            _checked(name, between, where)
    return Range(low, high, log=bool(match[3]))


def _value(name: str, text: str, where: str) -> Any:
    """A bound or a choice as the setting has it."""
    if not text.strip():
        raise ConfigError(f"{where}: {_HOW}")
    return _checked(name, parse_assignments([f"{name}={text}"])[name], where)


def _checked(name: str, value: Any, where: str) -> Any:
    try:
        return getattr(TiRGNTrainingConfig().replace(**{name: value}), name)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def distributions(space: Space) -> dict[str, Any]:
    """The space as optuna's distributions, by name in order."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found = {}
    for name, part in sorted(space.items()):
        if isinstance(part, Choices):
            found[name] = CategoricalDistribution(part.values)
        elif isinstance(part.low, int):
            found[name] = IntDistribution(part.low, int(part.high), log=part.log)
        else:
            found[name] = FloatDistribution(part.low, part.high, log=part.log)
    return found
