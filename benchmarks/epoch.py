"""Time of whole training epochs: batches built by the loader's thread, steps dispatched, results awaited.

Why: the step benchmark repeats one batch; an epoch shows what building batches, switching between padded shapes
and waiting for the device add to it. `loader_wait` is the time the loop waited for a batch: near zero means that
the host keeps up. The first epoch compiles and is told apart. No validation and no checkpoints.

    python -m benchmarks.epoch --data-path data/YAGO --epochs 2
"""

import time

from benchmarks import common
from benchmarks.common import note, table


def run_epoch(harness, number: int, max_steps: int | None) -> dict:
    """One epoch, or its first `max_steps` steps."""
    import jax

    steps = facts = 0
    wait, metrics = 0.0, []
    compiled = dict(harness.compiled)
    begin = waiting_since = time.perf_counter()
    batches = harness.loader.epoch(number)
    for prepared in batches:
        wait += time.perf_counter() - waiting_since
        metrics.append(harness.step(prepared))
        steps, facts = steps + 1, facts + prepared.num_facts
        if steps == max_steps:
            break
        waiting_since = time.perf_counter()
    # Ends the thread that builds batches ahead, where the epoch was cut.
    batches.close()
    # Steps were only dispatched so far.
    jax.block_until_ready(metrics)
    seconds = time.perf_counter() - begin
    new = [value for bucket, value in harness.compiled.items() if bucket not in compiled]
    return {
        "epoch": number,
        "steps": steps,
        "of_steps": len(harness.loader),
        "facts": facts,
        "seconds": seconds,
        "whole_epoch_seconds": (seconds - sum(new)) * len(harness.loader) / steps + sum(new),
        "compile_seconds": sum(new),
        "loader_wait_seconds": wait,
        "facts_per_second": facts / (seconds - sum(new)),
        "loss": sum(float(m["loss"]) for m in metrics) / steps,
    }


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--epochs", type=int, default=2, help="timed epochs after the first (default: 2)")
    parser.add_argument("--max-steps", type=int, help="cut every epoch after N steps; the rest is reckoned")
    args = common.finalize(parser.parse_args())
    epochs = 1 if args.quick else args.epochs

    from benchmarks.harness import Harness, device_peak

    graph, config = common.load_recurrent(args)
    harness = Harness(graph, config)
    name = common.result_name("epoch", graph, args)
    rows, document = [], {}
    for number in range(1, epochs + 2):
        rows.append(run_epoch(harness, number, args.max_steps))
        note(f"epoch {number}: {rows[-1]['seconds']:.2f} s")
        warm = rows[1:]
        result = {
            "complete": number == epochs + 1,
            "parameters": harness.parameters,
            "setup": harness.setup,
            "first": rows[0],
            "epochs": warm,
            "peak_rss_bytes": common.peak_rss(),
            "device_peak_bytes": device_peak(),
        }
        if warm:
            result["epoch_seconds"] = common.spread([row["whole_epoch_seconds"] for row in warm])
        document = common.record(name, common.described(graph, config) | {"result": result}, args.results)
    columns = [
        "epoch",
        "steps",
        "seconds",
        "compile_seconds",
        "loader_wait_seconds",
        "facts_per_second",
        "loss",
    ]
    table(
        f"{graph.name}, {config.precision}: epochs",
        columns,
        [[row[name] for name in columns] for row in rows],
    )
    common.finish(document)


if __name__ == "__main__":
    main()
