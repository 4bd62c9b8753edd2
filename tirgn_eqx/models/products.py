"""Sums over all candidates of exp(vector . candidate), and single products, without more memory than allowed."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from tirgn_eqx.models.scores import log_normalizer

HIGHEST = 30.0  # exponents are cut off here, so that a sum over all entities stays finite
MOST_PRODUCTS = 2**26  # of units with candidates, that are held at once


def capped_exp(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    return jnp.exp(jnp.minimum(x, HIGHEST))


def rows_of(table: Shaped[Array, "row ..."], index: Int[Array, " n"]) -> Shaped[Array, "n ..."]:
    """Rows of `table`; zeros for padding, which lies outside."""
    return table.at[index].get(mode="fill", fill_value=0)


class Products:
    """Products of units with candidates. Where they are few enough they are computed once, as one matrix; else only
    those that are asked for, and the rest a chunk at a time for the sums alone."""

    def __init__(
        self,
        unit: Float[Array, "unit wide"],
        candidate: Float[Array, "candidate wide"],
        all: Float[Array, "unit candidate"] | None = None,
    ):
        """**Arguments:** `unit`, `candidate`: vectors; `all`: their products, where they are known already."""
        self.unit: Float[Array, "unit wide"] = unit
        self.candidate: Float[Array, "candidate wide"] = candidate
        few = len(unit) * len(candidate) <= MOST_PRODUCTS
        self.all: Float[Array, "unit candidate"] | None = (unit @ candidate.T if all is None else all) if few else None

    def matrix(self) -> Float[Array, "unit candidate"]:
        """All of them, however many."""
        return self.unit @ self.candidate.T if self.all is None else self.all

    def at(self, unit: Int[Array, " n"], candidate: Int[Array, " n"]) -> Float[Array, " n"]:
        """Those of pairs; 0 where the unit is padding."""
        if self.all is not None:
            return self.all.at[unit, candidate].get(mode="fill", fill_value=0)
        return jnp.sum(rows_of(self.unit, unit) * self.candidate[candidate], 1)

    def log_total(self) -> Float[Array, " unit"]:
        """log of the sum of exp over all candidates."""
        if self.all is not None:
            return jax.nn.logsumexp(self.all, 1)
        return log_normalizer(self.unit, self.candidate)

    def total(self) -> Float[Array, " unit"]:
        """The sum of exp over all candidates, each exponent cut off at `HIGHEST`."""
        if self.all is not None:
            return jnp.sum(capped_exp(self.all), 1)
        # Here the sum is cut off, not each exponent; training does not come near either.
        return capped_exp(self.log_total())

    def times(self, factor: Float[Array, " unit"]) -> "Products":
        """Every unit's products times its factor."""
        known = None if self.all is None else self.all * factor[:, None]
        return Products(self.unit * factor[:, None], self.candidate, known)

    def plus(self, other: "Products") -> "Products":
        """The sums of two products of the same units and candidates."""
        known = None if self.all is None or other.all is None else self.all + other.all
        unit = jnp.concatenate([self.unit, other.unit], 1)
        return Products(unit, jnp.concatenate([self.candidate, other.candidate], 1), known)

    def shifted(self, constant: Float[Array, " unit"]) -> "Products":
        """Every unit's products plus its constant."""
        known = None if self.all is None else self.all + constant[:, None]
        unit = jnp.concatenate([self.unit, constant[:, None]], 1)
        one = jnp.ones((len(self.candidate), 1), self.candidate.dtype)
        return Products(unit, jnp.concatenate([self.candidate, one], 1), known)
