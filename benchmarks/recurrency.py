"""The recurrency baseline on one dataset: its figures in every form, and the time that they took.

Why: no forecast is worth its training unless it beats a counter of the past, so every accuracy table shows this one.
The published code searches its parameters for hours; here the search is timed with the rest. Parameters are searched
on valid, and every form is evaluated on test.

    python -m benchmarks.recurrency --data-path data/YAGO
    python -m benchmarks.recurrency --simulated gdelt
"""

import time

from benchmarks import common
from benchmarks.common import note, table


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--simulated", choices=("gdelt",), help="a random graph of that dataset's size")
    args = common.finalize(parser.parse_args())

    from benchmarks.graphs import GDELT, random_graph
    from tirgn_eqx.data import load_graph
    from tirgn_eqx.data.index.recurrence import build_recurrence_index
    from tirgn_eqx.evaluate.recurrency import RecurrencyEvaluator, search_recurrency
    from tirgn_eqx.models.recurrency import DECAYS, SHARES, VARIANTS

    options = {"num_days": args.num_days, "granularity": args.granularity}
    given = {name: value for name, value in options.items() if value is not None}
    if args.simulated:
        # With its valid and test splits.
        sizes = GDELT | {"facts": 2_278_405, "snapshots": 2976}
        sizes |= {"facts": 20_000, "snapshots": 60} if args.quick else {}
        graph = random_graph(**sizes)
    else:
        graph = load_graph(args.data_path, **given)
    begin = time.perf_counter()
    index = build_recurrence_index(graph)
    index_seconds = time.perf_counter() - begin
    rows, results = [], []
    for setting in ("single-step", "multi-step"):
        evaluator = RecurrencyEvaluator(graph, "test", setting, index)
        for chosen, per_relation in (("per relation", True), ("one for all", False)):
            begin = time.perf_counter()
            model = search_recurrency(graph, per_relation=per_relation, setting=setting, index=index)
            search_seconds = time.perf_counter() - begin
            note(f"{setting}, {chosen}: searched in {search_seconds:.1f} s")
            for variant in VARIANTS:
                evaluation = evaluator(model.variant(variant))
                result = {"setting": setting, "parameters": chosen, "variant": variant}
                result |= {"search_seconds": search_seconds, "evaluation_seconds": evaluation.seconds}
                result |= {"test": {"entity": evaluation.entity, "entity_raw": evaluation.to_dict()["entity_raw"]}}
                if not per_relation:
                    result["values"] = model.to_dict()
                results.append(result)
                figures = evaluation.entity
                rows.append([setting, chosen, variant, figures["mrr"], figures["hits_at_1"], figures["hits_at_10"]])
    payload = {
        "dataset": graph.describe(),
        "setting": {"decays": DECAYS, "shares": SHARES},
        "seed": None,  # nothing is drawn
        "queries": int(2 * graph.split_mask("test").sum()),
        "result": {"index_seconds": index_seconds, "peak_rss_bytes": common.peak_rss(), "forms": results},
    }
    name = common.join_name("recurrency", args.simulated or graph.name, args.tag)
    document = common.record(name, payload, args.results)
    columns = ["setting", "parameters", "variant", "MRR", "Hits@1", "Hits@10"]
    table(f"{graph.name}: recurrency baseline, test, time-aware filter", columns, rows)
    common.finish(document)


if __name__ == "__main__":
    main()
