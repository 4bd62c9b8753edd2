"""Plots of a page."""

import re

import numpy as np
import pytest

from tirgn_eqx.report.plots import Series, choose_ticks, draw_intervals, draw_lines, thin


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.66, 0.67), (1, 100), (-3, 1e6), (5, 5)])
def test_ticks_are_few_and_inside(low, high):
    found = choose_ticks(low, high)
    assert 1 <= len(found) <= 7 and all(low - 1e-9 <= value <= high + 1e-9 for value in found)
    assert found == sorted(set(found))


def test_lines_stay_inside_and_break_at_gaps():
    picture = draw_lines("t", "x", "y", [Series("a", [(1, 2.0), (2, None), (3, float("nan")), (4, 8.0), (5, 9.0)])])
    (path,) = re.findall(r'class="line" d="([^"]*)"', picture)
    assert path.count("M") == 2 and path.count("L") == 1
    places = np.array(re.findall(r"([\d.]+) ([\d.]+)", path), float)
    assert (places[:, 0] <= 460).all() and (places[:, 1] <= 280).all() and (places >= 0).all()
    assert draw_lines("t", "x", "y", [Series("a", [(1, None)])]) == ""
    assert len(thin([(x, 1.0) for x in range(9999)])) == 400


def test_intervals_lie_where_their_numbers_are():
    rows = [("a", 1.0, 0.5, 1.5), ("b" * 60, -2.0, -3.0, -1.0), ("<i>", 0.0, 0.0, 0.0)]
    picture = draw_intervals("t", "points", rows)
    found = [[float(x) for x in pair] for pair in re.findall(r'class="line" d="M([\d.]+) [\d.]+H([\d.]+)"', picture)]
    (zero,) = re.findall(r'class="axis" d="M([\d.]+) \d+V', picture)
    assert found[0][0] > float(zero) > found[1][1] and found[2] == [float(zero)] * 2
    width = (found[0][1] - found[0][0], found[1][1] - found[1][0])
    assert width[1] == pytest.approx(2 * width[0], abs=0.2)
    assert "&lt;i&gt;" in picture and "b" * 60 not in picture and draw_intervals("t", "x", []) == ""


def test_a_date_below_the_last_tick_does_not_stick_out():
    dates = [Series("a", [(0, 1.0), (1, 2.0)])]
    picture = draw_lines("t", "week", "y", dates, format_x=lambda place: f"2014-12-0{place:.0f}")
    assert re.search(r'<text x="460" y="\d+" text-anchor="end">2014-12-01<', picture)
    assert re.search(r'<text x="66.0" y="\d+" text-anchor="middle">2014-12-00<', picture)
