"""`tirgn eval --scores`: the scores or ranks of another model, ranked by the protocol of this package."""

from pathlib import Path
from typing import TYPE_CHECKING

from tirgn_cli import options, output, tables, values
from tirgn_eqx.errors import ConfigError

if TYPE_CHECKING:
    from tirgn_eqx.evaluate.filters import Filter
    from tirgn_eqx.evaluate.score_files import ScoreFile


def evaluate_score_file(
    path: Path,
    data_path: str | None,
    reading: options.ReadingFlags,
    *,
    split: values.HeldOutSplit,
    setting: values.EvaluationSetting,
    filter: "Filter | None",
    as_json: bool,
) -> None:
    """Evaluate a file of scores on a split of the data at `data_path`."""
    if data_path is None:
        raise ConfigError("--scores: says nothing of the facts that it is about; give --data-path")
    with output.stdout_to_stderr():
        from tirgn_eqx.data import load_graph
        from tirgn_eqx.data.vocabulary import match_checkpoint
        from tirgn_eqx.evaluate.score_files import open_scores
        from tirgn_eqx.evaluate.scores import evaluate_scores

        file = open_scores(path)
        chosen = filter_of(file, filter)
        data = load_graph(data_path, **reading.given())
        graph = match_checkpoint(data, file.metadata(data), path)
        with output.working(f"ranking the scores of {path} on {graph.name}"):
            report = evaluate_scores(file, graph, split=split, setting=setting, filter=chosen).report()
    if as_json:
        output.print_json(report.to_dict() | {"scores": str(path), "form": file.form, "model_type": "scores"})
        return
    output.print_result(tables.format_dataset(graph.describe()))
    tables.print_table(tables.make_metrics_table(f"{split} figures of {path}", report))


def filter_of(file: "ScoreFile", filter: "Filter | None") -> "Filter":
    """The filter that was asked for, by default the time-aware one.

    **Raises:** ConfigError for a file of ranks unless it was given: only their maker knows under which they were found.
    """
    if file.form == "ranks" and filter is None:
        raise ConfigError(
            f"{file.path}: holds ranks, which cannot be filtered any more; say with --filter time, all or none under "
            "which filter they were found"
        )
    return filter or "time"
