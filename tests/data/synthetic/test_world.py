import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tirgn_eqx.data.synthetic.cast import MAX_ENTITIES
from tirgn_eqx.data.synthetic.world import simulate
from tirgn_eqx.errors import DataError

SMALL = {"num_entities": 20, "num_relations": 5, "num_days": 30, "facts_per_day": 25}
BEHAVIOURS = ("recurring", "periodic", "drifting", "one_off")


@pytest.fixture(scope="module")
def small():
    return simulate(**SMALL)


@pytest.fixture(scope="module")
def default():
    return simulate()


def rows(graph):
    return np.stack([graph.subject, graph.relation, graph.object, graph.times[graph.snapshot]], 1)


def dense(world, snapshot):
    """The full rate of every fact at `snapshot`, as written in the definition."""
    floor, graph = world.floor, world.graph
    rates = floor.total * np.einsum("s,r,o->sro", floor.subject, floor.relation, floor.object)
    rates[np.arange(graph.num_entities), :, np.arange(graph.num_entities)] = 0
    day, steady, drifting = graph.times[snapshot], world.steady, world.drifting
    for i, rate in enumerate(steady.rate):
        if day % steady.period[i] == steady.phase[i]:
            rates[steady.subject[i], steady.relation[i], steady.object[i]] += rate
    for i, rate in enumerate(drifting.rate):
        if drifting.partner[day, i] >= 0:
            rates[drifting.subject[i], drifting.relation[i], drifting.partner[day, i]] += rate
    return rates


def test_default_world(default):
    graph = default.graph
    assert 12_000 <= graph.num_facts <= 18_000
    assert (graph.num_entities, graph.num_relations, graph.num_snapshots) == (100, 20, 150)
    assert [len(graph.split_snapshots(split)) for split in ("train", "valid", "test")] == [120, 15, 15]
    assert len(set(graph.entity_names)) == 100 and len(set(graph.relation_names)) == 20
    assert json.loads(json.dumps(graph.provenance)) == graph.provenance


def test_provenance_makes_the_same_world(small):
    options = {key: value for key, value in small.graph.provenance.items() if key not in ("kind", "path")}
    assert (small.graph.provenance["kind"], small.graph.provenance["path"]) == ("sim", "sim")
    assert simulate(**options).graph.checksum == small.graph.checksum
    assert simulate(**SMALL, seed=1).graph.checksum != small.graph.checksum


def test_more_days_leave_the_earlier_ones_as_they_were(small):
    longer = simulate(**SMALL | {"num_days": 50})
    facts = rows(longer.graph)
    assert np.array_equal(facts[facts[:, 3] < 30], rows(small.graph))
    assert longer.graph.entity_names == small.graph.entity_names
    for snapshot in (0, 29):
        assert all(np.array_equal(a, b) for a, b in zip(longer.intensity(snapshot), small.intensity(snapshot)))


@settings(max_examples=60, deadline=None)
@given(
    num_entities=st.integers(3, 40),
    num_relations=st.integers(1, 30),
    num_days=st.integers(10, 30),
    facts_per_day=st.floats(5, 30),
    weights=st.lists(st.sampled_from([0, 0.5, 1]), min_size=4, max_size=4).filter(any),
    seed=st.integers(0, 2**40),
)
def test_any_world_is_sound(num_entities, num_relations, num_days, facts_per_day, weights, seed):
    possible = num_entities * (num_entities - 1) * num_relations
    world = simulate(
        num_entities=num_entities,
        num_relations=num_relations,
        num_days=num_days,
        facts_per_day=min(facts_per_day, possible),
        **dict(zip(BEHAVIOURS, weights)),
        seed=seed,
    )
    graph, facts = world.graph, rows(world.graph)
    assert len(np.unique(facts, axis=0)) == len(facts)
    assert np.all(graph.subject != graph.object)
    assert facts.min() >= 0 and facts[:, [0, 2]].max() < num_entities and facts[:, 1].max() < num_relations
    assert set(graph.split) == {0, 1, 2}
    for split in ("valid", "test"):
        assert np.all(graph.snapshot[graph.split_mask(split)] > graph.snapshot[graph.split == 0].max())
    best = world.best_mrr("valid")
    assert 0 < best["hits_at_1"] + best["mrr"] and best["hits_at_1"] <= best["hits_at_3"] <= best["hits_at_10"] <= 1


