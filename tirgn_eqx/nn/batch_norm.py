"""Batch normalisation with the semantics of PyTorch, for weighted rows.

A row of weight w counts w times: a query that w facts ask is decoded once, and a padded row has weight 0. The running
statistics are buffers inside the model. The trainable filter leaves them out, and layers return the updated ones beside
their output.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tirgn_eqx.nn.numerics import at_least_f32

EPSILON = 1e-5
MOMENTUM = 0.1


def weight_shares(
    weight: Float[Array, " row"], like: Float[Array, "*shape"]
) -> tuple[Float[Array, " row"], Float[Array, ""]]:
    """The share of every row in the total weight, and the total, both in the precision of `like`."""
    weight = weight.astype(like.dtype)
    count = jnp.sum(weight)
    # Where all rows are padding the total is 0, and the shares are 0 instead of NaN.
    return weight / jnp.maximum(count, 1), count


class RunningStatistics(eqx.Module):
    """Exponential averages of the batch mean and of the unbiased batch variance: buffers, never trained."""

    mean: Float[Array, " chan"]
    var: Float[Array, " chan"]

    def __init__(self, channels: int):
        self.mean = jnp.zeros(channels)
        self.var = jnp.ones(channels)

    def update(
        self, mean: Float[Array, " chan"], var: Float[Array, " chan"], count: Float[Array, ""]
    ) -> "RunningStatistics":
        """The averages after one more batch.

        **Arguments:** `mean`, `var`: of the batch, the variance biased; `count`: values per channel.
        """
        # PyTorch normalises by the biased variance of a batch and averages the unbiased one.
        unbiased = var * count / jnp.maximum(count - 1, 1)
        # A batch of fewer than two values has no variance.
        momentum = jnp.where(count > 1, MOMENTUM, 0.0).astype(self.mean.dtype)

        def blend(old: Array, new: Array) -> Array:
            return old + momentum * (jax.lax.stop_gradient(new).astype(old.dtype) - old)

        new = blend(self.mean, mean), blend(self.var, unbiased)
        return eqx.tree_at(_mean_and_var, self, new)  # pyright: ignore[reportUnknownMemberType]


def _mean_and_var(statistics: RunningStatistics) -> object:  # `tree_at` calls it with stand-ins for arrays
    return statistics.mean, statistics.var


class BatchNorm(eqx.Module):
    r"""Normalises every channel by its batch, or in inference by running averages (Ioffe and Szegedy, 2015).

    $$ y = \frac{x - \mu}{\sqrt{\sigma^2 + 10^{-5}}} \cdot weight + bias $$

    ```python
    import jax.numpy as jnp
    from tirgn_eqx.nn import BatchNorm

    norm = BatchNorm(3)
    x = jnp.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [9.0, 9.0, 9.0]])
    weight = jnp.array([1.0, 1.0, 0.0])  # the last row is padding
    y, running = norm.rows(x, weight, norm.running, training=True)
    assert jnp.allclose(y[:2].sum(0), 0, atol=1e-4) and jnp.allclose(running.mean, 0.2)
    ```
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
        """`(scale, shift)` with y = x * scale + shift, which a caller can fold into the next linear map."""
        scale = self.weight * jax.lax.rsqrt(var + EPSILON)
        return scale, self.bias - mean * scale

    def rows(
        self,
        x: Float[Array, "row chan"],
        weight: Float[Array, " row"],
        running: RunningStatistics,
        training: bool,
    ) -> tuple[Float[Array, "row chan"], RunningStatistics]:
        """Normalise the columns of `x`; a single row has no spread and is normalised by the running averages.

        **Arguments:** `x`: `(row, chan)`; `weight`: `(row,)`, how often a row counts; `running`: the buffers;
        `training`: by the batch, or else by `running`.

        **Returns:** the normalised rows and the new buffers (the old ones in inference).
        """
        values = at_least_f32(x)
        if training:
            share, count = weight_shares(weight, values)
            share = share[:, None]
            mean = jnp.sum(values * share, 0)
            # Two passes: E[x^2] - E[x]^2 cancels in f32 where the mean is large beside the spread.
            var = jnp.sum((values - mean) ** 2 * share, 0)
            # The released decoders skip this norm for a single query; here the running averages normalise it, as in
            # inference, and stay as they are (`update`).
            single = count <= 1
            mean = jnp.where(single, running.mean, mean)
            var = jnp.where(single, running.var, var)
            running = running.update(mean, var, count)
        else:
            mean, var = running.mean, running.var
        scale, shift = self.scale_and_shift(mean, var)
        return (values * scale + shift).astype(x.dtype), running
