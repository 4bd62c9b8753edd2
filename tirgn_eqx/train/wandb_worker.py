"""Weights & Biases at arm's length: a daemon thread makes every call, so none can stall a training."""

import logging
import queue
import threading
import time
from typing import Any

_log = logging.getLogger("tirgn_eqx")
_QUEUE = 4096


class WandbWorker:
    """A W&B run fed through a bounded queue; after the first failure it is left alone.

    **Arguments:** `timeout`: seconds that the start may take, and that `close` waits; `init`: arguments of
    `wandb.init`.
    """

    def __init__(self, timeout: int | float, **init: Any):
        self.active = True
        self._timeout = timeout
        self._init = init
        self._lock = threading.Lock()
        self._queue: queue.Queue[tuple[dict[str, Any], int] | int] = queue.Queue(_QUEUE)
        self._done = threading.Event()
        threading.Thread(target=self._work, name="wandb", daemon=True).start()

    def send(self, values: dict[str, Any], step: int) -> None:
        """Queues `values` for `step`; returns at once."""
        if not self.active:
            return
        try:
            self._queue.put_nowait((values, step))
        except queue.Full:
            self._give_up(f"it is {_QUEUE} records behind")

    def close(self, failed: bool) -> None:
        """Waits, not longer than the timeout, until everything is handed over and the run is finished."""
        if not self.active:
            return
        until = time.monotonic() + self._timeout
        try:
            self._queue.put(int(failed), timeout=self._timeout)
        except queue.Full:
            pass
        if not self._done.wait(max(0.0, until - time.monotonic())):
            self._give_up(f"not finished after {self._timeout:g} s; `wandb sync` may send the rest")

    def _work(self) -> None:
        run = None
        # BaseException: wandb may leave by SystemExit, and nothing of it may reach the training
        try:
            import wandb

            run = wandb.init(settings=_settings(wandb, self._timeout), **self._init)
            offline = getattr(run, "offline", False)
            _log.info("W&B run: %s", getattr(run, "dir" if offline else "url", None))
            exit_code, latest = 1, 0
            while self.active:
                item = self._queue.get()
                if isinstance(item, int):
                    exit_code = item
                    break
                # wandb drops what comes with a smaller step than the one before
                latest = max(latest, item[1])
                run.log(item[0], step=latest)
            run.finish(exit_code=exit_code)
        except ImportError as error:
            self._give_up(f"{error}; install it with: pip install 'tirgn-eqx[wandb]'")
        except BaseException as error:
            self._give_up(f"{type(error).__name__}: {error}")
        finally:
            self._done.set()

    def _give_up(self, reason: str) -> None:
        """Says once why there will be no more W&B."""
        with self._lock:
            if not self.active:
                return
            self.active = False
        first_line = reason.strip().splitlines()[0]
        _log.warning("W&B is off from here on, the training and TensorBoard go on: %s", first_line)


def _settings(wandb: Any, timeout: int | float) -> Any:
    """Bounded waits, and nothing printed or captured: the terminal belongs to the program."""
    wanted = {"init_timeout": timeout, "finish_timeout": timeout, "silent": True, "console": "off"}
    known = getattr(wandb.Settings, "model_fields", wanted)
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known})
