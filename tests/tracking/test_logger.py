"""The files of a log: what is written, kept, dropped and appended, and what happens when it cannot be written."""

import json
import logging
import math
import os
import subprocess
import sys
import types
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from tests.tracking.log_files import lines
from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.tracking.logger import TrainingLogger, device_memory_bytes

ROOT = Path(__file__).parents[2]


def test_json_lines(tmp_path):
    with TrainingLogger(tmp_path / "runs" / "a") as log:
        log.log_metrics({"train/loss": 1.5, "system/total_params": 12}, 0)
        # every line is on disk at once
        assert len(lines(tmp_path / "runs" / "a" / "metrics.jsonl")) == 1
        log.log_metrics({"f": np.float32(0.5), "i": np.int64(3), "j": jnp.float32(2.0), "n": math.nan}, 1)
        log.log_metrics({"big": math.inf, "b16": jnp.bfloat16(0.5), "zero": np.zeros(()), "yes": True}, 2)
        log.log_text("note", "two\nlines", 3)
    first, second, third = lines(tmp_path / "runs" / "a" / "metrics.jsonl")
    assert first.pop("time") > 1e9
    assert first == {"step": 0, "train/loss": 1.5, "system/total_params": 12}
    assert {key: second[key] for key in "fijn"} == {"f": 0.5, "i": 3, "j": 2.0, "n": None}
    assert (third["big"], third["b16"], third["zero"], third["yes"]) == (None, 0.5, 0.0, True)
    assert lines(tmp_path / "runs" / "a" / "text.jsonl")[0]["note"] == "two\nlines"


@pytest.mark.parametrize("value", ["1", np.zeros(2), None, {}])
def test_what_is_no_number_is_named(tmp_path, value):
    with TrainingLogger(tmp_path) as log, pytest.raises(TypeError, match="metric 'x' must be one number"):
        log.log_metrics({"x": value}, 0)


def test_a_run_that_goes_on_leaves_earlier_runs_as_they_are(tmp_path):
    with TrainingLogger(tmp_path) as log:
        for step in (0, 5, 9):
            log.log_metrics({"x": 0.5}, step)
        log.log_text("early_stopping", "at last", 9)
    with TrainingLogger(tmp_path) as log:
        for step in (0, 2, 4):
            log.log_metrics({"x": 0.25}, step)
        log.log_text("note", "too late", 4)
    with TrainingLogger(tmp_path, resume_step=2) as log:
        log.log_metrics({"x": 0.25}, 3)
    assert [line["step"] for line in lines(tmp_path / "metrics.jsonl")] == [0, 5, 9, 0, 2, 3]
    assert [line["step"] for line in lines(tmp_path / "text.jsonl")] == [9]


def test_what_is_logged_once_is_not_repeated_and_a_line_cut_off_goes(tmp_path):
    with TrainingLogger(tmp_path) as log:
        log.log_metrics({"x": 0.5, "y": math.nan}, 3)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "ti')
    for step in (3, 3, 4, 3):
        with TrainingLogger(tmp_path) as log:
            log.log_metrics({"x": 0.5, "y": math.nan}, step, once=True)
    assert [line["step"] for line in lines(tmp_path / "metrics.jsonl")] == [3, 4, 3]


def test_config_of_every_kind_is_kept(tmp_path):
    for config in (TiRGNTrainingConfig(), TiRGNTrainingConfig(), {"seed": 1}, None):
        TrainingLogger(tmp_path, config=config).close()
    assert json.loads((tmp_path / "config.1.json").read_text()) == TiRGNTrainingConfig().to_dict()
    assert json.loads((tmp_path / "config.2.json").read_text()) == {"seed": 1}
    assert json.loads((tmp_path / "config.json").read_text()) == {}


def test_a_second_run_adds_to_the_first(tmp_path):
    for step in (1, 2):
        with TrainingLogger(tmp_path) as log:
            log.log_metrics({"x": 0.5}, step)
    assert [line["step"] for line in lines(tmp_path / "metrics.jsonl")] == [1, 2]


def test_two_trainings_never_share_their_logs(tmp_path):
    with TrainingLogger(tmp_path) as log:
        log.log_metrics({"x": 0.5}, 1)
        with pytest.raises(ConfigError, match="another training writes its logs here; choose another --logdir"):
            TrainingLogger(tmp_path)
    with TrainingLogger(tmp_path) as log:
        log.log_metrics({"x": 0.5}, 2)
    assert [line["step"] for line in lines(tmp_path / "metrics.jsonl")] == [1, 2]


def test_closing(tmp_path):
    log = TrainingLogger(tmp_path)
    log.close()
    log.close()
    with pytest.raises(ValueError, match="closed"):
        log.log_metrics({"x": 1}, 0)
    with pytest.raises(ValueError, match="closed"):
        log.log_text("x", "y", 0)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"logdir .*file/runs: cannot be written \(.*\); choose another"):
        TrainingLogger(tmp_path / "file" / "runs")


def test_without_a_key_wandb_is_left_alone(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "tirgn_eqx")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with TrainingLogger(tmp_path) as log:
        assert not log.tracker_active
    assert [record.getMessage() for record in caplog.records] == ["W&B not configured, TensorBoard only"]


def test_memory_is_none_where_the_backend_does_not_say(monkeypatch):
    import jax

    for stats, expected in ((None, None), ({}, None), ({"peak_bytes_in_use": 5}, 5)):
        device = types.SimpleNamespace(memory_stats=lambda stats=stats: stats)
        monkeypatch.setattr(jax, "local_devices", lambda device=device: [device])
        assert device_memory_bytes() == expected


FULL = """
import logging, resource, sys
logging.basicConfig(level=logging.WARNING, format="%(message)s")
from tirgn_eqx.tracking.logger import TrainingLogger
with TrainingLogger(sys.argv[1]) as log:
    log.log_metrics({"train/loss": 0.5}, 0)
    # From here on, no file may grow beyond 1000 bytes: what a full disk does, for this process alone.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    for step in range(1, 2000):
        log.log_metrics({"train/loss": 0.5}, step)
        log.log_text("note", "a text", step)
print("went on")
"""


def test_a_full_disk_costs_one_warning_for_each_file(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and done.stdout == "went on\n", done.stderr
    said = sorted(done.stderr.splitlines())
    assert len(said) == 3, done.stderr
    board = said.pop()
    assert board.startswith("TensorBoard is off from here on, the training goes on: ") and "File too large" in board
    for line, name in zip(said, ("metrics.jsonl", "text.jsonl")):
        assert line == f"{tmp_path}/{name} cannot be written (File too large) and ends here, the training goes on"
    # What was written before stays, and a run that goes on cuts the line that broke off.
    with TrainingLogger(tmp_path, resume_step=1) as log:
        log.log_metrics({"train/loss": 0.25}, 2)
    assert [line["step"] for line in lines(tmp_path / "metrics.jsonl")] == [0, 1, 2]
