"""`tirgn report`: a page about trainings."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tirgn_cli import complete, options, output, tables, values
from tirgn_cli.common import LoadedCheckpoint, check_outputs, load_matched_graph
from tirgn_eqx.errors import ConfigError, TirgnError
from tirgn_eqx.runtime.malloc import keep_freed_memory
from tirgn_eqx.storage.atomic_write import write_text

if TYPE_CHECKING:
    from tirgn_eqx.report import TrainingRun


@options.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            autocompletion=complete.runs,
            help="the --model-dir of a training, a checkpoint, or what eval, baseline or compare wrote with --json; up "
            "to six side by side (required)",
        ),
    ],
    out: Annotated[
        Path, options.option(metavar="FILE", help="the page (default: report.html)", panel=options.OUTPUT)
    ] = Path("report.html"),
    data_path: Annotated[
        str | None,
        options.option(
            metavar="PATH",
            autocompletion=complete.data,
            help="folder, event table or 'sim' to evaluate on (default: what each run was trained on)",
            panel=options.DATA,
        ),
    ] = None,
    split: options.Split = "test",
    evaluate: Annotated[
        bool,
        options.option(
            "--evaluate/--no-evaluate",
            help="evaluate the checkpoints: metrics by kind of query, relation and time, and sample "
            "forecasts (default: evaluate)",
            panel=options.OUTPUT,
        ),
    ] = True,
    samples: Annotated[
        int,
        options.option(
            min=0, max=200, metavar="N", help="sample forecasts of each run (default: 12)", panel=options.OUTPUT
        ),
    ] = 12,
    seed: Annotated[
        int,
        options.option(min=0, metavar="N", help="seed of the draw of the samples (default: 0)", panel=options.OUTPUT),
    ] = 0,
    title: Annotated[
        str | None,
        options.option(metavar="TEXT", help="title of the page (default: the runs' names)", panel=options.OUTPUT),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write a page about trainings: curves, metrics, reliability, settings, and forecasts beside what happened.

    The page is one HTML file that loads nothing from elsewhere: it can be mailed, and read on a phone or by a screen
    reader. A training that is still running, or was killed, is shown as far as it came.

    Example: tirgn report models/tkg --out report.html

    Example: tirgn report models/tkg models/evidence --samples 20

    Example: tirgn report models/tkg comparison_report.json
    """
    keep_freed_memory()
    held_out = values.check_split(split)
    check_outputs({"--out": out}, *runs, data_path)
    with output.stdout_to_stderr():
        from tirgn_eqx.report import read_documents, render
        from tirgn_eqx.report.page import MAX_RUNS

        found, comparisons = read_documents(runs)
        check_outputs(
            {"--out": out}, *(path for run in found for path in (run.checkpoint, run.data.provenance.get("path")))
        )
        if len(found) > MAX_RUNS:
            raise ConfigError(f"{len(found)} runs given; a page shows {MAX_RUNS} at most: make several pages")
        if evaluate:
            found = [_measured(run, data_path, held_out, samples, seed) for run in found]
        page = render(found, title, comparisons)
    write_text(out, page)
    size = len(page.encode())
    if as_json:
        output.print_json({"report": str(out), "bytes": size, "runs": [_record(run) for run in found]})
    else:
        output.print_result(f"{out}: {tables.format_size(size)}, {len(found)} run{'s' * (len(found) > 1)}")


def _measured(
    run: "TrainingRun", data_path: str | None, split: values.HeldOutSplit, samples: int, seed: int
) -> "TrainingRun":
    """`run` with its measurements, or with a line on why there are none."""
    from tirgn_eqx.report import measure

    if run.checkpoint is None:
        return run
    missing = list(run.missing)
    try:
        loaded = LoadedCheckpoint.load(run.checkpoint)
        graph, _, difference = load_matched_graph(loaded, data_path, options.ReadingFlags())
        if difference is not None:
            missing.append(difference)
            output.print_warning(f"{run.checkpoint}: {difference}")
        with output.working(f"evaluating {run.checkpoint}"):
            found = measure(
                loaded.model,
                loaded.config,
                graph,
                split=split,
                samples=samples,
                seed=seed,
                temperature=loaded.metadata.temperature,
                rules=not loaded.metadata.is_refit,
            )
    except TirgnError as error:
        # The files of the training are worth a page without the data, too.
        output.print_warning(f"{error}; the page has no metrics of this run (--no-evaluate leaves them out)")
        return dataclasses.replace(run, missing=(*missing, f"no metrics: {error}"))
    return dataclasses.replace(run, missing=tuple(missing), measurements=found)


def _record(run: "TrainingRun") -> dict[str, object]:
    """A run as `--json` prints it."""
    entity = run.measurements and run.measurements.metrics["entity"].model_dump(exclude_none=True)
    return {
        "name": run.name,
        "checkpoint": run.checkpoint and str(run.checkpoint),
        "epochs": run.epochs,
        "best_epoch": run.best_epoch,
        "entity": entity,
        "missing": list(run.missing),
    }
