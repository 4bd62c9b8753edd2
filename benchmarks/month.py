"""A month of GDELT at its full size, made up: one epoch on this machine, its time and its memory.

Why: retraining weekly means daily snapshots of up to 100,000 facts, and memory must not grow with them. The facts are
random (of 2.1 million, 96,000 on the largest day, 5,900 entities, 300 relations); nothing is learnt from them, but the
epoch costs what a real one costs. Each model is trained by a process of its own; it ends within `--minutes` at the
latest, and then says how far it came.

    python -m benchmarks.month --set history_len=7 --recipe fast
    python -m benchmarks.month --preset evidence
"""

import argparse
import json
import sys
import tempfile
import time

import numpy as np

from benchmarks import common, graphs
from benchmarks.common import note, table

MONTH = {"entities": 5900, "relations": 300, "snapshots": 30, "facts": 2_100_000, "last_facts": 96_000}
QUICK = {"entities": 60, "relations": 6, "snapshots": 8, "facts": 800, "last_facts": 150}


def child(args: argparse.Namespace) -> None:
    """Train for an epoch or until the time is over; prints what it took."""
    from tirgn_eqx.config import GivenSettings
    from tirgn_eqx.runtime.malloc import keep_freed_memory
    from tirgn_eqx.train.api import train_tirgn
    from tirgn_eqx.train.events import EpochRecord, StepRecord, TrainingRecord

    keep_freed_memory()
    graph = graphs.random_graph(**(QUICK if args.quick else MONTH))
    config = GivenSettings(args.preset, args.recipe).config()
    config = common.make_quick(config) if args.quick else config
    config = GivenSettings(assignments=args.set).changed(config).replace(epochs=1, eval_interval=1)
    begin, seen = time.perf_counter(), {}

    def on_record(record: TrainingRecord) -> None:
        match record:
            case StepRecord():
                seen["first_step"] = seen.get("first_step", time.perf_counter() - begin)
                seen.update(steps=record.step, steps_per_epoch=record.steps_per_epoch, facts=record.facts)
                seen["seconds_of_steps"] = record.facts / record.facts_per_second
                note(f"step {record.step}/{record.steps_per_epoch}, {record.facts_per_second:,.0f} facts a second")
            case EpochRecord():
                seen.update(epoch_seconds=record.seconds, device_peak_bytes=record.memory)
            case _:
                pass

    with tempfile.TemporaryDirectory() as folder:

        def late():
            return time.perf_counter() - begin > 60 * args.minutes

        result = train_tirgn(
            graph,
            config.replace(logdir=folder),
            model_dir=folder,
            on_record=on_record,
            stop=lambda: late() or "epoch_seconds" in seen,
        )
    largest = int(np.diff(graph.offsets).max())
    found = seen | {"status": result["status"], "peak_rss_bytes": common.peak_rss(), "most_facts_of_a_day": largest}
    print(json.dumps({"dataset": graph.describe(), "setting": config.to_dict(), "seed": config.seed, "result": found}))


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--recipe", metavar="exact|fast", help="how to train (exact)")
    parser.add_argument("--minutes", type=float, default=25, metavar="N", help="stop after so many (25)")
    parser.add_argument("--child", action="store_true", help="for itself")
    args = common.finalize(parser.parse_args())
    if args.child:
        return child(args)
    words = [word for word in sys.argv[1:] if word != "--child"]
    found = common.run_module("benchmarks.month", [*words, "--child"])
    found["setting"].pop("logdir")
    name = common.join_name("month", found["setting"]["family"], args.recipe, args.tag)
    document = common.record(name, found, args.results)
    result = found["result"]
    row = [result.get("epoch_seconds"), result["facts"] / result["seconds_of_steps"], result["peak_rss_bytes"] / 2**30]
    table(name, ["epoch, s", "facts a second", "peak, GiB"], [row])
    common.finish(document)


if __name__ == "__main__":
    main()
