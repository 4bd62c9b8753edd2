"""How often rules apply and are right, and what a model makes of them, against the facts and exact explanations."""

from collections import Counter, defaultdict

import equinox as eqx
import jax
import numpy as np
import pytest
from hypothesis import given, settings

from tests.evaluate.rule_helpers import (
    ENTITIES,
    RELATIONS,
    applications,
    evidence_model,
    made_graph,
    named,
    plain_model,
    turned,
)
from tests.helpers import both_directions, facts_of_a_graph, make_graph
from tests.models.evidence_helpers import rough, small
from tirgn_eqx.config import FAMILIES, MixtureTrainingConfig
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate import rule_counts
from tirgn_eqx.evaluate.explain import Explainer
from tirgn_eqx.evaluate.rule_codes import EVENT, POPULAR_OBJECT, POPULAR_SUBJECT
from tirgn_eqx.evaluate.rule_counts import count_rules, rule_coverage
from tirgn_eqx.models import build_model


@pytest.fixture(scope="module")
def graph():
    # The boundary of valid and test cuts a time, whose facts are true for both.
    return made_graph(54, 76)


def check_counts(graph, split):
    """Compare the counts of a split with the facts, and return the rules that apply."""
    counts = count_rules(graph, split)
    rules, bases, asked = applications(graph, ("train", "valid", "test").index(split))
    support = Counter(rule for rule, *_ in rules)
    came = Counter(rule for rule, _, _, right in rules if right)
    assert dict(zip(named(counts), counts.support.tolist())) == support
    assert {rule: n for rule, n in zip(named(counts), counts.came.tolist()) if n} == came
    for array, wanted in (
        (counts.base_support, Counter(key for key, _ in bases)),
        (counts.base_came, Counter(key for key, right in bases if right)),
    ):
        assert {(r, k): int(n) for (r, k), n in np.ndenumerate(array) if n} == wanted
    number = graph.num_relations
    assert counts.queries.tolist() == [sum(r % number == one for _, _, r in asked) for one in range(number)]
    assert (np.diff(counts.code) > 0).all() and not counts.mass.any()
    return support


@pytest.mark.parametrize("split", ["valid", "test"])
def test_counts_are_those_of_the_facts(graph, split, monkeypatch):
    # So few applications at a time that every batch has many parts.
    monkeypatch.setattr(rule_counts, "CHUNK", 5)
    monkeypatch.setattr(rule_counts, "MAX_PENDING", 20)
    monkeypatch.setattr(rule_counts, "BATCH_QUERIES", 6)
    support = check_counts(graph, split)
    assert {rule[3] for rule in support} == {0, 1, 2, 3} and {rule[1] for rule in support} == {0, 1, 2}


@settings(max_examples=30, deadline=None)
@given(facts_of_a_graph())
def test_counts_of_graphs_of_every_kind(made):
    graph = make_graph(**made)
    for split in ("valid", "test"):
        if (graph.split_snapshots(split) > 0).any():
            check_counts(graph, split)


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


def test_a_split_without_a_past_has_no_rules():
    graph = make_graph([(0, 0, 1, 0), (1, 0, 0, 1)], num_entities=2, num_relations=1)
    with pytest.raises(DataError, match="valid split has no snapshot with a past"):
        count_rules(graph, "valid")
