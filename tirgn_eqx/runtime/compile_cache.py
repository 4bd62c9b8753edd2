"""Folders for JAX's persistent compilation cache: one for each kind of machine, private, and bounded in size.

JAX writes every program it compiles to the folder and reads it back in later processes. What JAX leaves to its caller
is here: a folder that no other processor reads from, the limit on its size, and the removal of damaged entries. JAX has
a limit of its own, `jax_compilation_cache_max_size`, which is not used: it locks the folder for every read, for up to
ten seconds; and a process that is killed between the two files of an entry leaves a folder that no process can write to
again. Nothing here imports JAX or changes its configuration.
"""

import hashlib
import os
import platform
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

MAX_BYTES = 1 << 30
MIN_COMPILE_SECONDS = 0.1

# JAX's names: the program itself, and the time of its last use, which JAX keeps only with a limit of its own.
_PROGRAM, _LAST_USE = "-cache", "-atime"
_LOCK = ".lockfile"
SPEED_FILE = "precision.json"  # ours: how fast this machine is in each compute type
_MACHINE_FOLDER = re.compile(r"jaxlib-.+-[0-9a-f]{12}")
_READ_FAULT = re.compile(r"Error reading persistent compilation cache entry for '([^']*)'")


@dataclass(frozen=True)
class CacheContents:
    """How many compiled programs there are, and their bytes."""

    programs: int
    bytes: int


def default_cache_root() -> Path | None:
    """The folder for compiled programs below the user's cache folder; None where no home is known."""
    import platformdirs

    root = platformdirs.user_cache_path("tirgn", appauthor=False) / "compiled"
    return root if root.is_absolute() else None


def machine_folder(root: Path) -> Path:
    """The folder below `root` for programs that were compiled by this jaxlib for this processor.

    A home may be shared by machines, and a program for a CPU contains instructions that another CPU may lack: XLA
    reports that and runs it all the same. JAX's key of a program changes with the instructions, but not with the number
    of cores, for which XLA may divide the work.
    """
    described = "\n".join([_describe_processor(), str(usable_cores())])
    digest = hashlib.sha256(described.encode()).hexdigest()[:12]
    return root / f"jaxlib-{version('jaxlib')}-{platform.machine()}-{digest}"


def is_machine_folder(folder: Path) -> bool:
    """Whether `folder` has the form of a name of `machine_folder`."""
    return _MACHINE_FOLDER.fullmatch(folder.name) is not None


def usable_cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _describe_processor() -> str:
    """The model of the CPU and the instructions it has, as far as the system tells."""
    lines: list[str] = [platform.machine(), platform.processor()]
    with suppress(OSError):
        # The first processor alone: the entries of the others differ in their numbers and clock rates.
        first = Path("/proc/cpuinfo").read_text(errors="replace").split("\n\n")[0]
        wanted = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU ")
        # The order of the flags is that of the kernel's version.
        lines += [" ".join(sorted(line.split())) for line in first.splitlines() if line.startswith(wanted)]
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        with suppress(OSError, subprocess.SubprocessError):
            lines.append(subprocess.run(command, capture_output=True, text=True, timeout=5).stdout)
    return "\n".join(lines)


def has_bf16_products() -> bool:
    """Whether the system says that this CPU has instructions for products of bf16."""
    return bool(re.search(r"\b(amx_bf16|avx512_bf16|bf16|svebf16)\b", _describe_processor()))


def make_cache_folder(folder: Path, private: bool = True) -> bool:
    """Make `folder` unless it is there, and say whether JAX may use it.

    **Arguments:** `private`: as of `why_unusable`.

    **Returns:** False where it cannot be made or is unusable. A folder that can only be read is of use all the same.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return why_unusable(folder, private) is None
    except (OSError, ValueError):  # ValueError: a NUL character in the path
        return False


def why_unusable(folder: Path, private: bool = True) -> str | None:
    """Why JAX may not use `folder` as it is, as a predicate such as "cannot be read"; None where it may.

    **Arguments:** `private`: refuse a folder that another user owns or may write to, or may exchange because everyone
    may write to a folder above it: what is read from it is executed.

    **Raises:** OSError when it goes meanwhile.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        return "cannot be read"
    if private and os.name == "posix":
        found = folder.stat()
        if found.st_uid != os.geteuid():
            return "belongs to another user"
        if found.st_mode & 0o022:
            return "may be written to by other users"
        for above in folder.parents:
            mode = above.stat().st_mode
            # In a sticky folder, such as /tmp, only the owner of an entry may rename or remove it.
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                return f"lies in {above}, which everyone may write to"
    return None


