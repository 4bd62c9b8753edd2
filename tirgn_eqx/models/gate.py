"""The gate of a mixture: how much the structure and the evidence count for every query."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from tirgn_eqx.data.index.evidence import CONTEXT_FEATURES, ENTRY_FEATURES, PAIR_FEATURES, PLAIN_FEATURES
from tirgn_eqx.nn.segments import take_rows

QUERY_FEATURES = 4 + PLAIN_FEATURES
CELL_FEATURES = 6 + ENTRY_FEATURES  # without those of the pair
HIDDEN = 16
LEARNING_RATE_SCALES = (0.1, 1.0, 0.1)  # of exponent, level and lift by features, relative to Adam's step
RELATION_SCALE = 0.3  # of the same by relations, relative to those by features


class Reranker(eqx.Module):
    """n(o): a hidden layer over what both forecasts say of a candidate with past events. It begins as 0."""

    inner: Float[Array, "feature hidden"]
    bias: Float[Array, " hidden"]
    outer: Float[Array, " hidden"]

    def __init__(self, features: int, hidden: int, *, key: PRNGKeyArray):
        self.inner = 0.3 * jr.normal(key, (features, hidden))
        self.bias, self.outer = jnp.zeros(hidden), jnp.zeros(hidden)

    def __call__(self, x: Float[Array, "cell feature"]) -> Float[Array, " cell"]:
        return jax.nn.gelu(x @ self.inner + self.bias) @ self.outer


class Gate(eqx.Module):
    """Exponent g, level l and lift h of every query, and the reranker n of its candidates.

    Each of the three is a constant plus a linear function of the query's features plus a constant of its relation.
    Relation queries share one of each, `relation_base`.
    """

    base: Float[Array, "3"]
    by_feature: Float[Array, "feature 3"]
    by_relation: Float[Array, "rel2 3"]
    relation_base: Float[Array, "3"]
    reranker: Reranker

    def __init__(self, num_relations: int, context: bool, *, key: PRNGKeyArray):
        """**Arguments:** `num_relations`; `context`: whether evidence has the features of the context; `key`: of the
        reranker. The constants begin with values that suit event data."""
        # Exponent, level and lift, in the order of every axis of 3 here.
        self.base = jnp.array([0.8, -1.0, 0.14])
        self.by_feature, self.by_relation = jnp.zeros((QUERY_FEATURES, 3)), jnp.zeros((2 * num_relations, 3))
        self.relation_base = jnp.array([0.8, -1.0, 0.14])
        features = CELL_FEATURES + PAIR_FEATURES + (CONTEXT_FEATURES if context else 0)
        self.reranker = Reranker(features, HIDDEN, key=key)

    def __call__(
        self, features: Float[Array, "query feature"], relation: Int[Array, " query"]
    ) -> tuple[Float[Array, " query"], Float[Array, " query"], Float[Array, " query"]]:
        """**Arguments:** `features` `(query, QUERY_FEATURES)` and `relation` `(query,)` of entity queries.

        **Returns:** exponent, level and lift, `(query,)` each.
        """
        scales = jnp.array(LEARNING_RATE_SCALES)
        out = self.base + scales * (features @ self.by_feature)
        out = out + RELATION_SCALE * scales * take_rows(self.by_relation, relation, padded=False)
        # A negative exponent would prefer what the structure finds least likely.
        return jax.nn.relu(out[:, 0]), out[:, 1], out[:, 2]

    def l2_penalty(self) -> Float[Array, ""]:
        """Mean squares of the parameters that distinguish queries; training keeps it small."""
        return jnp.mean(self.by_feature**2) + jnp.mean(self.by_relation**2)
