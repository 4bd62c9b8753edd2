"""Rates of pairs by counting, and the most probable facts against all of them."""

import numpy as np
import pytest

from tests.helpers import random_graph
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.forecast import facts
from tirgn_eqx.forecast.facts import HALF_LIFE, pair_rates, probable_facts
from tirgn_eqx.forecast.names import Names

TARGET = 6


@pytest.fixture(scope="module")
def graph():
    return random_graph(4, num_entities=9, facts=10)


@pytest.fixture(scope="module")
def cutoff(graph):
    return EvidenceIndex(graph).cutoff(TARGET)


def rates_by_loop(graph):
    """{(s, r): facts per step} by reading every fact before the target."""
    clock = graph.time_index - graph.time_index[0]
    whole = sum(2 ** (-age / HALF_LIFE) for age in range(1, TARGET + 1))
    rates = {}
    for s, r, snapshot in zip(graph.subject.tolist(), graph.relation.tolist(), graph.snapshot.tolist()):
        if snapshot < TARGET:
            rates[s, r] = rates.get((s, r), 0) + 2 ** (-(TARGET - clock[snapshot]) / HALF_LIFE) / whole
    return rates


def test_a_rate_is_the_faded_number_of_past_facts(graph, cutoff):
    keys, rate = pair_rates(graph, cutoff)
    expected = rates_by_loop(graph)
    assert [divmod(key, graph.num_relations) for key in keys.tolist()] == sorted(expected)
    np.testing.assert_allclose(rate, [expected[pair] for pair in sorted(expected)])


def objects(subject, relation):
    """Some distribution over 9 objects for every pair, the same whenever it is computed."""
    weight = np.stack([np.random.default_rng([s, r]).random(9) ** 4 for s, r in zip(subject, relation)])
    return weight / weight.sum(1, keepdims=True)


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_the_best_facts_are_those_of_all_pairs(graph, cutoff, chunk, monkeypatch):
    monkeypatch.setattr(facts, "CHUNK", chunk)
    found = probable_facts(graph, cutoff, Names(graph), objects, 8)
    every = [
        (rate * p, str(s), str(r), str(o))
        for (s, r), rate in rates_by_loop(graph).items()
        for o, p in enumerate(objects([s], [r])[0])
    ]
    best = sorted(every, reverse=True)[:8]
    assert [(fact.subject, fact.relation, fact.object) for fact in found] == [fact[1:] for fact in best]
    np.testing.assert_allclose([fact.expected for fact in found], [fact[0] for fact in best])
    np.testing.assert_allclose([fact.probability for fact in found], 1 - np.exp([-fact[0] for fact in best]))


def test_pairs_that_cannot_be_among_the_best_are_not_forecast(graph, cutoff, monkeypatch):
    monkeypatch.setattr(facts, "CHUNK", 1)
    forecast = []

    def certain(subject, relation):
        forecast.extend(zip(subject.tolist(), relation.tolist()))
        return np.eye(9)[np.zeros(len(subject), int)]

    found = probable_facts(graph, cutoff, Names(graph), certain, 2)
    rates = rates_by_loop(graph)
    assert [fact.expected for fact in found] == pytest.approx(sorted(rates.values(), reverse=True)[:2])
    assert len(forecast) < len(rates) / 2
