"""What a setting may be, how it is described, and what a family may say otherwise of it."""

import math

import pytest

from tirgn_eqx.config import (
    EvidenceTrainingConfig,
    MixtureTrainingConfig,
    ModelTrainingConfig,
    Range,
    TiRGNTrainingConfig,
    settings_of,
)
from tirgn_eqx.errors import ConfigError

SETTINGS = settings_of(TiRGNTrainingConfig)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("dropout", 0, 0.0),
        ("dropout", 0.99, 0.99),
        ("epochs", 2**31 - 1, 2**31 - 1),
        ("static_graph", False, False),
        ("loss", "shared", "shared"),
        ("logdir", "", ""),
    ],
)
def test_a_value_has_the_type_of_its_setting(name, value, kept):
    found = SETTINGS[name].checked(value)
    assert found == kept and type(found) is type(kept)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dropout", -0.1, "dropout = -0.1: must be at least 0"),
        ("dropout", 1, "dropout = 1: must be at most 0.99"),
        ("dropout", math.nan, "dropout = nan: must be at least 0"),
        ("learning_rate", math.inf, "learning_rate = inf: must be a finite number"),
        # An integer that no float can hold.
        ("learning_rate", 10**400, "must be a finite number"),
        ("dropout", True, "dropout = True: must be float, not bool"),
        ("epochs", True, "epochs = True: must be int, not bool"),
        ("epochs", 1.0, "epochs = 1.0: must be int, not float"),
        ("epochs", 2**31, "epochs = 2147483648: must be at most 2147483647"),
        ("static_graph", 1, "static_graph = 1: must be bool, not int"),
        ("logdir", None, "logdir = None: must be str, not NoneType"),
        ("loss", "half", "loss = 'half': must be one of full, sampled, shared"),
        ("loss", ["full"], "must be one of full, sampled, shared"),
        ("conv_kernel", 4, "conv_kernel = 4: must be odd; try 5"),
    ],
)
def test_another_value_is_refused(name, value, message):
    with pytest.raises(ConfigError) as error:
        SETTINGS[name].checked(value)
    assert str(error.value).endswith(message)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("batch_size", "queries scored at once; 0 = the whole snapshot; at least 0 (default: 1024)"),
        ("dropout", "dropout after each graph layer; 0 to 0.99 (default: 0.2)"),
        ("static_graph", "use the static graph when the data has one (default: true)"),
        ("remat", "what the window scan keeps for the backward pass; one of none, dots, full (default: dots)"),
    ],
)
def test_a_description_tells_what_it_may_be(name, text):
    assert SETTINGS[name].described() == text


def test_a_family_changes_what_it_names_and_nothing_else():
    common, own = (settings_of(kind)["learning_rate"] for kind in (ModelTrainingConfig, EvidenceTrainingConfig))
    assert (common.default, own.default) == (1e-3, 5e-3)
    assert own.search == Range(1e-3, 2e-2, log=True) != common.search
    assert (own.help, own.group, own.low, own.name) == (common.help, common.group, common.low, common.name)


def test_the_parts_of_a_mixture_are_no_settings():
    assert list(settings_of(MixtureTrainingConfig)) == ["seed", "logdir", "tracker"]
