"""What features say about an intensity: its logarithm, for every relation in a way of its own."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int

EXPONENT = 15.0  # exponents are cut off here, either way


def bounded_exp(x: Float[Array, "*n"], limit: float = EXPONENT) -> Float[Array, "*n"]:
    return jnp.exp(jnp.clip(x, -limit, limit))


class Kernel(eqx.Module):
    """Exponents from features: a hidden layer whose bias, and a slope and a level that, belong to the relation."""

    inner: Float[Array, "feature hidden"]
    bias: Float[Array, "rel2 hidden"]
    outer: Float[Array, "hidden head"]
    slope: Float[Array, "rel2 feature"]
    level: Float[Array, "rel2 head"]

    def __init__(self, features: int, hidden: int, heads: int, rel2: int, level: float, spread: float, key: Any):
        keys = jr.split(key, 4)
        self.inner = 0.3 * jr.normal(keys[0], (features, hidden))
        self.bias = jnp.zeros((rel2, hidden))
        self.outer = 0.2 * jr.normal(keys[1], (hidden, heads))
        self.slope = 0.01 * jr.normal(keys[2], (rel2, features))
        self.level = level + spread * jr.normal(keys[3], (rel2, heads))

    def __call__(self, x: Float[Array, "n feature"], relation: Int[Array, " n"]) -> Float[Array, "n head"]:
        hidden = jax.nn.gelu(x @ self.inner + self.bias[relation])
        return hidden @ self.outer + jnp.sum(self.slope[relation] * x, 1, keepdims=True) + self.level[relation]
