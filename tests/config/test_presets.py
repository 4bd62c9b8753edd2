"""Presets and recipes have the values that they had when one class held the settings of all families."""

import json
from pathlib import Path

import pytest

from tirgn_eqx.config import FAMILIES, PRESETS, GivenSettings, MixtureTrainingConfig, published_configs, settings_of

BEFORE = json.loads((Path(__file__).parent / "settings_before_families.json").read_text())
LATER = {"tracker": "auto"}  # settings that came since
DEFAULTS = BEFORE["default"] | LATER
SELECTING = ("model", "history", "evidence_preset")
# The presets that named a form of the evidence model for a data set went: the data choose it now.
CHOSEN_BY_DATA = {"evidence_background": "auto", "loss_filter": "auto", "epochs": 0}


def values(found):
    return {name: value for name, value in found.to_dict().items() if name != "family"}


def as_it_was(changes, family):
    was = DEFAULTS | changes | (CHOSEN_BY_DATA if family == "evidence" else {})
    assert was["model"] == family
    return {name: was[name] for name in settings_of(FAMILIES[family])}


@pytest.mark.parametrize("name", BEFORE["presets"])
def test_a_preset_with_and_without_its_recipe(name):
    preset, _, recipe = name.partition(", ")
    config = GivenSettings(preset=preset, recipe=recipe or None).config()
    assert values(config) == as_it_was(BEFORE["presets"][name], PRESETS[preset].family)
    # What is no setting of the family any more was never read for it.
    gone = set(BEFORE["presets"][name]) - set(values(config)) - set(SELECTING)
    assert gone <= ({"ema_decay"} if config.family == "evidence" else set())
    assert published_configs(config.family)[name] == config


def test_the_defaults_and_all_names():
    assert values(GivenSettings().config()) == as_it_was({}, "tirgn")
    before = [one for one in FAMILIES.values() if one.family != "events"]
    assert set(DEFAULTS) - set(SELECTING) == {name for one in before for name in settings_of(one)}
    assert {name.partition(",")[0] for name in BEFORE["presets"]} | {"structure"} == set(PRESETS)


@pytest.mark.parametrize("name", BEFORE["evidence beside"])
def test_the_parts_of_a_mixture(name):
    shared = {
        "seed": 3,
        "monitor": "nll",
        "save_every": 7,
        "save_minutes": 2.5,
        "max_skipped_steps": 4,
        "logdir": "logs",
        "tracker": "none",
    }
    config = GivenSettings(preset=name, options=shared | {"history": "evidence"}).config()
    assert isinstance(config, MixtureTrainingConfig) and (config.seed, config.logdir) == (3, "logs")
    assert config.tracker == "none"
    assert values(config.evidence) == as_it_was(BEFORE["evidence beside"][name] | {"tracker": "none"}, "evidence")
    structure = BEFORE["presets"][name] | shared | {"logdir": "logs/structure"}
    assert values(config.structure) == as_it_was(structure, PRESETS[name].family)


@pytest.mark.parametrize("family", ["regcn", "evidence"])
def test_another_family_on_the_simulated_world(family):
    """RE-GCN takes of the preset what it has; the evidence model has settings of its own."""
    config = GivenSettings(options={"family": family}).config("sim")
    was = BEFORE["presets"]["sim"] | {"model": "regcn"} if family == "regcn" else BEFORE["presets"]["evidence"]
    assert values(config) == as_it_was(was, family)
