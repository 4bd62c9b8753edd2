"""What a writer in the background promises, whatever it writes to."""

import logging
import threading
import time

import pytest

from tests.tracking.log_files import warnings_of
from tirgn_eqx.tracking.background_writer import BackgroundWriter, LogEntry


class ListWriter(BackgroundWriter):
    """Writes to a list, and fails or waits where it is told to."""

    def __init__(self, fails="", timeout=5):
        self.calls, self.fails, self.go_on = [], fails, threading.Event()
        super().__init__("the list", "everything goes", timeout)

    def _call(self, name, *values):
        self.calls.append((name, *values))
        if name == self.fails:
            raise SystemExit(f"no {name}\nsecond line")

    def _start(self):
        self._call("start")
        self.go_on.wait(20)

    def _write(self, entry):
        self._call("write", entry.step)

    def _flush(self):
        self._call("flush")

    def _finish(self, failed):
        self._call("finish", failed)

    def _release(self):
        self._call("release")


def until(true):
    deadline = time.monotonic() + 5
    while not true() and time.monotonic() < deadline:
        time.sleep(0.001)


def entry(step):
    return LogEntry({"x": 0.5}, step, 1.0)


def test_everything_is_written_in_order_before_it_is_closed(caplog):
    writer = ListWriter()
    for step in range(3):
        writer.send(entry(step))
    writer.go_on.set()
    until(lambda: ("flush",) in writer.calls)
    writer.send(entry(3))
    writer.close(failed=True)
    # Flushed when nothing more is waiting, and not after every entry.
    assert writer.calls[:5] == [("start",), ("write", 0), ("write", 1), ("write", 2), ("flush",)]
    assert writer.calls[5] == ("write", 3) and writer.calls[-1] == ("finish", True)
    assert writer.active and not warnings_of(caplog)


@pytest.mark.parametrize("call", ["start", "write", "flush", "finish"])
def test_a_failure_is_one_warning_and_frees_what_was_held(caplog, call):
    writer = ListWriter(fails=call)
    writer.go_on.set()
    if call != "finish":
        writer.send(entry(0))
        until(lambda: not writer.active)
    writer.send(entry(1))
    writer.close(failed=False)
    writer.send(entry(2))
    writer.close(failed=False)
    assert not writer.active and writer._done.wait(5) and writer.calls[-1] == ("release",)
    assert warnings_of(caplog) == [f"the list is off from here on, everything goes on: SystemExit: no {call}"]


def test_a_full_queue_switches_it_off(caplog, monkeypatch):
    monkeypatch.setattr(ListWriter, "capacity", 2)
    writer = ListWriter()
    for step in range(4):
        writer.send(entry(step))
    assert warnings_of(caplog) == ["the list is off from here on, everything goes on: it is 2 records behind"]
    writer.go_on.set()


def test_a_wait_for_room_loses_nothing(caplog, monkeypatch):
    monkeypatch.setattr(ListWriter, "capacity", 1)
    writer = ListWriter()
    threading.Timer(0.1, writer.go_on.set).start()
    for step in range(5):
        writer.send(entry(step), wait=10)
    writer.close(failed=False)
    assert [call[1] for call in writer.calls if call[0] == "write"] == list(range(5)) and not warnings_of(caplog)


def test_closing_waits_no_longer_than_the_timeout(caplog, monkeypatch):
    monkeypatch.setattr(ListWriter, "unsent", "; the rest is lost")
    writer = ListWriter(timeout=0.1)
    begin = time.monotonic()
    writer.close(failed=False)
    assert 0.1 <= time.monotonic() - begin < 2
    (warning,) = warnings_of(caplog)
    assert warning.endswith(": not finished after 0.1 s; the rest is lost")
    writer.go_on.set()


def test_the_warning_is_given_before_the_writer_counts_as_off(monkeypatch):
    seen, writer = [], ListWriter(fails="write")
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(writer.active)
    monkeypatch.setattr(logging.getLogger("tirgn_eqx"), "handlers", [handler])
    writer.go_on.set()
    writer.send(entry(0))
    assert writer._done.wait(5) and seen == [True] and not writer.active
