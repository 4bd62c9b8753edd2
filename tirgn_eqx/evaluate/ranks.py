"""Ranks of the true answers, computed on the device; here ties are ranked and the time-aware filter is applied."""
# JAX's own annotations are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64

from tirgn_eqx.types import Answers, Queries

# For entity and for relation queries.
Temperature = tuple[Float[Array, ""], Float[Array, ""]]


class Ranks(NamedTuple):
    """What an evaluation keeps of every answer, float32 `(answer,)` each.

    - `filtered`, `raw`: rank with and without the time-aware filter, 1 = best; see `answer_ranks`.
    - `nll`: -log p of the answer, in nats.
    - `confidence`: probability of the most probable candidate of the answer's query.
    - `right`: 1 where the answer is that candidate, 1 / n where n candidates share the top, else 0.
    - `brier`: squared distance between the probabilities and the one-hot truth (Brier, 1950), from 0 (certain and
      right) to 2 (certain and wrong).

    Ranks and `right` are NaN where the answer's score is.
    """

    filtered: Float[Array, " answer"]
    raw: Float[Array, " answer"]
    nll: Float[Array, " answer"]
    confidence: Float[Array, " answer"]
    right: Float[Array, " answer"]
    brier: Float[Array, " answer"]


def count_better(
    scores: Float[Array, "#answer candidate"],
    own: Float[Array, "answer 1"],
    counted: Bool[Array, "#answer candidate"] | bool = True,
) -> Float[Array, " answer"]:
    """How many candidates score better than each answer; equal scores count half, NaN scores not at all.

    **Arguments:** `scores`: of the candidates; `own`: of the answers; `counted`: the candidates that take part.
    """
    return jnp.sum(jnp.where(counted & (scores > own), 1.0, jnp.where(counted & (scores == own), 0.5, 0.0)), 1)


def places(scores: np.ndarray, own: np.ndarray) -> np.ndarray:
    """How far each score pushes an answer of score `own` down: 1 where it is above, 0.5 where it is equal, else 0.

    On the host, for scores of any precision; the arrays are broadcast.
    """
    return np.where(scores > own, 1.0, np.where(scores == own, 0.5, 0.0))


def ranks_from_places(
    better: Float64[np.ndarray, " answer"], better_true: Float64[np.ndarray, " answer"]
) -> tuple[Float64[np.ndarray, " answer"], Float64[np.ndarray, " answer"]]:
    """(filtered, raw) ranks of answers: 1 + the better candidates + half of the equal ones, see `answer_ranks`.

    **Arguments:** sums of `places` over all candidates, and over those that the filter leaves out; the answer itself,
    which ties with itself, is among both.
    """
    return 1 + better - better_true, 0.5 + better


def answer_ranks(
    score: Float[Array, "query candidate"],
    log_probability: Float[Array, " answer"],
    queries: Queries | Answers,
    num_candidates: int | None = None,
) -> Ranks:
    """Rank every answer among the candidates of its query.

    Ties take the mean of the optimistic and the pessimistic rank, as in PyKEEN and TGB: 1 + the number of better
    candidates + half the number of other candidates with the same score. The filter leaves out the other answers that
    `queries` names as true: those at the same time, or with the time-unaware filter those at any time, see
    `filters.TrueAnswers`.

    **Arguments:**

    - `score`: the probability of every candidate for every query.
    - `log_probability`: of the answers, in nats; returned with its sign changed as `nll`.
    - `queries`: the answers by query, and in `true_query`, `true_candidate` all that the filter leaves out.
    - `num_candidates`: candidates from this id on are padding and take no place; None: none is.

    **Returns:** the `Ranks` of `queries.answer`, in their order.
    """
    assert queries.true_query is not None and queries.true_candidate is not None
    query, own = queries.answer_query, score[queries.answer_query, queries.answer][:, None]
    real = True if num_candidates is None else jnp.arange(score.shape[1])[None, :] < num_candidates
    # All candidates are counted in one pass; the few true ones, the answer itself among them, are then subtracted.
    better = count_better(score[query], own, real)
    # Padding reads NaN, which compares false and so is not counted.
    true = score.at[queries.true_query, queries.true_candidate].get(mode="fill", fill_value=jnp.nan)
    same_query = queries.true_query[None, :] == query[:, None]
    better_true = count_better(true[None, :], own, same_query)

    def nan_where_own_is(values: Array) -> Float[Array, " answer"]:
        # NaN compares false and would rank first, so the rank is NaN.
        return jnp.where(jnp.isnan(own[:, 0]), jnp.nan, values.astype(jnp.float32))

    top = jnp.max(score, 1)
    ties = jnp.maximum(jnp.sum(score == top[:, None], 1), 1)  # none where the top is NaN
    # The sum of (p - truth)^2 over all candidates is the sum of p^2, less 2 p of the answer, plus 1.
    brier = jnp.sum(jnp.square(score), 1)[query] - 2 * own[:, 0] + 1
    # The answer ties with itself: `better` and `better_true` each count it half, so that it cancels in `filtered`.
    # In `raw` that half is taken off: 1 + (better - 0.5).
    return Ranks(
        filtered=nan_where_own_is(1 + better - better_true),
        raw=nan_where_own_is(0.5 + better),
        nll=-log_probability,
        confidence=top[query],
        right=nan_where_own_is(jnp.where(own[:, 0] >= top[query], 1 / ties[query], 0.0)),
        brier=brier,
    )


def tempered(
    score: Float[Array, "query candidate"],
    log_probability: Float[Array, " answer"],
    queries: Queries | Answers,
    temperature: Float[Array, ""] | None,
) -> tuple[Float[Array, "query candidate"], Float[Array, " answer"]]:
    """Probabilities p^(1 / temperature), normalised (Guo et al., 2017), and their log at the answers.

    **Arguments:** as of `answer_ranks`; `temperature` None returns the first two unchanged.
    """
    if temperature is None:
        return score, log_probability
    # A score of 0 becomes -inf and stays 0. Answers keep their own log, which is finite where the score underflows.
    scaled = jnp.log(score) / temperature
    normalizer = jax.nn.logsumexp(scaled, 1)
    return jnp.exp(scaled - normalizer[:, None]), log_probability / temperature - normalizer[queries.answer_query]
