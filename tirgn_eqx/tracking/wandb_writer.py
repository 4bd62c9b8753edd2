"""A Weights & Biases run, written in the background."""

import logging
from typing import Any

from tirgn_eqx.tracking.background_writer import BackgroundWriter

_log = logging.getLogger("tirgn_eqx")


class WandbWriter(BackgroundWriter):
    """Writes (values by name, step) records to a W&B run.

    **Arguments:** `timeout`: seconds that the start may take, and that `close` waits; `init`: arguments of
    `wandb.init`.
    """

    unsent = "; `wandb sync` may send the rest"

    def __init__(self, timeout: int | float, **init: Any):
        self._init, self._latest = init, 0
        super().__init__("W&B", "the training and TensorBoard go", timeout)

    def _start(self) -> None:
        import wandb

        self._run: Any = wandb.init(settings=_settings(wandb, self._timeout), **self._init)
        offline = getattr(self._run, "offline", False)
        _log.info("W&B run: %s", getattr(self._run, "dir" if offline else "url", None))

    def _write(self, record: tuple[dict[str, Any], int]) -> None:
        values, step = record
        # W&B drops records with a smaller step than the last one.
        self._latest = max(self._latest, step)
        self._run.log(values, step=self._latest)

    def _finish(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))

    def _reason(self, error: BaseException) -> str:
        if isinstance(error, ImportError):
            return f"{error}; install it with: pip install 'tirgn-eqx[wandb]'"
        return super()._reason(error)


def _settings(wandb: Any, timeout: int | float) -> Any:
    """Bounded waits and no output: the terminal belongs to the program."""
    wanted = {"init_timeout": timeout, "finish_timeout": timeout, "silent": True, "console": "off"}
    # Versions of W&B know different settings and refuse the others.
    known = getattr(wandb.Settings, "model_fields", wanted)
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known})
