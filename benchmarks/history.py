"""Time and size of the global history vocabulary, for the given data and for a graph of GDELT's size.

Why: the released code writes a dense mask file per snapshot before training, which takes minutes for ICEWS14s
and hours for GDELT. Ours is an index in memory, proportional to the facts; nothing is written. Told beside the
build: bytes per fact, and the time of looking up every query of a split.

    python -m benchmarks.history --data-path data/ICEWS14s
    python -m benchmarks.history --simulated gdelt
"""

import time

from benchmarks import common
from benchmarks.common import note, table


def measure(graph, repeats: int, history_window: int) -> dict:
    """Build times, sizes, and look-up times of one graph's vocabulary."""
    from tirgn_eqx.data.batches.queries import build_queries
    from tirgn_eqx.data.index.history import build_history_vocabulary

    samples, vocabulary = [], None
    for _ in range(repeats):
        vocabulary = None  # one at a time in memory
        begin = time.perf_counter()
        vocabulary = build_history_vocabulary(graph)
        samples.append(time.perf_counter() - begin)
    assert vocabulary is not None
    report = vocabulary.report()
    targets = graph.split_snapshots("valid")[:50]
    begin, queries, found = time.perf_counter(), 0, 0
    for target in targets.tolist():
        for kind, index in (("entity", vocabulary.entity), ("relation", vocabulary.relation)):
            built = build_queries(graph, vocabulary, target, 1, kind, unique=False)
            position, _ = index.lookup(built.key, target, history_window)
            queries, found = queries + built.num_queries, found + len(position)
    seconds = time.perf_counter() - begin
    return {
        "build_seconds": common.spread(samples) | {"repeats": repeats},
        "bytes": report["bytes"],
        "bytes_per_fact": report["bytes"] / graph.num_facts,
        "pairs": report["pairs"],
        "objects_per_pair": report["objects_per_pair"],
        "lookup_seconds_per_snapshot": seconds / max(1, len(targets)),
        "lookup_queries": queries,
        "lookup_candidates": found,
        "peak_rss_bytes": common.peak_rss(),
    }


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--simulated", choices=("gdelt",), help="a random graph of that dataset's size")
    args = common.finalize(parser.parse_args())

    from benchmarks.graphs import GDELT, random_graph

    graph, config = common.load_recurrent(args)
    if args.simulated:
        sizes = GDELT | ({"facts": GDELT["facts"] // 100, "snapshots": 60} if args.quick else {})
        note(f"drawing {sizes['facts']:,} facts")
        graph = random_graph(**sizes, seed=config.seed)
    result = measure(graph, args.repeats, config.history_window)
    name = common.join_name("history", args.simulated or graph.name, args.tag)
    document = common.record(name, common.described(graph, config) | {"result": result}, args.results)
    table(
        f"{graph.name}: {graph.num_facts:,} facts, {graph.num_snapshots:,} snapshots",
        [
            "build s (median)",
            "min",
            "max",
            "bytes/fact",
            "MB",
            "pairs",
            "objects/pair",
            "look-up ms/snapshot",
        ],
        [
            [
                result["build_seconds"]["median"],
                result["build_seconds"]["min"],
                result["build_seconds"]["max"],
                result["bytes_per_fact"],
                result["bytes"] / 1e6,
                result["pairs"],
                result["objects_per_pair"],
                result["lookup_seconds_per_snapshot"] * 1e3,
            ]
        ],
    )
    common.finish(document)


if __name__ == "__main__":
    main()
