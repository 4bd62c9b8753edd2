"""`tirgn eval`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tirgn_cli import complete, options
from tirgn_eqx.errors import CheckpointError, ConfigError, DataError
from tirgn_eqx.runtime.malloc import keep_freed_memory

MOST_SHARES = 6
TYPES = ("tirgn", "regcn", "evidence", "tirgn-evidence", "regcn-evidence")
PROTOCOLS = ("own", "tgb")
SCORES = ("entity", "entity_raw", "object", "subject", "relation", "relation_raw")


def evaluate(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CKPT",
            help="checkpoint, such as models/tkg/tirgn_best.npz",
            autocompletion=complete.checkpoints,
        ),
    ],
    data_path: Annotated[
        str | None,
        options.option(
            metavar="PATH",
            autocompletion=complete.data,
            help="folder, event table or 'sim' to evaluate on (default: what it was trained on)",
            panel=options.DATA,
        ),
    ] = None,
    num_days: options.NumDays = None,
    max_events: options.MaxEvents = None,
    granularity: options.Granularity = None,
    time_format: options.TimeFormat = None,
    columns: options.Columns = None,
    skip_bad_rows: options.SkipBadRows = None,
    model_type: Annotated[
        str | None,
        options.option(
            "--model",
            metavar="|".join(TYPES),
            help="refuse a checkpoint of any other model (default: take what it holds)",
            panel=options.MODEL,
        ),
    ] = None,
    split: options.Split = "test",
    multi_step: options.MultiStep = False,
    feed_back: options.FeedBack = False,
    protocol: Annotated[
        str,
        options.option(
            metavar="own|tgb",
            help="how answers are ranked, of a folder of TGB 2.0: as everywhere here, or among the negatives and with "
            "the figures of TGB (default: own)",
            panel=options.DATA,
            autocompletion=lambda: list(PROTOCOLS),
        ),
    ] = "own",
    explain: Annotated[
        int,
        options.option(
            min=0,
            metavar="N",
            help="of an evidence checkpoint, explain this many forecasts drawn from the split: the past events that "
            "carry each, with their shares (default: 0)",
            panel=options.OUTPUT,
        ),
    ] = 0,
    calibrate: Annotated[
        bool,
        options.option(
            "--calibrate",
            help="fit a temperature of the probabilities on the valid split, keep it in the checkpoint, where predict "
            "finds it, and show what it changes (default: leave the checkpoint as it is)",
            panel=options.OUTPUT,
        ),
    ] = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Evaluate a checkpoint: ranks of the true answers among all entities and among all relations.

    Ranks are raw and with the time-aware filter; ties count with their mean rank.

    Example: tirgn eval models/tkg/tirgn_best.npz --json

    Example: tirgn eval models/evidence/tirgn_best.npz --explain 3

    Example: tirgn eval models/tkg/tirgn_best.npz --calibrate

    Example: tirgn eval models/icews/tirgn_best.npz --protocol tgb --json
    """
    keep_freed_memory()
    options.check_split(split)
    if model_type not in (None, *TYPES):
        raise ConfigError(f"--model {model_type!r}: must be one of {', '.join(TYPES)}")
    setting: Any = options.evaluation_setting(multi_step, feed_back)
    if protocol not in PROTOCOLS:
        raise ConfigError(f"--protocol {protocol!r}: must be one of {', '.join(PROTOCOLS)}")
    for option, there in (("--multi-step", multi_step), ("--explain", explain), ("--calibrate", calibrate)):
        if there and protocol == "tgb":
            raise ConfigError(f"{option}: not with --protocol tgb, which gives TGB's single-step figures alone")

    from tirgn_cli import show

    with show.clean_stdout():
        from tirgn_eqx.checkpoint.models import load_model

        model, config, metadata = load_model(checkpoint, model_type)
        kind = config.model_type
        if explain and not kind.endswith("evidence"):
            raise ConfigError(f"--explain: {checkpoint} holds {kind}, which cannot; train with --model evidence")
        trained_on = metadata.get("data") or {}
        given = options.given(
            num_days=num_days,
            max_events=max_events,
            granularity=granularity,
            time_format=time_format,
            columns=columns,
            skip_bad_rows=skip_bad_rows,
        )
        from tirgn_eqx.data.vocabulary import match_checkpoint

        data = load_data(checkpoint, data_path, trained_on.get("provenance") or {}, given)
        graph = match_checkpoint(data, metadata, checkpoint)
        difference = checksum_message(graph, data, metadata)
        if difference is not None:
            show.warning(difference)

        shape = config.window()
        calibration, explanations = None, []
        if protocol == "tgb":
            from tirgn_eqx.evaluate.tgb import check_tgb, evaluate_tgb

            check_tgb(graph, data)
            with show.working(f"evaluating {graph.name}"):
                measured = evaluate_tgb(model, graph, split="valid" if split == "valid" else "test", **shape).to_dict()
        else:
            from tirgn_eqx.evaluate.protocol import make_evaluator

            def evaluator(split: Any) -> Any:
                return make_evaluator(model, graph, split=split, setting=setting, **shape)

            with show.working(f"evaluating {graph.name}"):
                run = evaluator("valid" if split == "valid" else "test")
                evaluation = run(model)
            measured = evaluation.to_dict()
            if calibrate:
                with show.working(f"calibrating on the valid split of {graph.name}"):
                    calibration = calibrated(checkpoint, model, run, run if split == "valid" else evaluator("valid"))
            explanations = explained(model, evaluation, explain, shape["history_len"]) if explain else []
    measured |= {"checkpoint": str(checkpoint), "checksum_matches": difference is None, "model_type": config.model_type}
    measured |= {"seed": config.seed, "versions": metadata.get("versions")}
    if explain:
        measured["explanations"] = explanations
    if calibration is not None:
        measured["calibrated"] = calibration
    if as_json:
        show.document(measured)
    else:
        _show(measured)


