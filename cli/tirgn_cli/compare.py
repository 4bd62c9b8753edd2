"""`tirgn compare`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tirgn_cli import complete, options, output, tables, values
from tirgn_cli.common import LoadedCheckpoint, check_outputs, describe_difference, load_evaluation_graph
from tirgn_cli.eval_scores import filter_of
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime.malloc import keep_freed_memory
from tirgn_eqx.storage.atomic_write import write_text

if TYPE_CHECKING:
    from tirgn_eqx.data import TemporalGraph
    from tirgn_eqx.data.index.recurrence import RecurrenceIndex
    from tirgn_eqx.evaluate.compare import Comparison, EvaluatedModel
    from tirgn_eqx.evaluate.results import Evaluation
    from tirgn_eqx.evaluate.score_files import ScoreFile
    from tirgn_eqx.models import Recurrency

BASELINE = "recurrency"


@options.command()
def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="A B ...",
            autocompletion=complete.models,
            help="checkpoints, files of scores as `tirgn eval --scores` reads them, or 'recurrency' for the baseline "
            "(also recurrency:strict, recurrency:relaxed); the first is compared with each of the others",
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
    filter: options.Filter = None,
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

    Differences are of the entity figures, filtered; intervals are 95 % of a paired bootstrap over queries.

    Example: tirgn compare models/tkg/tirgn_best.npz recurrency --out comparison_report.json

    Example: tirgn compare models/tkg/tirgn_best.npz theirs.parquet
    """
    keep_freed_memory()
    held_out = values.check_split(split)
    setting, rank_filter = values.evaluation_setting(multi_step), values.check_filter(filter)
    if len(models) < 2:
        raise ConfigError(f"{len(models)} model given; compare needs two, such as a checkpoint and {BASELINE}")
    if not -100 <= threshold <= 100:
        raise ConfigError(f"--threshold {threshold:g}: must be between -100 and 100, such as -5 for 5 % worse")
    check_outputs({"--out": out}, *models, data_path)

    with output.stdout_to_stderr():
        from tirgn_eqx.evaluate.score_files import ScoreFile

        # A model that is named twice is evaluated once.
        loaded = {name: _load(name) for name in dict.fromkeys(models)}
        for name, found in loaded.items():
            if isinstance(found, LoadedCheckpoint) and found.metadata.is_refit:
                if held_out == "valid":
                    found.check_valid_unseen("--split valid")
                output.print_warning(f"{name}: was trained on valid, too")
            elif isinstance(found, ScoreFile):
                filter_of(found, rank_filter)
        graphs = _load_graphs(loaded, data_path, reading)
        check_outputs({"--out": out}, *(graph.provenance.get("path") for graph in graphs.values()))
        evaluate = _ModelEvaluator(held_out, setting, rank_filter or "time")
        entrants = {name: evaluate(name, found, graphs[name]) for name, found in loaded.items()}

        from tirgn_eqx.evaluate.compare import compare as compare_entrants

        comparisons = [
            compare_entrants(entrants[models[0]], entrants[name], threshold=threshold / 100, resamples=resamples)
            for name in models[1:]
        ]
    # One comparison is a document of its own, several are a list in one.
    documents = [one.to_dict() for one in comparisons]
    report = {"passed": all(one.passed for one in comparisons), "comparisons": documents}
    if len(documents) == 1:
        report = documents[0]
    if out is not None:
        write_text(out, output.to_json(report))
    if as_json:
        output.print_json(report)
    else:
        for one in comparisons:
            output.print_result(tables.format_dataset(graphs[models[0]].describe()))
            _show(one)
        if out is not None:
            output.print_note(f"the whole report is in {out}")


def _load(name: str) -> "LoadedCheckpoint | ScoreFile | str":
    """A checkpoint, a file of scores, or the variant of the baseline."""
    from tirgn_eqx.evaluate.score_files import is_score_file, open_scores

    kind, _, variant = name.partition(":")
    # An existing file of this name is taken for a checkpoint.
    if kind == BASELINE and not Path(name).exists():
        if variant not in ("", *values.VARIANTS):
            raise ConfigError(f"{name!r}: the variants of {BASELINE} are {', '.join(values.VARIANTS)}")
        return variant or values.VARIANTS[0]
    return open_scores(name) if is_score_file(Path(name)) else LoadedCheckpoint.load(Path(name))


