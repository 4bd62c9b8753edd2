"""Evaluation against one query at a time, and everything around it counted by hand."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import both_directions, make_graph, random_graph, tiny_model
from tirgn_eqx.data.batches.loader import KINDS
from tirgn_eqx.data.index.snapshots import SnapshotStore, stack_window
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.protocol import evaluate_model
from tirgn_eqx.types import Queries, Window

WINDOW_SIZES, SEEN = (12, 60, 30), 16


@pytest.fixture(scope="module")
def graph():
    return random_graph(5, num_entities=9, num_times=8)


@pytest.fixture(scope="module")
def model(graph):
    return tiny_model(graph.num_entities, graph.num_relations)


def one_query(subject, given, seen, candidates):
    pad = SEEN - len(seen)

    def whole(*values):
        return jnp.array(values, jnp.int32)

    return Queries(
        subject=whole(subject),
        condition=whole(given),
        weight=jnp.ones(1),
        answer_query=whole(0),
        answer=whole(0),
        answer_weight=jnp.ones(1),
        answer_in_history=jnp.array([0 in seen]),
        history_query=whole(*[0] * len(seen), *[1] * pad),
        history_candidate=whole(*sorted(seen), *[candidates] * pad),
    )


def place(values, truth, mask):
    return 1 + np.sum(values[mask] > values[truth]) + np.sum(values[mask] == values[truth]) / 2


def by_hand(model, graph, split, history_len, history_window):
    """{kind: rows (filtered rank, raw rank, nll)} of the split's facts in both directions, by definition."""
    call, store, facts = eqx.filter_jit(model), SnapshotStore(graph), both_directions(graph)
    sizes = {"entity": graph.num_entities, "relation": 2 * graph.num_relations}
    rows = {kind: [] for kind in KINDS}
    for target in graph.split_snapshots(split):
        fields = stack_window(
            store.window(int(target), history_len),
            history_len,
            WINDOW_SIZES,
            graph.num_entities,
            graph.num_relations,
        )
        window = Window(**{name: jnp.asarray(values) for name, values in fields.items()})
        first = target - history_window if history_window else 0
        past = [fact for fact in facts if first <= fact[3] < target]
        now = [fact for fact in facts if fact[3] == target]
        asked = both_directions(graph, (graph.snapshot == target) & graph.split_mask(split))
        for s, r, o, _ in asked:
            objects = {c for a, b, c, _ in past if (a, b) == (s, r)}
            relations = {b for a, b, c, _ in past if (a, c) == (s, o)}
            queries = [
                one_query(s, r, objects, sizes["entity"]),
                one_query(s, o, relations, sizes["relation"]),
            ]
            scores = call(window, *queries, jnp.asarray(graph.time_index[target], jnp.float32))
            known = [
                {c for a, b, c, _ in now if (a, b) == (s, r)},
                {b for a, b, c, _ in now if (a, c) == (s, o)},
            ]
            for kind, log_probability, truth, true in zip(KINDS, scores, (o, r), known):
                values = np.asarray(log_probability)[0]
                others = np.arange(len(values)) != truth
                left = others & ~np.isin(np.arange(len(values)), list(true))
                rows[kind].append((*(place(values, truth, m) for m in (left, others)), -values[truth]))
    return {kind: np.array(values) for kind, values in rows.items()}


