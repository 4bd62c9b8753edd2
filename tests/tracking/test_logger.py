import json
import logging
import math
import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.tracking.logger import TrainingLogger, device_memory_bytes
from tirgn_eqx.tracking.wandb_writer import WandbWriter

ROOT = Path(__file__).parents[2]
KEY = "0123456789" * 4


@pytest.fixture(autouse=True)
def no_wandb(monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


def lines(path):
    def refuse(word):
        return pytest.fail(f"{word} is not strict JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_it_back(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with TrainingLogger(tmp_path, config={"seed": 3}) as log:
        for step in (1, 2, 3):
            log.log_metrics({"train/loss": 1 / step, "eval/mrr": 0.25 * step}, step)
        log.log_metrics({"train/loss": math.nan}, 4)
        log.log_text("summary", "**done**", 4)
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"train/loss", "eval/mrr"}
    loss = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert loss[:3] == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))] and math.isnan(loss[3][1])
    texts = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0] for tag in events.Tags()["tensors"]}
    assert texts["summary/text_summary"] == b"**done**"
    assert b'"seed": 3' in texts["config/text_summary"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_run_that_goes_on_gives_tensorboard_what_a_kill_had_lost(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with TrainingLogger(tmp_path) as log:
        for step in (1, 2, 3):
            log.log_metrics({"train/loss": 1 / step, "eval/mrr": math.nan}, step)
        log.log_text("note", "kept", 2)
    (events,) = tmp_path.glob("events.*")

    def points(board):
        return [(event.step, event.value, event.wall_time) for event in board.Scalars("train/loss")]

    whole = accumulator.EventAccumulator(str(tmp_path)).Reload()
    before = points(whole)
    content = events.read_bytes()
    events.write_bytes(content[: len(content) // 2])
    with TrainingLogger(tmp_path, resume_step=2) as log:
        log.log_metrics({"train/loss": 0.125}, 3)
    board = accumulator.EventAccumulator(str(tmp_path)).Reload()
    found = points(board)
    assert found[:2] == before[:2] and [row[:2] for row in found[2:]] == [(3, 0.125)]
    assert [event.step for event in board.Scalars("eval/mrr")] == [1, 2]
    assert [event.step for event in board.Tensors("note/text_summary")] == [2]


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
        assert not log.wandb_active
    assert [record.getMessage() for record in caplog.records] == ["W&B not configured, TensorBoard only"]


def test_memory_is_none_where_the_backend_does_not_say(monkeypatch):
    import jax

    for stats, expected in ((None, None), ({}, None), ({"peak_bytes_in_use": 5}, 5)):
        device = types.SimpleNamespace(memory_stats=lambda stats=stats: stats)
        monkeypatch.setattr(jax, "local_devices", lambda device=device: [device])
        assert device_memory_bytes() == expected


class FakeWandb(types.ModuleType):
    """A wandb that raises or hangs where it is told to, and remembers what it was told."""

    def __init__(self, raises="", hangs=""):
        super().__init__("wandb")
        self.raises, self.hangs, self.calls = raises, hangs, []
        self.release = threading.Event()
        self.Settings = types.SimpleNamespace

    def _call(self, name, *values):
        self.calls.append((name, *values))
        if name == self.raises:
            raise SystemExit("no\nway") if name == "finish" else RuntimeError("no\nway")
        if name == self.hangs:
            self.release.wait(20)

    def init(self, **options):
        self._call("init", options)
        return self

    def log(self, values, step):
        self._call("log", values, step)

    def finish(self, exit_code):
        self._call("finish", exit_code)


@pytest.fixture
def fake(monkeypatch):
    made = []

    def install(**options):
        module = FakeWandb(**options)
        made.append(module)
        monkeypatch.setitem(sys.modules, "wandb", module)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        return module

    yield install
    for module in made:
        module.release.set()


def test_wandb_gets_everything_in_order(tmp_path, fake, caplog):
    module = fake()
    with TrainingLogger(tmp_path, "project", "run", {"seed": 1}) as log:
        log.log_metrics({"a": 1}, 2)
        log.log_text("note", "text", 1)
    (_, options), *logged, finish = module.calls
    assert (options["project"], options["name"], options["config"]) == ("project", "run", {"seed": 1})
    assert options["settings"].init_timeout == 10
    assert logged == [("log", {"a": 1}, 2), ("log", {"note": "text"}, 2)]
    assert finish == ("finish", 0)
    assert not warnings_of(caplog)


def test_wandb_hears_of_a_failed_training(tmp_path, fake):
    module = fake()
    with pytest.raises(KeyboardInterrupt), TrainingLogger(tmp_path):
        raise KeyboardInterrupt
    assert module.calls[-1] == ("finish", 1)


def run(folder):
    with TrainingLogger(folder, wandb_timeout=0.2) as log:
        for step in range(5):
            log.log_metrics({"x": step}, step)
        log.log_text("note", "text", 5)
    assert not log.wandb_active
    assert len(lines(folder / "metrics.jsonl")) == 5


@pytest.mark.parametrize("call", ["init", "log", "finish"])
def test_wandb_that_raises_is_dropped(tmp_path, fake, caplog, call):
    fake(raises=call)
    run(tmp_path)
    (warning,) = warnings_of(caplog)
    assert "W&B is off" in warning and ": no" in warning and "\n" not in warning


def test_the_warning_is_written_before_wandb_counts_as_off(tmp_path, fake, monkeypatch):
    fake(raises="log")
    seen = []
    with TrainingLogger(tmp_path) as log:
        handler = logging.Handler()
        handler.emit = lambda record: seen.append(log.wandb_active)
        monkeypatch.setattr(logging.getLogger("tirgn_eqx"), "handlers", [handler])
        log.log_metrics({"x": 1}, 1)
    assert seen == [True] and not log.wandb_active


@pytest.mark.parametrize("call", ["init", "log", "finish"])
def test_wandb_that_hangs_is_dropped(tmp_path, fake, caplog, call):
    fake(hangs=call)
    run(tmp_path)
    (warning,) = warnings_of(caplog)
    assert "not finished after 0.2 s" in warning


def test_wandb_that_falls_behind_is_dropped(tmp_path, fake, caplog, monkeypatch):
    monkeypatch.setattr(WandbWriter, "capacity", 3)
    fake(hangs="log")
    run(tmp_path)
    assert ["3 records behind" in warning for warning in warnings_of(caplog)] == [True]


def test_wandb_that_is_not_installed(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    run(tmp_path)
    (warning,) = warnings_of(caplog)
    assert "pip install 'tirgn-eqx[wandb]'" in warning


@pytest.mark.filterwarnings("ignore")
def test_the_real_wandb_offline(tmp_path, monkeypatch, caplog):
    pytest.importorskip("wandb", reason="wandb is not installed")
    caplog.set_level(logging.INFO, "tirgn_eqx")
    for name, value in {"API_KEY": KEY, "MODE": "offline", "SILENT": "true"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.chdir(tmp_path)
    with TrainingLogger(tmp_path / "run", config={"seed": 1}, wandb_timeout=60) as log:
        log.log_metrics({"train/loss": 1.0, "eval/mrr": math.nan}, 1)
        log.log_text("note", "text", 0)
    assert log.wandb_active, caplog.text
    (written,) = (tmp_path / "run").glob("wandb/offline-run-*/*.wandb")
    assert written.stat().st_size > 0
    assert "offline-run-" in caplog.text


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
