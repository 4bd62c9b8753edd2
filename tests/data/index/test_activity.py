"""The activity index against reading every fact."""

import numpy as np
import pytest

from tests.helpers import facts_of, make_graph, random_graph, with_facts
from tirgn_eqx.data.batches.event_rows import make_horizons
from tirgn_eqx.data.index import activity
from tirgn_eqx.data.index.activity import ActivityIndex, find_periods, phases


@pytest.fixture(scope="module")
def graph():
    return random_graph(5, num_entities=6, num_times=10, facts=9)


def test_what_happened_is_counted_by_what_was_known(graph):
    index, facts = ActivityIndex(graph), facts_of(graph).tolist()
    for begin, end in ((1, 2), (3, 7), (6, 10)):
        before = [tuple(fact[:3]) for fact in facts if fact[3] < begin]
        after = [tuple(fact[:3]) for fact in facts if begin <= fact[3] < end]
        pairs = {fact[:2] for fact in before}
        known, novel, unseen = index.happened(begin, end)
        columns = index.parts(known.group)
        found = {tuple(map(int, key)): count for *key, count in zip(*columns, known.count)}
        assert found == {fact: after.count(fact) for fact in after if fact in before}
        for happened, of_kind in ((novel, True), (unseen, False)):
            new = [fact[:2] for fact in after if fact not in before and (fact[:2] in pairs) == of_kind]
            keys = index.pair.key[happened.group].tolist()
            counted = {tuple(divmod(key, graph.num_relations)): n for key, n in zip(keys, happened.count)}
            assert counted == {pair: new.count(pair) for pair in new}
        known_facts = zip(*(column.tolist() for column in index.parts(index.known_facts(begin))))
        assert sorted(known_facts) == sorted(set(before))
        assert len(index.known_pairs(begin)) == len(pairs)
        new = zip(*(column.tolist() for column in index.parts(index.new_facts(begin, end))))
        assert sorted(new) == sorted(set(after) - set(before))


def test_features_of_a_fact_are_its_ages_and_counts():
    # (0, 0, 1) at 0, 2 and 6: at 8 its age is 2, and the gap between two of its times was 3.
    rows = [(0, 0, 1, 0), (0, 0, 1, 2), (0, 0, 1, 6), (2, 0, 1, 7), (0, 0, 2, 8)]
    graph = make_graph(rows, num_entities=3, num_relations=1)
    index = ActivityIndex(graph)
    target = graph.num_snapshots - 1
    fact = index.fact.group(np.array([1]))
    own = index.fact_features(fact, index.cutoff(target))[0, : activity.OWN_FEATURES] / activity.SCALE
    assert own[0] == pytest.approx(np.log(2)) and own[1] == pytest.approx(np.log(4))
    assert own[6] == pytest.approx(np.log(4)) and own[7] == pytest.approx(np.log(2.5 / 3.5))
    assert own[8] * activity.SCALE == 1 and own[9] == pytest.approx(np.log(9))
    # The pair (0, 0) had one object before 8.
    pair = index.pair_features(index.pair.group(np.array([0])), index.cutoff(target))[0]
    assert pair[activity.OWN_FEATURES] / activity.SCALE == pytest.approx(np.log(2))


def test_nothing_from_the_target_on_is_read(graph):
    """Every fact from snapshot 6 on is another one; what is known before 6, and its features, stay bit for bit."""
    rows = facts_of(graph).copy()
    later = rows[:, 3] >= 6
    rows[later, 0], rows[later, 1] = (rows[later, 0] + 1) % 6, (rows[later, 1] + 1) % 3
    indexes = [ActivityIndex(one) for one in (graph, with_facts(graph, rows))]
    cutoff, found = indexes[0].cutoff(6), []
    for index in indexes:
        facts, pairs = index.known_facts(6), index.known_pairs(6)
        facts, pairs = facts[np.argsort(index.fact.key[facts])], pairs[np.argsort(index.pair.key[pairs])]
        found.append(
            [
                index.fact.key[facts],
                index.fact_features(facts, cutoff),
                index.pair_features(pairs, cutoff),
                index.subject_features(cutoff),
                index.relation_features(cutoff),
            ]
        )
    for one, other in zip(*found):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(("period", "found"), [(7, (7.0,)), (24, (24.0,)), (None, ())])
def test_periods_are_found_where_there_are_any(period, found):
    rng, days = np.random.default_rng(0), 200
    wave = np.sin(2 * np.pi * np.arange(days) / period) if period else np.zeros(days)
    counts = rng.poisson(40 * np.exp(0.5 * wave)) + 1
    rows = [(0, 0, 1, day) for day, count in enumerate(counts.tolist()) for _ in range(count)]
    assert find_periods(make_graph(rows, num_entities=2, num_relations=1)) == found


def test_noise_has_no_period_and_few_weeks_have_theirs():
    """Four waves explain a tenth of the variance of forty days of noise, so that a share alone says nothing."""
    rng = np.random.default_rng(0)

    def periods(counts):
        rows = [(0, 0, 1, day) for day, count in enumerate(counts.tolist()) for _ in range(count)]
        return find_periods(make_graph(rows, num_entities=2, num_relations=1))

    noise = [periods(rng.poisson(40, days) + 1) for days in (30, 40, 60, 80) for _ in range(25)]
    assert noise.count(()) >= 99
    week = 40 * np.exp(0.5 * np.sin(2 * np.pi * np.arange(40) / 7))
    assert periods(rng.poisson(week) + 1) == (7.0,)


def test_a_place_in_a_period_does_not_depend_on_where_the_history_begins(graph):
    """The first three snapshots left out, and all ids kept, a time has the same phase, and ages stay as they were."""
    rows = facts_of(graph)
    late = with_facts(graph, rows[rows[:, 3] >= 3]).relabel(clock_origin=0)
    assert late.time_index[0] == 3
    whole, cut = (
        make_horizons(ActivityIndex(one), target, (1, 4), (7.0,), target) for one, target in ((graph, 8), (late, 5))
    )
    assert np.array_equal(whole.phase, cut.phase) and np.array_equal(whole.lag, cut.lag)
    assert not np.allclose(whole.phase[0], phases(np.zeros(1), (7.0,))[0])


def test_phases_are_waves_of_the_period_and_of_its_half():
    waves = phases(np.array([0.0, 7.0, 1.75]), (7.0,))
    assert waves.shape == (3, 4) and np.allclose(waves[0], waves[1])
    assert np.allclose(waves[2], [1, 0, 0, -1])
    assert phases(np.zeros(3), ()).shape == (3, 0)


def test_days_on_which_nothing_is_reported_belong_to_a_week():
    """Reports on weekdays alone, equally many on each: their week is that there are none at its end."""
    rows = [(0, 0, 1, day) for day in range(200) if day % 7 < 5 for _ in range(40)]
    assert find_periods(make_graph(rows, num_entities=2, num_relations=1, time_interval=1)) == (7.0,)