def test_intensity_and_rates_are_the_definition(small):
    every = np.arange(20)
    for snapshot in (0, 7, 29):
        rates = dense(small, snapshot)
        s, r, o, rate = small.intensity(snapshot)
        assert np.all(np.diff(np.ravel_multi_index((s, r, o), rates.shape)) > 0)
        floor = small.floor
        base = floor.total * floor.subject[s] * floor.relation[r] * floor.object[o]
        np.testing.assert_allclose(rates[s, r, o], rate + base)
        for relation in range(5):
            which = np.full(20, relation)
            np.testing.assert_allclose(small.rates(snapshot, every, which), rates[:, relation])
            np.testing.assert_allclose(small.rates(snapshot, every, which, inverse=True), rates[:, relation].T)


def test_facts_come_at_their_rates():
    world = simulate(**SMALL | {"num_days": 400}, drifting=0)
    counts = np.zeros((20, 5, 20))
    np.add.at(counts, (world.graph.subject, world.graph.relation, world.graph.object), 1)
    chance = sum(1 - np.exp(-dense(world, snapshot)) for snapshot in range(world.graph.num_snapshots))
    surprise = (counts - chance) / np.sqrt(chance + 1e-9)
    busy = chance > 5
    assert busy.sum() > 50
    assert abs(np.mean(surprise[busy])) < 0.3 and np.mean(surprise[busy] ** 2) < 1.3
    assert abs(counts.sum() - chance.sum()) < 4 * math.sqrt(chance.sum())


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_each_behaviour_alone_brings_the_facts_asked_for(behaviour):
    weights = dict.fromkeys(BEHAVIOURS, 0) | {behaviour: 1}
    graph = simulate(num_entities=60, num_days=60, facts_per_day=50, **weights).graph
    assert 35 < graph.num_facts / 60 < 60


def test_periodic_behaviour_keeps_its_day():
    world = simulate(**SMALL, recurring=0, periodic=1, drifting=0, one_off=0)
    time = world.graph.times[world.graph.snapshot]
    steady = world.steady
    known = set(zip(steady.subject, steady.relation, steady.object, steady.period, steady.phase))
    for s, r, o, day in zip(world.graph.subject, world.graph.relation, world.graph.object, time):
        assert any((s, r, o, period, day % period) in known for period in (7, 14))


def test_drifting_behaviour_has_one_partner_at_a_time():
    world = simulate(**SMALL | {"num_days": 200}, recurring=0, periodic=0, drifting=1, one_off=0)
    partner = world.drifting.partner
    changes = (partner[1:] != partner[:-1]).sum(0)
    assert changes.min() >= 0 and 1 <= changes.mean() <= 20
    assert (partner < 0).any() and (partner >= 0).all(0).any()


def best_by_hand(world, split):
    """`best_mrr` once more, one query at a time."""
    graph, ranks = world.graph, []
    for snapshot in graph.split_snapshots(split):
        rates = dense(world, snapshot)
        rows = slice(*graph.offsets[snapshot : snapshot + 2])
        facts = list(zip(graph.subject[rows], graph.relation[rows], graph.object[rows]))
        for s, r, o in facts:
            others = {b for a, q, b in facts if (a, q) == (s, r)}
            beaten_by = [rates[s, r, x] - rates[s, r, o] for x in range(graph.num_entities) if x not in others]
            ranks.append(1 + sum(d > 0 for d in beaten_by) + 0.5 * sum(d == 0 for d in beaten_by))
            others = {a for a, q, b in facts if (q, b) == (r, o)}
            beaten_by = [rates[x, r, o] - rates[s, r, o] for x in range(graph.num_entities) if x not in others]
            ranks.append(1 + sum(d > 0 for d in beaten_by) + 0.5 * sum(d == 0 for d in beaten_by))
    return np.mean(1 / np.array(ranks)), np.mean(np.array(ranks) <= 3)


def test_best_mrr_is_its_definition(small):
    for split in ("valid", "test"):
        best = small.best_mrr(split)
        assert (best["mrr"], best["hits_at_3"]) == pytest.approx(best_by_hand(small, split))


