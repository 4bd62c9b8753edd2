"""ConvTransE and ConvTransR, with and without time: a query becomes one vector.

The channels are two embeddings and, with time, two time vectors. They are normalised, convolved along the embedding
axis, normalised, flattened, and projected back to `dim`. The logits are inner products with the candidates. The two
decoders of a paper differ only in the two embeddings (TiRGN, section 3.3.1, equations 10 and 11; RE-GCN, section 3.3).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from tirgn_eqx.nn.batch_norm import BatchNorm, RunningStatistics, weight_shares
from tirgn_eqx.nn.feature_maps import projected_features, thin_product
from tirgn_eqx.nn.numerics import at_least_f32, dropout, einsum, mask_seeds

DecoderStatistics = tuple[RunningStatistics, RunningStatistics, RunningStatistics]


class DropoutRates(eqx.Module):
    """Dropout rates of a decoder: of its input channels, its feature maps and its output vector."""

    input: float = eqx.field(static=True)
    feature: float = eqx.field(static=True)
    hidden: float = eqx.field(static=True)


class ConvDecoder(eqx.Module):
    """BatchNorm, convolution inputs -> chan, BatchNorm, ReLU, projection chan * dim -> dim, BatchNorm, ReLU.

    The convolution is one product of unfolded patches with `filters`. Its BatchNorm needs no pass over the
    [query, dim, chan] feature maps: with patches u, the mean and variance of w.u + b are w.mean(u) + b and w' cov(u) w.

    ```python
    import jax.numpy as jnp
    import jax.random as jr
    from tirgn_eqx.nn import ConvDecoder, DropoutRates

    decoder = ConvDecoder(8, channels=3, kernel=3, inputs=2, key=jr.key(0))
    subject, relation = jr.normal(jr.key(1), (5, 8)), jr.normal(jr.key(2), (5, 8))
    vectors, _ = decoder(
        subject, relation, (), jnp.ones(5), decoder.running,
        rates=DropoutRates(0.2, 0.2, 0.2), training=False, key=None,
    )
    logits = vectors @ jr.normal(jr.key(3), (10, 8)).T  # of ten candidates
    assert logits.shape == (5, 10)
    ```
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
        """**Arguments:** `dim`: width of the embeddings; `channels`, `kernel`: number and (odd) width of the filters;
        `inputs`: 2 embeddings plus the time vectors; `key`: of the initialisation, that of PyTorch's layers."""
        fkey, bkey, pkey, pbkey = jr.split(key, 4)
        # PyTorch's initialisation of convolutions and linear layers: uniform within 1 / sqrt(fan in).
        bound, size = (inputs * kernel) ** -0.5, inputs * kernel
        self.filters = jr.uniform(fkey, (size, channels), minval=-bound, maxval=bound)
        self.filter_bias = jr.uniform(bkey, (channels,), minval=-bound, maxval=bound)
        bound = (channels * dim) ** -0.5
        self.project = jr.uniform(pkey, (dim * channels, dim), minval=-bound, maxval=bound)
        self.project_bias = jr.uniform(pbkey, (dim,), minval=-bound, maxval=bound)
        self.norm_input, self.norm_feature = BatchNorm(inputs), BatchNorm(channels)
        self.norm_hidden = BatchNorm(dim)
        self.kernel = kernel

    @property
    def running(self) -> DecoderStatistics:
        """The buffers of the three BatchNorms, in the order of their use."""
        return self.norm_input.running, self.norm_feature.running, self.norm_hidden.running

    @jax.named_scope("tirgn.conv_decoder")
    def __call__(
        self,
        first: Float[Array, "query dim"],
        second: Float[Array, "query dim"],
        times: tuple[Float[Array, " dim"], ...],
        weight: Float[Array, " query"],
        running: DecoderStatistics,
        *,
        rates: DropoutRates,
        training: bool,
        key: PRNGKeyArray | None,
    ) -> tuple[Float[Array, "query dim"], DecoderStatistics]:
        """Decode every query.

        **Arguments:**

        - `first`, `second`: the two embeddings of every query, `(query, dim)` each.
        - `times`: the time vectors of the target, `(dim,)` each, or an empty tuple.
        - `weight`: `(query,)`, how many facts ask the query; 0 for padding.
        - `running`: the buffers of the three BatchNorms; `training`: normalise by the batch, not by `running`.
        - `rates`, `key`: dropout, none where `key` is None.

        **Returns:** the vectors `(query, dim)` to multiply with candidates, and the new buffers (the old ones in
        inference).
        """
        ikey, fkey, hkey = (None, None, None) if key is None else jr.split(key, 3)
        dtype = first.dtype
        # Cast to the compute type only after this norm: the linear time vector is unbounded, and the norm alone brings
        # it to the scale of the other channels.
        x, input_running = self._normalized_input(first, second, times, weight, running[0], training)
        x = dropout(x.astype(dtype), rates.input, ikey)
        patches = self._patches(x)
        scale, shift, feature_running = self._feature_norm(patches, weight, running[1], training)
        # Folding the normalisation into the filters leaves one pass over the feature maps.
        filters = (at_least_f32(self.filters) * scale).astype(dtype)
        rate = 0.0 if fkey is None else rates.feature
        # The custom gradient has a fixed number of arguments, so without dropout it gets seeds that are not used.
        seeds = jnp.zeros(2, jnp.uint32) if fkey is None else mask_seeds(fkey)
        hidden = projected_features(rate, patches, filters, shift, self.project, seeds)
        hidden = hidden + self.project_bias.astype(dtype)
        hidden = dropout(hidden, rates.hidden, hkey)
        hidden, hidden_running = self.norm_hidden.rows(hidden, weight, running[2], training)
        return jax.nn.relu(hidden), (input_running, feature_running, hidden_running)

    def _normalized_input(
        self,
        first: Float[Array, "query dim"],
        second: Float[Array, "query dim"],
        times: tuple[Float[Array, " dim"], ...],
        weight: Float[Array, " query"],
        running: RunningStatistics,
        training: bool,
    ) -> tuple[Float[Array, "query chan dim"], RunningStatistics]:
        """The input channels after their BatchNorm."""
        # The time vectors are the same for all queries, and count in the statistics once for every query.
        channels = [at_least_f32(first), at_least_f32(second)]
        channels += [jnp.broadcast_to(at_least_f32(time), first.shape) for time in times]
        x = jnp.stack(channels, 1)
        if training:
            # One mean and variance per channel, over queries and positions; x is (query, channel, dim).
            share, count = weight_shares(weight, x)
            mean = einsum("ucd,u->c", x, share) / x.shape[2]
            var = einsum("ucd,u->c", (x - mean[:, None]) ** 2, share) / x.shape[2]
            running = running.update(mean, var, count * x.shape[2])
        else:
            mean, var = running.mean, running.var
        scale, shift = self.norm_input.scale_and_shift(mean, var)
        return x * scale[:, None] + shift[:, None], running

    def _patches(self, x: Float[Array, "query chan dim"]) -> Float[Array, "query dim patch"]:
        """Zero-padded neighbourhoods along `dim`; patch entry = tap * inputs + channel."""
        # With kernel 3, the patch of position 0 is [0, x0, x1]: half a kernel of zeros on either side keeps the width.
        reach = self.kernel // 2
        padded = jnp.pad(x, ((0, 0), (0, 0), (reach, reach)))  # pyright: ignore[reportUnknownMemberType]
        taps = [padded[:, :, tap : tap + x.shape[2]] for tap in range(self.kernel)]
        # (query, tap * channel, dim) to (query, dim, tap * channel): one product with `filters` is the convolution.
        return jnp.concatenate(taps, 1).transpose(0, 2, 1)

    def _feature_norm(
        self,
        patches: Float[Array, "query dim patch"],
        weight: Float[Array, " query"],
        running: RunningStatistics,
        training: bool,
    ) -> tuple[Float[Array, " chan"], Float[Array, " chan"], RunningStatistics]:
        """Scale of the filters and shift of the feature maps: BatchNorm of `patches @ filters + filter_bias`."""
        filters, bias = at_least_f32(self.filters), at_least_f32(self.filter_bias)
        if training:
            values = at_least_f32(patches)
            share, rows = weight_shares(weight, values)
            count = rows * patches.shape[1]
            # A query's share is divided among its `dim` patches; the rows of `weighted` are all patches of all queries.
            weighted = (values * (share[:, None, None] / patches.shape[1])).reshape(-1, values.shape[2])
            patch_mean = jnp.sum(weighted, 0)
            # The input is normalised, so subtracting the mean after the sum cancels no digits.
            covariance = thin_product(weighted, values.reshape(weighted.shape), values.dtype) - jnp.outer(
                patch_mean, patch_mean
            )
            mean = patch_mean @ filters + bias
            # The diagonal of filters' cov filters, without the products of different filters.
            var = jnp.sum(filters * (covariance @ filters), 0)
            running = running.update(mean, var, count)
        else:
            mean, var = running.mean, running.var
        scale, shift = self.norm_feature.scale_and_shift(mean, var)
        # The caller multiplies patches by filters * scale, so the bias of the filters is scaled here.
        return scale, shift + bias * scale, running
