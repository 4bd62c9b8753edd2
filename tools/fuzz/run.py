"""Hostile files against every reader: each either loads, or is refused in one line, in bounded time and memory.

Why: data, checkpoints and weights come from elsewhere. A byte that a disk flipped and a file that somebody made to do
harm must both end in a sentence that a person can act on: no traceback, no hang, no memory that a few bytes ask for,
nothing executed, nothing written outside the folder. Inputs are mutations (`damage.py`) of valid files (`seeds.py`),
read as the commands read them (`readers.py`), by processes with limits: one that dies or falls silent is a fault as
well.

    python -m tools.fuzz --count 27500
    python -m tools.fuzz --only events --count 2000 --seed 7
    python -m tools.fuzz --again FOLDER            # a counterexample that was kept

Counterexamples are kept in `--keep` with a `case.json` that says which they are. Exit code 1 when there is any.
"""

import argparse
import hashlib
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks import common
from benchmarks.common import note, table
from tools.fuzz.damage import Files, mutated

COUNT = 27_500
SECONDS = 20  # that an input may take
SILENCE = 60  # seconds after which a process that says nothing is taken for one that hangs
MEMORY = 512 << 20  # bytes by which one input may raise the largest resident memory
SPACE = 4 << 30  # bytes of address space beside what the process has once it has begun
ODD_NAMES = ("case", "case", "case", "ca\x1b[31mse", "ca\nse", "<b>case", "[red]case", "ca'se {0} %s", "*")


class Slow(BaseException):
    """An input that takes too long; no library's `except Exception` stops it."""


class Told(NamedTuple):
    """What became of an input: an outcome of `attempt`, or `fault` with what was wrong; seconds; the peak of resident
    memory of its process; bytes of its files."""

    number: int
    outcome: str
    message: str
    seconds: float = 0.0
    peak: int = 0
    bytes: int = 0


# --- the process that reads ------------------------------------------------------------------------------------


def case(seeds: list[Files], seed: int, reader: str, number: int) -> tuple[Files, str]:
    """The files of an input, and the name of the folder that they are put into."""
    chance = random.Random(f"{seed}/{reader}/{number}")
    return mutated(chance.choice(seeds), chance), chance.choice(ODD_NAMES)


def guarded(work: Path, written: list[str]) -> None:
    """Notes every file opened for writing outside `work`, and every program or connection started."""

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & (os.O_WRONLY | os.O_RDWR)
            inside = (str(work), "/dev/null", "/proc/self")
            if writes and not isinstance(path, int) and not os.path.abspath(os.fsdecode(path)).startswith(inside):
                written.append(f"opened {os.fsdecode(path)!r} for writing")
        elif event in ("os.system", "os.exec", "os.posix_spawn", "socket.connect", "pickle.find_class"):
            written.append(f"{event} {arguments!r:.200}")
        elif event == "subprocess.Popen" and not any(str(w).endswith("table_probe_child.py") for w in arguments[1]):
            written.append(f"started {arguments[1]!r:.200}")

    sys.addaudithook(hook)


def limit_memory() -> None:
    import resource

    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + SPACE, taken + SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))


