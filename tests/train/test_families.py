"""The table of families: which functions train which settings."""

import dataclasses

import pytest

from tests.helpers import family_config
from tirgn_eqx.config import FAMILIES, ModelTrainingConfig, TiRGNTrainingConfig
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.train.data import EvidenceData, RecurrentData
from tirgn_eqx.train.families import resolve_config, training_family

TRAINED = [name for name, config in FAMILIES.items() if issubclass(config, ModelTrainingConfig)]


def test_every_family_that_steps_train_is_in_the_table():
    found = {name: training_family(family_config(name)) for name in TRAINED}
    assert {name: family.data for name, family in found.items()} == {
        "tirgn": RecurrentData,
        "regcn": RecurrentData,
        "evidence": EvidenceData,
    }
    assert {name for name, family in found.items() if family.on_mesh} == {"tirgn", "regcn"}


def test_settings_of_ones_own_are_trained_as_those_they_extend():
    @dataclasses.dataclass(frozen=True)
    class Own(TiRGNTrainingConfig):
        family = "own"

    assert training_family(Own()) is training_family(TiRGNTrainingConfig())


@pytest.mark.parametrize("name", TRAINED)
def test_what_the_machine_decides_is_written_into_the_settings(name, monkeypatch):
    for backend, precision, unroll in (("cpu", "f32", True), ("gpu", "f32" if name == "evidence" else "bf16", False)):
        monkeypatch.setattr("jax.default_backend", lambda backend=backend: backend)
        config = resolve_config(family_config(name, precision="auto", unroll=True))
        assert config.precision == precision and getattr(config, "unroll", unroll) == unroll


def test_evidence_is_not_summed_in_bf16():
    with pytest.raises(ConfigError, match="precision = bf16: evidence sums intensities in f32"):
        resolve_config(family_config("evidence", precision="bf16"))


def test_the_static_graph_is_read_where_settings_ask_for_it():
    def reads(name, **settings):
        config = family_config(name, **settings)
        return training_family(config).reads_static(config)

    for name in TRAINED:
        assert reads(name, static_graph=True) and not reads(name, static_graph=False)
    assert not reads("evidence", static_graph=True, evidence_background=False)
