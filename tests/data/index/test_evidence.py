"""The evidence index against loops over the facts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import both_directions, facts_of_a_graph, make_graph, random_graph
from tirgn_eqx.data.index.evidence import (
    LEAST_STRENGTH,
    NEVER,
    SCALE,
    EvidenceIndex,
    plain_ages,
    plain_features,
)
from tirgn_eqx.data.index.occurrences import HALF_LIVES
from tirgn_eqx.errors import DataError


class Past:
    """All facts before a snapshot, by brute force."""

    def __init__(self, graph, target, before):
        self.facts = [fact for fact in both_directions(graph) if fact[3] < before]
        clock = graph.time_index - graph.time_index[0]
        self.ages = [clock[min(target, before)] - clock[time] for *_, time in self.facts]

    def plain(self, match):
        """The six plain numbers of the events that `match`, before scaling."""
        ages = [age for fact, age in zip(self.facts, self.ages) if match(*fact[:3])]
        if not ages:
            return [math.log(NEVER), 0.0] + [math.log(LEAST_STRENGTH)] * len(HALF_LIVES)
        faded = [sum(2 ** (-age / half) for age in ages) for half in HALF_LIVES]
        return [math.log(max(min(ages), 0.5)), math.log1p(len(ages))] + [math.log(x + LEAST_STRENGTH) for x in faded]

    def age(self, match):
        return min(age for fact, age in zip(self.facts, self.ages) if match(*fact[:3]))

    def neighbours(self, subject):
        return sorted({o for s, _, o, _ in self.facts if s == subject})


def entry_by_loop(past, s, q, o):
    def exact(a, b, c):
        return (a, b, c) == (s, q, o)

    pair, has = (lambda a, b, c: (a, c) == (s, o)), (lambda a, b, c: (a, b) == (s, q))
    snapshots = len({fact[3] for fact in past.facts if exact(*fact[:3])})
    age, given = past.age(exact), past.age(has)
    return past.plain(exact) + [math.log1p(x) for x in (snapshots, age - given, given, age - past.age(pair))]


def pair_by_loop(past, s, o):
    pair, of_s = (lambda a, b, c: (a, c) == (s, o)), (lambda a, b, c: a == s)
    found = past.neighbours(s)
    ages = {p: past.age(lambda a, b, c, p=p: (a, c) == (s, p)) for p in found}
    later = sum(ages[p] < ages[o] for p in found)
    both, mine = ([math.exp(x) - LEAST_STRENGTH for x in past.plain(m)[3:]] for m in (pair, of_s))
    share = [math.log(x / (y + 1e-3) + 1e-3) for x, y in zip(both, mine)]
    context = [math.log1p(later), math.log1p(len(found)), *share]
    return past.plain(pair) + context + past.plain(lambda a, b, c: a == o) + past.plain(of_s)


@settings(max_examples=60)
@given(facts_of_a_graph(), st.data())
def test_features_equal_a_loop_over_the_facts(made, data):
    graph = make_graph(**made)
    index = EvidenceIndex(graph)
    target = data.draw(st.integers(0, graph.num_snapshots - 1))
    before = data.draw(st.integers(0, target))
    past, cutoff = Past(graph, target, before), index.cutoff(target, before)
    subjects = np.arange(graph.num_entities)
    found = index.neighbours(subjects, cutoff)
    pairs = [(int(s), int(index.pair_object[p])) for s, p in zip(subjects[found.owner], found.pair)]
    assert pairs == [(s, o) for s in range(graph.num_entities) for o in past.neighbours(s)]
    entries = [(*pairs[p], int(q)) for p, q in zip(found.entry_neighbour, index.triple_relation[found.entry])]
    assert entries == sorted({(s, o, q) for s, q, o, _ in past.facts})

    def compare(found, rows):
        return np.testing.assert_allclose(
            found, np.reshape(np.array(rows, np.float64) * SCALE, found.shape), rtol=1e-3, atol=2e-4
        )

    compare(index.entry_features(found, cutoff), [entry_by_loop(past, s, q, o) for s, o, q in entries])
    compare(index.pair_features(found, subjects, cutoff, True), [pair_by_loop(past, s, o) for s, o in pairs])
    compare(index.pair_features(found, subjects, cutoff, False), [pair_by_loop(past, s, o)[:6] for s, o in pairs])
    compare(index.activity(subjects, cutoff), [past.plain(lambda a, b, c, s=s: a == s) for s in range(len(subjects))])
    relations = np.unique([q for _, q, _, _ in past.facts]).astype(np.int64)
    owner, object_, features = index.popular_objects(relations, cutoff)
    popular = [(int(relations[w]), int(o)) for w, o in zip(owner, object_)]
    assert popular == sorted({(q, o) for _, q, o, _ in past.facts})
    compare(features, [past.plain(lambda a, b, c, q=q, o=o: (b, c) == (q, o)) for q, o in popular])
    assert index.num_popular(relations, cutoff) == len(popular)
    assert index.num_links(cutoff) == len(pairs)
    links = index.links(cutoff, 2**16)
    assert list(zip(links[0].tolist(), links[1].tolist())) == pairs


def test_only_the_latest_neighbours_are_kept():
    # Entity 0 met 1 three times long ago, 2 and 3 at time 2 (3 twice), and 4 last.
    facts = [(0, 0, 1, 0)] * 3 + [(0, 0, 2, 2), (0, 0, 3, 2), (3, 1, 0, 2), (4, 0, 0, 3), (0, 0, 5, 4)]
    graph = make_graph(facts, num_entities=6, num_relations=2)
    index = EvidenceIndex(graph)

    def kept(most):
        return index.pair_object[index.neighbours(np.array([0]), index.cutoff(3), most).pair].tolist()

    # Times 0, 2, 3, 4 are snapshots 0 to 3: before the last one.
    assert kept(0) == [1, 2, 3, 4]
    assert (kept(1), kept(2), kept(3)) == ([4], [3, 4], [2, 3, 4])
    # Another subject has its own.
    found = index.neighbours(np.array([0, 4]), index.cutoff(3), 1)
    assert found.owner.tolist() == [0, 1] and index.pair_object[found.pair].tolist() == [4, 0]
    # Entries are those of the neighbours that were kept.
    assert index.pair_object[found.pair][found.entry_neighbour].tolist() == [4, 0]


@pytest.mark.parametrize("seed", range(4))
def test_links_are_cut_to_those_that_met_last(seed):
    graph = random_graph(seed)
    index = EvidenceIndex(graph)
    cutoff = index.cutoff(graph.num_snapshots - 1)
    every = list(zip(*(column.tolist() for column in index.links(cutoff, 2**16)[:2])))
    last = {
        pair: max(t for s, _, o, t in both_directions(graph) if (s, o) == pair and t < cutoff.before) for pair in every
    }
    kept = list(zip(*(column.tolist() for column in index.links(cutoff, 7)[:2])))
    assert len(kept) == 7 and kept == sorted(kept)
    assert min(last[pair] for pair in kept) >= max(last[pair] for pair in set(every) - set(kept))


@pytest.mark.parametrize("seed", range(4))
def test_the_global_graph_holds_the_activity_that_is_computed_of_some(seed):
    graph = random_graph(seed)
    index, some = EvidenceIndex(graph), np.array([3, 0, 3, 1])
    for target in (graph.num_snapshots - 1, graph.num_snapshots - 2):
        cutoff = index.cutoff(target)
        fresh = index.activity(some, cutoff)
        np.testing.assert_array_equal(fresh, EvidenceIndex(graph).activity(some, cutoff))
        index.global_graph(cutoff, 2**16)
        np.testing.assert_array_equal(index.activity(some, cutoff), fresh)
    # What is kept is of the last target: another one is computed by itself.
    other = index.cutoff(graph.num_snapshots - 1)
    np.testing.assert_array_equal(index.activity(some, other), EvidenceIndex(graph).activity(some, other))


def test_too_many_to_number_is_refused():
    graph = make_graph([(0, 0, 1, 0)], num_entities=2**31 - 1, num_relations=2)
    with pytest.raises(DataError, match="too many to index"):
        EvidenceIndex(graph)


@pytest.mark.parametrize("most", range(1, 9))
def test_of_links_that_met_last_at_one_time_those_that_met_more_often_are_kept(most):
    # At time 2 met 0 and 1 (three times in all), 2 and 3 (twice), 4 and 5 (once); 6 and 7 met ten times, at time 1.
    facts = [(6, 0, 7, 1)] * 10 + [(0, 0, 1, 0)] * 2 + [(2, 0, 3, 1), (0, 0, 1, 2), (2, 0, 3, 2), (4, 0, 5, 2)]
    index = EvidenceIndex(make_graph([*facts, (0, 0, 1, 3)], num_entities=8, num_relations=1))
    subject, object_, _ = index.links(index.cutoff(3), most)
    kept = {frozenset(pair) for pair in zip(subject.tolist(), object_.tolist())}
    order = [frozenset(pair) for pair in ((0, 1), (2, 3), (4, 5), (6, 7))]
    assert len(subject) == most and kept == set(order[: (most + 1) // 2])


def test_ages_are_read_back_from_features():
    index = EvidenceIndex(random_graph(3, num_times=60))
    rows = np.arange(len(index.triple.occurrence))
    for now in (60.0, 90_000.0):
        ages = plain_ages(plain_features(index.triple, rows, now))
        np.testing.assert_array_equal(ages, index.triple.age(rows, now).astype(int))
    # Within the current step the age is 0, for which another number stands in the features.
    last = np.flatnonzero(index.triple.age(rows, 60.0) == 1)
    assert len(last) and (plain_ages(plain_features(index.triple, last, 59.0)) == 0).all()
