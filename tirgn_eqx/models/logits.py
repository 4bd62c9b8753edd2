"""From decoded vectors to probabilities: raw mode, history mode, and their mixture in log space.

In all functions, `raw_vectors` and `history_vectors` are the decoded queries `(query, dim)` of the two modes, and
`candidates` the vectors `(candidate, dim)` that both are multiplied with (TiRGN, section 3.3, equations 12 to 14).
"""

import math
from typing import Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from tirgn_eqx.nn.numerics import at_least_f32, chunk_rows, einsum
from tirgn_eqx.nn.segments import segment_sum, take_rows
from tirgn_eqx.runtime.meshes import in_one_part, num_parts, split
from tirgn_eqx.types import EntityRows, Queries

HistoryMask = Literal["multiply", "exclude"]
CHUNK = 512  # queries whose logits exist at once in `log_normalizer`, on every device


def candidate_logits(
    vectors: Float[Array, "query dim"], candidates: Float[Array, "candidate dim"]
) -> Float[Array, "query candidate"]:
    """Inner products with every candidate, summed in at least f32."""
    dtype = jnp.promote_types(vectors.dtype, jnp.float32)
    return einsum("ud,cd->uc", vectors, candidates, dtype=dtype)


def in_history(queries: Queries, num_candidates: int) -> Bool[Array, "query candidate"]:
    """True where the history vocabulary contains the candidate for the query; padding pairs lie outside."""
    none = jnp.zeros((len(queries.subject), num_candidates), bool)
    return none.at[queries.history_query, queries.history_candidate].set(True, mode="drop")


def history_logits(
    logits: Float[Array, "query candidate"], history: Bool[Array, "query candidate"], mask: HistoryMask
) -> Float[Array, "query candidate"]:
    """Logits of history mode: a candidate outside the history has logit 0 under `multiply` (the released code) and -inf
    under `exclude`. A query without any history is uniform over all candidates under both."""
    if mask == "exclude":
        # The softmax of a row of nothing but -inf would be NaN.
        some = jnp.any(history, 1, keepdims=True)
        return jnp.where(history, logits, jnp.where(some, -jnp.inf, 0.0))
    return jnp.where(history, logits, 0)


def mix_log_probabilities(
    raw: Float[Array, "*n"], history: Float[Array, "*n"], history_rate: float
) -> Float[Array, "*n"]:
    """log(rate exp(history) + (1 - rate) exp(raw)) of two log probabilities, without underflow."""
    # `math.log` raises at 0, so a rate of 0 or 1 is handled apart.
    if history_rate == 0:
        return raw
    if history_rate == 1:
        return history
    return jnp.logaddexp(raw + math.log1p(-history_rate), history + math.log(history_rate))


def log_probabilities(
    raw_vectors: Float[Array, "query dim"],
    history_vectors: Float[Array, "query dim"],
    candidates: Float[Array, "candidate dim"],
    history: Bool[Array, "query candidate"],
    history_rate: float,
    mask: HistoryMask,
) -> Float[Array, "query candidate"]:
    """Log probability of every candidate for every query; `history`: as `in_history` gives it.

    ```python
    import jax.numpy as jnp
    from tirgn_eqx.models.logits import log_probabilities

    vectors, candidates = jnp.ones((1, 2)), jnp.array([[0.0, 0.0], [0.5, 0.5]])
    history = jnp.array([[False, True]])
    log_p = log_probabilities(vectors, vectors, candidates, history, 0.3, "exclude")
    assert jnp.allclose(jnp.exp(log_p), jnp.array([[0.7 / (1 + jnp.e), 0.3 + 0.7 * jnp.e / (1 + jnp.e)]]))
    ```
    """
    raw = jax.nn.log_softmax(candidate_logits(raw_vectors, candidates), -1)
    logits = history_logits(candidate_logits(history_vectors, candidates), history, mask)
    return mix_log_probabilities(raw, jax.nn.log_softmax(logits, -1), history_rate)


_NormalizerResiduals = tuple[Array, Array, Array | None, Array]


def log_normalizer(
    vectors: Float[Array, "query dim"],
    candidates: Float[Array, "candidate dim"],
    log_weight: Float[Array, " candidate"] | None = None,
) -> Float[Array, " query"]:
    """log sum_c w_c exp(vector . c) of every query, a chunk of queries at a time; w_c is 1 without `log_weight`.

    The [query, candidate] array never exists. The forward pass keeps the sums alone, and the gradient with respect to
    vectors and candidates (weights are constants) recomputes the logits of every chunk.
    """
    return cast(Array, _log_normalizer(vectors, candidates, log_weight))


@jax.custom_vjp
def _log_normalizer(vectors: Array, candidates: Array, log_weight: Array | None) -> Array:

    def normalize_chunk(chunk: Array) -> Array:
        return jax.nn.logsumexp(_weighted_logits(chunk, candidates, log_weight), -1)

    value = cast(Array, jax.lax.map(normalize_chunk, _chunks(vectors)[0]))  # pyright: ignore[reportUnknownMemberType]
    return value.reshape(-1)[: len(vectors)]


