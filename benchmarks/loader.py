"""Cost of batches on the host: planning the padded shapes, building one batch, an epoch through the thread.

Why: batches are built while the device computes, which is free only as long as it takes less time than a step.
Told too: how much of the padded shapes is padding, and how many bytes a batch carries to the device.

    python -m benchmarks.loader --data-path data/ICEWS18
"""

import time

from benchmarks import common
from benchmarks.common import table


def waste(harness, prepared) -> dict[str, float]:
    """Padded size over real size of what a batch holds."""
    import numpy as np

    batch = prepared.batch
    window, entities = batch.window, harness.graph.num_entities
    valid = int(np.asarray(window.valid).sum())

    def real(values, padding):
        return max(1, int((np.asarray(values) != padding).sum()))

    ratios = {
        "active": np.asarray(window.active).shape[1] * valid / real(window.active, entities),
        "edges": np.asarray(window.edge_target).shape[1] * valid / real(window.edge_target, window.active.shape[1]),
    }
    for kind, queries in (("entity", batch.entity_queries), ("relation", batch.relation_queries)):

        def size(values):
            return np.asarray(values).size

        weight = np.asarray(queries.weight)
        ratios[f"{kind}_units"] = size(weight) / max(1, int((weight > 0).sum()))
        candidates = entities if kind == "entity" else 2 * harness.graph.num_relations
        ratios[f"{kind}_seen"] = size(queries.history_candidate) / real(queries.history_candidate, candidates)
    return {name: float(ratio) for name, ratio in ratios.items()}


def main() -> None:
    args = common.finalize(common.parser(__doc__).parse_args())

    import jax
    import numpy as np

    from benchmarks.harness import Harness, clock

    graph, config = common.load_recurrent(args)
    harness = Harness(graph, config)
    loader = harness.loader
    first, again, sizes, ratios = [], [], [], []
    for samples in (first, again):
        for target in loader.items.tolist():
            seconds, prepared = clock(lambda target=target: loader.build(target))
            samples.append(seconds)
            if samples is again:
                sizes.append(sum(leaf.nbytes for leaf in jax.tree.leaves(prepared.batch)))
                ratios.append(waste(harness, prepared))
    begin = time.perf_counter()
    facts = sum(prepared.num_facts for prepared in loader.epoch(1))
    epoch = time.perf_counter() - begin

    def mean(values):
        return float(np.mean(values))

    result = {
        "setup": harness.setup,
        "batches": len(loader),
        "buckets": [vars(bucket) for bucket in loader.buckets],
        "targets_by_bucket": [len(harness.targets(bucket)) for bucket in range(len(loader.buckets))],
        # The first pass also builds every snapshot's edge list, which is then kept.
        "first_build_seconds": common.spread(first) | {"mean": mean(first)},
        "build_seconds": common.spread(again) | {"mean": mean(again)},
        "epoch_seconds": epoch,
        "facts_per_second": facts / epoch,
        "batch_bytes": common.spread(sizes),
        "padding": {name: mean([ratio[name] for ratio in ratios]) for name in ratios[0]},
        "peak_rss_bytes": common.peak_rss(),
    }
    name = common.result_name("loader", graph, args)
    document = common.record(name, common.described(graph, config) | {"result": result}, args.results)
    build = result["build_seconds"]
    columns = ["batches", "plan s", "build ms (median)", "max", "epoch s", "facts/s", "MB/batch"]
    columns += [f"padding {name}" for name in result["padding"]]
    values = [
        len(loader),
        harness.setup["plan_seconds"],
        build["median"] * 1e3,
        build["max"] * 1e3,
        epoch,
        result["facts_per_second"],
        result["batch_bytes"]["median"] / 1e6,
        *result["padding"].values(),
    ]
    table(f"{graph.name}: the loader", ["", ""], list(zip(columns, values)))
    common.finish(document)


if __name__ == "__main__":
    main()
