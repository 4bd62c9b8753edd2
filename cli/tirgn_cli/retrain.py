"""`tirgn retrain`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tirgn_cli import options
from tirgn_cli.train import Signals
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.heap import keep_freed_memory

KEPT_OLD = 3  # exit code: the new model is worse, and the old one is still in its place


def retrain(
    checkpoint: Annotated[
        Path,
        options.option(
            "--from",
            metavar="CKPT",
            help="checkpoint to go on from, and whose place the new one takes (required)",
            panel=options.MODEL,
        ),
    ],
    data_path: Annotated[
        str | None,
        options.option(
            metavar="PATH", help="event parquet to train on (default: what it was trained on)", panel=options.DATA
        ),
    ] = None,
    num_days: options.NumDays = None,
    max_events: options.MaxEvents = None,
    granularity: options.Granularity = None,
    keep_gone: Annotated[
        bool,
        options.option(
            "--keep-gone",
            help="keep entities and relations that no longer occur (default: drop them)",
            panel=options.MODEL,
        ),
    ] = False,
    max_regression: Annotated[
        float,
        options.option(
            metavar="SHARE",
            help="how much lower the new model's test MRR may be and still replace the old one: 0.01 is one point "
            "(default: 0.01)",
            panel=options.OUTPUT,
        ),
    ] = 0.01,
    config_file: options.ConfigFile = None,
    assignments: options.Assignments = None,
    epochs: options.Epochs = None,
    learning_rate: options.LearningRate = None,
    batch_size: options.BatchSize = None,
    seed: options.Seed = None,
    model_dir: Annotated[
        Path | None,
        options.option(
            metavar="DIR",
            help="folder of the new training (default: retrain/ beside the checkpoint)",
            panel=options.OUTPUT,
        ),
    ] = None,
    logdir: options.LogDir = None,
    run_name: Annotated[
        str | None,
        options.option(
            metavar="NAME", help="name of the run in the logs (default: chosen by date and time)", panel=options.OUTPUT
        ),
    ] = None,
    resume: Annotated[
        bool,
        options.option(
            "--resume",
            help="go on with the interrupted retraining in --model-dir (default: begin anew)",
            panel=options.TRAINING,
        ),
    ] = False,
    quiet: Annotated[
        bool,
        options.option(
            "--quiet",
            "-q",
            help="no progress on stderr, the result alone (default: progress)",
            panel=options.OUTPUT,
        ),
    ] = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Go on from a checkpoint with newer data, and replace it when the new model is no worse on the newest facts.

    Exit code 0: replaced, the old one kept as NAME.previous.npz; 3: the new one is worse, and the old one stays.

    Example: tirgn retrain --data-path events.parquet --num-days 30 --from models/tkg/tirgn_best.npz
    """
    keep_freed_memory()
    flags = options.given(epochs=epochs, learning_rate=learning_rate, batch_size=batch_size, seed=seed, logdir=logdir)
    changes = options.overrides(None, config_file, assignments, flags)
    folder = model_dir or checkpoint.parent / "retrain"

    from tirgn_cli import show
    from tirgn_cli.progress import TrainingView

    if quiet:
        show.only_warnings()
    with show.clean_stdout():
        load = options.given(num_days=num_days, max_events=max_events, granularity=granularity)
        graph = load_data(checkpoint, data_path, load)

        from tirgn_eqx.train.retrain import retrain as run

        given: dict[str, Any] = {"keep_gone": keep_gone, "max_regression": max_regression, "run_name": run_name}
        with Signals() as signals, TrainingView(quiet=quiet) as view:
            result = run(
                graph,
                checkpoint,
                model_dir=folder,
                changes=changes,
                resume=resume,
                stop=signals.received,
                on_record=view,
                **given,
            )
    result = {"dataset": graph.describe(), **result}
    if as_json:
        show.document(result)
    elif result["status"] == "completed":
        _show(result)
    if result["status"] != "completed":
        show.note(f"interrupted; saved in {folder}; the same command with --resume goes on from there")
        raise typer.Exit(128 + signals.number)
    if not result["replaced"]:
        new = result["training"]["checkpoint"]
        show.warning(f"the new model is worse: {checkpoint} stays as it is; the new one is {new}")
        raise typer.Exit(KEPT_OLD)


def load_data(checkpoint: Path, data_path: str | None, given: dict[str, Any]) -> Any:
    """The data to train on, read as the checkpoint's was unless `given` says otherwise."""
    from tirgn_eqx.data import load_graph
    from tirgn_eqx.train.checkpoint import load_checkpoint

    described = load_checkpoint(checkpoint).metadata
    provenance = (described.get("data") or {}).get("provenance") or {}
    if provenance.get("kind") != "parquet":
        raise CheckpointError(
            f"{checkpoint}: not trained on an event table, and only those have names to go on by; train anew"
        )
    known = {key: provenance[key] for key in ("num_days", "max_events", "granularity") if key in provenance}
    return load_graph(data_path or provenance["path"], **known | given)


def _show(result: dict[str, Any]) -> None:
    from tirgn_cli import show

    names = lambda counts: f"{counts['kept']:,} kept, {counts['new']:,} new, {counts['gone']:,} gone"
    rows = [[side["name"], *show.figures(side["entity"])] for side in result["comparison"]["models"]]
    caption = "test split of the new data, entity questions, time-aware filter"
    show.result(show.table("New against old", ["", *show.METRICS.values()], rows, caption))
    low, high = result["comparison"]["difference"]["mrr"]["interval_points"]
    difference = result["comparison"]["difference"]["mrr"]["points"]
    decision = "replaced" if result["replaced"] else "the old one stays"
    show.result(
        show.pairs(
            "Retraining",
            {
                "data": show.dataset(result["dataset"]),
                "entities": names(result["names"]["entities"]),
                "relations": names(result["names"]["relations"]),
                "MRR, new - old": f"{difference:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}",
                "decision": f"{result['checkpoint']}: {decision}",
                "previous": result.get("previous"),
                "time": show.duration(result["training"]["total_time"]),
            },
        )
    )
