"""The best of many rows against a whole sort."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tirgn_eqx.forecast.probable import largest, largest_sums

VALUES = st.lists(st.integers(0, 4), max_size=12)


@settings(deadline=None)
@given(VALUES, st.integers(1, 13), st.randoms(use_true_random=False))
def test_the_largest_values_with_ties_by_id(values, number, order):
    ids = list(range(len(values)))
    order.shuffle(ids)
    chosen = largest(np.array(values, np.float64), np.array(ids, np.int64), number)
    best = sorted(range(len(values)), key=lambda place: (-values[place], ids[place]))[:number]
    assert sorted(chosen.tolist()) == sorted(best)


@settings(deadline=None)
@given(VALUES, VALUES)
def test_all_sums_are_given_largest_first(first, second):
    found = list(largest_sums(np.array(first, np.float64), np.array(second, np.float64)))
    sums = [first[i] + second[j] for i, j in found]
    assert sums == sorted(sums, reverse=True)
    assert sorted(found) == [(i, j) for i in range(len(first)) for j in range(len(second))]