def cache_settings(folder: Path) -> dict[str, str | float | int]:
    """The settings of `jax.config`, by name, that switch the cache on in `folder`."""
    return {
        "jax_compilation_cache_dir": str(folder),
        # JAX keeps by default what takes a second; most programs of an evaluation take less, and they are many.
        "jax_persistent_cache_min_compile_time_secs": MIN_COMPILE_SECONDS,
        "jax_persistent_cache_min_entry_size_bytes": -1,
        "jax_compilation_cache_max_size": -1,
        # XLA's own caches, which it keeps for GPUs, would lie in the same folder, where nothing bounds them.
        "jax_persistent_cache_enable_xla_caches": "none",
    }


def _files(root: Path, suffix: str) -> Iterator[tuple[Path, os.stat_result]]:
    """Files of JAX's in the machine folders below `root`; those that other processes remove meanwhile are left out."""
    with suppress(OSError):
        for folder in sorted(root.iterdir()):
            if is_machine_folder(folder) and folder.is_dir() and not folder.is_symlink():
                yield from files_in(folder, suffix)


def files_in(folder: Path, suffix: str = _PROGRAM) -> Iterator[tuple[Path, os.stat_result]]:
    """Files in `folder` with JAX's suffix, by default its programs."""
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            if path.name.endswith(suffix):
                with suppress(OSError):
                    yield path, path.stat()


def measure_cache(root: Path) -> CacheContents:
    """What lies below `root`, for all machines."""
    sizes = [found.st_size for _, found in _files(root, _PROGRAM)]
    return CacheContents(len(sizes), sum(sizes))


def trim_cache(root: Path, max_bytes: int = MAX_BYTES) -> CacheContents:
    """Remove the programs below `root` that were not used for the longest time, until the others fit `max_bytes`.

    Several processes may do so at once: they remove the same files. A process that was about to read one of them
    compiles it again. Where the disk does not record reads, the oldest programs go first.

    **Returns:** what was removed.
    """
    found = sorted(_files(root, _PROGRAM), key=lambda one: max(one[1].st_atime_ns, one[1].st_mtime_ns))
    excess, removed = sum(status.st_size for _, status in found) - max_bytes, CacheContents(0, 0)
    for path, status in found:
        if excess <= 0:
            break
        try:
            _remove_program(path)
            removed = CacheContents(removed.programs + 1, removed.bytes + status.st_size)
        except FileNotFoundError:  # another process was faster
            pass
        except OSError:  # it may not be removed, so others go in its place
            continue
        excess -= status.st_size
    return removed


def clear_cache(root: Path) -> CacheContents:
    """Remove every program below `root`, of all machines, and the machine folders that are empty then.

    Nothing but JAX's own files in folders of `machine_folder` is removed, whatever else lies there.

    **Returns:** what was removed.

    **Raises:** OSError when a file may not be removed.
    """
    removed = CacheContents(0, 0)
    for path, status in _files(root, _PROGRAM):
        _remove_program(path)
        removed = CacheContents(removed.programs + 1, removed.bytes + status.st_size)
    for suffix in (_LAST_USE, _LOCK, SPEED_FILE):
        for path, _ in _files(root, suffix):
            path.unlink(missing_ok=True)
    with suppress(OSError):
        for folder in root.iterdir():
            if is_machine_folder(folder):
                with suppress(OSError):  # something else lies in it
                    folder.rmdir()
    return removed


def _remove_program(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_name(path.name.removesuffix(_PROGRAM) + _LAST_USE).unlink(missing_ok=True)


def remove_damaged(folder: Path, message: str) -> bool:
    """Remove the programs that JAX could not read, as its warning `message` says.

    JAX compiles what it cannot read, but never writes over a file that is there: a program that was cut off, by a full
    disk or the end of its process, would be compiled again in every process. The warning comes before the compilation
    and names the function, so that the programs of all functions of that name go.

    **Returns:** whether `message` was such a warning.
    """
    found = _READ_FAULT.match(message)
    if found is None:
        return False
    for path, _ in files_in(folder):
        # The name is followed by the key, in hexadecimal digits.
        if path.name.rpartition("-")[0].rpartition("-")[0] == found[1]:
            with suppress(OSError):
                _remove_program(path)
    return True