def calibrated(checkpoint: Path, model: Any, run: Any, on_valid: Any) -> dict[str, Any]:
    """Fits temperatures on the valid split and keeps them in the checkpoint; what they are, and what they make of the
    split that `run` evaluates."""
    from tirgn_eqx.checkpoint.models import save_calibration
    from tirgn_eqx.evaluate.calibrate import fit_temperature

    found = fit_temperature(lambda temperature: on_valid(model, temperature))
    save_calibration(checkpoint, found.to_dict())
    after = run(model, found.pair)
    return found.to_dict() | {"nll": after.entity["nll"], **after.calibration.to_dict()}


def explained(model: Any, evaluation: Any, number: int, history_len: int) -> list[dict[str, Any]]:
    """The most probable answers to questions of the split, spread over it evenly, with what carries them and what
    happened."""
    import numpy as np

    from tirgn_eqx.evaluate.explain import Explainer
    from tirgn_eqx.evaluate.strata import split_queries

    graph, snapshots = evaluation.graph, np.unique(evaluation.snapshot)
    subject, relation, answer, snapshot = split_queries(graph, evaluation.split, snapshots)
    before = None if evaluation.setting == "single-step" else int(snapshots[0])
    explain, out = Explainer(model, graph, history_len=history_len), []
    for place in np.unique(np.linspace(0, len(subject) - 1, min(number, len(subject))).astype(int)).tolist():
        asked = int(subject[place]), int(relation[place])
        forecast = explain(*asked, None, int(snapshot[place]), before)
        happened = explain(*asked, int(answer[place]), int(snapshot[place]), before)
        named = happened.to_dict()
        out.append(
            forecast.to_dict() | {"happened": named[named["predicted"]], "happened_probability": happened.probability}
        )
    return out


def load_data(checkpoint: Path, data_path: str | None, provenance: dict[str, Any], given: dict[str, Any]) -> Any:
    """The graph to evaluate on: the one the checkpoint names, or `data_path` read with the same options."""
    from tirgn_eqx.data.readers.load import load_graph, reading_of

    if data_path is not None:
        # A moved or copied event table is read as the one that was trained on, unless told otherwise.
        return load_graph(data_path, **reading_of(provenance, data_path) | given)
    if not provenance:
        raise CheckpointError(f"{checkpoint}: does not say where its data came from; give --data-path")
    try:
        return load_graph(**provenance | given)
    except DataError as error:
        raise DataError(f"{error} (the data that {checkpoint} was trained on; --data-path names another)") from error


