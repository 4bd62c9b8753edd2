"""The optimizer: what is trained, clipping, the step size over a run, and the moving average of the weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.golden_case import load_golden
from tests.helpers import tiny_config
from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.models.tirgn import TiRGN
from tirgn_eqx.train.optimizer import (
    clip_by_norm,
    init_optimizer,
    learning_rate_schedule,
    make_optimizer,
    moving_average,
    trainable,
    with_averaged_weights,
)


def test_trainable_leaves_are_the_parameters_alone():
    golden = load_golden("static", np.float32)
    marked = trainable(golden.model)
    kept = eqx.filter(golden.model, marked)
    assert kept.static_edges.degree is None and kept.encoder.layers[0].norm.running.mean is None
    assert kept.encoder.layers[0].norm.weight is not None
    assert jax.tree.structure(marked) == jax.tree.structure(golden.model)


def test_clipping_is_pytorch_s():
    gradient = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([4.0])}
    clip = clip_by_norm(1.0)
    clipped, _ = clip.update(gradient, clip.init(gradient))
    np.testing.assert_allclose(clipped["b"], 4 / (5 + 1e-6), rtol=1e-6)
    short = {"a": jnp.array([0.3]), "b": jnp.array([0.4])}
    unchanged, _ = clip.update(short, clip.init(short))
    assert eqx.tree_equal(unchanged, short)


@pytest.mark.parametrize("schedule,half,end", [("constant", 0.5, 0.5), ("linear", 0.25, 0.0), ("cosine", 0.25, 0.0)])
def test_the_learning_rate_of_a_schedule(schedule, half, end):
    config = TiRGNTrainingConfig(lr_schedule=schedule, learning_rate=0.5)
    rate = learning_rate_schedule(config, 10)
    assert float(rate(0)) == 0.5
    assert float(rate(5)) == pytest.approx(half) and float(rate(10)) == pytest.approx(end)
    optimizer = make_optimizer(config.replace(weight_decay=0.0, grad_clip=0.0), 10)
    parameter = jnp.ones(2)
    state = optimizer.init(parameter)
    for step in range(10):
        # Adam's step on a constant gradient is the step size itself.
        update, state = optimizer.update(jnp.ones(2), state, parameter)
        np.testing.assert_allclose(update, -float(rate(step)), rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([0.3, 0.9, 0.999]), st.integers(1, 30))
def test_the_average_is_the_weighted_mean_of_all_weights(decay, steps):
    weights = np.random.default_rng(steps).normal(size=(steps + 1, 3))
    share = [1.0, *(max(1 - decay, 9 / (10 + t)) for t in range(1, steps + 1))]
    later = np.cumprod([1.0, *(1 - np.array(share[:0:-1]))])[::-1]
    expected = (np.array(share) * later) @ weights
    optimizer = moving_average(decay)
    state = optimizer.init(jnp.asarray(weights[0]))
    for now, then in zip(weights, weights[1:]):
        change, state = optimizer.update(jnp.asarray(then - now), state, jnp.asarray(now))
        np.testing.assert_allclose(change, then - now, rtol=1e-5)
    np.testing.assert_allclose(state.weights, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.ci
def test_the_averaged_model_has_the_averaged_weights_and_its_own_buffers():
    config = tiny_config(ema_decay=0.5)
    model = TiRGN(6, 2, config, None, key=jr.key(0))
    optimizer = make_optimizer(config)
    state = init_optimizer(optimizer, model)
    pairs = zip(jax.tree.leaves(state[-1].weights), jax.tree.leaves(eqx.filter(model, trainable(model))), strict=True)
    assert all(ours is not theirs for ours, theirs in pairs), "a step donates both"
    weights = eqx.filter(model, trainable(model))
    changes, state = optimizer.update(jax.tree.map(jnp.ones_like, weights), state, weights)
    stepped = eqx.apply_updates(model, changes)
    buffers = jax.tree.map(lambda x: x + 1, stepped.buffers)
    found = with_averaged_weights(stepped.with_buffers(buffers), state)
    assert eqx.tree_equal(found.buffers, buffers)

    # Of the first update counts max(1 - 0.5, 9 / 11).
    def mean(before, after):
        return before + 9 / 11 * (after - before)

    expected = jax.tree.map(mean, weights, eqx.filter(stepped, trainable(stepped)))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), eqx.filter(found, trainable(found)), expected
    )
    plain = make_optimizer(tiny_config())
    assert with_averaged_weights(model, init_optimizer(plain, model)) is model
    assert isinstance(plain, optax.GradientTransformation)


@pytest.mark.parametrize("limit", [0.0, 0.5])
def test_gradients_are_clipped_then_weights_decay_and_adam_sees_both(limit):
    """Four steps by hand, with gradients of very different sizes: in the first, Adam does not see how large one is."""
    config = TiRGNTrainingConfig(learning_rate=0.1, weight_decay=0.3, grad_clip=limit)
    optimizer, rng = make_optimizer(config), np.random.default_rng(0)
    weights = expected = np.array([1.5, -2.0, 0.5])
    state, first, second = optimizer.init(jnp.asarray(weights)), 0.0, 0.0
    for step, size in enumerate((5.0, 0.1, 2.0, 0.01), start=1):
        gradient = size * rng.normal(size=3)
        norm = np.sqrt(np.sum(gradient**2))
        clipped = gradient * min(1, limit / (norm + 1e-6)) if limit else gradient
        change, state = optimizer.update(jnp.asarray(gradient), state, jnp.asarray(weights))
        weights = weights + np.asarray(change, np.float64)
        decayed = clipped + 0.3 * expected
        first, second = 0.9 * first + 0.1 * decayed, 0.999 * second + 0.001 * decayed**2
        expected = expected - 0.1 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        np.testing.assert_allclose(weights, expected, rtol=1e-4)


def test_clipping_a_gradient_of_zeros_or_of_next_to_nothing():
    clip = clip_by_norm(1e-6)
    clipped, _ = clip.update(jnp.zeros(3), clip.init(jnp.zeros(3)))
    assert clipped.tolist() == [0, 0, 0]
    # PyTorch divides by the norm plus 1e-6, which is as much here.
    halved, _ = clip.update(jnp.array([1e-6, 0.0]), clip.init(jnp.zeros(2)))
    np.testing.assert_allclose(halved, [5e-7, 0], rtol=1e-5)
