"""Published settings by name, and recipes: ways to train what a preset describes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tirgn_eqx.config.setting import SettingValue
from tirgn_eqx.config.training_config import (
    MixtureTrainingConfig,
    ModelTrainingConfig,
    REGCNTrainingConfig,
    TiRGNTrainingConfig,
    TrainingConfig,
    family_of,
)
from tirgn_eqx.errors import ConfigError, nearest


@dataclass(frozen=True)
class Preset:
    """Settings of one family, those that differ from its defaults."""

    family: str
    settings: Mapping[str, SettingValue] = field(default_factory=dict)

    def config(self) -> ModelTrainingConfig:
        """The configuration of the preset."""
        config = family_of(self.family)().replace(**self.settings)
        assert isinstance(config, ModelTrainingConfig)
        return config


def _published(family: str, history_len: int, num_layers: int, **more: SettingValue) -> Preset:
    """The whole snapshot is one batch and the history vocabulary is never cut, as published."""
    common = {"batch_size": 0, "history_window": 0, "epochs": 500, "patience": 15, "eval_interval": 1, "unroll": True}
    common |= {"angle": 10.0} if family == "regcn" else {}
    return Preset(family, common | {"history_len": history_len, "num_layers": num_layers} | more)


# From Li et al., IJCAI 2022, and for `regcn-` Li et al., SIGIR 2021, and the scripts of the released codes. Ours are
# `sim`, sized for the simulated world and two CPU cores, `gdelt-events`, for daily event streams, `structure`, the
# cheapest that adds to evidence what a wider and longer one does (docs/evidence.md), and `evidence`, whose settings are
# the defaults of that family.
PRESETS: dict[str, Preset] = {
    "icews14s": _published("tirgn", 9, 2, static_graph=True, angle=14.0),
    "icews14": _published("tirgn", 9, 2, static_graph=True, angle=14.0),
    "icews18": _published("tirgn", 10, 2, static_graph=True, angle=10.0),
    "icews05-15": _published("tirgn", 15, 2, static_graph=True, angle=10.0),
    "gdelt": _published("tirgn", 7, 2, static_graph=False),
    "wiki": _published("tirgn", 2, 2, static_graph=False),
    "yago": _published("tirgn", 1, 1, static_graph=False),
    "regcn-icews14s": _published("regcn", 3, 2, static_graph=True),
    "regcn-icews18": _published("regcn", 6, 2, static_graph=True),
    "regcn-icews05-15": _published("regcn", 10, 2, static_graph=True),
    "regcn-gdelt": _published("regcn", 1, 2, static_graph=False),
    "regcn-wiki": _published("regcn", 2, 2, static_graph=False),
    "regcn-yago": _published("regcn", 1, 1, static_graph=False),
    "sim": Preset(
        "tirgn",
        {
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
    ),
    "structure": _published("regcn", 3, 2, static_graph=True, embedding_dim=100, epochs=10, patience=3),
    "evidence": Preset("evidence"),
    "gdelt-events": Preset("tirgn", {"history_len": 7, "num_layers": 2, "static_graph": False, "history_window": 50}),
}

# `exact` is the published training. `fast` estimates its loss: equal queries are decoded once, and only the entities
# that a snapshot touches are evolved and scored, with a few sampled ones that stand for the others. Larger steps and an
# average of the weights make up for the noise of the estimate. Both are for TiRGN and RE-GCN.
RECIPES: dict[str, dict[str, SettingValue]] = {
    "exact": {},
    "fast": {
        "unique_queries": True,
        "loss": "shared",
        "num_shared": 512,
        "learning_rate": 1.5e-3,
        "ema_decay": 0.998,
    },
}


# A mixture has these where neither a family nor a preset is given for its structure.
STRUCTURE_PRESET, STRUCTURE_RECIPE = "structure", "fast"


def find_preset(name: str) -> Preset:
    """A preset by name. **Raises:** ConfigError with the nearest name."""
    if name not in PRESETS:
        raise ConfigError(f"preset {name!r} does not exist{nearest(name, PRESETS)}; known: {', '.join(PRESETS)}")
    return PRESETS[name]


def preset(name: str) -> ModelTrainingConfig:
    """The configuration of a preset by name. **Raises:** ConfigError with the nearest name."""
    return find_preset(name).config()


def recipe(name: str) -> dict[str, SettingValue]:
    """The settings of a recipe by name. **Raises:** ConfigError with the nearest name."""
    if name not in RECIPES:
        raise ConfigError(f"recipe {name!r} does not exist{nearest(name, RECIPES)}; known: {', '.join(RECIPES)}")
    return RECIPES[name]


def published_configs(family: str) -> dict[str, TrainingConfig]:
    """Every preset that a family can have by name, with each recipe that changes it as `yago, fast`, and the defaults
    of the family as `the defaults`."""
    found: dict[str, TrainingConfig] = {"the defaults": family_of(family)()}
    for name, one in PRESETS.items():
        config = one.config()
        if family == "mixture" and isinstance(config, TiRGNTrainingConfig | REGCNTrainingConfig):
            config = MixtureTrainingConfig.of(config)
        if config.family == family:
            recipes = {} if family == "evidence" else RECIPES
            found[name] = config
            found |= {f"{name}, {way}": config.replace(**changes) for way, changes in recipes.items() if changes}
    return found
