from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import both_directions, facts_of_a_graph, make_graph
from tirgn_eqx.data.batches.queries import Shards, SnapshotQueries, build_queries, divide, division_sizes, pack
from tirgn_eqx.data.index.history import build_history_vocabulary

KINDS = st.sampled_from(["entity", "relation"])


def query_of(kind, fact):
    """((subject, condition), answer) of one fact."""
    s, r, o, _ = fact
    return ((s, r), o) if kind == "entity" else ((s, o), r)


def facts_at(graph, time, split=None):
    """Both directions of the facts at `time`, of one split or of all."""
    chosen = graph.snapshot == time
    return both_directions(graph, chosen if split is None else chosen & (graph.split == split))


def everything(graph, unique, kind):
    """(split, time, queries) of every time of every split."""
    vocabulary = build_history_vocabulary(graph)
    for time in range(graph.num_snapshots):
        for split in range(3):
            yield split, time, build_queries(graph, vocabulary, time, split, kind, unique=unique)


def pairs(queries):
    return list(zip(queries.subject.tolist(), queries.condition.tolist()))


@settings(max_examples=30, deadline=None)
@given(facts=facts_of_a_graph(), kind=KINDS)
def test_one_query_per_fact_in_order_facts_first(facts, kind):
    for split, time, queries in everything(graph := make_graph(**facts), False, kind):
        expected = [query_of(kind, fact) for fact in facts_at(graph, time, split)]
        assert list(zip(pairs(queries), queries.answer.tolist())) == expected
        assert queries.answer_query.tolist() == queries.row.tolist() == list(range(len(expected)))


@settings(max_examples=30, deadline=None)
@given(facts=facts_of_a_graph(), kind=KINDS)
def test_unique_queries_are_asked_by_all_their_facts(facts, kind):
    for split, time, queries in everything(graph := make_graph(**facts), True, kind):
        expected = [query_of(kind, fact) for fact in facts_at(graph, time, split)]
        assert sorted(pairs(queries)) == sorted({pair for pair, _ in expected})
        listed = pairs(queries)
        multiplicity = Counter(listed[query] for query in queries.answer_query)
        assert multiplicity == Counter(pair for pair, _ in expected)
        assert np.all(np.diff(queries.answer_query) >= 0)
        assert sorted(queries.row.tolist()) == list(range(len(expected)))
        for query, answer, row in zip(queries.answer_query, queries.answer, queries.row):
            assert (listed[query], answer) == expected[row]


@settings(max_examples=30, deadline=None)
@given(facts=facts_of_a_graph(), kind=KINDS, unique=st.booleans())
def test_true_candidates_are_those_of_the_whole_time(facts, kind, unique):
    for _, time, queries in everything(graph := make_graph(**facts), unique, kind):
        listed, true = pairs(queries), {}
        for pair, answer in (query_of(kind, fact) for fact in facts_at(graph, time)):
            true.setdefault(pair, set()).add(answer)
        expected = [(query, answer) for query, pair in enumerate(listed) for answer in sorted(true[pair])]
        assert list(zip(queries.true_query.tolist(), queries.true_candidate.tolist())) == expected


def test_true_candidates_of_other_splits_at_a_shared_time_are_known():
    facts = [(0, 0, 1, 0), (0, 0, 1, 5), (0, 0, 2, 5), (0, 0, 3, 5)]
    graph = make_graph(facts, num_entities=4, num_relations=1, valid=2, test=3)
    vocabulary = build_history_vocabulary(graph)
    for split, answer in enumerate([1, 2, 3]):
        queries = build_queries(graph, vocabulary, 1, split, "entity", unique=True)
        forward = pairs(queries).index((0, 0))
        assert queries.answer[queries.answer_query == forward].tolist() == [answer]
        assert queries.true_candidate[queries.true_query == forward].tolist() == [1, 2, 3]


