"""The search space: which settings a search varies, and over which range or choices."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tirgn_eqx.config import Range, SettingInfo, SettingValue, TrainingConfig, check_names, parse_value, settings_of
from tirgn_eqx.errors import ConfigError, shown

if TYPE_CHECKING:
    import optuna

_MAX_CHOICES = 64
_SYNTAX = "write LOW:HIGH, LOW:HIGH:log, or choices A,B"


@dataclass(frozen=True)
class Choices:
    """Values, one of which is taken."""

    values: tuple[SettingValue, ...]


Space = dict[str, Range | Choices]


def default_space(config: TrainingConfig, static: bool) -> Space:
    """The settings of the family of `config` that a search varies by default, as far as they have an effect.
    **Arguments:** `static`: whether the data has a static graph."""
    space: Space = {name: one.search for name, one in settings_of(type(config)).items() if one.search is not None}
    return {name: part for name, part in space.items() if _without_effect(name, space, config, static) is None}


def parse_space(texts: list[str], config: TrainingConfig) -> Space:
    """`["history_len=1:6", "learning_rate=1e-4:1e-2:log", "batch_size=256,1024"]` as a space.

    **Raises:** ConfigError for a name that is no setting of the family of `config`, or none that is searched, and for
    values that it cannot have.
    """
    space: Space = {}
    for text in texts:
        name, equals, raw = text.partition("=")
        name, raw = name.strip().replace("-", "_"), raw.strip()
        if not equals or not raw:
            raise ConfigError(f"--param {shown(text)}: {_SYNTAX}, such as --param history_len=1:6")
        if name in space:
            raise ConfigError(f"--param {shown(text)}: {name} was given before; give it once")
        try:
            check_names(type(config), [name])
        except ConfigError as error:
            raise ConfigError(f"--param: {error}") from error
        one = settings_of(type(config)).get(name)
        if one is None or not one.searchable:
            raise ConfigError(f"--param {name}: is the same for every trial; give it with --set {name}=VALUE")
        space[name] = _parse_part(one, raw)
    return space


def check_space(space: Space, config: TrainingConfig, static: bool) -> None:
    """**Raises:** ConfigError for a space that is empty, or varies what has no effect for this model and data."""
    if not space:
        raise ConfigError(
            "nothing to search: every setting is fixed; name one, such as --param learning_rate=1e-4:1e-2"
        )
    check_names(type(config), space)
    for name in space:
        if why := _without_effect(name, space, config, static):
            raise ConfigError(f"--param {name}: {why}; leave it out")


def space_to_dict(space: Mapping[str, Range | Choices]) -> dict[str, dict[str, object]]:
    """The space as JSON has it."""
    return {
        name: {"values": list(part.values)} if isinstance(part, Choices) else dataclasses.asdict(part)
        for name, part in space.items()
    }


def format_part(part: Mapping[str, object]) -> str:
    """The range or the choices of one setting, from `space_to_dict`, as `parse_space` reads them."""
    if isinstance(values := part.get("values"), list):
        return ",".join(map(str, values))
    return f"{part['low']}:{part['high']}" + (":log" if part["log"] else "")


def _without_effect(name: str, space: Space, config: TrainingConfig, static: bool) -> str | None:
    """Why a setting has no effect in a training of `config`, or None. A setting that `space` varies as well may have
    any value."""
    # The empty name, which no setting has, stands for no requirement.
    other, values = settings_of(type(config))[name].requires or ("", (None,))
    if not static and "static_graph" in (name, other):
        return "has no effect without a static graph in the data"
    if other and other not in space and getattr(config, other) not in values:
        value = str(values[0]).lower()
        return f"has no effect unless {other} is {value}; give --set {other}={value}"
    return None


def _parse_part(one: SettingInfo, raw: str) -> Range | Choices:
    where = f"--param {one.name}={raw if len(raw) <= 60 else shown(raw)}"
    match = re.fullmatch(r"([^:,]+):([^:,]+)(:log)?", raw)
    if match is None:
        if ":" in raw:
            raise ConfigError(f"{where}: {_SYNTAX}")
        values = [_parse_value(one, text, where) for text in raw.split(",")]
        if len(values) > _MAX_CHOICES:
            raise ConfigError(f"{where}: {len(values)} choices; give at most {_MAX_CHOICES}")
        if len(set(values)) < len(values):
            raise ConfigError(f"{where}: names a choice twice; name each once")
        return Choices(tuple(values))
    if one.type not in (int, float):
        raise ConfigError(f"{where}: {one.name} is no number; give its choices, such as --param {one.name}=A,B")
    low, high = (_parse_value(one, text, where) for text in match.group(1, 2))
    assert isinstance(low, int | float) and isinstance(high, int | float)
    if not low < high:
        raise ConfigError(f"{where}: {low} is not below {high}; give the lower bound first")
    if match[3] and not low > 0:
        raise ConfigError(f"{where}: a logarithmic range begins above 0; leave :log out, or raise {low}")
    if one.odd:
        raise ConfigError(f"{where}: {one.name} must be odd; give its choices, such as --param {one.name}=3,5")
    return Range(low, high, log=bool(match[3]))


def _parse_value(one: SettingInfo, text: str, where: str) -> SettingValue:
    """A bound or a choice as the setting has it."""
    if not text.strip():
        raise ConfigError(f"{where}: {_SYNTAX}")
    try:
        return one.checked(parse_value(text))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def distributions(space: Space) -> "dict[str, optuna.distributions.BaseDistribution]":
    """The space as optuna's distributions, by name in order."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, optuna.distributions.BaseDistribution] = {}
    # Sorted, because the sampler draws in this order: that of the command line must not change what is drawn.
    for name, part in sorted(space.items()):
        if isinstance(part, Choices):
            found[name] = CategoricalDistribution(part.values)
        elif isinstance(part.low, int):
            found[name] = IntDistribution(part.low, int(part.high), log=part.log)
        else:
            found[name] = FloatDistribution(part.low, part.high, log=part.log)
    return found
