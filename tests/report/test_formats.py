"""Values as a page shows them."""

import html

import pytest
from markupsafe import Markup

from tirgn_eqx.report.formats import (
    MAX_LENGTH,
    MAX_NOTE_LENGTH,
    break_words,
    format_chance,
    format_elapsed,
    format_minute,
    format_number,
    format_percent,
    format_rank,
    format_steps,
    format_times,
    safe_note,
    safe_text,
)


def test_texts_are_harmless_and_not_endless():
    assert safe_text("<&>\x00\x1b") == html.escape("<&>") + "\\x00\\x1b"
    assert len(safe_text("x" * 10**5)) == MAX_LENGTH and len(safe_note("x" * 10**5)) == MAX_NOTE_LENGTH
    assert safe_text(Markup("<b>")) == "<b>"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.5e-5, "1.5e-05"),
        (0.00125, "0.00125"),
        (0.0, "0.0000"),
        (0.25, "0.2500"),
        (-12.34567, "-12.3457"),
        (1e4, "10,000"),
    ],
)
def test_small_numbers_keep_their_digits(value, shown):
    assert format_number(value) == shown


def test_what_is_not_known_is_a_dash():
    for format_value in (format_number, format_percent, format_elapsed):
        assert format_value(None) == format_value(float("nan")) == "–"


def test_durations_ranks_and_times():
    assert [format_elapsed(seconds) for seconds in (1.26, 61, 3725)] == ["1.3 s", "1 min", "1 h 02 min"]
    assert [format_rank(rank) for rank in (1.0, 2.5, 1234.0)] == ["1", "2.5", "1,234"]
    assert format_minute("2026-01-02T03:04:05+00:00") == "2026-01-02 03:04 UTC" and format_minute("soon") == "soon"


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (1.0, "more than 99 in 100"),
        (0.994, "about 99 in 100"),
        (0.91, "about 91 in 100"),
        (0.9, "about 9 in 10"),
        (0.28, "about 3 in 10"),
        (0.27, "about 1 in 4"),
        (0.148, "about 1 in 7"),
        (0.01, "about 1 in 100"),
        (0.00121, "about 1 in 830"),
        (0.0001, "about 1 in 10,000"),
        (0.0, "less than 1 in 10,000"),
        (float("nan"), "–"),
    ],
)
def test_a_chance_in_natural_frequencies(probability, words):
    assert format_chance(probability) == words


def test_a_chance_in_words_is_near_the_probability():
    for number in range(1, 1000):
        words = format_chance(number / 1000).replace(",", "").split()
        assert int(words[-3]) / int(words[-1]) == pytest.approx(number / 1000, rel=0.15)


def test_names_break_after_their_underscores_alone():
    assert break_words("Make_a<b>") == "Make_<wbr>a&lt;b&gt;"
    assert [format_times(number) for number in (0, 1, 2, 1234)] == ["never", "once", "twice", "1,234 times"]
    assert (format_steps(1, "day"), format_steps(7, "day")) == ("1 day", "7 days")
