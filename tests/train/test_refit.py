"""Training what was selected once more, on train and valid together."""

import numpy as np
import pytest

from tests.helpers import tiny_config
from tirgn_eqx import evaluate_model, load_model, simulate, train_tirgn
from tirgn_eqx.config import MixtureTrainingConfig, preset
from tirgn_eqx.errors import CheckpointError, ConfigError
from tirgn_eqx.runtime.meshes import MeshShape
from tirgn_eqx.train import events
from tirgn_eqx.train.refit import with_valid_in_train

pytestmark = pytest.mark.ci

EVIDENCE = {"embedding_dim": 4, "evidence_heads": 2, "evidence_hidden": 3, "precision": "f32", "max_buckets": 1}


@pytest.fixture(scope="module")
def graph():
    return simulate(num_entities=12, num_relations=3, num_days=16, facts_per_day=10, seed=0).graph


def evidence_config(folder, **settings):
    return preset("evidence").replace(**EVIDENCE, logdir=str(folder / "logs"), **settings)


def test_valid_joins_train_and_nothing_else_changes(graph):
    merged = with_valid_in_train(graph)
    assert merged.split.tolist() == [{0: 0, 1: 0, 2: 2}[split] for split in graph.split.tolist()]
    assert np.array_equal(merged.subject, graph.subject) and merged.split.dtype == graph.split.dtype


def test_the_best_number_of_epochs_is_trained_on_more_facts(graph, tmp_path):
    records = []
    config = evidence_config(tmp_path, epochs=3, eval_interval=1)
    result = train_tirgn(graph, config, model_dir=tmp_path, on_record=records.append, refit=True)
    again = result["refit"]
    assert again["epochs"] == {"evidence": result["best_epoch"]} and load_model(again["checkpoint"])[2].is_refit
    assert not load_model(result["checkpoint"])[2].is_refit
    # The first training is what it is without.
    alone = train_tirgn(graph, config, model_dir=tmp_path / "alone")
    assert alone["test"] == result["test"] and alone["validation"] == result["validation"]
    steps = [record.steps_per_epoch for record in records if isinstance(record, events.StartRecord)]
    valid = len(graph.split_snapshots("valid"))
    assert steps == [steps[0], steps[0] + valid]
    assert [type(record) for record in records].count(events.EndRecord) == 1 and records[-1].result is result
    refit_began = [isinstance(record, events.StageRecord) for record in records].index(True)
    assert not any(isinstance(record, events.ValidationRecord) for record in records[refit_began:])
    # The checkpoint is one of the graph as it is, and gives the figures that were told.
    model, loaded, metadata = load_model(again["checkpoint"])
    assert metadata.checksum == graph.checksum
    figures = evaluate_model(model, graph, split="test", **loaded.window()).to_dict()
    assert figures["entity"]["mrr"] == again["test"]["entity"]["mrr"] != result["test"]["entity"]["mrr"]


def test_what_was_interrupted_goes_on_to_the_same_end(graph, tmp_path):
    config = evidence_config(tmp_path, epochs=2, eval_interval=1)
    whole = train_tirgn(graph, config, model_dir=tmp_path / "whole", refit=True)
    seen = []

    def in_the_refit():
        return events.StageRecord("refit") in seen

    part = train_tirgn(graph, config, model_dir=tmp_path / "part", refit=True, on_record=seen.append, stop=in_the_refit)
    assert part["status"] == "interrupted" and "refit" not in part
    records = []
    rest = train_tirgn(graph, config, model_dir=tmp_path / "part", refit=True, resume=True, on_record=records.append)
    refit_began = records.index(events.StageRecord("refit"))
    assert any(isinstance(record, events.ResumeRecord) for record in records[refit_began:])
    assert rest["status"] == "complete" and rest["refit"]["test"] == whole["refit"]["test"]


def test_the_parts_of_a_mixture_are_refitted_and_its_gate_stays(graph, tmp_path):
    structure = tiny_config(epochs=1, precision="f32", max_buckets=1, logdir=str(tmp_path / "logs"))
    config = MixtureTrainingConfig.of(structure, evidence_config(tmp_path, epochs=1))
    result = train_tirgn(graph, config, model_dir=tmp_path, refit=True)
    before, after = load_model(result["checkpoint"])[0], load_model(result["refit"]["checkpoint"])[0]
    assert result["refit"]["epochs"] == {"evidence": 1, "structure": 1}
    assert (before.gate.base == after.gate.base).all()
    assert (before.structure.encoder.entity_embedding != after.structure.encoder.entity_embedding).any()


def test_a_refit_is_no_part_of_another_training(graph, tmp_path):
    config = evidence_config(tmp_path, epochs=1)
    refitted = train_tirgn(graph, config, model_dir=tmp_path / "first", refit=True)["refit"]["checkpoint"]
    mixture = MixtureTrainingConfig.of(tiny_config(epochs=1, logdir=str(tmp_path / "logs")), config)
    with pytest.raises(CheckpointError, match="was trained on valid, too, on which the gate is fitted"):
        train_tirgn(graph, mixture, model_dir=tmp_path / "second", evidence=refitted)


def test_a_new_training_forgets_an_earlier_refit(graph, tmp_path):
    state = tmp_path / "refit" / "evidence" / "tirgn_state.npz"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"of an earlier training")
    config = evidence_config(tmp_path, epochs=1)
    train_tirgn(graph, config, model_dir=tmp_path, refit=True, stop=lambda: True)
    assert not state.exists() or state.read_bytes() != b"of an earlier training"


def test_it_is_on_one_device(graph, tmp_path):
    with pytest.raises(ConfigError, match="--refit: trains on one device"):
        train_tirgn(graph, tiny_config(), model_dir=tmp_path, mesh=MeshShape(1, 1), refit=True)
