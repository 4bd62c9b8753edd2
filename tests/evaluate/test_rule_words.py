"""Rules in words."""

import pytest

from tests.helpers import dataset, make_graph
from tirgn_eqx import load_graph
from tirgn_eqx.evaluate.rule_words import (
    age_bounds,
    describe_ages,
    describe_figures,
    describe_rule,
    format_lift,
    step_name,
)


def test_ages_in_words():
    assert [describe_ages(*age_bounds(band), "day") for band in range(4)] == [
        "the next day",
        "2 to 7 days later",
        "8 to 30 days later",
        "more than 30 days later",
    ]


def test_a_rule_in_words():
    assert describe_rule(("B", "Threaten", "A"), "Accuse", "the next day") == (
        "After B - Threaten - A, A - Accuse - B the next day"
    )
    assert describe_rule(("anyone", "Accuse", "B"), "Accuse", "the next day") == (
        "After anyone - Accuse - B, A - Accuse - B the next day"
    )
    # Only the same two in the same direction are a repeat.
    assert describe_rule(("A", "Accuse", "B"), "Accuse", "later").endswith(" B, the same again later")
    assert describe_rule(("B", "Accuse", "A"), "Accuse", "later").endswith(" A, A - Accuse - B later")


def test_figures_in_words():
    assert describe_figures(1812, 0.0424, 3.14) == "3.1 times as likely as usual (support 1,812, confidence 4.2 %)"
    assert describe_figures(7, 0.0, 0.0) == describe_figures(7, 0.0, None) == "never came (support 7, confidence 0.0 %)"
    assert [format_lift(lift) for lift in (None, 0.04, 9.94, 9.96, 1234.5)] == ["-", "0.0", "9.9", "10", "1,234"]


@pytest.mark.parametrize(
    "unit, interval, name",
    [(None, 1, "step"), (86_400, 1, "day"), (60, 60, "hour"), (1, 3600, "hour"), (60, 15, "step"), (3600, 24, "day")],
)
def test_a_step_is_called_by_its_length(unit, interval, name):
    facts = [(0, 0, 1, 0), (1, 0, 0, interval)]
    graph = make_graph(facts, num_entities=2, num_relations=1, time_unit=unit, time_interval=interval)
    assert step_name(graph) == name


def test_the_steps_of_published_sets_are_known():
    assert step_name(load_graph(dataset("YAGO"))) == "year"
