"""Rules of evidence: how often they apply and are right, what a model makes of them, and which are the strongest."""

from collections import Counter, defaultdict

import equinox as eqx
import jax
import numpy as np
import pytest

from tests.helpers import both_directions, make_graph
from tests.models.evidence_helpers import build, rough, small
from tirgn_eqx.config import FAMILIES, MixtureTrainingConfig
from tirgn_eqx.data.index.evidence import EvidenceIndex, plain_ages, plain_features
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate import rule_counts
from tirgn_eqx.evaluate.explain import Explainer
from tirgn_eqx.evaluate.rule_codes import AGE_BOUNDS, EVENT, POPULAR_OBJECT, POPULAR_SUBJECT, RuleCodes
from tirgn_eqx.evaluate.rule_counts import count_rules, rule_coverage
from tirgn_eqx.evaluate.rules import learn_rules
from tirgn_eqx.models import build_model

RELATIONS, ENTITIES = 3, 7
# Gaps, so that every age band occurs: 1 step, 2 to 7, 8 to 30, and more.
TIMES = (0, 1, 2, 9, 10, 30, 45, 46, 48, 60, 61)


def made_graph(valid, test):
    rng = np.random.default_rng(4)
    rows = np.stack([rng.integers(0, n, 9 * len(TIMES)) for n in (ENTITIES, RELATIONS, ENTITIES)], 1)
    rows = np.column_stack([rows, np.repeat(TIMES, 9)])
    return make_graph(rows, num_entities=ENTITIES, num_relations=RELATIONS, valid=valid, test=test)


@pytest.fixture(scope="module")
def graph():
    # The boundary of valid and test cuts a time, whose facts are true for both.
    return made_graph(54, 76)


def turned(relation):
    return (relation + RELATIONS) % (2 * RELATIONS)


def band(age):
    return sum(age > bound for bound in AGE_BOUNDS)


def applications(graph, split):
    """(rule, query, candidate, came) of every rule that applies, and the evidence base, from the facts alone. A rule is
    (relation, kind, past relation, age band), a query (snapshot, subject, relation)."""
    facts = both_directions(graph)
    rows = np.flatnonzero(graph.split == split)
    asked = sorted({(t, s, r) for s, r, _, t in both_directions(graph, rows)})
    rules, bases = [], []
    for t, s, r in asked:
        past, now = [fact for fact in facts if fact[3] < t], graph.time_index[t]
        inverse = r >= RELATIONS
        for o in range(graph.num_entities):
            came = (s, r, o, t) in facts
            last = defaultdict(int)
            for s2, q, o2, when in past:
                if (s2, o2) == (s, o):
                    last[EVENT, turned(q) if inverse else q] = max(last[EVENT, turned(q) if inverse else q], when)
                if (q, o2) == (r, o):
                    kind = POPULAR_SUBJECT if inverse else POPULAR_OBJECT
                    last[kind, None] = max(last[kind, None], when)
            for (kind, q), when in last.items():
                age = int(now - graph.time_index[when])
                rules.append(((r % RELATIONS, kind, q, band(age)), (t, s, r), o, came))
            bases += [((r % RELATIONS, kind), came) for kind in {kind for kind, _ in last}]
    return rules, bases, asked


def named(counts):
    """The rules of `counts` as `applications` writes them."""
    parts = counts.codes.parts(counts.code)
    return [
        (int(r), int(kind), int(q) if kind == EVENT else None, int(b))
        for r, q, kind, b in zip(parts.relation, parts.past, parts.kind, parts.band)
    ]


@pytest.mark.parametrize("split", ["valid", "test"])
def test_counts_are_those_of_the_facts(graph, split, monkeypatch):
    # So few applications at a time that every batch has many parts.
    monkeypatch.setattr(rule_counts, "CHUNK", 5)
    monkeypatch.setattr(rule_counts, "MAX_PENDING", 20)
    monkeypatch.setattr(rule_counts, "BATCH_QUERIES", 6)
    counts = count_rules(graph, split)
    rules, bases, asked = applications(graph, ("train", "valid", "test").index(split))
    support = Counter(rule for rule, *_ in rules)
    came = Counter(rule for rule, _, _, right in rules if right)
    assert dict(zip(named(counts), counts.support.tolist())) == support
    assert {rule: n for rule, n in zip(named(counts), counts.came.tolist()) if n} == came
    assert {rule[3] for rule in support} == {0, 1, 2, 3} and {rule[1] for rule in support} == {0, 1, 2}
    for array, wanted in (
        (counts.base_support, Counter(key for key, _ in bases)),
        (counts.base_came, Counter(key for key, right in bases if right)),
    ):
        assert {(r, k): int(n) for (r, k), n in np.ndenumerate(array) if n} == wanted
    assert counts.queries.tolist() == [sum(r % RELATIONS == one for _, _, r in asked) for one in range(RELATIONS)]
    assert (np.diff(counts.code) > 0).all() and not counts.mass.any()


