"""Everything worth knowing from a GPU that is at hand for a short time, within a given number of seconds.

Why: such a machine comes rarely and goes soon. So: one call, the most important first, the state on disk after
every step of the way, and an end in time. Each part is a process of its own, because a device's peak memory can
be read but not reset; this process never touches the device.

| part | what | share of the budget at most |
|---|---|---|
| golden | `tests/test_golden.py` on the device, f32 products without shortened mantissas | 0.25 |
| scatter | sums into few targets in every form (scatter.py), without and with the flag where jaxlib needs it | 0.1 |
| step | per dataset: time of a step, its compilation apart, share of the product ceiling (step.py) | 0.3 |
| peer | per dataset: the step beside plain PyTorch's, eager and compiled (peer.py); without PyTorch skipped | 0.2 |
| evaluate | per dataset: time of evaluating the test split (evaluate.py) | 0.15 |
| memory | per setting: peak bytes in use beside the prediction (memory.py) | 0.3 |
| mesh | the step of a graph of 1.2 million entities, and from it predicted times on several devices (mesh.py) | 0.15 |
| month | a month of GDELT at its full size, made up: an epoch's time and the device's peak memory (month.py) | 0.2 |
| train | per dataset, smallest first: training to early stopping (stream.py) | all that is left |

What a part leaves over goes to the next ones. `OUT/gpu.json` holds everything so far, `OUT/gpu.log` what the
parts said. The preset of a dataset follows from its folder's name (`--preset NAME=PRESET` for others). Datasets
as folders need no polars. Without git, `BENCHMARK_COMMIT=...` says which commit this is.

    python -m benchmarks.gpu --seconds 560 data/YAGO data/ICEWS14s
    python -m benchmarks.gpu --seconds 300 --out runs/gpu-memory --parts step,memory data/ICEWS14s
    python -m benchmarks.gpu --quick --seconds 300     # tiny, also without a GPU
"""

import argparse
import importlib.util
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import common
from benchmarks.common import note, table

PARTS = ("golden", "scatter", "step", "peer", "evaluate", "memory", "mesh", "month", "train")
SHARES: dict[str, float] = dict(zip(PARTS, (0.25, 0.1, 0.3, 0.2, 0.15, 0.3, 0.15, 0.2, 1.0)))
# Seconds under which a part is not begun: it would bring nothing before its end.
LEAST: dict[str, float] = dict(zip(PARTS, (20.0, 20.0, 30.0, 30.0, 20.0, 40.0, 60.0, 60.0, 40.0)))
MARGIN = 5.0  # kept at the end for the last lines


class Run:
    """The state of the whole run and its file."""

    def __init__(self, out: Path, seconds: float, quick: bool):
        self.begin = time.perf_counter()
        self.deadline = self.begin + seconds - MARGIN
        self.seconds, self.quick, self.out = seconds, quick, out
        self.least = dict.fromkeys(LEAST, 5.0) if quick else LEAST
        out.mkdir(parents=True, exist_ok=True)
        self.log = open(out / "gpu.log", "a", encoding="utf-8")
        self.parts: dict[str, dict] = {}
        self.head: dict = {}
        self.document: dict = {}

    def left(self) -> float:
        return self.deadline - time.perf_counter()

    def save(self, complete: bool = False) -> None:
        result = {
            "complete": complete,
            "budget_seconds": self.seconds,
            "used_seconds": time.perf_counter() - self.begin,
            "parts": self.parts,
        }
        self.document = common.record("gpu", self.head | {"result": result}, self.out)

    def part(self, name: str, kind: str, words: list[str], until: float, read, environment: dict, output=None) -> None:
        """Run one part to its end or to the time `until`; `read()` gives what it has written so far.

        **Arguments:** `output`: file for its stdout, which is otherwise added to the log.
        """
        left = min(until, self.deadline) - time.perf_counter()
        state = self.parts[name] = {"status": "running", "command": common.command_line(["python", *words])}
        if left < self.least[kind]:
            state["status"] = "skipped: no time"
            note(f"{name}: {left:.0f} s left for it, skipped")
            return self.save()
        note(f"{name}: at most {left:.0f} s")
        self.save()
        begin, seen = time.perf_counter(), None
        # A group of its own, so that what the part started ends with it.
        out = self.log if output is None else open(output, "w")
        command = [sys.executable, *words]
        child = subprocess.Popen(
            command, cwd=common.ROOT, env=environment, stdout=out, stderr=self.log, process_group=0
        )
        try:
            while child.poll() is None and time.perf_counter() - begin < left:
                time.sleep(0.2)
                new = read()
                if new is not None and new != seen:
                    seen = new
                    state.update(new)
                    self.save()
            cut_off = child.poll() is None
        finally:
            if child.poll() is None:
                stop(child)
            if output is not None:
                out.close()
                self.log.write(output.read_text())
        state.update(read() or {})
        state["seconds"] = time.perf_counter() - begin
        state["status"] = "cut off" if cut_off else "done" if child.returncode == 0 else "failed"
        if state["status"] == "failed":
            state["exit_code"] = child.returncode
        note(f"{name}: {state['status']} after {state['seconds']:.0f} s")
        self.save()


