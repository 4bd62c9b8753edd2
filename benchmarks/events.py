"""The event model: trained, and judged by what came, beside climatology, persistence and counted rates.

Why: a probability of an event is worth something only if it has been checked. The training is `tirgn train --model
events ... --json` as a program of its own, whose result holds the scores on test; options after `--` go to it as they
are.

    python -m benchmarks.events --data-path data/ICEWS14s --seed 0
    python -m benchmarks.events --data-path data/events.parquet --num-days 60
"""

import resource
import tempfile
from pathlib import Path

from benchmarks import common
from benchmarks.common import table


def main() -> None:
    words, extra = common.split_words()
    parser = common.parser(__doc__)
    args = common.finalize(parser.parse_args(words))
    quick = ["--epochs", "1", "--set", "snapshots_per_epoch=8"] if args.quick else []
    settings = [word for one in args.set for word in ("--set", one)]
    with tempfile.TemporaryDirectory() as place:
        path = ["--data-path", args.data_path, *common.load_words(args), "--seed", str(args.seed or 0)]
        folders = ["--model-dir", str(Path(place) / "models"), "--logdir", str(Path(place) / "logs")]
        command = ["train", "--model", "events", *path, *quick, *settings, *extra]
        found = common.run_module("tirgn_cli", [*command, *folders, "--json", "--quiet"])
    kept = {name: found[name] for name in ("model_type", "epochs_trained", "best_epoch", "total_time", "parameters")}
    kept |= {"valid_nll": found["events"]["valid_nll"], "test": found["events"]["test"]}
    # Linux counts in KiB; of all children, the training is the largest.
    kept["peak_rss_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    name = common.join_name("events", found["dataset"]["name"], f"seed{found['seed']}", args.tag)
    payload = {"dataset": found["dataset"], "setting": {}, "seed": found["seed"], "result": kept}
    payload["training_command"] = common.command_line(["tirgn", *command])
    document = common.record(name, payload, args.results)
    rows = []
    for horizon in kept["test"]["horizons"]:
        for rule, scores in horizon["rules"].items():
            rows.append(
                [horizon["horizon"], rule, scores["brier"], scores["log_score"], scores["average_precision"]]
                + [scores["precision"]["100"]]
            )
    title = f"{found['dataset']['name']}: events, {kept['total_time']:.0f} s"
    table(title, ["horizon", "rule", "Brier", "log score", "AP", "P@100"], rows)
    common.finish(document)


if __name__ == "__main__":
    main()
