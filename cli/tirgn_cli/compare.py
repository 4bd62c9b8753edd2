"""`tirgn compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tirgn_cli import complete, options
from tirgn_cli.common import check_writable, describe_difference, load_evaluation_graph
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime.malloc import keep_freed_memory
from tirgn_eqx.storage.atomic_write import write_text

if TYPE_CHECKING:
    from tirgn_eqx.data import TemporalGraph
    from tirgn_eqx.evaluate.compare import EvaluatedModel

BASELINE = "recurrency"


@options.command()
def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="A B ...",
            autocompletion=complete.models,
            help="checkpoints, or 'recurrency' for the baseline (also recurrency:strict, recurrency:relaxed); the "
            "first is compared with each of the others",
        ),
    ],
    *,
    data_path: Annotated[
        str | None,
        options.data_path(
            "folder, event table or 'sim' to evaluate on (default: the data that the first checkpoint was trained on)"
        ),
    ] = None,
    reading: options.ReadingFlags,
    split: options.Split = "test",
    multi_step: options.MultiStep = False,
    threshold: Annotated[
        float,
        options.option(
            metavar="PERCENT",
            help="the test passes if the first model's MRR differs from the other's by at least this (default: -5)",
            panel=options.OUTPUT,
        ),
    ] = -5.0,
    resamples: Annotated[
        int,
        options.option(
            min=100, metavar="N", help="resamples of the paired bootstrap (default: 1000)", panel=options.OUTPUT
        ),
    ] = 1000,
    out: Annotated[
        Path | None,
        options.option(
            metavar="FILE", help="file to write the whole report to, as JSON (default: none)", panel=options.OUTPUT
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Compare models on the same held-out facts, with intervals and by kind of query.

    Differences are of the entity figures, time-aware filter; intervals are 95 % of a paired bootstrap over queries.

    Example: tirgn compare models/tkg/tirgn_best.npz recurrency --out comparison_report.json
    """
    keep_freed_memory()
    held_out = options.check_split(split)
    setting = options.evaluation_setting(multi_step)
    if len(models) < 2:
        raise ConfigError(f"{len(models)} model given; compare needs two, such as a checkpoint and {BASELINE}")
    if not -100 <= threshold <= 100:
        raise ConfigError(f"--threshold {threshold:g}: must be between -100 and 100, such as -5 for 5 % worse")
    if out is not None:
        check_writable(out)

    from tirgn_cli import output

    with output.stdout_to_stderr():
        # A model that is named twice is evaluated once.
        loaded = {name: _load(name) for name in dict.fromkeys(models)}
        graphs = _load_graphs(loaded, data_path, reading.given())
        baseline: dict[str, Any] = {}
        entrants = {
            name: _evaluate(name, found, graphs[name], held_out, setting, baseline) for name, found in loaded.items()
        }

        from tirgn_eqx.evaluate.compare import compare as compare_entrants

        comparisons = [
            compare_entrants(
                entrants[models[0]], entrants[name], threshold=threshold / 100, resamples=resamples
            ).to_dict()
            for name in models[1:]
        ]
    report = {"passed": all(found["passed"] for found in comparisons), "comparisons": comparisons}
    if len(comparisons) == 1:
        report = comparisons[0]
    if out is not None:
        write_text(out, output.to_json(report))
    if as_json:
        output.print_json(report)
    else:
        for found in comparisons:
            _show(found)
        if out is not None:
            output.print_note(f"the whole report is in {out}")


def _load(name: str) -> Any:
    """(model, config, metadata) of a checkpoint, or the variant of the baseline as a string."""
    kind, _, variant = name.partition(":")
    # An existing file of this name is taken for a checkpoint.
    if kind == BASELINE and not Path(name).exists():
        if variant not in ("", *options.VARIANTS):
            raise ConfigError(f"{name!r}: the variants of {BASELINE} are {', '.join(options.VARIANTS)}")
        return variant or options.VARIANTS[0]

    from tirgn_eqx.checkpoint.models import load_model

    return load_model(name)


