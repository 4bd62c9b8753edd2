from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import both_directions, facts_of_a_graph, make_graph
from tirgn_eqx.data.batches.queries import Parts, Questions, ask, divide, division_sizes, pack
from tirgn_eqx.data.index.history import build_history_vocabulary

KINDS = st.sampled_from(["entity", "relation"])


def question(kind, fact):
    """((subject, given), answer) of one fact."""
    s, r, o, _ = fact
    return ((s, r), o) if kind == "entity" else ((s, o), r)


def facts_at(graph, time, split=None):
    """Both directions of the facts at `time`, of one split or of all."""
    chosen = graph.snapshot == time
    return both_directions(graph, chosen if split is None else chosen & (graph.split == split))


def everything(graph, unique, kind):
    """(split, time, questions) of every time of every split."""
    vocabulary = build_history_vocabulary(graph)
    for time in range(graph.num_snapshots):
        for split in range(3):
            yield split, time, ask(graph, vocabulary, time, split, kind, unique=unique)


def pairs(questions):
    return list(zip(questions.subject.tolist(), questions.condition.tolist()))


@settings(max_examples=30, deadline=None)
@given(facts=facts_of_a_graph(), kind=KINDS)
def test_one_unit_per_fact_in_order_facts_first(facts, kind):
    for split, time, questions in everything(graph := make_graph(**facts), False, kind):
        asked = [question(kind, fact) for fact in facts_at(graph, time, split)]
        assert list(zip(pairs(questions), questions.answer.tolist())) == asked
        assert questions.answer_query.tolist() == questions.row.tolist() == list(range(len(asked)))


@settings(max_examples=30, deadline=None)
@given(facts=facts_of_a_graph(), kind=KINDS)
def test_unique_units_are_asked_by_all_their_facts(facts, kind):
    for split, time, questions in everything(graph := make_graph(**facts), True, kind):
        asked = [question(kind, fact) for fact in facts_at(graph, time, split)]
        assert sorted(pairs(questions)) == sorted({pair for pair, _ in asked})
        units = pairs(questions)
        multiplicity = Counter(units[unit] for unit in questions.answer_query)
        assert multiplicity == Counter(pair for pair, _ in asked)
        assert np.all(np.diff(questions.answer_query) >= 0)
        assert sorted(questions.row.tolist()) == list(range(len(asked)))
        for unit, answer, row in zip(questions.answer_query, questions.answer, questions.row):
            assert (units[unit], answer) == asked[row]


@settings(max_examples=30, deadline=None)
@given(facts=facts_of_a_graph(), kind=KINDS, unique=st.booleans())
def test_true_answers_are_those_of_the_whole_time(facts, kind, unique):
    for _, time, questions in everything(graph := make_graph(**facts), unique, kind):
        units, true = pairs(questions), {}
        for pair, answer in (question(kind, fact) for fact in facts_at(graph, time)):
            true.setdefault(pair, set()).add(answer)
        expected = [(unit, answer) for unit, pair in enumerate(units) for answer in sorted(true[pair])]
        assert list(zip(questions.true_query.tolist(), questions.true_answer.tolist())) == expected


def test_true_answers_of_other_splits_at_a_shared_time_are_known():
    facts = [(0, 0, 1, 0), (0, 0, 1, 5), (0, 0, 2, 5), (0, 0, 3, 5)]
    graph = make_graph(facts, num_entities=4, num_relations=1, valid=2, test=3)
    vocabulary = build_history_vocabulary(graph)
    for split, answer in enumerate([1, 2, 3]):
        questions = ask(graph, vocabulary, 1, split, "entity", unique=True)
        forward = pairs(questions).index((0, 0))
        assert questions.answer[questions.answer_query == forward].tolist() == [answer]
        assert questions.true_answer[questions.true_query == forward].tolist() == [1, 2, 3]


@settings(max_examples=100, deadline=None)
@given(units=st.integers(0, 50), micro=st.integers(1, 7), seed=st.none() | st.integers(0, 100))
def test_units_are_dealt_evenly_and_once(units, micro, seed):
    division = divide(units, micro, seed)
    assert sorted(division.order.tolist()) == list(range(units))
    lengths = np.diff(division.bounds)
    assert len(lengths) == micro and lengths.sum() == units and np.ptp(lengths) <= 1
    assert np.array_equal(division.order, divide(units, micro, seed).order)
    if seed is None or micro == 1:
        assert division.order.tolist() == list(range(units))


def test_a_seed_mixes_both_directions_into_every_micro_batch():
    first = divide(200, 2, seed=0).order[:100]
    assert 30 < np.sum(first < 100) < 70
    assert not np.array_equal(first, divide(200, 2, seed=1).order[:100])