def _weighted_logits(vectors: Array, candidates: Array, log_weight: Array | None) -> Array:
    logits = candidate_logits(vectors, candidates)
    return logits if log_weight is None else logits + log_weight


def _chunks(*arrays: Shaped[Array, "row ..."]) -> tuple[Array, ...]:
    """Rows in chunks that are each split over the devices: `CHUNK` rows for every device."""
    return tuple(split(chunks, None, "data") for chunks in chunk_rows(CHUNK * num_parts(), *arrays))


def _normalizer_forward(
    vectors: Array, candidates: Array, log_weight: Array | None
) -> tuple[Array, _NormalizerResiduals]:
    value = cast(Array, _log_normalizer(vectors, candidates, log_weight))
    return value, (vectors, candidates, log_weight, value)


def _normalizer_backward(residuals: _NormalizerResiduals, gradient: Array) -> tuple[Array, Array, Array | None]:
    vectors, candidates, log_weight, value = residuals
    dtype = value.dtype

    def add_chunk(total: Array, step: tuple[Array, ...]) -> tuple[Array, Array]:
        chunk, value, gradient = step
        # The gradient of a log-sum-exp is the softmax, here from the stored sums without another pass over candidates.
        share = jnp.exp(_weighted_logits(chunk, candidates, log_weight) - value[:, None]) * gradient[:, None]
        share = share.astype(candidates.dtype)
        to_vectors = einsum("uc,cd->ud", share, candidates, dtype=dtype)
        more = einsum("uc,ud->cd", share, chunk, dtype=dtype)
        return total + more, to_vectors.astype(vectors.dtype)

    start = jnp.zeros(candidates.shape, dtype)
    # Padded rows are zeros with gradient 0, so their exponentials are finite and add nothing.
    total, to_vectors = jax.lax.scan(add_chunk, start, _chunks(vectors, value, gradient))
    no_gradient = None if log_weight is None else jnp.zeros_like(log_weight)
    return to_vectors.reshape(-1, vectors.shape[1])[: len(vectors)], total.astype(candidates.dtype), no_gradient


_log_normalizer.defvjp(_normalizer_forward, _normalizer_backward)  # pyright: ignore[reportUnknownMemberType]


def _pair_logits(
    vectors: Float[Array, "query dim"],
    candidates: Float[Array, "candidate dim"],
    query: Int[Array, " n"],
    candidate: Int[Array, " n"],
) -> Float[Array, " n"]:
    """vector . candidate of listed pairs, summed in at least f32; padding pairs give 0."""
    dtype = jnp.promote_types(vectors.dtype, jnp.float32)
    return einsum("pd,pd->p", take_rows(vectors, query), take_rows(candidates, candidate), dtype=dtype)


def answer_log_probabilities(
    raw_vectors: Float[Array, "query dim"],
    history_vectors: Float[Array, "query dim"],
    candidates: Float[Array, "candidate dim"],
    queries: Queries,
    history_rate: float,
    mask: HistoryMask,
    rows: EntityRows | None = None,
    num_entities: int | None = None,
) -> Float[Array, " answer"]:
    """Log probability of the answers alone, equal to picking them out of `log_probabilities`.

    Neither mode makes a [query, candidate] array. Raw mode needs its normaliser and the logits of the answers. In
    history mode a candidate outside the history has logit 0, so the normaliser is a sum over the history plus the
    number of the others. When the candidates are `rows` of `num_entities` entities, the normaliser of raw mode is the
    weighted estimate of the rows (importance sampling: Bengio and Senecal, 2008), and that of history mode is still
    exact.
    """
    # A padded row has weight 0; its logarithm -inf removes it from the sum.
    log_weight = None if rows is None else jnp.log(rows.weight).astype(at_least_f32(raw_vectors).dtype)
    normalizer = log_normalizer(raw_vectors, candidates, log_weight)
    own = _pair_logits(raw_vectors, candidates, queries.answer_query, queries.answer)
    raw = own - take_rows(normalizer, queries.answer_query, padded=False)
    # All entities of the vocabulary count here: those that are not among the rows have logit 0 as well.
    mode = _history_mode(history_vectors, candidates, queries, mask, num_entities or len(candidates))
    history = _answer_history(history_vectors, candidates, queries, mode)
    return mix_log_probabilities(raw, history, history_rate)


class _HistoryMode(NamedTuple):
    """History mode from the pairs of the history alone."""

    pair: Float[Array, " history"]  # logits of the pairs
    other: Float[Array, " query"]  # logit of all candidates outside the history: 0 or -inf
    normalizer: Float[Array, " query"]  # its logarithm


