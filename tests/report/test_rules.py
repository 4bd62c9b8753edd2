"""The section about the rules of models with evidence."""

import dataclasses

import pytest

from tests.report.test_page import HOSTILE, Elements
from tirgn_eqx.report import render
from tirgn_eqx.report.rules import collect_rules

pytestmark = pytest.mark.ci


def changed(run, **changes):
    """The run with other rules."""
    rules = run.measurements.rules.model_copy(update=changes)
    return dataclasses.replace(run, measurements=dataclasses.replace(run.measurements, rules=rules))


def test_a_model_with_evidence_has_rules_and_no_other_one(runs):
    assert runs[0].measurements.rules is None and collect_rules(runs[:1]) == []
    assert 'id="rules"' not in render(runs[:1])
    (found,) = collect_rules(runs)
    report = runs[1].measurements.rules
    assert found.name == "evidence" and [rule for rule, _ in found.rows] == report.rules
    assert found.ages[:2] == ["learnt the next step", "learnt 2 to 7 steps later"]
    for rule, learnt in found.rows:
        assert [one for one in learnt if one is not None] == [age.learnt for age in rule.ages]
        assert len(learnt) == len(found.ages)
    assert f"cover {100 * report.test.coverage:.1f} %" in found.notes[1]


def test_the_page_shows_the_rules_as_measured(runs):
    page = Elements(render(runs[1:]))
    rule = runs[1].measurements.rules.rules[0]
    assert {rule.words, f"{100 * rule.valid.confidence:.2f}", f"{rule.valid.lift:.1f}"} <= set(page.text)
    assert any("associations in these data, not causes" in text for text in page.text)
    assert "rules-0" in {found.get("id") for found in page.of("table")}


def test_names_in_rules_do_nothing(runs):
    rule = runs[1].measurements.rules.rules[0].model_copy(update={"words": HOSTILE, "test": None})
    page = render([changed(runs[1], rules=[rule], test=None)])
    assert "<script>alert" not in page and "<img" not in page and "alert(1)" in page
    assert len(collect_rules([changed(runs[1], rules=[rule], test=None)])[0].notes) == 1


def test_a_run_of_which_no_rule_is_known_is_left_out(runs):
    bare = dataclasses.replace(runs[1], measurements=None)
    assert collect_rules([bare, changed(runs[1], rules=[])]) == []
