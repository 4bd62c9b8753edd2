"""Evaluators of evidence models: ranks in the order of the facts, whatever the parts, and nothing after the cut."""

import jax.random as jr
import numpy as np
import pytest

from tests.helpers import make_graph, random_graph, tiny_model
from tests.models.evidence_helpers import batch_at, build, entity_intensities, query_facts_at, random_facts
from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader, EvidenceOptions
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.evaluate import evaluate_model
from tirgn_eqx.evaluate.evaluators import EvidenceEvaluator, MixtureEvaluator, RecurrentGraphEvaluator, one_ahead
from tirgn_eqx.evaluate.protocol import make_evaluator
from tirgn_eqx.models import Gate, Mixture


@pytest.fixture(scope="module")
def graph():
    return random_graph(3, num_entities=14, facts=8)


@pytest.mark.ci
def test_multi_step_sees_nothing_after_the_cut():
    rng = np.random.default_rng(0)
    rows = random_facts(rng, np.arange(10))
    graph = make_graph(rows, num_entities=7, num_relations=2, valid=30, test=42)
    model, number = build(graph), 8

    def evaluate(graph):
        return evaluate_model(model, graph, history_len=1, setting="multi-step")

    first = evaluate(graph)
    # Everything at the first test snapshot is changed, which later ones must not see.
    changed = rows.copy()
    changed[42:48, 0] = (changed[42:48, 0] + 1) % 7
    second = evaluate(make_graph(changed, num_entities=7, num_relations=2, valid=30, test=42))
    later = first.snapshot >= number
    assert later.any() and np.array_equal(first.filtered["entity"][later], second.filtered["entity"][later])
    single = [
        evaluate_model(model, g, history_len=1).nll["entity"]
        for g in (graph, make_graph(changed, num_entities=7, num_relations=2, valid=30, test=42))
    ]
    assert not np.array_equal(single[0][later], single[1][later])
    with pytest.raises(ConfigError, match="no window to feed"):
        evaluate_model(model, graph, history_len=1, setting="multi-step, fed back")


@pytest.mark.ci
def test_parts_and_partners_beyond_the_limit_change_no_rank(graph):
    model = build(graph)
    options = dict(context=True, background=True, max_partners=0)
    whole = EvidenceEvaluator(graph, "test", **options)(model)
    parts = EvidenceEvaluator(graph, "test", **options)
    parts._loader = EvidenceLoader(
        graph, EvidenceIndex(graph), "test", EvidenceOptions(batch_size=3, max_buckets=2, with_truth=True)
    )
    assert len(parts.loader) > len(whole.graph.split_snapshots("test"))
    divided = parts(model)
    many = EvidenceEvaluator(graph, "test", **options | {"max_partners": graph.num_entities})(model)
    one = EvidenceEvaluator(graph, "test", **options | {"max_partners": 1})(model)
    assert not np.array_equal(one.filtered["entity"], whole.filtered["entity"])
    for other in (divided, many):
        assert np.array_equal(whole.snapshot, other.snapshot) and np.array_equal(whole.inverse, other.inverse)
        for kind in ("entity", "relation"):
            np.testing.assert_array_equal(whole.filtered[kind], other.filtered[kind])
            np.testing.assert_allclose(whole.nll[kind], other.nll[kind], rtol=1e-4, atol=1e-5)


def test_ranks_are_in_the_order_of_the_facts(graph):
    model = build(graph)
    found = EvidenceEvaluator(graph, "test", context=True, background=True, max_partners=0)(model)
    target = graph.num_snapshots - 1
    batch, gathered = batch_at(graph, model, target)
    intensity = np.asarray(entity_intensities(model, batch))
    asked, here = query_facts_at(graph, target), found.snapshot == target
    split = np.tile(graph.split_mask("test")[slice(*graph.offsets[target : target + 2])], 2)
    expected = []
    for s, r, o in zip(asked.subject[split], asked.relation[split], asked.object[split]):
        query = np.flatnonzero((gathered["subject"] == s) & (gathered["relation"] == r))[0]
        true = asked.object[(asked.subject == s) & (asked.relation == r)]
        rivals = np.delete(intensity[query], np.unique(true))
        expected.append(1 + (rivals > intensity[query, o]).sum() + 0.5 * (rivals == intensity[query, o]).sum())
    assert found.filtered["entity"][here].tolist() == expected


def test_items_are_given_out_when_the_next_one_has_begun():
    begun = []

    def items():
        for number in range(4):
            begun.append(number)
            yield number

    given = []
    for number in one_ahead(items()):
        given.append((number, begun[-1]))
    assert given == [(0, 1), (1, 2), (2, 3), (3, 3)]
    assert list(one_ahead([])) == [] and list(one_ahead([7])) == [7]


@pytest.fixture(scope="module")
def recurrent(graph):
    return tiny_model(graph.num_entities, graph.num_relations, history_len=2)


def test_a_second_evaluator_with_the_steps_of_the_first_compiles_nothing(graph, recurrent):
    options = {"history_len": 2, "history_window": 0, "max_buckets": 1}
    first = RecurrentGraphEvaluator(graph, "test", **options)
    first.compile(recurrent)
    compiled = dict(first.steps.rank.compiled)
    assert len(compiled) == len(first.loader.buckets) == 1
    found = first(recurrent)
    assert first.steps.rank.compiled == compiled
    again = RecurrentGraphEvaluator(graph, "test", **options, steps=first.steps)
    assert np.array_equal(again(recurrent).filtered["entity"], found.filtered["entity"])
    assert first.steps.rank.compiled == compiled


def test_a_query_that_no_batch_ranks_makes_the_figures_nan(graph, recurrent, monkeypatch):
    evaluator = RecurrentGraphEvaluator(graph, "test", history_len=2, history_window=0, max_buckets=1)
    batches = evaluator._batches(recurrent)
    next(batches)
    monkeypatch.setattr(evaluator, "_batches", lambda model: batches)
    found = evaluator(recurrent)
    missing = np.isnan(found.filtered["entity"])
    assert set(found.snapshot[missing].tolist()) == {int(found.snapshot[0])}
    assert np.isnan(found.entity["mrr"])


def test_every_family_has_an_evaluator_of_its_own(graph, recurrent):
    evidence = build(graph)
    mixture = Mixture(recurrent, evidence, Gate(graph.num_relations, evidence.context, key=jr.key(0)))
    found = {
        type(make_evaluator(model, graph, split="test", history_len=2)) for model in (recurrent, evidence, mixture)
    }
    assert found == {RecurrentGraphEvaluator, EvidenceEvaluator, MixtureEvaluator}
