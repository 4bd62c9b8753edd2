"""Ranks of the true answers, on device."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tirgn_eqx.types import Answers, Queries

# Of entity and of relation probabilities.
Temperature = tuple[Float[Array, ""], Float[Array, ""]]


class Ranks(NamedTuple):
    """Per answer: time-filtered and raw rank (1 = best; ties share the mean of their places), -log p, the probability
    of the most probable candidate of its unit, whether that is the answer (1 / n where n are equally probable), and its
    Brier score, the squared distance between the probabilities and what happened (Brier, 1950: 0 = certain and right,
    2 = certain and wrong).

    The ranks are NaN where the answer's score is.
    """

    filtered: Float[Array, " answer"]
    raw: Float[Array, " answer"]
    nll: Float[Array, " answer"]
    confidence: Float[Array, " answer"]
    right: Float[Array, " answer"]
    brier: Float[Array, " answer"]


def answer_ranks(
    score: Float[Array, "unit candidate"],
    log_probability: Float[Array, " answer"],
    queries: Queries | Answers,
    num_candidates: int | None = None,
) -> Ranks:
    """Rank every answer among the candidates of its unit.

    The rank is the mean of the optimistic and the pessimistic one, as PyKEEN and TGB define it: 1 + the
    number of better candidates + half the number of equal ones. The time-aware filter leaves out the other
    true answers at the same time.

    **Arguments:** `score`: the probability of every candidate; `log_probability`: of the answers, handed on as the NLL;
    `num_candidates`: the others are padding and take no place.
    """
    assert queries.true_query is not None and queries.true_candidate is not None
    own = score[queries.answer_query, queries.answer][:, None]

    def places(scores, counted: Any = True):
        """Better scores in each answer's row, equal ones counted half; NaN is neither."""
        return jnp.sum(jnp.where(counted & (scores > own), 1.0, jnp.where(counted & (scores == own), 0.5, 0.0)), 1)

    # One pass over all candidates; the few true ones, the own answer too, are then taken off again.
    real = True if num_candidates is None else jnp.arange(score.shape[1]) < num_candidates
    everyone = places(score[queries.answer_query], real)
    true = score.at[queries.true_query, queries.true_candidate].get(mode="fill", fill_value=jnp.nan)
    of_unit = queries.true_query[None, :] == queries.answer_query[:, None]
    # NaN is better than nothing, so that a diverged model would be the best one, were its ranks not NaN.
    number = lambda ranks: jnp.where(jnp.isnan(own[:, 0]), jnp.nan, ranks.astype(jnp.float32))
    unit, top = queries.answer_query, jnp.max(score, 1)
    ties = jnp.maximum(jnp.sum(score == top[:, None], 1), 1)  # at the top; none where NaN is
    brier = jnp.sum(jnp.square(score), 1)[unit] - 2 * own[:, 0] + 1
    return Ranks(
        filtered=number(1 + everyone - places(true[None, :], of_unit)),
        raw=number(0.5 + everyone),
        nll=-log_probability,
        confidence=top[unit],
        right=number(jnp.where(own[:, 0] >= top[unit], 1 / ties[unit], 0.0)),
        brier=brier,
    )


def tempered(
    score: Float[Array, "unit candidate"],
    log_probability: Float[Array, " answer"],
    queries: Queries | Answers,
    temperature: Float[Array, ""] | None,
) -> tuple[Float[Array, "unit candidate"], Float[Array, " answer"]]:
    """Probabilities p^(1 / temperature), summing up to 1, and their log at the answers (Guo et al., 2017); as they are
    without a temperature."""
    if temperature is None:
        return score, log_probability
    scaled = jnp.log(score) / temperature
    normalizer = jax.nn.logsumexp(scaled, 1)
    return jnp.exp(scaled - normalizer[:, None]), log_probability / temperature - normalizer[queries.answer_query]