def child(reader: str, seed: int, begin: int, end: int) -> None:
    """Reads the inputs `begin` to `end` of a reader, and says after each what became of it."""
    from tirgn_eqx.storage.table_probe import kept
    from tools.fuzz.readers import SEEDS, attempt, write

    def expired(*_: object) -> None:
        raise Slow(f"takes more than {SECONDS} s")

    signal.signal(signal.SIGALRM, expired)
    # The outcomes have stdout for themselves; what a library prints there goes to stderr.
    out, written = os.dup(1), []
    os.dup2(2, 1)
    seeds = SEEDS[reader]()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, kept():
        work = Path(folder).resolve()
        (work / "here").mkdir()
        os.chdir(work / "here")
        tempfile.tempdir = str(work / "here")
        # Imports and first compilations are neither watched nor counted as what an input costs.
        attempt(reader, write(seeds[0], work / "warm"))
        shutil.rmtree(work / "warm")
        guarded(work, written)
        limit_memory()
        for number in range(begin, end):
            files, name = case(seeds, seed, reader, number)
            write(files, work / name)
            before, since = common.peak_rss() or 0, time.perf_counter()
            signal.alarm(SECONDS)
            try:
                outcome, message = attempt(reader, work / name)
            except BaseException as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                at = f"{Path(where.filename).name}:{where.lineno}"
                outcome, message = "fault", f"{type(error).__name__} at {at}: {str(error)[:300]}"
            signal.alarm(0)
            seconds, grown = time.perf_counter() - since, (common.peak_rss() or 0) - before
            # Whatever lies in the folder now, or beside it, was left by the reader.
            left = sorted(str(file) for file in [*(work / "here").rglob("*"), *work.iterdir()])
            left = [file for file in left if file not in (str(work / "here"), str(work / name))]
            if left or written:
                outcome, message = "fault", f"touched what is not its own: {[*written, *left]!r:.300}"
                written.clear()
            if grown > MEMORY:
                outcome, message = "fault", f"took {grown:,} bytes of memory"
            told = Told(number, outcome, message, seconds, common.peak_rss() or 0, sum(map(len, files.values())))
            os.write(out, (json.dumps(told._asdict()) + "\n").encode())
            shutil.rmtree(work / name)
            for file in left:
                shutil.rmtree(file) if os.path.isdir(file) else Path(file).unlink(missing_ok=True)


# --- the process that watches ----------------------------------------------------------------------------------


