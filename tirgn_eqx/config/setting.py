"""What is known of a setting beside its value: its meaning, what it may be, and who may change or search it."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, Unpack, get_args, get_type_hints

from tirgn_eqx.errors import ConfigError, shown

Number = int | float
SettingValue = bool | int | float | str
AUTO: Literal["auto"] = "auto"
# On, off, or chosen by what the training data are like.
Switch = bool | Literal["auto"]
_LARGEST = 2**31 - 1  # of an integer setting without an upper limit of its own


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; integers where the setting is one. `log`: sampled uniformly in the
    logarithm."""

    low: Number
    high: Number
    log: bool = False


@dataclass(frozen=True)
class SettingInfo:
    """What is known of one field of a configuration.

    **Arguments:**

    - `name`, `type`, `default`: of the field. `choices`: all texts it may be; empty where it may be any value of its
      type. A setting that is true, false or chosen by the data has the type `bool` and the choice `auto`.
    - `help`: what it does, in one line. `group`: the heading it is listed under.
    - `low`, `high`: limits of a number, both included. `odd`: whether it must be odd.
    - `resumable`: whether `--resume` may change it: it says when a training ends or what it writes, and enters no
      computation before that.
    - `searchable`: whether a search may vary it. `search`: the range it is searched over by default.
    - `requires`: `(name, values)` of the setting without one of whose values this one has no effect.
    - `shared`: whether both parts of a mixture have the same value.
    """

    name: str
    type: type[bool] | type[int] | type[float] | type[str]
    default: SettingValue
    choices: tuple[str, ...]
    help: str
    group: str
    low: Number | None = None
    high: Number | None = None
    odd: bool = False
    resumable: bool = False
    searchable: bool = True
    search: Range | None = None
    requires: tuple[str, tuple[SettingValue, ...]] | None = None
    shared: bool = False

    def checked(self, value: object) -> SettingValue:
        """`value` as the type of the setting. **Raises:** ConfigError that says what would be accepted."""
        where = f"{self.name} = {shown(value)}"
        if self.type is bool and value in self.choices:
            return AUTO
        if self.choices and self.type is not bool:
            if not isinstance(value, str) or value not in self.choices:
                raise ConfigError(f"{where}: must be one of {', '.join(self.choices)}")
            return value
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            # `float` raises OverflowError for integers from about 2**1024 on.
            value = float(value) if abs(value) < 2**1000 else math.inf
        if not isinstance(value, self.type) or (self.type is int and isinstance(value, bool)):
            accepted = " or ".join([self.type.__name__, *self.choices])
            raise ConfigError(f"{where}: must be {accepted}, not {type(value).__name__}")
        if isinstance(value, int | float) and (why := self._refusal(value)):
            raise ConfigError(f"{where}: must be {why}")
        return value

    def _refusal(self, value: Number) -> str | None:
        """What a number of the right type must be and is not."""
        # Not `value < low`, which would let NaN pass.
        if self.low is not None and not value >= self.low:
            return f"at least {self.low}"
        if self.high is not None and not value <= self.high:
            return f"at most {self.high}"
        if isinstance(value, float) and not math.isfinite(value):
            return "a finite number"
        # JAX's default integers have 32 bits.
        if self.type is int and self.high is None and value > _LARGEST:
            return f"at most {_LARGEST}"
        return f"odd; try {value + 1}" if self.odd and value % 2 == 0 else None

    def described(self) -> str:
        """Its help, what it may be, and its default, such as `dropout; 0 to 1 (default: 0.3)`."""
        default = str(self.default).lower() if isinstance(self.default, bool) else self.default
        limits = ""
        if self.choices:
            limits = f"; one of {', '.join([*self.choices, *(['true', 'false'] if self.type is bool else [])])}"
        elif self.low is not None:
            limits = f"; at least {self.low}" if self.high is None else f"; {self.low} to {self.high}"
        return f"{self.help}{limits} (default: {default})"


class Traits(TypedDict, total=False):
    """What is said of a setting beside default and help: arguments of `SettingInfo`."""

    group: str
    low: Number
    high: Number
    odd: bool
    resumable: bool
    searchable: bool
    search: Range
    requires: tuple[str, tuple[SettingValue, ...]]
    shared: bool


class ChangedTraits(Traits, total=False):
    """What a family says otherwise of a setting that all families have."""

    help: str


# `Any` is what a type checker takes for a value of every field, as it does in the signature of `dataclasses.field`.
def setting(default: SettingValue, help: str, **traits: Unpack[Traits]) -> Any:
    """A dataclass field that is a setting, with what is known of it."""
    return dataclasses.field(default=default, metadata={"setting": {"help": help, **traits}})


def override(base: type, name: str, default: SettingValue, **traits: Unpack[ChangedTraits]) -> Any:
    """A field like that of `base` with another default and other `traits`."""
    return setting(default, **base.__dataclass_fields__[name].metadata["setting"] | traits)


@functools.cache
def settings_of(config: type) -> Mapping[str, SettingInfo]:
    """The settings of a configuration class by name, in order."""
    hints, found = get_type_hints(config), {}
    for field in dataclasses.fields(config):
        # The parts of a mixture are fields too, but no settings.
        if "setting" in field.metadata:
            # A field with choices is annotated by `Literal[...]`, always of texts, or by `Switch`.
            hint = hints[field.name]
            if hint == Switch:
                choices, kind = (AUTO,), bool
            else:
                choices = get_args(hint)
                kind = str if choices else hint
            assert field.default is not dataclasses.MISSING
            found[field.name] = SettingInfo(field.name, kind, field.default, choices, **field.metadata["setting"])
    return found
