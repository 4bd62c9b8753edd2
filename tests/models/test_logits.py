"""Probabilities of raw and history mode against sums over all candidates, with both masks and both losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import normal
from tirgn_eqx.models import logits
from tirgn_eqx.types import EntityRows, Queries

NUM_QUERIES, CANDIDATES, DIM = 4, 7, 3
# Query 2 has no history; that of query 3 contains every candidate.
IN_HISTORY = [{1, 4}, {0, 2, 6}, set(), set(range(CANDIDATES))]
ANSWERS = [(0, 1), (0, 3), (1, 0), (1, 5), (2, 2), (3, 6)]
NEGATIVES = np.array([[0, 4], [1, 6], [3, 2], [6, 1], [5, 0], [1, 2]])
MASKS, RATES = ["multiply", "exclude"], [0.0, 0.3, 1.0]


def f32(x):
    return jnp.asarray(x, jnp.float32)


RAW, HISTORY, TABLE = (normal(seed, rows, DIM) for seed, rows in ((1, NUM_QUERIES), (2, NUM_QUERIES), (3, CANDIDATES)))


def make_queries(**fields):
    """With two padded pairs at the end of the history."""
    pairs = [(query, c) for query, past in enumerate(IN_HISTORY) for c in sorted(past)] + [
        (NUM_QUERIES, CANDIDATES)
    ] * 2
    query, answer = np.array(ANSWERS).T

    def whole(x):
        return jnp.asarray(np.asarray(x), jnp.int32)

    return Queries(
        subject=whole(np.zeros(NUM_QUERIES)),
        condition=whole(np.zeros(NUM_QUERIES)),
        weight=jnp.ones(NUM_QUERIES),
        answer_query=whole(query),
        answer=whole(answer),
        answer_weight=jnp.ones(len(ANSWERS)),
        answer_in_history=jnp.array([o in IN_HISTORY[u] for u, o in ANSWERS]),
        history_query=whole([u for u, _ in pairs]),
        history_candidate=whole([c for _, c in pairs]),
        **fields,
    )


def softmax(logits):
    with np.errstate(over="ignore"):
        return np.exp(logits) / np.exp(logits).sum()


def history_logits(products, seen, mask):
    """Of one query; `seen`: positions among `products`."""
    inside = np.isin(np.arange(len(products)), list(seen))
    if mask == "exclude" and inside.any():
        return np.where(inside, products, -np.inf)
    return np.where(inside, products, 0.0)


def expected(query, mask, rate, chosen=None):
    """Probabilities of the candidates `chosen` (all), straight from the definition."""
    chosen = np.arange(CANDIDATES) if chosen is None else np.asarray(chosen)
    raw = softmax(TABLE[chosen] @ RAW[query])
    seen = [place for place, c in enumerate(chosen.tolist()) if c in IN_HISTORY[query]]
    past = softmax(history_logits(TABLE[chosen] @ HISTORY[query], seen, mask))
    return rate * past + (1 - rate) * raw


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("rate", RATES)
def test_probabilities_are_those_of_the_definition(mask, rate):
    queries, vectors = make_queries(), (f32(RAW), f32(HISTORY), f32(TABLE))
    wanted = np.array([expected(query, mask, rate) for query in range(NUM_QUERIES)])
    every = logits.log_probabilities(*vectors, logits.in_history(queries, CANDIDATES), rate, mask)
    np.testing.assert_allclose(np.exp(every), wanted, rtol=1e-5, atol=1e-7)
    query, answer = np.array(ANSWERS).T
    with np.errstate(divide="ignore"):  # what `exclude` makes impossible
        logs = np.log(wanted[query, answer])
    own = logits.answer_log_probabilities(*vectors, queries, rate, mask)
    np.testing.assert_allclose(own, logs, rtol=1e-5, atol=1e-6)
    ranking, again = logits.ranking_scores(*vectors, queries, rate, mask)
    np.testing.assert_allclose(ranking, wanted, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(again, logs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mask", MASKS)
def test_rows_of_padding_have_no_part(mask):
    """A table with two more rows than there are candidates, as on several devices."""
    table = np.concatenate([TABLE, normal(9, 2, DIM)])
    found, own = logits.ranking_scores(f32(RAW), f32(HISTORY), f32(table), make_queries(), 0.3, mask, CANDIDATES)
    wanted = np.array([expected(query, mask, 0.3) for query in range(NUM_QUERIES)])
    np.testing.assert_allclose(found[:, :CANDIDATES], wanted, rtol=1e-5, atol=1e-7)
    assert not np.asarray(found[:, CANDIDATES:]).any()
    query, answer = np.array(ANSWERS).T
    np.testing.assert_allclose(own, np.log(wanted[query, answer]), rtol=1e-5)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("rate", RATES)
def test_the_sampled_loss_is_of_the_answer_among_its_negatives(mask, rate):
    chosen = np.concatenate([np.array(ANSWERS)[:, 1:], NEGATIVES], 1)
    history = np.array([[c in IN_HISTORY[u] for c in row] for (u, _), row in zip(ANSWERS, chosen.tolist())])
    queries = make_queries(negatives=jnp.asarray(NEGATIVES, jnp.int32), candidate_in_history=jnp.asarray(history))
    found = logits.sampled_log_probabilities(f32(RAW), f32(HISTORY), f32(TABLE), queries, rate, mask)
    wanted = [expected(u, mask, rate, row)[0] for (u, _), row in zip(ANSWERS, chosen)]
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(found, np.log(wanted), rtol=1e-5, atol=1e-6)


def test_a_drawn_row_counts_for_all_that_it_stands_for():
    """Raw mode over a table in which two candidates stand for three each."""
    weight = np.array([1, 1, 3, 1, 1, 3, 1.0])
    rows = EntityRows(jnp.arange(CANDIDATES), f32(weight))
    found = logits.answer_log_probabilities(
        f32(RAW), f32(HISTORY), f32(TABLE), make_queries(), 0.0, "multiply", rows, 11
    )
    for (query, answer), ours in zip(ANSWERS, np.asarray(found)):
        products = TABLE @ RAW[query]
        assert ours == pytest.approx(products[answer] - np.log(weight @ np.exp(products)), rel=1e-5)


def test_the_gradient_of_impossible_answers_is_finite():
    """`exclude` makes unseen answers impossible; the others still learn."""
    keep = f32([o in IN_HISTORY[u] or not IN_HISTORY[u] for u, o in ANSWERS])

    def loss(raw, history, table):
        own = logits.answer_log_probabilities(raw, history, table, make_queries(), 1.0, "exclude")
        return -jnp.sum(jnp.where(keep > 0, own, 0))

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(f32(RAW), f32(HISTORY), f32(TABLE))
    assert all(np.isfinite(part).all() for part in gradient) and np.asarray(gradient[1]).any()