def evidence_model(graph):
    return build(graph, evidence_context=True, evidence_background=True), 0


def plain_model(graph):
    return build(graph, evidence_context=False, evidence_background=False), 0


def mixture(graph):
    fixed = {"embedding_dim": 6, "history_len": 2, "num_layers": 1, "precision": "f32", "remat": "none"}
    config = MixtureTrainingConfig.of(FAMILIES["regcn"](**fixed), small())
    made = eqx.filter_jit(lambda key: build_model(ENTITIES, RELATIONS, config, key=key))(jax.random.key(1))
    return eqx.tree_at(lambda m: (m.evidence, m.gate), made, (rough(made.evidence, 1), rough(made.gate, 2))), 2


@pytest.mark.parametrize("form", [plain_model, evidence_model, pytest.param(mixture, marks=pytest.mark.ci)])
def test_what_a_model_makes_of_a_rule_is_the_sum_of_the_exact_shares(form):
    graph = made_graph(77, 80)  # few queries, since each of their candidates is explained by itself
    model, history_len = form(graph)
    counts = count_rules(graph, "valid", model=model, history_len=history_len)
    explain = Explainer(model, graph, history_len=history_len)
    wanted, explained = defaultdict(float), {}
    for rule, (t, s, r), o, _ in applications(graph, 1)[0]:
        if (t, s, r, o) not in explained:
            explained[t, s, r, o] = explain(s, r, o, t)
        found, (_, kind, q, _) = explained[t, s, r, o], rule
        own = turned(q) if kind == EVENT and r >= RELATIONS else q
        (share,) = (
            one.share
            for one in found.shares
            if (one.kind == "event" and one.relation_id == own if kind == EVENT else one.kind == "popularity")
        )
        wanted[rule] += share * found.probability
    found = dict(zip(named(counts), counts.mass.tolist()))
    assert found.keys() == wanted.keys()
    np.testing.assert_allclose([found[rule] for rule in wanted], list(wanted.values()), rtol=2e-4, atol=1e-9)


@pytest.mark.parametrize("relation", [None, 1])
def test_coverage_counts_every_candidate_once(graph, relation):
    rules, _, asked = applications(graph, 2)
    counts = count_rules(graph, "test")
    number = dict(zip(named(counts), counts.code.tolist()))
    chosen = [rule for rule, _ in Counter(rule for rule, *_ in rules).most_common(12)]
    assert {rule[1] for rule in chosen} == {EVENT, POPULAR_OBJECT, POPULAR_SUBJECT}
    found = rule_coverage(graph, "test", np.array([number[rule] for rule in chosen]), relation=relation)

    def counted(query):
        return relation is None or query[2] % RELATIONS == relation

    answers = {(t, s, r, o) for s, r, o, t in both_directions(graph, np.flatnonzero(graph.split == 2))}
    answers = {fact for fact in answers if counted(fact)}
    candidates = {(*query, o) for rule, query, o, _ in rules if rule in chosen and counted(query)}
    assert found == (len(candidates), len(candidates & answers), len(answers), len([q for q in asked if counted(q)]))
    assert 0 < found.covered < found.answers and found.named < sum(rule in chosen for rule, *_ in rules)


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


def test_ages_are_read_back_from_features(graph):
    index = EvidenceIndex(graph)
    cutoff = index.cutoff(9)
    row = np.flatnonzero(index.triple.occurrence % len(index.clock) < 9)
    for now in (cutoff.now, 40_000.0):
        ages = plain_ages(plain_features(index.triple, row, now))
        np.testing.assert_array_equal(ages, index.triple.age(row, now).astype(int))
    assert plain_ages(plain_features(index.triple, row[:1], float(index.triple._time[row[0]]))).tolist() == [0]


def test_codes_are_read_back():
    codes = RuleCodes(3)
    past, relation = (x.ravel() for x in np.meshgrid(np.arange(6), np.arange(6)))
    parts = codes.parts(codes.of_events(relation, past, np.full(36, 9)))
    assert (parts.relation == relation % 3).all() and (parts.kind == EVENT).all() and (parts.band == 2).all()
    assert (parts.past == np.where(relation < 3, past, (past + 3) % 6)).all()
    popular = codes.parts(codes.of_popular(np.arange(6), np.array([1, 2, 7, 8, 30, 31])))
    assert popular.kind.tolist() == [POPULAR_OBJECT] * 3 + [POPULAR_SUBJECT] * 3
    assert popular.band.tolist() == [0, 1, 1, 2, 2, 3]


def test_a_split_without_a_past_has_no_rules():
    graph = make_graph([(0, 0, 1, 0), (1, 0, 0, 1)], num_entities=2, num_relations=1)
    with pytest.raises(DataError, match="valid split has no snapshot with a past"):
        count_rules(graph, "valid")
