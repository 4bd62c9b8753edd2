"""Time from queries to their ten most probable answers, by the number of queries asked together.

Why: who serves forecasts pays once for the state after the last snapshot, and then for every query. Told apart:
encoding the window (once per snapshot), and the answers to 1, 32 and 1024 queries about the last test snapshot
(as many as it has), with top-10 entities and probabilities read back by the host. The weights are random: they do
not matter to the cost.

    python -m benchmarks.predict --data-path data/ICEWS14s
"""

from benchmarks import common
from benchmarks.common import note, table

SIZES = (1, 32, 1024)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--top", type=int, default=10, metavar="K", help="answers per query (default: %(default)s)")
    args = common.finalize(parser.parse_args())

    import jax
    import jax.numpy as jnp
    import jax.random as jr

    from benchmarks.harness import clock, compile_ahead, device_peak
    from tirgn_eqx.data import build_history_vocabulary
    from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
    from tirgn_eqx.data.index.snapshots import SnapshotStore
    from tirgn_eqx.evaluate.encoding import encode_rows
    from tirgn_eqx.models import RecurrentGraphModel, build_model

    graph, config = common.load_recurrent(args)
    static = graph.static if config.static_graph else None
    model = build_model(graph.num_entities, graph.num_relations, config, static, key=jr.key(config.seed))
    assert isinstance(model, RecurrentGraphModel)
    vocabulary, store = build_history_vocabulary(graph), SnapshotStore(graph)
    target, top = int(graph.split_snapshots("test")[-1]), min(args.top, graph.num_entities)

    def batch_of(size):
        options = GraphOptions(batch_size=size, unique=True, rows="window", **config.window())
        loader = GraphLoader(graph, vocabulary, "test", options, store=store)
        return loader.build(target).batch

    def answers(model, encoding, queries, time_index):
        log_probability = model.log_probabilities(encoding, queries, time_index, kind="entity")
        values, entities = jax.lax.top_k(log_probability, top)
        return jnp.exp(values), entities

    idle = model.encoder.isolated_state(min(target, config.history_len))
    batch = batch_of(max(SIZES))
    encode_compile, encode = compile_ahead(encode_rows, model, batch.window, batch.rows, idle)
    encode_seconds = common.timed(
        lambda: jax.block_until_ready(encode(model, batch.window, batch.rows, idle)), args.repeats
    )
    encoding = encode(model, batch.window, batch.rows, idle)
    sizes = []
    for size in SIZES:
        queries = batch_of(size).entity_queries
        counts = (queries.weight > 0).sum(1)
        fullest, number = int(counts.argmax()), int(counts.max())
        queries = jax.tree.map(lambda x: x[fullest], queries)  # noqa: B023
        first, program = compile_ahead(answers, model, encoding, queries, batch.time_index)

        def ask():
            return jax.device_get(program(model, encoding, queries, batch.time_index))  # noqa: B023

        seconds = common.timed(ask, args.repeats)
        _, (probability, _) = clock(ask)
        assert probability.shape[1] == top and (probability > 0).all()
        per_second = number / seconds["median"]
        sizes.append({"queries": number, "compile_seconds": first, "seconds": seconds, "per_second": per_second})
        note(f"{number} queries: {seconds['median'] * 1e3:.2f} ms")
    result = {
        "target_time": int(graph.times[target]),
        "top": top,
        "encode": {"compile_seconds": encode_compile, "seconds": encode_seconds},
        "sizes": sizes,
        "device": jax.devices()[0].device_kind,
        "peak_rss_bytes": common.peak_rss(),
        "device_peak_bytes": device_peak(),
    }
    name = common.result_name("predict", graph, args)
    document = common.record(name, common.described(graph, config) | {"result": result}, args.results)
    rows = [[row["queries"], 1e3 * row["seconds"]["median"], row["per_second"]] for row in sizes]
    rows.insert(0, ["(the window, once)", 1e3 * encode_seconds["median"], None])
    table(f"{graph.name}: queries to top-{top} answers", ["queries", "ms", "queries/s"], rows)
    common.finish(document)


if __name__ == "__main__":
    main()
