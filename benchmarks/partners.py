"""What it costs in accuracy, and saves in time, to look at a subject's latest partners alone.

Why: heavy subjects have thousands of past partners, and the evidence model looks at the `max_partners` met last. That
this costs nothing worth naming is a claim about data, so it is measured: one checkpoint, evaluated under several
limits (0 = all).

    python -m benchmarks.partners --data-path data/GDELT-resplit models/evidence/tirgn_best.npz
"""

from benchmarks import common
from benchmarks.common import note, table

LIMITS = (0, 512, 256, 128, 64, 32)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("checkpoint", metavar="CKPT", help="checkpoint of the evidence model")
    parser.add_argument("--split", choices=("valid", "test"), default="valid", help="what is forecast (valid)")
    args = common.finalize(parser.parse_args())

    from tirgn_eqx.checkpoint.models import load_model
    from tirgn_eqx.data import load_graph
    from tirgn_eqx.data.index.evidence import EvidenceIndex
    from tirgn_eqx.data.vocabulary import match_checkpoint
    from tirgn_eqx.evaluate.evaluators import EvidenceEvaluator
    from tirgn_eqx.models import Evidence
    from tirgn_eqx.models.evidence import EvidenceLoaderOptions

    model, config, metadata = load_model(args.checkpoint, "evidence")
    assert isinstance(model, Evidence)
    graph = match_checkpoint(load_graph(args.data_path), metadata, args.checkpoint)
    index = EvidenceIndex(graph)
    rows = []
    for limit in LIMITS[:2] if args.quick else LIMITS:
        needs: EvidenceLoaderOptions = {**model.loader_options, "max_partners": limit}
        evaluator = EvidenceEvaluator(graph, args.split, index=index, **needs)
        evaluator.compile(model)
        evaluation = evaluator(model)
        cells = sum(evaluator.loader.buckets[bucket]["cell"] for bucket in evaluator.loader.bucket_of.values())
        rows.append({"max_partners": limit, **evaluation.entity, "seconds": evaluation.seconds, "padded_cells": cells})
        note(f"{limit or 'all'} partners: MRR {evaluation.entity['mrr']:.4f}, {evaluation.seconds:.1f} s")
    payload = {
        "dataset": graph.describe(),
        "setting": {k: v for k, v in config.to_dict().items() if k != "logdir"} | {"split": args.split},
        "seed": config.seed,
        "result": {"rows": rows},
    }
    document = common.record(common.join_name("partners", graph.name, args.tag), payload, args.results)
    columns = ["max_partners", "mrr", "hits_at_10", "nll", "seconds", "padded_cells"]
    table(f"{graph.name}, {args.split}", columns, [[row[name] for name in columns] for row in rows])
    common.finish(document)


if __name__ == "__main__":
    main()
