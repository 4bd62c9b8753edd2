"""The log of a training: TensorBoard and JSON lines always, an experiment tracker when one is chosen."""

import contextlib
import json
import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO, cast

from tirgn_eqx.config import TrainingConfig
from tirgn_eqx.config.training_config import Tracker
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.storage.atomic_write import write_text
from tirgn_eqx.storage.locks import exclusive_lock
from tirgn_eqx.storage.strict_json import plain, to_json
from tirgn_eqx.tracking.background_writer import LogEntry
from tirgn_eqx.tracking.mlflow_writer import MlflowWriter
from tirgn_eqx.tracking.tensorboard_writer import TensorBoardWriter
from tirgn_eqx.tracking.tracker import TrackerWriter
from tirgn_eqx.tracking.trackio_writer import TrackioWriter
from tirgn_eqx.tracking.wandb_writer import WandbWriter

LOCK = ".log.lock"
TRACKERS: dict[str, type[TrackerWriter]] = {one.package: one for one in (WandbWriter, MlflowWriter, TrackioWriter)}
_log = logging.getLogger("tirgn_eqx")


class TrainingLogger:
    """Writes metrics and texts to TensorBoard, to JSON lines, and to an experiment tracker; a context manager.

    In `logdir` are TensorBoard event files; `metrics.jsonl` with one strict JSON object per `log_metrics` call (`step`,
    `time` in Unix seconds, and the metrics; NaN and infinities are null); `text.jsonl` likewise per `log_text` call;
    and `config.json`. Lines are written at once and appended to those of earlier runs.

    By default the tracker is Weights & Biases, when WANDB_API_KEY is set in the environment. Whether a tracker is
    offline, slow or failing, or the disk of the logs is full, the training goes on: one warning is logged, and what
    failed is not tried again.

    **Arguments:**

    - `logdir`: made where needed.
    - `project`, `run_name`: for the tracker.
    - `config`: the settings: a `TrainingConfig`, another dataclass, or a mapping.
    - `tracker`: as the setting of this name.
    - `tracker_timeout`: seconds that W&B may take to start, and that `close` waits for the tracker and TensorBoard.
    - `resume_step`: the step that a resumed run goes back to; what was logged after it is dropped. None for a new run.

    **Raises:** ConfigError when `logdir` cannot be written, or another training is writing there; for a tracker that
    was chosen by name and is not installed.

    ```python
    with TrainingLogger("runs/mine", config=config) as logger:
        logger.log_metrics({"train/loss": 2.5}, step=1)
    ```
    """

    def __init__(
        self,
        logdir: str | Path,
        project: str = "geopol-tkg",
        run_name: str | None = None,
        config: object = None,
        *,
        tracker: Tracker = "auto",
        tracker_timeout: int | float = 10,
        resume_step: int | None = None,
    ):
        check_tracker(tracker)
        self.logdir = Path(logdir)
        document = config.to_dict() if isinstance(config, TrainingConfig) else config
        self._config = cast(dict[str, object], plain({} if document is None else document))
        self._failed_files: set[str] = set()
        self._lock = contextlib.ExitStack()
        busy = ConfigError(f"logdir {self.logdir}: another training writes its logs here; choose another --logdir")
        try:
            self._lock.enter_context(exclusive_lock(self.logdir / LOCK, busy))
            # A new run drops only a line that was cut short.
            _truncate(self.logdir, math.inf if resume_step is None else resume_step)
            self._lines = {"metrics.jsonl": self._open("metrics.jsonl")}
            # A killed process may lose TensorBoard's last points but no line, so a resumed run purges all points and
            # writes them again from the lines.
            self._tensorboard = TensorBoardWriter(self.logdir, purge=resume_step is not None, timeout=tracker_timeout)
            self._save_config()
            if resume_step is not None:
                self._replay()
        except OSError as error:
            self._lock.close()
            reason = error.strerror or type(error).__name__
            raise ConfigError(f"logdir {self.logdir}: cannot be written ({reason}); choose another") from error
        if tracker == "auto":
            tracker = "wandb" if os.environ.get("WANDB_API_KEY") else "none"
            if tracker == "none":
                _log.info("W&B not configured, TensorBoard only")
        self._tracker = None
        if tracker in TRACKERS:
            self._tracker = TRACKERS[tracker](
                tracker_timeout, project=project, name=run_name, config=self._config, folder=self.logdir
            )
        self._closed = False

    @property
    def tracker_active(self) -> bool:
        """Whether there is a tracker and it has not failed so far."""
        return self._tracker is not None and self._tracker.active

    def log_metrics(self, metrics: Mapping[str, object], step: int, *, once: bool = False) -> None:
        """Log numbers by name (Python, NumPy or JAX scalars) at `step`.

        **Arguments:** `once`: do nothing when the last line is the same but for its time.
        """
        self._check_open()
        values = {name: _number(name, value) for name, value in metrics.items()}
        if not (once and self._is_last_line({"step": step, **values})):
            self._log("metrics.jsonl", values, step)

    def log_text(self, tag: str, text: str, step: int) -> None:
        """Log a text at `step`; TensorBoard shows it as Markdown."""
        self._check_open()
        self._log("text.jsonl", {tag: text}, step)

    def close(self) -> None:
        """Write out everything; closing twice does nothing."""
        self._close(failed=False)

    def __enter__(self) -> "TrainingLogger":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._close(failed=kind is not None)

    def _close(self, failed: bool) -> None:
        if self._closed:
            return
        self._closed = True
        for file in self._lines.values():
            with contextlib.suppress(OSError):  # `_line` has warned
                file.close()
        self._tensorboard.close(failed)
        self._lock.close()
        if self._tracker:
            self._tracker.close(failed)

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("this TrainingLogger is closed; make a new one to log more")

    def _open(self, name: str) -> TextIO:
        # Line buffering, so that a killed process loses no whole line.
        return open(self.logdir / name, "a", buffering=1, encoding="utf-8")

    def _log(self, name: str, values: Mapping[str, int | float | str], step: int) -> None:
        """Append a line to the file `name`, and send the same to TensorBoard and the tracker."""
        entry = LogEntry(values, step, time.time())
        self._line(name, {"step": step, "time": entry.time, **values})
        self._tensorboard.send(entry)
        if self._tracker:
            self._tracker.send(entry)

    def _line(self, name: str, record: Mapping[str, object]) -> None:
        """Append a line to a file, unless that failed before."""
        if name in self._failed_files:
            return
        try:
            if name not in self._lines:
                self._lines[name] = self._open(name)
            self._lines[name].write(to_json(record) + "\n")
        except OSError as error:
            self._failed_files.add(name)
            reason = error.strerror or error
            _log.warning("%s cannot be written (%s) and ends here, the training goes on", self.logdir / name, reason)

    def _is_last_line(self, record: Mapping[str, object]) -> bool:
        """Whether the last line of the metrics is `record` and a time."""
        lines = (self.logdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        # Compared as JSON, where NaN is null on both sides.
        try:
            last = json.loads(lines[-1]) if lines else {}
            return last == json.loads(to_json(record)) | {"time": last.get("time")}
        except ValueError:  # cut short when the disk was full
            return False

    def _replay(self) -> None:
        """Send the lines of the files to TensorBoard, each with its own time."""
        for name in ("metrics.jsonl", "text.jsonl"):
            path = self.logdir / name
            for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
                record = json.loads(line)
                step, when = record.pop("step"), record.pop("time")
                # Wait for room, because a long log has more lines than the queue holds.
                self._tensorboard.send(LogEntry(record, step, when), wait=10)

    def _save_config(self) -> None:
        """Write `config.json`; one with other settings, of an earlier run, is kept as `config.N.json`."""
        path, text = self.logdir / "config.json", to_json(self._config, indent=2) + "\n"
        if path.exists() and path.read_text(encoding="utf-8") != text:
            number = 1
            while (kept := path.with_name(f"config.{number}.json")).exists():
                number += 1
            path.rename(kept)
        write_text(path, text)
        self._tensorboard.send(LogEntry({"config": f"```json\n{text}```"}, 0, time.time()))


def check_tracker(tracker: Tracker) -> None:
    """**Raises:** ConfigError for a tracker that was chosen by name and is not installed.

    Without a choice, a missing one costs no more than a warning.
    """
    if tracker in TRACKERS:
        TRACKERS[tracker].check_installed()


class NullLogger(contextlib.AbstractContextManager["NullLogger"]):
    """Takes the place of a `TrainingLogger` in processes that do not log."""

    def __exit__(self, *error: object) -> None:
        return None

    def log_metrics(self, metrics: Mapping[str, object], step: int, *, once: bool = False) -> None:
        """Do nothing."""

    def log_text(self, tag: str, text: str, step: int) -> None:
        """Do nothing."""


def _truncate(logdir: Path, step: int | float) -> None:
    """Drop what the last run logged after `step`, and a line that was cut short.

    These are the last lines of a file: a run starts to log at step 0, and lines before that belong to earlier runs.
    """
    since = -math.inf
    for name in ("metrics.jsonl", "text.jsonl"):
        path = logdir / name
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        kept = len(lines)
        while kept:
            whole = lines[kept - 1].endswith("\n")
            # A line that was cut short counts as later than all others, so that it is dropped.
            line = json.loads(lines[kept - 1]) if whole else {"step": math.inf, "time": math.inf}
            # The last text may belong to an earlier run; it is then older than the last metrics that are kept.
            if (line["step"] <= step and line["time"] < math.inf) or line["time"] <= since:
                since = max(since, line["time"])
                break
            kept -= 1
        if kept < len(lines):
            write_text(path, "".join(lines[:kept]))


def _number(name: str, value: object) -> int | float:
    """`value` as a Python number."""
    # Scalars of NumPy and JAX, so that neither must be imported here.
    number = value.item() if getattr(value, "size", None) == 1 else value  # pyright: ignore[reportAttributeAccessIssue]
    if not isinstance(number, (int, float)):
        raise TypeError(f"metric {name!r} must be one number, not {type(value).__name__} {value!r:.60}")
    return number


def device_memory_bytes() -> int | None:
    """Peak memory in use on the first device, in bytes; None where the backend does not say (CPU)."""
    import jax

    stats = jax.local_devices()[0].memory_stats()
    return None if stats is None else stats.get("peak_bytes_in_use")