@settings(max_examples=100, deadline=None)
@given(number=st.integers(0, 50), micro=st.integers(1, 7), seed=st.none() | st.integers(0, 100))
def test_queries_are_dealt_evenly_and_once(number, micro, seed):
    division = divide(number, micro, seed)
    assert sorted(division.order.tolist()) == list(range(number))
    lengths = np.diff(division.bounds)
    assert len(lengths) == micro and lengths.sum() == number and np.ptp(lengths) <= 1
    assert np.array_equal(division.order, divide(number, micro, seed).order)
    if seed is None or micro == 1:
        assert division.order.tolist() == list(range(number))


def test_a_seed_mixes_both_directions_into_every_micro_batch():
    first = divide(200, 2, seed=0).order[:100]
    assert 30 < np.sum(first < 100) < 70
    assert not np.array_equal(first, divide(200, 2, seed=1).order[:100])


def unpack(packed, size, candidates):
    """The queries as (pair, weight, history, true) and the answers as (row, pair, answer) of all micro-batches."""
    listed, answers = [], []
    for m in range(len(packed["subject"])):
        get = {name: values[m].tolist() for name, values in packed.items()}
        sets = {"history": {}, "true": {}}
        for name, found in sets.items():
            for query, candidate in zip(get[f"{name}_query"], get[f"{name}_candidate"]):
                assert (query == size) == (candidate == candidates)
                if query < size:
                    assert candidate not in found.setdefault(query, set())
                    found[query].add(candidate)
        own = list(zip(get["subject"], get["condition"]))
        real = [query for query, weight in enumerate(get["weight"]) if weight]
        assert real == list(range(len(real)))
        history, true = sets["history"], sets["true"]
        assert not (history.keys() | true.keys()) - set(real)
        listed += [(own[u], get["weight"][u], history.get(u, set()), true.get(u, set())) for u in real]
        assert get["history_query"] == sorted(get["history_query"])
        columns = [get[name] for name in ("row", "answer_query", "answer", "answer_weight", "answer_in_history")]
        for row, query, answer, weight, known in zip(*columns):
            assert weight == (row >= 0)
            assert known == (row >= 0 and answer in history.get(query, ()))
            if row >= 0:
                answers.append((row, own[query], answer))
    return listed, answers


@settings(max_examples=40, deadline=None)
@given(
    facts=facts_of_a_graph(),
    kind=KINDS,
    unique=st.booleans(),
    window=st.sampled_from([0, 1, 2]),
    micro=st.integers(1, 4),
    spare=st.integers(0, 2),
)
def test_packing_deals_everything_once(facts, kind, unique, window, micro, spare):
    graph = make_graph(**facts)
    vocabulary = build_history_vocabulary(graph)
    index = getattr(vocabulary, kind)
    candidates = graph.num_entities if kind == "entity" else 2 * graph.num_relations
    for split, time, queries in everything(graph, unique, kind):
        division = divide(queries.num_queries, micro, time)
        # `sizes` is all the room there is: one row too many would be an IndexError.
        sizes = division_sizes(queries, division, index) + spare
        packed = pack(queries, division, index, window, micro + spare, tuple(sizes.tolist()), candidates)
        expected = [query_of(kind, fact) for fact in facts_at(graph, time, split)]
        listed, answers = unpack(packed, sizes[0], candidates)
        assert sorted(answers) == [(row, *expected[row]) for row in range(len(expected))]
        weights = Counter()
        for pair, weight, _, _ in listed:
            weights[pair] += weight
        assert weights == Counter(pair for pair, _ in expected)
        assert len(listed) == (len(weights) if unique else len(expected))
        known = {}
        for pair, answer in (query_of(kind, fact) for fact in facts_at(graph, time)):
            known.setdefault(pair, set()).add(answer)
        keys = {pair: queries.key[i : i + 1] for i, pair in enumerate(pairs(queries))}
        for pair, _, history, true in listed:
            assert history == set(index.lookup(keys[pair], time, window)[1].tolist())
            assert true == known[pair]


