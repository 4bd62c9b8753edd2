"""Behaviours of the simulated world: their days, their rates, and the facts that are drawn from them."""

import numpy as np
import pytest

from tirgn_eqx.data.synthetic.behaviours import (
    Drifting,
    Floor,
    Society,
    Steady,
    active,
    draw_facts,
    make_drifting,
    make_steady,
)
from tirgn_eqx.data.synthetic.cast import make_cast

SHAPE = (3, 2, 3)


def ids(*values):
    return np.array(values, np.int64)


@pytest.fixture
def society():
    rng = np.random.default_rng(5)
    return Society(make_cast(30, rng), 6, rng)


# Every day, and every third day from day 1 on; one that drifts from 2 to nobody to 1.
STEADY = Steady(ids(0, 0), ids(0, 1), ids(1, 2), np.array([0.5, 0.25]), ids(1, 3), ids(0, 1))
DRIFTING = Drifting(ids(0), ids(0), np.array([2.0]), np.array([[2], [-1], [1]], np.int32))


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (0, {(0, 0, 1): 0.5, (0, 0, 2): 2.0}),
        (1, {(0, 0, 1): 0.5, (0, 1, 2): 0.25}),
        # Two behaviours on one fact add up.
        (2, {(0, 0, 1): 2.5}),
    ],
)
def test_the_behaviours_of_a_day(day, expected):
    subject, relation, object_, rate = active(STEADY, DRIFTING, day, SHAPE)
    assert dict(zip(zip(subject.tolist(), relation.tolist(), object_.tolist()), rate.tolist())) == expected


def test_steady_behaviours_add_up_to_what_was_asked_for(society):
    steady = make_steady(society, 20.0, 5.0)
    chance = -np.expm1(-steady.rate) / steady.period
    for recurring, wanted in ((True, 20.0), (False, 5.0)):
        total = chance[(steady.period == 1) == recurring].sum()
        # The last actor is taken whole, which is at most a few facts more.
        assert wanted <= total < wanted + 3
    assert set(steady.period.tolist()) == {1, 7, 14} and (steady.phase < steady.period).all()
    assert (steady.subject != steady.object).all()
    assert [len(column) for column in vars(make_steady(society, 0.0, 0.0)).values()] == [0] * 6


def test_partners_are_others_and_each_is_drawn_once(society):
    for subject in range(30):
        partners = society.draw_partners(subject, 40).tolist()
        assert sorted(partners) == [entity for entity in range(30) if entity != subject]


def test_more_days_leave_the_partners_of_earlier_ones(society):
    short, long = (
        make_drifting(Society(society.cast, 6, np.random.default_rng(7)), 8.0, days, seed=11) for days in (20, 50)
    )
    assert np.array_equal(long.partner[:20], short.partner) and not np.array_equal(long.partner[20:40], short.partner)
    active_days = (long.partner >= 0).mean(0)
    chance = -np.expm1(-long.rate)
    assert 4 < (active_days * chance).sum() < 14


def test_facts_of_a_day_do_not_depend_on_the_number_of_days():
    uniform = np.full(3, 1 / 3)
    floor = Floor(2.0, uniform, np.array([0.5, 0.5]), uniform)
    drifting = Drifting(ids(0), ids(0), np.array([2.0]), np.full((6, 1), 1, np.int32))
    short, long = (draw_facts(floor, STEADY, drifting, SHAPE, days, 3) for days in (3, 6))
    assert np.array_equal(long[long[:, 3] < 3], short)
    assert set(long[:, 3].tolist()) <= set(range(6)) and (long[:, 0] != long[:, 2]).all()
    assert len(np.unique(long, axis=0)) == len(long)


def test_a_rate_without_bound_happens_every_day_and_none_never():
    certain = Steady(ids(0, 1), ids(0, 0), ids(1, 2), np.array([1e3, 0.0]), ids(1, 1), ids(0, 0))
    uniform = np.full(3, 1 / 3)
    nobody = Drifting(ids(), ids(), np.zeros(0), np.zeros((5, 0), np.int32))
    facts = draw_facts(Floor(0.0, uniform, np.array([0.5, 0.5]), uniform), certain, nobody, SHAPE, 5, 0)
    assert facts.tolist() == [[0, 0, 1, day] for day in range(5)]
