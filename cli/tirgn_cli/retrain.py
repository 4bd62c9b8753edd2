"""`tirgn retrain`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tirgn_cli import complete, options, output, tables, values
from tirgn_cli.common import load_evaluation_graph
from tirgn_cli.score import check_min_skill, describe_score
from tirgn_cli.train import Signals, save_config
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime.malloc import keep_freed_memory

if TYPE_CHECKING:
    from tirgn_eqx.train.events import TrainingResult
    from tirgn_eqx.train.retrain import DataWindow, Predecessor, RetrainingResult
    from tirgn_eqx.train.retrain_events import EventRetrainingResult, RetrainingReason

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
            help="replace CKPT when the new test MRR is at least the old one less this, 0.01 being one point; an event "
            "model, when its Brier score is at most this share above the old one (default: 0.01)",
            panel=options.OUTPUT,
        ),
    ] = 0.01,
    journal: Annotated[
        Path | None,
        options.option(
            metavar="DIR",
            help="of an event model, folder of the journal of its forecasts: retrain only if their skill is below "
            "--min-skill (default: retrain in any case)",
            panel=options.MODEL,
        ),
    ] = None,
    min_skill: Annotated[
        float | None,
        options.option(
            metavar="X",
            help="with --journal, the least skill against the usual rate that is good enough, see `tirgn score` "
            "(default: 0, as good as the usual rate)",
            panel=options.MODEL,
        ),
    ] = None,
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
    unless an option, --set or --config changes them. An event model is trained anew, and compared by its Brier score.

    Example: tirgn retrain --data-path events.parquet --from models/tkg/tirgn_best.npz

    Example: tirgn retrain --data-path events.parquet --from models/tkg/tirgn_best.npz --epochs 5 --quiet --json

    Example: tirgn retrain --data-path events.parquet --from models/events/tirgn_best.npz --journal journal
    """
    keep_freed_memory()
    if not -1 <= max_regression <= 1:
        raise ConfigError(f"--max-regression {max_regression:g}: must be between -1 and 1, such as 0.01 for one point")
    if min_skill is not None and journal is None:
        raise ConfigError("--min-skill: of the forecasts in a journal; give --journal DIR too")
    check_min_skill(min_skill)
    # Not the folder of CKPT itself, which stays as it is until the new model has proved to be no worse.
    model_dir = checkpoint.parent / "retrain" if model_dir is None else model_dir
    given = values.given_settings(ctx.params)

    from tirgn_cli.progress import TrainingView

    with output.stdout_to_stderr():
        from tirgn_eqx.config import EventTrainingConfig
        from tirgn_eqx.train.retrain import read_predecessor
        from tirgn_eqx.train.retrain import retrain as train_successor
        from tirgn_eqx.train.retrain_events import retrain_events

        old = read_predecessor(checkpoint)
        # The logs of the old training stay where they are.
        for_events = isinstance(old.config, EventTrainingConfig)
        # What the old data decided, the new data decide anew.
        automatic: dict[str, object] = {"periods": "auto", "epochs": 0} if for_events else {}
        config = given.changed(old.config.replace(logdir=str(model_dir / "logs"), **automatic))
        if journal is not None and not for_events:
            raise ConfigError(
                f"--journal: {checkpoint} holds {config.model_type}, and a journal the forecasts of event models; "
                "leave it out"
            )
        if resume and for_events:
            raise ConfigError(
                f"--resume: {checkpoint} holds {config.model_type}, which are trained anew within minutes; leave it out"
            )
        reason = None if journal is None else _find_reason(old, journal, data_path, reading, min_skill or 0.0)
    if reason is not None and not reason["due"]:
        return _show_not_due(old, reason, as_json)
    with output.stdout_to_stderr():
        graph = load_evaluation_graph(checkpoint, data_path, old.metadata.provenance, reading)
        with Signals() as signals, TrainingView() as view:
            if isinstance(config, EventTrainingConfig):
                result = retrain_events(
                    old,
                    graph,
                    config,
                    model_dir=model_dir,
                    max_regression=max_regression,
                    keep_gone=keep_gone,
                    reason=reason,
                    on_record=view,
                    stop=signals.received,
                )
            else:
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
        saved = "nothing of the training is saved; the same command begins it anew"
        if not for_events:
            saved = f"the training is saved in {model_dir}; the same command with --resume goes on from there"
        output.print_line(output.stderr(), f"interrupted; {checkpoint} is unchanged, {saved}")
        # As shells report a process that a signal ended.
        raise typer.Exit(128 + signals.number)
    assert "training" in result and "comparison" in result and "decision" in result  # as in all that ran to the end
    if not as_json:
        (_show_events if for_events else _show_ranks)(result["comparison"], result["window"])
        _show_summary(result, result["training"])
    if result["status"] == "kept":
        decision = result["decision"]
        if "mrr" in decision:
            new_mrr, old_mrr = decision["mrr"]
            why = f"the new test MRR {new_mrr:.4f} is more than {max_regression:g} below the old {old_mrr:.4f}"
        else:
            why = f"the skill {decision['skill']:.4f} of the new model against the old one is below {-max_regression:g}"
        output.print_warning(f"{why}; {checkpoint} stays, the new one is {result['training']['checkpoint']}")
        raise typer.Exit(NEW_MODEL_WORSE)


