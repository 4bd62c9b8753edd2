"""Batches of graph models: shapes, content, order."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest

from tests.helpers import make_graph, prefetching_threads, random_graph, same_bits
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.errors import DataError

HISTORY_LEN = 3


def make_loader(graph, split="train", **options):
    vocabulary = build_history_vocabulary(graph)
    return GraphLoader(graph, vocabulary, split, GraphOptions(history_len=HISTORY_LEN, **options))


def shapes(tree):
    return tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def graph():
    return random_graph(1, num_entities=12, num_times=16, facts=10)


def least_shape(loader, target):
    """What `target` needs, counted on its batch in `loader`."""
    batch = jax.tree.map(np.asarray, loader.build(target).batch)
    entities = loader.graph.num_entities
    window = [
        int((batch.window.active < entities).sum(1).max()),
        int((batch.window.edge_target < batch.window.active.shape[1]).sum(1).max()),
        int((batch.window.pair_relation < loader.graph.num_relations).sum(1).max()),
    ]
    kinds = []
    for queries in (batch.entity_queries, batch.relation_queries):
        unit = queries.subject.shape[1]
        masks = [
            queries.weight > 0,
            queries.answer_weight > 0,
            queries.history_query < unit,
            queries.true_query < unit,
        ]
        kinds.append([int(mask.sum(1).max()) for mask in masks])
    micro = int((batch.entity_queries.weight > 0).any(1).sum())
    return window, kinds, micro


@pytest.mark.parametrize(
    "options",
    [{}, {"batch_size": 5}, {"unique": True, "batch_size": 7}, {"max_buckets": 1}, {"history_window": 2}],
)
def test_buckets_hold_every_target_and_batches_have_their_shape(graph, options):
    loader = make_loader(graph, with_truth=True, **options)
    roomy = make_loader(graph, with_truth=True, **options | {"max_buckets": 1})
    assert 1 <= len(loader.buckets) <= options.get("max_buckets", 3)
    assert set(loader.bucket_of) == set(loader.items.tolist())
    assert set(loader.bucket_of.values()) == set(range(len(loader.buckets)))
    for target in loader.items.tolist():
        bucket = loader.buckets[loader.bucket_of[target]]
        window, kinds, micro = least_shape(roomy, target)
        assert np.all(np.array(window) <= bucket.window) and micro <= bucket.num_micro
        assert np.all(np.array(kinds[0]) <= bucket.entity) and np.all(np.array(kinds[1]) <= bucket.relation)
        if loader.options.batch_size:
            assert max(kinds[0][0], kinds[1][0]) <= loader.options.batch_size
        prepared = loader.build(target)
        batch = prepared.batch
        assert prepared.bucket == loader.bucket_of[target] and prepared.target == target
        found = [batch.window.active, batch.window.edge_source, batch.window.pair_entity]
        assert [array.shape for array in found] == [(HISTORY_LEN, size) for size in bucket.window]
        for kind, sizes in (("entity", bucket.entity), ("relation", bucket.relation)):
            queries = getattr(batch, f"{kind}_queries")
            found = [queries.subject, queries.answer, queries.history_query, queries.true_query]
            assert [array.shape for array in found] == [(bucket.num_micro, size) for size in sizes]
            assert prepared.rows[kind].shape == queries.answer.shape


@pytest.mark.parametrize("max_buckets", [1, 3, 10])
@pytest.mark.parametrize("num_negatives", [0, 2])
def test_as_many_compilations_as_buckets(graph, max_buckets, num_negatives):
    loader = make_loader(graph, max_buckets=max_buckets, num_negatives=num_negatives)
    traced = []

    @jax.jit
    def step(batch):
        traced.append(shapes(batch))
        return batch.time_index

    for prepared in loader.epoch(0):
        step(prepared.batch)
    assert len(traced) == len(set(traced)) == len(loader.buckets) <= max_buckets


def test_loads_that_are_rounded_to_one_shape_are_one_bucket():
    facts = [(entity, 0, entity + 1, time) for time in range(9) for entity in range(1 + time % 3)]
    loader = make_loader(make_graph(facts, num_entities=4, num_relations=1))
    assert len(loader.buckets) == 1
    assert len({shapes(loader.build(target).batch) for target in loader.items.tolist()}) == 1


def test_arrays_have_the_types_of_the_device(graph):
    batch = make_loader(graph, num_negatives=2, with_truth=True).build(4).batch
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(batch)} == {"int32", "float32", "bool"}
    assert batch.key is None and float(batch.time_index) == graph.time_index[4]


def test_the_first_snapshot_is_never_a_target(graph):
    loader = make_loader(graph)
    assert loader.items.tolist() == [t for t in graph.split_snapshots("train").tolist() if t > 0]
    empty = make_loader(make_graph([(0, 0, 1, 0)], num_entities=2, num_relations=1))
    assert len(empty) == 0 and empty.buckets == [] and list(empty.epoch(0)) == []


def test_every_query_of_the_split_once(graph):
    for split in ("train", "valid", "test"):
        loader, total = make_loader(graph, split, unique=split != "train", batch_size=6), 0
        for prepared in loader.in_order():
            here = (graph.snapshot == prepared.target) & graph.split_mask(split)
            assert prepared.num_facts == here.sum()
            for kind in ("entity", "relation"):
                rows = prepared.rows[kind]
                assert sorted(rows[rows >= 0].tolist()) == list(range(2 * prepared.num_facts))
            total += prepared.num_facts
        assert total == (graph.split_mask(split) & (graph.snapshot > 0)).sum()


def test_the_filter_is_shipped_for_evaluation_only(graph):
    queries = make_loader(graph).build(3).batch.entity_queries
    assert queries.true_query is None and queries.true_candidate is None
    assert queries.negatives is None and queries.candidate_in_history is None
    queries = make_loader(graph, with_truth=True).build(3).batch.relation_queries
    assert queries.true_query is not None and queries.true_candidate is not None


@pytest.mark.parametrize("options", [{}, {"batch_size": 4}, {"unique": True, "history_window": 2}])
def test_negatives_are_false_and_know_their_history(graph, options):
    loader = make_loader(graph, num_negatives=4, **options)
    index, window = loader.vocabulary.entity, loader.options.history_window
    for target in loader.items.tolist():
        queries = loader.build(target).batch.entity_queries
        get = {name: np.asarray(values) for name, values in vars(queries).items() if values is not None}
        assert get["negatives"].shape == (*queries.answer.shape, 4)
        assert get["candidate_in_history"].shape == (*queries.answer.shape, 5)
        here = graph.snapshot == target
        s, r, o = graph.subject[here], graph.relation[here], graph.object[here]
        true = set(zip(s, r, o)) | set(zip(o, r + graph.num_relations, s))
        for place in zip(*np.nonzero(get["answer_weight"])):
            unit = (place[0], get["answer_query"][place])
            subject, given = get["subject"][unit], get["condition"][unit]
            negatives = get["negatives"][place].tolist()
            assert all((subject, given, negative) not in true for negative in negatives)
            key = loader.vocabulary.entity_keys(np.array([subject]), np.array([given]))
            seen = set(index.lookup(key, target, window)[1].tolist())
            chosen = [int(get["answer"][place]), *negatives]
            assert get["candidate_in_history"][place].tolist() == [c in seen for c in chosen]
        assert make_loader(graph).build(target).batch.relation_queries.negatives is None


def test_negatives_change_with_the_epoch_and_nothing_else_does(graph):
    loader = make_loader(graph, num_negatives=3)
    first, again, next_ = (loader.build(5, epoch).batch for epoch in (1, 1, 2))
    other_seed = make_loader(graph, num_negatives=3, seed=1).build(5, 1).batch
    assert same_bits(first, again)
    for changed in (next_, other_seed):

        def where(b):
            return (b.entity_queries.negatives, b.entity_queries.candidate_in_history)

        assert not np.array_equal(where(first)[0], where(changed)[0])
        assert same_bits(eqx.tree_at(where, first, where(changed)), changed)


def test_order_is_a_function_of_seed_and_epoch(graph):
    loader = make_loader(graph, seed=3)
    orders = [loader.order(epoch).tolist() for epoch in range(4)]
    assert all(sorted(order) == loader.items.tolist() for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert [make_loader(graph, seed=3).order(epoch).tolist() for epoch in range(4)] == orders
    assert make_loader(graph, seed=4).order(0).tolist() != orders[0]
    assert [prepared.target for prepared in loader.epoch(2)] == orders[2]
    assert [prepared.target for prepared in loader.in_order()] == loader.items.tolist()


def test_prefetched_batches_are_the_built_ones(graph):
    loader = make_loader(graph, num_negatives=2, batch_size=5)
    for prepared in loader.epoch(1):
        assert same_bits(prepared.batch, loader.build(prepared.target, 1).batch)


def test_leaving_an_epoch_early_ends_its_thread(graph):
    loader = make_loader(graph)
    for _ in loader.epoch(0):
        break
    batches = loader.epoch(0)
    next(batches)
    batches.close()
    with pytest.raises(ZeroDivisionError):
        for _ in loader.epoch(0):
            _ = 1 / 0
    assert len(prefetching_threads()) == 0


def test_a_query_that_everything_answers_stops_the_epoch():
    facts = [(0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 1, 1)]
    loader = make_loader(make_graph(facts, num_entities=2, num_relations=1), num_negatives=1)
    with pytest.raises(DataError, match="loss=full"):
        list(loader.epoch(0))


def test_drawn_entities_stand_for_all_that_could_have_been_drawn(graph):
    """Weights of a batch that evolves few rows: 1 for those it touches, and in all as many as there are entities."""
    spread = {"subject": 5 * graph.subject, "object": 5 * graph.object}
    wide = dataclasses.replace(graph, num_entities=60, **spread)  # drawn ones lie between those that are touched
    loader = make_loader(wide, rows="touched", num_shared=4)
    for target in loader.items.tolist():
        rows = loader.build(target).batch.rows
        index, weight = np.asarray(rows.index), np.asarray(rows.weight)
        touched = set(loader._touched(target, loader._step_queries(target)).tolist())
        assert weight.sum() == pytest.approx(60) and not weight[index == 60].any()
        for entity, own in zip(index.tolist(), weight.tolist()):
            if entity < 60:
                assert own == pytest.approx(1.0 if entity in touched else (60 - len(touched)) / 4)
