"""The real Trackio, with its folder on this machine, gets what is logged."""

import logging
import math

import pytest

from tests.tracking.log_files import warnings_of
from tirgn_eqx.tracking.logger import TrainingLogger

# Warnings are those of its own dependencies.
pytestmark = [pytest.mark.ci, pytest.mark.filterwarnings("ignore")]


def test_points_texts_and_settings_are_in_its_folder(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    trackio = pytest.importorskip("trackio", reason="trackio is not installed: tirgn-eqx[trackio]")
    caplog.set_level(logging.INFO, "tirgn_eqx")
    config = {"seed": 3, "evidence": {"epochs": 2}}
    with TrainingLogger(tmp_path, "forecasts", "first", config, tracker="trackio", tracker_timeout=60) as log:
        log.log_metrics({"train/loss": 2.5, "eval/mrr": math.nan}, 1)
        log.log_metrics({"train/loss": 1.5}, 7)
        log.log_text("early_stopping", "it stopped", 7)
    assert log.tracker_active and not warnings_of(caplog), caplog.text
    assert "Trackio run: first" in caplog.text
    assert list((tmp_path / "trackio").glob("forecasts*"))
    run = trackio.Api().runs("forecasts")[0]
    assert run.name == "first" and run.config["seed"] == 3 and run.config["evidence"] == {"epochs": 2}
    from trackio.sqlite_storage import SQLiteStorage

    rows = SQLiteStorage.get_logs("forecasts", "first")
    assert [(row["step"], row["train/loss"]) for row in rows if "train/loss" in row] == [(1, 2.5), (7, 1.5)]
    assert [row["early_stopping"] for row in rows if "early_stopping" in row] == ["it stopped"]
