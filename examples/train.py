"""Train TiRGN on the simulated world of countries and organisations, and say how good it is.

    python examples/train.py
    python examples/train.py --data data/ICEWS14s --preset icews14s --epochs 30

The checkpoint in `--model-dir` is all that `examples/forecast.py` needs. Where the data are only trained on, their path
will do: `tg.train_tirgn("data/ICEWS14s", tg.preset("icews14s"))`.
"""

import argparse

import tirgn_eqx as tg
from tirgn_eqx.train.events import TrainingRecord, ValidationRecord


def follow(record: TrainingRecord) -> None:
    """Called with every record of the training; prints those of a validation."""
    if isinstance(record, ValidationRecord):
        print(f"epoch {record.epoch:>3}  MRR {record.metrics['mrr']:.4f}{'  best' if record.best else ''}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="sim:num_days=60", help="folder, event parquet, or sim")
    parser.add_argument("--preset", default="sim", help="settings to begin with")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--model-dir", default="models/example")
    args = parser.parse_args()

    graph = tg.load_graph(args.data)
    print(
        f"{graph.name}: {graph.num_facts:,} facts, {graph.num_entities:,} entities, {graph.num_snapshots:,} snapshots"
    )

    config = tg.preset(args.preset).replace(epochs=args.epochs, eval_interval=2, logdir=f"{args.model_dir}/logs")
    result = tg.train_tirgn(graph, config, model_dir=args.model_dir, on_record=follow)

    # The figures of the result are those of the best checkpoint; the same again, from the file alone:
    assert result["checkpoint"] is not None  # None only where a training was interrupted
    model, config, _ = tg.load_model(result["checkpoint"])
    test = tg.evaluate_model(model, graph, **config.window())
    print(f"test MRR {test.entity['mrr']:.4f}, Hits@10 {test.entity['hits_at_10']:.4f}: {result['checkpoint']}")


if __name__ == "__main__":
    main()