def test_best_mrr_where_it_is_known():
    # without a floor and with one partner at a time, whoever knows the partner is right; objects always
    world = simulate(**SMALL | {"num_relations": 100}, recurring=0, periodic=1, drifting=0, one_off=0)
    assert world.best_mrr()["mrr"] > 0.95
    # only one-off facts: close to guessing by importance
    world = simulate(**SMALL, recurring=0, periodic=0, drifting=0, one_off=1)
    guess = np.mean(1 / np.arange(1, 21))
    assert guess < world.best_mrr()["mrr"] < 2 * guess


def test_default_world_is_learnable_but_not_by_counting(default):
    """A recency counter reaches most of the best-possible score, and stays below it."""
    best, graph = default.best_mrr()["mrr"], default.graph
    assert 0.6 < best < 0.8
    counts, reciprocal = np.zeros((100, 20, 100)), []
    for snapshot in range(graph.num_snapshots):
        rows = slice(*graph.offsets[snapshot : snapshot + 2])
        s, r, o = graph.subject[rows], graph.relation[rows], graph.object[rows]
        if graph.split[rows.start] == 2:
            now = np.zeros_like(counts, bool)
            now[s, r, o] = True
            for scores, true, answers in (
                (counts[s, r], counts[s, r, o], now[s, r]),
                (counts[:, r, o].T, counts[s, r, o], now[:, r, o].T),
            ):
                above = ((scores > true[:, None]) & ~answers).sum(1)
                equal = ((scores == true[:, None]) & ~answers).sum(1)
                reciprocal.append(1 / (1 + above + equal / 2))
        counts *= 0.5 ** (1 / 30)
        counts[s, r, o] += 1
    assert 0.8 < np.mean(np.concatenate(reciprocal)) / best < 0.92


def test_static_graph_tells_entities_apart():
    static = simulate(**SMALL, static_graph=True).graph.static
    assert static.word.max() == static.num_words - 1 and static.num_relations == 3
    words = [frozenset(static.word[static.entity == entity]) for entity in range(20)]
    assert len(set(words)) == 20
    assert simulate(**SMALL).graph.static is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_entities": 2}, "num_entities = 2: must be from 3 to"),
        ({"num_entities": MAX_ENTITIES + 1}, f"must be from 3 to {MAX_ENTITIES}"),
        ({"num_relations": 0}, "num_relations = 0"),
        ({"num_days": 9}, "num_days = 9: must be from 10"),
        ({"facts_per_day": math.nan}, "facts_per_day = nan"),
        (
            {"num_entities": 3, "num_relations": 1, "facts_per_day": 50},
            "facts_per_day = 50: must be from 5 to 6",
        ),
        ({"seed": -1}, "seed = -1"),
        ({"one_off": -0.1}, "one_off = -0.1: a weight must be"),
        ({"drifting": math.inf}, "drifting = inf"),
        (dict.fromkeys(BEHAVIOURS, 0), "no finite sum above 0"),
    ],
)
def test_impossible_worlds(options, message):
    with pytest.raises(DataError, match=message) as caught:
        simulate(**options)
    assert "\n" not in str(caught.value)


def test_unknown_split(small):
    with pytest.raises(DataError, match="split 'tset' does not exist"):
        small.best_mrr("tset")


def test_probabilities_of_days_are_those_of_their_rates():
    """Of every fact with s != o, from the rates of each day as queries see them."""
    world = simulate(num_entities=12, num_relations=4, num_days=40, facts_per_day=20)
    s, r, o = (ids.ravel() for ids in np.meshgrid(np.arange(12), np.arange(4), np.arange(12), indexing="ij"))
    s, r, o = s[s != o], r[s != o], o[s != o]
    snapshot, horizon = 20, 5
    total = sum(world.rates(day, s, r)[np.arange(len(s)), o] for day in range(snapshot, snapshot + horizon))
    found = world.probability(snapshot, horizon, s, r, o)
    assert found == pytest.approx(1 - np.exp(-total))
    assert found.min() > 0 and found.max() > 0.5
    # As many facts come as they say, over all days.
    days = range(world.graph.num_snapshots)
    expected = sum(world.probability(day, 1, s, r, o).sum() for day in days)
    assert world.graph.num_facts == pytest.approx(expected, rel=0.1)
