"""What a training step of the evidence model costs, against the evidence that it looks at.

Why: the cost should grow with the past events of the subjects asked about, and with nothing else: not with queries
x entities, nor with the length of the data. Random graphs of growing size are indexed, asked and stepped through; the
exponents of seconds and of the peak memory against facts and evidence are given. Without background, whose cost is
that of comparing every query with every entity and which is timed apart on the smallest graph.

    python -m benchmarks.evidence
    python -m benchmarks.evidence --quick
"""

from benchmarks import common
from benchmarks.common import note, table

FACTS = (12_500, 25_000, 50_000, 100_000, 200_000)
SIZES = {"entities": 7000, "relations": 100, "snapshots": 100}
SAMPLES = 8  # parts of the last snapshots


def main() -> None:
    args = common.finalize(common.parser(__doc__).parse_args())

    import jax
    import jax.random as jr
    import numpy as np

    from benchmarks.graphs import random_graph
    from benchmarks.harness import clock
    from tirgn_eqx.config import preset
    from tirgn_eqx.models import build_model
    from tirgn_eqx.train.compiled_step import CompiledStep
    from tirgn_eqx.train.families import training_family
    from tirgn_eqx.train.optimizer import init_optimizer, make_optimizer
    from tirgn_eqx.types import EvidenceBatch

    base = preset("evidence").replace(precision="f32", max_buckets=1, seed=args.seed or 0)
    rows: list[common.Document] = []
    facts = (2_000, 4_000) if args.quick else FACTS
    for number, background in [(number, False) for number in facts] + [(facts[0], True)]:
        graph = random_graph(**SIZES, facts=number, seed=base.seed)
        config = base.replace(evidence_background=background)
        index_seconds, data = clock(
            lambda graph=graph, config=config: training_family(config).data(graph, config, None)
        )
        plan_seconds, loader = clock(lambda data=data, config=config: data.loader(config))
        model = build_model(graph.num_entities, graph.num_relations, config, key=jr.key(config.seed))
        optimizer = make_optimizer(config)
        opt_state = init_optimizer(optimizer, model)
        step = CompiledStep(config, lambda record: None, optimizer)
        step.compile(model, opt_state, loader, jr.key(1))
        parts = loader.items[-SAMPLES:].tolist()
        step_seconds, build_seconds, evidence = [], [], []
        for repeat in range(2):
            for part in parts:
                built, prepared = clock(lambda part=part, loader=loader: loader.build(part))

                def once(prepared=prepared, step=step, model=model, opt_state=opt_state):
                    return jax.block_until_ready(step(model, opt_state, prepared, jr.key(0)))

                seconds, (model, opt_state, _) = clock(once)
                if repeat:
                    batch = prepared.batch
                    assert isinstance(batch, EvidenceBatch)
                    pairs, queries = batch.neighbours.entry_neighbour, batch.entity
                    entries = int((np.asarray(pairs) < len(batch.neighbours.object)).sum())
                    cells = int((np.asarray(queries.cell_query) < len(queries.subject)).sum())
                    evidence.append((entries, cells))
                    build_seconds.append(built)
                    step_seconds.append(seconds)
        report = data.report()
        row = {
            "facts": number,
            "background": background,
            "entries_per_step": float(np.mean([entries for entries, _ in evidence])),
            "cells_per_step": float(np.mean([cells for _, cells in evidence])),
            "evidence_per_step": float(np.mean([sum(both) for both in evidence])),
            "index_seconds": index_seconds,
            "plan_seconds": plan_seconds,
            "build_seconds": float(np.median(build_seconds)),
            "step_seconds": float(np.median(step_seconds)),
            "index_bytes_per_fact": report["bytes_per_fact"],
            "peak_rss_bytes": common.peak_rss(),
        }
        rows.append(row)
        note(f"{number:,} facts: {row['evidence_per_step']:,.0f} entries and cells a step, {row['step_seconds']:.3f} s")
    plain = [row for row in rows if not row["background"]]

    def exponent(against: str, what: str) -> float:
        """The slope of a straight line through the logarithms."""
        x, y = (np.log([row[name] for row in plain]) for name in (against, what))
        return float(np.polyfit(x, y, 1)[0])

    exponents = {
        f"{what} against {against}": exponent(against, what)
        for against, what in [
            ("evidence_per_step", "step_seconds"),
            ("evidence_per_step", "build_seconds"),
            ("facts", "index_seconds"),
            ("facts", "peak_rss_bytes"),
        ]
    }
    graph_of = {"name": "random", **SIZES, "facts": list(facts), "sha256": None}
    payload = {
        "dataset": graph_of,
        "setting": base.to_dict(),
        "seed": base.seed,
        "result": {"rows": rows, "exponents": exponents},
    }
    document = common.record(common.join_name("evidence-random", args.tag), payload, args.results)
    columns = ["facts", "background", "evidence_per_step", "build_seconds", "step_seconds", "peak_rss_bytes"]
    table("A step of the evidence model", columns, [[row[name] for name in columns] for row in rows])
    for name, value in exponents.items():
        note(f"{name}: exponent {value:.2f}")
    common.finish(document)


if __name__ == "__main__":
    main()
