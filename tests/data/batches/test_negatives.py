import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tirgn_eqx.data.batches.negatives import negative_sampling
from tirgn_eqx.errors import DataError


class Given(np.random.Generator):
    """A generator whose uniform numbers are those that it was given."""

    def __init__(self, numbers):
        super().__init__(np.random.PCG64(0))
        self.numbers = numbers

    def random(self, size):  # pyright: ignore[reportIncompatibleMethodOverride]
        assert size == self.numbers.shape
        return self.numbers


@st.composite
def problems(draw):
    """(candidates, the true ones of every unit, the unit of every answer); every unit leaves one out."""
    candidates = draw(st.integers(2, 12))
    some = st.sets(st.integers(0, candidates - 1), max_size=candidates - 1)
    true = draw(st.lists(some, min_size=1, max_size=6))
    units = draw(st.lists(st.integers(0, len(true) - 1), max_size=10))
    return candidates, true, units, draw(st.permutations(range(sum(map(len, true)))))


def arrays(true, units, order):
    flat = np.array([(u, c) for u, some in enumerate(true) for c in some], np.int64).reshape(-1, 2)
    flat = flat[np.array(order, np.int64)]
    return np.array(units, np.int64), flat[:, 0], flat[:, 1].astype(np.int32)


@settings(max_examples=150, deadline=None)
@given(problems())
def test_the_kth_draw_is_the_kth_candidate_that_is_not_true(problem):
    candidates, true, units, order = problem
    free = [sorted(set(range(candidates)) - true[unit]) for unit in units]
    numbers = np.array([[(k % len(f) + 0.5) / len(f) for k in range(candidates)] for f in free])
    numbers = numbers.reshape(len(units), candidates)
    drawn = negative_sampling(Given(numbers), *arrays(true, units, order), candidates, candidates)
    assert drawn.dtype == np.int32 and drawn.shape == (len(units), candidates)
    assert drawn.tolist() == [[f[k % len(f)] for k in range(candidates)] for f in free]


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(0, 100))
def test_never_a_true_answer(problem, seed):
    candidates, true, units, order = problem
    rng = np.random.default_rng(seed)
    drawn = negative_sampling(rng, *arrays(true, units, order), candidates, 20)
    for unit, row in zip(units, drawn.tolist()):
        assert set(row) <= set(range(candidates)) - true[unit]


def test_extremes_of_the_uniform_numbers_stay_inside():
    numbers = np.array([[0.0, np.nextafter(1, 0)]])
    pairs = (np.array([0, 0, 0]), np.array([0, 2, 5]))
    drawn = negative_sampling(Given(numbers), np.array([0]), *pairs, 6, 2)
    assert drawn.tolist() == [[1, 4]]


def test_uniform_over_the_rest():
    true = [{0, 3, 4, 9}, set(), {1}]
    units, pairs = [0, 1, 2, 0], (np.array([0, 0, 0, 0, 2]), np.array([0, 3, 4, 9, 1]))
    drawn = negative_sampling(np.random.default_rng(0), np.array(units), *pairs, 10, 20_000)
    for unit, row in zip(units, drawn):
        rest = sorted(set(range(10)) - true[unit])
        count, expected = np.bincount(row, minlength=10), 20_000 / len(rest)
        assert count.sum() == count[rest].sum()
        # Chi-square with at most 9 degrees of freedom exceeds 27.9 once in a thousand.
        assert np.sum((count[rest] - expected) ** 2) / expected < 27.9
    assert not np.array_equal(drawn[0], drawn[3])


def test_no_candidate_left():
    answered_by_all = (np.array([0, 0, 0]), np.arange(3))
    with pytest.raises(DataError, match="all 3 entities.*loss=full"):
        negative_sampling(np.random.default_rng(0), np.array([0]), *answered_by_all, 3, 1)
    # A unit that nobody needs a negative for may be answered by all.
    drawn = negative_sampling(np.random.default_rng(0), np.array([1]), *answered_by_all, 3, 4)
    assert drawn.shape == (1, 4)
