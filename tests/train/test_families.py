"""The table of families: which functions train which settings."""

import dataclasses

import pytest

from tests.helpers import family_config, make_graph
from tirgn_eqx.config import FAMILIES, ModelTrainingConfig, TiRGNTrainingConfig
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.train.data import EvidenceData, RecurrentData
from tirgn_eqx.train.families import resolve_config, training_family

# Two facts hold in every snapshot, beside one that holds in none before.
LASTING = make_graph(
    [(0, 0, 1, time) for time in range(6)]
    + [(1, 0, 2, time) for time in range(6)]
    + [(time % 3, 1, 3, time) for time in range(6)],
    num_entities=4,
    num_relations=2,
)
# The train split ends where the facts begin to last.
EVENTS = make_graph(
    [(time % 3, 0, 3, time) for time in range(6)] + [(0, 0, 1, 6), (0, 0, 1, 7), (0, 0, 1, 8)],
    num_entities=4,
    num_relations=2,
    valid=6,
)
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
    monkeypatch.setattr("tirgn_eqx.train.precision._cpu_prefers_bf16", lambda: False)
    for backend, precision, unroll in (("cpu", "f32", True), ("gpu", "f32" if name == "evidence" else "bf16", False)):
        monkeypatch.setattr("jax.default_backend", lambda backend=backend: backend)
        config = resolve_config(family_config(name, precision="auto", unroll=True), EVENTS)
        assert config.precision == precision and getattr(config, "unroll", unroll) == unroll


def test_the_form_of_the_evidence_model_follows_the_facts_of_the_train_split():
    def chosen(graph, **settings):
        config = resolve_config(family_config("evidence", **settings), graph)
        return config.evidence_background, config.loss_filter, config.epochs

    assert chosen(LASTING) == (False, True, 12) and chosen(EVENTS) == (True, False, 3)
    assert chosen(LASTING, evidence_background=True) == (True, True, 12)
    assert chosen(EVENTS, loss_filter=True, epochs=5) == (True, True, 5)


def test_evidence_is_not_summed_in_bf16():
    with pytest.raises(ConfigError, match="precision = bf16: evidence sums intensities in f32"):
        resolve_config(family_config("evidence", precision="bf16"), EVENTS)


def test_the_static_graph_is_read_where_settings_ask_for_it():
    def reads(name, **settings):
        config = family_config(name, **settings)
        return training_family(config).reads_static(config)

    for name in TRAINED:
        assert reads(name, static_graph=True) and not reads(name, static_graph=False)
    assert not reads("evidence", static_graph=True, evidence_background=False)
