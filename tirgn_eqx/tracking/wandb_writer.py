"""A Weights & Biases run, written in the background."""

import logging
from types import ModuleType
from typing import Any

from tirgn_eqx.tracking.background_writer import LogEntry
from tirgn_eqx.tracking.tracker import TrackerWriter

_log = logging.getLogger("tirgn_eqx")


class WandbWriter(TrackerWriter):
    """Writes entries to a W&B run; its files are kept in `folder`."""

    package, title = "wandb", "W&B"
    unsent = "; `wandb sync` may send the rest"
    _latest = 0

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


def _settings(wandb: ModuleType, timeout: int | float) -> Any:  # its class, of whatever version is installed
    """Bounded waits and no output: the terminal belongs to the program."""
    # Without a key, W&B would ask for one on the terminal, for as long as the login may take.
    waits = {"init_timeout": timeout, "finish_timeout": timeout, "login_timeout": timeout}
    wanted = waits | {"silent": True, "console": "off"}
    # Versions of W&B know different settings and refuse the others.
    known = getattr(wandb.Settings, "model_fields", wanted)
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known})
