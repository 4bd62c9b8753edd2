"""RE-GCN: its own two parts against NumPy, what it shares with TiRGN left to TiRGN's tests."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import normal, random_graph, same_bits, tiny_config
from tirgn_eqx.checkpoint.models import load_model, save_model
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.evaluate import evaluate_model
from tirgn_eqx.models import REGCN, build_model
from tirgn_eqx.nn import TimeGate
from tirgn_eqx.train.api import train_tirgn
from tirgn_eqx.train.events import EpochRecord
from tirgn_eqx.train.optimizer import trainable


@pytest.fixture(scope="module")
def graph():
    return random_graph(3, num_entities=16, facts=6)


@pytest.fixture(scope="module")
def config():
    return tiny_config("regcn")


@pytest.fixture(scope="module")
def model(graph, config):
    def build(key):
        return build_model(graph.num_entities, graph.num_relations, config, key=key)

    return eqx.filter_jit(build)(jax.random.key(1))


def batch_of(graph, target, split="test"):
    loader = GraphLoader(graph, build_history_vocabulary(graph), split, GraphOptions(history_len=3))
    batch = loader.build(target).batch

    def first(queries):
        return jax.tree.map(lambda x: x[0], queries)

    return batch.window, first(batch.entity_queries), first(batch.relation_queries), batch.time_index


def test_time_gate():
    gate = TimeGate(4, key=jax.random.key(0))
    gate = eqx.tree_at(lambda g: g.bias, gate, jnp.asarray(normal(3, 4), jnp.float32))
    x, h = normal(1, 5, 4), normal(2, 5, 4)
    share = 1 / (1 + np.exp(-(h @ np.asarray(gate.weight, np.float64) + np.asarray(gate.bias, np.float64))))
    found = gate(jnp.asarray(x, jnp.float32), jnp.asarray(h, jnp.float32))
    np.testing.assert_allclose(found, share * x + (1 - share) * h, rtol=1e-5, atol=1e-6)


def test_the_gate_mixes_the_layers_with_the_state_and_nothing_is_normalised(graph, model):
    assert isinstance(model, REGCN)
    window, *_ = batch_of(graph, graph.num_snapshots - 1)
    snapshot = jax.tree.map(lambda x: x[-1], window)
    state = jnp.asarray(normal(4, graph.num_entities, 8), jnp.float32)
    running = model.buffers.graph
    evolve = eqx.filter_jit(lambda e, s: e.evolve(s, e.relation_embedding, snapshot, running, training=False, key=None))
    found, _, _, trace = evolve(model.encoder, state)
    layers = np.asarray(trace.layers[-1], np.float64)
    x = layers / np.linalg.norm(layers, axis=1, keepdims=True)
    np.testing.assert_allclose(trace.update_input, x, rtol=1e-4, atol=1e-5)
    h = np.asarray(state, np.float64)
    share = 1 / (1 + np.exp(-(h @ np.asarray(model.encoder.entity_update.weight, np.float64))))
    np.testing.assert_allclose(found, share * x + (1 - share) * h, rtol=1e-4, atol=1e-5)
    assert np.max(np.abs(np.linalg.norm(found, axis=1) - 1)) > 0.05


def test_neither_time_nor_history_enters(graph, model):
    window, entity, relation, time_index = batch_of(graph, graph.num_snapshots - 1)
    assert np.any(np.asarray(entity.history_query) < len(entity.subject))
    call = eqx.filter_jit(model)
    found = call(window, entity, relation, time_index)

    def forget(queries):
        return eqx.tree_at(lambda q: q.history_query, queries, jnp.full_like(queries.history_query, 10**6))

    assert same_bits(found, call(window, forget(entity), forget(relation), time_index + 100))
    for scores in found:
        np.testing.assert_allclose(np.exp(np.asarray(scores, np.float64)).sum(1), 1, rtol=1e-4)


def test_buffers_are_put_back_where_they_came_from(model):
    number = iter(range(1000))
    other = jax.tree.map(lambda x: jnp.full_like(x, next(number)), model.buffers)
    assert same_bits(model.with_buffers(other).buffers, other)

    def parameters(m):
        return eqx.filter(m, trainable(m))

    assert same_bits(parameters(model.with_buffers(other)), parameters(model))


def test_isolated_entities_are_those_of_the_full_computation(graph, model):
    window, *_ = batch_of(graph, 2, "train")
    encoding, _ = eqx.filter_jit(lambda m: m.encoder(window))(model)
    active = np.unique(np.asarray(window.active))
    idle = np.setdiff1d(np.arange(graph.num_entities), active)
    assert len(idle)
    length = int(np.sum(np.asarray(window.valid)))
    found = eqx.filter_jit(lambda m: m.encoder.isolated_state(length))(model)
    np.testing.assert_allclose(found[idle], encoding.entity[idle], rtol=1e-4, atol=1e-5)


@pytest.mark.ci
def test_it_learns_and_its_checkpoint_is_told_from_tirgn(graph, config, tmp_path):
    config = config.replace(epochs=8, eval_interval=4, learning_rate=0.01, max_buckets=1, logdir=str(tmp_path / "logs"))
    records = []
    result = train_tirgn(graph, config, model_dir=tmp_path, on_record=records.append)
    losses = [record.loss for record in records if isinstance(record, EpochRecord)]
    assert losses[-1] < losses[0] - 0.2
    assert result["model_type"] == "regcn"
    loaded, found, metadata = load_model(tmp_path / "tirgn_best.npz", "regcn")
    assert isinstance(loaded, REGCN) and found.family == "regcn" and metadata.model_type == "regcn"
    assert evaluate_model(loaded, graph, history_len=3).entity == result["test"]["entity"]
    with pytest.raises(CheckpointError, match="model of type 'regcn', not 'tirgn'"):
        load_model(tmp_path / "tirgn_best.npz", "tirgn")
    tirgn = build_model(graph.num_entities, graph.num_relations, tiny_config(), key=jax.random.key(0))
    path = save_model(tmp_path / "other", tirgn, tiny_config(), graph)
    assert load_model(path)[1].family == "tirgn"
    with pytest.raises(CheckpointError, match="model of type 'tirgn', not 'regcn'"):
        load_model(path, "regcn")
