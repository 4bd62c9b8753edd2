"""Small pictures: marks where the events were, within the picture."""

import re

import pytest

from tirgn_eqx.forecast.timeline import PastTime, Timeline, TimelineRow
from tirgn_eqx.report.strips import HEIGHT, WIDTH, draw_chance, draw_strip


def row_of(*times):
    past = [PastTime(time=f"day {ago}", ago=ago, events=events) for ago, events in times]
    return TimelineRow(subject="A", relation="r", object="B", events=9, last="day 1", times=past)


def marks(strip):
    """(place, length) of every mark."""
    return [(float(x), float(length)) for x, length in re.findall(rf"M([\d.]+) {HEIGHT}v-([\d.]+)", strip)]


def test_marks_stand_at_their_times_before_the_forecast():
    row = row_of((90, 1), (45, 4), (1, 1))
    strip = draw_strip(row, Timeline(begin="day 90", steps=90, rows=[row]), 10, 4)
    places, lengths = zip(*marks(strip))
    assert places == pytest.approx([2, 182, 358]) and lengths[1] > lengths[0] == lengths[2]
    (begin, wide) = re.search(r'class="ahead" x="([\d.]+)" width="([\d.]+)"', strip).groups()
    assert float(begin) == 360 and float(begin) + float(wide) == WIDTH and max(lengths) <= HEIGHT
    assert 'aria-label="Times since day 90, latest first: day 1, day 45, day 90"' in strip


def test_a_strip_without_events_says_so_and_a_long_one_names_the_latest():
    none, many = row_of(), row_of(*((ago, 1) for ago in range(30, 0, -1)))
    assert 'aria-label="None since 2020"' in draw_strip(none, Timeline(begin=2020, steps=9, rows=[none]), 7, 1)
    strip = draw_strip(many, Timeline(begin=1, steps=30, rows=[many]), 7, 1)
    assert "latest first: day 1, day 2, day 3, day 4, day 5, and before" in strip


def test_names_in_a_label_are_escaped():
    row = row_of((1, 1))
    strip = draw_strip(row, Timeline(begin='"><b>', steps=3, rows=[row]), 1, 1)
    assert '"><b>' not in strip and "&lt;b&gt;" in strip


def test_a_bar_is_as_long_as_the_probability_and_is_not_read_aloud():
    bar = draw_chance(0.25, 0.5)
    assert 'width="25.0"' in bar and 'd="M50.0 0' in bar and 'aria-hidden="true"' in bar
    assert "mark" not in draw_chance(0.25, None)
