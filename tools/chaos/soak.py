"""A soak: weeks of collecting, ingesting, retraining and predicting, killed at random, with all that grows recorded.

Why: a machine that retrains every week runs for years, and is switched off when it suits nobody. Here a server on this
machine publishes a made-up feed, a week of it for each cycle, and `tirgn data collect`, `tirgn data ingest`, `tirgn
retrain` and `tirgn predict` follow it as programs of their own. One call in three gets SIGKILL at a random moment and
is run again. After each kill every file at a published name must be whole; the table must hold exactly the facts that
were served, counted here without it; the checkpoint must answer at all times, to a reader that never waits, too.

Leaks show in a process that lives on: one holds a `Forecaster`, renews it every week, asks it, and trains a small
model, all in itself. Recorded per cycle: peak memory and most open files of each program and of that process, seconds,
and the disk by kind of file; at the end the growth of each per cycle, by least squares.

    python -m tools.chaos.soak --minutes 60
"""

import gc
import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

from benchmarks import common
from benchmarks.common import note, table
from benchmarks.pipeline import Server
from tools.chaos.feed import BEGIN, Fact, World, table_facts
from tools.chaos.kill import unreadable

FIRST_WEEKS, WINDOW = 5, 28  # weeks before the first training; days that a training sees
MODEL = ["--model", "evidence", "--epochs", "3", "--set", "save_every=4", "--set", "precision=f32"]
MODEL += ["--set", "evidence_heads=2", "--set", "evidence_background=false", "--set", "max_buckets=1"]
CHECKPOINT, EVENTS = "models/tirgn_best.npz", "events.parquet"
KILLED = 1 / 3  # of all calls
SAMPLE = 0.02  # seconds between two looks at a process
SMALL = "sim:num_entities=16,num_relations=4,num_days=20,facts_per_day=10"
HELD = "held"  # where the process that lives on trains; not counted
KINDS = {  # of files, by what their names end in or hold; the first that fits counts
    "temporary": (".tmp", ".part", ".ingest/"),
    "locks": (".lock",),
    "raw files": (".export.CSV.zip",),
    "lists and records of the collection": ("masterfilelist.txt", "collected.json"),
    "table": (EVENTS,),
    "report and rejects": (".report.json", ".rejects.tsv", ".repeats.parquet"),
    "logs": (".tfevents.", ".jsonl", "logs/"),
    "checkpoints": (".npz", ".json", ".toml"),
}


class Call(NamedTuple):
    """One call of `tirgn`: exit code, seconds, peak of resident memory, most open files, and what it said."""

    code: int
    seconds: float
    cpu_seconds: float
    peak_rss: int
    handles: int
    said: str
    out: str


class Step(TypedDict):
    """What is recorded of a call, and whether one before it was killed."""

    code: int
    seconds: float
    cpu_seconds: float
    peak_rss: int
    handles: int
    killed: bool


# --- one program ---------------------------------------------------------------------------------------------------


