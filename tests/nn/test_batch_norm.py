"""BatchNorm against PyTorch's definition; rows count by their weight."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import close, normal
from tests.nn.layer_helpers import normed, random_layer
from tirgn_eqx.nn import (
    BatchNorm,
)


def test_batch_norm(training):
    norm, x = random_layer(BatchNorm, 3), normal(1, 6, 3)
    out, running = norm.rows(jnp.asarray(x), jnp.ones(6), norm.running, training)
    apply, mean, var = normed(norm, list(x.T), training)
    close(out, np.stack([apply(x[:, c], c) for c in range(3)], 1))
    close(running.mean, mean)
    close(running.var, var)


def test_batch_norm_counts_rows_by_weight():
    norm, x = random_layer(BatchNorm, 3), normal(1, 5, 3)
    weight = np.array([1, 2, 0, 3, 0])
    repeated = np.repeat(x, weight, axis=0)
    out, running = norm.rows(jnp.asarray(x), jnp.asarray(weight, jnp.float32), norm.running, True)
    expected, expected_running = norm.rows(jnp.asarray(repeated), jnp.ones(6), norm.running, True)
    close(out[weight > 0], np.asarray(expected)[[0, 1, 3]])
    close(running.mean, expected_running.mean)
    close(running.var, expected_running.var)


@pytest.mark.parametrize("weight", [[0, 1, 0], [0, 0, 0]])
def test_batch_norm_of_one_row_or_none_uses_and_keeps_the_averages(weight):
    norm, x = random_layer(BatchNorm, 3), jnp.asarray(normal(1, 3, 3))
    out, running = norm.rows(x, jnp.asarray(weight, jnp.float32), norm.running, True)
    expected, _ = norm.rows(x, jnp.ones(3), norm.running, False)
    close(out[1], expected[1])
    close(running.mean, norm.running.mean)
    close(running.var, norm.running.var)
