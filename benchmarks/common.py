"""What every benchmark shares: what a result carries, where it is saved, how time is taken, what the machine can do.

A result is one JSON document: what was run (command, seed, setting), on what data (name, counts, checksum), by
which source (commit, versions), on which machine, when, and the figures under `result`. It is saved in
`benchmarks/results/` and is the last line on stdout.
"""

import argparse
import dataclasses
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from benchmarks.provenance import ROOT as ROOT
from benchmarks.provenance import command_line as command_line
from benchmarks.provenance import commit as commit
from benchmarks.provenance import gpu as gpu
from benchmarks.provenance import machine

if TYPE_CHECKING:
    from tirgn_eqx.config import RecurrentTrainingConfig, TrainingConfig
    from tirgn_eqx.data import TemporalGraph

RESULTS = Path(__file__).resolve().parent / "results"
# The source tree beside the benchmarks is what is measured, installed or not, also by the processes they start.
TREE = [str(ROOT), str(ROOT / "cli")]
sys.path[:0] = TREE
os.environ["PYTHONPATH"] = os.pathsep.join([*TREE, *filter(None, [os.environ.get("PYTHONPATH")])])

# A JSON document or a part of one. What a result holds is for each script to say, and pages and tests read it by name,
# so that there is no type for its values.
Document = dict[str, Any]
PROVENANCE = ("benchmark", "date", "command", "commit", "machine", "versions", "dataset", "setting", "seed")
QUICK_DATA = "sim:num_entities=40,num_relations=8,num_days=20,facts_per_day=40"
QUICK_SETTINGS = {
    "embedding_dim": 16,
    "conv_channels": 4,
    "static_blocks": 8,
    "history_len": 3,
    "num_layers": 1,
    "batch_size": 0,
    "max_buckets": 1,
    "precision": "f32",
    "remat": "none",
    "epochs": 2,
    "eval_interval": 1,
}
SHORTEST_SAMPLE = 0.05  # seconds that one timed sample lasts at least


class Spread(TypedDict):
    """Of several samples."""

    min: float
    median: float
    max: float


class Timed(Spread):
    """Seconds of a call over several samples, each the mean of so many calls."""

    repeats: int
    calls: int


# --- a result -------------------------------------------------------------------------------------------------


def provenance(name: str) -> Document:
    """What a result says about how it came to be, but for data, setting and seed."""
    from tirgn_eqx.checkpoint.models import versions

    return {
        "benchmark": name,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
    }


def write_json(path: Path, document: object) -> None:
    """Write strict JSON (NaN becomes null) whole or not at all."""
    from tirgn_eqx.storage.atomic_write import write_text
    from tirgn_eqx.storage.strict_json import to_json

    write_text(path, to_json(document, indent=1) + "\n")


def join_name(*parts: str | None) -> str:
    """The name of a result from its parts, without those that are empty."""
    return "-".join(filter(None, parts))


def record(name: str, payload: Document, results: Path | None = RESULTS) -> Document:
    """The document of one result, written to `results/NAME.json` unless `results` is None.

    **Arguments:** `payload`: holds at least `dataset`, `setting` and `seed`; what it holds beside comes along and
    wins over the provenance gathered here.
    """
    document = provenance(name) | payload
    missing = [key for key in PROVENANCE if key not in document]
    if missing:
        raise ValueError(f"result {name}: {', '.join(missing)} missing; a result says where it comes from")
    if results is not None:
        write_json(results / f"{name}.json", document)
    return document


# --- showing ---------------------------------------------------------------------------------------------------


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A small table on stdout; numbers to the right."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=title, title_justify="left")
    rows = [list(row) for row in rows]
    for number, column in enumerate(columns):
        numeric = all(isinstance(row[number], (int, float, type(None))) for row in rows)
        shown.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        shown.add_row(*(_text(value) for value in row))
    Console(width=None if sys.stdout.isatty() else 130, highlight=False).print(shown)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def note(text: str) -> None:
    """A line of progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def finish(document: Document) -> None:
    """The whole document as the last line on stdout."""
    from tirgn_eqx.storage.strict_json import to_json

    print(to_json(document), flush=True)


def last_json(text: str) -> Any:
    """The JSON document on the last line of a program's output."""
    lines = text.strip().splitlines()
    return json.loads(lines[-1]) if lines else None


