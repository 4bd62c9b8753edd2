"""Exclusive locks: between processes and threads, on files that their holders delete, and where there are none."""

import errno
import os
import subprocess
import sys
import threading
import time

import pytest
from filelock import FileLock

from tirgn_eqx.storage.locks import exclusive_lock, is_locked

HOLD = """
import sys
from tirgn_eqx.storage.locks import exclusive_lock
with exclusive_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_told_until_the_holder_dies(tmp_path):
    place, busy = tmp_path / "deep" / ".lock", RuntimeError("busy")
    paths = os.pathsep.join(map(os.path.abspath, sys.path))
    command = [sys.executable, "-c", HOLD, str(place)]
    environment = os.environ | {"PYTHONPATH": paths}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        assert is_locked(place)
        with pytest.raises(RuntimeError, match="busy"), exclusive_lock(place, busy):
            pass
        holder.kill()
        with exclusive_lock(place):  # waits
            assert holder.wait(10) < 0
    assert not is_locked(place) and not is_locked(tmp_path / "missing")


def test_holders_that_delete_the_file_never_meet(tmp_path):
    place, inside, met = tmp_path / ".lock", [], []

    def hold():
        for _ in range(15):
            with exclusive_lock(place):
                inside.append(1)
                met.append(len(inside))
                time.sleep(0.001)
                inside.pop()
                place.unlink()

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert met == [1] * 60


def test_a_lock_whose_file_was_deleted_is_free_again(tmp_path):
    place, busy = tmp_path / ".lock", RuntimeError("busy")
    with exclusive_lock(place, busy):
        with pytest.raises(RuntimeError, match="busy"), exclusive_lock(place, busy):
            pass
        place.unlink()
    with exclusive_lock(place, busy):
        assert place.exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_a_filesystem_without_locks_is_named(tmp_path, monkeypatch, number):
    def refused(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(FileLock, "acquire", refused)
    with pytest.raises(OSError, match="no file locks"), exclusive_lock(tmp_path / ".lock", RuntimeError("busy")):
        pass
    (tmp_path / ".lock").touch()
    assert not is_locked(tmp_path / ".lock")
