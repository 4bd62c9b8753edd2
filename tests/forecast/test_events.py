"""The most probable facts and the probabilities of given ones, against a list of all facts that there can be."""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.helpers import facts_of, random_graph, with_facts
from tirgn_eqx.checkpoint.event_figures import EventTestSummary
from tirgn_eqx.config import EventTrainingConfig, EvidenceTrainingConfig
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.evaluate.event_rates import SMOOTHING
from tirgn_eqx.forecast import events as module
from tirgn_eqx.forecast import object_shares
from tirgn_eqx.forecast.events import MAX_HORIZON, EventForecaster
from tirgn_eqx.models import EventModel, EventRates, build_model

ENTITIES, RELATIONS = 7, 3
EVERY = np.array(list(itertools.product(range(ENTITIES), range(RELATIONS), range(ENTITIES)))).T
SMALL = {"embedding_dim": 4, "evidence_heads": 2, "evidence_hidden": 3, "precision": "f32"}


@pytest.fixture(scope="module")
def graph():
    found = random_graph(3, num_entities=ENTITIES, num_relations=RELATIONS, num_times=9, facts=4)
    rows = facts_of(found).copy()
    loops = rows[:, 0] == rows[:, 2]
    rows[loops, 2] = (rows[loops, 0] + 1) % ENTITIES
    return with_facts(found, rows)


def roughened(rates):
    """With weights that differ, so that so do the probabilities of all facts."""
    leaves, structure = jax.tree.flatten(rates)
    leaves = [leaf + 0.5 * jnp.sin(1.0 + jnp.arange(leaf.size).reshape(leaf.shape)) for leaf in leaves]
    return jax.tree.unflatten(structure, leaves)


def forecaster_of(graph, kind, **more):
    config = EventTrainingConfig(periods="7", rate_hidden=8)
    base = None
    if kind == "joint":
        config = config.replace(base=EvidenceTrainingConfig(**SMALL))
        base = build_model(ENTITIES, RELATIONS, config.base, key=jr.key(1))
    rates = roughened(EventRates(ENTITIES, RELATIONS, config, key=jr.key(0)))
    return EventForecaster(EventModel(rates, base), config, graph, **more)


@pytest.fixture(scope="module", params=["rates", "joint"])
def forecaster(request, graph):
    return forecaster_of(graph, request.param)


def shares_by_hand(forecaster, s, r):
    """Of every object among those that are new to (s, r), by loops over all facts."""
    facts = [tuple(row[:3]) for row in facts_of(forecaster.graph).tolist()]
    if forecaster.shares.state is None:
        weight = [sum((x, y) == (r, o) for _, x, y in facts) + SMOOTHING for o in range(ENTITIES)]
    else:
        weight = forecaster.shares.state.entity(np.array([s]), np.array([r]))[0].astype(float).tolist()
    weight = [0.0 if (s, r, o) in facts or o == s else weight[o] for o in range(ENTITIES)]
    return [one / (sum(weight) or 1) for one in weight]


def by_hand(forecaster, horizon):
    """(kind, expected, probability) of every fact by its ids."""
    index, rates, target = forecaster.index, forecaster.rates, forecaster.target.target
    facts = {tuple(row[:3]) for row in facts_of(forecaster.graph).tolist()}
    factors, found = rates.unseen(target, (horizon,)), {}
    for s, r in itertools.product(range(ENTITIES), range(RELATIONS)):
        pair, share = index.pair.group(np.array([s * RELATIONS + r])), shares_by_hand(forecaster, s, r)
        mean, shape = float(np.exp(factors.subject[s] + factors.relation[r, 0])), np.inf
        if pair[0] >= 0:
            novel = rates.novel(pair, target, (horizon,))
            mean, shape = float(novel.mean[0, 0]), float(novel.shape[0])
        for o in range(ENTITIES):
            expected = share[o] * mean
            none = np.exp(-expected) if pair[0] < 0 else (1 + expected / shape) ** -shape
            row = "novel" if pair[0] >= 0 else "unseen", expected, 1 - none
            if (s, r, o) in facts:
                known = rates.known(
                    index.fact.group(np.array([(s * RELATIONS + r) * ENTITIES + o])), target, (horizon,)
                )
                row = "known", float(known.mean[0, 0]), float(known.probability[0, 0])
            found[s, r, o] = row
    return found