def _find_reason(
    old: "Predecessor", journal: Path, data_path: str | None, reading: options.ReadingFlags, min_skill: float
) -> "RetrainingReason":
    from tirgn_eqx.evaluate.track_record import read_outcomes, score_journal
    from tirgn_eqx.train.retrain_events import find_reason

    # The window of the training may be shorter than the record.
    given = {name: value for name, value in reading.given().items() if name != "num_days"}
    with output.working(f"judging the forecasts in {journal}"):
        record = score_journal(
            journal, read_outcomes(journal, data_path, model_sha256=old.sha256, **given), model_sha256=old.sha256
        )
    reason = find_reason(record, min_skill)
    output.print_note(f"track record of {old.path}: {describe_score(record)}")
    return reason


def _show_not_due(old: "Predecessor", reason: "RetrainingReason", as_json: bool) -> None:
    if as_json:
        output.print_json({"status": "not due", "checkpoint": str(old.path), "previous": None, "reason": reason})
        return
    found = f"of its forecasts in {reason['journal']} none can be judged, {reason['waiting']:,} wait"
    if reason["scored"]:
        skill = "not known" if reason["skill"] is None else f"{reason['skill']:.4f}"
        found = f"the skill of {reason['scored']:,} of its forecasts is {skill}, not below {reason['min_skill']:g}"
    output.print_result(f"nothing to do: {found}; {old.path} stays")


def _describe_reason(result: "RetrainingResult | EventRetrainingResult") -> str | None:
    if "reason" not in result:
        return None
    found = result["reason"]
    return f"skill {found['skill']:.4f} of {found['scored']:,} forecasts, below {found['min_skill']:g}"


def _show_events(comparison: Mapping[str, Any], window: "DataWindow") -> None:
    rows: list[list[object]] = []
    for one in comparison["horizons"]:
        for name, key in (("Brier score", "brier"), ("log score", "log_score"), ("calibration error", "ece")):
            skill = f"{100 * one['skill']:+.2f} %" if key == "brier" else ""
            rows.append([f"{name}, within {one['horizon']}", *one[key], skill])
    test = window["splits"]["test"]
    caption = f"facts with a past, test ({test['from']} to {test['to']}); skill of the new model against the old one"
    tables.print_table(tables.make_table("Retraining", ["", "new", "old", "skill"], rows, caption))


def _show_ranks(comparison: Mapping[str, Any], window: "DataWindow") -> None:
    new, old = comparison["models"]
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


def _show_summary(result: "RetrainingResult | EventRetrainingResult", training: "TrainingResult") -> None:
    window = result["window"]
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
        "reason": _describe_reason(result),
    }
    tables.print_table(tables.make_pairs("", summary))
