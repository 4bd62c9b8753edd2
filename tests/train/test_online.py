"""Evaluation of a model that goes on learning."""

import equinox as eqx
import numpy as np
import pytest

from tests.helpers import facts_of, family_config, same_bits, tiny_config, with_facts
from tirgn_eqx import evaluate_model, load_model, simulate, train_tirgn
from tirgn_eqx.config import MixtureTrainingConfig
from tirgn_eqx.evaluate.protocol import make_evaluator
from tirgn_eqx.models import Evidence, Mixture
from tirgn_eqx.train.online import SETTING, OnlineLearner, evaluate_online, online_model
from tirgn_eqx.train.optimizer import trainable

pytestmark = pytest.mark.ci
SMALL = {"max_buckets": 1, "epochs": 1}
EVIDENCE = {"evidence_heads": 2, "evidence_hidden": 3, "evidence_background": False, "precision": "f32"}


@pytest.fixture(scope="module")
def graph():
    return simulate(num_entities=12, num_relations=3, num_days=20, facts_per_day=12, seed=0).graph


@pytest.fixture(scope="module", params=["tirgn", "evidence", "mixture"])
def trained(request, graph, tmp_path_factory):
    """A model and its settings."""
    folder = tmp_path_factory.mktemp(request.param)
    logs = {"logdir": str(folder / "logs")}
    structure = tiny_config(**SMALL, **logs)
    evidence = family_config("evidence", **EVIDENCE, **SMALL, **logs, embedding_dim=4)
    config = {"tirgn": structure, "evidence": evidence}.get(request.param) or MixtureTrainingConfig.of(
        structure, evidence
    )
    result = train_tirgn(graph, config, model_dir=folder)
    model, config, _ = load_model(result["checkpoint"])
    return model, config


def test_without_a_step_size_no_weight_changes(trained, graph):
    """Of recurrent graph models the running statistics of their norms go on; an evidence model has none."""
    model, config = trained
    still = online_model(model, graph, config, rate=0.0)(graph.num_snapshots)
    parts = ("structure", "evidence") if isinstance(model, Mixture) else (None,)
    for name in parts:
        before, after = (one if name is None else getattr(one, name) for one in (model, still))
        assert same_bits(eqx.filter(before, trainable(before)), eqx.filter(after, trainable(after)))
    if isinstance(model, Evidence):
        online = evaluate_online(model, graph, config, rate=0.0)
        plain = evaluate_model(model, graph, split="test", **config.window())
        assert online.setting == SETTING != plain.setting
        assert same_bits(online.filtered, plain.filtered)


def test_it_learns_and_leaves_the_model_as_it_is(trained, graph):
    model, config = trained
    before = eqx.filter(model, eqx.is_array)
    plain = evaluate_model(model, graph, split="test", **config.window())
    online = evaluate_online(model, graph, config, rate=1.0)
    assert same_bits(before, eqx.filter(model, eqx.is_array))
    assert online.entity["mrr"] != plain.entity["mrr"]
    again = evaluate_online(model, graph, config, rate=1.0)
    assert same_bits(again.filtered, online.filtered)


def test_nothing_at_or_after_a_target_is_learnt(trained, graph):
    """Facts from a snapshot on are exchanged: the model that forecasts it has the same bits, the next one others."""
    model, config = trained
    target = int(graph.split_snapshots("test")[1])
    facts = facts_of(graph)
    rows = graph.snapshot >= target
    facts[rows, 2] = (facts[rows, 2] + 1) % graph.num_entities
    other = with_facts(graph, facts)
    here, there = (online_model(model, one, config, rate=1.0) for one in (graph, other))
    assert same_bits(eqx.filter(here(target), eqx.is_array), eqx.filter(there(target), eqx.is_array))
    assert not same_bits(eqx.filter(here(target + 1), eqx.is_array), eqx.filter(there(target + 1), eqx.is_array))


def test_the_model_that_is_asked_for_is_that_of_the_target(trained, graph):
    model, config = trained
    asked = []
    evaluator = make_evaluator(model, graph, split="test", **config.window())
    evaluator(model, known=lambda target: asked.append(target) or model)
    assert asked == graph.split_snapshots("test").tolist()


def test_every_snapshot_of_valid_and_test_is_learnt_once(trained, graph):
    model, config = trained
    part, settings = (model.evidence, config.evidence) if hasattr(config, "evidence") else (model, config)
    learner = OnlineLearner(part, graph, settings)
    learnt = []
    while learner._next is not None:
        target = learner._next[0].target
        learner.before(target + 1)
        learnt.append(target)
    held_out = np.concatenate([graph.split_snapshots(split) for split in ("valid", "test")])
    assert learnt == sorted(set(held_out.tolist()))
