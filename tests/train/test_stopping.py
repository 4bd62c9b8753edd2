import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tirgn_eqx.train.stopping import EarlyStopping


def test_stops_when_patience_epochs_brought_nothing_better():
    state, improved = EarlyStopping(10).update(5, 0.31)
    assert improved and (state.best_value, state.best_epoch) == (0.31, 5)
    state, improved = state.update(10, 0.30)
    assert not improved and state.best_epoch == 5
    assert not state.should_stop(14)
    assert state.should_stop(15)
    assert state.message(15) == "Early stopping at epoch 15, best MRR 0.3100 at epoch 5"


def test_nll_is_better_when_smaller():
    state, _ = EarlyStopping(3, "nll").update(1, 2.5)
    state, improved = state.update(2, 2.25)
    assert improved
    assert state.message(9) == "Early stopping at epoch 9, best NLL 2.2500 at epoch 2"


def test_patience_zero_never_stops():
    state, _ = EarlyStopping(0).update(1, 0.5)
    assert not state.should_stop(10**6)


def test_a_tie_is_no_improvement():
    state, _ = EarlyStopping(3).update(1, 0.5)
    assert state.update(2, 0.5) == (state, False)


@pytest.mark.parametrize("monitor", ["mrr", "nll"])
def test_nan_never_improves_and_still_stops(monitor):
    state = EarlyStopping(4, monitor)
    for epoch in (1, 2, 3, 4):
        state, improved = state.update(epoch, math.nan)
        assert not improved
    assert state.should_stop(4)
    assert state.message(4) == "Early stopping at epoch 4, no validation gave a number"
    state, improved = state.update(5, 1.0)
    assert improved
    assert state.update(6, math.nan) == (state, False)


@given(
    values=st.lists(st.floats(0, 1) | st.just(math.nan), max_size=12),
    monitor=st.sampled_from(["mrr", "nll"]),
)
def test_best_is_the_first_best(values, monitor):
    state = EarlyStopping(5, monitor)
    for epoch, value in enumerate(values, 1):
        state, _ = state.update(epoch, value)
    numbers = [value for value in values if not math.isnan(value)]
    best = (max if monitor == "mrr" else min)(numbers, default=None)
    assert state.best_value == best
    assert state.best_epoch == (None if best is None else values.index(best) + 1)
