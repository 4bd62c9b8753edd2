import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tirgn_eqx.evaluate.ranks import answer_ranks
from tirgn_eqx.evaluate.results import summarize
from tirgn_eqx.types import Queries

QUERIES, CANDIDATES, ANSWERS, TRUE = 3, 6, 8, 16


@jax.jit
def ranks_of(scores, queries):
    return answer_ranks(scores, scores[queries.answer_query, queries.answer], queries)


def make_queries(answers, true):
    """Queries with the given (query, answer) and true (query, candidate) pairs, padded as the loader pads."""

    def pad(pairs, size, filler):
        return np.array(pairs + [filler] * (size - len(pairs)), np.int32).T

    answer_query, answer = pad(answers, ANSWERS, (0, 0))
    true_query, true_candidate = pad(true, TRUE, (QUERIES, CANDIDATES))
    weight = np.bincount([query for query, _ in answers], minlength=QUERIES)
    empty = jnp.zeros(0, jnp.int32)
    return Queries(
        subject=jnp.zeros(QUERIES, jnp.int32),
        condition=jnp.zeros(QUERIES, jnp.int32),
        weight=jnp.asarray(weight, jnp.float32),
        answer_query=jnp.asarray(answer_query),
        answer=jnp.asarray(answer),
        answer_weight=jnp.asarray(np.arange(ANSWERS) < len(answers), jnp.float32),
        answer_in_history=jnp.zeros(ANSWERS, bool),
        history_query=empty,
        history_candidate=empty,
        true_query=jnp.asarray(true_query),
        true_candidate=jnp.asarray(true_candidate),
    )


def rank(scores, answer, left_out=()):
    """Mean of the best and the worst place that `answer` can get by breaking ties."""
    others = [score for i, score in enumerate(scores) if i != answer and i not in left_out]
    best = 1 + sum(score > scores[answer] for score in others)
    worst = 1 + sum(score >= scores[answer] for score in others)
    return (best + worst) / 2


@st.composite
def problems(draw):
    """Scores with many ties, answers, and every true pair: the answers and some more."""
    levels = st.sampled_from([-np.inf, -2.5, -1.25, -1.0])
    scores = draw(st.lists(levels, min_size=QUERIES * CANDIDATES, max_size=QUERIES * CANDIDATES))
    pair = st.tuples(st.integers(0, QUERIES - 1), st.integers(0, CANDIDATES - 1))
    answers = draw(st.lists(pair, min_size=1, max_size=ANSWERS))
    more = draw(st.sets(pair, max_size=TRUE - ANSWERS))
    return np.array(scores, np.float32).reshape(QUERIES, CANDIDATES), answers, sorted(more | set(answers))


@settings(max_examples=150, deadline=None)
@given(problems())
def test_ranks_by_counting(problem):
    scores, answers, true = problem
    ranks = ranks_of(jnp.asarray(scores), make_queries(answers, true))
    for i, (query, answer) in enumerate(answers):
        known = {candidate for other, candidate in true if other == query}
        filtered, raw = float(ranks.filtered[i]), float(ranks.raw[i])
        assert raw == rank(scores[query], answer)
        assert filtered == rank(scores[query], answer, known - {answer})
        assert float(ranks.nll[i]) == -scores[query, answer]
        assert 1 <= filtered <= raw <= CANDIDATES
        assert filtered <= CANDIDATES - len(known) + 1


@settings(max_examples=50, deadline=None)
@given(problems(), st.sampled_from([-np.inf, -2.0, -0.5]))
def test_scores_of_other_true_answers_do_not_matter_under_the_filter(problem, score):
    scores, answers, true = problem
    queries = make_queries(answers, true)
    before = ranks_of(jnp.asarray(scores), queries)
    changed = scores.copy()
    (own, truth), others = answers[0], [c for query, c in true if query == answers[0][0]]
    changed[own, [c for c in others if c != truth]] = score
    after = ranks_of(jnp.asarray(changed), queries)
    assert float(before.filtered[0]) == float(after.filtered[0])


def test_equal_scores_for_all_give_the_middle():
    ranks = ranks_of(jnp.full((QUERIES, CANDIDATES), -1.5), make_queries([(1, 4)], [(1, 4), (1, 0), (1, 2)]))
    assert float(ranks.raw[0]) == (1 + CANDIDATES) / 2
    assert float(ranks.filtered[0]) == (1 + CANDIDATES - 2) / 2


def test_nan_scores_give_nan_and_never_a_good_rank():
    scores = np.full((QUERIES, CANDIDATES), -1.0, np.float32)
    scores[1] = np.nan
    ranks = ranks_of(jnp.asarray(scores), make_queries([(0, 1), (1, 4)], [(0, 1), (1, 4)]))
    for values in ranks:
        assert np.isfinite(values[0]) and np.isnan(values[1])
    figures = summarize(np.asarray(ranks.filtered[:2]))
    assert np.isnan(figures["mrr"])


def test_brier_and_confidence():
    scores = np.zeros((QUERIES, CANDIDATES), np.float32)
    scores[0], scores[1] = [0.5, 0.25, 0.25, 0, 0, 0], [0.4, 0.4, 0.2, 0, 0, 0]
    answers = [(0, 0), (0, 1), (1, 0), (1, 2)]
    found = ranks_of(jnp.asarray(scores), make_queries(answers, answers))
    number = len(answers)
    squares = [0.375, 0.375, 0.36, 0.36]
    own = [0.5, 0.25, 0.4, 0.2]
    expected = [total - 2 * p + 1 for total, p in zip(squares, own)]
    np.testing.assert_allclose(np.asarray(found.brier)[:number], expected, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(found.confidence)[:number], [0.5, 0.5, 0.4, 0.4], rtol=1e-6)
    # Two that are equally probable are right by half.
    assert np.asarray(found.right)[:number].tolist() == [1, 0, 0.5, 0]


def test_rows_of_padding_take_no_place():
    """The last two columns pad a table; whatever stands there, the ranks are those without them."""
    scores = np.tile(np.array([0.1, 0.4, 0.2, 0.3, 0.9, 0.2], np.float32), (QUERIES, 1))
    answers = [(0, 1), (1, 2), (2, 0)]
    queries = make_queries(answers, answers)
    rank_of = jax.jit(lambda scores, queries: answer_ranks(scores, jnp.zeros(ANSWERS), queries, 4))
    found = rank_of(jnp.asarray(scores), queries)
    expected = [rank(scores[query, :4], answer) for query, answer in answers]
    assert found.raw[:3].tolist() == found.filtered[:3].tolist() == expected == [1, 3, 4]
