"""The study file: optuna's journal, one JSON line for every change, written by several processes and hosts.

Every line is written under a lock of the operating system, which is released when its holder dies, so a killed process
blocks nobody. What it left of an unfinished line is cut off before the next one.
"""

import contextlib
import logging
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.storage.json_lines import truncate_partial_line
from tirgn_eqx.storage.locks import NO_LOCKS, exclusive_lock, native_lock
from tirgn_eqx.storage.untrusted import check_regular, parse_json, told

if TYPE_CHECKING:
    import optuna

_FIRST = b'{"op_code":'  # how a journal begins


def import_optuna() -> None:
    """Import optuna and silence it, before anything else of it is used.

    **Raises:** ConfigError where it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "a search needs optuna, which is not installed; install it with: pip install 'tirgn-eqx[tune]'"
        ) from error
    # Optuna logs to stderr by default, and this library never prints.
    optuna.logging.disable_default_handler()
    logging.getLogger("optuna").setLevel(logging.ERROR)


class JournalLock:
    """An exclusive lock on the file `path`, with the methods that optuna's journal calls. **Arguments:**
    `on_acquire`: called once the lock is held."""

    def __init__(self, path: Path, on_acquire: Callable[[], None]):
        self._lock, self._on_acquire = native_lock(path), on_acquire

    def acquire(self) -> bool:
        """Wait for the lock and take it."""
        self._lock.acquire()
        try:
            self._on_acquire()
        # Ctrl-C included: a worker that lives on must not keep the lock.
        except BaseException:
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        """Give the lock back; nothing happens when it is not held."""
        self._lock.release()


def study_lock(path: Path) -> AbstractContextManager[None]:
    """The lock under which one worker at a time decides which trial is next and which files stay."""
    return exclusive_lock(_hidden(path, "turn"))


def open_storage(path: Path) -> "optuna.storages.JournalStorage":
    """The journal at `path` as optuna's storage; it is made where there is none.

    **Raises:** DataError for a file that is no journal, or cannot be read or written.
    """
    import_optuna()
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _check(path)
        if not locks_work(_hidden(path, "probe")):
            raise DataError(f"{path}: its filesystem has no file locks to keep workers apart; choose another --study")
        guard = JournalLock(_hidden(path, "lock"), lambda: truncate_partial_line(path))
        # A subclass of optuna's lock would import optuna with this module; the methods are all that is called.
        return JournalStorage(JournalFileBackend(str(path), lock_obj=guard))  # pyright: ignore[reportArgumentType]
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise DataError(f"{path}: cannot be used as a study ({reason}); choose another --study") from error
    # Optuna takes the fields of a line as they are, so lines of another form raise any of these.
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, OverflowError) as error:
        raise DataError(f"{path}: is no study of tirgn tune ({told(error)}); choose another --study") from error


def locks_work(path: Path) -> bool:
    """Whether a lock that one file handle has is refused to another one. A file next to `path` is made for the test and
    removed."""
    # Under one name, a second worker that tests at the same time would remove the file between the two attempts.
    path = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        # Some filesystems grant every lock. These belong to file handles, so that one process can ask twice.
        with native_lock(path).acquire(0), native_lock(path).acquire(0):
            return False
    except Timeout:
        return True
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def _hidden(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{suffix}")


def _check(path: Path) -> None:
    """**Raises:** DataError for a file with a line that does not belong in a journal."""
    check_regular(path)
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            # A last line without an end is being written, or was when its writer died.
            if not line.endswith(b"\n") and (number > 1 or _FIRST.startswith(line[: len(_FIRST)])):
                continue
            try:
                found = parse_json(line)
            except ValueError:
                found = None
            if not (isinstance(found, dict) and isinstance(found.get("op_code"), int)):
                raise DataError(f"{path}:{number}: no line of a study; choose another --study")
