"""From decoded vectors to probabilities: raw mode, history mode, and their mixture in log space."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from tirgn_eqx.types import Queries

HistoryMask = Literal["multiply", "exclude"]


def logits(
    vectors: Float[Array, "unit dim"], candidates: Float[Array, "candidate dim"]
) -> Float[Array, "unit candidate"]:
    """Products with every candidate, summed in at least f32."""
    dtype = jnp.promote_types(vectors.dtype, jnp.float32)
    return jnp.einsum("ud,cd->uc", vectors, candidates, preferred_element_type=dtype)


def seen_mask(queries: Queries, num_candidates: int) -> Bool[Array, "unit candidate"]:
    """True where the history vocabulary holds the candidate for the unit."""
    mask = jnp.zeros((len(queries.subject), num_candidates), bool)
    return mask.at[queries.seen_unit, queries.seen_candidate].set(True, mode="drop")


def history_logits(
    raw: Float[Array, "unit candidate"], seen: Bool[Array, "unit candidate"], mask: HistoryMask
) -> Float[Array, "unit candidate"]:
    """History-mode logits: `multiply` gives an unseen candidate logit 0 (the released code), `exclude` -inf.

    A unit without any history is uniform over all candidates either way.
    """
    if mask == "exclude":
        some = jnp.any(seen, 1, keepdims=True)
        return jnp.where(seen, raw, jnp.where(some, -jnp.inf, 0.0))
    return jnp.where(seen, raw, 0)


def mixture(raw: Float[Array, "*n"], history: Float[Array, "*n"], history_rate: float) -> Float[Array, "*n"]:
    """log(rate exp(history) + (1 - rate) exp(raw)) of two log probabilities, without underflow."""
    if history_rate == 0:
        return raw
    if history_rate == 1:
        return history
    return jnp.logaddexp(raw + math.log1p(-history_rate), history + math.log(history_rate))


def log_probabilities(
    raw_vectors: Float[Array, "unit dim"],
    history_vectors: Float[Array, "unit dim"],
    candidates: Float[Array, "candidate dim"],
    seen: Bool[Array, "unit candidate"],
    history_rate: float,
    mask: HistoryMask,
) -> Float[Array, "unit candidate"]:
    """Log probability of every candidate for every unit (TiRGN, equations 12 to 14)."""
    raw = jax.nn.log_softmax(logits(raw_vectors, candidates), -1)
    past = jax.nn.log_softmax(history_logits(logits(history_vectors, candidates), seen, mask), -1)
    return mixture(raw, past, history_rate)


def answer_log_probabilities(
    raw_vectors: Float[Array, "unit dim"],
    history_vectors: Float[Array, "unit dim"],
    candidates: Float[Array, "candidate dim"],
    seen: Bool[Array, "unit candidate"],
    answer_unit: Int[Array, " answer"],
    answer: Int[Array, " answer"],
    history_rate: float,
    mask: HistoryMask,
) -> Float[Array, " answer"]:
    """Log probability of the given answers alone: the normalisers are sums, no softmax array is kept."""

    def one_mode(values: Float[Array, "unit candidate"]) -> Float[Array, " answer"]:
        return values[answer_unit, answer] - jax.nn.logsumexp(values, -1)[answer_unit]

    raw = one_mode(logits(raw_vectors, candidates))
    past = one_mode(history_logits(logits(history_vectors, candidates), seen, mask))
    return mixture(raw, past, history_rate)


def sampled_log_probabilities(
    raw_vectors: Float[Array, "unit dim"],
    history_vectors: Float[Array, "unit dim"],
    candidates: Float[Array, "candidate dim"],
    queries: Queries,
    history_rate: float,
    mask: HistoryMask,
) -> Float[Array, " answer"]:
    """Log probability of the answers among themselves and their sampled negatives."""
    assert queries.negatives is not None and queries.candidate_seen is not None
    chosen = jnp.concatenate([queries.answer[:, None], queries.negatives], 1)
    rows = candidates[chosen]
    dtype = jnp.promote_types(rows.dtype, jnp.float32)
    score = lambda vectors: jnp.einsum("ad,acd->ac", vectors[queries.answer_unit], rows, preferred_element_type=dtype)
    raw = jax.nn.log_softmax(score(raw_vectors), -1)[:, 0]
    past = jax.nn.log_softmax(history_logits(score(history_vectors), queries.candidate_seen, mask), -1)[:, 0]
    return mixture(raw, past, history_rate)
