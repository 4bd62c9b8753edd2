"""Forecasts of event rates: shares of objects, targets further ahead, and the level at which events come."""

import equinox as eqx
import jax.random as jr
import numpy as np
import pytest

from tests.helpers import facts_of, make_graph, random_graph, with_facts
from tirgn_eqx.config import EventTrainingConfig
from tirgn_eqx.data.forecast_target import make_forecast_target
from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.evaluate import event_rates
from tirgn_eqx.evaluate.event_rates import SMOOTHING, Expected, RatesForecaster, popular_share
from tirgn_eqx.models import EventRates

HORIZONS = (1, 4)


@pytest.fixture(scope="module")
def index():
    return ActivityIndex(random_graph(3, num_entities=7, num_times=14, facts=8))


@pytest.fixture(scope="module")
def model(index):
    config = EventTrainingConfig(periods="7", rate_hidden=4)
    rates = EventRates(index.entities, index.relations, config, key=jr.key(0))
    season = 0.5 * jr.normal(jr.key(1), rates.season.shape)
    return eqx.tree_at(lambda m: (m.season, m.known.level), rates, (season, rates.known.level + 4))


def test_a_part_of_a_row_comes_as_often_as_by_simulation():
    """Numbers with a gamma factor in common, split among parts: each part, and any of them, by simulation."""
    mean, shape, share = 2.0, 0.7, np.array([[0.5, 0.3, 0.2]])
    expected = Expected(np.array([[mean]]), np.array([shape]))
    rng = np.random.default_rng(0)
    factor = rng.gamma(shape, 1 / shape, 200_000)
    drawn = rng.poisson(factor[:, None] * mean * share) > 0
    assert expected.of_share(share)[0] == pytest.approx(drawn.mean(0), abs=0.005)
    assert float(expected.probability[0, 0]) == pytest.approx(drawn.any(1).mean(), abs=0.005)
    # As if they were independent, it would be more.
    assert 1 - np.prod(1 - expected.of_share(share)) > float(expected.probability[0, 0]) + 0.05


@pytest.mark.parametrize("loops", [True, False])
def test_shares_of_new_objects_are_how_often_the_relation_had_them(index, loops):
    """Of itself an entity is an object only where the data have such facts."""
    if not loops:
        rows = facts_of(index.graph)
        index = ActivityIndex(with_facts(index.graph, rows[rows[:, 0] != rows[:, 2]]))
    graph, target = index.graph, 9
    assert index.has_loops(target) == loops
    facts = [tuple(map(int, row)) for row in zip(graph.subject, graph.relation, graph.object, graph.snapshot)]
    before = [fact[:3] for fact in facts if fact[3] < target]
    every = np.arange(index.entities)
    for s in range(index.entities):
        for r in range(index.relations):
            weight = np.array([SMOOTHING + sum(fact[1:] == (r, o) for fact in before) for o in every])
            weight *= [(s, r, o) not in before and (loops or s != o) for o in every]
            found = popular_share(index, np.full(len(every), s * index.relations + r), every, target)
            assert found == pytest.approx(weight / weight.sum())


def test_a_target_further_ahead_is_forecast_from_where_the_history_ends(index, model):
    """The ages are those at the end of the history, and what fades fades on from there: a horizon of ten steps is the
    first four of them and then the six of a target four steps later."""
    graph = index.graph
    near, far = (make_forecast_target(graph, time) for time in (None, int(graph.times[-1]) + 5))
    found = []
    for one, horizons in ((near, (4, 10)), (far, (6,))):
        of_target = ActivityIndex(one.graph)
        forecaster = RatesForecaster(model, of_target, horizons, one.history_end)
        facts = of_target.known_facts(one.history_end)
        facts = facts[np.argsort(of_target.fact.key[facts])]
        unseen = forecaster.unseen(one.target)
        found.append((forecaster.known(facts, one.target).mean, unseen.total))
    (known, unseen), (later, unseen_later) = found
    assert known[:, 1] - known[:, 0] == pytest.approx(later[:, 0], rel=1e-4)
    assert unseen[:, 1] - unseen[:, 0] == pytest.approx(unseen_later[:, 0], rel=1e-4)


def test_a_horizon_does_not_know_when_something_will_be_reported(model):
    """A forecast does not change with the times of the snapshots after its target."""
    rows = [(n % 5, n % 3, (n + 1) % 6, n) for n in range(12)]
    found = []
    for late in ((13, 14, 15), (14, 20, 40)):
        more = [(0, 0, 1, time) for time in late]
        graph = make_graph(rows + more, num_entities=7, num_relations=3, time_interval=1)
        index = ActivityIndex(graph)
        forecaster = RatesForecaster(model, index, HORIZONS)
        found.append(forecaster.known(index.known_facts(11), 11).mean)
    assert np.array_equal(*found)


def test_the_level_is_what_came_against_what_was_expected(index, model, monkeypatch):
    target = 12
    forecaster = RatesForecaster(model, index, HORIZONS)
    real, expected = np.zeros(3), np.zeros(3)
    for number in range(target - event_rates.LEVEL_SNAPSHOTS, target):
        real += [part.count.sum() for part in index.happened(number, number + 1)]
        one = RatesForecaster(model, index, (1,))
        # Without a level of its own.
        one.level = lambda target: event_rates.Totals(1.0, 1.0, 1.0)
        facts, pairs = index.known_facts(number), index.known_pairs(number)
        expected += [one.known(facts, number).mean.sum(), one.novel(pairs, number).mean.sum()] + [
            one.unseen(number).total.sum()
        ]
    prior = event_rates.PRIOR_EVENTS
    assert forecaster.level(target) == pytest.approx(((real + prior) / (expected + prior)).tolist(), rel=1e-4)
    mean = forecaster.known(index.known_facts(target), target).mean
    monkeypatch.setattr(forecaster, "level", lambda target: event_rates.Totals(1.0, 1.0, 1.0))
    plain = forecaster.known(index.known_facts(target), target).mean
    assert mean == pytest.approx(plain * RatesForecaster(model, index, HORIZONS).level(target).known, rel=1e-4)


def test_a_sample_tells_the_level_of_all_and_differs_by_snapshot(index, model, monkeypatch):
    """With four rows of each snapshot, every fact is looked at in one snapshot or another."""
    monkeypatch.setattr(event_rates, "LEVEL_ROWS", 4)
    looked = []

    class Watched(RatesForecaster):
        def _in_chunks(self, function, rows, groups, target, horizons, level):
            looked.append((rows.__name__, target, groups))
            return super()._in_chunks(function, rows, groups, target, horizons, level)

    sampled = Watched(model, index, HORIZONS).level(13)
    facts = {int(group) for name, _, groups in looked if name == "fact_rows" for group in groups}
    assert max(len(groups) for _, _, groups in looked) <= 4
    assert len(facts) > 3 * 4
    monkeypatch.undo()
    whole = RatesForecaster(model, index, HORIZONS).level(13)
    assert sampled.known == pytest.approx(whole.known, rel=0.25)