def stop(child: subprocess.Popen) -> None:
    """End a part and everything that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(3)
            break
        except subprocess.TimeoutExpired:
            continue
    child.wait()


def written(folder: Path):
    """What the one benchmark that writes into `folder` has recorded so far."""

    def read() -> dict | None:
        for path in folder.glob("*.json"):
            document = json.loads(path.read_text())
            return {key: document[key] for key in ("dataset", "setting", "seed", "result")}
        return None

    return read


def verdicts(output: Path):
    """Counts of what pytest has said so far in verbose mode, and the failures with their first lines."""

    def read() -> dict | None:
        text = output.read_text() if output.exists() else ""
        found = re.findall(r"^\S+::(\S+) (PASSED|FAILED|ERROR|SKIPPED)", text, re.MULTILINE)
        counts = {name: sum(word == name for _, word in found) for name in ("PASSED", "FAILED", "ERROR", "SKIPPED")}
        why = re.findall(r"^(?:FAILED|ERROR) \S+::(\S+) - (.*)", text, re.MULTILINE)
        return {"result": {"tests": len(found)} | {k.lower(): n for k, n in counts.items()} | {"why": dict(why)}}

    return read


def environment(cache: Path) -> dict[str, str]:
    """What every part sees: this source tree, one cache of compiled programs, and the flags of the command line."""
    from tirgn_eqx.runtime.xla_flags import add_native_atomics

    made = common.child_environment(
        JAX_COMPILATION_CACHE_DIR=str(cache),
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0.5",
        PYTHONUNBUFFERED="1",
    )
    add_native_atomics(made)
    return made


def data_words(path: str, args: argparse.Namespace) -> list[str]:
    """The options that say what one dataset's parts measure."""
    presets = dict(word.split("=", 1) for word in args.preset)
    preset = presets.get(Path(path).name) or common.preset_for(path)
    words = ["--data-path", path] + (["--preset", preset] if preset else [])
    words += [] if args.seed is None else ["--seed", str(args.seed)]
    words += [word for setting in args.set for word in ("--set", setting)]
    return words + (["--quick"] if args.quick else [])


def by_size(paths: list[str]) -> list[tuple[str, str]]:
    """(name, path) of every dataset, the one with the fewest facts first."""
    from tirgn_eqx.data import load_graph

    graphs = [(load_graph(path), path) for path in paths]
    return [(graph.name, path) for graph, path in sorted(graphs, key=lambda pair: pair[0].num_facts)]


