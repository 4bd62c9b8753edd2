"""Settings as documents: read back from what `to_dict` wrote, and listed for all families."""

import dataclasses
from collections.abc import Iterator, Mapping

from tirgn_eqx.config.setting import SettingInfo, settings_of
from tirgn_eqx.config.training_config import (
    FAMILIES,
    PARTS,
    EventTrainingConfig,
    MixtureTrainingConfig,
    TrainingConfig,
    check_values,
    family_of,
)
from tirgn_eqx.errors import ConfigError

_MIXED_BASE = ("base: ", MixtureTrainingConfig)


def config_from_dict(document: object, where: str = "") -> TrainingConfig:
    """The configuration that `to_dict` wrote. **Raises:** ConfigError for a family, key or value that cannot be."""
    if not isinstance(document, Mapping):
        raise ConfigError(f"{where}expected settings by name, found {type(document).__name__}")
    config = family_of(document.get("family"))
    # `where` is given for a part, and parts of parts would recurse as deep as the document does.
    if where and config in (MixtureTrainingConfig, EventTrainingConfig) and (where, config) != _MIXED_BASE:
        raise ConfigError(f"{where}family = {config.family!r}: must be one that is no model of several")
    given = {name: value for name, value in document.items() if name != "family"}
    parts = PARTS if config is MixtureTrainingConfig else ()
    if config is EventTrainingConfig and given.get("base") is not None:
        parts = ("base",)
    for name in parts:
        given[name] = config_from_dict(given.get(name), f"{name}: ")
    return dataclasses.replace(config(), **check_values(config, given))


def flatten(document: Mapping[str, object], depth: int = 2) -> Iterator[tuple[str, object]]:
    """The settings of a document by name, those of parts as `structure.epochs`, and of parts of parts (`depth`), deeper
    than which no document of settings goes."""
    for name, value in document.items():
        if isinstance(value, Mapping) and depth:
            yield from ((f"{name}.{key}", inner) for key, inner in flatten(value, depth - 1))
        else:
            yield name, value


def all_settings() -> dict[str, SettingInfo]:
    """The settings of all families by name; one that several families have is described as in the first of them."""
    found: dict[str, SettingInfo] = {}
    for config in FAMILIES.values():
        found |= {name: one for name, one in settings_of(config).items() if name not in found}
    return found


def resumable_settings() -> frozenset[str]:
    """Names of the settings that `--resume` may change."""
    return frozenset(name for name, one in all_settings().items() if one.resumable)


def output_settings() -> frozenset[str]:
    """Names of the settings that say where and how often something is written, and change no result."""
    return frozenset(name for name, one in all_settings().items() if one.group == "Output")
