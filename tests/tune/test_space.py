"""What may be searched: settings by name, ranges that they can have, and nothing without a meaning."""

import equinox as eqx
import jax
import jax.random as jr
import pytest

from tests.helpers import family_config
from tirgn_eqx.config import EvidenceTrainingConfig, REGCNTrainingConfig, TiRGNTrainingConfig, settings_of
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.models import build_model
from tirgn_eqx.tune.space import (
    Choices,
    Range,
    check_space,
    default_space,
    distributions,
    format_part,
    parse_space,
    space_to_dict,
)

TIRGN = TiRGNTrainingConfig()


def test_ranges_and_choices_are_read():
    space = parse_space(
        ["history-len=1:6", "learning_rate=1e-4:1e-2:log", "batch_size=256,1024", "dropout=0:0.5"], TIRGN
    )
    assert space == {
        "history_len": Range(1, 6),
        "learning_rate": Range(1e-4, 1e-2, log=True),
        "batch_size": Choices((256, 1024)),
        "dropout": Range(0.0, 0.5),
    }
    assert parse_space(["loss=full,shared", "angle_grows=true,false"], TIRGN) == {
        "loss": Choices(("full", "shared")),
        "angle_grows": Choices((True, False)),
    }
    again = [f"{name}={format_part(part)}" for name, part in space_to_dict(space).items()]
    assert parse_space(again, TIRGN) == space
    kinds = {name: type(part).__name__ for name, part in distributions(space).items()}
    assert kinds["history_len"] == "IntDistribution" and kinds["dropout"] == "FloatDistribution"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("dropot=0:1", "'dropot' does not exist for TiRGN; did you mean 'dropout'"),
        ("dropout", "write LOW:HIGH"),
        ("dropout=", "write LOW:HIGH"),
        ("dropout=0:2", "dropout = 2: must be at most 0.99"),
        ("dropout=0.5:0.1", "0.5 is not below 0.1; give the lower bound first"),
        ("dropout=0:0.5:log", "begins above 0"),
        ("dropout=0:0.5:lin", "write LOW:HIGH"),
        ("dropout=0.1,,0.2", "write LOW:HIGH"),
        ("dropout=0.1,0.1", "names a choice twice"),
        ("dropout=nan:1", "dropout = nan: must be at least 0"),
        ("history_len=1.5:3", "must be int, not float"),
        ("conv_kernel=1:5", "conv_kernel must be odd; give its choices"),
        ("loss=full:shared", "loss is no number; give its choices"),
        ("epochs=1:5", "the same for every trial; give it with --set epochs=VALUE"),
        ("num_negatives=" + ",".join(map(str, range(1, 99))), "98 choices; give at most 64"),
    ],
)
def test_what_cannot_be_is_refused(text, match):
    with pytest.raises(ConfigError, match=match):
        parse_space([text], TIRGN)


def test_a_name_is_given_once():
    with pytest.raises(ConfigError, match="was given before"):
        parse_space(["dropout=0:0.1", "dropout=0:0.2"], TIRGN)


FAMILIES = {one.family: one for one in (TiRGNTrainingConfig, REGCNTrainingConfig, EvidenceTrainingConfig)}
SIZES = {"embedding_dim": 8, "static_blocks": 2, "conv_channels": 2}


@pytest.mark.parametrize(
    ("family", "name", "value"),
    [
        ("tirgn", "static_blocks", 4),
        ("tirgn", "num_negatives", 20),
        ("tirgn", "num_shared", 64),
        ("regcn", "history_window", 20),
        ("evidence", "embedding_dim", 16),
        ("evidence", "dropout", 0.5),
        ("evidence", "static_graph", False),
    ],
)
def test_what_requires_another_value_changes_nothing_in_a_model_without_it(family, name, value):
    config = family_config(family, **SIZES)
    one = settings_of(type(config))[name]
    other, values = one.requires
    config = config.replace(**{other: next(v for v in (False, "full") if type(v) is type(values[0]))})

    def weights(config):
        return [leaf.shape for leaf in jax.tree.leaves(eqx.filter_eval_shape(build, config))]

    def build(config):
        return build_model(20, 3, config, key=jr.key(0))

    assert getattr(config, name) != value
    assert weights(config) == weights(config.replace(**{name: value}))
    with pytest.raises(ConfigError, match=f"{name}: has no effect unless {other} is"):
        check_space({name: Choices((value,))}, config, True)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_requirement_names_a_setting_and_values_that_it_can_have(family):
    known = settings_of(FAMILIES[family])
    for one in known.values():
        if one.requires is not None:
            other, values = one.requires
            assert [known[other].checked(value) for value in values] == list(values)


def test_what_another_setting_takes_the_effect_of_is_not_searched():
    plain = TiRGNTrainingConfig()
    for text, config, why in (
        ("num_shared=64:128", plain, "has no effect unless loss is shared; give --set loss=shared"),
        ("num_negatives=4:8", plain.replace(loss="shared"), "has no effect unless loss is sampled"),
        ("static_weight=0:1", plain.replace(static_graph=False), "has no effect unless static_graph is true"),
        ("dropout=0:0.5", EvidenceTrainingConfig(evidence_background=False), "unless evidence_background is true"),
    ):
        with pytest.raises(ConfigError, match=f"{text.partition('=')[0]}: .*{why}"):
            check_space(parse_space([text], config), config, True)

    def check(texts, config):
        return check_space(parse_space(texts, config), config, True)

    check(["num_shared=64:128"], plain.replace(loss="shared"))
    # What is searched as well may have the value that gives an effect.
    check(["num_shared=64:128", "loss=full,shared"], plain)
    check(["static_weight=0:1", "static_graph=true,false"], plain.replace(static_graph=False))


def test_what_has_no_effect_is_not_searched():
    tirgn, regcn, evidence = (config() for config in FAMILIES.values())
    assert set(default_space(tirgn, True)) == {
        *("history_len", "num_layers", "dropout", "history_rate", "angle", "learning_rate")
    }
    assert set(default_space(tirgn, True)) - set(default_space(tirgn, False)) == {"angle"}
    assert "angle" not in default_space(tirgn.replace(static_graph=False), True)
    assert set(default_space(regcn, True)) == set(default_space(tirgn, True)) - {"history_rate"}
    assert default_space(evidence, True) == {"dropout": Range(0.0, 0.5), "learning_rate": Range(1e-3, 2e-2, log=True)}
    assert "dropout" not in default_space(evidence.replace(evidence_background=False), True)
    with pytest.raises(ConfigError, match="angle: has no effect without a static graph in the data; leave it out"):
        check_space(parse_space(["angle=1:9"], tirgn), tirgn, False)
    with pytest.raises(ConfigError, match="--param: history_rate is a setting of TiRGN, not of RE-GCN; leave it out"):
        parse_space(["history_rate=0:1"], regcn)
    with pytest.raises(ConfigError, match="angle is a setting of TiRGN and RE-GCN, not of evidence"):
        check_space({"angle": Range(0.0, 1.0)}, evidence, True)
    with pytest.raises(ConfigError, match="nothing to search"):
        check_space({}, tirgn, True)
    for config in (tirgn, regcn, evidence):
        for name, part in default_space(config, True).items():
            assert parse_space([f"{name}={format_part(space_to_dict({name: part})[name])}"], config) == {name: part}
