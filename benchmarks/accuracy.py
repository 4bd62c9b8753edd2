"""A training from start to early stopping with its figures, as `tirgn train` gives it, kept with its learning curve.

Why: a speed figure counts only beside the accuracy that it buys. The training is `tirgn train ... --json` as a
program of its own; options after `--` go to it unchanged. A training that is already done, or was cut off, is
recorded from its files: `--run DIR` (anywhere below it `metrics.jsonl`, `config.json` and checkpoints) and, when
it came to its end, `--result FILE` with its JSON output.

    python -m benchmarks.accuracy --data-path data/YAGO --seed 1
    python -m benchmarks.accuracy --data-path sim -- --epochs 30 --batch-size 0
    python -m benchmarks.accuracy --result out.json --run runs/yago --command "tirgn train --data-path YAGO ..."
"""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import common
from benchmarks.common import note, table

if TYPE_CHECKING:
    from tirgn_eqx.config import TrainingConfig

DESCRIPTION = ("name", "sha256", "facts", "entities", "relations", "snapshots")
FIGURES = ("mrr", "hits_at_1", "hits_at_3", "hits_at_10", "nll")


def train(args: argparse.Namespace, extra: list[str]) -> tuple[Path, Path, str]:
    """Run `tirgn train`; returns its JSON output, the folder of its run, and the command."""
    name = common.join_name(Path(args.data_path.partition(":")[0]).stem, f"seed{args.seed or 0}", args.tag)
    place = args.run or common.ROOT / "runs" / "accuracy" / name
    preset = args.preset or common.preset_for(args.data_path)
    words = ["train", "--data-path", args.data_path, "--json"]
    words += ["--model-dir", str(place / "models"), "--logdir", str(place / "logs")]
    chosen = {"preset": preset, "config": args.config, "seed": args.seed, "num-days": args.num_days}
    for name, value in (chosen | {"granularity": args.granularity}).items():
        words += [] if value is None else [f"--{name}", str(value)]
    quick = common.quick_assignments(chosen_config(preset, args, extra)) if args.quick else []
    words += [word for setting in quick + args.set for word in ("--set", setting)]
    words += extra
    place.mkdir(parents=True, exist_ok=True)
    output, log = place / "result.json", place / "train.log"
    note(f"training; progress goes to {log}")
    with open(output, "w") as out, open(log, "w") as err:
        command = [sys.executable, "-m", "tirgn_cli", *words]
        run = subprocess.run(command, env=common.child_environment(), stdout=out, stderr=err, check=False)
    if run.returncode != 0:
        last = log.read_text().strip().splitlines()[-1:] or ["no message"]
        sys.exit(f"tirgn train left with exit code {run.returncode}: {last[0]}; see {log}")
    return output, place, common.command_line(["tirgn", *words])


def chosen_config(preset: str | None, args: argparse.Namespace, extra: list[str]) -> "TrainingConfig":
    """The configuration whose family `tirgn train` will choose, by the options here and by those in `extra`."""
    from tirgn_eqx.config import GivenSettings
    from tirgn_eqx.errors import ConfigError

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--model", "--history", "--preset", "--config"):
        parser.add_argument(option)
    parser.add_argument("--set", action="append", default=[])
    found, _ = parser.parse_known_args(extra)
    family = {"family": found.model, "history": found.history}
    options = {name: value for name, value in family.items() if value is not None}
    given = GivenSettings(
        found.preset or preset, file=found.config or args.config, assignments=args.set + found.set, options=options
    )
    try:
        return given.config()
    except ConfigError as error:
        sys.exit(str(error))


def find(place: Path, name: str) -> Path | None:
    """The one file `name` in or below `place`; the newest where there are several."""
    found = sorted(place.rglob(name), key=os.path.getmtime)
    return found[-1] if found else None


def read_lines(path: Path) -> list[dict]:
    """The last run's lines of a `metrics.jsonl`; a last line that is cut off is left out."""
    lines = []
    for text in path.read_text().splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        # What a training logs first: the lines before it are those of an earlier one in the same folder.
        if "system/total_params" in line:
            lines = []
        lines.append(line)
    return lines


def learning_curve(lines: list[dict]) -> list[dict]:
    """One row per epoch: losses, seconds, memory, and the validation where there was one."""
    curve, begin = [], lines[0]["time"] if lines else 0.0
    for line in lines:
        if "train/loss" in line:
            row = {"epoch": len([row for row in curve if row["epoch"]]) + 1, "step": line["step"]}
            row |= {name.removeprefix("train/"): line[name] for name in line if name.startswith("train/loss")}
            row |= {"seconds": line.get("system/epoch_duration_s"), "elapsed": line["time"] - begin}
            if "system/vram_used_mb" in line:
                row["device_memory_mb"] = line["system/vram_used_mb"]
            curve.append(row)
        elif "eval/mrr" in line:
            # A validation that follows no epoch has a row of its own.
            if not curve or curve[-1]["step"] != line["step"]:
                curve.append({"epoch": 0, "step": line["step"], "elapsed": line["time"] - begin})
            curve[-1]["validation"] = {name: line.get(f"eval/{name}") for name in FIGURES}
            curve[-1]["elapsed"] = line["time"] - begin
    return curve


def best_possible(data: dict) -> dict | None:
    """The score of a forecaster who knows every intensity, where the data is simulated."""
    origin = data.get("provenance", {})
    if origin.get("kind") != "sim":
        return None
    from tirgn_eqx.data import simulate

    return simulate(**{key: origin[key] for key in origin if key not in ("kind", "path", "name")}).best_mrr()