def unpack(packed, size, candidates):
    """The units as (pair, weight, seen, true) and the answers as (row, pair, answer) of all micro-batches."""
    units, answers = [], []
    for m in range(len(packed["subject"])):
        get = {name: values[m].tolist() for name, values in packed.items()}
        sets = {"history": {}, "true": {}}
        for name, found in sets.items():
            for unit, candidate in zip(get[f"{name}_query"], get[f"{name}_candidate"]):
                assert (unit == size) == (candidate == candidates)
                if unit < size:
                    assert candidate not in found.setdefault(unit, set())
                    found[unit].add(candidate)
        own = list(zip(get["subject"], get["condition"]))
        real = [unit for unit, weight in enumerate(get["weight"]) if weight]
        assert real == list(range(len(real)))
        seen, true = sets["history"], sets["true"]
        assert not (seen.keys() | true.keys()) - set(real)
        units += [(own[u], get["weight"][u], seen.get(u, set()), true.get(u, set())) for u in real]
        assert get["history_query"] == sorted(get["history_query"])
        columns = [get[name] for name in ("row", "answer_query", "answer", "answer_weight", "answer_in_history")]
        for row, unit, answer, weight, known in zip(*columns):
            assert weight == (row >= 0)
            assert known == (row >= 0 and answer in seen.get(unit, ()))
            if row >= 0:
                answers.append((row, own[unit], answer))
    return units, answers


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
    for split, time, questions in everything(graph, unique, kind):
        division = divide(questions.num_units, micro, time)
        # `sizes` is all the room there is: one row too many would be an IndexError.
        sizes = division_sizes(questions, division, index) + spare
        packed = pack(questions, division, index, window, micro + spare, sizes, candidates)
        asked = [question(kind, fact) for fact in facts_at(graph, time, split)]
        units, answers = unpack(packed, sizes[0], candidates)
        assert sorted(answers) == [(row, *asked[row]) for row in range(len(asked))]
        weights = Counter()
        for pair, weight, _, _ in units:
            weights[pair] += weight
        assert weights == Counter(pair for pair, _ in asked)
        assert len(units) == (len(weights) if unique else len(asked))
        known = {}
        for pair, answer in (question(kind, fact) for fact in facts_at(graph, time)):
            known.setdefault(pair, set()).add(answer)
        keys = {pair: questions.key[i : i + 1] for i, pair in enumerate(pairs(questions))}
        for pair, _, seen, true in units:
            assert seen == set(index.lookup(keys[pair], time, window)[1].tolist())
            assert true == known[pair]


@settings(max_examples=30, deadline=None)
@given(facts=facts_of_a_graph(), kind=KINDS, unique=st.booleans(), micro=st.integers(1, 4))
def test_division_sizes_are_tight(facts, kind, unique, micro):
    graph = make_graph(**facts)
    index = getattr(build_history_vocabulary(graph), kind)
    for _, time, questions in everything(graph, unique, kind):
        division = divide(questions.num_units, micro, time)
        largest = np.zeros(4, int)
        for begin, end in zip(division.bounds, division.bounds[1:]):
            units = division.order[begin:end]
            answers, true = (np.isin(x, units).sum() for x in (questions.answer_query, questions.true_query))
            seen = len(index.lookup(questions.key[units], time)[1])
            sizes = [len(units), answers, seen, true]
            largest = np.maximum(largest, sizes)
        assert division_sizes(questions, division, index).tolist() == largest.tolist()


@settings(max_examples=25, deadline=None)
@given(facts=facts_of_a_graph(), kind=KINDS, unique=st.booleans(), micro=st.integers(1, 3), count=st.integers(2, 4))
def test_parts_hold_what_one_piece_holds_each_its_own_units(facts, kind, unique, micro, count):
    graph = make_graph(**facts)
    index = getattr(build_history_vocabulary(graph), kind)
    candidates = graph.num_entities if kind == "entity" else 2 * graph.num_relations
    for _, time, questions in everything(graph, unique, kind):
        division = divide(questions.num_units, micro, time)
        whole_sizes = division_sizes(questions, division, index)
        unit = -(-int(whole_sizes[0]) // count) * count
        whole_sizes[0] = unit
        whole = pack(questions, division, index, 0, micro, whole_sizes, candidates)
        alike = [Parts(count, (part,)) for part in range(count)]
        # Every process has its own sizes, and all take the largest.
        sizes = np.max([division_sizes(questions, division, index, unit, parts) for parts in alike], axis=0)
        assert (
            sizes[0] == questions.num_units // micro + bool(questions.num_units % micro)
            and not (sizes[1:] % count).any()
        )
        sizes[0] = unit
        packed = [pack(questions, division, index, 0, micro, sizes, candidates, parts) for parts in alike]
        joined = {}
        for name, values in packed[0].items():
            share = values.shape[1] // count
            slices = [packed[part][name][:, part * share : (part + 1) * share] for part in range(count)]
            for part, values in enumerate(slices if name.endswith("_query") else ()):
                weights = (
                    packed[part]["answer_weight"][:, part * share : (part + 1) * share] if name == "answer_query" else 1
                )
                real = values[(values < unit) & (weights > 0)]
                assert np.all(real // (unit // count) == part)
            joined[name] = np.concatenate(slices, 1)
        for name in ("subject", "condition", "weight"):
            np.testing.assert_array_equal(joined[name], whole[name])
        for names in (
            ("history_query", "history_candidate"),
            ("true_query", "true_candidate"),
            ("row", "answer_query", "answer", "answer_weight", "answer_in_history"),
        ):
            real = (lambda f: f["row"] >= 0) if names[0] == "row" else (lambda f: f[names[0]] < unit)  # noqa: B023
            listed = [
                [list(zip(*(f[n][m][real(f)[m]].tolist() for n in names))) for m in range(micro)]
                for f in (joined, whole)
            ]
            assert listed[0] == listed[1]


def test_too_little_room_is_an_error_and_never_a_silent_loss():
    graph = make_graph([(0, 0, 1, 0), (0, 0, 1, 1), (0, 0, 2, 1)], num_entities=3, num_relations=1)
    vocabulary = build_history_vocabulary(graph)
    questions = ask(graph, vocabulary, 1, 0, "entity", unique=True)
    division = divide(questions.num_units, 1)
    sizes = division_sizes(questions, division, vocabulary.entity)
    assert isinstance(questions, Questions) and sizes.tolist() == [3, 4, 2, 4]
    for column in range(4):
        with pytest.raises(IndexError):
            smaller = sizes - (np.arange(4) == column)
            pack(questions, division, vocabulary.entity, 0, 1, smaller, 3)
