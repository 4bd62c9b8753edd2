"""Figures of ranks, calibration, and the documents for JSON."""

import numpy as np
import pytest

from tirgn_eqx.evaluate.results import calibration, summarize


def test_summary():
    figures = summarize(np.array([1.0, 2.0, 4.0, 10.5]), np.array([0.0, 1.0, 2.0, 5.0]))
    assert figures == {
        "mrr": pytest.approx((1 + 1 / 2 + 1 / 4 + 1 / 10.5) / 4),
        "hits_at_1": 0.25,
        "hits_at_3": 0.5,
        "hits_at_10": 0.75,
        "nll": 2.0,
    }
    assert all(np.isnan(value) for value in summarize(np.zeros(0), np.zeros(0)).values())


def test_calibration_error():
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.1, 0.1])
    right = np.array([1.0, 1.0, 1.0, 0.0, 0.5, 0.5])
    found = calibration(confidence, right, np.full(6, 0.25), bins=10)
    assert found.brier == 0.25
    assert found.ece == pytest.approx((4 * abs(0.9 - 0.75) + 2 * abs(0.1 - 0.5)) / 6)
    assert [(row.queries, row.right) for row in found.reliability] == [(2, 0.5), (4, 0.75)]
    assert calibration(np.array([1.0]), np.array([1.0]), np.zeros(1)).ece == 0
    for broken in (np.array([np.nan]), np.zeros(0)):
        assert np.isnan(calibration(broken, broken, broken).ece)


def test_bins_hold_the_probabilities_between_their_bounds():
    confidence = np.array([0.0, 0.05, 0.1, 0.19, 0.2, 0.95, 1.0])
    rows = calibration(confidence, np.ones(7), np.zeros(7), bins=10).reliability
    told = [(row.low, row.high, row.queries) for row in rows]
    assert told == [(0.0, 0.1, 2), (0.1, 0.2, 2), (0.2, 0.3, 1), (0.9, 1.0, 2)]
    for row in rows:
        assert row.low <= row.probability <= row.high
