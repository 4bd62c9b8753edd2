"""What a trainer keeps, draws and judges by, with steps and evaluations that cost nothing."""

from dataclasses import replace
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.helpers import random_graph
from tirgn_eqx.config import preset
from tirgn_eqx.train.optimizer import AverageState
from tirgn_eqx.train.trainer import Trainer

SMALL = {"embedding_dim": 4, "evidence_heads": 2, "evidence_hidden": 3, "evidence_background": False, "max_buckets": 1}


@pytest.fixture(scope="module")
def graph():
    return random_graph(2)


@pytest.fixture
def make(graph, tmp_path):
    """A trainer whose steps and evaluations are told what to give; it keeps the keys of its steps."""

    def make(figures=None, **changes) -> Trainer:
        settings = SMALL | {"precision": "f32", "learning_rate": 0.5, "logdir": str(tmp_path / "logs")}
        run = Trainer(graph, preset("evidence").replace(**settings | changes), tmp_path, lambda record: None)
        run.keys = []
        run.step = Steps(run.keys)
        figures = iter(figures or [])
        run.validator = Validation(lambda: SimpleNamespace(entity=next(figures)))
        return run

    return make


class Steps:
    """In place of compiled ones: nothing is trained."""

    def __init__(self, keys):
        self.keys = keys

    def compile(self, *_):
        pass

    def __call__(self, model, opt_state, prepared, key):
        self.keys.append(tuple(jr.key_data(key).tolist()))
        one = jnp.ones(())
        return model, opt_state, {"loss": one, "gradient_norm": one}


class Validation:
    programs = None

    def __init__(self, give):
        self.give = give

    def compile(self, *_):
        pass

    def __call__(self, model):
        return self.give()


def test_every_step_of_every_epoch_drops_other_numbers(make):
    run = make()
    for _ in range(2):
        assert run.run_epoch(lambda: False)
    steps = len(run.loader)
    assert len(run.keys) == 2 * steps == run.state.global_step
    assert run.keys == [tuple(jr.key_data(jr.fold_in(run.step_key, n)).tolist()) for n in range(2 * steps)]
    assert len(set(run.keys)) == 2 * steps


def test_the_step_size_falls_over_all_epochs(make):
    run = make(epochs=4, lr_schedule="linear")
    steps = 4 * len(run.loader)
    assert [float(run.learning_rate(n)) for n in (0, steps // 2, steps)] == pytest.approx([0.5, 0.25, 0.0])


def test_the_average_of_the_weights_is_what_forecasts(make):
    run = make(ema_decay=0.5)

    def moved(state):
        return AverageState(state.updates, jax.tree.map(lambda x: x + 1, state.weights))

    def is_average(node):
        return isinstance(node, AverageState)

    opt_state = tuple(moved(state) if is_average(state) else state for state in run.state.opt_state)
    run.state = replace(run.state, opt_state=opt_state)
    assert any(map(is_average, opt_state))
    found, own = run.state.forecaster(), run.state.model
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(own), strict=True):
        np.testing.assert_allclose(ours, theirs + 1)


@pytest.mark.parametrize(("monitor", "best"), [("mrr", 3), ("nll", 2)])
def test_the_best_model_is_the_best_by_what_is_monitored(make, monitor, best):
    figures = [{"mrr": 0.2, "nll": 3.0}, {"mrr": 0.1, "nll": 2.0}, {"mrr": 0.3, "nll": 2.5}]
    run, saved = make(figures, monitor=monitor), []
    run.save_checkpoint = lambda name, epoch, figures=None: saved.append((name, epoch))
    for epoch in (1, 2, 3):
        run.validate(epoch)
    assert run.state.stopping.best_epoch == best and saved[-1] == ("tirgn_best", best)
    assert run.state.stopping.best_value == figures[best - 1][monitor]


def test_an_interrupted_training_that_follows_the_nll_tells_the_mrr(make):
    figures = [{"mrr": 0.2, "nll": 3.0}, {"mrr": 0.1, "nll": 2.0}, {"mrr": 0.3, "nll": 2.5}]
    run = make(figures, monitor="nll")
    run.save_checkpoint = lambda name, epoch, figures=None: None
    for epoch in (1, 2, 3):
        run.validate(epoch)
    run.save_state()
    again = make(monitor="nll")
    again.resume()
    for one in (run, again):
        result = one.train(lambda: True)
        assert (result["status"], result["best_epoch"], result["best_mrr"]) == ("interrupted", 2, 0.1)


@pytest.mark.parametrize(("epochs", "interval", "validated"), [(3, 2, [2, 3]), (4, 2, [2, 4]), (2, 5, [2])])
def test_every_interval_and_the_last_epoch_are_validated(make, epochs, interval, validated):
    run, asked = make(epochs=epochs, eval_interval=interval, patience=0), []
    run.run_epoch = lambda stop: True

    def validate(epoch):
        asked.append(epoch)
        run.state = replace(run.state, last_validated=epoch)

    run.validate = validate

    def ended(name, epoch, figures=None):
        raise StopIteration

    run.save_checkpoint = ended
    with pytest.raises(StopIteration):
        run.train(lambda: False)
    assert asked == validated


def test_a_run_goes_on_from_all_that_it_kept(make):
    run = make(patience=3, ema_decay=0.5)
    run.state = replace(
        run.state,
        model=jax.tree.map(lambda x: x + 1, run.state.model),
        opt_state=jax.tree.map(lambda x: x + 2, run.state.opt_state),
        stopping=run.state.stopping.update(5, 0.25)[0],
        epoch=6,
        epoch_metrics=tuple({"loss": 2.0 + n, "gradient_norm": 1.0} for n in range(2)),
        global_step=41,
        last_validated=5,
        skipped_steps=7,
    )
    run.save_state()
    again = make(patience=3, ema_decay=0.5)
    again.resume()
    state = again.state
    assert (state.global_step, state.epoch, state.last_validated, state.skipped_steps) == (41, 6, 5, 7)
    assert state.stopping == run.state.stopping and state.stopping.best_value == 0.25
    assert [m["loss"] for m in state.epoch_metrics] == [2.0, 3.0]
    assert eqx.tree_equal((state.model, state.opt_state), (run.state.model, run.state.opt_state))
    assert again.seconds() >= again.earlier_seconds > 0
    # The next epoch begins after the two steps that were done, with the keys that they would have had.
    assert again.run_epoch(lambda: False)
    left = len(again.loader) - 2
    assert again.keys == [tuple(jr.key_data(jr.fold_in(again.step_key, 41 + n)).tolist()) for n in range(left)]
