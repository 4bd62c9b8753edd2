"""How costs grow: with facts, entities, snapshots, window and queries, on random graphs, one process per point.

Why: a figure for one dataset says little about the next one. Each axis changes one size and keeps the others; the
exponent is the slope of log cost over log size, least squares over all points (`tail`: over the last two). Aim:
time per epoch linear in the facts, memory flat in the number of snapshots.

| axis | what grows | what it tells |
|---|---|---|
| facts | facts per snapshot and so edges and queries; snapshots fixed | load of a denser stream |
| entities | vocabulary | share of the evolution of idle entities |
| snapshots | length of the timeline at equal facts per snapshot | time per epoch, memory |
| window | `history_len` | evolution |
| queries | facts of the one target snapshot that is stepped; window fixed | decoders and scores |

    python -m benchmarks.scaling --axes facts,snapshots
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks import common
from benchmarks.common import note, table

BASE = {"entities": 2000, "relations": 50, "snapshots": 40, "facts": 8000, "window": 4}
# Facts of a target snapshot for "queries"; everything else in units of BASE.
AXES = {
    "facts": [2000, 6000, 20_000, 60_000, 200_000],
    "entities": [500, 2000, 8000, 32_000],
    "snapshots": [20, 60, 200, 600],
    "window": [1, 2, 4, 8, 16],
    "queries": [50, 200, 800, 3200],
}
QUICK_BASE = {"entities": 60, "relations": 6, "snapshots": 12, "facts": 240, "window": 2}
QUICK_AXES = {
    "facts": [120, 480],
    "entities": [30, 120],
    "snapshots": [10, 20],
    "window": [1, 3],
    "queries": [10, 60],
}
# What is fitted, with its heading and the unit of its column.
COSTS = {
    "step_seconds": ("step s", 1),
    "epoch_seconds": ("epoch s", 1),
    "build_seconds": ("batch s", 1),
    "history_seconds": ("history s", 1),
    "history_bytes": ("history MB", 1e6),
    "peak_rss_bytes": ("RSS MB", 1e6),
    "step_temp_bytes": ("step MB", 1e6),
}


def problem(axis: str, value: int, base: dict) -> dict:
    """Sizes of the point `value` on `axis`."""
    sizes = base | ({axis: value} if axis != "queries" else {"last_facts": value})
    if axis == "snapshots":
        sizes["facts"] = base["facts"] // base["snapshots"] * value
    return sizes


def measure(sizes: dict, config, max_steps: int, repeats: int) -> dict:
    """Costs of one random graph's training, in this process."""
    import jax

    from benchmarks.graphs import random_graph
    from benchmarks.harness import Harness

    sizes = dict(sizes)
    config = config.replace(history_len=sizes.pop("window"), max_buckets=1)
    graph = random_graph(**sizes, seed=config.seed)
    harness = Harness(graph, config)
    loader = harness.loader
    target = int(loader.items[-1])
    prepared = loader.build(target)
    begin = time.perf_counter()
    for _ in range(repeats):
        loader.build(target)
    costs: common.Document = {"build_seconds": (time.perf_counter() - begin) / repeats}
    jax.block_until_ready(harness.step(prepared))
    costs["compile_seconds"] = harness.compiled[prepared.bucket]
    costs["step_seconds"] = common.timed(lambda: harness.step(prepared), repeats)["median"]
    if "last_facts" not in sizes:
        steps, metrics, begin = 0, [], time.perf_counter()
        # An epoch shows what a repeated step hides: other shapes, and batches that are built meanwhile.
        batches = loader.epoch(1)
        for prepared_next in batches:
            metrics.append(harness.step(prepared_next))
            steps += 1
            if steps == max_steps:
                break
        batches.close()
        jax.block_until_ready(metrics)
        costs["epoch_seconds"] = (time.perf_counter() - begin) * len(loader) / steps
        costs["epoch_steps_run"], costs["epoch_steps"] = steps, len(loader)
    costs["peak_rss_bytes"] = common.peak_rss()
    costs["history_seconds"] = harness.setup["history_seconds"]
    costs["plan_seconds"] = harness.setup["plan_seconds"]
    costs["history_bytes"] = harness.vocabulary.report()["bytes"]
    costs["step_temp_bytes"] = (harness.step_memory(prepared.bucket) or {}).get("temp")
    return {"facts_in_all": graph.num_facts, "target_facts": prepared.num_facts} | costs


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Least-squares slope of log cost over log size."""
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y)) / spread


def exponents(points: list[dict]) -> dict:
    """Exponent of every cost along one axis."""
    found = {}
    for cost in COSTS:
        known = [(point["size"], point[cost]) for point in points if point.get(cost)]
        if len(known) >= 2:
            sizes, costs = zip(*known)
            found[cost] = {"all": slope(sizes, costs), "tail": slope(sizes[-2:], costs[-2:])}
    return found


def run_point(sizes: dict, args: argparse.Namespace) -> dict:
    """One point in a process of its own, so that its peak memory is its own."""
    words = common.passed_on(args) + ["--child", json.dumps(sizes), "--repeats", str(args.repeats)]
    words += ["--max-steps", str(args.max_steps)]
    command = [sys.executable, "-m", "benchmarks.scaling", *words]
    run = subprocess.run(command, env=common.child_environment(), stdout=subprocess.PIPE, text=True, check=False)
    return common.last_json(run.stdout) if run.returncode == 0 else {"error": f"exit code {run.returncode}"}


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--axes", default=",".join(AXES), metavar="LIST", help="of " + ", ".join(AXES))
    parser.add_argument("--max-steps", type=int, default=60, help="of an epoch; the rest is reckoned (60)")
    parser.add_argument("--child", metavar="JSON", help=argparse.SUPPRESS)
    args = common.finalize(parser.parse_args())
    axes, base = (QUICK_AXES, QUICK_BASE) if args.quick else (AXES, BASE)
    chosen = args.axes.split(",")
    if unknown := set(chosen) - set(axes):
        parser.error(f"--axes: {', '.join(sorted(unknown))} does not exist; known: {', '.join(axes)}")
    # The data only decides the preset here; the graphs are drawn.
    _, config = common.load_recurrent(args)
    if args.child:
        return common.finish(measure(json.loads(args.child), config, args.max_steps, args.repeats))

    dataset = {"name": "random", "sha256": None} | base
    results, document = {}, {}
    for axis in chosen:
        points = results.setdefault(axis, {"points": []})["points"]
        for value in axes[axis]:
            sizes = problem(axis, value, base)
            if args.quick:
                point = measure(sizes, config, args.max_steps, args.repeats)
            else:
                point = run_point(sizes, args)
            points.append({"size": value, "sizes": sizes} | point)
            note(f"{axis} {value:,}: {point.get('step_seconds', point.get('error'))} s a step")
            results[axis]["exponents"] = exponents(points)
            payload = {"dataset": dataset, "setting": config.to_dict(), "seed": config.seed}
            complete = axis == chosen[-1] and value == axes[axis][-1]
            payload["result"] = {"complete": complete, "base": base, "axes": results}
            name = common.join_name("scaling", "random", args.tag)
            document = common.record(name, payload, args.results)
    show(results)
    common.finish(document)


def show(results: dict) -> None:
    rows = []
    for axis, found in results.items():
        for point in found["points"]:
            costs = [(point.get(cost), unit) for cost, (_, unit) in COSTS.items()]
            rows.append([axis, f"{point['size']:,}", *(None if x is None else x / unit for x, unit in costs)])
        fitted = found["exponents"]
        rows.append([axis, "exponent", *(fitted.get(cost, {}).get("all") for cost in COSTS)])
    table("Cost against size", ["axis", "size", *(heading for heading, _ in COSTS.values())], rows)


if __name__ == "__main__":
    main()
