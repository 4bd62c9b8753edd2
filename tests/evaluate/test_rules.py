"""Which rules are the strongest, and what is said of them."""

from collections import defaultdict

import numpy as np
import pytest

from tests.evaluate.rule_helpers import evidence_model, made_graph, named, plain_model
from tests.helpers import make_graph
from tirgn_eqx.evaluate.rules import learn_rules


@pytest.fixture(scope="module")
def graph():
    # The boundary of valid and test cuts a time, whose facts are true for both.
    return made_graph(54, 76)


def test_the_strongest_rules_are_those_that_the_model_makes_most_of(graph):
    model, _ = evidence_model(graph)
    learnt = learn_rules(model, graph)
    report = learnt.report(top=8, min_support=3)
    mean = defaultdict(dict)
    for rule, support, mass in zip(named(learnt.valid), learnt.valid.support, learnt.valid.mass):
        if support >= 3:
            mean[rule[:3]][rule[3]] = mass / support
    strongest = sorted((max(by_band.values()) for by_band in mean.values()), reverse=True)
    np.testing.assert_allclose([rule.learnt for rule in report.rules], strongest[:8])
    assert report.found == len(mean) and len(report.rules) == 8
    for rule in report.rules:
        assert rule.valid.support >= 3 and rule.valid.lift == pytest.approx(rule.valid.confidence / rule.valid.base)
        (own,) = [one for one in rule.ages if (one.first, one.last) == (rule.first, rule.last)]
        assert (own.learnt, own.figures) == (rule.learnt, rule.valid)
    assert 0 < report.events < 1 and 0 < report.popularity < 1 - report.events
    applied = [rule.test for rule in report.rules if rule.test]
    expected = sum(one.support * one.base for one in applied)
    assert report.test.lift == pytest.approx(sum(one.support * one.confidence for one in applied) / expected)


def test_rules_of_one_relation_and_without_repeats(graph):
    learnt = learn_rules(evidence_model(graph)[0], graph)
    assert {rule.relation for rule in learnt.report(top=99, min_support=1, relation=2).rules} == {"2"}
    every, others = (learnt.report(top=999, min_support=1, repeats=repeats) for repeats in (True, False))
    codes = {rule.code for rule in others.rules}
    dropped = [rule for rule in every.rules if rule.code not in codes]
    assert codes < {rule.code for rule in every.rules}
    # A relation that is turned round is another thing than its repeat.
    assert all(rule.kind == "popularity" or rule.after == ("A", rule.relation, "B") for rule in dropped)
    assert any(rule.after == ("B", rule.relation, "A") for rule in others.rules)
    assert learnt.report(min_support=10**6).rules == [] and learnt.report(min_support=10**6).test is None


def test_entities_that_nobody_knew_have_no_rules():
    graph = make_graph([(0, 0, 1, 0), (2, 1, 3, 1)], num_entities=4, num_relations=2, valid=1)
    learnt = learn_rules(plain_model(graph)[0], graph)
    assert len(learnt.valid.code) == 0 and learnt.test is None
    report = learnt.report(min_support=1)
    assert (report.found, report.rules, report.test, report.events) == (0, [], None, 0)
