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
from tirgn_eqx.evaluate.event_rates import RatesForecaster
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


def forecasts(model, asked) -> dict[tuple[str, int, int, int], tuple[float, float]]:
    """The raw rank and the negative log probability of every answer, by kind of query and fact, inverses included."""
    graph = world(asked)
    found = make_evaluator(model, graph, split="test", history_len=3)(model)
    rows = graph.split_mask("test")
    s, r, o = graph.subject[rows], graph.relation[rows], graph.object[rows]
    facts = [*zip(s, r, o), *zip(o, r + RELATIONS, s)]
    return {
        (kind, *map(int, fact)): (found.raw[kind][place], found.nll[kind][place])
        for kind in KINDS
        for place, fact in enumerate(facts)
    }


def assert_same(one, other):
    for key in one.keys() & other.keys():
        # Products are batched differently, so the last digits may differ; a rank never does.
        assert one[key][0] == other[key][0], key
        np.testing.assert_allclose(one[key][1], other[key][1], rtol=1e-5, atol=1e-6, err_msg=str(key))


@settings(max_examples=3, deadline=None)
@given(asked=FACTS, false=FACTS, order=st.randoms(use_true_random=False))
def test_other_queries_of_the_snapshot_change_no_forecast(model, asked, false, order):
    alone = forecasts(model, asked)
    permuted = list(asked)
    order.shuffle(permuted)
    assert_same(alone, forecasts(model, permuted))
    assert_same(alone, forecasts(model, asked[:1]))
    assert_same(alone, forecasts(model, [*asked, *(fact for fact in false if fact not in asked)]))


def test_another_past_changes_a_forecast(model):
    """So that the test above could have failed."""
    asked = [(0, 0, 1), (2, 1, 3)]
    before = forecasts(model, asked)
    PAST.append((0, 0, 1, 4))
    try:
        after = forecasts(model, asked)
    finally:
        PAST.pop()
    assert any(abs(before[key][1] - after[key][1]) > 1e-4 for key in before)


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