def _history_mode(
    vectors: Float[Array, "query dim"],
    candidates: Float[Array, "candidate dim"],
    queries: Queries,
    mask: HistoryMask,
    num_candidates: int,
) -> _HistoryMode:
    # Padding pairs lie one past the last query: a segment of their own, cut off.
    size, query = len(vectors), queries.history_query
    # On several devices the padding of one part lies before the pairs of the next, so they are not ascending.
    is_sorted = in_one_part()
    pair = _pair_logits(vectors, candidates, query, queries.history_candidate)
    real = query < size
    count = segment_sum(real.astype(pair.dtype), query, size + 1, is_sorted)[:size]
    others = num_candidates - count
    if mask == "exclude":
        others = jnp.where(count > 0, 0, others)
    top = jax.ops.segment_max(jnp.where(real, pair, -jnp.inf), query, size + 1, indices_are_sorted=is_sorted)[:size]
    # The maximum only guards against overflow and cancels in the result, so it needs no gradient.
    top = jax.lax.stop_gradient(top)
    # The candidates outside the history have logit 0, where there are any.
    top = jnp.where(others > 0, jnp.maximum(top, 0), top)
    exponential = jnp.where(real, jnp.exp(pair - top[jnp.minimum(query, size - 1)]), 0)
    total = segment_sum(exponential, query, size + 1, is_sorted)[:size]
    # exp(-top) may be infinite, and 0 others times infinity is NaN: hence the `where`.
    normalizer = top + jnp.log(total + others * jnp.where(others > 0, jnp.exp(-top), 0))
    other = jnp.zeros_like(normalizer)
    if mask == "exclude":
        other = jnp.where(count > 0, -jnp.inf, other)
    return _HistoryMode(pair, other, normalizer)


def _answer_history(
    vectors: Float[Array, "query dim"], candidates: Float[Array, "candidate dim"], queries: Queries, mode: _HistoryMode
) -> Float[Array, " answer"]:
    """Log probability of the answers in history mode."""
    query = queries.answer_query
    own = _pair_logits(vectors, candidates, query, queries.answer)
    history = jnp.where(queries.answer_in_history, own, take_rows(mode.other, query, padded=False))
    return history - take_rows(mode.normalizer, query, padded=False)


def ranking_scores(
    raw_vectors: Float[Array, "query dim"],
    history_vectors: Float[Array, "query dim"],
    candidates: Float[Array, "candidate dim"],
    queries: Queries,
    history_rate: float,
    mask: HistoryMask,
    num_candidates: int | None = None,
) -> tuple[Float[Array, "query candidate"], Float[Array, " answer"]]:
    """Probability of every candidate and log probability of the answers, with one product and one exponential per pair.

    In history mode all candidates of a query outside its history share one probability, so that only the pairs of the
    history are computed.

    **Arguments:** `num_candidates`: candidates without the padding at their end, which gets probability 0.
    """
    logits = split(candidate_logits(raw_vectors, candidates), "data", "entity")
    count = num_candidates or len(candidates)
    # Rows that pad the entity table on several devices are no candidates.
    real = None if count == len(candidates) else jnp.arange(len(candidates)) < count
    if real is not None:
        logits = jnp.where(real, logits, -jnp.inf)
    normalizer = jax.nn.logsumexp(logits, -1)
    mode = _history_mode(history_vectors, candidates, queries, mask, count)
    # Every candidate gets the shared probability of the others first; the pairs of the history are then overwritten.
    other = history_rate * jnp.exp(mode.other - mode.normalizer)
    # A padded pair lies outside and is dropped, whatever its value.
    query = jnp.minimum(queries.history_query, len(logits) - 1)
    pair = logits.at[query, queries.history_candidate].get(mode="clip")
    raw_part = (1 - history_rate) * jnp.exp(pair - normalizer[query])
    in_history = raw_part + history_rate * jnp.exp(mode.pair - mode.normalizer[query])
    score = (1 - history_rate) * jnp.exp(logits - normalizer[:, None]) + other[:, None]
    if real is not None:
        score = jnp.where(real, score, 0)
    score = score.at[queries.history_query, queries.history_candidate].set(in_history, mode="drop")
    # Answers are mixed in log space once more: their NLL must not suffer from a probability that underflows to 0.
    raw = logits[queries.answer_query, queries.answer] - normalizer[queries.answer_query]
    history = _answer_history(history_vectors, candidates, queries, mode)
    return score, mix_log_probabilities(raw, history, history_rate)


def sampled_log_probabilities(
    raw_vectors: Float[Array, "query dim"],
    history_vectors: Float[Array, "query dim"],
    candidates: Float[Array, "candidate dim"],
    queries: Queries,
    history_rate: float,
    mask: HistoryMask,
) -> Float[Array, " answer"]:
    """Log probability of the answers among themselves and their sampled negatives."""
    assert queries.negatives is not None and queries.candidate_in_history is not None
    # (answer, 1 + negative, dim), the answer first: position 0 of the softmax is its probability.
    chosen = take_rows(candidates, jnp.concatenate([queries.answer[:, None], queries.negatives], 1), padded=False)
    dtype = jnp.promote_types(chosen.dtype, jnp.float32)

    def logits(vectors: Float[Array, "query dim"]) -> Float[Array, "answer candidate"]:
        return einsum("ad,acd->ac", take_rows(vectors, queries.answer_query, padded=False), chosen, dtype=dtype)

    raw = jax.nn.log_softmax(logits(raw_vectors), -1)[:, 0]
    history = history_logits(logits(history_vectors), queries.candidate_in_history, mask)
    return mix_log_probabilities(raw, jax.nn.log_softmax(history, -1)[:, 0], history_rate)
