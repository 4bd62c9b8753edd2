"""A writer whose calls are all made by a daemon thread, so that a slow or failing backend cannot stall the training."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

_log = logging.getLogger("tirgn_eqx")


@dataclass(frozen=True)
class LogEntry:
    """Numbers and texts by name at a step; `time` in Unix seconds.

    None stands for NaN and infinities in entries that were read from JSON again.
    """

    values: Mapping[str, int | float | str | None]
    step: int
    time: float


@dataclass(frozen=True)
class _End:
    """What `close` puts behind all entries; `failed`: whether the training ended in an error."""

    failed: bool


class BackgroundWriter:
    """Takes entries through a bounded queue. The first failure switches it off, with one warning.

    A subclass says what to do with the entries in three methods, which the thread calls: `_start`, `_write` for every
    entry, and `_finish`. Exceptions that they raise switch the writer off and reach nothing else.

    **Arguments:** `name`: the backend, for the warning; `rest`: what continues without it; `timeout`: seconds that
    `close` waits.
    """

    capacity = 4096  # entries that may wait in the queue
    unsent = ""  # for the warning: how to recover entries that were not written in time

    def __init__(self, name: str, rest: str, timeout: int | float):
        self.active = True
        self._name, self._rest, self._timeout = name, rest, timeout
        self._lock = threading.Lock()
        self._queue: queue.Queue[LogEntry | _End] = queue.Queue(self.capacity)
        self._done = threading.Event()
        # A daemon thread does not keep the process alive when the backend hangs.
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def send(self, entry: LogEntry, *, wait: int | float = 0) -> None:
        """Queue an entry, waiting at most `wait` seconds for room."""
        if not self.active:
            return
        try:
            self._queue.put(entry, block=wait > 0, timeout=wait or None)
        except queue.Full:
            self._switch_off(f"it is {self.capacity} records behind")

    def close(self, failed: bool) -> None:
        """Wait until everything is written, at most the timeout; `failed`: whether the training ended in an error."""
        if not self.active:
            return
        # Both waits together take at most the timeout.
        until = time.monotonic() + self._timeout
        with contextlib.suppress(queue.Full):
            # It is queued behind all entries, so that they are written before the thread ends.
            self._queue.put(_End(failed), timeout=self._timeout)
        if not self._done.wait(max(0.0, until - time.monotonic())):
            self._switch_off(f"not finished after {self._timeout:g} s{self.unsent}")

    def _start(self) -> None:
        raise NotImplementedError

    def _write(self, entry: LogEntry) -> None:
        raise NotImplementedError

    def _finish(self, failed: bool) -> None:
        raise NotImplementedError

    def _release(self) -> None:
        """Called instead of `_finish` after a failure: frees resources."""

    def _flush(self) -> None:
        """Called whenever the queue is empty."""

    def _work(self) -> None:
        finished = False
        # BaseException: W&B may raise SystemExit, which must not reach the training either.
        try:
            self._start()
            while self.active:
                item = self._queue.get()
                if isinstance(item, _End):
                    self._finish(item.failed)
                    finished = True
                    break
                self._write(item)
                if self._queue.empty():
                    self._flush()
        except BaseException as error:
            self._switch_off(self._reason(error))
        finally:
            if not finished:
                with contextlib.suppress(BaseException):
                    self._release()
            self._done.set()

    def _reason(self, error: BaseException) -> str:
        """The reason of a failure, for the warning."""
        return f"{type(error).__name__}: {error}"

    def _switch_off(self, reason: str) -> None:
        first_line = (reason.strip().splitlines() or ["no reason given"])[0]
        with self._lock:
            if not self.active:
                return
            # Warn before `active` changes: a program that waits for the change and exits must not lose the warning.
            _log.warning("%s is off from here on, %s on: %s", self._name, self._rest, first_line)
            self.active = False