def run_module(
    module: str, words: Iterable[str], environment: Mapping[str, str] | None = None, accepted: Sequence[int] = (0,)
) -> Document:
    """The last line of a module that is run as a program of its own; another exit code than those `accepted` ends this
    program."""
    command, environment = [sys.executable, "-m", module, *words], environment or child_environment()
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode not in accepted:
        sys.exit(f"{module} ended with exit code {run.returncode}")
    return last_json(run.stdout)


# --- measuring -------------------------------------------------------------------------------------------------


def spread(samples: Sequence[float]) -> Spread:
    """`min`, `median` and `max` of samples."""
    return {"min": min(samples), "median": statistics.median(samples), "max": max(samples)}


def timed(fn: Callable[[], object], repeats: int = 5, *, warmup: int = 1) -> Timed:
    """Seconds of one call of `fn`: `min`, `median`, `max` over `repeats` samples after warm-up.

    Every sample ends when the arrays that `fn` returned are ready. A sample of a short call is the mean of
    several dispatched in a row (`calls`), so that the cost of waiting for the device does not count.
    """
    import jax

    for _ in range(max(0, warmup)):
        jax.block_until_ready(fn())

    def sample(calls: int) -> float:
        begin = time.perf_counter()
        out = None
        for _ in range(calls):
            out = fn()
        jax.block_until_ready(out)
        return (time.perf_counter() - begin) / calls

    once = sample(1)
    calls = 1 if once >= SHORTEST_SAMPLE else min(100, int(SHORTEST_SAMPLE / max(once, 1e-7)) + 1)
    samples = [sample(calls) for _ in range(max(1, repeats))]
    return Timed(**spread(samples), repeats=len(samples), calls=calls)


def ceilings(quick: bool = False) -> Document:
    """What the default device can do: dense matrix products in FLOP/s and streaming memory in bytes/s.

    Random square matrices by the framework's own product, in f32 (`f32_highest`: without shortened mantissas,
    which some GPUs use for f32 by default) and bf16 (summed in f32); and an array read and another written, both
    larger than the caches, bytes read plus bytes written. The best of several samples: a ceiling is what nothing
    exceeds. In a process of its own: its arrays would leave the heap of this one in another state than a training's.
    """
    environment = child_environment(XLA_PYTHON_CLIENT_PREALLOCATE="false")
    return run_module("benchmarks.common", ["--quick"] * quick, environment)


def measure_ceilings(quick: bool = False) -> Document:
    """`ceilings`, in this process."""
    import jax
    import jax.numpy as jnp
    import jax.random as jr

    on_cpu = jax.default_backend() == "cpu"
    size = 256 if quick else 2048 if on_cpu else 8192
    repeats = 3 if quick else 7
    key, other = jr.split(jr.key(0))
    found: Document = {"device": jax.devices()[0].device_kind, "matrix_size": size}
    for name, dtype, precision in (
        ("f32", jnp.float32, None),
        ("f32_highest", jnp.float32, "highest"),
        ("bf16", jnp.bfloat16, None),
    ):
        if name == "f32_highest" and on_cpu:
            continue
        x, y = jr.normal(key, (size, size), dtype), jr.normal(other, (size, size), dtype)
        product = jax.jit(partial(jnp.matmul, precision=precision, preferred_element_type=jnp.float32))
        seconds = timed(lambda product=product, x=x, y=y: product(x, y), repeats, warmup=2)
        found[f"{name}_flops"] = 2 * size**3 / seconds["min"]
    count = 2**20 if quick else 2**26 if on_cpu else 2**29
    source = jr.normal(key, (count,))
    # Writing into a given array: a fresh one would time the system's page faults.
    copy = jax.jit(lambda target, source: -source, donate_argnums=0, keep_unused=True)
    target = [jnp.zeros_like(source)]

    def stream():
        target[0] = copy(target[0], source)
        return target[0]

    seconds = timed(stream, repeats, warmup=2)
    found["copy_bytes"] = 2 * source.nbytes
    found["bytes_per_second"] = 2 * source.nbytes / seconds["min"]
    return found