def checksum_message(graph: Any, data: Any, metadata: dict[str, Any]) -> str | None:
    """What to say where the facts are not known to be those that a checkpoint was trained on; None where they are.

    `data`: as they were read; `graph`: the same with the ids of the checkpoint, so that their order does not count.
    """
    found, expected = graph.checksum, (metadata.get("data") or {}).get("sha256")
    if found == expected:
        return None
    if expected is None:
        return "the checkpoint has no checksum of its data; whether these are the same facts is not known"
    named = all((data.entity_names, data.relation_names, metadata.get("entities"), metadata.get("relations")))
    by_id = "" if named else "; without names, entities and relations were paired by id"
    return (
        f"CHECKSUM DIFFERS: these facts (sha256 {found[:12]}) are not those that the checkpoint was trained "
        f"on (sha256 {expected[:12]}); the figures below say nothing about the original data{by_id}"
    )


def _show(measured: dict[str, Any]) -> None:
    from tirgn_cli import show

    show.line(show.stdout(), show.dataset(measured["dataset"]))
    show.result(figures_table(f"{measured['split']} figures of {measured['checkpoint']}", measured))
    found = measured.get("calibration")
    if found:
        show.line(show.stdout(), f"calibration: Brier score {found['brier']:.4f}, expected error {found['ece']:.4f}")
    after = measured.get("calibrated")
    if after:
        degrees = " and ".join(f"{value:.3f} for {kind} questions" for kind, value in after["temperature"].items())
        show.line(show.stdout(), f"calibrated: temperature {degrees}, fitted on valid and kept in the checkpoint")
        figures = f"Brier score {after['brier']:.4f}, expected error {after['ece']:.4f}, NLL {after['nll']:.4f}"
        show.line(show.stdout(), f"with it: {figures}")
    for forecast in measured.get("explanations", []):
        _show_explanation(forecast)


def _show_explanation(forecast: dict[str, Any]) -> None:
    from tirgn_cli import show

    asked = forecast["predicted"]
    parts = {key: "?" if key == asked else forecast[key] for key in ("subject", "relation", "object")}
    rows = []
    for share in forecast["shares"]:
        if share["kind"] == "event":
            what = f"{share['subject']} - {share['relation']} - {share['object']}"
        else:
            what = {
                "popularity": f"others with {forecast[asked]} in this",
                "background": "background",
                "structure": "structure",
            }[share["kind"]]
        last = share.get("last")
        last = None if last is None else str(last)
        rows.append([what, share.get("events"), last, f"{100 * share['share']:.1f} %"])
    title = f"{parts['subject']} - {parts['relation']} - {parts['object']}  at {forecast['time']}"
    caption = (
        f"forecast: {forecast[asked]} ({100 * forecast['probability']:.1f} %); "
        f"happened: {forecast['happened']} ({100 * forecast['happened_probability']:.1f} %)"
    )
    shown = (
        rows if len(rows) <= MOST_SHARES else [*rows[:MOST_SHARES], [f"{len(rows) - MOST_SHARES} more", None, None, ""]]
    )
    show.result(show.table(title, ["carried by", "events", "last at", "share"], shown, caption))


def figures_table(title: str, measured: dict[str, Any]) -> Any:
    """The table of what `Evaluation.to_dict` holds."""
    from tirgn_cli import show

    rows = [[name.replace("_", ", "), *show.figures(measured[name])] for name in SCORES if name in measured]
    if "negatives" in measured:
        caption = f"TGB's protocol, single-step; negatives: {measured['negatives']}; {measured['queries']:,} questions"
        return show.table(title, ["", *show.METRICS.values()], rows, caption)
    caption = (
        f"{measured['setting']}, {measured['filter']}-aware filter unless raw; entity = both directions; "
        f"{len(measured['snapshots'])} snapshots in {show.duration(measured['seconds'])}"
    )
    return show.table(title, ["", *show.METRICS.values()], rows, caption)
