"""`tirgn compare`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tirgn_cli import complete, options
from tirgn_cli.files import check_writable
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime.malloc import keep_freed_memory
from tirgn_eqx.storage.atomic_write import write_text

BASELINE = "recurrency"


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
    data_path: Annotated[
        str | None,
        options.option(
            metavar="PATH",
            autocompletion=complete.data,
            help="folder, event table or 'sim' to evaluate on (default: what the first checkpoint was trained on)",
            panel=options.DATA,
        ),
    ] = None,
    num_days: options.NumDays = None,
    max_events: options.MaxEvents = None,
    granularity: options.Granularity = None,
    time_format: options.TimeFormat = None,
    columns: options.Columns = None,
    skip_bad_rows: options.SkipBadRows = None,
    split: options.Split = "test",
    multi_step: options.MultiStep = False,
    threshold: Annotated[
        float,
        options.option(
            metavar="PERCENT",
            help="passed when the first model's MRR is not further below the other's than this (default: -5)",
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
            metavar="FILE", help="write the whole report there, as JSON (default: none)", panel=options.OUTPUT
        ),
    ] = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Compare models on the same held-out facts, with intervals and by kind of question.

    Differences are of the entity figures, time-aware filter; intervals are 95 % of a paired bootstrap over questions.

    Example: tirgn compare models/tkg/tirgn_best.npz recurrency --out comparison_report.json
    """
    keep_freed_memory()
    options.check_split(split)
    if len(models) < 2:
        raise ConfigError(f"{len(models)} model given; compare needs two, such as a checkpoint and {BASELINE}")

    if not -100 <= threshold <= 100:
        raise ConfigError(f"--threshold {threshold:g}: must be between -100 and 100, such as -5 for 5 % worse")
    if out is not None:
        check_writable(out)

    from tirgn_cli import show

    with show.clean_stdout():
        loaded = {name: _load_model(name) for name in dict.fromkeys(models)}
        load = options.given(
            num_days=num_days,
            max_events=max_events,
            granularity=granularity,
            time_format=time_format,
            columns=columns,
            skip_bad_rows=skip_bad_rows,
        )
        graphs = _load_graphs(models, loaded, data_path, load)
        setting = "multi-step" if multi_step else "single-step"
        searched: dict[str, Any] = {}
        entrants = {
            name: _evaluated(name, found, graphs[name], split, setting, searched) for name, found in loaded.items()
        }

        from tirgn_eqx.evaluate.compare import compare as run

        first = entrants[models[0]]
        options_ = {"threshold": threshold / 100, "resamples": resamples}
        comparisons = [run(first, entrants[name], **options_).to_dict() for name in models[1:]]
    report = {"passed": all(found["passed"] for found in comparisons), "comparisons": comparisons}
    if len(comparisons) == 1:
        report = comparisons[0]
    if out is not None:
        write_text(out, show.document_text(report))
    if as_json:
        show.document(report)
    else:
        for found in comparisons:
            _show(found)
        if out is not None:
            show.note(f"the whole report is in {out}")


def _load_model(name: str) -> Any:
    """(model, config, metadata) of a checkpoint; the variant of a baseline."""
    kind, _, variant = name.partition(":")
    if kind == BASELINE and not Path(name).exists():
        if variant not in ("", *options.VARIANTS):
            raise ConfigError(f"{name!r}: the variants of {BASELINE} are {', '.join(options.VARIANTS)}")
        return variant or options.VARIANTS[0]

    from tirgn_eqx.checkpoint.models import load_model

    return load_model(name)


