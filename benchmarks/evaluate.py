"""Time of evaluating a split: per snapshot, per query, and the share of the machine's product rate.

Why: validation runs after every epoch or few, so it is part of every training's time. The weights do not matter
to the cost: they are random unless `--checkpoint` is given. The first call compiles and is told apart.

    python -m benchmarks.evaluate --data-path data/YAGO --split test
    python -m benchmarks.evaluate --data-path data/ICEWS14s --checkpoint models/tkg/tirgn_best.npz
"""

from benchmarks import common
from benchmarks.common import note, table


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--split", default="test", choices=("valid", "test"))
    parser.add_argument("--checkpoint", metavar="FILE", help="evaluate this model (and its settings)")
    args = common.finalize(parser.parse_args())

    import jax
    import jax.random as jr

    from benchmarks.flops import forward_flops
    from benchmarks.harness import clock, device_peak
    from tirgn_eqx.checkpoint.models import load_model
    from tirgn_eqx.data import build_history_vocabulary
    from tirgn_eqx.data.vocabulary import match_checkpoint
    from tirgn_eqx.evaluate.evaluators import RecurrentGraphEvaluator
    from tirgn_eqx.models import TiRGN, build_model

    graph, config = common.load_recurrent(args)
    if args.checkpoint:
        model, config, metadata = load_model(args.checkpoint)
        graph = match_checkpoint(graph, metadata, args.checkpoint)
    else:
        static = graph.static if config.static_graph else None
        model = build_model(graph.num_entities, graph.num_relations, config, static, key=jr.key(config.seed))
    if not isinstance(model, TiRGN):
        parser.error(f"counts the operations of TiRGN alone, not of {config.family}")
    note(f"{graph.name}: {graph.num_facts:,} facts; measuring the machine first")
    ceilings = common.ceilings(args.quick)
    history_seconds, vocabulary = clock(lambda: build_history_vocabulary(graph))
    window = config.window()
    plan_seconds, evaluator = clock(lambda: RecurrentGraphEvaluator(graph, args.split, **window, vocabulary=vocabulary))
    first_seconds, evaluation = clock(lambda: evaluator(model))
    note(f"first call, with compilation: {first_seconds:.2f} s")
    seconds = common.timed(lambda: evaluator(model).seconds, args.repeats, warmup=0)
    flops = sum(
        sum(forward_flops(model, evaluator.loader.build(int(target)).batch).values())
        for target in evaluator.loader.items
    )
    queries, snapshots = len(evaluation.snapshot), len(evaluator.loader)
    rate = flops / seconds["median"]
    result = {
        "split": args.split,
        "snapshots": snapshots,
        "queries": queries,
        "history_seconds": history_seconds,
        "plan_seconds": plan_seconds,
        "first_call_seconds": first_seconds,
        "seconds": seconds,
        "seconds_per_snapshot": seconds["median"] / snapshots,
        "queries_per_second": queries / seconds["median"],
        "flops": flops,
        "flops_per_second": rate,
        # Evaluation computes in the model's own f32.
        "share_of_ceiling": rate / ceilings["f32_flops"],
        "ceilings": ceilings,
        "device": jax.devices()[0].device_kind,
        "peak_rss_bytes": common.peak_rss(),
        "device_peak_bytes": device_peak(),
        "entity": evaluation.entity if args.checkpoint else None,
    }
    name = common.result_name("evaluate", graph, args)
    document = common.record(name, common.described(graph, config) | {"result": result}, args.results)
    table(
        f"{graph.name}, {args.split}: evaluation",
        [
            "snapshots",
            "queries",
            "plan s",
            "first call s",
            "median s",
            "s/snapshot",
            "queries/s",
            "of ceiling",
        ],
        [
            [
                snapshots,
                queries,
                plan_seconds,
                first_seconds,
                seconds["median"],
                result["seconds_per_snapshot"],
                result["queries_per_second"],
                result["share_of_ceiling"],
            ]
        ],
    )
    common.finish(document)


if __name__ == "__main__":
    main()
