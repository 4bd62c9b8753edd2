"""Scores of event forecasts against loops over every fact."""

import numpy as np
import pytest

from tests.helpers import random_graph
from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.event_rates import Expected, RatesForecaster, UnseenFactors
from tirgn_eqx.evaluate.event_scores import (
    BASELINES,
    LEAST_PROBABILITY,
    RuleTally,
    score_events,
    skill_interval,
    wilson_interval,
)


@pytest.fixture(scope="module")
def index():
    return ActivityIndex(random_graph(8, num_entities=6, num_times=12, facts=9))


class Stub(RatesForecaster):
    """Forecasts of a formula, with one expected novel fact for every horizon and half an unseen one."""

    def __init__(self, index, horizons):
        self.index, self.horizons = index, horizons

    def known(self, facts, target, horizons=None):
        share = (facts[:, None] % 5 + 1) / 10 * np.ones(len(self.horizons))
        return Expected(2 * share, share)

    def novel(self, pairs, target, horizons=None):
        mean = np.full((len(pairs), len(self.horizons)), 1 / len(pairs))
        return Expected(mean, -np.expm1(-mean))

    def unseen(self, target, horizons=None, level=None):
        total = np.full((self.index.relations, len(self.horizons)), 0.5 / self.index.relations)
        return UnseenFactors(np.zeros(self.index.entities), np.log(total), total)


def test_scores_are_those_of_every_fact_by_itself(index):
    graph, horizons = index.graph, (1, 3)
    found = list(score_events(Stub(index, horizons), "test"))
    facts = [tuple(map(int, row)) for row in zip(graph.subject, graph.relation, graph.object, graph.snapshot)]
    targets = sorted({int(n) for n in graph.split_snapshots("test")})
    assert [one.horizon for one in found] == list(horizons)
    for one in found:
        squares, expected, came, rows = [], np.zeros(3), np.zeros(3), []
        for target in targets:
            end = target + one.horizon
            if end > graph.num_snapshots:
                continue
            known = index.known_facts(target)
            probability = (known % 5 + 1) / 10
            names = list(zip(*(column.tolist() for column in index.parts(known))))
            after = [fact[:3] for fact in facts if target <= fact[3] < end]
            before = {fact[:3] for fact in facts if fact[3] < target}
            occurred = [name in after for name in names]
            rows += list(zip(probability.tolist(), occurred))
            squares += [(p - hit) ** 2 for p, hit in zip(probability, occurred)]
            expected += [2 * probability.sum(), 1, 0.5]
            pairs = {fact[:2] for fact in before}
            came[0] += sum(fact in before for fact in after)
            came[1] += sum(fact not in before and fact[:2] in pairs for fact in after)
            came[2] += sum(fact[:2] not in pairs for fact in after)
        assert one.facts == len(rows) and one.occurred == sum(hit for _, hit in rows)
        assert one.rules["model"].brier == pytest.approx(np.mean(squares))
        assert one.rules["never"].brier == pytest.approx(np.mean([hit for _, hit in rows]))
        kinds = [one.totals[kind] for kind in ("known", "novel", "unseen")]
        assert kinds == pytest.approx((came / expected).tolist())
        assert one.totals["all"] == pytest.approx(came.sum() / expected.sum())
        assert sum(row.occurred for row in one.relations) == came.sum()
        assert sum(row.expected for row in one.relations) == pytest.approx(expected.sum())
        best = min(BASELINES, key=lambda name: one.rules[name].brier)
        assert one.best_baseline == best
        assert one.skill == pytest.approx(1 - one.rules["model"].brier / one.rules[best].brier)


def test_baselines_by_hand(index):
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


def test_a_tally_by_hand():
    tally = RuleTally()
    tally.add(np.array([0.9, 0.5, 0.5, 0.001]), np.array([True, False, True, False]), total=4)
    tally.add(np.array([0.2, 0.1]), np.array([False, True]), total=1)
    found = tally.scores()
    squares = [0.01, 0.25, 0.25, 1e-6, 0.04, 0.81]
    assert found.brier == pytest.approx(np.mean(squares))
    logs = -np.log([0.9, 0.5, 0.5, 0.999, 0.8, 0.1])
    assert found.log_score == pytest.approx(np.mean(logs))
    # From the most probable down, equal ones at once: precision 1, 2/3, 2/3, 2/4, 3/5 where the three that came are.
    assert found.average_precision == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert found.precision["10"] == pytest.approx((2 / 10 + 1 / 10) / 2)
    assert found.recall["10"] == pytest.approx((2 / 4 + 1 / 1) / 2)
    error, bins = tally.reliability()
    assert sum(row.facts for row in bins) == 5 and all(row.probability >= LEAST_PROBABILITY for row in bins)
    gaps = [abs(0.9 - 1), abs(1.0 - 1), abs(0.2 - 0), abs(0.1 - 1)]
    assert error == pytest.approx(sum(gaps) / 5, abs=0.02)


def test_intervals():
    low, high = wilson_interval(0.5, 100)
    assert (low, high) == pytest.approx((0.404, 0.596), abs=1e-3)
    assert wilson_interval(0.0, 10)[0] == 0 and wilson_interval(1.0, 10)[1] == pytest.approx(1)
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(200), 1 + rng.random(200)
    low, high = skill_interval(ours, theirs)
    assert low < 1 - ours.sum() / theirs.sum() < high and high - low < 0.1
    assert skill_interval(theirs / 2, theirs) == pytest.approx((0.5, 0.5))


def test_a_horizon_beyond_the_data_is_refused(index):
    with pytest.raises(DataError, match="shorter --horizon"):
        list(score_events(Stub(index, (30,)), "test"))
