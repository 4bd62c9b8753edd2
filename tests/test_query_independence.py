"""A forecast of one query does not depend on which other queries its snapshot asks.

The queries of a snapshot tell who will act in it, and public models that read them gain up to nine points of MRR that
no forecaster has. So the queries of one snapshot are permuted, asked one at a time, and mixed with false ones: what
every model gives for a query stays the same.
"""

import dataclasses

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import make_graph, random_graph
from tirgn_eqx.config import FAMILIES, EventTrainingConfig, MixtureTrainingConfig
from tirgn_eqx.data.batches.loader import KINDS
from tirgn_eqx.data.graph import StaticGraph, TemporalGraph
from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.evaluate import event_rates, make_evaluator
from tirgn_eqx.evaluate.audit import EvaluationMeasure, ForecastRequest, audit
from tirgn_eqx.evaluate.audit.perturbations import table_of
from tirgn_eqx.evaluate.event_rates import RatesForecaster
from tirgn_eqx.evaluate.strata import split_queries
from tirgn_eqx.models import EventRates, build_model

pytestmark = pytest.mark.ci

ENTITIES, RELATIONS = 9, 3
STATIC = StaticGraph(np.arange(6) % 4, np.arange(6) % 2, np.arange(6) % 3, 2, 3)
PAST = [(s % 5, s % RELATIONS, (3 * s + time) % ENTITIES, time) for time in range(5) for s in range(7)]
# A valid split of one snapshot, so that the test split begins with the next one.
VALID = [(0, 1, 2, 5), (3, 0, 1, 5)]
TIME = 6
SMALL = {
    **{"embedding_dim": 4, "history_len": 3, "num_layers": 1, "static_blocks": 2, "conv_channels": 2},
    **{"precision": "f32", "remat": "none"},
}
FACTS = st.lists(
    st.tuples(st.integers(0, ENTITIES - 1), st.integers(0, RELATIONS - 1), st.integers(0, ENTITIES - 1)),
    min_size=1,
    max_size=6,
    unique=True,
)


def config_of(family):
    if family == "mixture":
        evidence = config_of("evidence")
        return MixtureTrainingConfig.of(config_of("tirgn"), evidence)
    known = {field.name for field in dataclasses.fields(FAMILIES[family])}
    more = {"evidence_heads": 2, "evidence_hidden": 3, "max_partners": 3}
    return FAMILIES[family](**{name: value for name, value in (SMALL | more).items() if name in known})


def world(asked) -> TemporalGraph:
    rows = [*PAST, *VALID, *((*fact, TIME) for fact in asked)]
    first = len(PAST)
    sizes = {"num_entities": ENTITIES, "num_relations": RELATIONS, "static": STATIC}
    return make_graph(rows, valid=first, test=first + len(VALID), **sizes)


@pytest.fixture(scope="module", params=[name for name in FAMILIES if name != "events"])
def model(request):
    def make(key):
        return build_model(ENTITIES, RELATIONS, config_of(request.param), STATIC, key=key)

    made = eqx.filter_jit(make)(jr.key(0))

    def roughen(x):
        # Weights that begin at zero would hide what they multiply. The static graph has degrees of whole numbers.
        is_weight = eqx.is_inexact_array(x) and x.ndim and not np.all(np.asarray(x) == np.round(x))
        return x + 0.3 * np.sin(np.arange(x.size, dtype=np.float32)).reshape(x.shape) if is_weight else x

    return jax.tree.map(roughen, made) if request.param in ("evidence", "mixture") else made


