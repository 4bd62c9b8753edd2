"""What the values of options stand for: settings, sizes, shapes, splits, and the defaults that depend on others."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from tirgn_eqx.config import GivenSettings, all_settings
from tirgn_eqx.errors import ConfigError, nearest, shown

HELD_OUT_SPLITS = ("valid", "test")
MAPPINGS = ("by-name", "by-cameo")  # of relations
FILTERS = ("time", "all", "none")
VARIANTS = ("combined", "strict", "relaxed")  # of the recurrency baseline
MAX_HORIZON = 30  # steps, the longest that event rates are trained for
SHAPE_KEYS = ("entities", "relations", "edges", "queries", "static_edges", "words", "history")  # four are required
HeldOutSplit = Literal["valid", "test"]
RelationMapping = Literal["by-name", "by-cameo"]
RankFilter = Literal["time", "all", "none"]
EvaluationSetting = Literal["single-step", "multi-step", "multi-step, fed back"]
Value = TypeVar("Value")


def given(**options: Value | None) -> dict[str, Value]:
    """The options that were given: those that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def given_settings(params: Mapping[str, Any], *, apart_from: Collection[str] = ()) -> GivenSettings:
    """The settings that a command was given: by preset, recipe, file and assignments, and by options of their own.

    **Arguments:** `params`: all options of the command by name, in the types that typer has made of them;
    `apart_from`: options that share a name with a setting, but are none.
    """
    # `--save-every` is a text that stands for either of two settings.
    settings = {*all_settings(), "history"} - {"save_every", *apart_from}
    options = given(family=params.get("model")) | {name: value for name, value in params.items() if name in settings}
    return GivenSettings(
        params.get("preset"),
        params.get("recipe"),
        params.get("config_file"),
        params.get("assignments") or (),
        given(**options) | save_every(params.get("save_every")),
    )


def events_file(source: str) -> Path:
    """Where an ingest of a source puts its event table, unless it is told another place."""
    return Path("data") / source / "processed" / "events.parquet"


EVENTS_FILE = events_file("gdelt")


def default_data_path() -> str:
    """The default of `--data-path`: the processed GDELT events if they exist, otherwise the simulated world."""
    return str(EVENTS_FILE) if EVENTS_FILE.exists() else "sim"


def default_preset(data_path: str) -> str | None:
    """The default of `--preset`: the simulated world has a preset of its own."""
    return "sim" if data_path.partition(":")[0] == "sim" else None


def parse_bytes(text: str, option: str = "--budget") -> int:
    """The number of bytes that `12GiB` or `8G` (powers of 1024), `500MB` (powers of 1000) or `4096` stands for."""
    match = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([kmgt]?)(ib|b)?\s*", text.lower())
    if match is None:
        raise ConfigError(f"{option} {shown(text)}: not a size; write it like 12GiB, 8G or 500MB")
    number, unit, suffix = match.groups()
    base = 1000 if suffix == "b" else 1024
    # The position of the unit is the power: 0 for none, 1 for k, 2 for m.
    size = int(float(number) * base ** " kmgt".index(unit or " "))
    if size < 1:
        raise ConfigError(f"{option} {text!r}: must be at least one byte")
    return size


def parse_shape(text: str) -> dict[str, int]:
    """The sizes in `entities=7128,relations=230,edges=400,queries=800`; the other `SHAPE_KEYS` are optional."""
    shape = {}
    for part in text.split(","):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            raise ConfigError(f"--shape: {shown(part)} is not name=number; names: {', '.join(SHAPE_KEYS)}")
        if key not in SHAPE_KEYS:
            raise ConfigError(
                f"--shape: {shown(key)} does not exist{nearest(key, SHAPE_KEYS)}; names: {', '.join(SHAPE_KEYS)}"
            )
        if not re.fullmatch("[0-9]{1,9}", value) or (int(value) == 0 and key in SHAPE_KEYS[:4]):
            raise ConfigError(f"--shape: {key} = {shown(value)} must be a whole number above 0, of at most 9 digits")
        shape[key] = int(value)
    missing = [key for key in SHAPE_KEYS[:4] if key not in shape]
    if missing:
        raise ConfigError(f"--shape {shown(text)}: {', '.join(missing)} missing; add {missing[0]}=NUMBER")
    return shape


def save_every(text: str | None) -> dict[str, int | float]:
    """The settings that `--save-every` stands for."""
    if text is None:
        return {}
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*(min)?", text.strip())
    if match is None or (match[2] is None and "." in match[1]):
        raise ConfigError(f"--save-every {text!r}: write steps like 200, or minutes like 10min")
    return {"save_minutes": float(match[1])} if match[2] else {"save_every": int(match[1])}


def check_choice(option: str, value: str | None, choices: Iterable[str]) -> None:
    """**Raises:** ConfigError unless `value` is one of the choices, or was not given."""
    if value is not None and value not in (known := tuple(choices)):
        raise ConfigError(f"{option} {value!r}: must be one of {', '.join(known)}")


def parse_horizons(text: str) -> tuple[int, ...]:
    """The numbers of steps in `1,7,30`, ascending. **Raises:** ConfigError for what is none."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,4}", part) and 1 <= int(part) <= MAX_HORIZON for part in parts):
        raise ConfigError(f"--horizon {shown(text)}: must be steps from 1 to {MAX_HORIZON}, such as 1,7,30")
    return tuple(sorted({int(part) for part in parts}))


def check_split(split: str) -> HeldOutSplit:
    """`split` itself. **Raises:** ConfigError for a split that holds no facts to forecast."""
    check_choice("--split", split, HELD_OUT_SPLITS)
    return "valid" if split == "valid" else "test"


def check_mapping(how: str | None, data_path: str | None) -> RelationMapping | None:
    """`how` itself. **Raises:** ConfigError for one that there is not, or without data to map."""
    check_choice("--map-relations", how, MAPPINGS)
    if how is None:
        return None
    if data_path is None:
        raise ConfigError(
            f"--map-relations {how}: needs --data-path with other data; those of the training are matched already"
        )
    return "by-cameo" if how == "by-cameo" else "by-name"


def check_filter(filter: str | None) -> RankFilter | None:
    """`filter` itself. **Raises:** ConfigError for one that does not exist."""
    check_choice("--filter", filter, FILTERS)
    return next((known for known in get_args(RankFilter) if known == filter), None)


def evaluation_setting(multi_step: bool, feed_back: bool = False) -> EvaluationSetting:
    """The setting that the options name. **Raises:** ConfigError for forecasts fed back into single-step windows."""
    if feed_back and not multi_step:
        raise ConfigError("--feed-back: only with --multi-step; single-step windows hold what happened")
    return "single-step" if not multi_step else "multi-step, fed back" if feed_back else "multi-step"
