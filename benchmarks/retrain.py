"""New events, end to end: `tirgn retrain` as it runs every day or week, beside the training that it replaces.

Why: who retrains regularly wants to know how long the machine is busy, and whether the new model is better than the old
one on the days that neither has seen. The table is cut before its last `--days`; a model is trained on what came
before (`tirgn train`), retrained on the whole table (`tirgn retrain`), and a second model is trained on the whole table
from scratch. Every command is a process of its own that reads the table from disk.

    python -m benchmarks.retrain --data-path gdelt_events_2018-01.parquet --granularity hour --days 1 --preset evidence
"""

import json
import tempfile
from datetime import timedelta
from pathlib import Path

from benchmarks import common
from benchmarks.common import Document, note, table


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--days", type=int, default=7, metavar="N", help="new days at the end (default: 7)")
    args = common.finalize(parser.parse_args())
    import polars as pl

    from benchmarks.harness import clock
    from tirgn_cli.retrain import NEW_MODEL_WORSE

    graph, config = common.load_arguments(args)
    source = Path(args.data_path).resolve()
    events = pl.read_parquet(source)
    time_column = next(name for name, kind in events.schema.items() if kind.is_temporal())
    with tempfile.TemporaryDirectory(prefix="benchmark-") as work:
        folder = Path(work)
        older = events.filter(pl.col(time_column) <= pl.col(time_column).max() - timedelta(days=args.days))
        older.write_parquet(folder / "older.parquet")
        (folder / "config.toml").write_text(config.to_toml(), encoding="utf-8")
        shape = ["--config", str(folder / "config.toml"), *common.load_words(args)]

        environment = common.child_environment(TIRGN_CACHE=str(folder / "cache"))

        def run(command: str, data: Path, name: str, *words: str) -> tuple[float, Document]:
            """Seconds and JSON document of a command. A new model that is worse, and not taken, is a result too."""
            place = folder / name
            places = ["--model-dir", str(place), "--logdir", str(place / "log")]
            words = (command, "--data-path", str(data), *words, *places, "--json", "--quiet")
            return clock(lambda: common.run_module("tirgn_cli", words, environment, (0, NEW_MODEL_WORSE)))

        seconds: Document = {}
        seconds["first training"], _ = run("train", folder / "older.parquet", "first", *shape)
        note(f"first training: {seconds['first training']:.1f} s")
        (checkpoint,) = (folder / "first").glob("*_best.npz")
        seconds["retraining"], retrained = run("retrain", source, "again", "--from", str(checkpoint))
        note(f"retraining: {seconds['retraining']:.1f} s, {json.dumps(retrained)[:300]}")
        seconds["training from scratch"], scratch = run("train", source, "scratch", *shape)
        note(f"training from scratch: {seconds['training from scratch']:.1f} s")
    # The figures alone: the documents also name files of this machine.
    trained = ("status", "epochs_trained", "best_mrr", "best_epoch", "total_time")
    chosen = {name: retrained[name] for name in ("status", "model_type", "decision")}
    chosen["training"] = {name: retrained["training"][name] for name in trained}
    chosen["difference"] = retrained["comparison"]["difference"]
    result: Document = {
        "complete": True,
        "days": args.days,
        "events": {"all": len(events), "new": len(events) - len(older)},
        "seconds": seconds,
        "retrained": chosen,
        "scratch": {name: scratch[name] for name in (*trained, "validation", "test")},
    }
    name = common.result_name("retrain", graph, args)
    document = common.record(name, common.described(graph, config) | {"result": result}, args.results)
    table(f"{graph.name}: {args.days} new days", ["", "seconds"], [list(pair) for pair in seconds.items()])
    common.finish(document)


if __name__ == "__main__":
    main()