def peak_rss() -> int | None:
    """Largest resident memory of this process so far, in bytes; None where the system does not say."""
    try:
        # Not getrusage: a child started by a large process begins with that one's peak.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# --- what is measured ------------------------------------------------------------------------------------------


def preset_for(path: str) -> str | None:
    """The preset whose name begins the folder's or file's name (GDELT-resplit -> gdelt); None for sim."""
    from tirgn_eqx.config import PRESETS

    name = Path(path).stem.lower().replace("_", "-")
    fitting = [preset for preset in PRESETS if name.startswith(preset)]
    return max(fitting, key=len) if fitting and not path.startswith("sim") else None


def load(
    dataset_path: str,
    preset: str | None = None,
    *,
    config_file: str | None = None,
    assignments: Sequence[str] = (),
    seed: int | None = None,
    quick: bool = False,
    **options: Any,  # of `load_graph`
) -> tuple["TemporalGraph", "TrainingConfig"]:
    """(graph, config) of a benchmark; a preset that is not given is chosen by `preset_for`.

    Later ones win: preset, quick settings, `config_file`, `assignments` (`key=value`), `seed`. `options` go to
    `load_graph`.
    """
    from tirgn_eqx.config import GivenSettings
    from tirgn_eqx.data import load_graph

    graph = load_graph(dataset_path, **options)
    options_given = {} if seed is None else {"seed": seed}
    given = GivenSettings(None, None, config_file, assignments, options_given)
    config = dataclasses.replace(given, preset=preset or preset_for(dataset_path)).config()
    if quick:
        config = make_quick(config, given.settings())
    return graph, config


def quick_assignments(config: "TrainingConfig", given: Mapping[str, object] | None = None) -> list[str]:
    """`QUICK_SETTINGS` as far as the family of `config` has them, as `key=value`.

    Of a mixture, both parts have them. **Arguments:** `given`: settings by name that are left as they are.
    """
    from tirgn_eqx.config import MixtureTrainingConfig, flatten, settings_of

    parts: dict[str, TrainingConfig] = {"": config}
    if isinstance(config, MixtureTrainingConfig):
        parts = {"": config.structure, "evidence.": config.evidence}
    kept = dict(flatten(given or {}))
    return [
        f"{prefix}{name}={value}"
        for prefix, part in parts.items()
        for name, value in QUICK_SETTINGS.items()
        if name in settings_of(type(part)) and prefix + name not in kept
    ]


def make_quick(config: "TrainingConfig", given: Mapping[str, object] | None = None) -> "TrainingConfig":
    """`config` with `quick_assignments`."""
    from tirgn_eqx.config import GivenSettings

    return GivenSettings(assignments=quick_assignments(config, given)).changed(config)


def split_words() -> tuple[list[str], list[str]]:
    """The words of the command line before `--`, and those after it."""
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    return words[:cut], words[cut + 1 :]


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark takes; `doc` is the script's docstring."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data-path", metavar="PATH", help="dataset folder, event parquet, or sim (default: sim)")
    made.add_argument("--preset", metavar="NAME", help="published settings (default: by the name of the data)")
    made.add_argument("--config", metavar="FILE", help="TOML or JSON file of settings over the preset")
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; repeatable")
    made.add_argument("--seed", type=int, metavar="N", help="seed of everything (default: the setting's, 0)")
    made.add_argument("--num-days", type=int, metavar="N", help="days of an event parquet or of sim")
    made.add_argument("--granularity", metavar="15min|hour|day", help="snapshot length of an event parquet")
    made.add_argument("--repeats", type=int, metavar="N", help="timed samples (default: 5; quick: 2)")
    made.add_argument("--quick", action="store_true", help="tiny model, on a tiny sim unless data is given")
    made.add_argument("--tag", metavar="TEXT", help="added to the name of the result")
    made.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        help="where the result is saved (default: benchmarks/results; nowhere with --quick)",
    )
    return made


