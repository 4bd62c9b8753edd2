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
        return _gru(self.weight_input, self.weight_hidden, self.bias_input, self.bias_hidden, x, h)


@jax.custom_vjp
def _gru(weight_input, weight_hidden, bias_input, bias_hidden, x, h):
    """The cell, with a gradient written by hand.

    It keeps the four gates alone for the backward pass: a third less memory than what automatic differentiation keeps
    (nine steps over [7128, 200] in f32 on a CPU), and a few percent of the time.
    """
    return _forward(weight_input, weight_hidden, bias_input, bias_hidden, x, h)[0]


def _forward(weight_input, weight_hidden, bias_input, bias_hidden, x, h):
    x_reset, x_update, x_new = jnp.split(wide(x @ weight_input) + wide(bias_input), 3, -1)
    h_reset, h_update, h_new = jnp.split(wide(h @ weight_hidden) + wide(bias_hidden), 3, -1)
    reset = jax.nn.sigmoid(x_reset + h_reset)
    update = jax.nn.sigmoid(x_update + h_update)
    new = jnp.tanh(x_new + reset * h_new)
    out = ((1 - update) * new + update * wide(h)).astype(h.dtype)
    gates = tuple(gate.astype(h.dtype) for gate in (reset, update, new, h_new))
    return out, (weight_input, weight_hidden, bias_input, bias_hidden, x, h, gates)


def _backward(saved, gradient):
    weight_input, weight_hidden, bias_input, bias_hidden, x, h, gates = saved
    reset, update, new, h_new = (wide(gate) for gate in gates)
    gradient = wide(gradient)
    to_new = gradient * (1 - update) * (1 - new * new)
    to_update = gradient * (wide(h) - new) * update * (1 - update)
    to_reset = to_new * h_new * reset * (1 - reset)
    from_input = jnp.concatenate([to_reset, to_update, to_new], -1)
    from_hidden = jnp.concatenate([to_reset, to_update, to_new * reset], -1)
    bias = lambda rows, like: jnp.sum(rows, 0).astype(like.dtype)
    to_biases = bias(from_input, bias_input), bias(from_hidden, bias_hidden)
    from_input, from_hidden = from_input.astype(x.dtype), from_hidden.astype(h.dtype)
    to_weights = x.T @ from_input, h.T @ from_hidden
    to_hidden = wide(from_hidden @ weight_hidden.T) + gradient * update
    return *to_weights, *to_biases, from_input @ weight_input.T, to_hidden.astype(h.dtype)


_gru.defvjp(_forward, _backward)