def measured(model, graph) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and ranks of the queries of the last snapshot, in both directions."""
    s, r, o, _ = split_queries(graph, "test", np.array([graph.num_snapshots - 1]))
    request = ForecastRequest(
        table_of(graph), np.stack([s, r], 1), TIME, ENTITIES, RELATIONS, entities=np.arange(ENTITIES)
    )
    found = EvaluationMeasure(model, graph, history_len=3, history_window=0)(request, o, np.arange(len(o)))
    assert found.ranks is not None
    return found.values, found.ranks


@settings(max_examples=3, deadline=None)
@given(asked=FACTS, seed=st.integers(0, 100))
def test_other_queries_of_the_snapshot_and_later_facts_change_no_forecast(model, asked, seed):
    """Each query alone, all in another order, and with false ones, against random facts later on."""
    graph = world(asked)
    measure = EvaluationMeasure(model, graph, history_len=3, history_window=0)
    report = audit(graph, figures=measure, model="tiny", snapshots=1, alone=1, seed=seed)
    # Products are batched differently, so the last digits may differ; a rank never does.
    assert report.clean and all(not one.ranks_changed for one in report.checks)
    assert {one.check for one in report.checks if one.of == "figures"} == {"repeat", "facts after t", "queries"}


def test_the_measure_is_the_evaluation(model):
    """Probabilities and ranks of both directions are those of `make_evaluator` on the graph itself."""
    graph = world([(0, 0, 1), (2, 1, 3), (0, 0, 4), (1, 2, 1)])
    expected = make_evaluator(model, graph, split="test", history_len=3)(model)
    values, ranks = measured(model, graph)
    np.testing.assert_array_equal(ranks, expected.raw["entity"])
    columns = [x[kind] for kind in KINDS for x in (expected.nll, expected.confidence, expected.brier)]
    columns[0], columns[3] = (np.exp(-columns[place]) for place in (0, 3))
    np.testing.assert_allclose(values, np.stack(columns, 1), rtol=1e-5, atol=1e-6)


def test_another_past_changes_a_forecast(model):
    """So that the test above could have failed."""
    asked = [(0, 0, 1), (2, 1, 3)]
    before, _ = measured(model, world(asked))
    PAST.append((0, 0, 1, 4))
    try:
        after, _ = measured(model, world(asked))
    finally:
        PAST.pop()
    assert np.abs(before - after).max() > 1e-4


def test_rates_of_other_facts_change_no_rate(monkeypatch):
    """A fact alone, among all, in another order and in other chunks, some of which are padded and some full: the same
    bits in the same shape, and 1e-6 where products are batched otherwise."""
    graph = random_graph(4, num_entities=9, num_times=12, facts=12)
    index, config = ActivityIndex(graph), EventTrainingConfig(periods="7", rate_hidden=8)
    model = EventRates(graph.num_entities, graph.num_relations, config, key=jr.key(0))
    # Weights that differ: those of the output begin small, and would hide what they multiply.
    model = jax.tree.map(lambda x: x + 0.3 * np.sin(np.arange(x.size, dtype=np.float32)).reshape(x.shape), model)
    forecaster, target = RatesForecaster(model, index, (1, 5)), 10
    for asked, every in ((forecaster.known, index.known_facts(target)), (forecaster.novel, index.known_pairs(target))):

        def ask(groups):
            found = asked(groups, target)  # noqa: B023
            return np.stack([found.mean, found.probability])

        # This also computes the level, which is that of all that came lately, whatever is asked for.
        whole, number = ask(every), len(every)
        assert number > 15 and len(np.unique(whole[0, :, 0])) > number / 2
        order = np.random.default_rng(0).permutation(number)
        assert np.array_equal(whole[:, order], ask(every[order]))
        for rows in (4, 7, number - 1, number):
            with monkeypatch.context() as patch:
                patch.setattr(event_rates, "LEVEL_ROWS", 2)  # so that a few are asked for in one shape, more in another
                patch.setattr(event_rates, "ROWS", rows)
                np.testing.assert_allclose(ask(every), whole, rtol=1e-6)
                np.testing.assert_allclose(ask(every[order]), whole[:, order], rtol=1e-6)
                for place in (0, 3, number - 1):
                    np.testing.assert_allclose(ask(every[[place]]), whole[:, [place]], rtol=1e-6)
                    pair = every[[place, 5]]
                    np.testing.assert_allclose(ask(pair), whole[:, [place, 5]], rtol=1e-6)
