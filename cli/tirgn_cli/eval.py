"""`tirgn eval`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tirgn_cli import complete, options, output, tables, values
from tirgn_cli.common import (
    LoadedCheckpoint,
    describe_difference,
    load_evaluation_graph,
    load_mapped_graph,
    load_matched_graph,
)
from tirgn_cli.eval_scores import evaluate_score_file
from tirgn_cli.explain import ExplainedForecast, check_explains, explain_queries, show_explanation
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime.malloc import keep_freed_memory

if TYPE_CHECKING:
    from tirgn_eqx.checkpoint.metadata import CheckpointMetadata
    from tirgn_eqx.data.graph import TemporalGraph
    from tirgn_eqx.evaluate.calibrate import Calibration
    from tirgn_eqx.evaluate.ranks import Temperature
    from tirgn_eqx.evaluate.results import CalibrationFigures, Evaluation, EvaluationReport
    from tirgn_eqx.evaluate.tgb import TGBReport

MODELS = ("tirgn", "regcn", "evidence", "tirgn-evidence", "regcn-evidence")
PROTOCOLS = ("own", "tgb")


@dataclass(frozen=True)
class CalibratedFigures:
    """Temperatures that were fitted on the valid split, and what they change on the split that is evaluated."""

    found: "Calibration"
    nll: float
    figures: "CalibrationFigures"

    def to_dict(self) -> dict[str, object]:
        """As `--json` prints it."""
        return self.found.to_dict() | {"nll": self.nll} | self.figures.to_dict()


@options.command()
def evaluate(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            metavar="CKPT",
            help="checkpoint, such as models/tkg/tirgn_best.npz, unless --scores is given",
            autocompletion=complete.checkpoints,
        ),
    ] = None,
    *,
    scores: Annotated[
        Path | None,
        options.option(
            metavar="FILE",
            help="in place of a checkpoint, the scores or ranks of another model: parquet or npz with the columns "
            "subject, relation, object (empty where it is predicted) and time, and with scores, or candidate and "
            "score, or answer and rank; needs --data-path (default: none)",
            panel=options.DATA,
        ),
    ] = None,
    data_path: Annotated[
        str | None,
        options.data_path("folder, event table or 'sim' to evaluate on (default: the data that it was trained on)"),
    ] = None,
    map_relations: options.MapRelations = None,
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
    filter: options.Filter = None,
    online: Annotated[
        bool,
        options.option(
            "--online",
            help="learn from every snapshot once it is over, those of valid included unless a refit has learnt them, "
            "before the next one is forecast; the checkpoint stays as it is (default: learn nothing)",
            panel=options.DATA,
        ),
    ] = False,
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
    events: Annotated[
        bool,
        options.option(
            "--events",
            help="judge how probable a checkpoint with an event model says that facts are, against simple rules "
            "(default: judge its ranks)",
            panel=options.DATA,
        ),
    ] = False,
    horizon: Annotated[
        str | None,
        options.option(
            metavar="H,...",
            help=f"with --events, steps within which facts come, at most {values.MAX_HORIZON} (default: 1,7,30)",
            panel=options.DATA,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Evaluate a checkpoint, or the scores of another model: ranks of the true answers among all entities and, of a
    checkpoint, among all relations.

    Ranks are raw and filtered; tied candidates get their mean rank.

    Example: tirgn eval models/tkg/tirgn_best.npz --json

    Example: tirgn eval models/evidence/tirgn_best.npz --explain 3

    Example: tirgn eval models/tkg/tirgn_best.npz --calibrate

    Example: tirgn eval models/evidence/tirgn_best.npz --online

    Example: tirgn eval models/icews/tirgn_best.npz --protocol tgb --json

    Example: tirgn eval models/events/tirgn_best.npz --events --horizon 1,7

    Example: tirgn eval models/relations/tirgn_best.npz --data-path events.parquet --map-relations by-name

    Example: tirgn eval --scores theirs.parquet --data-path events.parquet --filter all
    """
    keep_freed_memory()
    held_out = values.check_split(split)
    values.check_choice("--model", model_type, MODELS)
    setting = values.evaluation_setting(multi_step, feed_back)
    values.check_choice("--protocol", protocol, PROTOCOLS)
    rank_filter = values.check_filter(filter)
    if scores is not None:
        of_models = {"CKPT": checkpoint, "--model": model_type, "--feed-back": feed_back, "--online": online}
        of_models |= {"--protocol tgb": protocol == "tgb", "--explain": explain, "--calibrate": calibrate}
        of_models |= {"--map-relations": map_relations, "--horizon": horizon}
        for option, given in (of_models | {"--events": events}).items():
            if given:
                raise ConfigError(f"{option}: not with --scores, which a model of its own gave; leave one out")
        return evaluate_score_file(
            scores, data_path, reading, split=held_out, setting=setting, filter=rank_filter, as_json=as_json
        )
    if checkpoint is None:
        raise ConfigError("nothing to evaluate; give a checkpoint, or --scores FILE with --data-path")
    for option, given in (("--events", events), ("--protocol tgb", protocol == "tgb"), ("--online", online)):
        if given and rank_filter is not None:
            raise ConfigError(f"--filter: not with {option}, which has a protocol of its own")
    mapping = values.check_mapping(map_relations, data_path)
    if calibrate and mapping is not None:
        raise ConfigError("--calibrate: not with --map-relations; a checkpoint keeps the temperature of its own data")
    if events:
        others = {"--multi-step": multi_step, "--online": online, "--protocol tgb": protocol == "tgb"}
        others |= {"--explain": explain > 0, "--calibrate": calibrate, "--map-relations": mapping is not None}
        for option, given in others.items():
            if given:
                raise ConfigError(f"{option}: not with --events, which judges probabilities of facts and not ranks")
        if model_type is not None:
            raise ConfigError("--model: names a model that ranks; not with --events, which takes any event model")
        horizons = values.parse_horizons(horizon or "1,7,30")
        return _evaluate_events(checkpoint, data_path, reading, held_out, horizons, as_json)
    if horizon is not None:
        raise ConfigError("--horizon: of forecasts of events; only with --events, add it or leave --horizon out")
    for option, given in (("--multi-step", multi_step), ("--explain", explain), ("--calibrate", calibrate)):
        if given and protocol == "tgb":
            raise ConfigError(f"{option}: not with --protocol tgb, which gives TGB's single-step figures alone")
    for option, given in (
        ("--multi-step", multi_step),
        ("--protocol tgb", protocol == "tgb"),
        ("--explain", explain),
        ("--calibrate", calibrate),
    ):
        if given and online:
            raise ConfigError(f"{option}: not with --online, which forecasts with a model that changes every snapshot")

    with output.stdout_to_stderr():
        loaded = LoadedCheckpoint.load(checkpoint, model_type)
        model, config = loaded.model, loaded.config
        # Before the data are read, which may take long.
        if explain:
            check_explains(loaded, "--explain")
        refit = loaded.metadata.is_refit
        for option, given in (("--split valid", held_out == "valid"), ("--calibrate", calibrate)):
            if given:
                loaded.check_valid_unseen(option)
        if mapping is None:
            renamed = None
            graph, data, difference = load_matched_graph(loaded, data_path, reading)
        else:
            loaded, (graph, data, difference), renamed = load_mapped_graph(loaded, data_path, reading, mapping)
            model = loaded.model
        if difference is not None:
            output.print_warning(difference)

        window = config.window()
        calibrated, explanations = None, None
        if protocol == "tgb":
            from tirgn_eqx.evaluate.tgb import check_tgb, evaluate_tgb

            check_tgb(graph, data)
            with output.working(f"evaluating {graph.name}"):
                report = evaluate_tgb(model, graph, split=held_out, **window)
        elif online:
            from tirgn_eqx.train.online import HELD_OUT, evaluate_online

            splits = ("test",) if refit else HELD_OUT
            with output.working(f"evaluating {graph.name}"):
                report = evaluate_online(model, graph, config, split=held_out, splits=splits).report()
        else:
            from tirgn_eqx.evaluate.protocol import make_evaluator

            with output.working(f"evaluating {graph.name}"):
                evaluator = make_evaluator(
                    model, graph, split=held_out, setting=setting, filter=rank_filter or "time", **window
                )
                evaluation = evaluator(model)
            report = evaluation.report()
            if calibrate:
                with output.working(f"calibrating on the valid split of {graph.name}"):
                    on_valid = evaluator
                    # The time-unaware filter leaves relations out, which are calibrated, too.
                    if held_out != "valid" or rank_filter == "all":
                        on_valid = make_evaluator(model, graph, split="valid", setting=setting, **window)
                    calibrated = _calibrate(
                        checkpoint,
                        lambda temperature: evaluator(model, temperature),
                        lambda temperature: on_valid(model, temperature),
                    )
            if explain:
                explanations = explain_queries(loaded, graph, held_out, explain, setting)
    if not as_json:
        output.print_result(tables.format_dataset(graph.describe()))
        title = f"{held_out} figures of {checkpoint}" + (", trained on train and valid" if refit else "")
        _show(title, report, calibrated, explanations or [])
        return
    document: dict[str, object] = report.to_dict()
    if calibrated is not None:
        document["calibrated"] = calibrated.to_dict()
    if explanations is not None:
        document["explanations"] = [one.to_dict() for one in explanations]
    if renamed is not None:
        document["relation_mapping"] = {"how": mapping, "known": graph.num_relations, "renamed": renamed}
    document |= {
        "checkpoint": str(checkpoint),
        "checksum_matches": difference is None,
        "model_type": config.model_type,
        "refit": refit,
        "seed": config.seed,
        "versions": loaded.metadata.versions,
    }
    output.print_json(document)


