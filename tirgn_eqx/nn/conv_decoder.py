"""ConvTransE and ConvTransR, with and without time: a question becomes one vector.

Two embeddings and, with time, the two time vectors are the channels: they are normalised, convolved along the
embedding axis, normalised, flattened, and projected back to `dim`. The scores are products with the candidates. The
two decoders of a paper differ only in what the two embeddings are (TiRGN, section 3.3.1, equations 10 and 11; RE-GCN,
section 3.3).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from tirgn_eqx.nn.batch_norm import BatchNorm, RunningStatistics, shares
from tirgn_eqx.nn.feature_maps import projected_features, thin_product
from tirgn_eqx.nn.numerics import dropout, mask_seeds, wide

Running = tuple[RunningStatistics, RunningStatistics, RunningStatistics]


class Dropouts(eqx.Module):
    """Dropout rates of a decoder: on its input channels, its feature maps, its output vector."""

    input: float = eqx.field(static=True)
    feature: float = eqx.field(static=True)
    hidden: float = eqx.field(static=True)


class ConvDecoder(eqx.Module):
    """BatchNorm, convolution inputs -> chan, BatchNorm, ReLU, projection chan * dim -> dim, BatchNorm, ReLU.

    The convolution is one product of unfolded patches with `filters`. Its BatchNorm needs no pass over the
    [unit, dim, chan] feature maps: with patches u, mean and variance of w.u + b are w.mean(u) + b and
    w' cov(u) w, exactly.
    """

    filters: Float[Array, "patch chan"]
    filter_bias: Float[Array, " chan"]
    project: Float[Array, "dim*chan dim"]
    project_bias: Float[Array, " dim"]
    norm_input: BatchNorm
    norm_feature: BatchNorm
    norm_hidden: BatchNorm
    kernel: int = eqx.field(static=True)

    def __init__(self, dim: int, channels: int, kernel: int, *, inputs: int = 4, key: PRNGKeyArray):
        """**Arguments:** `inputs`: 2 embeddings and as many time vectors as each question comes with."""
        fkey, bkey, pkey, pbkey = jr.split(key, 4)
        uniform = lambda key, bound, *shape: jr.uniform(key, shape, minval=-bound, maxval=bound)
        conv_bound, project_bound = (inputs * kernel) ** -0.5, (channels * dim) ** -0.5
        self.filters = uniform(fkey, conv_bound, inputs * kernel, channels)
        self.filter_bias = uniform(bkey, conv_bound, channels)
        self.project = uniform(pkey, project_bound, dim * channels, dim)
        self.project_bias = uniform(pbkey, project_bound, dim)
        self.norm_input, self.norm_feature = BatchNorm(inputs), BatchNorm(channels)
        self.norm_hidden = BatchNorm(dim)
        self.kernel = kernel

    @property
    def running(self) -> Running:
        return self.norm_input.running, self.norm_feature.running, self.norm_hidden.running

    @jax.named_scope("tirgn.conv_decoder")
    def __call__(
        self,
        first: Float[Array, "unit dim"],
        second: Float[Array, "unit dim"],
        times: tuple[Float[Array, " dim"], ...],
        weight: Float[Array, " unit"],
        running: Running,
        *,
        rates: Dropouts,
        training: bool,
        key: PRNGKeyArray | None,
    ) -> tuple[Float[Array, "unit dim"], Running]:
        """Decode every unit.

        **Arguments:** `first`, `second`: the two embeddings of each question; `times`: linear and periodic
        time vector of the target, or none; `weight`: how many facts ask each question (0 = padding); `running`: the
        three BatchNorms' buffers; `rates`, `key`: dropout.

        **Returns:** the vectors to multiply with candidates, and the new buffers (the old in inference).
        """
        ikey, fkey, hkey = (None, None, None) if key is None else jr.split(key, 3)
        dtype = first.dtype
        x, input_running = self._normalized_input(first, second, times, weight, running[0], training)
        x = dropout(x.astype(dtype), rates.input, ikey)
        patches = self._patches(x)
        scale, shift, feature_running = self._feature_norm(patches, weight, running[1], training)
        # Folding the normalisation into the filters leaves one pass over the feature maps.
        filters = (wide(self.filters) * scale).astype(dtype)
        rate = 0.0 if fkey is None else rates.feature
        seeds = jnp.zeros(2, jnp.uint32) if fkey is None else mask_seeds(fkey)
        hidden: Any = projected_features(rate, patches, filters, shift, self.project, seeds)
        hidden = hidden + self.project_bias.astype(dtype)
        hidden = dropout(hidden, rates.hidden, hkey)
        hidden, hidden_running = self.norm_hidden.rows(hidden, weight, running[2], training)
        return jax.nn.relu(hidden), (input_running, feature_running, hidden_running)

    def _normalized_input(self, first, second, times, weight, running, training):
        """The input channels `(unit, chan, dim)` after their BatchNorm."""
        channels = [wide(first), wide(second), *(jnp.broadcast_to(wide(t), first.shape) for t in times)]
        x = jnp.stack(channels, 1)
        if training:
            share, count = shares(weight, x)
            mean = jnp.einsum("ucd,u->c", x, share) / x.shape[2]
            var = jnp.einsum("ucd,u->c", (x - mean[:, None]) ** 2, share) / x.shape[2]
            running = running.updated(mean, var, count * x.shape[2])
        else:
            mean, var = running.mean, running.var
        scale, shift = self.norm_input.scale_and_shift(mean, var)
        return x * scale[:, None] + shift[:, None], running

    def _patches(self, x: Float[Array, "unit chan dim"]) -> Float[Array, "unit dim patch"]:
        """Zero-padded neighbourhoods along `dim`; patch entry = tap * inputs + channel."""
        reach = self.kernel // 2
        padded = jnp.pad(x, ((0, 0), (0, 0), (reach, reach)))
        taps = [padded[:, :, tap : tap + x.shape[2]] for tap in range(self.kernel)]
        return jnp.concatenate(taps, 1).transpose(0, 2, 1)

    def _feature_norm(self, patches, weight, running, training):
        """(scale, shift) of filters and feature maps: BatchNorm of `patches @ filters + filter_bias`."""
        filters, bias = wide(self.filters), wide(self.filter_bias)
        if training:
            values = wide(patches)
            share, rows = shares(weight, values)
            count = rows * patches.shape[1]
            weighted = (values * (share[:, None, None] / patches.shape[1])).reshape(-1, values.shape[2])
            patch_mean = jnp.sum(weighted, 0)
            # The input was normalised, so nothing is lost by taking the mean off the sums.
            covariance = thin_product(weighted, values.reshape(weighted.shape), values.dtype) - jnp.outer(
                patch_mean, patch_mean
            )
            mean = patch_mean @ filters + bias
            var = jnp.sum(filters * (covariance @ filters), 0)
            running = running.updated(mean, var, count)
        else:
            mean, var = running.mean, running.var
        scale, shift = self.norm_feature.scale_and_shift(mean, var)
        return scale, shift + bias * scale, running
