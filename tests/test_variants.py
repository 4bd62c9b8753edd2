"""Variants of the same computation agree: rematerialisation, precision, micro-batches, padding, traces."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.golden_case import load_golden
from tirgn_eqx.data import simulate
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.models.tirgn import TiRGN
from tirgn_eqx.train.compiled_step import CompiledStep
from tirgn_eqx.train.families import make_step
from tirgn_eqx.train.optimizer import init_optimizer, make_optimizer
from tirgn_eqx.train.step import loss_and_gradient

pytestmark = pytest.mark.ci

gradient_of = eqx.filter_jit(loss_and_gradient)


@pytest.fixture(scope="module")
def golden():
    return load_golden("static", np.float32)


def relative(tree, reference):
    """Largest difference over the largest value, over all leaves together."""
    pairs = list(zip(jax.tree.leaves(tree), jax.tree.leaves(reference), strict=True))
    worst = max(float(jnp.max(jnp.abs(a - b))) for a, b in pairs)
    return worst / max(float(jnp.max(jnp.abs(b))) for _, b in pairs)


@pytest.mark.parametrize("policy", [pytest.param("dots", marks=pytest.mark.slow), "full"])
def test_every_remat_policy_gives_the_same_gradient(golden, policy):
    plain = gradient_of(golden.model, golden.batch)
    other = gradient_of(golden.model, golden.batch, policy=policy)
    assert relative(other.gradient, plain.gradient) < 1e-5
    assert relative(other.buffers, plain.buffers) < 1e-6


def test_without_a_loop_over_the_window_the_gradient_is_the_same(golden):
    plain = gradient_of(golden.model, golden.batch)
    other = gradient_of(golden.model, golden.batch, unroll=True)
    assert relative(other.gradient, plain.gradient) < 1e-5
    assert relative(other.buffers, plain.buffers) < 1e-6


def test_bf16_stays_near_f32(golden):
    # 8 bits of mantissa through three steps, two layers and a BatchNorm over 24 rows: 5 % of the largest.
    exact = gradient_of(golden.model, golden.batch)
    rough = gradient_of(golden.model, golden.batch, precision="bf16")
    assert relative(rough.gradient, exact.gradient) < 0.05
    assert float(rough.metrics["loss"]) == pytest.approx(float(exact.metrics["loss"]), rel=0.01)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(rough.gradient))


def with_batch_size(golden, batch_size, unique=False):
    vocabulary = build_history_vocabulary(golden.graph)
    options = {"history_len": 3, "batch_size": batch_size, "unique": unique}
    return GraphLoader(golden.graph, vocabulary, "test", GraphOptions(**options)).build(8).batch


@pytest.mark.parametrize("batch_size", [pytest.param(1, marks=pytest.mark.ci), 23])
def test_micro_batches_sum_to_the_unbatched_gradient_with_batch_norm_frozen(golden, batch_size):
    whole = gradient_of(golden.model, golden.batch, training=False)
    batch = with_batch_size(golden, batch_size)
    assert batch.entity_queries.subject.shape[0] == -(-24 // batch_size)
    parts = gradient_of(golden.model, batch, training=False)
    assert relative(parts.gradient, whole.gradient) < 1e-5
    for name, value in whole.metrics.items():
        assert float(parts.metrics[name]) == pytest.approx(float(value), rel=1e-5)


def test_asking_equal_questions_once_gives_the_same_gradient(golden):
    # Without dropout, a question's multiplicity enters BatchNorm and loss as a weight: exact.
    every = gradient_of(golden.model, golden.batch)
    batch = with_batch_size(golden, 0, unique=True)
    assert int((batch.entity_queries.weight > 0).sum()) < 24
    once = gradient_of(golden.model, batch)
    assert relative(once.gradient, every.gradient) < 1e-5
    assert relative(once.buffers, every.buffers) < 1e-5


def test_padding_and_edge_order_change_nothing(golden):
    window = golden.batch.window
    extra = {
        "active": 17,
        "degree": 0.0,
        "edge_source": 0,
        "edge_relation": 0,
        "edge_target": window.active.shape[1] + 5,
        "pair_entity": 0,
        "pair_relation": 5,
    }

    def pad(name, x):
        return jnp.pad(x, ((0, 0), (0, 5)), constant_values=extra[name])

    padded = {name: pad(name, getattr(window, name)) for name in extra}
    # The drop index of a target is the size of `active`, which grew.
    target = padded["edge_target"]
    padded["edge_target"] = jnp.where(target >= window.active.shape[1], window.active.shape[1] + 5, target)
    wider = eqx.tree_at(lambda w: [getattr(w, n) for n in extra], window, [padded[n] for n in extra])
    plain = gradient_of(golden.model, golden.batch)
    other = gradient_of(golden.model, eqx.tree_at(lambda b: b.window, golden.batch, wider))
    assert relative(other.gradient, plain.gradient) < 1e-5

    # Any order of the edges among equal targets is as good: reverse them within each target.
    order = jnp.stack([jnp.lexsort((-jnp.arange(t.shape[0]), t)) for t in window.edge_target])

    def take(x):
        return jnp.take_along_axis(x, order, 1)

    def edges(w):
        return (w.edge_source, w.edge_relation, w.edge_target)

    shuffled = eqx.tree_at(edges, window, tuple(take(x) for x in edges(window)))
    other = gradient_of(golden.model, eqx.tree_at(lambda b: b.window, golden.batch, shuffled))
    assert relative(other.gradient, plain.gradient) < 1e-5


def test_a_window_shorter_than_history_len_is_the_window_alone(golden):
    vocabulary = build_history_vocabulary(golden.graph)
    encode = eqx.filter_jit(lambda model, *args, **kwargs: model.encoder(*args, **kwargs))
    short = GraphLoader(golden.graph, vocabulary, "train", GraphOptions(history_len=2)).build(2).batch.window
    long = GraphLoader(golden.graph, vocabulary, "train", GraphOptions(history_len=6)).build(2).batch.window
    assert long.valid.tolist() == [False] * 4 + [True] * 2
    (exact, exact_buffers), (padded, padded_buffers) = (
        encode(golden.model, window, training=True) for window in (short, long)
    )
    assert relative(padded, exact) < 1e-6
    assert relative(padded_buffers, exact_buffers) < 1e-6


def test_the_step_is_pure_traced_once_a_bucket_and_reproducible(golden):
    graph = simulate(num_entities=12, num_relations=4, num_days=25, facts_per_day=12, seed=1).graph
    config = golden.config.replace(history_len=2, num_layers=1, dropout=0.2, input_dropout=0.2)
    model = TiRGN(graph.num_entities, graph.num_relations, config, key=jr.key(0))
    loader = GraphLoader(graph, build_history_vocabulary(graph), "train", GraphOptions(history_len=2, max_buckets=2))
    traced = []
    step = make_step(config)

    def counted(batch, model, opt_state):
        traced.append(batch.window.active.shape)
        return step(model, opt_state, batch)

    start = init_optimizer(make_optimizer(config), model)

    def run():
        current, opt_state, losses = model, start, []
        for number, prepared in enumerate(loader.epoch(1)):
            key = jr.fold_in(jr.key(7), number)
            batch = eqx.tree_at(lambda b: b.key, prepared.batch, key, is_leaf=lambda x: x is None)
            current, opt_state, metrics = jitted(batch, current, opt_state)
            losses.append(float(metrics["loss"]))
        return current, losses

    jitted = eqx.filter_jit(counted)
    first, losses = run()
    second, again = run()
    assert len(traced) == len(loader.buckets) == 2
    assert losses == again
    assert eqx.tree_equal(first, second)
    assert not eqx.tree_equal(first, model), "the model given in is left as it was, another one comes out"


def test_resumed_key_streams_are_equal():
    whole = [jr.key_data(jr.fold_in(jr.key(3), step)) for step in range(6)]
    resumed = [jr.key_data(jr.fold_in(jr.key(3), step)) for step in range(4, 6)]
    np.testing.assert_array_equal(whole[4:], resumed)


def test_donation_spares_the_batch(golden):
    config = golden.config
    step = CompiledStep(config, lambda record: None)
    loader = GraphLoader(golden.graph, build_history_vocabulary(golden.graph), "train", GraphOptions(history_len=3))
    prepared = loader.build(4)
    model = jax.tree.map(jnp.copy, golden.model)
    opt_state = init_optimizer(make_optimizer(config), model)
    model, opt_state, first = step(model, opt_state, prepared, jr.key(0))
    _, _, second = step(model, opt_state, prepared, jr.key(1))
    assert float(second["loss"]) < float(first["loss"])