def _evaluate_events(
    checkpoint: Path,
    data_path: str | None,
    reading: options.ReadingFlags,
    split: values.HeldOutSplit,
    horizons: tuple[int, ...],
    as_json: bool,
) -> None:
    with output.stdout_to_stderr():
        from tirgn_eqx.checkpoint.models import load_event_model
        from tirgn_eqx.data.vocabulary import match_checkpoint
        from tirgn_eqx.evaluate.event_scores import evaluate_events

        model, config, metadata = load_event_model(checkpoint)
        data = load_evaluation_graph(checkpoint, data_path, metadata.provenance, reading)
        graph = match_checkpoint(data, metadata, checkpoint)
        difference = describe_difference(graph, data, metadata)
        if difference is not None:
            output.print_warning(difference)
            _warn_if_learnt(graph, split, metadata)
        with output.working(f"judging forecasts of events on {graph.name}"):
            report = evaluate_events(model.rates, graph, split=split, horizons=horizons)
    document = report.to_dict()
    if as_json:
        document |= {"checkpoint": str(checkpoint), "checksum_matches": difference is None}
        document |= {"model_type": config.model_type, "seed": config.seed, "versions": metadata.versions}
        output.print_json(document)
        return
    output.print_result(tables.format_dataset(graph.describe()))
    title = f"events of {split}, forecast by {checkpoint}"
    tables.print_table(tables.make_event_table(title, document["horizons"]))
    for found in document["horizons"]:
        output.print_result(tables.describe_events(found))


