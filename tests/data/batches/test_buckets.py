"""Grouping batches into few padded shapes."""

from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tirgn_eqx.data.batches.buckets import group_loads, round_up


def padded_load(load, groups):
    return sum(load[groups == g].max() * np.sum(groups == g) for g in np.unique(groups))


@settings(max_examples=60, deadline=None)
@given(load=st.lists(st.integers(1, 60), min_size=1, max_size=6), max_groups=st.integers(1, 3))
@example(load=[1, 1, 1, 1, 50, 60], max_groups=2)
def test_grouping_pads_as_little_as_any_grouping_can(load, max_groups):
    load = np.array(load)
    groups = group_loads(load, min(max_groups, len(load)))
    assert len(np.unique(groups)) == groups.max() + 1 <= max_groups
    ways = product(range(max_groups), repeat=len(load))
    assert padded_load(load, groups) == min(padded_load(load, np.array(way)) for way in ways)


def test_grouping_many_items_is_near_the_best_cut():
    load = np.random.default_rng(0).permutation(np.repeat([10, 100], [150, 50]))
    groups = group_loads(load, 2)
    # Cuts are tried every 2 % of the items, so at most that many small ones are padded to 100.
    assert padded_load(load, groups) <= 150 * 10 + 50 * 100 + 5 * 90


@given(size=st.integers(0, 10**7))
def test_rounding_up_is_little(size):
    rounded = round_up(size)
    assert rounded % 8 == 0 and size <= rounded < size + max(8, size / 8 + 1)


@settings(max_examples=60, deadline=None)
@given(
    load=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    max_groups=st.integers(1, 4),
    cost=st.sampled_from([0.0, 1.0, 20.0, 1e9]),
)
def test_a_group_has_to_save_what_it_costs(load, max_groups, cost):
    load = np.array(load)
    groups = group_loads(load, min(max_groups, len(load)), cost)
    ways = (np.array(way) for way in product(range(max_groups), repeat=len(load)))
    totals = [padded_load(load, way) + cost * len(np.unique(way)) for way in ways]
    assert padded_load(load, groups) + cost * len(np.unique(groups)) == pytest.approx(min(totals))
