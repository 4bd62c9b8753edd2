"""Which tracker gets the logs: the one that was chosen, or none. A chosen one that is not installed is refused."""

import sys

import pytest

from tests.helpers import random_graph
from tests.models.evidence_helpers import small
from tests.tracking.log_files import lines, warnings_of
from tests.tracking.test_wandb_writer import FakeWandb
from tirgn_eqx.config import EventTrainingConfig, EvidenceTrainingConfig, MixtureTrainingConfig, TiRGNTrainingConfig
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.tracking.logger import TRACKERS, TrainingLogger, check_tracker
from tirgn_eqx.train.api import train_tirgn

KEY = "0123456789" * 4


@pytest.mark.parametrize("name", TRACKERS)
def test_a_chosen_tracker_that_is_not_installed_is_refused_before_anything_is_written(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"tracker = '{name}': .*pip install 'tirgn-eqx\[{name}\]'"):
        TrainingLogger(tmp_path / "logs", tracker=name)
    assert not (tmp_path / "logs").exists()
    # A training says so before it reads any data.
    with pytest.raises(ConfigError, match=f"tracker = '{name}'"):
        train_tirgn("there is no such file", TiRGNTrainingConfig(tracker=name), model_dir=tmp_path / "models")


def test_none_keeps_a_training_to_itself_whatever_the_environment_says(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with TrainingLogger(tmp_path, tracker="none") as log:
        log.log_metrics({"x": 1}, 1)
        assert not log.tracker_active
    assert len(lines(tmp_path / "metrics.jsonl")) == 1 and not warnings_of(caplog)
    check_tracker("none")
    check_tracker("auto")


def test_both_parts_and_the_gate_of_a_mixture_have_one_tracker():
    config = MixtureTrainingConfig.of(TiRGNTrainingConfig(tracker="mlflow"), EvidenceTrainingConfig())
    assert (config.tracker, config.structure.tracker, config.evidence.tracker) == ("mlflow",) * 3
    config = config.replace(tracker="none")
    assert (config.tracker, config.structure.tracker, config.evidence.tracker) == ("none",) * 3


@pytest.mark.ci
@pytest.mark.parametrize(
    "config",
    [
        small(evidence_background=False, epochs=1),
        EventTrainingConfig(rate_hidden=4, rows_per_step=64, epochs=1, periods="none", snapshots_per_epoch=4),
    ],
    ids=lambda config: config.family,
)
def test_a_training_sends_its_points_to_the_tracker_of_its_settings(tmp_path, monkeypatch, config):
    module = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    config = config.replace(tracker="wandb", logdir=str(tmp_path / "logs"))
    # A module that was not imported from anywhere has no spec.
    monkeypatch.setattr(TRACKERS["wandb"], "check_installed", classmethod(lambda cls: None))
    train_tirgn(random_graph(0, num_times=12), config, model_dir=tmp_path / "models", run_name="mine")
    (_, options), *logged, finish = module.calls
    assert options["name"] == "mine" and options["config"]["tracker"] == "wandb"
    assert any("train/loss" in values for _, values, _ in logged) and finish == ("finish", 0)
