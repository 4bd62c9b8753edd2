"""The state of a training: what is saved is what is loaded, also from an earlier version."""

import equinox as eqx
import jax.random as jr
import numpy as np
import pytest

from tests.helpers import family_config, random_graph, same_bits
from tirgn_eqx.checkpoint.files import load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.metadata import TrainingIdentity
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.models import build_model
from tirgn_eqx.train.optimizer import init_optimizer, make_optimizer
from tirgn_eqx.train.state import TrainState, initial_stopping, load_state, save_state

CONFIG = family_config("evidence", evidence_heads=2, evidence_hidden=3, evidence_background=False, patience=4)
METRICS = tuple({"loss": 1.0 + number, "gradient_norm": 0.5} for number in range(3))


@pytest.fixture(scope="module")
def graph():
    return random_graph(2)


@pytest.fixture(scope="module")
def trees(graph):
    """(model, optimizer state)"""
    model = build_model(graph.num_entities, graph.num_relations, CONFIG, key=jr.key(0))
    return model, init_optimizer(make_optimizer(CONFIG), model)


@pytest.fixture
def folder(graph, trees, tmp_path):
    """A folder that saves and loads states of the training of `CONFIG`, or of other settings."""

    class Folder:
        path = tmp_path

        def save(self, config=CONFIG, **changes):
            state = TrainState(*trees, **{"stopping": initial_stopping(config)} | changes)
            save_state(tmp_path, state, 12.5, TrainingIdentity.of(graph, config))
            return state

        def load(self, config=CONFIG, num_steps=9):
            shapes = eqx.filter_eval_shape(lambda: trees)
            return load_state(tmp_path, shapes, config, TrainingIdentity.of(graph, config), num_steps)

    return Folder()


def test_all_that_changes_is_read_back(folder):
    stopping, _ = initial_stopping(CONFIG).update(2, 0.25)
    counts = {"epoch": 3, "global_step": 21, "last_validated": 2, "skipped_steps": 1, "best_mrr": 0.25}
    overrides = {"batch_size": 7}
    state = folder.save(stopping=stopping, epoch_metrics=METRICS, oom_overrides=overrides, **counts)
    again, seconds = folder.load()
    assert seconds == 12.5 and same_bits((again.model, again.opt_state), (state.model, state.opt_state))
    assert again.stopping == stopping and again.stopping.patience == 4
    assert {name: getattr(again, name) for name in counts} == counts
    assert again.epoch_metrics == METRICS and again.oom_overrides == overrides


def test_an_epoch_that_is_shorter_than_what_was_done_is_begun_again(folder):
    folder.save(epoch_metrics=METRICS)
    assert len(folder.load(num_steps=4)[0].epoch_metrics) == 3
    assert folder.load(num_steps=3)[0].epoch_metrics == ()


@pytest.mark.parametrize(("monitor", "mrr"), [("mrr", 0.75), ("nll", None)])
def test_of_an_earlier_version_only_a_monitored_mrr_is_known(folder, monitor, mrr):
    config = CONFIG.replace(monitor=monitor)
    stopping, _ = initial_stopping(config).update(1, 0.75)
    folder.save(config, stopping=stopping, best_mrr=0.5)
    assert folder.load(config)[0].best_mrr == 0.5
    checkpoint = load_checkpoint(folder.path / "tirgn_state.npz")
    progress = {name: value for name, value in checkpoint.metadata["progress"].items() if name != "best_mrr"}
    save_checkpoint(checkpoint.path, checkpoint.arrays, checkpoint.metadata | {"progress": progress})
    assert folder.load(config)[0].best_mrr == mrr


def test_a_best_mrr_that_is_no_number_is_read_back_as_unknown(folder):
    folder.save(best_mrr=np.nan)
    assert folder.load()[0].best_mrr is None


def test_a_state_of_other_settings_is_refused(folder):
    folder.save()
    with pytest.raises(CheckpointError, match="was trained with learning_rate"):
        folder.load(CONFIG.replace(learning_rate=0.5))
