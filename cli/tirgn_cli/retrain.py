"""`tirgn retrain`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tirgn_cli import complete, options
from tirgn_eqx.config import GivenSettings
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime.malloc import keep_freed_memory

WORSE = 3
KEPT = "that of CKPT"


def retrain(
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
        options.option(
            metavar="PATH",
            autocompletion=complete.data,
            help="event table with the newest events (default: what CKPT was trained on, read again)",
            panel=options.DATA,
        ),
    ] = None,
    num_days: Annotated[
        int | None,
        options.option(
            min=0, metavar="DAYS", help=f"keep the most recent; 0 = all (default: {KEPT})", panel=options.DATA
        ),
    ] = None,
    max_events: Annotated[
        int | None,
        options.option(
            min=0,
            metavar="EVENTS",
            help=f"thin every day in proportion to at most this many events in all; 0 = all (default: {KEPT})",
            panel=options.DATA,
        ),
    ] = None,
    granularity: Annotated[
        str | None,
        options.option(
            metavar="15min|hour|day",
            help=f"length of one snapshot (default: {KEPT})",
            autocompletion=lambda: ["15min", "hour", "day"],
            panel=options.DATA,
        ),
    ] = None,
    time_format: options.TimeFormat = None,
    columns: options.Columns = None,
    skip_bad_rows: options.SkipBadRows = None,
    keep_gone: Annotated[
        bool,
        options.option(
            "--keep-gone",
            help="keep entities and relations that the new data does not have, as ones without events (default: "
            "forget them)",
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
            help="go on with the interrupted retraining in --model-dir (default: begin anew)",
            panel=options.TRAINING,
        ),
    ] = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Retrain a checkpoint on newer data, and replace it unless the new model is worse.

    Training begins with the old weights, entities and relations being matched by name. Old and new then forecast the
    newest held-out snapshots. The replaced checkpoint stays as CKPT's name with .previous; exit code 3 says that the
    new model was worse by more than --max-regression and CKPT is untouched. All settings are those of CKPT; options
    of their own, --set and --config change them.

    Example: tirgn retrain --data-path events.parquet --from models/tkg/tirgn_best.npz

    Example: tirgn retrain --data-path events.parquet --from models/tkg/tirgn_best.npz --epochs 5 --quiet --json
    """
    keep_freed_memory()
    if not -1 <= max_regression <= 1:
        raise ConfigError(f"--max-regression {max_regression:g}: must be between -1 and 1, such as 0.01 for one point")
    model_dir = checkpoint.parent / "retrain" if model_dir is None else model_dir
    flags = options.given(epochs=epochs, learning_rate=learning_rate, batch_size=batch_size, seed=seed, logdir=logdir)
    given = GivenSettings(file=config_file, assignments=assignments or (), options=flags)

    from tirgn_cli import show
    from tirgn_cli.eval import load_data
    from tirgn_cli.progress import TrainingView
    from tirgn_cli.train import Signals, save_config

    if quiet:
        show.only_warnings()
    with show.clean_stdout():
        from tirgn_eqx.train.retrain import read_predecessor
        from tirgn_eqx.train.retrain import retrain as run

        old = read_predecessor(checkpoint)
        config = given.changed(old.config.replace(logdir=str(model_dir / "logs")))
        load = options.given(
            num_days=num_days,
            max_events=max_events,
            granularity=granularity,
            time_format=time_format,
            columns=columns,
            skip_bad_rows=skip_bad_rows,
        )
        graph = load_data(checkpoint, data_path, old.provenance, load)
        with Signals() as signals, TrainingView(quiet=quiet) as view:
            decide: dict[str, Any] = {"max_regression": max_regression, "keep_gone": keep_gone}
            outputs: dict[str, Any] = {"model_dir": model_dir, "on_record": view, "resume": resume}
            result = run(old, graph, config, **decide, **outputs, stop=signals.received)
        save_config(config, model_dir)
    if as_json:
        show.document(result)
    elif result["status"] != "interrupted":
        _show(result)
    if result["status"] == "interrupted":
        again = "the same command with --resume goes on from there"
        show.line(
            show.stderr(), f"interrupted; {checkpoint} is as it was, the training is saved in {model_dir}; {again}"
        )
        raise typer.Exit(128 + signals.number)
    if result["status"] == "kept":
        decision = result["decision"]
        show.warning(
            f"the new test MRR {decision['mrr'][0]:.4f} is more than {max_regression:g} below the old "
            f"{decision['mrr'][1]:.4f}; {checkpoint} stays, the new one is {result['training']['checkpoint']}"
        )
        raise typer.Exit(WORSE)


def _show(result: dict[str, Any]) -> None:
    from tirgn_cli import show

    comparison, span = result["comparison"], result["window"]
    new, old = (side["entity"] for side in comparison["models"])
    rows = []
    for key, heading in show.METRICS.items():
        found = comparison["difference"][key]
        if key == "nll":
            difference, interval, digits = found["nats"], found["interval_nats"], 4
        else:
            difference, interval, digits = found["points"], found["interval_points"], 2
        low, high = (f"{value:+.{digits}f}" for value in interval)
        rows.append([heading, new[key], old[key], f"{difference:+.{digits}f}", f"{low} .. {high}"])
    for key, heading in (("brier", "Brier score"), ("ece", "calibration error")):
        values = [side["calibration"][key] for side in comparison["models"] if "calibration" in side]
        rows += [[heading, *values, "", ""]] if len(values) == 2 else []
    test = span["splits"]["test"]
    caption = (
        f"entity, both directions, test ({test['from']} to {test['to']}), single-step, time-aware filter; differences "
        "in points (NLL: nats), with 95 % intervals of a paired bootstrap over questions"
    )
    show.result(show.table("Retraining", ["", "new", "old", "new - old", "interval"], rows, caption))
    counts = lambda kind: ", ".join(f"{number:,} {name}" for name, number in result["mapping"][kind].items())
    training = result["training"]
    show.result(
        show.pairs(
            "",
            {
                "data": show.dataset(result["dataset"]),
                "window": f"{span['from']} to {span['to']}",
                "entities": counts("entities"),
                "relations": counts("relations"),
                "epochs trained": training["epochs_trained"],
                "time": show.duration(training["total_time"]),
                "checkpoint": f"{result['checkpoint']}, {result['status']}",
                "new": training["checkpoint"],
                "previous": result["previous"],
            },
        )
    )
