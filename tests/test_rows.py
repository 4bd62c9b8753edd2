"""A batch that evolves only the entities it touches is equal to the full computation on them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import random_graph, tiny_config
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.batches.negatives import draw_others
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.evaluate.encoding import encode_rows
from tirgn_eqx.models import logits
from tirgn_eqx.models.tirgn import TiRGN
from tirgn_eqx.train.data import make_loader
from tirgn_eqx.train.families import make_step
from tirgn_eqx.train.optimizer import init_optimizer, make_optimizer
from tirgn_eqx.train.step import loss_and_gradient

ENTITIES, RELATIONS, TARGET = 40, 3, 4
STATIC = StaticGraph(np.arange(60) % ENTITIES, np.arange(60) % 2, np.arange(60) % 7, 2, 7)
SETTINGS = {"embedding_dim": 8, "history_len": 3, "num_layers": 2, "max_buckets": 1}
gradient_of = eqx.filter_jit(loss_and_gradient)


def make(static, **changes):
    """(graph, config, model) of a graph whose facts touch about half of its entities."""
    graph = random_graph(3, num_entities=ENTITIES, num_relations=RELATIONS, facts=4)
    config = tiny_config(**SETTINGS | changes)
    return graph, config, TiRGN(ENTITIES, RELATIONS, config, STATIC if static else None, key=jr.key(1))


def scattered(part, rows):
    """A gradient at rows as one of the whole table."""
    whole = jnp.zeros((ENTITIES, part.encoder.entity_embedding.shape[1]))
    return eqx.tree_at(
        lambda m: m.encoder.entity_embedding, part, whole.at[rows.index].set(part.encoder.entity_embedding, mode="drop")
    )


def assert_close(ours, reference, tolerance=1e-5):
    pairs = list(zip(jax.tree.leaves(ours), jax.tree.leaves(reference), strict=True))
    largest = max(float(jnp.max(jnp.abs(b))) for _, b in pairs)
    assert max(float(jnp.max(jnp.abs(a - b))) for a, b in pairs) <= tolerance * largest


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.ci
@pytest.mark.parametrize(
    "static,mask", [(False, "exclude"), slow(True, "multiply"), slow(False, "multiply"), slow(True, "exclude")]
)
def test_with_every_other_entity_drawn_the_loss_is_the_full_one(static, mask):
    graph, config, model = make(static, history_mask=mask)
    full = make_loader(graph, config).build(TARGET).batch
    few = make_loader(graph, config.replace(loss="shared", num_shared=ENTITIES)).build(TARGET).batch
    assert full.rows is None and few.rows.index.tolist() == list(range(ENTITIES))
    expected = gradient_of(model, full)
    ours = gradient_of(model.at_rows(few.rows), few, num_entities=ENTITIES)
    assert_close(scattered(ours.gradient, few.rows), expected.gradient)
    assert_close(ours.buffers, expected.buffers)
    assert_close(ours.metrics, expected.metrics)


@pytest.mark.parametrize(
    "static,loss", [(False, "sampled"), (True, "shared"), slow(False, "shared"), slow(True, "sampled")]
)
def test_the_states_of_the_rows_are_those_of_the_full_computation(static, loss):
    graph, config, model = make(static, loss=loss, num_shared=3, num_negatives=1)
    full = make_loader(graph, config.replace(loss="full")).build(TARGET).batch
    few = make_loader(graph, config).build(TARGET).batch
    rows = few.rows
    real = np.asarray(rows.index) < ENTITIES
    assert real.sum() < ENTITIES
    encode = eqx.filter_jit(lambda model, batch: model.encoder(batch.window, rows=batch.rows, training=True))
    whole, whole_buffers = encode(model, full)
    part, part_buffers = encode(model.at_rows(rows), few)
    np.testing.assert_allclose(part.entity[real], whole.entity[rows.index[real]], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(part.relation, whole.relation, rtol=1e-5, atol=1e-6)
    assert_close(part_buffers, whole_buffers)

    # The same questions, by position instead of by entity.
    def back(position):
        return rows.index[position]

    for ours, theirs, fields in (
        (few.entity_queries, full.entity_queries, ("subject", "answer")),
        (few.relation_queries, full.relation_queries, ("subject", "condition")),
    ):
        assert ours.weight.tolist() == theirs.weight.tolist()
        for name in fields:
            weight = ours.weight if name != "answer" else ours.answer_weight
            named, expected = back(getattr(ours, name)), getattr(theirs, name)
            np.testing.assert_array_equal(jnp.where(weight > 0, named, -1), jnp.where(weight > 0, expected, -1))
    seen = few.entity_queries.history_query < few.entity_queries.subject.shape[1]
    size = int(full.entity_queries.history_candidate.shape[1])
    expected = full.entity_queries.history_candidate[full.entity_queries.history_candidate < ENTITIES]
    np.testing.assert_array_equal(back(few.entity_queries.history_candidate[seen]), expected)
    assert size == few.entity_queries.history_candidate.shape[1]


@pytest.mark.parametrize("static,history_len", [(False, 9), (True, 3), slow(False, 3), slow(True, 9)])
def test_idle_entities_are_evolved_once_for_all_targets(static, history_len):
    graph, config, model = make(static, history_len=history_len)
    vocabulary = build_history_vocabulary(graph)
    options = {"history_len": history_len, "max_buckets": 1}
    idle = {}
    for target in (1, 2, 5, 7):
        split = ["train", "valid", "test"][int(graph.split[graph.snapshot == target].max())]
        full = GraphLoader(graph, vocabulary, split, GraphOptions(**options)).build(target).batch
        few = GraphLoader(graph, vocabulary, split, GraphOptions(**options, rows="window")).build(target).batch
        expected, _ = eqx.filter_jit(model.encoder)(full.window)
        length = min(target, history_len)
        idle[length] = eqx.filter_jit(lambda m, length: m.encoder.isolated_state(length))(model, length)
        ours = eqx.filter_jit(encode_rows)(model, few.window, few.rows, idle[length])
        np.testing.assert_allclose(ours.entity, expected.entity, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(ours.relation, expected.relation, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_step_changes_the_rows_it_touches_and_no_others():
    graph, config, model = make(False, loss="shared", num_shared=2, ema_decay=0.9)
    batch = make_loader(graph, config).build(TARGET).batch
    batch = eqx.tree_at(lambda b: b.key, batch, jr.key(0), is_leaf=lambda x: x is None)
    opt_state = init_optimizer(make_optimizer(config), model)
    step = eqx.filter_jit(make_step(config))
    new, new_state, metrics = step(model, opt_state, batch)
    assert jax.tree.structure((new, new_state)) == jax.tree.structure((model, opt_state))
    index = np.asarray(batch.rows.index)
    touched = np.isin(np.arange(ENTITIES), index[index < ENTITIES])
    assert 0 < touched.sum() < ENTITIES
    moved = np.any(np.asarray(new.encoder.entity_embedding != model.encoder.entity_embedding), 1)
    np.testing.assert_array_equal(moved, touched)
    before = jax.tree.leaves(opt_state)
    tables = [
        (a, b) for a, b in zip(jax.tree.leaves(new_state), before) if a.shape == model.encoder.entity_embedding.shape
    ]
    assert len(tables) == 3  # two moments and the average
    for after, before in tables:
        np.testing.assert_array_equal(np.any(np.asarray(after != before), 1), touched)
    assert np.isfinite(float(metrics["loss"]))


def test_the_weighted_normaliser_estimates_the_full_one():
    rng = np.random.default_rng(0)
    vectors, table = rng.normal(size=(4, 6)), rng.normal(size=(200, 6))
    taken = np.sort(rng.choice(200, 50, replace=False))
    exact = np.exp(np.asarray(logits.log_normalizer(jnp.asarray(vectors), jnp.asarray(table))))
    estimate, draws, count = 0, 400, 30
    normalizer = jax.jit(logits.log_normalizer)
    for _ in range(draws):
        drawn = draw_others(rng, taken, 200, count)
        weight = np.repeat([1.0, 150 / count], [50, count])
        rows = jnp.asarray(table[np.concatenate([taken, drawn])])
        estimate += np.exp(np.asarray(normalizer(jnp.asarray(vectors), rows, jnp.log(weight)))) / draws
    np.testing.assert_allclose(estimate, exact, rtol=0.1)


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 19)), st.integers(0, 25), st.integers(0, 5))
def test_others_are_distinct_and_never_taken(taken, count, seed):
    taken = np.array(sorted(taken), np.int64)
    drawn = draw_others(np.random.default_rng(seed), taken, 20, count).tolist()
    assert len(drawn) == len(set(drawn)) == min(count, 20 - len(taken))
    assert not set(drawn) & set(taken.tolist()) and set(drawn) <= set(range(20))


def test_every_other_is_drawn_equally_often():
    taken = np.array([0, 3, 4, 9])
    count = np.zeros(10)
    for seed in range(3000):
        count[draw_others(np.random.default_rng(seed), taken, 10, 2)] += 1
    expected = np.isin(np.arange(10), taken, invert=True) * 3000 * 2 / 6
    np.testing.assert_allclose(count, expected, atol=120)
