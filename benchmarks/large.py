"""A graph of the largest published size (1.2 million entities, 600 relations, 10 million facts) on one machine.

Why: an entity's state depends on its own row and its neighbours' in the window, so a step with a sampled or shared loss
costs what it touches, not what exists; and evaluation evolves idle entities once. This script shows that on a random
graph of tkgl-wikidata's size: the history index, a number of training steps of the whole program, and the evaluation of
some snapshots, with the peak of resident memory after each stage. An epoch's time is told as the mean step times the
number of steps, marked as such.

    python -m benchmarks.large --steps 60
"""

import argparse

from benchmarks import common
from benchmarks.common import note, table

SIZES = {"entities": 1_226_440, "relations": 596, "snapshots": 2025, "facts": 9_856_203}
QUICK_SIZES = {"entities": 3000, "relations": 12, "snapshots": 40, "facts": 4000}
SETTINGS = {
    "embedding_dim": 64,
    "history_len": 2,
    "num_layers": 1,
    "static_graph": False,
    "batch_size": 1024,
    "loss": "shared",
    "num_shared": 4096,
    "unique_queries": True,
    "max_buckets": 1,
    "precision": "f32",
    "remat": "none",
    "history_window": 50,
}


def shortened(graph, snapshots: int):
    """`graph` with a valid split of `snapshots` snapshots; what follows them is left out."""
    import numpy as np

    from tirgn_eqx.data.graph import from_facts

    last = int(graph.split_snapshots("valid")[:snapshots][-1])
    kept = graph.snapshot <= last
    rows = np.stack([graph.subject, graph.relation, graph.object, graph.snapshot], 1)[kept]
    return from_facts("random", rows, graph.split[kept], graph.num_entities, graph.num_relations, time_interval=1)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--steps", type=int, default=40, metavar="N", help="training steps timed (default: 40)")
    parser.add_argument("--snapshots", type=int, default=3, metavar="N", help="snapshots evaluated (default: 3)")
    parser.add_argument("--entities", type=int, metavar="N", help="instead of 1,226,440")
    parser.add_argument("--facts", type=int, metavar="N", help="instead of 9,856,203")
    args = common.finalize(parser.parse_args())
    run(args)


def run(args: argparse.Namespace) -> None:
    import jax
    import numpy as np

    from benchmarks.graphs import random_graph
    from benchmarks.harness import Harness, clock
    from tirgn_eqx.config import TiRGNTrainingConfig, parse_assignments
    from tirgn_eqx.evaluate.evaluators import RecurrentGraphEvaluator
    from tirgn_eqx.runtime.malloc import keep_freed_memory

    keep_freed_memory()
    sizes = dict(QUICK_SIZES if args.quick else SIZES)
    sizes |= {name: value for name in ("entities", "facts") if (value := getattr(args, name))}
    seed = {"seed": args.seed} if args.seed else {}
    config = TiRGNTrainingConfig().replace(**SETTINGS | parse_assignments(args.set) | seed)
    memory = {"python": common.peak_rss()}
    note(f"drawing {sizes['facts']:,} facts over {sizes['entities']:,} entities")
    graph = shortened(random_graph(**sizes, seed=config.seed), args.snapshots)
    memory["graph"] = common.peak_rss()
    harness = Harness(graph, config)
    memory["history, plan, model, optimizer"] = common.peak_rss()
    report = harness.vocabulary.report()
    note(f"history index in {harness.setup['history_seconds']:.1f} s; plan in {harness.setup['plan_seconds']:.1f} s")
    samples, built, losses = [], [], []
    targets = harness.loader.order(1)[: args.steps + 1]
    for number, target in enumerate(targets.tolist()):
        seconds, prepared = clock(lambda target=target: harness.loader.build(target))
        step_seconds, metrics = clock(lambda prepared=prepared: jax.block_until_ready(harness.step(prepared)))
        losses.append(float(metrics["loss"]))
        if number:  # the first one compiles
            built.append(seconds)
            samples.append(step_seconds)
    memory["training"] = common.peak_rss()
    note(f"{len(samples)} steps, median {np.median(samples):.3f} s")
    window = config.window()
    evaluator = RecurrentGraphEvaluator(graph, "valid", vocabulary=harness.vocabulary, store=harness.store, **window)
    first, _ = clock(lambda: evaluator(harness.model))
    evaluation_seconds, evaluation = clock(lambda: evaluator(harness.model))
    memory["evaluation"] = common.peak_rss()
    table_bytes = graph.num_entities * config.embedding_dim * 4
    rows = harness.loader.buckets[0].rows
    result = {
        "sizes": sizes,
        "facts_per_snapshot": sizes["facts"] / sizes["snapshots"],
        "rows_of_a_step": rows,
        "share_of_entities": rows / graph.num_entities,
        "parameters": harness.parameters,
        "history": report | {"seconds": harness.setup["history_seconds"]},
        "history_bytes_per_fact": report["bytes"] / graph.num_facts,
        "plan_seconds": harness.setup["plan_seconds"],
        "table_bytes": {"embedding": table_bytes, "optimizer": 2 * table_bytes},
        "step_seconds": common.spread(samples) | {"steps": len(samples)},
        "build_seconds": common.spread(built),
        "epoch_seconds_projected": float(np.mean(samples)) * len(harness.loader),
        "loss": {"first": losses[0], "last": losses[-1]},
        "evaluation_seconds_per_snapshot": evaluation_seconds / len(evaluator.loader),
        "evaluation_queries": len(evaluation.snapshot),
        "evaluation_first_call_seconds": first,
        "peak_rss_bytes": memory,
    }
    document = common.record(
        common.join_name("large", jax.default_backend(), args.tag),
        common.described(graph, config) | {"result": result},
        args.results,
    )
    table(
        f"{graph.num_entities:,} entities, {graph.num_facts:,} facts: RSS after each stage",
        ["stage", "GB"],
        [[stage, (peak or 0) / 1e9] for stage, peak in memory.items()],
    )
    table(
        "Times",
        ["step s (median)", "epoch s (projected)", "evaluation s/snapshot", "history s", "rows", "of entities"],
        [
            [
                result["step_seconds"]["median"],
                result["epoch_seconds_projected"],
                result["evaluation_seconds_per_snapshot"],
                report and harness.setup["history_seconds"],
                rows,
                f"{rows / graph.num_entities:.1%}",
            ]
        ],
    )
    common.finish(document)


if __name__ == "__main__":
    main()
