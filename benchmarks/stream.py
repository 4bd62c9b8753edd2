"""A training within a time budget that writes down where it is after every epoch and validation.

Why: a machine may be lent for minutes. What was reached is in the result file at every moment; when the time runs
out the training stops by itself early enough to evaluate its best checkpoint on the test split.

    python -m benchmarks.stream --data-path data/YAGO --seconds 300 --epochs 20
"""

import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks import common
from benchmarks.common import note, table
from tirgn_eqx.train.events import (
    CompileRecord,
    EarlyStoppingRecord,
    EpochRecord,
    StartRecord,
    StepRecord,
    TrainingRecord,
    ValidationRecord,
)


class OutOfTime(Exception):
    """The time left is what the test evaluation needs."""


class Progress:
    """Collects a training's records, saves them, and stops it in time."""

    def __init__(self, name: str, provenance: dict, results: Path | None, deadline: float, reserve: float):
        self.name, self.provenance, self.results = name, provenance, results
        self.begin, self.deadline, self.reserve = time.perf_counter(), deadline, reserve
        self.longest_validation = 0.0
        self.waiting_since = None
        self.result = {"complete": False, "status": "running", "compile_seconds": {}, "epochs": []}
        self.document = {}

    def __call__(self, record: TrainingRecord) -> None:
        now = time.perf_counter()
        match record:
            case StartRecord():
                self.result |= {"parameters": record.parameters, "buckets": list(record.buckets)}
                self.result |= {"history": record.history, "steps_per_epoch": record.steps_per_epoch}
            case CompileRecord():
                self.result["compile_seconds"][str(record.bucket)] = record.seconds
            case EpochRecord():
                self.result["epochs"].append(asdict(record) | {"elapsed": now - self.begin})
                self.waiting_since = now
            case ValidationRecord():
                if self.waiting_since is not None:
                    self.longest_validation = max(self.longest_validation, now - self.waiting_since)
                if self.result["epochs"]:
                    row = self.result["epochs"][-1]
                    row["validation"] = {"best": record.best, **record.metrics}
                    row["elapsed"] = now - self.begin
                if record.best or self.result.get("best_mrr") is None:
                    self.result |= {"best_mrr": record.metrics["mrr"], "best_epoch": record.epoch}
                note(f"{self.name} epoch {record.epoch}: MRR {record.metrics['mrr']:.4f}, {now - self.begin:.0f} s")
            case EarlyStoppingRecord():
                self.result["message"] = record.message
            case _:
                pass
        if isinstance(record, StartRecord | EpochRecord | ValidationRecord | EarlyStoppingRecord):
            self.save()
        # The longest validation includes its compilation, which the test evaluation has to pay again.
        is_late = now + self.reserve + 1.5 * self.longest_validation > self.deadline
        if is_late and isinstance(record, StepRecord | ValidationRecord):
            raise OutOfTime

    def save(self, **changes) -> None:
        """The document as it stands now."""
        self.result |= {"total_seconds": time.perf_counter() - self.begin} | changes
        payload = self.provenance | {"result": self.result}
        self.document = common.record(self.name, payload, self.results)


def test_figures(graph, model_dir: Path) -> dict | None:
    """The best checkpoint so far on the test split, or None where there is none yet."""
    from tirgn_eqx.checkpoint.models import load_model
    from tirgn_eqx.evaluate.protocol import evaluate_model

    best = model_dir / "tirgn_best.npz"
    if not best.exists():
        return None
    model, config, _ = load_model(best)
    window, length = config.history_window, config.history_len
    figures = evaluate_model(model, graph, split="test", history_len=length, history_window=window).to_dict()
    del figures["snapshots"], figures["dataset"]
    return figures


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, metavar="S", help="time in all (default: 600)")
    parser.add_argument("--reserve", type=float, default=15.0, metavar="S", help="kept for the test (15)")
    parser.add_argument("--epochs", type=int, metavar="N", help="at most so many epochs")
    parser.add_argument("--model-dir", type=Path, metavar="DIR", help="checkpoints (default: thrown away)")
    deadline = time.perf_counter()
    args = common.finalize(parser.parse_args())
    deadline += args.seconds

    from tirgn_eqx.train.api import train_tirgn

    graph, config = common.load_arguments(args)
    config = config.replace(epochs=args.epochs) if args.epochs else config
    name = common.result_name("train", graph, args)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        model_dir = args.model_dir or Path(folder) / "models"
        config = config.replace(logdir=str(Path(folder) / "logs"))
        provenance = common.described(graph, config)
        del provenance["setting"]["logdir"]
        progress = Progress(name, provenance, args.results, deadline, args.reserve)
        try:
            result = train_tirgn(graph, config, model_dir=model_dir, on_record=progress)
            kept = {key: value for key, value in result.items() if key not in ("checkpoint", "status")}
            progress.save(complete=True, status="complete", **kept)
        except OutOfTime:
            progress.save(status="out of time", epochs_trained=len(progress.result["epochs"]))
            progress.save(test=test_figures(graph, model_dir))
    result = progress.result
    test = (result.get("test") or {}).get("entity", {})
    table(
        f"{graph.name}: {result['status']}",
        ["epochs", "seconds", "best MRR", "at epoch", "test MRR", "H@1", "H@10"],
        [
            [
                len(result["epochs"]),
                result["total_seconds"],
                result.get("best_mrr"),
                result.get("best_epoch"),
                *(test.get(figure) for figure in ("mrr", "hits_at_1", "hits_at_10")),
            ]
        ],
    )
    common.finish(progress.document)


if __name__ == "__main__":
    main()
