"""Exponents of costs."""

import pytest

from benchmarks import scaling


def test_exponents_of_power_laws():
    points = [{"size": n, "step_seconds": 0.5 * n**1.5, "epoch_seconds": None} for n in (1, 4, 64)]
    assert scaling.exponents(points) == {"step_seconds": {"all": pytest.approx(1.5), "tail": pytest.approx(1.5)}}