def finalize(args: argparse.Namespace) -> argparse.Namespace:
    """Fills in what `--quick` decides."""
    args.data_path = args.data_path or (QUICK_DATA if args.quick else "sim")
    args.repeats = args.repeats or (2 if args.quick else 5)
    if args.results is None and not args.quick:
        args.results = RESULTS
    return args


def load_arguments(args: argparse.Namespace) -> tuple["TemporalGraph", "TrainingConfig"]:
    """`load` with the options of `parser`; from here on the process keeps its freed memory, as the commands do."""
    from tirgn_eqx.runtime.malloc import keep_freed_memory

    keep_freed_memory()
    options = {"num_days": args.num_days, "granularity": args.granularity}
    graph, config = load(
        args.data_path,
        args.preset,
        config_file=args.config,
        assignments=args.set,
        seed=args.seed,
        quick=args.quick,
        **{name: value for name, value in options.items() if value is not None},
    )
    # Settled here without starting JAX, because a benchmark's children want the device.
    if getattr(config, "precision", None) == "auto":
        config = config.replace(precision="bf16" if gpu() else "f32")
    return graph, config


def load_recurrent(args: argparse.Namespace) -> tuple["TemporalGraph", "RecurrentTrainingConfig"]:
    """`load_arguments` for a benchmark of TiRGN and RE-GCN; ends the program for another family."""
    from tirgn_eqx.config import RecurrentTrainingConfig

    graph, config = load_arguments(args)
    if not isinstance(config, RecurrentTrainingConfig):
        sys.exit(f"--preset: of {config.family}, but this benchmark measures tirgn and regcn; give another one")
    return graph, config


def load_words(args: argparse.Namespace) -> list[str]:
    """The options of `parser` that say how data is loaded, for a `tirgn` command."""
    given = {"--num-days": args.num_days, "--granularity": args.granularity}
    return [word for name, value in given.items() if value is not None for word in (name, str(value))]


def described(graph: "TemporalGraph", config: "TrainingConfig") -> Document:
    """`dataset`, `setting` and `seed` of a result."""
    return {"dataset": graph.describe(), "setting": config.to_dict(), "seed": config.seed}


def result_name(script: str, graph: "TemporalGraph", args: argparse.Namespace, backend: str | None = None) -> str:
    """SCRIPT-DATASET-BACKEND[-TAG]; asking JAX for the backend (None) starts it on the device."""
    import jax

    return join_name(script, graph.name, backend or jax.default_backend(), args.tag)


def passed_on(args: argparse.Namespace) -> list[str]:
    """The options of `parser` that say what is measured, for a child process."""
    words = ["--data-path", args.data_path]
    for name in ("preset", "config", "seed", "num_days", "granularity"):
        value = getattr(args, name)
        words += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    words += [word for setting in args.set for word in ("--set", setting)]
    return words + (["--quick"] if args.quick else [])


def child_environment(**changes: str) -> dict[str, str]:
    """The environment of a child process that imports this source tree and compiles afresh, unless `TIRGN_CACHE` or
    JAX's own variables say otherwise."""
    paths = [str(ROOT), str(ROOT / "cli"), os.environ.get("PYTHONPATH", "")]
    return {"TIRGN_CACHE": "off"} | os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | changes


if __name__ == "__main__":
    finish(measure_ceilings("--quick" in sys.argv))