def _load_graphs(loaded: dict[str, Any], data_path: str | None, reading: dict[str, Any]) -> "dict[str, TemporalGraph]":
    """The facts that all models can forecast, by name of the model: with the ids of each checkpoint, and for the
    baseline with those of the first checkpoint, so that both rank the same candidates."""
    from tirgn_cli import output
    from tirgn_eqx.data import load_graph
    from tirgn_eqx.data.vocabulary import match_checkpoints

    metadata = {name: found[2] for name, found in loaded.items() if not isinstance(found, str)}
    if not metadata:
        if data_path is None:
            raise ConfigError("no checkpoint says which data to use; give --data-path")
        return dict.fromkeys(loaded, load_graph(data_path, **reading))
    first = next(iter(metadata))
    provenance = metadata[first].provenance
    data = load_evaluation_graph(Path(first), data_path, provenance, reading)
    graphs = dict(zip(metadata, match_checkpoints(data, metadata)))
    for name, graph in graphs.items():
        difference = describe_difference(graph, data, metadata[name])
        if difference is not None:
            output.print_warning(f"{name}: {difference}")
    return dict.fromkeys(loaded, graphs[first]) | graphs


def _evaluate(
    name: str, loaded: Any, graph: "TemporalGraph", split: Any, setting: Any, baseline: dict[str, Any]
) -> "EvaluatedModel":
    """Evaluate one model. `baseline` keeps the index and parameters of the baseline for its other variants."""
    from tirgn_cli import output
    from tirgn_eqx.evaluate.compare import EvaluatedModel

    with output.working(f"evaluating {name} on {graph.name}"):
        if isinstance(loaded, str):
            from tirgn_eqx.data.index.recurrence import build_recurrence_index
            from tirgn_eqx.evaluate.recurrency import RecurrencyEvaluator, search_recurrency

            if not baseline:
                index = build_recurrence_index(graph)
                baseline |= {"index": index, "model": search_recurrency(graph, setting=setting, index=index)}
            evaluator = RecurrencyEvaluator(graph, split, setting, baseline["index"])
            return EvaluatedModel(name, BASELINE, evaluator(baseline["model"].variant(loaded)))

        from tirgn_eqx.evaluate.protocol import evaluate_model

        model, config, metadata = loaded
        window = config.window()
        evaluation = evaluate_model(model, graph, split=split, setting=setting, **window)
        matches = metadata.checksum == graph.checksum
        return EvaluatedModel(name, metadata.model_type, evaluation, matches)


def _show(report: dict[str, Any]) -> None:
    from tirgn_cli import output, tables

    one, two = report["models"]
    output.print_result(tables.format_dataset(report["dataset"]))
    output.print_result(f"A: {one['name']} ({one['model_type']})")
    output.print_result(f"B: {two['name']} ({two['model_type']})")
    rows = []
    for key, difference in report["difference"].items():
        low, high = difference["interval_points"]
        numbers = [f"{difference['points']:+.2f}", f"{low:+.2f} .. {high:+.2f}"]
        rows.append([tables.METRICS[key], one["entity"][key], two["entity"][key], *numbers])
    caption = (
        f"entity, both directions, {report['split']}, {one['setting']}, time-aware filter; A - B in points, "
        "95 % interval of a paired bootstrap over queries"
    )
    tables.print_table(tables.make_table("Comparison", ["", "A", "B", "A - B", "interval"], rows, caption))
    rows = []
    for part in (part for kind in ("recurrence", "direction", "relation") for part in report["strata"][kind]):
        if "mrr" in part:
            low, high = part["interval"]
            numbers = [f"{100 * part['difference']:+.2f}", f"{100 * low:+.2f} .. {100 * high:+.2f}"]
            rows.append([part["name"], part["queries"], *part["mrr"], *numbers])
    columns = ["MRR by kind of query", "queries", "A", "B", "A - B", "interval"]
    tables.print_table(tables.make_table("", columns, rows))
    percent, limit = report["difference"]["mrr"]["percent"], 100 * report["threshold"]
    verdict = "passed" if report["passed"] else "NOT passed"
    side = "above" if percent >= 0 else "below"
    output.print_result(f"{verdict}: A's MRR is {abs(percent):.2f} % {side} B's (threshold {limit:+g} %)")
