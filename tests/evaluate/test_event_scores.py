"""Scores of event forecasts against loops over every fact."""

import numpy as np
import pytest

from tests.helpers import make_graph, random_graph
from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.event_rates import Expected, RatesForecaster, UnseenFactors
from tirgn_eqx.evaluate.event_rules import BASELINES
from tirgn_eqx.evaluate.event_scores import score_events


@pytest.fixture(scope="module")
def index():
    return ActivityIndex(random_graph(8, num_entities=6, num_times=12, facts=9))


class Stub(RatesForecaster):
    """Forecasts of a formula, with one expected novel fact for every horizon and half an unseen one."""

    def __init__(self, index, horizons):
        self.index, self.horizons = index, horizons

    def known(self, facts, target, horizons=None):
        share = (facts[:, None] % 5 + 1) / 10 * np.ones(len(self.horizons))
        # Of shape 1, a number with this mean is not 0 with the probability `share`.
        return Expected(share / (1 - share), np.ones(len(facts)))

    def novel(self, pairs, target, horizons=None):
        mean = np.full((len(pairs), len(self.horizons)), 1 / len(pairs))
        return Expected(mean, np.full(len(pairs), 1e9))

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
        squares, expected, came, rows, recalls = [], np.zeros(3), np.zeros(3), [], []
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
            recalls.append(sum(occurred) / len(set(after)))
            squares += [(p - hit) ** 2 for p, hit in zip(probability, occurred)]
            expected += [(probability / (1 - probability)).sum(), 1, 0.5]
            pairs = {fact[:2] for fact in before}
            came[0] += sum(fact in before for fact in after)
            came[1] += sum(fact not in before and fact[:2] in pairs for fact in after)
            came[2] += sum(fact[:2] not in pairs for fact in after)
        assert one.facts == len(rows) and one.occurred == sum(hit for _, hit in rows)
        assert one.rules["model"].brier == pytest.approx(np.mean(squares))
        assert one.rules["never"].brier == pytest.approx(np.mean([hit for _, hit in rows]))
        assert one.rules["model"].recall["1000"] == pytest.approx(np.mean(recalls)) and np.mean(recalls) < 1
        kinds = [one.totals[kind] for kind in ("known", "novel", "unseen")]
        assert kinds == pytest.approx((came / expected).tolist())
        assert one.totals["all"] == pytest.approx(came.sum() / expected.sum())
        assert sum(row.occurred for row in one.relations) == came.sum()
        assert sum(row.expected for row in one.relations) == pytest.approx(expected.sum())
        best = min(BASELINES, key=lambda name: one.rules[name].brier)
        assert one.best_baseline == best
        assert one.skill == pytest.approx(1 - one.rules["model"].brier / one.rules[best].brier)


def test_a_horizon_beyond_the_data_is_refused(index):
    with pytest.raises(DataError, match="shorter --horizon"):
        list(score_events(Stub(index, (30,)), "test"))


def test_horizons_are_steps_of_the_clock_and_not_snapshots():
    """With a snapshot every other day, a week has three or four of them, and ends with its seventh day."""
    rows = [(0, 0, 1, 2 * number) for number in range(20)] + [(0, 0, 2, 6)]
    index = ActivityIndex(make_graph(rows, num_entities=3, num_relations=1, test=15, time_interval=1))
    assert index.clock.tolist() == list(range(0, 40, 2))
    assert [index.window_end(10, horizon) for horizon in (1, 2, 3, 7)] == [11, 11, 12, 14]
    # The last snapshot is at 38, so that what came until then is known, and nothing of day 39.
    assert index.covers(16, 7, 20) and not index.covers(17, 7, 20)
    found = {one.horizon: one for one in score_events(Stub(index, (1, 7)), "test")}
    targets = [int(number) for number in index.graph.split_snapshots("test")]
    assert found[1].snapshots == len(targets)
    assert found[7].snapshots == sum(2 * number + 7 <= 39 for number in targets)
    assert found[7].occurred == found[7].snapshots and found[7].relations[0].occurred == 4 * found[7].snapshots
