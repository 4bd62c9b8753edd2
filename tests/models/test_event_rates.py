"""Event rates: the negative binomial law, horizons, and totals against explicit sums."""

import math

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import random_graph
from tirgn_eqx.config import EventTrainingConfig
from tirgn_eqx.data.batches.event_rows import EventRowsLoader, EventRowsOptions, make_horizons
from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.models.event_rates import EventRates, ExpectedCounts, at_least_once, event_loss

means, shapes = st.floats(-8, 3), st.floats(-5, 5)


def counts_of(log_mean, log_shape):
    return ExpectedCounts(jnp.array([[log_mean]]), jnp.array([log_shape]))


def probability_of(count, log_mean, log_shape):
    """P(count) of the negative binomial law, by its formula."""
    mean, shape = math.exp(log_mean), math.exp(log_shape)
    ways = math.lgamma(count + shape) - math.lgamma(shape) - math.lgamma(count + 1)
    return math.exp(ways + shape * math.log(shape / (shape + mean)) + count * math.log(mean / (shape + mean)))


@given(means, shapes, st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_the_likelihood_is_that_of_the_negative_binomial_law(log_mean, log_shape, count):
    found = float(counts_of(log_mean, log_shape).log_likelihood(jnp.array([[float(count)]]))[0, 0])
    expected = probability_of(count, log_mean, log_shape)
    if expected > 1e-12:
        assert found - math.lgamma(count + 1) == pytest.approx(math.log(expected), abs=2e-3)


@given(st.floats(-8, 1), shapes)
@settings(max_examples=40, deadline=None)
def test_probabilities_of_all_counts_sum_to_one(log_mean, log_shape):
    found = counts_of(log_mean, log_shape)
    numbers = np.arange(400.0)
    log_p = [float(found.log_likelihood(jnp.array([[n]]))[0, 0]) - math.lgamma(n + 1) for n in numbers[:60]]
    mean, shape = np.exp(np.array([[log_mean]])), np.exp(np.array([[log_shape]]))
    assert 1 - float(at_least_once(mean, shape)[0, 0]) == pytest.approx(math.exp(log_p[0]), rel=1e-3, abs=1e-5)
    tail = sum(probability_of(int(n), log_mean, log_shape) for n in numbers[60:])
    assert sum(map(math.exp, log_p)) + tail == pytest.approx(1, abs=0.01)


@pytest.fixture(scope="module")
def setting():
    graph = random_graph(3, num_entities=7, num_times=14, facts=8)
    config = EventTrainingConfig(periods="7", rate_hidden=4)
    model = EventRates(graph.num_entities, graph.num_relations, config, key=jr.key(0))
    # Seasons and levels that are not 0.
    model = eqx_set(model, jr.key(1))
    return graph, ActivityIndex(graph), model


def eqx_set(model, key):
    """The model with weights that are not 0, and as many unseen events as others."""

    def drawn(model):
        networks = (model.unseen_subject.outer, model.unseen_relation.outer)
        return (model.season, model.relation_level, model.known.relation_level, model.novel.relation_level, *networks)

    def levels(model):
        return model.unseen_subject.level, model.unseen_relation.level

    new = tuple(0.5 * jr.normal(k, x.shape) for k, x in zip(jr.split(key, 6), drawn(model)))
    return eqx.tree_at(levels, eqx.tree_at(drawn, model, new), (jnp.array(-1.0), jnp.array(-1.0)))


def test_at_least_one_grows_with_the_horizon(setting):
    graph, index, model = setting
    horizons = tuple(range(1, 31))
    after = make_horizons(index, 10, horizons, model.periods, 10)
    batch = EventRowsLoader(index, EventRowsOptions(horizons, 64, model.periods)).build(10, graph.num_snapshots)
    for found in (model.known_counts(batch.known, after), model.novel_counts(batch.novel, after)):
        assert (jnp.diff(found.log_mean, axis=1) > 0).all()
        mean = np.exp(np.asarray(found.log_mean, np.float64))
        once = at_least_once(mean, np.exp(np.asarray(found.log_shape, np.float64))[:, None])
        assert (np.diff(once, axis=1) > 0).all()
        # As likely as with a Poisson number of that mean, or less.
        assert (once <= -np.expm1(-mean) + 1e-12).all()


def test_the_likelihood_of_a_batch_is_that_of_every_fact_by_itself(setting):
    """All known facts, all known pairs and every unseen pair, in loops."""
    graph, index, model = setting
    target, end, horizons = 9, 13, (1, 3)
    loader = EventRowsLoader(index, EventRowsOptions(horizons, 512, model.periods))
    batch = loader.build(target, end)
    after = batch.horizons
    facts = [tuple(map(int, row)) for row in zip(graph.subject, graph.relation, graph.object, graph.snapshot)]
    before = {fact[:3] for fact in facts if fact[3] < target}
    seen = {fact[:2] for fact in before}
    total = events = 0.0
    for kind, network in (("known", model.known_counts), ("novel", model.novel_counts)):
        rows = getattr(batch, kind)
        found = network(rows, after)
        for place in np.flatnonzero(np.asarray(rows.weight)).tolist():
            assert float(rows.weight[place]) == 1
            for number in range(len(horizons)):
                count = float(rows.count[place, number])
                log_mean, log_shape = float(found.log_mean[place, number]), float(found.log_shape[place])
                total += math.log(probability_of(int(count), log_mean, log_shape)) + math.lgamma(count + 1)
                events += count
    subject, relation = model.unseen_factors(batch.subject_features, batch.relation_features, after)
    for s in range(graph.num_entities):
        for r in range(graph.num_relations):
            if (s, r) not in seen:
                for number, horizon in enumerate(horizons):
                    happened = [f for f in facts if f[:2] == (s, r) and target <= f[3] < min(target + horizon, end)]
                    log_mean = float(subject[s] + relation[r, number])
                    total += len(happened) * log_mean - math.exp(log_mean)
                    events += len(happened)
    assert float(batch.events) == events
    assert float(model.log_likelihood(batch)) == pytest.approx(total, rel=1e-4)
    assert float(event_loss(model, batch)) == pytest.approx(-total / events, rel=1e-4)


@pytest.mark.ci
def test_a_sample_stands_for_all_rows(setting):
    """With a few rows of each kind, the likelihood is right in the mean over draws."""
    graph, index, model = setting
    whole = EventRowsLoader(index, EventRowsOptions((2,), 512, model.periods)).build(9, graph.num_snapshots)
    few = EventRowsLoader(index, EventRowsOptions((2,), 16, model.periods))
    found = [float(model.log_likelihood(few.build(9, graph.num_snapshots, epoch))) for epoch in range(60)]
    error = np.std(found) / np.sqrt(len(found))
    assert np.std(found) > 0
    assert np.mean(found) == pytest.approx(float(model.log_likelihood(whole)), abs=4 * error)
