"""From decoded vectors to probabilities: raw mode, history mode, and their mixture in log space."""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from tirgn_eqx.nn.numerics import split_rows, wide
from tirgn_eqx.runtime.meshes import in_one_part, num_parts, split
from tirgn_eqx.types import Queries, Rows

HistoryMask = Literal["multiply", "exclude"]


def logits(
    vectors: Float[Array, "unit dim"], candidates: Float[Array, "candidate dim"]
) -> Float[Array, "unit candidate"]:
    """Products with every candidate, summed in at least f32."""
    dtype = jnp.promote_types(vectors.dtype, jnp.float32)
    return jnp.einsum("ud,cd->uc", vectors, candidates, preferred_element_type=dtype)


def seen_mask(queries: Queries, num_candidates: int) -> Bool[Array, "unit candidate"]:
    """True where the history vocabulary holds the candidate for the unit; padding pairs lie outside."""
    none = jnp.zeros((len(queries.subject), num_candidates), bool)
    return none.at[queries.seen_unit, queries.seen_candidate].set(True, mode="drop")


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


CHUNK = 512


def _weighted_logits(vectors, candidates, log_weight):
    products = logits(vectors, candidates)
    return products if log_weight is None else products + log_weight


@jax.custom_vjp
def log_normalizer(
    vectors: Float[Array, "unit dim"],
    candidates: Float[Array, "candidate dim"],
    log_weight: Float[Array, " candidate"] | None = None,
) -> Float[Array, " unit"]:
    """log sum_c w_c exp(vector . c) per unit, a chunk of units at a time; w_c is 1 without `log_weight`.

    The [unit, candidate] array never exists: forward keeps the sums alone, and the gradient (of vectors and
    candidates; weights are constants) computes each chunk's products again.
    """
    one = lambda chunk: jax.nn.logsumexp(_weighted_logits(chunk, candidates, log_weight), -1)
    return jax.lax.map(one, _chunks(vectors)[0]).reshape(-1)[: len(vectors)]


def _chunks(*arrays):
    """Rows in chunks, every one of which is split over the devices: `CHUNK` rows for each of these."""
    return tuple(split(chunks, None, "data") for chunks in split_rows(CHUNK * num_parts(), *arrays))


def _normalizer_forward(vectors, candidates, log_weight):
    value = log_normalizer(vectors, candidates, log_weight)
    return value, (vectors, candidates, log_weight, value)


def _normalizer_backward(saved, gradient):
    vectors, candidates, log_weight, value = saved
    dtype = value.dtype

    def one(total, step):
        chunk, value, gradient = step
        share = jnp.exp(_weighted_logits(chunk, candidates, log_weight) - value[:, None]) * gradient[:, None]
        share = share.astype(candidates.dtype)
        to_vectors = jnp.einsum("uc,cd->ud", share, candidates, preferred_element_type=dtype)
        more = jnp.einsum("uc,ud->cd", share, chunk, preferred_element_type=dtype)
        return total + more, to_vectors.astype(vectors.dtype)

    start = jnp.zeros(candidates.shape, dtype)
    # A padded row is all zeros: its exponentials are finite, and its gradient is 0.
    total, to_vectors = jax.lax.scan(one, start, _chunks(vectors, value, gradient))
    no_gradient = None if log_weight is None else jnp.zeros_like(log_weight)
    return to_vectors.reshape(-1, vectors.shape[1])[: len(vectors)], total.astype(candidates.dtype), no_gradient


log_normalizer.defvjp(_normalizer_forward, _normalizer_backward)


def _pair_logits(vectors, candidates, unit, candidate):
    """vector . candidate for listed pairs, summed in at least f32; padding pairs give 0."""
    dtype = jnp.promote_types(vectors.dtype, jnp.float32)
    left = vectors.at[unit].get(mode="fill", fill_value=0)
    right = candidates.at[candidate].get(mode="fill", fill_value=0)
    return jnp.einsum("pd,pd->p", left, right, preferred_element_type=dtype)


def answer_log_probabilities(
    raw_vectors: Float[Array, "unit dim"],
    history_vectors: Float[Array, "unit dim"],
    candidates: Float[Array, "candidate dim"],
    queries: Queries,
    history_rate: float,
    mask: HistoryMask,
    rows: Rows | None = None,
    num_entities: int | None = None,
) -> Float[Array, " answer"]:
    """Log probability of the answers alone, equal to picking them out of `log_probabilities`.

    Neither mode makes a [unit, candidate] array: raw mode needs its normaliser and the answers' products; in
    history mode an unseen candidate's logit is 0, so the normaliser is a sum over the seen candidates plus
    the number of the others. When the candidates are `rows` of `num_entities`, the raw normaliser is
    the rows' weighted estimate (importance sampling: Bengio and Senecal, 2008), the other exact all the same.
    """
    log_weight = None if rows is None else jnp.log(rows.weight).astype(wide(raw_vectors).dtype)
    normalizer = log_normalizer(raw_vectors, candidates, log_weight)
    own = _pair_logits(raw_vectors, candidates, queries.answer_unit, queries.answer)
    raw = own - normalizer[queries.answer_unit]
    history = _history_from_pairs(history_vectors, candidates, queries, mask, num_entities or len(candidates))
    past = _answer_history(history_vectors, candidates, queries, history)
    return mixture(raw, past, history_rate)


