"""Settings that people give: files, assignments, presets and recipes, put together to one configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from tirgn_eqx.config.documents import config_from_dict
from tirgn_eqx.config.presets import STRUCTURE_PRESET, STRUCTURE_RECIPE, find_preset, recipe
from tirgn_eqx.config.setting import settings_of
from tirgn_eqx.config.training_config import (
    EventTrainingConfig,
    MixtureTrainingConfig,
    RecurrentTrainingConfig,
    REGCNTrainingConfig,
    TiRGNTrainingConfig,
    TrainingConfig,
    family_of,
)
from tirgn_eqx.errors import ConfigError, shown
from tirgn_eqx.storage.untrusted import check_regular, parse_json, parse_toml

HISTORIES = ("mask", "evidence")
_MOST_BYTES = 1 << 20  # of a file of settings


def parse_assignments(assignments: Sequence[str]) -> dict[str, object]:
    """`["angle=10", "loss=sampled", "evidence.epochs=5"]` as `{"angle": 10, "loss": "sampled", "evidence": {"epochs":
    5}}`: what follows `--set` on the command line. Names are checked when the settings are used."""
    changes: dict[str, object] = {}
    evidence: dict[str, object] = {}
    for text in assignments:
        key, equals, raw = text.partition("=")
        key = key.strip().replace("-", "_")
        if not equals:
            raise ConfigError(f"--set {shown(text)}: expected key=value, such as --set angle=10")
        if key.startswith("evidence."):
            evidence[key.removeprefix("evidence.")] = parse_value(raw)
        else:
            # A setting of a mixture by its name alone is the structure's.
            changes[key.removeprefix("structure.")] = parse_value(raw)
    return changes | ({"evidence": evidence} if evidence else {})


def parse_value(text: str) -> object:
    """The value that a text stands for in TOML, or else the text itself."""
    try:
        return parse_toml(f"value = {text.strip()}")["value"]
    except ValueError:
        # A bare word, such as `shared`, is not TOML.
        return text.strip()


def read_config(path: str | Path) -> dict[str, object]:
    """The settings in a TOML or JSON file, as they are there. **Raises:** ConfigError with file and line."""
    path = Path(path)
    try:
        check_regular(path)
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path}: longer than {_MOST_BYTES:,} bytes, as no settings are; check --config")
        text = path.read_text(encoding="utf-8")
        found = parse_json(text) if path.suffix == ".json" else parse_toml(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check --config") from error
    except ValueError as error:
        kind = path.suffix.lstrip(".") or "TOML"
        raise ConfigError(f"{path}: not valid {kind}: {error}; write lines like epochs = 20") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected settings by name, found {type(found).__name__}")
    return found


@dataclass(frozen=True)
class _Choice:
    """What keys beside the settings choose: the family, and whether it is a mixture. None where no key does."""

    family: object = None
    history: str | None = None


# The settings by name of one source, after the words that begin a message about them.
_Layer = tuple[str, dict[str, object]]


@dataclass(frozen=True)
class GivenSettings:
    """The settings that were given for one configuration; of two that contradict each other the later one counts.

    **Arguments:** in the order of precedence, lowest first: `preset` and `recipe` by name; `file` of TOML or JSON;
    `assignments` such as `angle=10`; `options`: settings by name. The last three may hold, beside settings, `family`
    and `history` ("evidence" for a mixture).
    """

    preset: str | None = None
    recipe: str | None = None
    file: str | Path | None = None
    assignments: Sequence[str] = ()
    options: Mapping[str, object] | None = None

    def layers(self) -> list[_Layer]:
        """What file, assignments and options hold, each with the words that begin a message about it."""
        file = [] if self.file is None else [(f"{self.file}: ", read_config(self.file))]
        return [*file, ("", parse_assignments(self.assignments)), ("", dict(self.options or {}))]

    def settings(self) -> dict[str, object]:
        """The settings by name, without the keys that choose a family. Those of a preset are the ones that it sets."""
        layers = self.layers()
        _take_choice(layers)  # only to take its keys out
        found: dict[str, object] = dict(find_preset(self.preset).settings) if self.preset else {}
        for changes in (recipe(self.recipe) if self.recipe else {}, *(layer for _, layer in layers)):
            found |= changes
        return found

    def config(self, otherwise: str | None = None) -> TrainingConfig:
        """The configuration.

        **Arguments:** `otherwise`: the preset where none is given, for TiRGN and RE-GCN; a mixture without a family has
        its own.

        **Raises:** ConfigError for a preset, recipe, family or key that does not exist, or a value out of range.
        """
        layers = self.layers()
        choice = _take_choice(layers)
        named = None if self.preset is None else find_preset(self.preset)
        way, mixed = self.recipe, choice.history == "evidence"
        if mixed and named is None and choice.family is None:
            named, way = find_preset(STRUCTURE_PRESET), way or STRUCTURE_RECIPE
        family = choice.family or (named.family if named else "tirgn")
        base = family_of(family)
        if mixed and not issubclass(base, RecurrentTrainingConfig):
            raise ConfigError(f"history = evidence: for tirgn and regcn, not for {family}; leave one of them out")
        if named is None and otherwise is not None and issubclass(base, RecurrentTrainingConfig):
            named = find_preset(otherwise)
        recurrent = RecurrentTrainingConfig
        if (
            named is not None
            and named.family != family
            and not all(issubclass(one, recurrent) for one in (base, family_of(named.family)))
        ):
            raise ConfigError(f"--preset {self.preset}: is a preset of {named.family}, not of {family}; leave one out")
        # Of a preset of TiRGN, RE-GCN takes the settings that it has as well.
        known = settings_of(base)
        config = base().replace(**{} if named is None else {k: v for k, v in named.settings.items() if k in known})
        changes = {} if way is None else recipe(way)
        if changes and not issubclass(base, RecurrentTrainingConfig):
            raise ConfigError(f"--recipe {self.recipe}: a way to train tirgn and regcn; leave it out for {family}")
        config = config.replace(**changes)
        if mixed:
            assert isinstance(config, TiRGNTrainingConfig | REGCNTrainingConfig)
            config = MixtureTrainingConfig.of(config)
        return _changed(config, layers)

    def changed(self, config: TrainingConfig) -> TrainingConfig:
        """`config` with what was given. **Raises:** ConfigError as `config()`, and for another family."""
        layers = self.layers()
        choice = _take_choice(layers)
        mixed = isinstance(config, MixtureTrainingConfig)
        family = config.structure.family if mixed else config.family
        history = choice.history or ("evidence" if mixed else "mask")
        asked = family if choice.family is None else choice.family
        if asked != family or (history == "evidence") != mixed:
            asked = f"{asked}-evidence" if history == "evidence" else asked
            raise ConfigError(
                f"the checkpoint holds {config.model_type}, and the settings ask for {asked}; leave family and history "
                "as they were, or train anew with `tirgn train`"
            )
        return _changed(config, layers)


def _take_choice(layers: list[_Layer]) -> _Choice:
    """What `layers` choose by keys that are no settings, which are taken out of them."""
    choice = _Choice()
    for where, layer in layers:
        found = {one.name: layer.pop(one.name) for one in fields(_Choice) if one.name in layer}
        if (history := found.get("history", "mask")) not in HISTORIES:
            raise ConfigError(f"{where}history = {shown(history)}: must be one of {', '.join(HISTORIES)}")
        if "family" in found:
            try:
                family_of(found["family"])
            except ConfigError as error:
                raise ConfigError(f"{where}{error}") from error
        # This is how a mixture names itself in its own files; the family is then that of its structure.
        if found.get("family") == "mixture":
            structure = layer.get("structure")
            found["family"] = structure.get("family") if isinstance(structure, Mapping) else None
            found["history"] = "evidence"
        choice = replace(choice, **{name: value for name, value in found.items() if value is not None})
    return choice


def _changed(config: TrainingConfig, layers: list[_Layer]) -> TrainingConfig:
    for where, layer in layers:
        try:
            # The settings of the model that ranks come from a file as a table of their own.
            if isinstance(config, EventTrainingConfig) and isinstance(layer.get("base"), Mapping):
                layer = layer | {"base": config_from_dict(layer["base"], "base: ")}
            config = config.replace(**layer)
        except ConfigError as error:
            raise ConfigError(f"{where}{error}") from error
    return config