@settings(max_examples=30, deadline=None)
@given(facts=facts_of_a_graph(), kind=KINDS, unique=st.booleans(), micro=st.integers(1, 4))
def test_division_sizes_are_tight(facts, kind, unique, micro):
    graph = make_graph(**facts)
    index = getattr(build_history_vocabulary(graph), kind)
    for _, time, queries in everything(graph, unique, kind):
        division = divide(queries.num_queries, micro, time)
        largest = np.zeros(4, int)
        for begin, end in zip(division.bounds, division.bounds[1:]):
            members = division.order[begin:end]
            answers, true = (np.isin(x, members).sum() for x in (queries.answer_query, queries.true_query))
            history = len(index.lookup(queries.key[members], time)[1])
            sizes = [len(members), answers, history, true]
            largest = np.maximum(largest, sizes)
        assert division_sizes(queries, division, index).tolist() == largest.tolist()


@settings(max_examples=25, deadline=None)
@given(facts=facts_of_a_graph(), kind=KINDS, unique=st.booleans(), micro=st.integers(1, 3), count=st.integers(2, 4))
def test_shards_hold_what_one_piece_holds_each_its_own_queries(facts, kind, unique, micro, count):
    graph = make_graph(**facts)
    index = getattr(build_history_vocabulary(graph), kind)
    candidates = graph.num_entities if kind == "entity" else 2 * graph.num_relations
    for _, time, queries in everything(graph, unique, kind):
        division = divide(queries.num_queries, micro, time)
        whole_sizes = division_sizes(queries, division, index)
        padded = -(-int(whole_sizes[0]) // count) * count
        whole_sizes[0] = padded
        whole = pack(queries, division, index, 0, micro, tuple(whole_sizes.tolist()), candidates)
        alike = [Shards(count, (shard,)) for shard in range(count)]
        # Every process has its own sizes, and all take the largest.
        sizes = np.max([division_sizes(queries, division, index, padded, shards) for shards in alike], axis=0)
        assert (
            sizes[0] == queries.num_queries // micro + bool(queries.num_queries % micro)
            and not (sizes[1:] % count).any()
        )
        sizes[0] = padded
        packed = [
            pack(queries, division, index, 0, micro, tuple(sizes.tolist()), candidates, shards) for shards in alike
        ]
        joined = {}
        for name, values in packed[0].items():
            share = values.shape[1] // count
            slices = [packed[shard][name][:, shard * share : (shard + 1) * share] for shard in range(count)]
            for shard, values in enumerate(slices if name.endswith("_query") else ()):
                weights = (
                    packed[shard]["answer_weight"][:, shard * share : (shard + 1) * share]
                    if name == "answer_query"
                    else 1
                )
                real = values[(values < padded) & (weights > 0)]
                assert np.all(real // (padded // count) == shard)
            joined[name] = np.concatenate(slices, 1)
        for name in ("subject", "condition", "weight"):
            np.testing.assert_array_equal(joined[name], whole[name])
        for names in (
            ("history_query", "history_candidate"),
            ("true_query", "true_candidate"),
            ("row", "answer_query", "answer", "answer_weight", "answer_in_history"),
        ):
            real = (lambda f: f["row"] >= 0) if names[0] == "row" else (lambda f: f[names[0]] < padded)  # noqa: B023
            listed = [
                [list(zip(*(f[n][m][real(f)[m]].tolist() for n in names))) for m in range(micro)]
                for f in (joined, whole)
            ]
            assert listed[0] == listed[1]


def test_too_little_room_is_an_error_and_never_a_silent_loss():
    graph = make_graph([(0, 0, 1, 0), (0, 0, 1, 1), (0, 0, 2, 1)], num_entities=3, num_relations=1)
    vocabulary = build_history_vocabulary(graph)
    queries = build_queries(graph, vocabulary, 1, 0, "entity", unique=True)
    division = divide(queries.num_queries, 1)
    sizes = division_sizes(queries, division, vocabulary.entity)
    assert isinstance(queries, SnapshotQueries) and sizes.tolist() == [3, 4, 2, 4]
    for column in range(4):
        with pytest.raises(IndexError):
            smaller = sizes - (np.arange(4) == column)
            pack(queries, division, vocabulary.entity, 0, 1, tuple(smaller.tolist()), 3)
