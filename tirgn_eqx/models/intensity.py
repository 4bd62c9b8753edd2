"""What evidence models are built of: bounded exponentials, log intensities of features, and factored logits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from tirgn_eqx.models.logits import log_normalizer
from tirgn_eqx.nn.segments import take_rows

EXPONENT_CLIP = 15.0
MAX_EXPONENT = 30.0  # keeps a sum over all entities finite
MAX_DENSE_LOGITS = 2**26  # (query, candidate) pairs that are held at once
LOG_CENTRE = 6.0  # minus the middle of log probabilities
LOG_CLIP = 8.0  # a lift depends on log probabilities within this distance of the middle


def bounded_exp(x: Float[Array, "*n"], limit: float = EXPONENT_CLIP) -> Float[Array, "*n"]:
    """exp of `x`, clipped to [-`limit`, `limit`]."""
    return jnp.exp(jnp.clip(x, -limit, limit))


def capped_exp(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """exp of `x`, capped at `MAX_EXPONENT`."""
    return jnp.exp(jnp.minimum(x, MAX_EXPONENT))


class LogIntensity(eqx.Module):
    """Log intensities of features: a hidden layer, a slope and a level. The bias of the hidden layer, slope and level
    belong to the relation; the weights of the hidden layer are shared."""

    inner: Float[Array, "feature hidden"]
    bias: Float[Array, "rel2 hidden"]
    outer: Float[Array, "hidden head"]
    slope: Float[Array, "rel2 feature"]
    level: Float[Array, "rel2 head"]

    def __init__(
        self, features: int, hidden: int, heads: int, rel2: int, *, level: float, spread: float, key: PRNGKeyArray
    ):
        """**Arguments:** sizes; `level`, `spread`: mean and standard deviation of the initial level."""
        keys = jr.split(key, 4)
        self.inner = 0.3 * jr.normal(keys[0], (features, hidden))
        self.bias = jnp.zeros((rel2, hidden))
        self.outer = 0.2 * jr.normal(keys[1], (hidden, heads))
        self.slope = 0.01 * jr.normal(keys[2], (rel2, features))
        self.level = level + spread * jr.normal(keys[3], (rel2, heads))

    def __call__(self, x: Float[Array, "n feature"], relation: Int[Array, " n"]) -> Float[Array, "n head"]:
        """**Arguments:** `x`: features `(n, feature)`; `relation`: `(n,)`.

        **Returns:** log intensities `(n, head)`.
        """

        def of_relation(table: Float[Array, "rel2 wide"]) -> Float[Array, "n wide"]:
            return take_rows(table, relation, padded=False)

        hidden = jax.nn.gelu(x @ self.inner + of_relation(self.bias))
        return hidden @ self.outer + jnp.sum(of_relation(self.slope) * x, 1, keepdims=True) + of_relation(self.level)


class FactoredLogits(eqx.Module):
    """Logits of queries and candidates as inner products of their vectors.

    A few are computed once, as the matrix `dense`. With more than `MAX_DENSE_LOGITS` pairs, `dense` is None: single
    logits are computed on demand, and sums over all candidates a chunk of queries at a time.

    ```python
    import jax.numpy as jnp
    from tirgn_eqx.models.intensity import FactoredLogits

    logits = FactoredLogits(jnp.ones((2, 3)), jnp.ones((5, 3))).shift(jnp.array([0.0, 1.0]))
    assert jnp.allclose(logits.matrix(), jnp.array([[3.0], [4.0]]))
    ```
    """

    query: Float[Array, "query wide"]
    candidate: Float[Array, "candidate wide"]
    dense: Float[Array, "query candidate"] | None

    def __init__(
        self,
        query: Float[Array, "query wide"],
        candidate: Float[Array, "candidate wide"],
        dense: Float[Array, "query candidate"] | None = None,
    ):
        """**Arguments:** the vectors; `dense`: their products, where they are known already."""
        self.query, self.candidate = query, candidate
        # By shapes alone, so that the choice is made when the program is traced.
        few = len(query) * len(candidate) <= MAX_DENSE_LOGITS
        self.dense = (query @ candidate.T if dense is None else dense) if few else None

    def matrix(self) -> Float[Array, "query candidate"]:
        """All logits, however many."""
        return self.query @ self.candidate.T if self.dense is None else self.dense

    def at(self, query: Int[Array, " n"], candidate: Int[Array, " n"]) -> Float[Array, " n"]:
        """The logits of pairs; 0 where the query is padding."""
        if self.dense is not None:
            return take_rows(self.dense, query, candidate)
        # A padded query reads zeros, so it does not matter which row its candidate reads.
        return jnp.sum(take_rows(self.query, query) * take_rows(self.candidate, candidate, padded=False), 1)

    def logsumexp(self) -> Float[Array, " query"]:
        """log of the sum of exp over all candidates."""
        if self.dense is not None:
            return jax.nn.logsumexp(self.dense, 1)
        return log_normalizer(self.query, self.candidate)

    def sum_exp(self) -> Float[Array, " query"]:
        """The sum of exp over all candidates, each exponent capped at `MAX_EXPONENT`."""
        if self.dense is not None:
            return jnp.sum(capped_exp(self.dense), 1)
        # This caps the sum, not each exponent; training comes near neither.
        return capped_exp(self.logsumexp())

    def scale(self, factor: Float[Array, " query"]) -> "FactoredLogits":
        """The logits of every query times its factor."""
        # Here and below the vectors change with the matrix, so that a `dense` of None stays an inner product.
        dense = None if self.dense is None else self.dense * factor[:, None]
        return FactoredLogits(self.query * factor[:, None], self.candidate, dense)

    def add(self, other: "FactoredLogits") -> "FactoredLogits":
        """The sums of two logits of the same queries and candidates."""
        dense = None if self.dense is None or other.dense is None else self.dense + other.dense
        # [q1, q2] . [c1, c2] = q1 . c1 + q2 . c2
        query = jnp.concatenate([self.query, other.query], 1)
        return FactoredLogits(query, jnp.concatenate([self.candidate, other.candidate], 1), dense)

    def shift(self, constant: Float[Array, " query"]) -> "FactoredLogits":
        """The logits of every query plus its constant."""
        dense = None if self.dense is None else self.dense + constant[:, None]
        query = jnp.concatenate([self.query, constant[:, None]], 1)
        # The constant is a further column of the queries, which meets a column of ones.
        one = jnp.ones((len(self.candidate), 1), self.candidate.dtype)
        return FactoredLogits(query, jnp.concatenate([self.candidate, one], 1), dense)
