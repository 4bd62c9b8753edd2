"""What a model feeds back to itself, against its own forecasts one query at a time."""

import equinox as eqx
import jax
import numpy as np
import pytest

from tests.helpers import facts_of, make_graph, random_graph, tiny_model, with_facts
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.data.index.snapshots import SnapshotStore
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.evaluate import evaluate_model
from tirgn_eqx.evaluate.feedback import ANSWERS_PER_QUERY, forecast_snapshots
from tirgn_eqx.evaluate.recurrency import RecurrencyEvaluator

HISTORY_LEN = 2


@pytest.fixture(scope="module")
def graph():
    return random_graph(21, num_entities=9, num_times=9)


@pytest.fixture(scope="module")
def model(graph):
    return tiny_model(graph.num_entities, graph.num_relations, history_len=HISTORY_LEN)


def forecast(model, graph, split="test"):
    options = {"history_len": HISTORY_LEN, "history_window": 0, "batch_size": 8}
    return forecast_snapshots(model, graph, split, vocabulary=build_history_vocabulary(graph), **options)


def facts_of_snapshot(snapshot, num_relations):
    """The facts of a snapshot as {(subject, relation, object)}."""
    edges = zip(snapshot.active[snapshot.edge_source], snapshot.edge_relation, snapshot.active[snapshot.edge_target])
    return {(int(s), int(r), int(o)) for s, r, o in edges if r < num_relations}


def test_known_snapshots_stay_cached_beside_those_that_are_forecast(model, graph):
    store = forecast(model, graph)
    assert store.max_facts == SnapshotStore(graph).max_facts > store.forecast_size
    assert store[0] is store[0] and store[1] is store[1] and store[0] is store[0]


def test_the_first_snapshot_holds_the_facts_that_the_model_expects_most(model, graph):
    cut = int(graph.split_snapshots("test")[0])
    store = forecast(model, graph)
    window = slice(graph.offsets[cut - HISTORY_LEN], graph.offsets[cut])
    known = list(zip(*(x[window].tolist() for x in (graph.subject, graph.relation, graph.object))))
    asked = [(s, r) for s, r, _ in known] + [(o, r + graph.num_relations) for _, r, o in known]
    # The model's own forecasts at the first test snapshot, whose queries are given to it here one by one.
    everyone = [(s, r, 0, cut) for s, r in sorted({pair for pair in asked if pair[1] < graph.num_relations})]
    everyone += [(0, r - graph.num_relations, o, cut) for o, r in sorted({pair for pair in asked})]
    everyone = [fact for fact in everyone if fact[1] >= 0]
    before = facts_of(graph)[: graph.offsets[cut]].tolist()
    sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
    other = make_graph(before + everyone, **sizes, valid=len(before), test=len(before))
    loader = GraphLoader(
        other, build_history_vocabulary(other), "test", GraphOptions(history_len=HISTORY_LEN, unique=True)
    )
    batch = loader.build(cut).batch

    def first(queries):
        return jax.tree.map(lambda x: x[0], queries)

    queries = first(batch.entity_queries)
    scores = eqx.filter_jit(model)(batch.window, queries, first(batch.relation_queries), batch.time_index)[0]
    expected = {}
    rows = zip(np.asarray(queries.subject).tolist(), np.asarray(queries.condition).tolist(), np.asarray(scores))
    for s, r, row in rows:
        times = asked.count((s, r))
        for o in np.argsort(-row, kind="stable")[:ANSWERS_PER_QUERY].tolist() if times else ():
            fact = (s, r, o) if r < graph.num_relations else (o, r - graph.num_relations, s)
            expected[fact] = max(expected.get(fact, 0), times * float(np.exp(row[o])))
    wanted = round(len(known) / HISTORY_LEN)
    best = sorted(expected, key=expected.get, reverse=True)[:wanted]
    assert facts_of_snapshot(store[cut], graph.num_relations) == set(best)


def test_no_fact_of_the_split_is_read(model, graph):
    cut = int(graph.split_snapshots("test")[0])
    later = graph.snapshot >= cut
    rows = facts_of(graph)
    other = rows.copy()
    other[later, 0], other[later, 1] = (rows[later, 2] + 1) % 9, (rows[later, 1] + 1) % graph.num_relations
    stores = [forecast(model, with_facts(graph, facts)) for facts in (rows, other)]
    for number in range(cut, graph.num_snapshots):
        one, two = (store[number] for store in stores)
        assert all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(two).values()))
        assert 1 <= len(one.edge_source) // 2 <= stores[0].max_facts


@pytest.mark.ci
def test_evaluation_with_what_was_fed_back(model, graph):
    def run(setting):
        return evaluate_model(model, graph, history_len=HISTORY_LEN, setting=setting)

    frozen, fed = run("multi-step"), run("multi-step, fed back")
    assert fed.setting == "multi-step, fed back" and np.array_equal(fed.snapshot, frozen.snapshot)
    first = frozen.snapshot == frozen.snapshot.min()
    assert np.allclose(fed.nll["entity"][first], frozen.nll["entity"][first], rtol=1e-5)
    assert not np.allclose(fed.nll["entity"][~first], frozen.nll["entity"][~first], rtol=1e-3)
    # The window of the second snapshot is the last known one and the forecast one.
    store = forecast(model, graph)
    cut = store.first_forecast
    loader = GraphLoader(
        graph,
        build_history_vocabulary(graph),
        "test",
        GraphOptions(history_len=HISTORY_LEN, history_end=cut, fed_back=True),
        store=store,
    )
    window = loader.build(cut + 1).batch.window
    for row, number in enumerate((cut - 1, cut)):
        found = np.asarray(window.active[row])
        assert found[found < graph.num_entities].tolist() == store[number].active.tolist()


def test_a_counter_has_nothing_to_feed_back(graph):
    with pytest.raises(ConfigError, match="no window to feed forecasts back to"):
        RecurrencyEvaluator(graph, "test", "multi-step, fed back")
