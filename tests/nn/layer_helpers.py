"""Layers with random numbers everywhere, and slow definitions to compare them with, in float64."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from tirgn_eqx.nn import (
    BatchNorm,
    DropoutRates,
)

DIM, SLOPE = 4, (1 / 8 + 1 / 3) / 2
NO_DROPOUT = DropoutRates(0.0, 0.0, 0.0)


def random_layer(make, *sizes):
    """A layer with random numbers everywhere, variances positive: no initial value can hide a mistake."""
    skeleton = eqx.filter_eval_shape(make, *sizes, **{} if make is BatchNorm else {"key": jr.key(0)})
    rng = np.random.default_rng(0)

    def new(path, leaf):
        values = rng.uniform(0.4, 1.5, leaf.shape)
        sign = 1.0 if jax.tree_util.keystr(path).endswith(".var") else rng.choice([-1.0, 1.0], leaf.shape)
        return jnp.asarray(values * sign)

    return jax.tree.map_with_path(new, skeleton)


def numbers(layer):
    """The layer's arrays as NumPy ones, by attribute."""
    return SimpleNamespace(**{name: np.asarray(v) for name, v in vars(layer).items() if eqx.is_array(v)})


def rrelu(x):
    return np.where(x >= 0, x, SLOPE * x)


def normed(norm, samples, training):
    """(function that normalises channel c of a value, running mean, running var after it), PyTorch's way.

    `samples[c]`: all values of channel c of the batch.
    """
    p, running = numbers(norm), numbers(norm.running)
    mean, var = running.mean.copy(), running.var.copy()
    new_mean, new_var = mean.copy(), var.copy()
    if training:
        for c, values in enumerate(samples):
            mean[c], var[c] = np.mean(values), np.var(values)
            new_mean[c] = 0.9 * new_mean[c] + 0.1 * np.mean(values)
            new_var[c] = 0.9 * new_var[c] + 0.1 * np.var(values, ddof=1)

    def apply(x, c):
        return (x - mean[c]) / np.sqrt(var[c] + 1e-5) * p.weight[c] + p.bias[c]

    return apply, new_mean, new_var