@pytest.mark.parametrize("horizon", [1, 7])
def test_given_facts_have_the_probabilities_of_a_loop_over_all(forecaster, horizon):
    expected = by_hand(forecaster, horizon)
    found = forecaster.probabilities(*EVERY, horizon=horizon)
    rows = [expected[tuple(fact)] for fact in EVERY.T.tolist()]
    assert found.kind == [row[0] for row in rows] and set(found.kind) == {"known", "novel", "unseen"}
    np.testing.assert_allclose(found.expected, [row[1] for row in rows], rtol=1e-5)
    np.testing.assert_allclose(found.probability, [row[2] for row in rows], rtol=1e-5)
    never = np.isnan(found.lift)
    assert [kind != "known" for kind in found.kind] == never.tolist() == np.isnan(found.usual).tolist()
    np.testing.assert_allclose(found.lift[~never], (found.expected / found.usual)[~never])
    past = facts_of(forecaster.graph)[0]
    row = (past[0] * RELATIONS + past[1]) * ENTITIES + past[2]
    times = (facts_of(forecaster.graph)[:, :3] == past[:3]).all(1).sum()
    assert found.usual[row] == pytest.approx(times * horizon / 9)


def test_by_name_as_by_id_one_by_one_as_together(forecaster):
    s, r, o = EVERY[:, ::5]
    together = forecaster.probabilities(s, r, o, horizon=7)
    named = forecaster.probabilities(*([str(one) for one in column] for column in (s, r, o)), horizon=7)
    listed = forecaster.probabilities(s.tolist(), r.tolist(), o.tolist(), horizon=7)
    assert np.array_equal(together.probability, named.probability) and named.kind == together.kind == listed.kind
    for row in range(len(s)):
        alone = forecaster.probabilities(s[row : row + 1], r[row : row + 1], o[row : row + 1], horizon=7)
        assert alone.kind == together.kind[row : row + 1]
        np.testing.assert_allclose(alone.probability, together.probability[row : row + 1], rtol=1e-6)
    assert forecaster.probabilities([], [], []).kind == []
    for given, told in (
        ((["0"], ["0"], ["0", "1"]), "1 subjects, 1 relations and 2 objects"),
        (([0], [RELATIONS], [0]), "relation 3: ids of this model go from 0 to 2"),
        (([-1], [0], [0]), "entity -1: ids of this model go from 0 to 6"),
        ((["nobody"], ["0"], ["0"]), "'nobody' is not known"),
    ):
        with pytest.raises(DataError, match=told):
            forecaster.probabilities(*given)


@pytest.mark.parametrize("wanted", [(), (0,), (2,), (1,), (0, 1), (0, 2), (0, 1, 2)])
def test_the_list_is_the_exact_top_of_all_facts(forecaster, monkeypatch, wanted):
    """With parts of one pair and of three facts, so that every bound and every cut is met."""
    monkeypatch.setattr(module, "ROWS", 3)
    monkeypatch.setattr(forecaster.shares, "chunk", 2)
    every = forecaster.probabilities(*EVERY, horizon=7)
    fact = (int(facts_of(forecaster.graph)[4, 0]), int(facts_of(forecaster.graph)[4, 1]), 5)
    names = {part: str(fact[place]) for place, part in enumerate(("subject", "relation", "object")) if place in wanted}
    fits = np.logical_and.reduce([np.ones(len(EVERY[0]), bool), *(EVERY[place] == fact[place] for place in wanted)])
    rows = np.flatnonzero(fits & (every.probability > 0))
    order = rows[np.lexsort((*EVERY[::-1, rows], -every.probability[rows].round(9)))]
    for number in (1, 4, 30, 1000):
        found = forecaster.events(number, horizon=7, **names)
        expected = [tuple(map(str, EVERY[:, row])) for row in order[:number].tolist()]
        probability = [fact.probability for fact in found]
        assert len(found) == min(number, len(rows)) and probability == sorted(probability, reverse=True)
        np.testing.assert_allclose(probability, every.probability[order[:number]], rtol=1e-5)
        if number == 1000:
            assert {(one.subject, one.relation, one.object) for one in found} == set(expected)
            assert {one.kind for one in found} == {every.kind[row] for row in order.tolist()}


