"""Gated recurrent unit with PyTorch's gates, over rows."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from tirgn_eqx.nn.numerics import wide


class GRUCell(eqx.Module):
    """h' = (1 - z) n + z h with n = tanh(W_in x + b_in + r (W_hn h + b_hn)) (Cho et al., 2014).

    The three gates (reset, update, new) share one matrix product per operand. Weights multiply from the
    right, so that no product needs a transposed operand in the forward pass.
    """

    weight_input: Float[Array, "input dim*3"]
    weight_hidden: Float[Array, "dim dim*3"]
    bias_input: Float[Array, " dim*3"]
    bias_hidden: Float[Array, " dim*3"]

    def __init__(self, input_size: int, dim: int, *, key: PRNGKeyArray):
        bound = dim**-0.5
        uniform = lambda key, *shape: jr.uniform(key, shape, minval=-bound, maxval=bound)
        ikey, hkey, bikey, bhkey = jr.split(key, 4)
        self.weight_input = uniform(ikey, input_size, 3 * dim)
        self.weight_hidden = uniform(hkey, dim, 3 * dim)
        self.bias_input = uniform(bikey, 3 * dim)
        self.bias_hidden = uniform(bhkey, 3 * dim)

    @jax.named_scope("tirgn.gru")
    def __call__(self, x: Float[Array, "row input"], h: Float[Array, "row dim"]) -> Float[Array, "row dim"]:
        from_input = x @ self.weight_input
        from_hidden = h @ self.weight_hidden
        x_reset, x_update, x_new = jnp.split(wide(from_input) + wide(self.bias_input), 3, -1)
        h_reset, h_update, h_new = jnp.split(wide(from_hidden) + wide(self.bias_hidden), 3, -1)
        reset = jax.nn.sigmoid(x_reset + h_reset)
        update = jax.nn.sigmoid(x_update + h_update)
        new = jnp.tanh(x_new + reset * h_new)
        return ((1 - update) * new + update * wide(h)).astype(h.dtype)