@pytest.mark.parametrize("split, history_window", [("test", 0), ("valid", 2)])
def test_evaluation_is_one_query_at_a_time(model, graph, split, history_window):
    result = evaluate_model(model, graph, split=split, history_len=3, history_window=history_window)
    expected = by_hand(model, graph, split, 3, history_window)
    count = 2 * graph.split_mask(split).sum()
    for kind in KINDS:
        assert len(expected[kind]) == len(result.filtered[kind]) == count
        assert np.array_equal(result.filtered[kind], expected[kind][:, 0])
        assert np.array_equal(result.raw[kind], expected[kind][:, 1])
        assert np.allclose(result.nll[kind], expected[kind][:, 2], rtol=1e-5, atol=1e-5)
    figures, ranks = result.to_dict(), expected["entity"][:, 0]
    numbers, counts = np.unique(graph.snapshot[graph.split_mask(split)], return_counts=True)
    assert result.snapshot.tolist() == np.repeat(numbers, 2 * counts).tolist()
    assert result.inverse.tolist() == [row >= n for n in counts for row in range(2 * n)]
    assert figures["entity"]["mrr"] == pytest.approx(np.mean(1 / ranks))
    assert figures["object"]["mrr"] == pytest.approx(np.mean(1 / ranks[~result.inverse]))
    assert figures["subject"]["hits_at_3"] == pytest.approx(np.mean(ranks[result.inverse] <= 3))
    assert figures["relation_raw"]["mrr"] == pytest.approx(np.mean(1 / expected["relation"][:, 1]))
    assert sum(row["queries"] for row in figures["snapshots"]) == count
    for row in figures["snapshots"]:
        here = graph.times[result.snapshot] == row["time"]
        assert row["mrr"] == pytest.approx(np.mean(1 / ranks[here])) and row["queries"] == here.sum()


def test_a_split_without_a_past_is_an_error(model):
    graph = make_graph([(0, 0, 1, 0), (1, 0, 2, 1)], num_entities=9, num_relations=3)
    with pytest.raises(DataError, match="no snapshot with a past"):
        evaluate_model(model, graph, split="test", history_len=3)


def long_last_snapshot(between):
    """A graph whose test split is three snapshots; `between` are the facts of the first two. The last one is the
    largest by far, so that the shapes of its batch do not depend on the others."""
    rng = np.random.default_rng(0)

    def draw(count, time):
        return [(*rng.integers(0, (9, 3, 9)).tolist(), time) for _ in range(count)]

    known = [fact for time in range(6) for fact in draw(8, time)]
    last = draw(40, 8)
    facts = known + between + last
    return make_graph(facts, num_entities=9, num_relations=3, valid=40, test=48)


@pytest.mark.ci
def test_multi_step_reads_nothing_after_the_cut(model):
    first = [(0, 0, 1, 6), (2, 1, 3, 6), (4, 2, 5, 7)]
    other = [(5, 1, 0, 6), (0, 2, 8, 6), (8, 0, 4, 7), (1, 1, 1, 7), (2, 2, 2, 7)]

    def at_the_end(between, setting):
        graph = long_last_snapshot(between)
        result = evaluate_model(model, graph, history_len=3, setting=setting)
        assert result.setting == setting == result.to_dict()["setting"]
        last = result.snapshot == graph.num_snapshots - 1
        return [result.nll[kind][last].tobytes() for kind in KINDS]

    assert at_the_end(first, "multi-step") == at_the_end(other, "multi-step")
    assert at_the_end(first, "single-step") != at_the_end(other, "single-step")


def test_multi_step_is_single_step_at_the_first_snapshot(model, graph):
    by_setting = [
        evaluate_model(model, graph, history_len=3, setting=setting) for setting in ("single-step", "multi-step")
    ]
    first = by_setting[0].snapshot == by_setting[0].snapshot.min()
    one, two = (result.nll["entity"] for result in by_setting)
    assert np.allclose(one[first], two[first], rtol=1e-5) and not np.allclose(one[~first], two[~first], rtol=1e-3)


def test_near_the_beginning_windows_are_as_long_as_there_is_a_past(model):
    """Entities without an edge are evolved over what there is, not over `history_len` snapshots."""
    rng = np.random.default_rng(3)
    rows = [(*rng.integers(0, (9, 3, 9)).tolist(), time) for time in range(4) for _ in range(4)]
    graph = make_graph(rows, num_entities=9, num_relations=3, valid=4)
    assert graph.split_snapshots("valid").tolist() == [1, 2, 3]
    result = evaluate_model(model, graph, split="valid", history_len=3)
    expected = by_hand(model, graph, "valid", 3, 0)
    for kind in KINDS:
        np.testing.assert_allclose(result.nll[kind], expected[kind][:, 2], rtol=1e-5, atol=1e-5)
        assert np.array_equal(result.filtered[kind], expected[kind][:, 0])
