"""Where a training's records go at arm's length: a daemon thread makes every call, so none can stall the training."""

import contextlib
import logging
import queue
import threading
import time
from typing import Any

_log = logging.getLogger("tirgn_eqx")


class Outlet:
    """Takes records through a bounded queue; after the first failure it is left alone, with one warning.

    What an outlet is follows from three methods, which its thread calls: `_start`, `_write` for every record, and
    `_finish`. Whatever they raise ends the outlet and nothing else.

    **Arguments:** `name`: for the warning; `rest`: what goes on without it; `timeout`: seconds that `close` waits.
    """

    capacity = 4096  # records that may wait
    unsent = ""  # what becomes of records that were not written in time

    def __init__(self, name: str, rest: str, timeout: int | float):
        self.active = True
        self._name, self._rest, self._timeout = name, rest, timeout
        self._lock = threading.Lock()
        self._queue: queue.Queue[tuple[bool, Any]] = queue.Queue(self.capacity)
        self._done = threading.Event()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def send(self, record: Any, *, wait: int | float = 0) -> None:
        """Queues a record, waiting at most so many seconds where there is no room."""
        if not self.active:
            return
        try:
            self._queue.put((True, record), block=wait > 0, timeout=wait or None)
        except queue.Full:
            self._give_up(f"it is {self.capacity} records behind")

    def close(self, failed: bool) -> None:
        """Waits, not longer than the timeout, until everything is written; `failed`: how the training ended."""
        if not self.active:
            return
        until = time.monotonic() + self._timeout
        try:
            self._queue.put((False, failed), timeout=self._timeout)
        except queue.Full:
            pass
        if not self._done.wait(max(0.0, until - time.monotonic())):
            self._give_up(f"not finished after {self._timeout:g} s{self.unsent}")

    def _start(self) -> None:
        raise NotImplementedError

    def _write(self, record: Any) -> None:
        raise NotImplementedError

    def _finish(self, failed: bool) -> None:
        raise NotImplementedError

    def _abandon(self) -> None:
        """Called when it was given up: lets go of what it holds."""

    def _idle(self) -> None:
        """Called whenever the queue is empty."""

    def _work(self) -> None:
        finished = False
        # BaseException: W&B may leave by SystemExit, and nothing of an outlet may reach the training.
        try:
            self._start()
            while self.active:
                more, record = self._queue.get()
                if not more:
                    self._finish(record)
                    finished = True
                    break
                self._write(record)
                if self._queue.empty():
                    self._idle()
        except BaseException as error:
            self._give_up(self._reason(error))
        finally:
            if not finished:
                with contextlib.suppress(BaseException):
                    self._abandon()
            self._done.set()

    def _reason(self, error: BaseException) -> str:
        """Why it failed, in words."""
        return f"{type(error).__name__}: {error}"

    def _give_up(self, reason: str) -> None:
        """Says once why there will be no more of it."""
        first_line = (reason.strip().splitlines() or ["no reason given"])[0]
        with self._lock:
            if not self.active:
                return
            # Said before it counts as off: a program that sees it off and ends has not lost the warning.
            _log.warning("%s is off from here on, %s on: %s", self._name, self._rest, first_line)
            self.active = False
