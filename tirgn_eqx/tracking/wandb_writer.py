"""A Weights & Biases run, written in the background."""

import logging
from pathlib import Path
from types import ModuleType
from typing import Any

from tirgn_eqx.tracking.background_writer import BackgroundWriter, LogEntry

_log = logging.getLogger("tirgn_eqx")


class WandbWriter(BackgroundWriter):
    """Writes entries to a W&B run.

    **Arguments:** `timeout`: seconds that the start may take, and that `close` waits; `project`, `name`, `config`: of
    the run; `folder`: where W&B keeps its files.
    """

    unsent = "; `wandb sync` may send the rest"

    def __init__(
        self, timeout: int | float, *, project: str, name: str | None, config: dict[str, object], folder: Path
    ):
        self._project, self._run_name, self._config, self._folder = project, name, config, folder
        self._latest = 0
        super().__init__("W&B", "the training and TensorBoard go", timeout)

    def _start(self) -> None:
        import wandb

        self._run: wandb.Run = wandb.init(
            project=self._project,
            name=self._run_name,
            config=self._config,
            dir=str(self._folder),
            settings=_settings(wandb, self._timeout),
        )
        offline = getattr(self._run, "offline", False)
        _log.info("W&B run: %s", getattr(self._run, "dir" if offline else "url", None))

    def _write(self, entry: LogEntry) -> None:
        # W&B drops entries with a smaller step than the last one.
        self._latest = max(self._latest, entry.step)
        self._run.log(dict(entry.values), step=self._latest)

    def _finish(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))

    def _reason(self, error: BaseException) -> str:
        if isinstance(error, ImportError):
            return f"{error}; install it with: pip install 'tirgn-eqx[wandb]'"
        return super()._reason(error)


def _settings(wandb: ModuleType, timeout: int | float) -> Any:  # its class, of whatever version is installed
    """Bounded waits and no output: the terminal belongs to the program."""
    wanted = {"init_timeout": timeout, "finish_timeout": timeout, "silent": True, "console": "off"}
    # Versions of W&B know different settings and refuse the others.
    known = getattr(wandb.Settings, "model_fields", wanted)
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known})