def run_all(run: Run, datasets: list[tuple[str, str]], args: argparse.Namespace, folder: Path) -> None:
    """Every part in its order."""
    base = environment(folder / "compiled")

    def limit(kind: str) -> float:
        share = SHARES[kind] if kind == "train" or len(args.chosen) > 1 else 1.0
        return min(run.deadline, time.perf_counter() + share * run.seconds)

    def benchmark(kind: str, script: str, name: str, words: list[str], until: float, environment=base) -> None:
        place = folder / f"{kind}-{len(run.parts)}"
        place.mkdir()
        words = ["-m", f"benchmarks.{script}", *words, "--results", str(place)]
        run.part(f"{kind} {name}", kind, words, until, written(place), environment)

    if "golden" in args.chosen:
        if (common.ROOT / "tests" / "test_golden.py").exists():
            output = folder / "golden.txt"
            words = ["-m", "pytest", "tests/test_golden.py", "-v", "-rfE", "-p", "no:cacheprovider"]
            words += ["-k", "ranks"] if args.quick else []
            exact = base | {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
            run.part("golden", "golden", words, limit("golden"), verdicts(output), exact, output)
        else:
            run.parts["golden"] = {"status": "skipped: no golden numbers in this tree"}
    if "scatter" in args.chosen:
        quick = ["--quick"] * args.quick
        without = base | {"XLA_FLAGS": os.environ.get("XLA_FLAGS", "")}
        benchmark("scatter", "scatter", "forms", quick, limit("scatter"), without)
        if base.get("XLA_FLAGS", "") != without["XLA_FLAGS"]:
            quick += ["--tag", "native-atomics"]
            benchmark("scatter", "scatter", "forms with native atomics", quick, limit("scatter"))
    if "step" in args.chosen:
        until = limit("step")
        for name, path in datasets:
            words = data_words(path, args) + ["--parts", args.step_parts]
            benchmark("step", "step", name, words, until)
    if "peer" in args.chosen:
        until = limit("peer")
        if importlib.util.find_spec("torch") is None:
            run.parts["peer"] = {"status": "skipped: PyTorch is not installed"}
        else:
            for name, path in datasets:
                words = data_words(path, args) + ["--buckets", "1", *["--compile"] * (not args.quick)]
                benchmark("peer", "peer", name, words, until)
    if "evaluate" in args.chosen:
        until = limit("evaluate")
        for name, path in datasets:
            benchmark("evaluate", "evaluate", name, data_words(path, args), until)
    if "memory" in args.chosen:
        until = limit("memory")
        vary = args.vary or ["remat=none" if args.quick else "remat=dots,none,full"]
        extra = ["--predict", *(word for setting in vary for word in ("--vary", setting))]
        for name, path in datasets[: args.memory_datasets]:
            benchmark("memory", "memory", name, data_words(path, args) + extra, until)
    if "mesh" in args.chosen:
        words = ["--measure", "3" if args.quick else "20", *["--quick"] * args.quick]
        for loss in ("shared",) if args.quick else ("shared", "full"):
            benchmark("mesh", "mesh", loss, [*words, "--loss", loss], limit("mesh"))
    if "month" in args.chosen:
        until = limit("month")
        minutes = (until - time.perf_counter()) / 60
        words = ["--minutes", f"{minutes:.2f}", *["--quick"] * args.quick]
        benchmark("month", "month", "of events", words, until)
    if "train" in args.chosen:
        for name, path in datasets:
            until = min(run.deadline, time.perf_counter() + (args.dataset_seconds or run.seconds))
            # The training ends itself a little earlier, with its test figures.
            seconds = until - time.perf_counter() - 3
            words = data_words(path, args) + ["--seconds", f"{seconds:.0f}"]
            words += ["--reserve", "5"] if args.quick else []
            epochs = 2 if args.quick and not args.epochs else args.epochs
            words += ["--epochs", str(epochs)] if epochs else []
            words += ["--model-dir", str(args.model_dir / name)] if args.model_dir else []
            benchmark("train", "stream", name, words, until)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", metavar="DATASET", help="dataset folders (with --quick: sim)")
    parser.add_argument("--seconds", type=float, default=540.0, metavar="S", help="budget in all (default: 540)")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), metavar="DIR", help="for gpu.json and gpu.log")
    parser.add_argument("--parts", default=",".join(PARTS), metavar="LIST", help=f"of {','.join(PARTS)}")
    parser.add_argument("--preset", action="append", default=[], metavar="NAME=PRESET", help="of one dataset")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting for all parts")
    parser.add_argument("--seed", type=int, metavar="N")
    parser.add_argument("--epochs", type=int, metavar="N", help="at most so many epochs of each training")
    parser.add_argument("--dataset-seconds", type=float, metavar="S", help="at most so long for each training")
    parser.add_argument("--model-dir", type=Path, metavar="DIR", help="keep the checkpoints (default: not)")
    parser.add_argument("--step-parts", default="step", metavar="LIST", help="of step.py; each compiles (step)")
    parser.add_argument("--memory-datasets", type=int, default=1, metavar="N", help="how many, from the smallest")
    parser.add_argument("--vary", action="append", metavar="KEY=A,B", help="of memory.py (remat=dots,none,full)")
    parser.add_argument("--quick", action="store_true", help="tiny model, two epochs")
    args = parser.parse_args()
    args.chosen = args.parts.split(",")
    if unknown := set(args.chosen) - set(PARTS):
        parser.error(f"--parts: {', '.join(sorted(unknown))} does not exist; known: {', '.join(PARTS)}")
    if not args.data and not args.quick:
        parser.error("give at least one dataset folder, or --quick")
    args.data = args.data or [common.QUICK_DATA]
    return args