def status(pid: int, key: str) -> int:
    """Bytes of `VmHWM` or `VmRSS` of a process, 0 when it has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return 0


def handles(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


class Soak:
    """The place of a soak, its programs, and all that was wrong."""

    def __init__(self, place: Path, world: World, chance: random.Random):
        self.place, self.world, self.chance = place, world, chance
        self.faults: list[str] = []
        self.usual: dict[str, list[float]] = {}
        self.before: set[Fact] = set()  # the facts of the table before the last ingest
        self.kills: Counter[str] = Counter()
        self.anew = 0

    def fault(self, what: str) -> None:
        note(f"    FAULT: {what}")
        self.faults.append(what)

    def call(self, name: str, words: Sequence[str], kill_after: float | None = None) -> Call:
        """Call `tirgn`, and kill it after so many seconds, if it is still at work."""
        command = [sys.executable, "-m", "tirgn_cli", *words, "--json"]
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as said:
            begin, peak, most, killed = time.monotonic(), 0, 0, False
            process = subprocess.Popen(
                command,
                cwd=self.place,
                env=common.child_environment(),
                stdout=out,
                stderr=said,
                start_new_session=True,
            )
            while True:
                # Not the peak that the system tells of ended children: it may be that of this process.
                peak, most = max(peak, status(process.pid, "VmHWM")), max(most, handles(process.pid))
                if kill_after is not None and not killed and time.monotonic() - begin >= kill_after:
                    os.killpg(process.pid, signal.SIGKILL)
                    killed = True
                pid, ended, used = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    break
                time.sleep(SAMPLE)
            process.returncode = code = os.waitstatus_to_exitcode(ended)
            seconds = time.monotonic() - begin
            out.seek(0)
            said.seek(0)
            spent = used.ru_utime + used.ru_stime
            found = Call(code, seconds, spent, peak, most, said.read().strip(), out.read())
        if code in (0, 3):
            self.usual.setdefault(name, []).append(seconds)
        return found

    def step(self, name: str, *words: str, share: float, codes: tuple[int, ...] = (0,)) -> Step:
        """A call that may be killed first; the whole one is told."""
        killed = self.chance.random() < share
        if killed:
            # Before the first whole call of a kind, a few seconds are a guess.
            usual = statistics.median(self.usual.get(name, [4.0]))
            found = self.call(name, words, kill_after=self.chance.uniform(0, usual))
            killed = found.code == -signal.SIGKILL
            self.kills[name] += killed
            self.look(f"after a kill of {name}", name)
        again = ["--resume"] if killed and name == "retrain" else []
        found = self.call(name, [*words, *again])
        # Killed before it saved anything, or after it had replaced the checkpoint: there is nothing to resume.
        if again and found.code not in codes and "without --resume" in found.said:
            self.anew += 1
            found = self.call(name, words)
        if found.code not in codes:
            self.fault(f"{name} ended with {found.code}: {(found.said.splitlines() or ['no word'])[-1]}")
        elif name == "predict" and not json.loads(found.out)["facts"]:
            self.fault("predict gave no facts")
        return Step(
            code=found.code,
            seconds=found.seconds,
            cpu_seconds=found.cpu_seconds,
            peak_rss=found.peak_rss,
            handles=found.handles,
            killed=killed,
        )

    def look(self, when: str, name: str) -> None:
        """Whether every file at a published name is whole, and the table holds what it must."""
        for what in unreadable(self.place):
            self.fault(f"{when}: {what}")
        for path in (self.place / "raw").glob("*.export.CSV.zip"):
            if hashlib.md5(path.read_bytes()).hexdigest() != self.world.sums.get(path.name):
                self.fault(f"{when}: raw/{path.name} is not what was served")
        try:
            facts = table_facts(self.place / EVENTS)
        except Exception as error:
            return self.fault(f"{when}: {EVENTS}: {type(error).__name__}: {error}")
        allowed = {"collect": [self.before], "ingest": [self.before, self.world.facts]}
        if facts not in allowed.get(name, [self.world.facts]):
            self.fault(f"{when}: the table holds {len(facts)} facts, served were {len(self.world.facts)}")

    def cycle(self, share: float) -> common.Document:
        """A week: published, collected, ingested, learned, asked."""
        begin = time.monotonic()
        self.before = set(self.world.facts)
        self.world.publish_week()
        url, day = self.world.server.url, f"{BEGIN:%Y-%m-%d}"
        span = ("--from", day, "--to", self.world.last_day)
        steps = {"collect": self.step("collect", *collect_words(span, url), share=share)}
        steps["ingest"] = self.step("ingest", "data", "ingest", "raw", "--out", EVENTS, share=share)
        self.look("after an ingest", "retrain")
        # Any new model takes the place of the old one: here it is not about which is better.
        retrain = ("retrain", "--data-path", EVENTS, "--from", CHECKPOINT, "--model-dir", "weekly", "--max-regression")
        steps["retrain"] = self.step("retrain", *retrain, "1", share=share, codes=(0, 3))
        asked = ("predict", CHECKPOINT, "--data-path", EVENTS, "--facts", "5")
        steps["predict"] = self.step("predict", *asked, share=share)
        self.look("at the end of a cycle", "predict")
        return {"steps": steps, "seconds": time.monotonic() - begin, "disk": disk(self.place), "left": left(self.place)}


def collect_words(span: Sequence[str], url: str) -> list[str]:
    return ["data", "collect", *span, "--dir", "raw", "--base-url", url]


def files_in(place: Path) -> Iterator[tuple[str, int]]:
    for path in place.rglob("*"):
        try:
            if path.is_file() and not path.is_relative_to(place / HELD):
                yield str(path.relative_to(place)), path.stat().st_size
        except OSError:
            pass


def disk(place: Path) -> dict[str, int]:
    """Bytes by kind of file."""
    sizes = Counter({kind: 0 for kind in (*KINDS, "other")})
    for name, size in files_in(place):
        sizes[next((kind for kind, signs in KINDS.items() if any(sign in name for sign in signs)), "other")] += size
    return dict(sizes)


def left(place: Path) -> dict[str, int]:
    """How many temporary files, lock files, and files in all there are."""
    names = [name for name, _ in files_in(place)]

    def count(kind):
        return sum(any(sign in name for sign in KINDS[kind]) for name in names)

    return {"temporary": count("temporary"), "locks": count("locks"), "raw": count("raw files"), "files": len(names)}


# --- the process that lives on -------------------------------------------------------------------------------------


class Reader(threading.Thread):
    """Reads a checkpoint again and again while others replace it."""

    def __init__(self, path: Path):
        super().__init__(daemon=True)
        self.path, self.reads, self.faults, self.end = path, 0, [], threading.Event()

    def run(self) -> None:
        from tirgn_eqx.checkpoint.files import load_checkpoint

        while not self.end.wait(0.05):
            try:
                load_checkpoint(self.path)
            except Exception as error:
                self.faults.append(f"reading at any moment: {type(error).__name__}: {error}")
            self.reads += 1


def hold(place: Path) -> None:
    """Forecast and train in one process, once for every line on stdin; says then how large the process is."""
    import jax

    from tirgn_eqx import TiRGNTrainingConfig, load_graph, train_tirgn
    from tirgn_eqx.forecast.forecaster import Forecaster

    settings = common.QUICK_SETTINGS | {"embedding_dim": 8, "epochs": 1, "checkpoint_interval": 0}
    config = TiRGNTrainingConfig().replace(**settings, logdir=str(place / HELD / "logs"))
    graph = load_graph(SMALL)
    for _ in sys.stdin:
        said = {}
        forecaster = Forecaster.load(place / CHECKPOINT, str(place / EVENTS))
        for fact in forecaster.top_facts(20):
            forecaster.forecast(subject=fact.subject, relation=fact.relation, top=3)
        gc.collect()
        said["rss_after_forecasts"] = status(os.getpid(), "VmRSS")
        train_tirgn(graph, config, model_dir=place / HELD)
        gc.collect()
        said |= {"rss": status(os.getpid(), "VmRSS"), "handles": handles(os.getpid()), "arrays": len(jax.live_arrays())}
        said["threads"] = threading.active_count()
        print(json.dumps(said), flush=True)


class Held:
    """The process that lives on, seen from here."""

    def __init__(self, place: Path):
        (place / HELD).mkdir()
        self.said = (place / HELD / "said.txt").open("w")
        command = [sys.executable, "-m", "tools.chaos.soak", "--hold", str(place)]
        self.process = subprocess.Popen(
            command,
            env=common.child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
        )

    def turn(self) -> dict[str, int]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("on\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(Path(self.said.name).read_text()[-2000:])
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self.said.close()


# --- what grows ----------------------------------------------------------------------------------------------------


def growth(values: Sequence[float]) -> dict[str, float | None]:
    """First, last and most, and what is added per cycle, over all cycles and over their second half."""

    def slope(part):
        return statistics.linear_regression(range(len(part)), part).slope if len(part) > 1 else None

    found = {"first": values[0], "last": values[-1], "most": max(values), "per_cycle": slope(values)}
    return found | {"per_cycle_second_half": slope(values[len(values) // 2 :])}


def summary(cycles: list[common.Document]) -> common.Document:
    """The growth of all that was recorded."""
    found: common.Document = {"programs": {}, "process": {}, "disk": {}, "left": {}}
    for name in cycles[0]["steps"]:
        rows = [cycle["steps"][name] for cycle in cycles]
        found["programs"][name] = {
            key: growth([row[key] for row in rows]) for key in ("seconds", "peak_rss", "handles")
        }
    for part in ("process", "disk", "left"):
        found[part] = {key: growth([cycle[part][key] for cycle in cycles]) for key in cycles[0][part]}
    return found


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--minutes", type=float, metavar="N", help="how long (default: 60)")
    parser.add_argument("--cycles", type=int, metavar="N", help="at most so many weeks (default: no limit; quick: 1)")
    parser.add_argument("--hold", metavar="DIR", help="be the process that lives on")
    args = parser.parse_args()
    if args.hold:
        return hold(Path(args.hold))
    args = common.finalize(args)
    seed, end = args.seed or 0, time.monotonic() + 60 * (args.minutes or 60)
    most = args.cycles or (1 if args.quick else 10**6)
    begin, cycles = time.monotonic(), []
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary).resolve() / "soak"
        place.mkdir()
        world = World(Server(Path(temporary) / "server"), seed)
        soak = Soak(place, world, random.Random(seed))
        for _ in range(FIRST_WEEKS):
            world.publish_week()
        span = ("--from", f"{BEGIN:%Y-%m-%d}", "--to", world.last_day)
        soak.step("collect", *collect_words(span, world.server.url), share=0)
        soak.step("ingest", "data", "ingest", "raw", "--out", EVENTS, share=0)
        first = ["train", "--data-path", EVENTS, "--num-days", str(WINDOW), "--granularity", "day", *MODEL]
        soak.step("train", *first, "--model-dir", "models", "--logdir", "models/logs", "--seed", str(seed), share=0)
        if soak.faults:
            sys.exit(soak.faults[0])
        reader, held = Reader(place / CHECKPOINT), Held(place)
        reader.start()
        while len(cycles) < most and (not cycles or time.monotonic() < end):
            cycle = soak.cycle(KILLED)
            cycle["process"] = held.turn()
            cycles.append(cycle)
            killed = [name for name, step in cycle["steps"].items() if step["killed"]]
            rss, disk_used = cycle["process"]["rss"] / 2**20, sum(cycle["disk"].values()) / 2**20
            told = f"{cycle['seconds']:.0f} s, {rss:.0f} MiB held, {disk_used:.1f} MiB on disk, {cycle['left']}"
            note(f"week {len(cycles)}: {told}; killed: {', '.join(killed) or 'none'}")
        reader.end.set()
        reader.join()
        held.close()
        for what in sorted(set(reader.faults)):
            soak.fault(what)
        described = json.loads((place / CHECKPOINT).with_suffix(".json").read_text())
        runs = sum(len(times) for times in soak.usual.values())
    result = {
        "nothing_lost": not soak.faults,
        "faults": soak.faults[:100],
        "cycles": len(cycles),
        "minutes": (time.monotonic() - begin) / 60,
        "whole_runs": runs,
        "kills": dict(soak.kills),
        "retrainings_begun_anew": soak.anew,
        "facts_served": len(world.facts),
        "reads_of_the_checkpoint": reader.reads,
        "growth": summary(cycles),
        "each": cycles,
    }
    payload = {"dataset": {k: v for k, v in described["data"].items() if k != "provenance"}, "seed": seed}
    payload |= {"setting": {"model": MODEL, "window_days": WINDOW, "killed": KILLED}, "result": result}
    document = common.record(common.join_name("soak", args.tag), payload, args.results)
    rows = [
        [name, *(found["peak_rss"][key] for key in ("first", "last", "per_cycle"))]
        for name, found in result["growth"]["programs"].items()
    ]
    rows += [["living on", *(result["growth"]["process"]["rss"][key] for key in ("first", "last", "per_cycle"))]]
    rows += [
        [f"disk: {name}", *(found[key] for key in ("first", "last", "per_cycle"))]
        for name, found in result["growth"]["disk"].items()
    ]
    table("bytes", ["of", "first", "last", "per cycle"], rows)
    common.finish(document)
    if soak.faults:
        sys.exit(f"{len(soak.faults)} faults, the first: {soak.faults[0]}")


if __name__ == "__main__":
    main()
