"""Occurrences of keys and their fading strengths."""

import numpy as np

from tirgn_eqx.data.index.occurrences import HALF_LIVES, build_occurrences


def test_strengths_follow_gaps_in_time():
    clock = np.array([0.0, 3.0, 7.0])
    index = build_occurrences(np.array([5, 5, 5, 9]), np.array([0, 0, 2, 1]), clock)
    assert index.key.tolist() == [5, 9]
    assert index.events.tolist() == [2, 3, 1]
    expected = [[2] * 4, [1 + 2 * 2 ** (-7 / half) for half in HALF_LIVES], [1] * 4]
    np.testing.assert_allclose(index.strength, expected, rtol=1e-6)
    assert index.last(np.array([0, 0, 0, 1, -1]), 2).tolist() == [0, 0, 0, 2, -1]
    assert index.last(np.array([0, 1]), 0).tolist() == [-1, -1]
    np.testing.assert_allclose(
        index.faded(np.array([1]), 8.0)[0], np.array(expected[1]) * 2 ** (-1 / np.array(HALF_LIVES))
    )
