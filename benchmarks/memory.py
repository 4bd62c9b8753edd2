"""Peak memory and speed of a training, one process per setting, beside what was predicted for it.

Why: the peak decides which machine a training fits on, and it should follow batch size, entities and window, not
the length of the dataset. Told per setting: resident memory of the process after each stage of a training of a
few steps (largest snapshots first); seconds that compiling took, with `--again` also in a process that finds the
programs in the cache; seconds of a step with its largest snapshot; the compiler's account of the step; on a GPU the
peak bytes in use, and beside it with `--predict` what is predicted from compiled shapes alone, as `tirgn vram-probe`
does.

On a GPU every setting is compiled by one process and measured in a second one that finds it in a cache: the
compiler tries out products on the device, and that memory is not the step's.

    python -m benchmarks.memory --data-path data/ICEWS14s --vary remat=none,dots,full
    python -m benchmarks.memory --data-path data/YAGO --vary batch_size=256,1024,0 --predict
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import common
from benchmarks.common import note, table


def child(args: argparse.Namespace) -> None:
    """A training of `--steps` steps in this process; its account on the last line."""
    stages = {"python": common.peak_rss()}
    import jax

    from benchmarks.harness import Harness, device_peak
    from tirgn_eqx.evaluate.evaluators import RecurrentGraphEvaluator

    graph, config = common.load_recurrent(args)
    stages["data"] = common.peak_rss()
    harness = Harness(graph, config)
    stages["setup"] = common.peak_rss()
    report = {"backend": jax.default_backend(), "device": jax.devices()[0].device_kind}
    begin = time.perf_counter()
    harness.compile()
    report["compile_seconds"] = time.perf_counter() - begin
    evaluator = None
    if args.validate:
        window = config.window()
        evaluator = RecurrentGraphEvaluator(
            graph, "valid", vocabulary=harness.vocabulary, store=harness.store, **window
        )
        evaluator.compile(harness.model)
    stages["compiled"] = common.peak_rss()
    batches = [harness.typical(bucket, largest=True) for bucket in range(len(harness.loader.buckets))]
    # The largest first, so that the peak is reached even in a run of few steps.
    batches.sort(key=lambda prepared: -prepared.num_facts)
    for prepared in batches[: args.steps]:
        jax.block_until_ready(harness.step(prepared))
    stages["first steps"], report["device_peak_first_bytes"] = common.peak_rss(), device_peak()
    left = args.steps - len(batches)
    for prepared in harness.loader.epoch(1) if left > 0 else ():
        jax.block_until_ready(harness.step(prepared))
        left -= 1
        if left <= 0:
            break
    stages["steps"] = common.peak_rss()
    times: list[float] = []
    for _ in range(args.steps):
        begin = time.perf_counter()
        jax.block_until_ready(harness.step(batches[0]))
        times.append(time.perf_counter() - begin)
    report["step_seconds"] = common.spread(times)
    report["device_peak_bytes"] = device_peak()
    if evaluator:
        evaluator(harness.model)
        stages["validation"] = common.peak_rss()
        report["device_peak_validation_bytes"] = device_peak()
    report |= {"rss_bytes": stages, "steps": harness.steps}
    report["analysis_bytes"] = harness.step_memory(batches[0].bucket)
    if args.predict:
        from tirgn_eqx.train.memory import ProblemShape, predicted_bytes

        # Last: it compiles once more, and all peaks are read.
        report["predicted_bytes"] = predicted_bytes(ProblemShape.from_graph(graph, config), config)
    common.finish(report)


def run_child(config, args: argparse.Namespace, steps: int, folder: Path, *extra: str) -> dict:
    """The account of a training with `config` in a process of its own, or why there is none."""
    file = folder / "config.toml"
    file.write_text(config.to_toml())
    words = ["--child", "--data-path", args.data_path, "--config", str(file), "--steps", str(steps), *extra]
    for name in ("num_days", "granularity"):
        value = getattr(args, name)
        words += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    environment = common.child_environment(XLA_PYTHON_CLIENT_PREALLOCATE="false")
    # A cache that is set from outside is kept.
    environment.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    command = [sys.executable, "-m", "benchmarks.memory", *words]
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode == 0:
        return common.last_json(run.stdout)
    return {"error": f"exit code {run.returncode}, see stderr"}


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--steps", type=int, metavar="N", help="training steps (default: 20; quick: 3)")
    parser.add_argument(
        "--vary",
        action="append",
        metavar="KEY=A,B",
        help="settings to compare (default: remat=none,dots,full)",
    )
    parser.add_argument("--validate", action="store_true", help="validate once after the steps")
    parser.add_argument("--again", action="store_true", help="compile once more, from the cache of the first process")
    parser.add_argument("--predict", action="store_true", help="compare with the prediction of `tirgn vram-probe`")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = common.finalize(parser.parse_args())
    args.steps = args.steps or (3 if args.quick else 20)
    if args.child:
        return child(args)

    from tirgn_eqx.config import parse_assignments

    graph, config = common.load_recurrent(args)
    default = "remat=none" if args.quick else "remat=none,dots,full"
    varied = [setting.partition("=") for setting in args.vary or [default]]
    choices = [[f"{key}={value}" for value in values.split(",")] for key, _, values in varied]
    combinations = list(itertools.product(*choices))
    rows, document, on_gpu = [], {}, bool(common.gpu())
    extra = ["--validate"] if args.validate else []
    predict = ["--predict"] if args.predict else []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        for changes in combinations:
            setting = config.replace(**parse_assignments(list(changes)))
            row: common.Document = {
                "setting": {name: getattr(setting, name) for name in ("precision", "remat", "batch_size")}
            }
            row["setting"] |= {key: getattr(setting, key.replace("-", "_")) for key, _, _ in varied}
            ahead = run_child(setting, args, 1, Path(folder), *predict) if on_gpu else {}
            row |= run_child(setting, args, args.steps, Path(folder), *extra, *([] if on_gpu else predict))
            if args.again:
                again = run_child(setting, args, 1, Path(folder))
                row["compile_again_seconds"] = again.get("compile_seconds", again.get("error"))
            if "predicted_bytes" in ahead:
                row["predicted_bytes"] = ahead["predicted_bytes"]
            if row.get("predicted_bytes") and row.get("device_peak_bytes"):
                row["predicted_over_measured"] = row["predicted_bytes"] / row["device_peak_bytes"]
            rows.append(row)
            note(f"{' '.join(changes)}: {row.get('rss_bytes', row.get('error'))}")
            result = {"complete": len(rows) == len(combinations), "settings": rows}
            name = common.result_name("memory", graph, args, "gpu" if on_gpu else "cpu")
            document = common.record(name, common.described(graph, config) | {"result": result}, args.results)
    show(document)
    common.finish(document)


def show(document: dict) -> None:
    def mib(value):
        return None if value is None else value / 2**20

    rows = [
        [
            ", ".join(f"{key}={value}" for key, value in row["setting"].items()),
            mib(max(filter(None, row["rss_bytes"].values()), default=None)) if "rss_bytes" in row else None,
            mib(row.get("device_peak_bytes")),
            mib((row.get("analysis_bytes") or {}).get("temp")),
            mib(row.get("predicted_bytes")),
            row.get("predicted_over_measured"),
            row.get("compile_seconds"),
            row.get("compile_again_seconds"),
            (row.get("step_seconds") or {}).get("min"),
            row.get("error", ""),
        ]
        for row in document["result"]["settings"]
    ]
    columns = [
        "setting",
        "peak RSS MiB",
        "device peak MiB",
        "step's temporaries MiB",
        "predicted MiB",
        "ratio",
        "compile s",
        "again s",
        "step s",
        "",
    ]
    table(f"{document['dataset']['name']}: peak memory of a training", columns, rows)


if __name__ == "__main__":
    main()