def payload(result: dict | None, place: Path, command: str | None, data_path: str | None) -> dict:
    """Everything about one training, from its output and its files; `data_path` where neither names the data."""
    metrics = find(place, "metrics.jsonl")
    if metrics is None:
        sys.exit(f"{place}: no metrics.jsonl in it; give --run the folder of a training's logs")
    curve = learning_curve(read_lines(metrics))
    side = find(place, "tirgn_best.json") or find(place, "tirgn_trained.json")
    checkpoint = json.loads(side.read_text()) if side else {}
    config = metrics.parent / "config.json"
    setting = json.loads(config.read_text()) if config.exists() else checkpoint.get("config", {})
    data = checkpoint.get("data", {})
    epochs = [row for row in curve if row["epoch"]]
    if result is None:
        if data_path is None and not data:
            sys.exit(f"{place}: no checkpoint in it yet that tells about the data; give --data-path")
        if not data:
            from tirgn_eqx.data import load_graph

            data = load_graph(str(data_path)).describe()
        # The time of the logs counts the breaks between the parts of a resumed training; its own clock does not.
        state = find(place, "tirgn_state.json")
        elapsed = curve[-1]["elapsed"] if curve else 0.0
        seconds = json.loads(state.read_text())["progress"]["seconds"] if state else elapsed
        scored = [row for row in curve if (row.get("validation") or {}).get("mrr") is not None]
        best = max(scored, key=lambda row: row["validation"]["mrr"], default=None)
        result = {
            "status": "unfinished",
            "dataset": {name: data.get(name) for name in DESCRIPTION},
            "seed": setting.get("seed"),
            "epochs_trained": len(epochs),
            "best_epoch": best["epoch"] if best else None,
            "best_mrr": best["validation"]["mrr"] if best else None,
            "total_time": seconds,
            "early_stopped": False,
            "model_type": checkpoint.get("model_type", "tirgn"),
            "validation": {"entity": best["validation"]} if best else None,
            "test": None,
        }
    kept = without_places({key: value for key, value in result.items() if key not in ("dataset", "seed")})
    kept["epoch_seconds"] = common.spread([row["seconds"] for row in epochs]) if epochs else None
    possible = best_possible(data)
    if possible is not None:
        kept["best_possible"] = possible
        if result.get("test"):
            kept["share_of_best_possible"] = result["test"]["entity"]["mrr"] / possible["mrr"]
    found = {
        "dataset": result["dataset"],
        "setting": without_places(setting),
        "seed": result["seed"],
        "training_command": command,
        "result": kept,
        "learning_curve": curve,
    }
    if checkpoint.get("versions"):
        found |= {"versions": checkpoint["versions"], "trained": checkpoint.get("created")}
    return found


def without_places(document: dict) -> dict:
    """The document, and those within it, without what says where files of this machine lie."""
    return {
        name: without_places(value) if isinstance(value, dict) else value
        for name, value in document.items()
        if name not in ("logdir", "checkpoint")
    }


def tested(checkpoint: Path, data_path: str) -> dict:
    """The test figures of a checkpoint, as a finished training tells them."""
    words = ["eval", str(checkpoint), "--data-path", data_path, "--json", "--quiet"]
    figures = common.run_module("tirgn_cli", words)
    names = ("split", "setting", "filter", "entity", "entity_raw", "relation", "mrr_interval", "strata")
    return {name: figures[name] for name in names}


def main() -> None:
    words, extra = common.split_words()
    parser = common.parser(__doc__)
    parser.add_argument("--run", type=Path, metavar="DIR", help="folder of logs and models (runs/accuracy/...)")
    parser.add_argument("--result", type=Path, metavar="FILE", help="record the training that printed this")
    parser.add_argument("--unfinished", action="store_true", help="record --run as far as it came")
    parser.add_argument("--command", metavar="TEXT", help="how the recorded training was called")
    parser.add_argument("--commit", metavar="ID", help="source of the recorded training, when it is not today's")
    args = parser.parse_args(words)
    data_path = args.data_path
    common.finalize(args)
    command = args.command and common.command_line(shlex.split(args.command))
    if (args.result or args.unfinished) and args.run is None:
        parser.error("--result and --unfinished need --run, the folder of the training's logs")
    if args.result or args.unfinished:
        output, place = args.result, args.run
    else:
        output, place, command = train(args, extra)
    result = common.last_json(output.read_text()) if output else None
    if output and not isinstance(result, dict):
        parser.error(f"{output}: holds no result; give the output of `tirgn train --json`, or --unfinished")
    found = payload(result, place, command, data_path)
    best = find(place, "tirgn_best.npz")
    if args.unfinished and best is not None and data_path:
        found["result"]["test"] = tested(best, data_path)
    if not (args.result or args.unfinished):
        # Linux counts in KiB; of all children, the training is the largest.
        found["result"]["peak_rss_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    if args.commit:
        # Whether that source was changed beside the commit is not known any more.
        found["commit"] = {"id": args.commit, "dirty": None}
    kept = found["result"]
    name = f"accuracy-{found['dataset']['name']}-{kept['model_type']}-seed{found['seed']}"
    document = common.record(common.join_name(name, args.tag), found, args.results)
    rows = []
    for split in ("validation", "test"):
        for kind in ("entity", "relation"):
            figures = (kept.get(split) or {}).get(kind)
            if figures:
                rows.append([split, kind, *(figures.get(figure) for figure in FIGURES)])
    title = f"{found['dataset']['name']}, seed {found['seed']}: {kept['status']} after {kept['epochs_trained']}"
    table(f"{title} epochs, {kept['total_time']:.0f} s", ["split", "kind", *FIGURES], rows)
    common.finish(document)


if __name__ == "__main__":
    main()
