"""The study file: optuna's journal, one JSON line for every change, which several processes and hosts write to.

Every line is written under a lock that the system takes back when its holder dies, so that a killed process blocks
nobody; what it left of an unfinished line is cut off before the next one.
"""

import contextlib
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.storage.locks import NO_LOCKS, native_lock
from tirgn_eqx.storage.untrusted import check_regular, parse_json, told

_FIRST = b'{"op_code":'  # how a journal begins


def import_optuna() -> Any:
    """The package optuna, silenced. **Raises:** ConfigError where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "a search needs optuna, which is not installed; install it with: pip install 'tirgn-eqx[tune]'"
        ) from error
    optuna.logging.disable_default_handler()
    logging.getLogger("optuna").setLevel(logging.ERROR)
    return optuna


class Lock:
    """A lock file that is waited for, in the form that optuna's journal takes. **Arguments:** `place`: the file;
    `mend`: called once the lock is held."""

    def __init__(self, place: Path, mend: Callable[[], None] = lambda: None):
        self.place, self.mend = place, mend
        self._held: FileLock | None = None

    def acquire(self) -> bool:
        lock = native_lock(self.place)
        lock.acquire()
        try:
            self.mend()
        except BaseException:
            lock.release()
            raise
        self._held = lock
        return True

    def release(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            held.release()

    def __enter__(self) -> "Lock":
        self.acquire()
        return self

    def __exit__(self, *error: Any) -> None:
        self.release()


def open_storage(path: Path) -> Any:
    """The journal at `path` as optuna's storage; it is made where needed.

    **Raises:** DataError for a file that is no journal, or cannot be read or written.
    """
    optuna = import_optuna()
    _ = optuna.storages.journal  # loaded on first use
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _check(path)
        if not locks_hold(beside(path, "probe")):
            raise DataError(f"{path}: its filesystem has no file locks to keep workers apart; choose another --study")
        guard = Lock(beside(path, "lock"), lambda: _mend(path))
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path), lock_obj=guard))
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise DataError(f"{path}: cannot be used as a study ({reason}); choose another --study") from error
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, OverflowError) as error:
        raise DataError(f"{path}: is no study of tirgn tune ({told(error)}); choose another --study") from error


def beside(path: Path, what: str) -> Path:
    """A hidden file that goes with the study at `path`."""
    return path.with_name(f".{path.name}.{what}")


def locks_hold(place: Path) -> bool:
    """Whether a lock that one handle has is refused to another one here; a file beside `place` is made for it, and
    removed."""
    # A name of its own: another worker that tries the same would remove the file between the two looks at it.
    place = place.with_name(f"{place.name}.{uuid.uuid4().hex}")
    try:
        with native_lock(place).acquire(0), native_lock(place).acquire(0):
            return False
    except Timeout:
        return True
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise
    finally:
        with contextlib.suppress(OSError):
            place.unlink()


def _mend(path: Path) -> None:
    """Cut off what a process that died in writing left of a line."""
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        keep = end
        while keep > 0:
            begin = max(0, keep - 4096)
            file.seek(begin)
            found = file.read(keep - begin).rfind(b"\n")
            if found >= 0:
                keep = begin + found + 1
                break
            keep = begin
        if keep < end:
            file.truncate(keep)


def _check(path: Path) -> None:
    """**Raises:** DataError for a file with a line that is none of a journal."""
    check_regular(path)
    for number, line in _lines(path):
        try:
            found = parse_json(line)
        except ValueError:
            found = None
        if not (isinstance(found, dict) and isinstance(found.get("op_code"), int)):
            raise DataError(f"{path}:{number}: no line of a study; choose another --study")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            # A last line without an end is one that is being written, or was when its writer died.
            begun = number > 1 or _FIRST.startswith(line[: len(_FIRST)])
            if line.endswith(b"\n") or not begun:
                yield number, line


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """One worker at a time decides what is tried next, and which files stay."""
    with Lock(beside(path, "turn")):
        yield
