"""What a filter leaves out, against looking at every fact; of a checkpoint, the ranks that follow from it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import both_directions, facts_of_a_graph, family_config, make_graph, random_graph, tiny_config
from tirgn_eqx.evaluate.filters import FILTERS, TrueAnswers
from tirgn_eqx.evaluate.protocol import evaluate_model
from tirgn_eqx.evaluate.recurrency import RecurrencyEvaluator
from tirgn_eqx.models import build_model
from tirgn_eqx.models.recurrency import Recurrency


@settings(max_examples=100, deadline=None)
@given(facts=facts_of_a_graph(), ever=st.booleans())
def test_true_answers_by_looking_at_every_fact(facts, ever):
    graph = make_graph(**facts)
    every, true = both_directions(graph), TrueAnswers(graph, ever=ever)
    for snapshot in range(graph.num_snapshots):
        asked = {(s, r) for s, r, _, t in every if t == snapshot}
        expected = sorted({(s, r, o) for s, r, o, t in every if (s, r) in asked and (ever or t == snapshot)})
        assert list(zip(*(column.tolist() for column in true(snapshot)))) == expected
        queries = sorted(asked)[::2]
        subject, relation = np.array(queries, np.int64).reshape(-1, 2).T
        query, candidate = true.of_queries(snapshot, subject, relation)
        found = [(*queries[q], o) for q, o in zip(query.tolist(), candidate.tolist())]
        assert found == [fact for fact in expected if fact[:2] in queries]


@pytest.fixture(scope="module")
def graph():
    return random_graph(3, num_entities=7, num_times=8, facts=6)


@pytest.fixture(
    scope="module", params=[*(pytest.param(one, marks=pytest.mark.ci) for one in ("tirgn", "evidence")), "recurrency"]
)
def evaluations(request, graph):
    """Evaluations of one model by filter."""
    if request.param == "recurrency":
        model = Recurrency.constant(graph.num_relations, 0.5, 0.7)
        return {filter: RecurrencyEvaluator(graph, "test", filter=filter)(model) for filter in FILTERS}
    import jax.random as jr

    config = tiny_config() if request.param == "tirgn" else family_config("evidence", embedding_dim=4)
    model = build_model(graph.num_entities, graph.num_relations, config, key=jr.key(0))
    return {filter: evaluate_model(model, graph, filter=filter, **config.window()) for filter in FILTERS}


def test_the_time_unaware_filter_never_ranks_worse_and_none_is_raw(evaluations):
    time, ever, none = (evaluations[filter] for filter in FILTERS)
    assert [found.filter for found in evaluations.values()] == list(FILTERS)
    for other in (ever, none):
        np.testing.assert_array_equal(other.raw["entity"], time.raw["entity"])
    np.testing.assert_array_equal(none.filtered["entity"], time.raw["entity"])
    assert (ever.filtered["entity"] <= time.filtered["entity"]).all()
    assert (ever.filtered["entity"] < time.filtered["entity"]).any()
    # The batches of the time-unaware filter have it for entities alone.
    assert "relation" not in ever.filtered and ever.report().relation is None
    assert none.report().filter == "none" and none.entity["mrr"] == time.report().entity_raw["mrr"]