class _History(NamedTuple):
    """History mode from the seen pairs alone: their logits, that of a unit's unseen candidates (0 or -inf), and
    the log of the normaliser."""

    pair: Float[Array, " seen"]
    unseen: Float[Array, " unit"]
    normalizer: Float[Array, " unit"]


def _history_from_pairs(vectors, candidates, queries: Queries, mask: HistoryMask, num_candidates: int) -> _History:
    units = len(vectors)
    pair = _pair_logits(vectors, candidates, queries.seen_unit, queries.seen_candidate)
    real = queries.seen_unit < units
    # Padding pairs lie one past the last unit: a segment of their own, cut off.
    ordered = {"indices_are_sorted": in_one_part()}
    by_unit = lambda reduce, values: reduce(values, queries.seen_unit, units + 1, **ordered)[:units]
    seen = by_unit(jax.ops.segment_sum, real.astype(pair.dtype))
    unseen = num_candidates - seen
    if mask == "exclude":
        unseen = jnp.where(seen > 0, 0, unseen)
    top = jax.lax.stop_gradient(by_unit(jax.ops.segment_max, jnp.where(real, pair, -jnp.inf)))
    top = jnp.where(unseen > 0, jnp.maximum(top, 0), top)
    top_of_pair = top[jnp.minimum(queries.seen_unit, units - 1)]
    total = by_unit(jax.ops.segment_sum, jnp.where(real, jnp.exp(pair - top_of_pair), 0))
    normalizer = top + jnp.log(total + unseen * jnp.where(unseen > 0, jnp.exp(-top), 0))
    nothing = jnp.zeros_like(normalizer)
    if mask == "exclude":
        nothing = jnp.where(seen > 0, -jnp.inf, nothing)
    return _History(pair, nothing, normalizer)


def _answer_history(vectors, candidates, queries: Queries, history: _History) -> Float[Array, " answer"]:
    """History-mode log probability of the answers."""
    unit = queries.answer_unit
    own = _pair_logits(vectors, candidates, unit, queries.answer)
    return jnp.where(queries.answer_seen, own, history.unseen[unit]) - history.normalizer[unit]


def ranking_scores(
    raw_vectors: Float[Array, "unit dim"],
    history_vectors: Float[Array, "unit dim"],
    candidates: Float[Array, "candidate dim"],
    queries: Queries,
    history_rate: float,
    mask: HistoryMask,
    num_candidates: int | None = None,
) -> tuple[Float[Array, "unit candidate"], Float[Array, " answer"]]:
    """(probability of every candidate, log probability of the answers): one product and one exponential a pair.

    In history mode all unseen candidates of a unit share one probability, so that only the seen pairs are computed.
    `num_candidates`: the others are padding, of probability 0.
    """
    products = split(logits(raw_vectors, candidates), "data", "entity")
    count = num_candidates or len(candidates)
    real = None if count == len(candidates) else jnp.arange(len(candidates)) < count
    if real is not None:
        products = jnp.where(real, products, -jnp.inf)
    normalizer = jax.nn.logsumexp(products, -1)
    history = _history_from_pairs(history_vectors, candidates, queries, mask, count)
    from_raw = lambda product, total: (1 - history_rate) * jnp.exp(product - total)
    from_past = lambda logit, total: history_rate * jnp.exp(logit - total)
    unseen = from_past(history.unseen, history.normalizer)
    # A padded pair lies outside and is dropped, whatever its value.
    unit = jnp.minimum(queries.seen_unit, len(products) - 1)
    product = products.at[unit, queries.seen_candidate].get(mode="clip")
    seen = from_raw(product, normalizer[unit]) + from_past(history.pair, history.normalizer[unit])
    score = from_raw(products, normalizer[:, None]) + unseen[:, None]
    if real is not None:
        score = jnp.where(real, score, 0)
    score = score.at[queries.seen_unit, queries.seen_candidate].set(seen, mode="drop")
    raw = products[queries.answer_unit, queries.answer] - normalizer[queries.answer_unit]
    past = _answer_history(history_vectors, candidates, queries, history)
    return score, mixture(raw, past, history_rate)


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