def watch(reader: str, seed: int, count: int) -> list[Told]:
    """What became of every input of a reader; a process that dies or hangs is followed by another."""
    done: list[Told] = []
    while len(done) < count:
        words = ["--child", reader, "--seed", str(seed), "--begin", str(len(done)), "--count", str(count)]
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.fuzz", *words],
            env=common.child_environment(RUST_BACKTRACE="0", JAX_PLATFORMS="cpu"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None and process.stderr is not None
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        last = [""]
        for pipe, put in ((process.stdout, lines.put), (process.stderr, lambda line, last=last: last.append(line))):
            threading.Thread(target=_pour, args=(pipe, put), daemon=True).start()
        fault, started = "", False
        while len(done) < count:
            try:
                # The first line comes after all imports.
                line = lines.get(timeout=SILENCE if started else 3 * SILENCE)
            except queue.Empty:
                fault = f"says nothing for {SILENCE} s"
                break
            if not line:
                break
            started = True
            done.append(Told(**json.loads(line)))
        process.kill()
        code = process.wait()
        if len(done) < count:
            fault = fault or f"ends with code {code}: {' '.join(last[-3:]).strip()[-300:]}"
            if not started and not done:
                raise SystemExit(f"error: {reader}: reads not even valid files; {fault}")
            done.append(Told(len(done), "fault", fault))
    return done


def _pour(pipe: Iterable[str], put: Callable[[str], object]) -> None:
    for line in pipe:
        put(line)
    put("")


def keep(place: Path, reader: str, seed: int, told: Told, seeds: list[Files]) -> Path:
    """A counterexample as files."""
    from tools.fuzz.readers import write

    files, name = case(seeds, seed, reader, told.number)
    kept = place / f"{reader}-{seed}-{told.number}"
    write(files, kept / "files")
    what = {"reader": reader, "seed": seed, "number": told.number, "folder": name, "fault": told.message}
    (kept / "case.json").write_text(json.dumps(what, indent=1) + "\n")
    return kept


def again(place: Path) -> None:
    """Reads a counterexample once more, in this process, with its traceback."""
    from tools.fuzz.readers import attempt

    what = json.loads((place / "case.json").read_text())
    with tempfile.TemporaryDirectory() as work:
        shutil.copytree(place / "files", Path(work) / what["folder"])
        print(*attempt(what["reader"], Path(work) / what["folder"]))


class Slowest(NamedTuple):
    """The input that took longest."""

    number: int
    seconds: float


class Summary(NamedTuple):
    """The figures of a reader."""

    inputs: int
    bytes: int
    outcomes: dict[str, int]
    seconds: float
    slowest: Slowest
    peak_rss_bytes: int
    distinct_messages: int


def summarize(told: list[Told]) -> Summary:
    """The figures of a reader."""
    slowest = max(told, key=lambda one: one.seconds)
    return Summary(
        inputs=len(told),
        bytes=sum(one.bytes for one in told),
        outcomes=dict(Counter(one.outcome for one in told).most_common()),
        seconds=sum(one.seconds for one in told),
        slowest=Slowest(slowest.number, slowest.seconds),
        peak_rss_bytes=max(one.peak for one in told),
        distinct_messages=len({one.message.partition(": ")[2] for one in told}),
    )


def main() -> int:
    parser = common.parser(__doc__)
    parser.add_argument("--count", type=int, metavar="N", help=f"inputs in all (default: {COUNT:,}; quick: 130)")
    parser.add_argument("--only", metavar="READER", help="one reader alone")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-found"), metavar="DIR", help="of counterexamples")
    parser.add_argument("--again", type=Path, metavar="FOLDER", help="read a counterexample that was kept")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--begin", type=int, default=0, help=argparse.SUPPRESS)
    args = common.finalize(parser.parse_args())
    seed, count = args.seed or 0, args.count or (130 if args.quick else COUNT)
    if args.again:
        again(args.again)
        return 0
    if args.child:
        child(args.child, seed, args.begin, count)
        return 0

    from tools.fuzz.readers import SEEDS, SHARES

    chosen = {args.only: 1} if args.only else SHARES
    result: dict[str, Summary] = {}
    faults, digest = 0, hashlib.sha256()
    for reader, share in chosen.items():
        number = -(-count * share // sum(chosen.values()))
        note(f"{reader}: {number:,} inputs")
        told = watch(reader, seed, number)
        result[reader] = summarize(told)
        seeds = SEEDS[reader]()
        digest.update(b"".join(content for files in seeds for content in files.values()))
        for one in told:
            if one.outcome == "fault":
                faults += 1
                kept = keep(args.keep, reader, seed, one, seeds)
                note(f"  {one.message}\n  read it again: python -m tools.fuzz --again {kept}")
    inputs = sum(figures.inputs for figures in result.values())
    dataset = {"name": "mutations of valid files", "facts": inputs, "sha256": digest.hexdigest()}
    limits = {"seconds": SECONDS, "memory_bytes": MEMORY, "address_space_bytes": SPACE}
    totals = {"inputs": inputs, "faults": faults, "seconds": sum(figures.seconds for figures in result.values())}
    readers = {name: figures._asdict() | {"slowest": figures.slowest._asdict()} for name, figures in result.items()}
    payload = {"dataset": dataset, "setting": limits, "seed": seed, "result": {"total": totals, "readers": readers}}
    name = common.join_name("fuzz", args.only, args.tag)
    document = common.record(name, payload, args.results)
    table(
        f"{inputs:,} hostile inputs, {faults} faults",
        ["reader", "inputs", "read", "refused", "faults", "messages", "seconds", "slowest s", "peak MiB"],
        [
            [
                reader,
                figures.inputs,
                (read := figures.outcomes.get("read", 0)),
                figures.inputs - read - figures.outcomes.get("fault", 0),
                figures.outcomes.get("fault", 0),
                figures.distinct_messages,
                figures.seconds,
                figures.slowest.seconds,
                figures.peak_rss_bytes / 2**20,
            ]
            for reader, figures in result.items()
        ],
    )
    common.finish(document)
    return 1 if faults else 0
