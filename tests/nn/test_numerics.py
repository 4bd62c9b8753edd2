import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.helpers import close, normal
from tirgn_eqx.nn.numerics import dropout, keep_mask, l2_normalize, mask_seeds

DIM = 4


def test_l2_normalize():
    x = normal(0, 4, DIM)
    x[1] = 0
    x[2] *= 1e-8
    close(l2_normalize(jnp.asarray(x)), x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))
    weights = normal(1, 4, DIM)
    gradient = np.asarray(jax.grad(lambda x: jnp.sum(l2_normalize(x) * weights))(jnp.asarray(x)))
    assert np.abs(gradient[1]).max() < 10  # finite, and no 1e12 either
    unit, length = x[0] / np.linalg.norm(x[0]), np.linalg.norm(x[0])
    close(gradient[0], (weights[0] - unit * (unit @ weights[0])) / length)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_l2_normalize_has_finite_gradients_at_zero_in_every_type(dtype):
    gradient = jax.grad(lambda x: jnp.sum(l2_normalize(x).astype(jnp.float32)))(jnp.zeros((2, DIM), dtype))
    assert gradient.dtype == dtype and bool(jnp.all(jnp.isfinite(gradient)))


def test_dropout_is_the_identity_without_key_or_rate():
    x = jnp.asarray(normal(0, 3, DIM))
    assert dropout(x, 0.5, None) is x and dropout(x, 0.0, jr.key(0)) is x


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(rate):
    count = 40_000
    out = np.asarray(dropout(jnp.ones((200, 200)), rate, jr.key(3)))
    kept = out != 0
    assert np.allclose(out[kept], 1 / (1 - rate))
    # Five standard deviations of a binomial share.
    assert abs(kept.mean() - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / count)


def correlation(a, b):
    return abs(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_dropout_masks_of_two_keys_and_of_neighbours_are_independent():
    count, limit = 40_000, 5 / np.sqrt(40_000)

    def mask(key, shape=(200, 200)):
        return np.asarray(keep_mask(shape, 0.5, mask_seeds(key))).astype(float)

    base = mask(jr.key(0))
    assert np.array_equal(base, mask(jr.key(0)))
    others = [jr.key(1), jr.fold_in(jr.key(0), 1), *jr.split(jr.key(0), 3)]
    for other in map(mask, others):
        assert correlation(base, other) < limit
        # A mask is a hash of the element's number: another key must not give it shifted by a few.
        flat, late = base.ravel(), other.ravel()
        assert max(correlation(flat[s:], late[: count - s]) for s in (1, 2, 200)) < 1.1 * limit
    for shift in (1, 2, 3, 200):
        assert correlation(base.ravel()[shift:], base.ravel()[:-shift]) < 1.1 * limit
    assert correlation(base.mean(0), np.arange(200)) < 5 / np.sqrt(200)
    # A mask depends on the number of the element and not on how the array is cut.
    assert np.array_equal(mask(jr.key(0), (400, 100)).ravel(), base.ravel())
