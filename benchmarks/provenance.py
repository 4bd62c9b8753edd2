"""Where a result comes from: the commit of the source tree, the machine, and the command."""

import functools
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

ROOT = Path(__file__).resolve().parents[1]


class Commit(TypedDict):
    """A commit of the source tree, and whether files differ from it; None where that is not known."""

    id: str | None
    dirty: bool | None


class Machine(TypedDict):
    """What a result was measured on."""

    cpu: str
    cores: int | None
    memory_bytes: int | None
    gpu: list[str]
    system: str
    load_average: float


@functools.cache
def commit() -> Commit:
    """The commit of the source tree; without git the id is $BENCHMARK_COMMIT or None.

    Results that are being written here do not make the tree dirty.
    """

    def git(*words: str) -> str:
        run = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
        return run.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT:
            raise OSError("the source tree lies inside another repository")
        changed = git("status", "--porcelain", "--", ".", ":!benchmarks/results")
        return {"id": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return {"id": os.environ.get("BENCHMARK_COMMIT"), "dirty": None}


@functools.cache
def gpu() -> list[str]:
    """Name, memory and driver of every NVIDIA GPU, asked without starting JAX on it."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        run = subprocess.run(query, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in run.stdout.splitlines() if line.strip()]


def machine() -> Machine:
    """CPU model, cores this process may use, memory in bytes, GPUs, system, and how busy it was."""
    from tirgn_eqx.runtime.compile_cache import usable_cores

    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    except OSError:
        pass
    memory = None
    if {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(os.sysconf_names):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu,
        "cores": usable_cores(),
        "memory_bytes": memory,
        "gpu": gpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": os.getloadavg()[0],
    }


def command_line(words: Sequence[str] | None = None) -> str:
    """The command of this process, or `words`; paths are told from the root of the source tree, or by name alone
    when they lie elsewhere."""
    if words is None:
        program = Path(sys.argv[0])
        module = program.is_absolute() and program.is_relative_to(ROOT)
        name = program.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") if module else ""
        words = ["python", *(["-m", name.removesuffix(".__main__")] if module else sys.argv[:1]), *sys.argv[1:]]

    def shorten(word: str) -> str:
        if " " in word:
            return shlex.join(shorten(part) for part in shlex.split(word))
        option, equals, value = word.rpartition("=")
        path = Path(value)
        if path.is_absolute() or ".." in path.parts:
            path = Path(os.path.abspath(path))
            value = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
        return option + equals + value

    return shlex.join(shorten(word) for word in words)
