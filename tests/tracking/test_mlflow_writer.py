"""The real MLflow, with its store in a file, gets what is logged; when it fails, the training goes on without it."""

import logging
import math
from unittest.mock import patch

import pytest

from tests.tracking.log_files import lines, warnings_of
from tirgn_eqx.config import MixtureTrainingConfig
from tirgn_eqx.tracking.logger import TrainingLogger

mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed: tirgn-eqx[mlflow]")
# Warnings are those of its own dependencies.
pytestmark = [pytest.mark.ci, pytest.mark.filterwarnings("ignore")]
TIMEOUT = 120  # the first start makes a database


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One database for all tests, because making one takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patched.chdir(folder)
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        yield mlflow.MlflowClient()
        mlflow.set_tracking_uri(before)


def test_points_texts_settings_and_the_end_are_in_the_store(tmp_path, store, caplog):
    caplog.set_level(logging.INFO, "tirgn_eqx")
    config = MixtureTrainingConfig()
    with TrainingLogger(tmp_path, "forecasts", "first", config, tracker="mlflow", tracker_timeout=TIMEOUT) as log:
        log.log_metrics({"train/loss": 2.5, "eval/mrr": 0.25}, 1)
        log.log_metrics({"train/loss": 1.5, "eval/mrr": math.nan}, 7)
        log.log_text("early_stopping", "it stopped", 7)
    assert log.tracker_active and not warnings_of(caplog), caplog.text
    assert "MLflow run: first" in caplog.text
    experiment = store.get_experiment_by_name("forecasts").experiment_id
    (run,) = store.search_runs([experiment])
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    history = store.get_metric_history(run.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(1, 2.5), (7, 1.5)]
    assert [math.isnan(point.value) for point in store.get_metric_history(run.info.run_id, "eval/mrr")] == [False, True]
    # More settings than one request may hold.
    assert len(run.data.params) > 60 and run.data.params["evidence.epochs"] == "0"
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/early_stopping/7.md") == "it stopped"


def test_a_failed_training_is_a_failed_run_of_the_same_experiment(tmp_path, store):
    for _ in range(2):
        with (
            pytest.raises(KeyboardInterrupt),
            TrainingLogger(tmp_path, "failures", tracker="mlflow", tracker_timeout=TIMEOUT),
        ):
            raise KeyboardInterrupt
    found = store.search_runs([store.get_experiment_by_name("failures").experiment_id])
    assert [run.info.status for run in found] == ["FAILED", "FAILED"]


def test_an_experiment_that_another_process_makes_at_the_same_time_is_used(tmp_path, store, caplog):
    made = store.create_experiment("race")
    found = [None, store.get_experiment(made)]
    with patch.object(mlflow.MlflowClient, "get_experiment_by_name", lambda client, name: found.pop(0)):
        with TrainingLogger(tmp_path, "race", tracker="mlflow", tracker_timeout=TIMEOUT) as log:
            log.log_metrics({"x": 1.0}, 1)
    assert not warnings_of(caplog) and len(store.search_runs([made])) == 1


def test_a_store_that_refuses_costs_one_warning(tmp_path, store, caplog):
    # MLflow refuses this key, as it may refuse anything.
    with TrainingLogger(tmp_path, "refused", config={"a|b": 1}, tracker="mlflow", tracker_timeout=TIMEOUT) as log:
        log.log_metrics({"x": 1.0}, 1)
    (warning,) = warnings_of(caplog)
    assert "MLflow is off" in warning and "\n" not in warning and not log.tracker_active
    assert len(lines(tmp_path / "metrics.jsonl")) == 1
