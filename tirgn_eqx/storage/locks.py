"""Exclusive locks between processes; the system releases them however their holders end."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
# An attempt on a file that its holder deletes meanwhile fails although the lock is free, so that a few are made.
_ATTEMPT_SECONDS = 0.2


@contextmanager
def exclusive_lock(path: str | Path, busy: Exception | None = None) -> Iterator[None]:
    """Hold the lock file `path` in a `with` statement. Its holder may delete it.

    **Arguments:** `path`: its folder is made where needed; `busy`: the error while another holds the lock; None: wait
    for it.

    **Raises:** `busy`; OSError when the file cannot be written, or its filesystem has no locks.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = native_lock(path)
    try:
        lock.acquire(-1 if busy is None else _ATTEMPT_SECONDS)
    except Timeout:
        assert busy is not None
        raise busy from None
    except OSError as error:
        if error.errno in NO_LOCKS:
            raise OSError(error.errno, "Its filesystem has no file locks", str(path)) from error
        raise
    try:
        yield
    finally:
        lock.release()


def is_locked(path: str | Path) -> bool:
    """Whether somebody holds the lock file `path` now; False where it is missing or cannot be opened."""
    if not os.path.exists(path):
        return False
    try:
        with native_lock(path).acquire(_ATTEMPT_SECONDS):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def native_lock(path: str | Path) -> FileLock:
    """A lock of the operating system, never a marker file, which a killed holder would leave behind."""
    return FileLock(path, poll_interval=0.02, thread_local=False, fallback_to_soft=False)