def _load_graphs(
    loaded: "Mapping[str, LoadedCheckpoint | ScoreFile | str]", data_path: str | None, reading: options.ReadingFlags
) -> "dict[str, TemporalGraph]":
    """The facts that all models can forecast, by name of the model: with the ids of each checkpoint and file of scores,
    and for the baseline with those of the first of these, so that both rank the same candidates."""
    from tirgn_eqx.data import load_graph
    from tirgn_eqx.data.vocabulary import match_checkpoints

    checkpoints = {name: found for name, found in loaded.items() if isinstance(found, LoadedCheckpoint)}
    if checkpoints:
        found = next(iter(checkpoints.values()))
        data = load_evaluation_graph(found.path, data_path, found.metadata.provenance, reading)
    elif data_path is None:
        raise ConfigError("no checkpoint says which data to use; give --data-path")
    else:
        data = load_graph(data_path, **reading.given())
    with_ids = {name: found for name, found in loaded.items() if not isinstance(found, str)}
    if not with_ids:
        return dict.fromkeys(loaded, data)
    metadata = {
        name: found.metadata if isinstance(found, LoadedCheckpoint) else found.metadata(data)
        for name, found in with_ids.items()
    }
    graphs = dict(zip(with_ids, match_checkpoints(data, metadata)))
    for name, checkpoint in checkpoints.items():
        # Each checkpoint has its own: one may have been trained on these facts and another not.
        difference = describe_difference(graphs[name], data, checkpoint.metadata)
        if difference is not None:
            output.print_warning(f"{name}: {difference}")
    return dict.fromkeys(loaded, next(iter(graphs.values()))) | graphs


class _ModelEvaluator:
    """Evaluates one model after another on a split. The index and the parameters of the baseline are found once and
    kept for its other variants."""

    def __init__(self, split: values.HeldOutSplit, setting: values.EvaluationSetting, filter: values.RankFilter):
        self.split: values.HeldOutSplit = split
        self.setting: values.EvaluationSetting = setting
        self.filter: values.RankFilter = filter
        self._baseline: tuple[RecurrenceIndex, Recurrency] | None = None

    def __call__(
        self, name: str, loaded: "LoadedCheckpoint | ScoreFile | str", graph: "TemporalGraph"
    ) -> "EvaluatedModel":
        """The evaluation of a checkpoint, of a file of scores, or of a variant of the baseline."""
        from tirgn_eqx.evaluate.compare import EvaluatedModel

        with output.working(f"evaluating {name} on {graph.name}"):
            if isinstance(loaded, str):
                return EvaluatedModel(name, BASELINE, self._evaluate_baseline(loaded, graph))
            if not isinstance(loaded, LoadedCheckpoint):
                from tirgn_eqx.evaluate.scores import evaluate_scores

                evaluation = evaluate_scores(loaded, graph, split=self.split, setting=self.setting, filter=self.filter)
                return EvaluatedModel(name, "scores", evaluation)

            from tirgn_eqx.evaluate.protocol import evaluate_model

            config = loaded.config
            evaluation = evaluate_model(
                loaded.model, graph, split=self.split, setting=self.setting, filter=self.filter, **config.window()
            )
            return EvaluatedModel(name, config.model_type, evaluation, loaded.metadata.checksum == graph.checksum)

    def _evaluate_baseline(self, variant: str, graph: "TemporalGraph") -> "Evaluation":
        from tirgn_eqx.data.index.recurrence import build_recurrence_index
        from tirgn_eqx.evaluate.recurrency import RecurrencyEvaluator, search_recurrency

        if self._baseline is None:
            index = build_recurrence_index(graph)
            self._baseline = index, search_recurrency(graph, setting=self.setting, index=index)
        index, model = self._baseline
        return RecurrencyEvaluator(graph, self.split, self.setting, index, self.filter)(model.variant(variant))


def _show(comparison: "Comparison") -> None:
    from tirgn_eqx.evaluate.filters import FILTER_NAMES

    one, two = comparison.models
    output.print_result(f"A: {one.name} ({one.model_type})")
    output.print_result(f"B: {two.name} ({two.model_type})")
    rows: list[list[object]] = []
    for key, difference in comparison.difference.items():
        low, high = difference.interval_points
        numbers = [f"{difference.points:+.2f}", f"{low:+.2f} .. {high:+.2f}"]
        rows.append([tables.METRICS[key], one.entity[key], two.entity[key], *numbers])
    caption = (
        f"entity, both directions, {comparison.split}, {one.setting}, {FILTER_NAMES[comparison.filter]}; A - B in "
        "points, 95 % interval of a paired bootstrap over queries"
    )
    tables.print_table(tables.make_table("Comparison", ["", "A", "B", "A - B", "interval"], rows, caption))
    rows = []
    for part in (part for kind in ("recurrence", "direction", "relation") for part in comparison.strata[kind]):
        # A stratum without queries has no figures.
        if part.mrr is not None and part.difference is not None and part.interval is not None:
            low, high = part.interval
            numbers = [f"{100 * part.difference:+.2f}", f"{100 * low:+.2f} .. {100 * high:+.2f}"]
            rows.append([part.name, part.queries, *part.mrr, *numbers])
    columns = ["MRR by kind of query", "queries", "A", "B", "A - B", "interval"]
    tables.print_table(tables.make_table("", columns, rows))
    percent, limit = comparison.difference["mrr"].percent, 100 * comparison.threshold
    assert percent is not None  # an MRR is above 0
    verdict = "passed" if comparison.passed else "NOT passed"
    side = "above" if percent >= 0 else "below"
    output.print_result(f"{verdict}: A's MRR is {abs(percent):.2f} % {side} B's (threshold {limit:+g} %)")
