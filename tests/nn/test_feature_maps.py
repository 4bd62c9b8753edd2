"""Feature maps in chunks, with a gradient by hand, against the same operation written plainly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import normal
from tirgn_eqx.nn import feature_maps
from tirgn_eqx.nn.feature_maps import projected_features, thin_product
from tirgn_eqx.nn.numerics import keep_mask

NUM_QUERIES, DIM, PATCH, CHAN, OUT = 7, 4, 6, 3, 5
SEEDS = jnp.array([7, 9], jnp.uint32)


def plain(rate, patches, filters, shift, project):
    """What PyTorch users write, the dropout mask being that of the whole array."""
    features = jax.nn.relu(patches @ filters + shift)
    if rate:
        features = jnp.where(keep_mask(features.shape, rate, SEEDS), features / (1 - rate), 0)
    return features.reshape(len(patches), -1) @ project


@pytest.fixture
def arguments():
    shapes = [(NUM_QUERIES, DIM, PATCH), (PATCH, CHAN), (CHAN,), (DIM * CHAN, OUT)]
    return tuple(normal(seed, *shape) for seed, shape in enumerate(shapes))


@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("chunk", [2, 3, 7, 100])
def test_value_and_gradient_do_not_depend_on_the_chunk(arguments, monkeypatch, rate, chunk):
    monkeypatch.setattr(feature_maps, "CHUNK", chunk)
    weights = normal(9, NUM_QUERIES, OUT)

    def ours(*a):
        return jnp.sum(jnp.sin(projected_features(rate, *a, SEEDS)) * weights)

    def theirs(*a):
        return jnp.sum(jnp.sin(plain(rate, *a)) * weights)

    found, gradients = jax.jit(jax.value_and_grad(ours, argnums=(0, 1, 2, 3)))(*arguments)
    expected, references = jax.value_and_grad(theirs, argnums=(0, 1, 2, 3))(*arguments)
    assert float(found) == pytest.approx(float(expected), rel=1e-12)
    for gradient, reference in zip(gradients, references):
        assert gradient.dtype == reference.dtype
        np.testing.assert_allclose(gradient, reference, rtol=1e-10, atol=1e-12)


def test_bf16_gradients_come_in_the_types_of_their_arguments(arguments, monkeypatch):
    monkeypatch.setattr(feature_maps, "CHUNK", 4)
    patches, filters, shift, project = (jnp.asarray(x, jnp.float32) for x in arguments)
    half = [x.astype(jnp.bfloat16) for x in (patches, filters, project)]

    def run(p, f, s, w):
        return jnp.sum(projected_features(0.0, p, f, s, w, SEEDS).astype(jnp.float32))

    gradients = jax.grad(run, argnums=(0, 1, 2, 3))(half[0], half[1], shift, half[2])
    assert [str(g.dtype) for g in gradients] == ["bfloat16", "bfloat16", "float32", "bfloat16"]
    exact = jax.grad(run, argnums=(0, 1, 2, 3))(patches, filters, shift, project)
    for rough, reference in zip(gradients, exact):
        largest = float(jnp.max(jnp.abs(reference)))
        np.testing.assert_allclose(rough.astype(jnp.float32), reference, atol=0.1 * largest)


@pytest.mark.parametrize("rows", [1, 2, 6, 8])
def test_thin_product(rows):
    left, right = normal(1, rows, 3).astype(np.float32), normal(2, rows, 5).astype(np.float32)
    found = thin_product(jnp.asarray(left), jnp.asarray(right), jnp.float32)
    np.testing.assert_allclose(found, left.T @ right, rtol=1e-5, atol=1e-6)
