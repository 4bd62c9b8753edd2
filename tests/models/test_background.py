"""The words of a static graph in the evidence model: what they add, and that they come back from a checkpoint."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import random_graph
from tests.models.evidence_helpers import batch_at, entity_intensities, rough, small
from tests.models.test_mixture import settings
from tirgn_eqx.checkpoint.models import load_model, save_model
from tirgn_eqx.data import simulate
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.evaluate import evaluate_model
from tirgn_eqx.models import build_model
from tirgn_eqx.train.api import train_tirgn
from tirgn_eqx.train.optimizer import parameter_count

pytestmark = pytest.mark.ci

ENTITIES, RELATIONS, WORDS = 14, 3, 5


@pytest.fixture(scope="module")
def static():
    """Entities 0 to 11 have one to three words, by two relations; 12 and 13 have none."""
    rng = np.random.default_rng(0)
    rows = sorted({(e, int(rng.integers(2)), int(rng.integers(WORDS))) for e in range(12) for _ in range(3)})
    entity, relation, word = np.array(rows, np.int32).T
    assert len(set(np.bincount(entity))) > 1
    return StaticGraph(entity, relation, word, 2, WORDS)


@pytest.fixture(scope="module")
def graph(static):
    plain = random_graph(3, num_entities=ENTITIES, num_relations=RELATIONS, facts=8)
    return dataclasses.replace(plain, static=static)


@pytest.fixture(scope="module")
def model(graph):
    def make(key):
        return build_model(ENTITIES, RELATIONS, small(), graph.static, key=key)

    made = eqx.filter_jit(make)(jax.random.key(2))
    moved = rough(eqx.filter(made, eqx.is_inexact_array))

    # The edges' degrees are counts, not parameters.
    def edges(m):
        return m.background.words.static_edges

    return eqx.tree_at(edges, eqx.combine(moved, made), edges(made))


def test_words_add_to_an_entity_in_all_its_roles(graph, static, model):
    said = np.zeros((ENTITIES, 18))
    for entity, word in zip(static.entity, static.word):
        said[entity] += np.asarray(model.background.words.vectors, np.float64)[word]
    said /= np.sqrt(np.maximum(np.bincount(static.entity, minlength=ENTITIES), 1))[:, None]

    def roles(m):
        return (m.background.subject, m.background.object, m.background.neighbour)

    told = [jnp.asarray(own + part, jnp.float32) for own, part in zip(roles(model), np.split(said, 3, 1))]
    without = eqx.tree_at(lambda m: (*roles(m), m.background.words), model, (*told, None))
    batch, gathered = batch_at(graph, model, graph.num_snapshots - 1)
    found, expected = (np.asarray(entity_intensities(m, batch)) for m in (model, without))
    queries = len(gathered["subject"])
    np.testing.assert_allclose(found[:queries], expected[:queries], rtol=1e-4)
    silent = eqx.tree_at(lambda m: m.background.words, model, None)
    assert not np.allclose(found[:queries], np.asarray(entity_intensities(silent, batch))[:queries], rtol=0.01)


def test_words_are_left_out_where_the_settings_say_so(graph, static):
    for changes in ({"static_graph": False}, {"evidence_background": False}):
        config = small(**changes)

        def build(key, config=config):
            return build_model(ENTITIES, RELATIONS, config, static, key=key)

        made = eqx.filter_eval_shape(build, jax.random.key(0))
        assert made.static_edges is None and made.word_embedding is None


def test_a_training_with_words_leaves_their_edges_and_comes_back(tmp_path):
    world = simulate(num_days=20, num_entities=30, static_graph=True, seed=1).graph
    config = small(epochs=1, batch_size=64, max_buckets=1, logdir=str(tmp_path / "log"))
    result = train_tirgn(world, config, model_dir=tmp_path / "models")
    model, _, described = load_model(result["checkpoint"], "evidence")
    begun = build_model(world.num_entities, world.num_relations, config, world.static, key=jax.random.key(0))
    assert eqx.tree_equal(model.static_edges, begun.static_edges) and model.static_edges.degree.max() >= 1
    assert described.static_graph.num_words == world.static.num_words
    words = model.background.words.vectors
    plain = build_model(world.num_entities, world.num_relations, config, None, key=jax.random.key(0))
    assert result["parameters"] == parameter_count(model) == parameter_count(plain) + words.size
    assert evaluate_model(model, world, history_len=1).entity["mrr"] == result["test"]["entity"]["mrr"]


@pytest.mark.parametrize("structure", [True, False])
def test_a_structure_with_evidence_and_words_comes_back(graph, tmp_path, structure):
    config = settings(evidence=small(), static_graph=structure, static_blocks=2)

    def make(key):
        return build_model(ENTITIES, RELATIONS, config, graph.static, key=key)

    model = eqx.filter_jit(make)(jax.random.key(1))
    assert (model.structure.static_edges is not None) == structure and model.evidence.static_edges is not None
    path = save_model(tmp_path / "m", model, config, graph)
    assert eqx.tree_equal(load_model(path)[0], model)


def test_evidence_trained_without_words_is_not_taken_where_there_are_some(tmp_path):
    world = simulate(num_days=20, num_entities=30, static_graph=True, seed=1).graph

    def build(key):
        return build_model(world.num_entities, world.num_relations, small(), None, key=key)

    path = save_model(tmp_path / "old", eqx.filter_jit(build)(jax.random.key(0)), small(), world)
    with pytest.raises(CheckpointError, match="has no static graph, unlike a training on sim.*leave --evidence out"):
        train_tirgn(world, settings(logdir=str(tmp_path / "log")), model_dir=tmp_path / "models", evidence=path)
