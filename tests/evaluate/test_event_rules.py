"""Simple rules of events against their formulas, fact by fact."""

import numpy as np
import pytest

from tests.helpers import random_graph
from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.evaluate.event_rules import BASELINES


def test_baselines_by_hand():
    index = ActivityIndex(random_graph(8, num_entities=6, num_times=12, facts=9))
    target, horizon = 9, 2
    facts = index.known_facts(target)
    names = zip(*(column.tolist() for column in index.parts(facts)))
    graph = index.graph
    rows = [tuple(map(int, row)) for row in zip(graph.subject, graph.relation, graph.object, graph.snapshot)]
    for place, name in enumerate(names):
        times = [row[3] for row in rows if row[:3] == name and row[3] < target]
        found = {kind: float(rule(index, facts, target, horizon)[place]) for kind, rule in BASELINES.items()}
        assert found["never"] == 0
        assert found["persistence"] == float(target - max(times) <= horizon)
        assert found["climatology"] == pytest.approx(1 - (1 - len(set(times)) / target) ** horizon)
        weights = sum(2 ** (-(target - time) / 16) for time in times)
        whole = sum(2 ** (-age / 16) for age in range(1, target + 1))
        assert found["half-life 16"] == pytest.approx(1 - np.exp(-weights / whole * horizon), rel=1e-5)
