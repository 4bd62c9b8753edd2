"""Configurations of every family: what they refuse, how they change, and their documents."""

import json
import tomllib

import pytest

from tirgn_eqx.config import (
    FAMILIES,
    EventTrainingConfig,
    EvidenceTrainingConfig,
    GivenSettings,
    MixtureTrainingConfig,
    REGCNTrainingConfig,
    TiRGNTrainingConfig,
    all_settings,
    check_names,
    config_from_dict,
    flatten,
    output_settings,
    preset,
    read_config,
    resumable_settings,
    settings_of,
)
from tirgn_eqx.errors import ConfigError


@pytest.mark.parametrize(
    "config",
    [
        TiRGNTrainingConfig(angle=3.5, logdir='a "quoted"\\place'),
        REGCNTrainingConfig(epochs=3),
        EvidenceTrainingConfig(evidence_background=False),
        MixtureTrainingConfig.of(REGCNTrainingConfig(seed=4), EvidenceTrainingConfig(epochs=9)),
    ],
    ids=lambda config: config.family,
)
def test_a_document_is_read_back(tmp_path, config):
    file = tmp_path / "config.toml"
    file.write_text(config.to_toml())
    assert config_from_dict(read_config(file)) == config_from_dict(config.to_dict()) == config
    assert (
        GivenSettings(file=file).config()
        == GivenSettings("icews18" if config.family != "evidence" else None, file=file).config()
    )
    assert GivenSettings(file=file).config() == config


def test_a_document_says_its_family_and_nothing_of_another_one():
    document = MixtureTrainingConfig().to_dict()
    assert document["family"] == "mixture" and document["structure"]["family"] == "tirgn"
    without = {name: value for name, value in document.items() if name != "evidence"}
    for broken, message in (
        (document | {"family": None}, "family = None: must be one of"),
        (without, "evidence: expected settings by name"),
        (document | {"evidence": document["structure"]}, "evidence = TiRGN: must be settings of the evidence model"),
        (TiRGNTrainingConfig().to_dict() | {"gates": 3}, "config key 'gates' does not exist for TiRGN"),
        ([], "expected settings by name, found list"),
    ):
        with pytest.raises(ConfigError, match=message):
            config_from_dict(broken)


def test_a_mixture_passes_changes_on():
    config = MixtureTrainingConfig.of(preset("yago"), EvidenceTrainingConfig(epochs=8))
    changed = config.replace(seed=5, epochs=9, monitor="nll", logdir="logs", evidence={"epochs": 2})
    assert (changed.seed, changed.structure.seed, changed.evidence.seed) == (5, 5, 5)
    assert (changed.structure.epochs, changed.evidence.epochs) == (9, 2)
    assert (changed.structure.monitor, changed.evidence.monitor) == ("nll", "nll")
    assert (changed.structure.logdir, changed.evidence.logdir) == ("logs/structure", "logs/evidence")
    assert config.window() == {"history_len": 1, "history_window": 0} and config.model_type == "tirgn-evidence"
    with pytest.raises(ConfigError, match="evidence = 3: must be settings by name"):
        config.replace(evidence=3)
    with pytest.raises(ConfigError, match="family = 'regcn': these are settings of TiRGN"):
        config.replace(structure={"family": "regcn"})


@pytest.mark.parametrize("family", FAMILIES)
def test_values_are_checked_when_a_configuration_is_made(family):
    config = FAMILIES[family](seed=1)
    assert (config.seed, config.replace(seed=2).seed) == (1, 2)
    for make in (FAMILIES[family], config.replace):
        with pytest.raises(ConfigError, match="seed = -1: must be at least 0"):
            make(seed=-1)
    if family not in ("mixture", "events"):
        assert type(config.replace(dropout=0).dropout) is float


@pytest.mark.parametrize("base", [None, EvidenceTrainingConfig(), MixtureTrainingConfig()])
def test_an_event_model_and_its_base_are_read_back(base):
    config = EventTrainingConfig(periods="7,24.5", seed=3, base=base)
    assert config_from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.periods_list() == (7.0, 24.5)
    assert config.model_type == ("events" if base is None else f"{base.model_type}-events")
    names = dict(flatten(config.to_dict()))
    assert ("base.structure.angle" in names) == isinstance(base, MixtureTrainingConfig)
    assert tomllib.loads(config.to_toml()) == json.loads(json.dumps(config.to_dict()))
    for part in (config.to_dict() | {"base": config.to_dict()}, {"family": "mixture", "structure": config.to_dict()}):
        with pytest.raises(ConfigError, match="family = 'events': must be one that is no model of several"):
            config_from_dict(part)


def test_a_document_that_is_nested_without_end_is_refused():
    document = {"family": "tirgn"}
    for _ in range(5000):
        document = {"family": "tirgn", "base": document}
    with pytest.raises(ConfigError, match="base is a setting of the event model, not of TiRGN"):
        config_from_dict(document)
    assert len(dict(flatten(document))) == 4


def test_parts_are_of_their_families():
    with pytest.raises(ConfigError, match="structure = evidence: must be settings of TiRGN or RE-GCN"):
        MixtureTrainingConfig().replace(structure=EvidenceTrainingConfig())
    with pytest.raises(ConfigError, match="evidence = TiRGN: must be settings of the evidence model"):
        MixtureTrainingConfig().replace(evidence=TiRGNTrainingConfig())


def test_the_seed_of_the_gate_need_not_be_that_of_the_parts():
    """A document is read back as it is, and not like a change of the whole mixture."""
    document = MixtureTrainingConfig().to_dict() | {"seed": 7}
    config = config_from_dict(document)
    assert (config.seed, config.structure.seed, config.to_dict()) == (7, 0, document)


def test_tables_come_last_in_toml():
    lines = MixtureTrainingConfig().to_toml().splitlines()
    assert lines[:3] == ['family = "mixture"', "seed = 0", 'logdir = "runs/tirgn"']
    assert [line for line in lines if line.startswith("[")] == ["[structure]", "[evidence]"]


def test_names_are_those_of_the_family():
    check_names(MixtureTrainingConfig, ["seed", "structure", "evidence"])
    for family, name, message in (
        (TiRGNTrainingConfig, "structure", "structure is a setting of a mixture, not of TiRGN"),
        (REGCNTrainingConfig, "evidence_heads", "evidence_heads is a setting of evidence, not of RE-GCN"),
        (EvidenceTrainingConfig, "epoch", "config key 'epoch' does not exist for evidence; did you mean 'epochs'?"),
    ):
        with pytest.raises(ConfigError) as error:
            check_names(family, [name])
        assert str(error.value).startswith(message)


def test_settings_of_all_families_by_what_they_do():
    known = all_settings()
    assert set(known) == {name for family in FAMILIES.values() for name in settings_of(family)}
    assert known["learning_rate"] == settings_of(TiRGNTrainingConfig)["learning_rate"]
    assert {"epochs", "patience", "logdir", "tracker", "keep"} <= resumable_settings()
    # What early stopping follows decides which checkpoint is the best, so that a resumed run keeps it.
    assert not {"monitor", "seed", "learning_rate", "max_buckets"} & resumable_settings()
    assert output_settings() == {"logdir", "tracker", "checkpoint_interval", "save_every", "save_minutes", "keep"}


def test_a_document_is_flattened_by_one_level():
    assert dict(flatten({"seed": 1, "structure": {"epochs": 2}})) == {"seed": 1, "structure.epochs": 2}
