"""What a model of relations alone knows of data that it never saw: trained on one set, evaluated on another.

Why: an evidence model without a background learns nothing about single entities, so that a training on one set may
serve another with relations of the same names (`--map-relations`). Its figures on the test split of the target, which
it was not trained on, stand beside those of the recurrency baseline on the very same facts, with parameters searched on
the target's valid split, and beside the record of an evidence model that was trained on the target, on all its facts;
with `--reference` also beside the same model trained there.

    python -m benchmarks.transfer --source data/ICEWS14s --data-path data/ICEWS18
    python -m benchmarks.transfer --checkpoint models/relations/tirgn_best.npz --data-path events.parquet \\
        --days 2018-01-09,2018-01-11 --granularity 15min

Without `--checkpoint` one is trained on `--source` first, by `tirgn train --set evidence_background=false`.
"""

import argparse
import json
import tempfile
import warnings
from pathlib import Path

from benchmarks import common
from benchmarks.common import Document, note, table

SOURCE = "sim:seed=1,num_entities=30,num_relations=4,num_days=15,facts_per_day=20"  # of --quick


def trained(args: argparse.Namespace, data_path: str, load: list[str]) -> Document:
    """What `tirgn train` tells of a training on `data_path`; `load`: further options that say how it is read."""
    place = args.run or common.ROOT / "runs" / "transfer" / common.join_name(Path(args.source or "").stem, args.tag)
    place = place if data_path == args.source else place / "reference"
    words = ["train", "--data-path", data_path, *load, "--model", "evidence", "--set", "evidence_background=false"]
    words += ["--json"]
    words += ["--model-dir", str(place / "models"), "--logdir", str(place / "logs"), "--seed", str(args.seed or 0)]
    words += [word for setting in args.set for word in ("--set", setting)]
    words += ["--epochs", "1", "--set", "evidence_heads=2", "--set", "evidence_hidden=4"] if args.quick else []
    note(f"training on {Path(data_path).name}")
    return common.run_module("tirgn_cli", words)


def recorded(name: str) -> Document | None:
    """The test figures of an evidence model trained on the data `name`, from its record; None where there is none."""
    path = common.RESULTS / f"accuracy-{name}-evidence-seed0.json"
    if not path.exists():
        return None
    document = json.loads(path.read_text())
    return {"record": path.name, "dataset": document["dataset"], "test": document["result"]["test"]}


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--source", metavar="PATH", help="data to train on")
    parser.add_argument("--checkpoint", type=Path, metavar="CKPT", help="a checkpoint to take instead")
    parser.add_argument("--run", type=Path, metavar="DIR", help="folder of the training (runs/transfer/...)")
    parser.add_argument("--days", metavar="FIRST,LAST", help="of the data to evaluate on, these days only (all)")
    parser.add_argument("--reference", action="store_true", help="train the same model on the data themselves, too")
    parser.add_argument("--how", choices=("by-name", "by-cameo"), default="by-name", help="how relations are mapped")
    args = common.finalize(parser.parse_args())
    if args.source is None and args.checkpoint is None:
        if not args.quick:
            parser.error("--source or --checkpoint: name the data to train on, or a checkpoint")
        args.source = SOURCE
    checkpoint = args.checkpoint or Path(trained(args, str(args.source), [])["checkpoint"])

    from benchmarks.forecast import cut
    from tirgn_eqx.checkpoint.models import load_model
    from tirgn_eqx.data import load_graph
    from tirgn_eqx.data.index.recurrence import build_recurrence_index
    from tirgn_eqx.data.times import format_snapshot_time
    from tirgn_eqx.evaluate import evaluate_model
    from tirgn_eqx.evaluate.recurrency import RecurrencyEvaluator, search_recurrency
    from tirgn_eqx.train.transfer import transfer

    options = {"num_days": 0 if args.days else args.num_days, "granularity": args.granularity}
    given = {name: value for name, value in options.items() if value is not None}
    same = None
    with tempfile.TemporaryDirectory() as temporary:
        path = cut(args.data_path, args.days, Path(temporary)) if args.days else args.data_path
        graph = load_graph(path, **given)
        if args.reference:
            words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
            told = trained(args, path, words)
            same = {"dataset": told["dataset"], "test": told["test"]}
    model, config, metadata = load_model(checkpoint)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = transfer(model, config, metadata, graph, args.how)
    for warning in caught:
        note(str(warning.message))
    note(f"evaluating on {found.graph.name}")
    test = evaluate_model(found.model, found.graph, split="test", **config.window()).to_dict()
    index = build_recurrence_index(found.graph)
    counting = search_recurrency(found.graph, index=index)
    baseline = RecurrencyEvaluator(found.graph, "test", "single-step", index)(counting).to_dict()
    reference = recorded(graph.name)
    data = metadata.data
    payload = {
        "dataset": found.graph.describe(),
        "setting": config.to_dict() | {"map_relations": args.how},
        "seed": config.seed,
        "source": {
            "dataset": None if data is None else {"name": data.name, "sha256": data.sha256},
            "versions": metadata.versions,
            "trained": metadata.created,
        },
        "result": {
            "relations": {
                "of_data": graph.num_relations,
                "known": found.graph.num_relations,
                "renamed": found.renamed,
            },
            "first_test_time": format_snapshot_time(graph, int(graph.split_snapshots("test")[0])),
            "transferred": {"test": test},
            "recurrency": {"test": baseline},
            "trained_on_target": reference,
            "same_model_trained_on_target": same,
        },
    }
    source = data.name if data is not None else "unknown"
    name = common.join_name("transfer", f"{source}-to-{graph.name}", args.how, args.tag)
    document = common.record(name, payload, args.results)
    rows = [
        ["trained on " + source, *figures(test)],
        ["recurrency baseline, same facts", *figures(baseline)],
    ]
    for which, other in (("the same model", same), ("evidence with a background", reference)):
        if other is not None:
            rows.append([f"{which}, trained on it, all facts", *figures(other["test"])])
    left_out = sum(found.graph.left_out)
    title = f"{graph.name}: {left_out:,} of {graph.num_facts:,} facts left out; test, time-aware filter"
    table(title, ["", "MRR", "Hits@1", "Hits@10", "relation MRR"], rows)
    common.finish(document)


def figures(test: Document) -> list[float | None]:
    """The columns of the table."""
    entity = test["entity"]
    return [entity["mrr"], entity["hits_at_1"], entity["hits_at_10"], (test.get("relation") or {}).get("mrr")]


if __name__ == "__main__":
    main()