def test_what_cannot_be_among_the_best_is_not_looked_at(graph, monkeypatch):
    forecaster, asked = forecaster_of(graph, "rates"), []
    rows = forecaster.shares.rows
    monkeypatch.setattr(forecaster.shares, "chunk", 1)
    monkeypatch.setattr(forecaster.shares, "rows", lambda s, r: asked.append((s, r)) or rows(s, r))
    forecaster.events(1000, horizon=7)
    everything, asked[:] = len(asked), []
    forecaster.events(3, horizon=7)
    assert everything == ENTITIES * RELATIONS and len(asked) < everything / 2


def test_who_acts_on_itself_only_where_the_data_have_such_facts(graph):
    rows = facts_of(graph).copy()
    rows[0, 2] = rows[0, 0]
    for one, loops in ((graph, False), (with_facts(graph, rows), True)):
        found = forecaster_of(one, "rates").events(1000, horizon=7)
        assert any(fact.subject == fact.object and fact.kind != "known" for fact in found) == loops


def test_by_lift_are_known_facts_that_are_not_rare(forecaster, graph):
    found = forecaster.events(1000, horizon=7, by="lift")
    every = forecaster.probabilities(*EVERY, horizon=7)
    known = np.array([kind == "known" for kind in every.kind]) & (every.probability >= 0.01)
    assert [one.lift for one in found] == pytest.approx(sorted(every.lift[known], reverse=True), rel=1e-5)
    assert {one.kind for one in found} == {"known"}


def test_the_temperature_of_the_model_that_ranks_counts(graph):
    plain, soft = (forecaster_of(graph, "joint", temperature=one) for one in ({}, {"entity": 3.0}))
    s, r = np.array([0, 4]), np.array([1, 2])
    p, q = plain.shares.rows(s, r), soft.shares.rows(s, r)
    np.testing.assert_allclose(q, p ** (1 / 3) / (p ** (1 / 3) * (p > 0)).sum(1, keepdims=True) * (p > 0), rtol=1e-5)


def test_shares_do_not_depend_on_the_chunk(graph, monkeypatch):
    s, r, o = EVERY
    whole = forecaster_of(graph, "rates").shares.of(s, r, o)
    monkeypatch.setattr(object_shares, "MAX_CELLS", 3 * ENTITIES)
    assert np.array_equal(whole, forecaster_of(graph, "rates").shares.of(s, r, o))


def test_horizons_that_no_rate_was_trained_for_are_refused(forecaster):
    for horizon in (0, -1, MAX_HORIZON + 1, 10**9):
        for ask in (
            lambda h: forecaster.events(horizon=h),
            lambda h: forecaster.probabilities([0], [0], [1], horizon=h),
        ):
            with pytest.raises(ConfigError, match=f"horizon = {horizon}: must be from 1 to 30 steps"):
                ask(horizon)
    with pytest.raises(ConfigError, match="number = 0: must be at least 1"):
        forecaster.events(0)


def test_a_forecast_says_how_right_such_probabilities_were_on_test(forecaster):
    """By the bin of its probability, over the nearest horizon that was tested."""
    figures = {"snapshots": 3, "best_baseline": "never", "skill": 0.1, "ece": 0.1}
    known = [fact.probability for fact in forecaster.events(500) if fact.kind == "known"]
    middle = float(np.median(known))
    bins = [
        {"low": low, "high": high, "facts": 10, "probability": low, "occurred": high, "interval": [low, high]}
        for low, high in ((0.0, middle), (middle, 1.0))
    ]
    horizons = [figures | {"horizon": 1, "reliability": bins}, figures | {"horizon": 7, "reliability": bins[:1]}]
    assert all(fact.calibration is None for fact in forecaster.events(5))
    forecaster.tested = EventTestSummary.model_validate({"horizons": horizons})
    try:
        everything = forecaster.events(500)
        # Those that never came were not tested.
        assert all((fact.calibration is None) == (fact.kind != "known") for fact in everything)
        found = [fact for fact in everything if fact.kind == "known"]
        assert {fact.calibration.high for fact in found} == {middle, 1.0}
        for fact in found:
            assert fact.calibration.low <= fact.probability <= fact.calibration.high and fact.calibration.horizon == 1
            assert fact.calibration.occurred == fact.calibration.high
        later = [fact.calibration for fact in forecaster.events(500, horizon=5)]
        assert None in later and {one.horizon for one in later if one} <= {7}
    finally:
        forecaster.tested = None