def _load_graphs(models: list[str], loaded: dict[str, Any], data_path: str | None, load: dict[str, Any]) -> Any:
    """The facts that all models can be asked about, by model: with the ids of each checkpoint, and for the baseline
    with those of the first one, whose candidates it then has."""
    from tirgn_cli import show
    from tirgn_cli.eval import checksum_message, load_data
    from tirgn_eqx.data import load_graph
    from tirgn_eqx.data.vocabulary import match_checkpoints

    metadata = {name: found[2] for name, found in loaded.items() if not isinstance(found, str)}
    if not metadata:
        if data_path is None:
            raise ConfigError("no checkpoint says which data to use; give --data-path")
        return dict.fromkeys(loaded, load_graph(data_path, **load))
    first = next(name for name in models if name in metadata)
    data = load_data(Path(first), data_path, (metadata[first].get("data") or {}).get("provenance") or {}, load)
    graphs = dict(zip(metadata, match_checkpoints(data, metadata)))
    for name, graph in graphs.items():
        difference = checksum_message(graph, data, metadata[name])
        if difference is not None:
            show.warning(f"{name}: {difference}")
    return dict.fromkeys(loaded, graphs[first]) | graphs


def _evaluated(name: str, found: Any, graph: Any, split: Any, setting: Any, searched: dict[str, Any]) -> Any:
    """The entrant `name`; `searched` keeps the baseline's index and parameters for its other variants."""
    from tirgn_cli import show
    from tirgn_eqx.evaluate.compare import EvaluatedModel

    with show.working(f"evaluating {name} on {graph.name}"):
        if isinstance(found, str):
            from tirgn_eqx.data.index.recurrence import build_recurrence_index
            from tirgn_eqx.evaluate.recurrency import RecurrencyEvaluator, search_recurrency

            if not searched:
                index = build_recurrence_index(graph)
                searched |= {"index": index, "model": search_recurrency(graph, setting=setting, index=index)}
            evaluator = RecurrencyEvaluator(graph, split, setting, searched["index"])
            return EvaluatedModel(name, BASELINE, evaluator(searched["model"].variant(found)))

        from tirgn_eqx.evaluate.protocol import evaluate_model

        model, config, metadata = found
        window = config.window()
        evaluation = evaluate_model(model, graph, split=split, setting=setting, **window)
        matches = (metadata.get("data") or {}).get("sha256") == graph.checksum
        return EvaluatedModel(name, metadata["model_type"], evaluation, matches)


def _show(report: dict[str, Any]) -> None:
    from tirgn_cli import show

    one, two = report["models"]
    show.line(show.stdout(), show.dataset(report["dataset"]))
    show.line(show.stdout(), f"A: {one['name']} ({one['model_type']})")
    show.line(show.stdout(), f"B: {two['name']} ({two['model_type']})")
    names = {key: show.METRICS[key] for key in report["difference"]}
    rows = [
        [heading, one["entity"][key], two["entity"][key], *_points(report["difference"][key])]
        for key, heading in names.items()
    ]
    caption = (
        f"entity, both directions, {report['split']}, {one['setting']}, time-aware filter; A - B in points, "
        f"95 % interval of a paired bootstrap over questions"
    )
    show.result(show.table("Comparison", ["", "A", "B", "A - B", "interval"], rows, caption))
    strata = [
        [part["name"], part["queries"], *part["mrr"], 100 * part["difference"], _interval(part)]
        for kind in ("recurrence", "direction", "relation")
        for part in report["strata"][kind]
        if "mrr" in part
    ]
    heading = ["MRR by kind of question", "questions", "A", "B", "A - B", "interval"]
    show.result(show.table("", heading, [[*row[:4], f"{row[4]:+.2f}", row[5]] for row in strata]))
    percent, limit = report["difference"]["mrr"]["percent"], 100 * report["threshold"]
    word = "passed" if report["passed"] else "NOT passed"
    side = "above" if percent >= 0 else "below"
    show.line(show.stdout(), f"{word}: A's MRR is {abs(percent):.2f} % {side} B's (threshold {limit:+g} %)")


def _points(difference: dict[str, Any]) -> list[str]:
    low, high = difference["interval_points"]
    return [f"{difference['points']:+.2f}", f"{low:+.2f} .. {high:+.2f}"]


def _interval(part: dict[str, Any]) -> str:
    low, high = part["interval"]
    return f"{100 * low:+.2f} .. {100 * high:+.2f}"
