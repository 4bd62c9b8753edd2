"""Ranks of the true answers, on device."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from tirgn_eqx.models.scores import pair_mask
from tirgn_eqx.types import Queries


class Ranks(NamedTuple):
    """Per answer: time-filtered and raw rank (1 = best; ties share the mean of their places), and -log p.

    All three are NaN where the answer's score is.
    """

    filtered: Float[Array, " answer"]
    raw: Float[Array, " answer"]
    nll: Float[Array, " answer"]


def known_mask(queries: Queries, num_candidates: int) -> Bool[Array, "unit candidate"]:
    """True for every candidate that is true for the unit at the same time."""
    assert queries.true_unit is not None and queries.true_candidate is not None
    return pair_mask(queries.true_unit, queries.true_candidate, (len(queries.subject), num_candidates))


def answer_ranks(log_probability: Float[Array, "unit candidate"], queries: Queries) -> Ranks:
    """Rank every answer among the candidates of its unit.

    The rank is the mean of the optimistic and the pessimistic one, as PyKEEN and TGB define it: 1 + the
    number of better candidates + half the number of equal ones. The time-aware filter leaves out the other
    true answers at the same time.
    """
    scores = log_probability[queries.answer_unit]
    own = jnp.take_along_axis(scores, queries.answer[:, None], 1)
    others = ~known_mask(queries, log_probability.shape[1])[queries.answer_unit]
    better, equal = scores > own, scores == own
    count = lambda mask: jnp.sum(mask, 1).astype(jnp.float32)
    # The truth equals itself, so it is taken off; under the filter it is left out like the rest.
    raw = 1 + count(better) + 0.5 * (count(equal) - 1)
    filtered = 1 + count(better & others) + 0.5 * count(equal & others)
    # NaN is neither below nor equal to anything, which would make a diverged model the best one.
    number = lambda ranks: jnp.where(jnp.isnan(own[:, 0]), jnp.nan, ranks)
    return Ranks(number(filtered), number(raw), -own[:, 0])
