"""The evidence index against loops over the facts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import both_directions, facts_of_a_graph, make_graph, random_graph
from tirgn_eqx.data.batches.evidence_loader import MOST_CELLS, EvidenceLoader, _parts
from tirgn_eqx.data.batches.evidence_queries import KINDS, LENGTHS, Asked, Gatherer
from tirgn_eqx.data.index.evidence import LEAST_STRENGTH, NEVER, SCALE, EvidenceIndex
from tirgn_eqx.data.index.occurrences import HALF_LIVES, build_occurrences
from tirgn_eqx.errors import DataError


class Past:
    """Everything known before a snapshot, by brute force."""

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

    def partners(self, subject):
        return sorted({o for s, _, o, _ in self.facts if s == subject})


def entry_by_loop(past, s, q, o):
    exact = lambda a, b, c: (a, b, c) == (s, q, o)
    pair, has = (lambda a, b, c: (a, c) == (s, o)), (lambda a, b, c: (a, b) == (s, q))
    snapshots = len({fact[3] for fact in past.facts if exact(*fact[:3])})
    age, given = past.age(exact), past.age(has)
    return past.plain(exact) + [math.log1p(x) for x in (snapshots, age - given, given, age - past.age(pair))]


def pair_by_loop(past, s, o):
    pair, of_s = (lambda a, b, c: (a, c) == (s, o)), (lambda a, b, c: a == s)
    partners = past.partners(s)
    ages = {p: past.age(lambda a, b, c, p=p: (a, c) == (s, p)) for p in partners}
    later = sum(ages[p] < ages[o] for p in partners)
    both, mine = ([math.exp(x) - LEAST_STRENGTH for x in past.plain(m)[3:]] for m in (pair, of_s))
    share = [math.log(x / (y + 1e-3) + 1e-3) for x, y in zip(both, mine)]
    context = [math.log1p(later), math.log1p(len(partners)), *share]
    return past.plain(pair) + context + past.plain(lambda a, b, c: a == o) + past.plain(of_s)


@settings(max_examples=60)
@given(facts_of_a_graph(), st.data())
def test_features_equal_a_loop_over_the_facts(made, data):
    graph = make_graph(**made)
    index = EvidenceIndex(graph)
    target = data.draw(st.integers(0, graph.num_snapshots - 1))
    before = data.draw(st.integers(0, target))
    past, known = Past(graph, target, before), index.known(target, before)
    subjects = np.arange(graph.num_entities)
    partners = index.partners(subjects, known)
    pairs = [(int(s), int(index.pair_object[p])) for s, p in zip(subjects[partners.owner], partners.pair)]
    assert pairs == [(s, o) for s in range(graph.num_entities) for o in past.partners(s)]
    entries = [(*pairs[p], int(q)) for p, q in zip(partners.entry_neighbour, index.triple_relation[partners.entry])]
    assert entries == sorted({(s, o, q) for s, q, o, _ in past.facts})
    compare = lambda found, rows: np.testing.assert_allclose(
        found, np.reshape(np.array(rows, np.float64) * SCALE, found.shape), rtol=1e-3, atol=2e-4
    )
    compare(index.entry_features(partners, known), [entry_by_loop(past, s, q, o) for s, o, q in entries])
    compare(index.pair_features(partners, subjects, known, True), [pair_by_loop(past, s, o) for s, o in pairs])
    compare(index.pair_features(partners, subjects, known, False), [pair_by_loop(past, s, o)[:6] for s, o in pairs])
    compare(index.activity(subjects, known), [past.plain(lambda a, b, c, s=s: a == s) for s in range(len(subjects))])
    relations = np.unique([q for _, q, _, _ in past.facts]).astype(np.int64)
    owner, object_, features = index.popular_objects(relations, known)
    popular = [(int(relations[w]), int(o)) for w, o in zip(owner, object_)]
    assert popular == sorted({(q, o) for _, q, o, _ in past.facts})
    compare(features, [past.plain(lambda a, b, c, q=q, o=o: (b, c) == (q, o)) for q, o in popular])
    assert index.num_popular(relations, known) == len(popular)
    assert index.num_links(known) == len(pairs)
    links = index.links(known, 2**16)
    assert list(zip(links[0].tolist(), links[1].tolist())) == pairs


def test_only_the_partners_met_last_are_kept():
    # Entity 0 met 1 three times long ago, 2 and 3 at time 2 (3 twice), and 4 last.
    facts = [(0, 0, 1, 0)] * 3 + [(0, 0, 2, 2), (0, 0, 3, 2), (3, 1, 0, 2), (4, 0, 0, 3), (0, 0, 5, 4)]
    graph = make_graph(facts, num_entities=6, num_relations=2)
    index = EvidenceIndex(graph)
    kept = lambda most: index.pair_object[index.partners(np.array([0]), index.known(3), most).pair].tolist()
    # Times 0, 2, 3, 4 are snapshots 0 to 3: before the last one.
    assert kept(0) == [1, 2, 3, 4]
    assert (kept(1), kept(2), kept(3)) == ([4], [3, 4], [2, 3, 4])
    # Another subject has its own.
    partners = index.partners(np.array([0, 4]), index.known(3), 1)
    assert partners.owner.tolist() == [0, 1] and index.pair_object[partners.pair].tolist() == [4, 0]
    # Entries are those of the partners that were kept.
    assert index.pair_object[partners.pair][partners.entry_neighbour].tolist() == [4, 0]


@pytest.mark.parametrize("seed", range(4))
def test_links_are_cut_to_those_that_met_last(seed):
    graph = random_graph(seed)
    index = EvidenceIndex(graph)
    known = index.known(graph.num_snapshots - 1)
    every = list(zip(*(column.tolist() for column in index.links(known, 2**16)[:2])))
    last = {
        pair: max(t for s, _, o, t in both_directions(graph) if (s, o) == pair and t < known.before) for pair in every
    }
    kept = list(zip(*(column.tolist() for column in index.links(known, 7)[:2])))
    assert len(kept) == 7 and kept == sorted(kept)
    assert min(last[pair] for pair in kept) >= max(last[pair] for pair in set(every) - set(kept))


@pytest.mark.parametrize("seed", range(4))
def test_what_was_computed_of_everybody_is_what_is_computed_of_some(seed):
    graph = random_graph(seed)
    index, some = EvidenceIndex(graph), np.array([3, 0, 3, 1])
    for target in (graph.num_snapshots - 1, graph.num_snapshots - 2):
        known = index.known(target)
        fresh = index.activity(some, known)
        np.testing.assert_array_equal(fresh, EvidenceIndex(graph).activity(some, known))
        index.surroundings(known, 2**16)
        np.testing.assert_array_equal(index.activity(some, known), fresh)
    # What is kept is of the last target: another one is computed by itself.
    other = index.known(graph.num_snapshots - 1)
    np.testing.assert_array_equal(index.activity(some, other), EvidenceIndex(graph).activity(some, other))


@pytest.mark.parametrize("kind", KINDS)
def test_questions_of_one_kind_are_gathered_as_among_both(kind):
    graph = random_graph(1)
    index = EvidenceIndex(graph)
    target = graph.num_snapshots - 1
    s, r, o = (np.array(part) for part in zip(*[fact[:3] for fact in both_directions(graph) if fact[3] == target]))
    gatherer, known = Gatherer(index), index.known(target)
    both, one = gatherer.gather(Asked(s, r, o), known), gatherer.gather(Asked(s, r, o), known, kinds=(kind,))
    units = {"entity": "subject", "relation": "pair_subject"}
    of = lambda name: "relation" if name.startswith(("pair_", "evidence_")) else "entity"
    asked = {name for arrays in LENGTHS.values() for name in arrays}
    asked -= {name for name in asked if name.startswith(("partner_", "entry_", "link_"))}
    assert {of(name) for name in asked} == set(KINDS)
    for name in set(both) - {name for name in asked if of(name) != kind}:
        np.testing.assert_array_equal(one[name], both[name], err_msg=name)
    assert all(len(one[name]) == 0 for name in asked if of(name) != kind)
    assert len(one[units[kind]]) > 0


def test_strengths_follow_gaps_in_time():
    clock = np.array([0.0, 3.0, 7.0])
    index = build_occurrences(np.array([5, 5, 5, 9]), np.array([0, 0, 2, 1]), clock)
    assert index.key.tolist() == [5, 9]
    assert index.events.tolist() == [2, 3, 1]
    expected = [[2] * 4, [1 + 2 * 2 ** (-7 / half) for half in HALF_LIVES], [1] * 4]
    np.testing.assert_allclose(index.strength, expected, rtol=1e-6)
    assert index.last(np.array([0, 0, 0, 1, -1]), 2).tolist() == [0, 0, 0, 2, -1]
    assert index.last(np.array([0, 1]), 0).tolist() == [-1, -1]
    np.testing.assert_allclose(
        index.faded(np.array([1]), 8.0)[0], np.array(expected[1]) * 2 ** (-1 / np.array(HALF_LIVES))
    )


@pytest.mark.parametrize("batch_size", [0, 1, 5, 100])
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_parts_hold_every_question_once_and_fit_their_shape(batch_size, split):
    graph = random_graph(5, num_entities=12, facts=9)
    index = EvidenceIndex(graph)
    loader = EvidenceLoader(graph, index, split, batch_size=batch_size, with_truth=True, max_buckets=2)
    found: dict[int, list[int]] = {}
    for part, prepared in enumerate(loader.in_order()):
        found.setdefault(prepared.target, []).extend(prepared.rows.tolist())
        answers = int(prepared.batch.entity.answers.answer_weight.sum())
        assert answers == len(prepared.rows) == int(prepared.batch.relation.answers.answer_weight.sum())
        assert not batch_size or answers <= batch_size or len(loader.parts[part][1]) == 1
    for target, rows in found.items():
        here = slice(*graph.offsets[target : target + 2].tolist())
        number = 2 * int(graph.split_mask(split)[here].sum())
        assert sorted(rows) == list(range(number))
    assert sorted(found) == [t for t in graph.split_snapshots(split).tolist() if t > 0]
    assert sum(len(rows) for rows in found.values()) > 0


@pytest.mark.parametrize("most", [0, 2])
def test_the_planned_sizes_are_never_too_small(most):
    graph = random_graph(11, num_entities=9, num_relations=2, num_times=12, facts=12)
    index = EvidenceIndex(graph)
    for split in ("train", "test"):
        loader = EvidenceLoader(graph, index, split, batch_size=7, max_partners=most, with_truth=split == "test")
        for number in loader.targets.tolist():
            bucket = loader.buckets[loader.bucket_of[number]]
            target, subjects = loader.parts[number]
            here = np.arange(*graph.offsets[target : target + 2].tolist())
            as_asked = lambda rows: Asked(
                *(np.array(column) for column in list(zip(*both_directions(graph, rows)))[:3])
            )
            mine, truth = as_asked(here[graph.split_mask(split)[here]]), as_asked(here)
            chosen = np.isin(mine.subject, subjects)
            asked = Asked(mine.subject[chosen], mine.relation[chosen], mine.object[chosen])
            gathered = Gatherer(index, most).gather(asked, index.known(target), truth if split == "test" else None)
            for name, arrays in LENGTHS.items():
                assert len({len(gathered[array]) for array in arrays}) == 1
                assert len(gathered[arrays[0]]) <= bucket[name], name
            loader.build(number)


def test_a_part_ends_before_it_holds_too_many_questions_or_cells():
    assert _parts(np.array([3, 3, 3, 9, 1]), np.zeros(5, int), 6).tolist() == [0, 0, 1, 2, 3]
    assert _parts(np.array([1, 1, 1]), np.array([MOST_CELLS, 1, 1]), 0).tolist() == [0, 1, 1]
    assert _parts(np.array([1, 1]), np.zeros(2, int), 0).tolist() == [0, 0]


def test_too_many_to_number_is_refused():
    graph = make_graph([(0, 0, 1, 0)], num_entities=2**31 - 1, num_relations=2)
    with pytest.raises(DataError, match="too many to index"):
        EvidenceIndex(graph)


@pytest.mark.parametrize("most", range(1, 9))
def test_of_links_that_met_last_at_one_time_those_that_met_more_often_are_kept(most):
    # At time 2 met 0 and 1 (three times in all), 2 and 3 (twice), 4 and 5 (once); 6 and 7 met ten times, at time 1.
    facts = [(6, 0, 7, 1)] * 10 + [(0, 0, 1, 0)] * 2 + [(2, 0, 3, 1), (0, 0, 1, 2), (2, 0, 3, 2), (4, 0, 5, 2)]
    index = EvidenceIndex(make_graph([*facts, (0, 0, 1, 3)], num_entities=8, num_relations=1))
    subject, object_, _ = index.links(index.known(3), most)
    kept = {frozenset(pair) for pair in zip(subject.tolist(), object_.tolist())}
    order = [frozenset(pair) for pair in ((0, 1), (2, 3), (4, 5), (6, 7))]
    assert len(subject) == most and kept == set(order[: (most + 1) // 2])


def test_equal_answers_are_put_together_with_their_number():
    facts = [(0, 0, 1, 0), (0, 0, 1, 1), (0, 0, 1, 1), (0, 0, 2, 1)]
    graph = make_graph(facts, num_entities=3, num_relations=1)
    loader = EvidenceLoader(graph, EvidenceIndex(graph), "train")
    batch = loader.build(0).batch
    for kind, units in ((batch.entity, 3), (batch.relation, 4)):
        weight = np.asarray(kind.answers.answer_weight)
        assert weight.sum() == 6 and sorted(weight[weight > 0].tolist()) == [1, 1, 2, 2]
        assert len(set(np.asarray(kind.answers.answer_query)[weight > 0].tolist())) == units
