r"""The relational graph layer of TiRGN, with the sum over edges taken before the matrix product.

The released layer stacks h_u and rel_r of every edge (u, r, v) as two channels, normalises each over all edges and
positions (BatchNorm), mixes them by a 1x1 convolution, multiplies by W_neighbor, and averages over the in-edges of v.
All of this is linear in the edge, so the average can be taken first:

$$ agg_v = a \bar h_v + b \bar r_v + c, \qquad out_v = agg_v W_{neighbor} + h_v W_{loop} $$

The bars are means over in-edges, and the scalars a, b, c come from the BatchNorm statistics. These need no tensor of
edges either: every fact has its inverse, so entity u is the source of `degree[u]` edges.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from tirgn_eqx.nn.batch_norm import BatchNorm, RunningStatistics
from tirgn_eqx.nn.numerics import at_least_f32, dropout, rrelu, xavier_uniform
from tirgn_eqx.nn.segments import put_rows, segment_mean, take_rows
from tirgn_eqx.types import Window


def channel_statistics(
    rows: Float[Array, "row dim"], count: Float[Array, " row"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean and biased variance of all values in `rows`, where row i counts `count[i]` times."""
    values, count = at_least_f32(rows), at_least_f32(count)
    # At least one row, so that a padded snapshot without edges gives 0 and not NaN.
    total = jnp.maximum(jnp.sum(count), 1) * rows.shape[1]
    mean = jnp.sum(jnp.sum(values, 1) * count) / total
    var = jnp.sum(jnp.sum((values - mean) ** 2, 1) * count) / total
    return mean, var


class GraphConvolution(eqx.Module):
    """One graph layer: neighbours, self loop, leaky ReLU, dropout (TiRGN, section 3.2.1; released code).

    An entity without an edge in the snapshot has a weight of its own: out = rrelu(h W_isolated).

    ```python
    import jax
    import jax.numpy as jnp
    import jax.random as jr
    from tirgn_eqx.nn import GraphConvolution
    from tirgn_eqx.types import Window

    # One fact (0, 0, 1), which has the inverse (1, 1, 0); entity 2 has no edge.
    window = Window(
        valid=jnp.array([True]), active=jnp.array([[0, 1]]), degree=jnp.ones((1, 2)),
        edge_source=jnp.array([[1, 0]]), edge_relation=jnp.array([[1, 0]]), edge_target=jnp.array([[0, 1]]),
        relation_count=jnp.ones((1, 2)), pair_entity=jnp.array([[0, 1]]), pair_relation=jnp.array([[0, 0]]),
    )
    snapshot = jax.tree.map(lambda x: x[0], window)
    layer = GraphConvolution(8, key=jr.key(0))
    state, relations = jnp.ones((3, 8)), jnp.ones((2, 8))
    out, _ = layer(
        state, relations, relations[snapshot.edge_relation], snapshot, layer.norm.running,
        rate=0.0, training=False, key=None,
    )
    assert out.shape == (3, 8) and jnp.allclose(out[2], layer.isolated(state)[2])
    ```
    """

    weight_neighbor: Float[Array, "dim dim"]
    weight_loop: Float[Array, "dim dim"]
    weight_isolated: Float[Array, "dim dim"]
    mix: Float[Array, " 2"]
    mix_bias: Float[Array, ""]
    norm: BatchNorm

    def __init__(self, dim: int, *, key: PRNGKeyArray):
        """**Arguments:** `dim`: width of entity and relation states; `key`: of the initialisation."""
        nkey, lkey, ikey, mkey, bkey = jr.split(key, 5)
        self.weight_neighbor = xavier_uniform(nkey, dim, dim)
        self.weight_loop = xavier_uniform(lkey, dim, dim)
        self.weight_isolated = xavier_uniform(ikey, dim, dim)
        # PyTorch's initialisation of a 1x1 convolution of two channels: uniform within 1 / sqrt(fan in).
        bound = 2**-0.5
        self.mix = jr.uniform(mkey, (2,), minval=-bound, maxval=bound)
        self.mix_bias = jr.uniform(bkey, (), minval=-bound, maxval=bound)
        self.norm = BatchNorm(2)

    @jax.named_scope("tirgn.graph_conv")
    def __call__(
        self,
        state: Float[Array, "entity dim"],
        relations: Float[Array, "rel2 dim"],
        relation_mean: Float[Array, "active dim"],
        snapshot: Window,
        running: RunningStatistics,
        *,
        rate: float,
        training: bool,
        key: PRNGKeyArray | None,
    ) -> tuple[Float[Array, "entity dim"], RunningStatistics]:
        """Apply the layer to every entity.

        **Arguments:**

        - `state`: `(entity, dim)`; `relations`: evolved relations `(rel2, dim)`.
        - `relation_mean`: `(active, dim)`, the mean of `relations` over the in-edges of every active entity.
        - `snapshot`: one snapshot of a `Window`, without its time axis.
        - `running`: the BatchNorm buffers of this layer; `training`: normalise by the snapshot, not by `running`.
        - `rate`, `key`: dropout.

        **Returns:** the new states `(entity, dim)` and the new buffers (the old ones in inference).
        """
        # Padded positions lie past the table; they read zeros here and are dropped by `put_rows` below.
        active = take_rows(state, snapshot.active)
        # Exact duplicates count twice in the sum and in the degree (released code).
        neighbor_mean = segment_mean(
            take_rows(active, snapshot.edge_source, padded=False), snapshot.edge_target, snapshot.degree
        )
        if training:
            # Over edges, entity u counts as often as it is a source, which is its degree.
            entity_mean, entity_var = channel_statistics(active, snapshot.degree)
            # Likewise, a relation counts once for each of its edges.
            rel_mean, rel_var = channel_statistics(relations, snapshot.relation_count)
            mean, var = jnp.stack([entity_mean, rel_mean]), jnp.stack([entity_var, rel_var])
            count = jnp.sum(at_least_f32(snapshot.degree)) * state.shape[1]
            running = running.update(mean, var, count)
        else:
            mean, var = running.mean, running.var
        scale, shift = self.norm.scale_and_shift(mean, var)
        # a, b and c of the module's equation: the BatchNorm's scale and shift, mixed by the 1x1 convolution.
        entity_factor, relation_factor = self.mix * scale
        constant = jnp.sum(self.mix * shift) + self.mix_bias
        aggregate = entity_factor * neighbor_mean + relation_factor * relation_mean + constant
        # The mean over edges was summed in f32; only the matrix products run in the compute type.
        aggregate = aggregate.astype(state.dtype)
        connected = aggregate @ self.weight_neighbor + active @ self.weight_loop
        # The product for isolated entities is taken for all, then overwritten where an entity has an edge.
        out = put_rows(state @ self.weight_isolated, connected, snapshot.active)
        return dropout(rrelu(out), rate, key), running

    def isolated(self, state: Float[Array, "entity dim"]) -> Float[Array, "entity dim"]:
        """The layer, in inference, for entities without an edge."""
        return rrelu(state @ self.weight_isolated)
