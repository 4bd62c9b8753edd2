"""Where the figures of a training go: TensorBoard and JSON lines always, Weights & Biases when set up."""

import contextlib
import json
import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from tirgn_eqx.config import TrainingConfig
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.storage.files import alone, write_text
from tirgn_eqx.storage.strict_json import plain, to_json
from tirgn_eqx.tracking.tensorboard_writer import Board, Point
from tirgn_eqx.tracking.wandb_writer import WandbWorker

LOCK = ".log.lock"
_log = logging.getLogger("tirgn_eqx")


class TrainingLogger:
    """Writes metrics and texts to TensorBoard, to JSON lines, and to Weights & Biases; a context manager.

    In `logdir`: TensorBoard event files; `metrics.jsonl` with one strict JSON object per `log_metrics` call
    (`step`, `time` in unix seconds, and the metrics; NaN and infinities are null); `text.jsonl` likewise per
    `log_text` call; `config.json`. Lines reach the disk at once and are added to those of earlier runs.

    Weights & Biases is used when WANDB_API_KEY is set in the environment. Be it missing, offline, slow or
    failing, or the disk of the logs full, the training goes on: one warning is logged and what failed is left alone
    from then on.

    **Arguments:** `logdir`: made where needed; `project`, `run_name`: for Weights & Biases; `config`: the
    settings, a mapping or a dataclass; `wandb_timeout`: seconds that Weights & Biases may take to start, and
    that `close` waits for it, and for TensorBoard; `resume_step`: go on with the logs of a run that went back to this
    step, what was logged after it being dropped.

    Raises ConfigError when `logdir` cannot be written, or another training is writing there.
    """

    def __init__(
        self,
        logdir: str | Path,
        project: str = "geopol-tkg",
        run_name: str | None = None,
        config: Any = None,
        *,
        wandb_timeout: int | float = 10,
        resume_step: int | None = None,
    ):
        self.logdir = Path(logdir)
        document = config.to_dict() if isinstance(config, TrainingConfig) else config
        self._config = plain({} if document is None else document)
        self._given_up: set[str] = set()
        self._held = contextlib.ExitStack()
        busy = ConfigError(f"logdir {self.logdir}: another training writes its logs here; choose another --logdir")
        try:
            self._held.enter_context(alone(self.logdir / LOCK, busy))
            _cut(self.logdir, math.inf if resume_step is None else resume_step)
            self._lines = {"metrics.jsonl": self._open("metrics.jsonl")}
            # TensorBoard's writer may lose its last points when a process is killed; the lines lose none. So a run
            # that goes on drops all points (purge from step 0) and writes them again from the lines.
            self._board = Board(self.logdir, purge=resume_step is not None, timeout=wandb_timeout)
            self._save_config()
            if resume_step is not None:
                self._replay()
        except OSError as error:
            self._held.close()
            reason = error.strerror or type(error).__name__
            raise ConfigError(f"logdir {self.logdir}: cannot be written ({reason}); choose another") from error
        self._wandb = None
        if os.environ.get("WANDB_API_KEY"):
            self._wandb = WandbWorker(
                wandb_timeout, project=project, name=run_name, config=self._config, dir=str(self.logdir)
            )
        else:
            _log.info("W&B not configured, TensorBoard only")
        self._closed = False

    @property
    def wandb_active(self) -> bool:
        """Whether Weights & Biases is set up and has not failed so far."""
        return self._wandb is not None and self._wandb.active

    def log_metrics(self, metrics: Mapping[str, Any], step: int, *, once: bool = False) -> None:
        """Logs numbers by name (Python, NumPy or JAX scalars) at `step`; `once`: unless the last line says the same."""
        self._check_open()
        values = {name: _number(name, value) for name, value in metrics.items()}
        now = time.time()
        if once and self._said_last({"step": step, "time": now, **values}):
            return
        self._line("metrics.jsonl", {"step": step, "time": now, **values})
        self._board.send(Point(values, step, now))
        if self._wandb:
            self._wandb.send((values, step))

    def log_text(self, tag: str, text: str, step: int) -> None:
        """Logs a text, which TensorBoard shows as Markdown, at `step`."""
        self._check_open()
        now = time.time()
        self._line("text.jsonl", {"step": step, "time": now, tag: text})
        self._board.send(Point({tag: text}, step, now))
        if self._wandb:
            self._wandb.send(({tag: text}, step))

    def close(self) -> None:
        """Writes out everything; closing twice does nothing."""
        self._close(failed=False)

    def __enter__(self) -> "TrainingLogger":
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._close(failed=kind is not None)

    def _close(self, failed: bool) -> None:
        if self._closed:
            return
        self._closed = True
        for file in self._lines.values():
            with contextlib.suppress(OSError):  # said when it was written
                file.close()
        self._board.close(failed)
        self._held.close()
        if self._wandb:
            self._wandb.close(failed)

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("this TrainingLogger is closed; make a new one to log more")

    def _open(self, name: str) -> TextIO:
        return open(self.logdir / name, "a", buffering=1, encoding="utf-8")

    def _line(self, name: str, record: dict[str, Any]) -> None:
        """Adds a line to a file, unless that failed before."""
        if name in self._given_up:
            return
        try:
            if name not in self._lines:
                self._lines[name] = self._open(name)
            self._lines[name].write(to_json(record) + "\n")
        except OSError as error:
            self._given_up.add(name)
            reason = error.strerror or error
            _log.warning("%s cannot be written (%s) and ends here, the training goes on", self.logdir / name, reason)

    def _said_last(self, record: dict[str, Any]) -> bool:
        """Whether the last line of the metrics says what `record` does, at whatever time."""
        lines = (self.logdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        try:
            return bool(lines) and json.loads(lines[-1]) | {"time": record["time"]} == json.loads(to_json(record))
        except ValueError:  # broken off where the disk was full
            return False

    def _replay(self) -> None:
        """Put the lines of the files into TensorBoard, each at its own time."""
        for name in ("metrics.jsonl", "text.jsonl"):
            path = self.logdir / name
            for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
                record = json.loads(line)
                step, when = record.pop("step"), record.pop("time")
                self._board.send(Point(record, step, when), wait=10)

    def _save_config(self) -> None:
        """`config.json`; one of an earlier run with other settings is kept as `config.N.json`."""
        path, text = self.logdir / "config.json", to_json(self._config, indent=2) + "\n"
        if path.exists() and path.read_text(encoding="utf-8") != text:
            number = 1
            while (kept := path.with_name(f"config.{number}.json")).exists():
                number += 1
            path.rename(kept)
        write_text(path, text)
        self._board.send(Point({"config": f"```json\n{text}```"}, 0, time.time()))


class NoLogger(contextlib.AbstractContextManager):
    """In place of a `TrainingLogger` where another process logs."""

    def __exit__(self, *error: Any) -> None:
        return None

    def log_metrics(self, metrics: Mapping[str, Any], step: int, *, once: bool = False) -> None:
        """Nothing."""

    def log_text(self, tag: str, text: str, step: int) -> None:
        """Nothing."""


def _cut(logdir: Path, step: int | float) -> None:
    """Drop what the last run logged after `step`, and a line that was cut off in writing.

    Those are the last lines of a file: a run begins to log at step 0, and lines before that are of earlier runs.
    """
    since = -math.inf
    for name in ("metrics.jsonl", "text.jsonl"):
        path = logdir / name
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        kept = len(lines)
        while kept:
            whole = lines[kept - 1].endswith("\n")
            line = json.loads(lines[kept - 1]) if whole else {"step": math.inf, "time": math.inf}
            # Texts are rare: the last one may be of an earlier run, which the time of what was kept tells.
            if (line["step"] <= step and line["time"] < math.inf) or line["time"] <= since:
                since = max(since, line["time"])
                break
            kept -= 1
        if kept < len(lines):
            write_text(path, "".join(lines[:kept]))


def _number(name: str, value: Any) -> int | float:
    """`value` as a Python number."""
    number = value.item() if getattr(value, "size", None) == 1 else value
    if not isinstance(number, (int, float)):
        raise TypeError(f"metric {name!r} must be one number, not {type(value).__name__} {value!r:.60}")
    return number


def device_memory_bytes() -> int | None:
    """Peak memory in use on the first device, in bytes; None where the backend does not say (CPU)."""
    import jax

    stats = jax.local_devices()[0].memory_stats()
    return None if stats is None else stats.get("peak_bytes_in_use")
