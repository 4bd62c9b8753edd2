"""Files and folders that exist whole or not at all, whatever ends the process that writes them."""

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

# Age in seconds at which a temporary file counts as left behind, where its process cannot be asked for.
_STALE = 3600


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; at the end it is flushed to the disk and renamed to `path`.

    Whatever ends the process, `path` holds its old content or all of the new. The folder is made where needed.
    Temporary files that killed processes left for this path are removed; those of other machines after an hour.

    **Raises:** OSError when it cannot be written, or exists and is no file: a device such as /dev/null would be
    replaced for the whole system. Nothing is left of it then.
    """
    path = Path(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "A folder, a device or a pipe is no file to write to", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(path)
    # In the same folder, because a rename is atomic only within a filesystem. The name tells its writer, so that
    # `_remove_left` can distinguish leftovers from files that a running process still writes.
    temporary = path.with_name(f".{path.name}.{_system()}-{os.getpid()}.tmp")
    try:
        yield temporary
        # The content first: after a power cut, the final name must not lead to an empty file. The folder last: it holds
        # the name, and until it is flushed the rename itself may be lost.
        flush(temporary)
        os.replace(temporary, path)
        flush(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, see `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, see `atomic_write`."""
    write_bytes(path, text.encode())


@contextmanager
def scratch_folder(folder: str | Path, prefix: str) -> Iterator[Path]:
    """An empty hidden folder inside `folder` to make something in; removed at the end, unless it was renamed.

    `folder` is made where needed. Scratch folders that killed processes left there are removed; those of other
    machines after an hour.

    **Raises:** OSError when it cannot be made.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _remove_left(folder / prefix)
    place = folder / f".{prefix}.{_system()}-{os.getpid()}.tmp"
    # `_remove_left` spares a folder of this process id because the process runs: after a crash, the id may be ours
    # again.
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def flush(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    # A folder can only be opened for reading; Windows flushes a file only through a handle that may write.
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_left(path: Path) -> None:
    """Remove what killed processes left under temporary names of `path`."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):
            # The name ends in `.SYSTEM-PID.tmp`, see `atomic_write`.
            if _has_ended(left.name.split(".")[-2]) or time.time() - left.stat().st_mtime > _STALE:
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


@functools.cache
def _system() -> str:
    """A number of this machine and process namespace: within it, a process id names one process."""
    space = ""
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{zlib.crc32(f'{platform.node()} {space}'.encode()):08x}"


def _has_ended(writer: str) -> bool:
    """Whether the process named in a temporary name is known to have ended."""
    system, _, number = writer.partition("-")
    # On Windows, signal 0 is CTRL_C_EVENT: `os.kill(pid, 0)` would interrupt the process that it should only look up.
    if os.name == "nt" or system != _system() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    # PermissionError: the process exists and belongs to another user.
    except (OSError, OverflowError):
        return False
    return False
