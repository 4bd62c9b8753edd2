"""Audits of the model families, trained briefly on the simulated world; and what an audit of a leaking one says."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.evaluate.audit.planted import made_graph
from tests.helpers import family_config, tiny_config
from tirgn_eqx import load_model, simulate, train_tirgn
from tirgn_eqx.config import MixtureTrainingConfig
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.evaluate.audit import ForecastRequest
from tirgn_eqx.evaluate.audit.perturbations import table_of
from tirgn_eqx.evaluate.audit.run import mean_ranks, others_true
from tirgn_eqx.forecast import Forecaster
from tirgn_eqx.forecast.audit import ModelScores, audit_model, model_ranks, renumber_model
from tirgn_eqx.models import build_model

STATIC = StaticGraph(np.arange(8) % 8, np.arange(8) % 2, np.arange(8) % 3, 2, 3)
CHECKS = {
    "scores": {"repeat", "facts after t", "facts at t", "queries", "ids"},
    "ranks": {"repeat", "facts not at t", "ties", "ids"},
    "figures": {"repeat", "facts after t", "queries"},
}


def config_of(family, **more):
    if family.endswith("-evidence"):
        return MixtureTrainingConfig.of(
            config_of(family.removesuffix("-evidence"), **more), config_of("evidence", **more)
        )
    small = {"evidence_heads": 2, "evidence_hidden": 4, "embedding_dim": 8, "history_len": 2, "num_layers": 1}
    small |= {"conv_channels": 2, "static_blocks": 2, "precision": "f32", "remat": "none", "max_buckets": 1}
    return family_config(family, **small | more)


def looked_at(report):
    return {of: {one.check for one in report.checks if one.of == of} for of in CHECKS}


@pytest.mark.ci
@pytest.mark.parametrize("family", ["tirgn", "regcn", "evidence", "tirgn-evidence", "regcn-evidence"])
def test_a_model_that_was_trained_is_clean(family, tmp_path):
    graph = simulate(num_entities=24, num_relations=4, num_days=24, facts_per_day=20).graph
    config = config_of(family, epochs=1, eval_interval=1, logdir=str(tmp_path / "logs"))
    result = train_tirgn(graph, config, model_dir=tmp_path / "models")
    model, config, _ = load_model(result["checkpoint"])
    report = audit_model(model, config, graph, name=family, snapshots=2, alone=2)
    assert report.clean, [one for one in report.checks if one.status == "moved"]
    assert looked_at(report) == CHECKS and {one.status for one in report.checks} == {"clean"}
    assert report.model == family and report.dataset.name == graph.name


@pytest.fixture(scope="module")
def graph():
    return dataclasses.replace(made_graph(), static=STATIC)


@pytest.fixture(scope="module")
def regcn():
    config = tiny_config("regcn")
    made = eqx.filter_jit(lambda key: build_model(8, 2, config, STATIC, key=key))(jax.random.key(0))
    return made, config


def request_of(graph, time):
    facts = table_of(graph)
    now = facts[facts[:, 3] == time]
    return ForecastRequest(facts, now[:, :2], time, graph.num_entities, graph.num_relations, np.arange(8)), now[:, 2]


def test_scores_are_the_forecasts_and_follow_the_ids(graph, regcn):
    request, _ = request_of(graph, 12)
    function = ModelScores(*regcn, graph)
    scores = function(request)
    forecaster = Forecaster(*regcn, graph, at=12)
    np.testing.assert_array_equal(scores, forecaster.objects(*request.queries.T))
    order = np.random.default_rng(0).permutation(8)
    turned = renumber_model(regcn[0], order)
    static = turned.encoder.static_edges
    assert {(int(order[e]), int(w)) for e, w in zip(static.entity, static.word)} == set(
        zip(STATIC.entity.tolist(), STATIC.word.tolist())
    )
    np.testing.assert_array_equal(turned.encoder.entity_embedding, regcn[0].encoder.entity_embedding[order])
    assert renumber_model(regcn[0], np.arange(8)) is regcn[0]


def test_the_ranking_is_that_of_the_definition(graph):
    request, answers = request_of(graph, 12)
    scores = jnp.round(jax.random.normal(jax.random.key(1), (len(answers), 8)))
    left = others_true(request.facts[request.facts[:, 3] == 12], request, request.queries, answers)
    expected = mean_ranks(np.asarray(scores), answers, left)
    np.testing.assert_array_equal(model_ranks(request, np.asarray(scores), answers), expected)
    assert left.any()
