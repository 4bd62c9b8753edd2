"""RE-GCN's time gate: how much of a snapshot enters an entity's state."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from tirgn_eqx.nn.numerics import wide


class TimeGate(eqx.Module):
    """u x + (1 - u) h with u = sigmoid(h W + b) (RE-GCN, equations 3 and 4)."""

    weight: Float[Array, "dim dim"]
    bias: Float[Array, " dim"]

    def __init__(self, dim: int, *, key: PRNGKeyArray):
        # Xavier uniform with the gain of ReLU, as in the released code.
        bound = math.sqrt(2) * math.sqrt(3 / dim)
        self.weight = jr.uniform(key, (dim, dim), minval=-bound, maxval=bound)
        self.bias = jnp.zeros(dim)

    @jax.named_scope("tirgn.time_gate")
    def __call__(self, x: Float[Array, "row dim"], h: Float[Array, "row dim"]) -> Float[Array, "row dim"]:
        gate = jax.nn.sigmoid(wide(h @ self.weight) + wide(self.bias))
        return (gate * wide(x) + (1 - gate) * wide(h)).astype(h.dtype)