def _warn_if_learnt(graph: "TemporalGraph", split: str, metadata: "CheckpointMetadata") -> None:
    """Tell of a split of other data that begins before the last time that a checkpoint learnt from."""
    from tirgn_eqx.data.times import format_snapshot_time, to_text

    first = int(graph.split_snapshots(split)[0]) if len(graph.split_snapshots(split)) else None
    if first is not None and metadata.data is not None and graph.times[first] <= metadata.data.learnt_until:
        output.print_warning(
            f"{split} begins at {format_snapshot_time(graph, first)}, and the checkpoint learnt until "
            f"{to_text(metadata.data.learnt_until, graph.time_unit)}; what it learnt from proves nothing"
        )


def _calibrate(
    checkpoint: Path,
    evaluate_split: "Callable[[Temperature], Evaluation]",
    evaluate_valid: "Callable[[Temperature], Evaluation]",
) -> CalibratedFigures:
    """Fit temperatures on the valid split, save them in the checkpoint, and evaluate the split with them."""
    from tirgn_eqx.checkpoint.models import save_calibration
    from tirgn_eqx.evaluate.calibrate import fit_temperature

    found = fit_temperature(evaluate_valid)
    save_calibration(checkpoint, found.to_dict())
    after = evaluate_split(found.pair)
    assert after.calibration is not None  # as for every model that has a temperature
    return CalibratedFigures(found, after.entity["nll"], after.calibration)


def _show(
    title: str,
    report: "EvaluationReport | TGBReport",
    calibrated: CalibratedFigures | None,
    explanations: list[ExplainedForecast],
) -> None:
    from tirgn_eqx.evaluate.results import EvaluationReport

    tables.print_table(tables.make_metrics_table(title, report))
    if isinstance(report, EvaluationReport) and report.calibration is not None:
        output.print_result(f"calibration: {_describe_calibration(report.calibration)}")
    if calibrated is not None:
        temperature = calibrated.found.temperature
        degrees = " and ".join(f"{value:.3f} for {kind} queries" for kind, value in temperature.items())
        output.print_result(f"calibrated: temperature {degrees}, fitted on valid and saved in the checkpoint")
        output.print_result(f"with it: {_describe_calibration(calibrated.figures)}, NLL {calibrated.nll:.4f}")
    for explained in explanations:
        show_explanation(explained)


def _describe_calibration(figures: "CalibrationFigures") -> str:
    return f"Brier score {figures.brier:.4f}, expected error {figures.ece:.4f}"