def interrupted(*_) -> None:
    raise KeyboardInterrupt


def main() -> None:
    args = arguments()
    signal.signal(signal.SIGTERM, interrupted)
    run = Run(args.out, args.seconds, args.quick)
    datasets = by_size(args.data)
    run.head = {
        "dataset": [name for name, _ in datasets],
        "setting": {"parts": args.chosen, "set": args.set, "quick": args.quick},
        "seed": args.seed or 0,
    }
    run.save()
    complete = False
    try:
        with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as folder:
            run_all(run, datasets, args, Path(folder))
        complete = all(part["status"] == "done" for part in run.parts.values())
    except KeyboardInterrupt:
        note("interrupted; what was reached is saved")
    run.save(complete)
    rows = [[name, part["status"], part.get("seconds"), summary(part)] for name, part in run.parts.items()]
    table(", ".join(common.gpu()) or "no GPU", ["part", "status", "seconds", "result"], rows)
    common.finish(run.document)


def summary(part: dict) -> str:
    """The main figure of a part in one line."""
    result = part.get("result") or {}
    if "tests" in result:
        return f"{result['passed']} tests passed, {result['failed'] + result['error']} failed"
    if result.get("summary"):
        found, ceilings = result["summary"], result["ceilings"]
        share = max((row["share_of_ceiling"].get("step", 0) for row in result["buckets"]), default=0)
        peak = ceilings["bf16_flops"] / 1e12
        return f"{found['mean_step_seconds'] * 1e3:.2f} ms a step, {share:.1%} of ceiling (bf16 {peak:.1f} TFLOP/s)"
    if "shapes" in result:
        times = [{form: found["median"] for form, found in row["seconds"].items()} for row in result["shapes"]]
        ratio = [row["scatter"] / min(row["scan"], row.get("product", math.inf)) for row in times]
        return f"a scatter takes {min(ratio):.2f} to {max(ratio):.2f} times what the faster other form takes"
    if "speedup" in result:
        return ", ".join(f"{ratio:.1f} x faster than {name}" for name, ratio in result["speedup"].items())
    if "seconds_per_snapshot" in result:
        return f"{result['seconds_per_snapshot'] * 1e3:.1f} ms a snapshot"
    if "most_facts_of_a_day" in result:
        peak = result.get("device_peak_bytes")
        told = "" if peak is None else f", device peak {peak / 2**30:.2f} GiB"
        return f"epoch {result.get('epoch_seconds', math.nan):.0f} s{told}"
    if "prediction" in result:
        first, last = result["prediction"][0], result["prediction"][-1]
        return f"step {first['step_seconds']:.3f} s, predicted on {last['mesh']}: {last['step_seconds']:.3f} s"
    if "settings" in result:
        ratio = [row["predicted_over_measured"] for row in result["settings"] if "predicted_over_measured" in row]
        told = f", predicted / measured {min(ratio):.2f} to {max(ratio):.2f}" if ratio else ""
        return f"{len(result['settings'])} settings{told}"
    if "epochs" in result:
        test = ((result.get("test") or {}).get("entity") or {}).get("mrr")
        told = "no test yet" if test is None else f"test MRR {test:.4f}"
        return f"{result['status']}, {len(result['epochs'])} epochs, {result['total_seconds']:.0f} s, {told}"
    return ""


if __name__ == "__main__":
    main()
