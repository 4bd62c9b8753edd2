"""Scores of probabilities against loops, intervals and ties."""

import numpy as np
import pytest

from tirgn_eqx.evaluate.event_tally import LEAST_PROBABILITY, RuleTally, skill_interval, wilson_interval


def test_a_tally_by_hand():
    tally = RuleTally()
    tally.add(np.array([0.9, 0.5, 0.5, 0.001]), np.array([True, False, True, False]), total=4)
    tally.add(np.array([0.2, 0.1]), np.array([False, True]), total=1)
    found = tally.scores()
    squares = [0.01, 0.25, 0.25, 1e-6, 0.04, 0.81]
    assert found.brier == pytest.approx(np.mean(squares))
    logs = -np.log([0.9, 0.5, 0.5, 0.999, 0.8, 0.1])
    assert found.log_score == pytest.approx(np.mean(logs))
    # From the most probable down, equal ones at once: precision 1, 2/3, 2/3, 2/4, 3/5 where the three that came are.
    assert found.average_precision == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert found.precision["10"] == pytest.approx((2 / 10 + 1 / 10) / 2)
    assert found.recall["10"] == pytest.approx((2 / 4 + 1 / 1) / 2)
    error, bins = tally.reliability()
    assert sum(row.facts for row in bins) == 5 and all(row.probability >= LEAST_PROBABILITY for row in bins)
    gaps = [abs(0.9 - 1), abs(1.0 - 1), abs(0.2 - 0), abs(0.1 - 1)]
    assert error == pytest.approx(sum(gaps) / 5, abs=0.02)


def test_intervals():
    low, high = wilson_interval(0.5, 100)
    assert (low, high) == pytest.approx((0.404, 0.596), abs=1e-3)
    assert wilson_interval(0.0, 10)[0] == 0 and wilson_interval(1.0, 10)[1] == pytest.approx(1)
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(200), 1 + rng.random(200)
    low, high = skill_interval(ours, theirs)
    assert low < 1 - ours.sum() / theirs.sum() < high and high - low < 0.1
    assert skill_interval(theirs / 2, theirs) == pytest.approx([0.5, 0.5])
    # A snapshot in which nothing came has no skill, and most draws of these two are of it.
    assert skill_interval(np.array([0.1, 0.0]), np.array([0.2, 0.0])) == pytest.approx([0.5, 0.5])
    assert skill_interval(np.zeros(4), np.zeros(4)) is None


def test_errors_that_overlap_make_a_skill_less_certain():
    """Sums over runs of seven snapshots, of independent errors: drawn one by one they seem more certain than that."""
    rng, covered = np.random.default_rng(0), {1: 0, 7: 0}
    for seed in range(200):
        ours, theirs = (np.convolve(rng.exponential(mean, 66), np.ones(7), "valid") for mean in (1.0, 2.0))
        for block in covered:
            low, high = skill_interval(ours, theirs, block, seed)
            covered[block] += low < 0.5 < high
    assert covered[7] > covered[1] + 40 and covered[7] > 0.75 * 200
    assert skill_interval(np.ones(13), np.ones(13), 7) is None
    assert skill_interval(np.ones(14), 2 * np.ones(14), 7) == pytest.approx([0.5, 0.5])


def test_equal_probabilities_are_taken_in_any_order():
    """Of 20 facts with the same probability, 5 of which came, ten drawn at random hold 2.5 in the mean."""
    for order in (np.arange(20), np.arange(20)[::-1]):
        tally = RuleTally()
        occurred = (np.arange(20) < 5)[order]
        tally.add(np.full(20, 0.3), occurred, total=5)
        assert tally.scores().precision["10"] == pytest.approx(0.25)
        assert tally.scores().recall["100"] == 1
    tally = RuleTally()
    tally.add(np.array([0.9] * 8 + [0.3] * 4), np.array([True] * 8 + [True, False, False, False]), total=9)
    assert tally.scores().precision["10"] == pytest.approx((8 + 2 / 4) / 10)


def test_bins_begin_at_what_is_judged_and_overlapping_forecasts_are_one_trial():
    tally = RuleTally()
    tally.add(np.full(700, 0.03), np.arange(700) < 35, total=35)
    tally.add(np.full(1000, 0.0005), np.zeros(1000, bool), total=0)
    (_, (alone,)), (_, (together,)) = tally.reliability(), tally.reliability(7)
    assert (alone.low, alone.facts, together.facts) == (LEAST_PROBABILITY, 700, 700)
    assert alone.interval == pytest.approx(list(wilson_interval(0.05, 700)))
    assert together.interval == pytest.approx(list(wilson_interval(0.05, 100)))
