"""`tirgn retrain`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tirgn_cli import complete, options, output, tables, values
from tirgn_cli.common import load_evaluation_graph
from tirgn_cli.train import Signals, save_config
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime.malloc import keep_freed_memory

if TYPE_CHECKING:
    from tirgn_eqx.train.events import TrainingResult
    from tirgn_eqx.train.retrain import RetrainingResult

NEW_MODEL_WORSE = 3  # exit code
KEPT = "as in CKPT"


@options.command(
    num_days=f"keep the most recent days; 0 = all (default: {KEPT})",
    max_events=f"thin every day in proportion to at most this many events in all; 0 = all (default: {KEPT})",
    granularity=f"length of one snapshot (default: {KEPT})",
)
def retrain(
    ctx: options.CommandContext,
    *,
    checkpoint: Annotated[
        Path,
        options.option(
            "--from",
            metavar="CKPT",
            autocompletion=complete.checkpoints,
            help="checkpoint to begin from and to replace, such as models/tkg/tirgn_best.npz (required)",
            panel=options.MODEL,
        ),
    ],
    data_path: Annotated[
        str | None,
        options.data_path("event table with the newest events (default: the data of CKPT, read again)"),
    ] = None,
    reading: options.ReadingFlags,
    keep_gone: Annotated[
        bool,
        options.option(
            "--keep-gone",
            help="keep the entities and relations that do not occur in the new data, without events (default: drop "
            "them)",
            panel=options.MODEL,
        ),
    ] = False,
    max_regression: Annotated[
        float,
        options.option(
            metavar="X",
            help="replace CKPT when the new test MRR is at least the old one less this, 0.01 being one point "
            "(default: 0.01)",
            panel=options.OUTPUT,
        ),
    ] = 0.01,
    config_file: options.ConfigFile = None,
    assignments: options.Assignments = None,
    epochs: Annotated[int | None, options.setting("epochs", panel=options.TRAINING, default=KEPT)] = None,
    learning_rate: Annotated[
        float | None, options.setting("learning_rate", "--lr", panel=options.TRAINING, default=KEPT)
    ] = None,
    batch_size: Annotated[int | None, options.setting("batch_size", panel=options.TRAINING, default=KEPT)] = None,
    seed: Annotated[int | None, options.setting("seed", panel=options.TRAINING, default=KEPT)] = None,
    model_dir: Annotated[
        Path | None,
        options.option(
            metavar="DIR",
            help="folder of the training, where its checkpoints stay (default: retrain, beside CKPT)",
            panel=options.OUTPUT,
        ),
    ] = None,
    logdir: Annotated[
        str | None,
        options.option(
            metavar="DIR",
            help="folder of TensorBoard and JSON-lines logs (default: logs, in --model-dir)",
            panel=options.OUTPUT,
        ),
    ] = None,
    resume: Annotated[
        bool,
        options.option(
            "--resume",
            help="continue the interrupted retraining in --model-dir (default: start again)",
            panel=options.TRAINING,
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Retrain a checkpoint on newer data, and replace it unless the new model is worse.

    Training begins with the old weights; entities and relations are matched by name. Then both models forecast the
    newest held-out snapshots. The replaced checkpoint is kept under CKPT's name with .previous. Exit code 3 means that
    the new model was worse by more than --max-regression, and that CKPT is unchanged. Settings are those of CKPT
    unless an option, --set or --config changes them.

    Example: tirgn retrain --data-path events.parquet --from models/tkg/tirgn_best.npz

    Example: tirgn retrain --data-path events.parquet --from models/tkg/tirgn_best.npz --epochs 5 --quiet --json
    """
    keep_freed_memory()
    if not -1 <= max_regression <= 1:
        raise ConfigError(f"--max-regression {max_regression:g}: must be between -1 and 1, such as 0.01 for one point")
    # Not the folder of CKPT itself, which stays as it is until the new model has proved to be no worse.
    model_dir = checkpoint.parent / "retrain" if model_dir is None else model_dir
    given = values.given_settings(ctx.params)

    from tirgn_cli.progress import TrainingView

    with output.stdout_to_stderr():
        from tirgn_eqx.train.retrain import read_predecessor
        from tirgn_eqx.train.retrain import retrain as train_successor

        old = read_predecessor(checkpoint)
        # The logs of the old training stay where they are.
        config = given.changed(old.config.replace(logdir=str(model_dir / "logs")))
        graph = load_evaluation_graph(checkpoint, data_path, old.metadata.provenance, reading)
        with Signals() as signals, TrainingView() as view:
            result = train_successor(
                old,
                graph,
                config,
                model_dir=model_dir,
                max_regression=max_regression,
                keep_gone=keep_gone,
                resume=resume,
                on_record=view,
                stop=signals.received,
            )
        save_config(config, model_dir)
    if as_json:
        output.print_json(result)
    if result["status"] == "interrupted":
        output.print_line(
            output.stderr(),
            f"interrupted; {checkpoint} is unchanged, the training is saved in {model_dir}; the same command with "
            "--resume goes on from there",
        )
        # As shells report a process that a signal ended.
        raise typer.Exit(128 + signals.number)
    assert "training" in result and "comparison" in result and "decision" in result  # as in all that ran to the end
    if not as_json:
        _show(result, result["training"], result["comparison"])
    if result["status"] == "kept":
        new_mrr, old_mrr = result["decision"]["mrr"]
        output.print_warning(
            f"the new test MRR {new_mrr:.4f} is more than {max_regression:g} below the old {old_mrr:.4f}; "
            f"{checkpoint} stays, the new one is {result['training']['checkpoint']}"
        )
        raise typer.Exit(NEW_MODEL_WORSE)


def _show(result: "RetrainingResult", training: "TrainingResult", comparison: Mapping[str, Any]) -> None:
    window, (new, old) = result["window"], comparison["models"]
    rows: list[list[object]] = []
    for key, heading in tables.METRICS.items():
        found = comparison["difference"][key]
        unit, digits = ("nats", 4) if key == "nll" else ("points", 2)
        low, high = (f"{value:+.{digits}f}" for value in found[f"interval_{unit}"])
        difference = f"{found[unit]:+.{digits}f}"
        rows.append([heading, new["entity"][key], old["entity"][key], difference, f"{low} .. {high}"])
    if "calibration" in new and "calibration" in old:
        for key, heading in (("brier", "Brier score"), ("ece", "calibration error")):
            rows.append([heading, new["calibration"][key], old["calibration"][key], "", ""])
    test = window["splits"]["test"]
    caption = (
        f"entity, both directions, test ({test['from']} to {test['to']}), single-step, time-aware filter; differences "
        "in points (NLL: nats), with 95 % intervals of a paired bootstrap over queries"
    )
    columns = ["", "new", "old", "new - old", "interval"]
    tables.print_table(tables.make_table("Retraining", columns, rows, caption))
    counts = {
        kind: ", ".join(f"{number:,} {name}" for name, number in result["mapping"][kind].items())
        for kind in ("entities", "relations")
    }
    summary = {
        "data": tables.format_dataset(result["dataset"]),
        "window": f"{window['from']} to {window['to']}",
        **counts,
        "epochs trained": training["epochs_trained"],
        "time": tables.format_duration(training["total_time"]),
        "checkpoint": f"{result['checkpoint']}, {result['status']}",
        "new": training["checkpoint"],
        "previous": result["previous"],
    }
    tables.print_table(tables.make_pairs("", summary))
