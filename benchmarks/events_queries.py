"""Time and memory of the event model's forecasts: the probabilities of given facts, and the list of the most probable.

Why: whoever watches thousands of facts asks for all of them at every step, and wants the list of what is most probable
without waiting for it. Facts are asked for at the step after the last snapshot: known ones, ones with another object
than their pair ever had, and ones of pairs that never were, a third each, all different. The weights are random: they
do not matter to the cost of given facts, and let the list look at more of what is new than trained ones do.

    python -m benchmarks.events_queries --data-path data/ICEWS14s
"""

import time
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import common
from benchmarks.common import note, table

if TYPE_CHECKING:
    from tirgn_eqx.config import TrainingConfig
    from tirgn_eqx.data import TemporalGraph
    from tirgn_eqx.forecast.events import EventForecaster

HORIZON = 7
LISTED = 100


def make_forecaster(graph: "TemporalGraph", base: "TrainingConfig | None", seed: int) -> "EventForecaster":
    import jax.random as jr

    from tirgn_eqx.config import EventTrainingConfig
    from tirgn_eqx.forecast.events import EventForecaster
    from tirgn_eqx.models import EventModel, build_any_model

    config = EventTrainingConfig(periods="7", seed=seed, base=base)
    static = graph.static if base is not None else None
    model = build_any_model(graph.num_entities, graph.num_relations, config, static, key=jr.key(seed))
    assert isinstance(model, EventModel)
    return EventForecaster(model, config, graph)


def draw_facts(forecaster: "EventForecaster", number: int, seed: int) -> list[np.ndarray]:
    """(subjects, relations, objects) of different facts: known, novel and unseen ones in turn."""
    rng, index = np.random.default_rng(seed), forecaster.index
    third = -(-number // 3)

    def distinct(keys: np.ndarray) -> np.ndarray:
        return rng.permutation(np.unique(keys))[:third]

    def drawn(pairs: np.ndarray) -> np.ndarray:
        return pairs * index.entities + rng.integers(0, index.entities, len(pairs))

    novel = drawn(rng.choice(index.pair.key, 4 * third))
    unseen = rng.integers(0, index.entities * index.relations, 4 * third)
    unseen = drawn(unseen[index.pair.group(unseen) < 0])
    keys = [distinct(index.fact.key), distinct(novel[index.fact.group(novel) < 0]), distinct(unseen)]
    size = min(map(len, keys))
    pairs, objects = np.divmod(np.stack([one[:size] for one in keys], 1).ravel()[:number], index.entities)
    return [*np.divmod(pairs, index.relations), objects]


def measure(forecaster: "EventForecaster", sizes: tuple[int, ...], repeats: int, seed: int) -> common.Document:
    begin = time.perf_counter()
    few = draw_facts(forecaster, 30, seed)
    forecaster.probabilities(*few, horizon=HORIZON)
    first, rows = time.perf_counter() - begin, []
    for size in sizes:
        facts = draw_facts(forecaster, size, seed)
        found = forecaster.probabilities(*facts, horizon=HORIZON)
        assert len(set(found.kind)) == 3 and (found.probability >= 0).all()
        seconds = common.timed(lambda: forecaster.probabilities(*facts, horizon=HORIZON), repeats)  # noqa: B023
        per_second = len(facts[0]) / seconds["median"]
        rows.append({"facts": len(facts[0]), "seconds": seconds, "per_second": per_second})
        note(f"{len(facts[0]):,} facts: {per_second:,.0f} a second")
    begin = time.perf_counter()
    listed = forecaster.events(LISTED, horizon=HORIZON)
    once = time.perf_counter() - begin
    seconds = common.timed(lambda: forecaster.events(LISTED, horizon=HORIZON), repeats)
    kinds = {kind: sum(fact.kind == kind for fact in listed) for kind in ("known", "novel", "unseen")}
    # NumPy's arrays at their peak, apart from what the index holds already; slower, so that it is not timed.
    tracemalloc.start()
    forecaster.events(LISTED, horizon=HORIZON)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    known = len(forecaster.index.known_facts(forecaster.target.history_end))
    shown = {"facts": LISTED, "kinds": kinds, "known_facts": known, "peak_bytes": peak}
    return {"first_seconds": first, "facts": rows, "list": shown | {"first_seconds": once, "seconds": seconds}}


def main() -> None:
    parser = common.parser(__doc__)
    args = common.finalize(parser.parse_args())
    from tirgn_eqx.config import EvidenceTrainingConfig
    from tirgn_eqx.data import load_graph
    from tirgn_eqx.runtime.malloc import keep_freed_memory

    keep_freed_memory()
    read = {"num_days": args.num_days, "granularity": args.granularity}
    graph = load_graph(args.data_path, **{name: value for name, value in read.items() if value is not None})
    seed, sizes = args.seed or 0, (100, 300) if args.quick else (1_000, 30_000)
    evidence = EvidenceTrainingConfig()
    evidence = evidence.replace(embedding_dim=4, evidence_heads=2) if args.quick else evidence
    result: common.Document = {"horizon": HORIZON}
    for name, base in (("rates", None), ("rates with evidence", evidence)):
        note(name)
        result[name] = measure(make_forecaster(graph, base, seed), sizes, args.repeats, seed)
    result["peak_rss_bytes"] = common.peak_rss()
    payload = {"dataset": graph.describe(), "setting": {"base": evidence.to_dict()}, "seed": seed, "result": result}
    document = common.record(common.result_name("events-queries", graph, args), payload, args.results)
    rows = []
    for name in ("rates", "rates with evidence"):
        rows += [[name, one["facts"], one["seconds"]["median"], one["per_second"]] for one in result[name]["facts"]]
        found = result[name]["list"]
        rows.append([f"{name}, the {found['facts']} most probable", None, found["seconds"]["median"], None])
    table(f"{graph.name}: facts within {HORIZON} steps", ["model", "facts", "seconds", "facts/s"], rows)
    common.finish(document)


if __name__ == "__main__":
    main()
