"""Facts without a past: the sample against all of them, and scores against loops."""

import numpy as np
import pytest

from tests.helpers import random_graph
from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.evaluate import new_facts
from tirgn_eqx.evaluate.event_rates import Expected, RatesForecaster
from tirgn_eqx.evaluate.new_facts import NewFactSample, NewFactTally


class Stub(RatesForecaster):
    """No rates: those of novel facts are given."""

    def __init__(self, index):
        self.index = index


def test_a_sample_stands_for_all_facts_that_could_come_and_those_that_came_are_all_there(monkeypatch):
    """With shares that grow with the number of the object."""
    monkeypatch.setattr(new_facts, "popular_share", lambda index, pair, object, target: (object + 1) / 100)
    index = ActivityIndex(random_graph(8, num_entities=9, num_times=12, facts=9))
    target, end = 6, 10
    pairs = index.known_pairs(target)
    novel = Expected(np.linspace(1, 3, len(pairs))[:, None], np.full(len(pairs), 1e9))
    tally = NewFactTally()
    NewFactSample(Stub(index), target, pairs).add(tally, novel, 0, end)
    graph, probability, came = index.graph, [], []
    facts = [tuple(map(int, row)) for row in zip(graph.subject, graph.relation, graph.object, graph.snapshot)]
    before, after = (
        {fact[:3] for fact in facts if fact[3] < target},
        {fact[:3] for fact in facts if target <= fact[3] < end},
    )
    for pair, mean in zip(pairs, novel.mean[:, 0]):
        s, r = divmod(int(index.pair.key[pair]), index.relations)
        for o in range(index.entities):
            if (s, r, o) not in before:
                probability.append(1 - np.exp(-mean * (o + 1) / 100))
                came.append((s, r, o) in after)
    found, probability, came = tally.scores(), np.array(probability), np.array(came)
    assert (found.facts, found.occurred) == (len(came), came.sum()) and came.sum() > 5
    assert 0 < found.sampled <= 1000
    # The sample draws a few hundred facts with replacement, so that sums over it are off by a few percent.
    assert found.expected == pytest.approx(probability.sum(), rel=0.05)
    above = probability[came][:, None] > probability[~came]
    ties = probability[came][:, None] == probability[~came]
    assert found.auc == pytest.approx((above + ties / 2).mean(), abs=0.03)


def test_a_tally_of_two_snapshots_by_hand():
    tally = NewFactTally()
    tally.add(np.array([0.5]), np.array([0.25, 0.5]), 20)
    tally.add(np.zeros(0), np.array([0.125]), 5)
    found = tally.scores()
    assert (found.facts, found.occurred, found.sampled) == (26, 1, 3)
    assert found.expected == 0.5 + 10 * 0.75 + 5 * 0.125
    assert found.auc == (10 + 10 / 2 + 5) / 25
