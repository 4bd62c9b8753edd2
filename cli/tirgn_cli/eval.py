"""`tirgn eval`."""

from pathlib import Path
from typing import Annotated, Any

from tirgn_cli import options
from tirgn_cli.common import describe_difference, load_evaluation_graph
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime.malloc import keep_freed_memory

MODELS = ("tirgn", "regcn", "evidence", "tirgn-evidence", "regcn-evidence")
PROTOCOLS = ("own", "tgb")
SHARES_SHOWN = 6


@options.command()
def evaluate(
    checkpoint: options.Checkpoint,
    *,
    data_path: Annotated[
        str | None,
        options.data_path("folder, event table or 'sim' to evaluate on (default: the data that it was trained on)"),
    ] = None,
    reading: options.ReadingFlags,
    model_type: Annotated[
        str | None,
        options.option(
            "--model",
            metavar="|".join(MODELS),
            help="refuse a checkpoint of any other model (default: take any)",
            panel=options.MODEL,
        ),
    ] = None,
    split: options.Split = "test",
    multi_step: options.MultiStep = False,
    feed_back: options.FeedBack = False,
    protocol: Annotated[
        str,
        options.choice(
            choices=PROTOCOLS,
            help="of a folder of TGB 2.0, how answers are ranked: own, among all entities, or tgb, among TGB's "
            "negatives and with its figures (default: own)",
            panel=options.DATA,
        ),
    ] = "own",
    explain: Annotated[
        int,
        options.option(
            min=0,
            metavar="N",
            help="of an evidence checkpoint, explain this many forecasts from the split: the past events that "
            "contribute to each, with their shares (default: 0)",
            panel=options.OUTPUT,
        ),
    ] = 0,
    calibrate: Annotated[
        bool,
        options.option(
            "--calibrate",
            help="fit a temperature of the probabilities on the valid split, save it in the checkpoint for `tirgn "
            "predict`, and show its effect (default: leave the checkpoint as it is)",
            panel=options.OUTPUT,
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Evaluate a checkpoint: ranks of the true answers among all entities and among all relations.

    Ranks are raw and with the time-aware filter; tied candidates get their mean rank.

    Example: tirgn eval models/tkg/tirgn_best.npz --json

    Example: tirgn eval models/evidence/tirgn_best.npz --explain 3

    Example: tirgn eval models/tkg/tirgn_best.npz --calibrate

    Example: tirgn eval models/icews/tirgn_best.npz --protocol tgb --json
    """
    keep_freed_memory()
    held_out = options.check_split(split)
    options.check_choice("--model", model_type, MODELS)
    setting = options.evaluation_setting(multi_step, feed_back)
    options.check_choice("--protocol", protocol, PROTOCOLS)
    for option, given in (("--multi-step", multi_step), ("--explain", explain), ("--calibrate", calibrate)):
        if given and protocol == "tgb":
            raise ConfigError(f"{option}: not with --protocol tgb, which gives TGB's single-step figures alone")

    from tirgn_cli import output

    with output.stdout_to_stderr():
        from tirgn_eqx.checkpoint.models import load_model

        model, config, metadata = load_model(checkpoint, model_type)
        kind = config.model_type
        if explain and not kind.endswith("evidence"):
            raise ConfigError(f"--explain: {checkpoint} holds {kind}, which cannot; train with --model evidence")

        from tirgn_eqx.data.vocabulary import match_checkpoint

        provenance = metadata.provenance
        data = load_evaluation_graph(checkpoint, data_path, provenance, reading.given())
        graph = match_checkpoint(data, metadata, checkpoint)
        difference = describe_difference(graph, data, metadata)
        if difference is not None:
            output.print_warning(difference)

        window = config.window()
        if protocol == "tgb":
            from tirgn_eqx.evaluate.tgb import check_tgb, evaluate_tgb

            check_tgb(graph, data)
            with output.working(f"evaluating {graph.name}"):
                document = evaluate_tgb(model, graph, split=held_out, **window).to_dict()
        else:
            from tirgn_eqx.evaluate.protocol import make_evaluator

            with output.working(f"evaluating {graph.name}"):
                evaluator: Any = make_evaluator(model, graph, split=held_out, setting=setting, **window)
                evaluation = evaluator(model)
            document = evaluation.to_dict()
            if calibrate:
                with output.working(f"calibrating on the valid split of {graph.name}"):
                    on_valid = evaluator
                    if held_out != "valid":
                        on_valid = make_evaluator(model, graph, split="valid", setting=setting, **window)
                    document["calibrated"] = _calibrate(checkpoint, model, evaluator, on_valid)
            if explain:
                document["explanations"] = _explain(model, evaluation, explain, window["history_len"])
    document |= {"checkpoint": str(checkpoint), "checksum_matches": difference is None, "model_type": kind}
    document |= {"seed": config.seed, "versions": metadata.versions}
    if as_json:
        output.print_json(document)
    else:
        _show(document)


def _calibrate(checkpoint: Path, model: Any, evaluator: Any, on_valid: Any) -> dict[str, Any]:
    """Fit temperatures on the valid split and save them in the checkpoint.

    **Returns:** the temperatures, and the figures that they give on the split of `evaluator`.
    """
    from tirgn_eqx.checkpoint.models import save_calibration
    from tirgn_eqx.evaluate.calibrate import fit_temperature

    found = fit_temperature(lambda temperature: on_valid(model, temperature))
    save_calibration(checkpoint, found.to_dict())
    after = evaluator(model, found.pair)
    return found.to_dict() | {"nll": after.entity["nll"], **after.calibration.to_dict()}


def _explain(model: Any, evaluation: Any, number: int, history_len: int) -> list[dict[str, Any]]:
    """The most probable answers to `number` queries spread evenly over the split, each with the events that contribute
    to it, and the answer that happened."""
    import numpy as np

    from tirgn_eqx.evaluate.explain import Explainer
    from tirgn_eqx.evaluate.strata import split_queries

    graph, snapshots = evaluation.graph, np.unique(evaluation.snapshot)
    subject, relation, answer, snapshot = split_queries(graph, evaluation.split, snapshots)
    # In the multi-step setting, nothing from the beginning of the split on is known.
    before = None if evaluation.setting == "single-step" else int(snapshots[0])
    explain, explanations = Explainer(model, graph, history_len=history_len), []
    for row in np.unique(np.linspace(0, len(subject) - 1, min(number, len(subject))).astype(int)).tolist():
        query = int(subject[row]), int(relation[row])
        forecast = explain(*query, None, int(snapshot[row]), before)
        # The answer that happened may be none of the most probable ones, so it is explained separately.
        happened = explain(*query, int(answer[row]), int(snapshot[row]), before)
        named = happened.to_dict()
        truth = {"happened": named[named["predicted"]], "happened_probability": happened.probability}
        explanations.append(forecast.to_dict() | truth)
    return explanations


def _show(document: dict[str, Any]) -> None:
    from tirgn_cli import output, tables

    output.print_result(tables.format_dataset(document["dataset"]))
    title = f"{document['split']} figures of {document['checkpoint']}"
    tables.print_table(tables.make_metrics_table(title, document))
    figures = "Brier score {brier:.4f}, expected error {ece:.4f}"
    if before := document.get("calibration"):
        output.print_result(f"calibration: {figures.format(**before)}")
    if after := document.get("calibrated"):
        degrees = " and ".join(f"{value:.3f} for {kind} queries" for kind, value in after["temperature"].items())
        output.print_result(f"calibrated: temperature {degrees}, fitted on valid and saved in the checkpoint")
        output.print_result(f"with it: {figures.format(**after)}, NLL {after['nll']:.4f}")
    for forecast in document.get("explanations", []):
        _show_explanation(forecast)


def _show_explanation(forecast: dict[str, Any]) -> None:
    from tirgn_cli import tables

    predicted = forecast["predicted"]
    parts = {key: "?" if key == predicted else forecast[key] for key in ("subject", "relation", "object")}
    rows: list[list[Any]] = []
    for share in forecast["shares"]:
        what = share["kind"]
        if what == "event":
            what = f"{share['subject']} - {share['relation']} - {share['object']}"
        elif what == "popularity":
            what = f"others with {forecast[predicted]} in this"
        last = share.get("last")
        rows.append([what, share.get("events"), None if last is None else str(last), f"{100 * share['share']:.1f} %"])
    if len(rows) > SHARES_SHOWN:
        rows[SHARES_SHOWN:] = [[f"{len(rows) - SHARES_SHOWN} more", None, None, ""]]
    title = f"{parts['subject']} - {parts['relation']} - {parts['object']}  at {forecast['time']}"
    caption = (
        f"forecast: {forecast[predicted]} ({100 * forecast['probability']:.1f} %); "
        f"happened: {forecast['happened']} ({100 * forecast['happened_probability']:.1f} %)"
    )
    tables.print_table(tables.make_table(title, ["source", "events", "last at", "share"], rows, caption))
