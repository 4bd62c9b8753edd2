"""Batch normalisation with PyTorch's semantics, for weighted rows.

A row of weight w counts w times, so that a question asked by w facts is decoded once, and a padded row has
weight 0. Running statistics are buffers inside the model: the trainable filter leaves them out, and layers
return the updated ones beside their output.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tirgn_eqx.nn.numerics import wide

EPSILON = 1e-5
MOMENTUM = 0.1


def shares(weight: Float[Array, " row"], like: Float[Array, "*shape"]) -> tuple[Float[Array, " row"], Float[Array, ""]]:
    """(each row's share of the total weight, the total), in the precision of `like`."""
    weight = weight.astype(like.dtype)
    count = jnp.sum(weight)
    return weight / jnp.maximum(count, 1), count


class RunningStatistics(eqx.Module):
    """Exponential averages of batch mean and unbiased batch variance: buffers, never trained."""

    mean: Float[Array, " chan"]
    var: Float[Array, " chan"]

    def __init__(self, channels: int):
        self.mean = jnp.zeros(channels)
        self.var = jnp.ones(channels)

    def updated(
        self, mean: Float[Array, " chan"], var: Float[Array, " chan"], count: Float[Array, ""]
    ) -> "RunningStatistics":
        """The averages after a batch of `count` values per channel with biased variance `var`."""
        unbiased = var * count / jnp.maximum(count - 1, 1)
        # A batch without two values says nothing about a variance.
        momentum = jnp.where(count > 1, MOMENTUM, 0.0).astype(self.mean.dtype)
        step = lambda old, new: old + momentum * (jax.lax.stop_gradient(new).astype(old.dtype) - old)
        return eqx.tree_at(lambda s: (s.mean, s.var), self, (step(self.mean, mean), step(self.var, unbiased)))


class BatchNorm(eqx.Module):
    """y = (x - mean) / sqrt(var + 1e-5) * weight + bias, per channel.

    `scale_and_shift` turns statistics into one multiply-add, so that callers can fold it into what follows.
    """

    weight: Float[Array, " chan"]
    bias: Float[Array, " chan"]
    running: RunningStatistics

    def __init__(self, channels: int):
        self.weight = jnp.ones(channels)
        self.bias = jnp.zeros(channels)
        self.running = RunningStatistics(channels)

    def scale_and_shift(
        self, mean: Float[Array, " chan"], var: Float[Array, " chan"]
    ) -> tuple[Float[Array, " chan"], Float[Array, " chan"]]:
        """(scale, shift) with y = x * scale + shift."""
        scale = self.weight * jax.lax.rsqrt(var + EPSILON)
        return scale, self.bias - mean * scale

    def rows(
        self,
        x: Float[Array, "row chan"],
        weight: Float[Array, " row"],
        running: RunningStatistics,
        training: bool,
    ) -> tuple[Float[Array, "row chan"], RunningStatistics]:
        """Normalise each column of `x` over its weighted rows (by the running averages in inference).

        One row alone has no spread: it is normalised by the running averages too.
        """
        values = wide(x)
        if training:
            share, count = shares(weight, values)
            share = share[:, None]
            mean = jnp.sum(values * share, 0)
            var = jnp.sum((values - mean) ** 2 * share, 0)
            alone = count <= 1
            mean = jnp.where(alone, running.mean, mean)
            var = jnp.where(alone, running.var, var)
            running = running.updated(mean, var, count)
        else:
            mean, var = running.mean, running.var
        scale, shift = self.scale_and_shift(mean, var)
        return (values * scale + shift).astype(x.dtype), running
