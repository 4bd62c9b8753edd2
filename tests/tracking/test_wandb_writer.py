"""Weights & Biases gets what is logged; when it raises, hangs or is missing, the training goes on without it."""

import logging
import math
import sys
import threading
import types

import pytest

from tests.tracking.log_files import lines, warnings_of
from tirgn_eqx.tracking.logger import TrainingLogger
from tirgn_eqx.tracking.wandb_writer import WandbWriter

KEY = "0123456789" * 4


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
    with TrainingLogger(folder, tracker_timeout=0.2) as log:
        for step in range(5):
            log.log_metrics({"x": step}, step)
        log.log_text("note", "text", 5)
    assert not log.tracker_active
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
        handler.emit = lambda record: seen.append(log.tracker_active)
        monkeypatch.setattr(logging.getLogger("tirgn_eqx"), "handlers", [handler])
        log.log_metrics({"x": 1}, 1)
    assert seen == [True] and not log.tracker_active


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
    with TrainingLogger(tmp_path / "run", config={"seed": 1}, tracker_timeout=60) as log:
        log.log_metrics({"train/loss": 1.0, "eval/mrr": math.nan}, 1)
        log.log_text("note", "text", 0)
    assert log.tracker_active, caplog.text
    (written,) = (tmp_path / "run").glob("wandb/offline-run-*/*.wandb")
    assert written.stat().st_size > 0
    assert "offline-run-" in caplog.text
