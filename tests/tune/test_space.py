"""What may be searched: settings by name, ranges that they can have, and nothing without a meaning."""

import equinox as eqx
import jax.random as jr
import pytest

from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.models import build_model
from tirgn_eqx.tune.space import (
    _EVIDENCE,
    _RECURRENT,
    Choices,
    Range,
    check_space,
    default_space,
    distributions,
    parse_space,
    said,
    to_dict,
)


def test_ranges_and_choices_are_read():
    space = parse_space(["history-len=1:6", "learning_rate=1e-4:1e-2:log", "batch_size=256,1024", "dropout=0:0.5"])
    assert space == {
        "history_len": Range(1, 6),
        "learning_rate": Range(1e-4, 1e-2, log=True),
        "batch_size": Choices((256, 1024)),
        "dropout": Range(0.0, 0.5),
    }
    assert parse_space(["loss=full,shared", "loss_filter=true,false"]) == {
        "loss": Choices(("full", "shared")),
        "loss_filter": Choices((True, False)),
    }
    again = [f"{name}={said(part)}" for name, part in to_dict(space).items()]
    assert parse_space(again) == space
    kinds = {name: type(part).__name__ for name, part in distributions(space).items()}
    assert kinds["history_len"] == "IntDistribution" and kinds["dropout"] == "FloatDistribution"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("dropot=0:1", "'dropot' does not exist; did you mean 'dropout'"),
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
        ("conv_kernel=1:5", "conv_kernel = 2: must be odd"),
        ("loss=full:shared", "loss is no number; give its choices"),
        ("epochs=1:5", "the same for every trial; give it with --set epochs=VALUE"),
        ("num_negatives=" + ",".join(map(str, range(1, 99))), "98 choices; give at most 64"),
    ],
)
def test_what_cannot_be_is_refused(text, match):
    with pytest.raises(ConfigError, match=match):
        parse_space([text])


def test_a_name_is_given_once():
    with pytest.raises(ConfigError, match="was given before"):
        parse_space(["dropout=0:0.1", "dropout=0:0.2"])


OTHER = {"l2_normalize": False, "history_mask": "exclude", "loss": "sampled", "unique_questions": True}
OTHER |= {"static_graph": False, "angle_grows": False, "loss_filter": True, "conv_kernel": 5, "history_rate": 0.9}
OTHER |= {"evidence_context": False, "evidence_background": False}


@pytest.mark.parametrize(("model", "names"), [("evidence", _RECURRENT), ("tirgn", _EVIDENCE), ("regcn", _EVIDENCE)])
def test_what_is_said_to_have_no_meaning_changes_nothing_in_a_model(model, names):
    config = TiRGNTrainingConfig(model=model, embedding_dim=8, static_blocks=2, conv_channels=2)
    plain = build_model(20, 3, config, key=jr.key(0))
    for name in names:
        value = getattr(config, name)
        other = OTHER.get(name, value / 2 if isinstance(value, float) else None)
        changed = config.replace(**{name: 2 * value if other is None else other})
        assert getattr(changed, name) != value
        assert eqx.tree_equal(plain, build_model(20, 3, changed, key=jr.key(0))), name
        with pytest.raises(ConfigError, match=f"{name}: has no meaning for {model}"):
            check_space({name: Choices((value,))}, config, True)


def test_what_another_setting_takes_the_meaning_of_is_not_searched():
    plain = TiRGNTrainingConfig()
    for text, config, why in (
        ("num_shared=64:128", plain, "unless loss is shared"),
        ("num_negatives=4:8", plain.replace(loss="shared"), "unless loss is sampled"),
        ("static_weight=0:1", plain.replace(static_graph=False), "without a static graph"),
        ("evidence_preset=evidence,evidence-yago", plain, "without evidence beside the model"),
        (
            "dropout=0:0.5",
            plain.replace(model="evidence", evidence_background=False),
            "for evidence without its background",
        ),
    ):
        with pytest.raises(ConfigError, match=f"{text.partition('=')[0]}: has no meaning {why}"):
            check_space(parse_space([text]), config, True)
    check_space(parse_space(["num_shared=64:128"]), plain.replace(loss="shared"), True)
    # What is searched as well may have the value that gives a meaning.
    check_space(parse_space(["num_shared=64:128", "loss=full,shared"]), plain, True)
    check_space(parse_space(["static_weight=0:1", "static_graph=true,false"]), plain.replace(static_graph=False), True)


def test_what_has_no_meaning_is_not_searched():
    tirgn, regcn = (TiRGNTrainingConfig(model=name) for name in ("tirgn", "regcn"))
    assert set(default_space(tirgn, True)) == {
        *("history_len", "num_layers", "dropout", "history_rate", "angle", "learning_rate")
    }
    assert set(default_space(tirgn, True)) - set(default_space(tirgn, False)) == {"angle"}
    assert "angle" not in default_space(tirgn.replace(static_graph=False), True)
    assert "history_rate" not in default_space(regcn, True)
    assert set(default_space(TiRGNTrainingConfig(model="evidence"), True)) == {"dropout", "learning_rate"}
    with pytest.raises(ConfigError, match="angle: has no meaning without a static graph; leave it out"):
        check_space(parse_space(["angle=1:9"]), tirgn, False)
    with pytest.raises(ConfigError, match="history_rate: has no meaning for regcn"):
        check_space(parse_space(["history_rate=0:1"]), regcn, True)
    with pytest.raises(ConfigError, match="nothing to search"):
        check_space({}, tirgn, True)
    for model in ("tirgn", "regcn", "evidence"):
        for name, part in default_space(TiRGNTrainingConfig(model=model), True).items():
            assert parse_space([f"{name}={said(to_dict({name: part})[name])}"]) == {name: part}
