"""Files that are there whole or not at all, and folders that one process at a time works in."""

import contextlib
import errno
import functools
import glob
import os
import platform
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

# Seconds after which a temporary file is taken for one that a killed process left, where its process cannot be asked.
_STALE = 3600


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A name to write under, beside `path`; at the end it is flushed to the disk and takes the place of `path`.

    Whatever ends the process, `path` is what it was before or all that was written. The folder is made where needed,
    and what killed processes left there under such names is removed; what those of other machines left, after an hour.

    **Raises:** OSError when it cannot be written, or is there and no file: a device such as /dev/null would be replaced
    for the whole system. Nothing is left of it then.
    """
    path = Path(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "A folder, a device or a pipe is no file to write to", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary = path.with_name(f".{path.name}.{_system()}-{os.getpid()}.tmp")
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
        flush(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, see `replacing`."""
    write_bytes(path, text.encode())


def flush(path: Path) -> None:
    """Wait until a file, or what a folder says of its files, is on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(path: Path) -> None:
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):
            if _gone(left.name.split(".")[-2]) or time.time() - left.stat().st_mtime > _STALE:
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


@functools.cache
def _system() -> str:
    """What tells this machine from others, and a container's processes from those of another one."""
    space = ""
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{zlib.crc32(f'{platform.node()} {space}'.encode()):08x}"


def _gone(writer: str) -> bool:
    """Whether the process that gave a temporary file its name is known to have ended."""
    system, _, number = writer.partition("-")
    if os.name == "nt" or system != _system() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


@contextmanager
def building(folder: str | Path, prefix: str) -> Iterator[Path]:
    """An empty hidden folder inside `folder` to make something in; removed at the end, unless it was renamed.

    `folder` is made where needed, and what killed processes left there under such names is removed; what those of other
    machines left, after an hour.

    **Raises:** OSError when it cannot be made.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder / prefix)
    place = folder / f".{prefix}.{_system()}-{os.getpid()}.tmp"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def in_turn(place: str | Path) -> Iterator[None]:
    """Hold the lock file `place` while at work, after whoever has it; see `alone`. The folder must be there.

    **Raises:** OSError when it cannot be written.
    """
    with Path(place).open("a") as file:
        while not lock(file):
            time.sleep(0.1)
        yield


@contextmanager
def alone(place: str | Path, busy: Exception) -> Iterator[None]:
    """Hold the lock file `place` while at work; the folder is made where needed. The lock goes with the process,
    however it ends. On a system without such locks nothing is held. Who holds it may delete it.

    **Raises:** `busy` while another process holds it; OSError when it cannot be written.
    """
    place = Path(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with place.open("a") as file:
            if not lock(file):
                raise busy
            if _is_at(file, place):
                yield
                return


def _is_at(file: IO, place: Path) -> bool:
    """Whether an open file is still the one at `place`: its last holder may have deleted it in between."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(place))
    except FileNotFoundError:
        return False


def locked(place: str | Path) -> bool:
    """Whether somebody holds the lock file `place` now; False where there is none."""
    try:
        with Path(place).open() as file:
            return not lock(file)
    except OSError:
        return False


def lock(file: IO | int) -> bool:
    """Take the lock of an open file or folder, unless another handle has it; True when it was taken, or there are no
    locks on this system."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks
    return True
