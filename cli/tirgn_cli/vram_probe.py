"""`tirgn vram-probe`."""

import dataclasses
from typing import Annotated, Any

from tirgn_cli import options
from tirgn_eqx.config import GivenSettings
from tirgn_eqx.errors import ConfigError


def vram_probe(
    data_path: options.DataPath = None,
    shape: Annotated[
        str | None,
        options.option(
            metavar="NAME=N,...",
            help="sizes in place of data: entities, relations, edges (facts in the largest snapshot of the "
            "window), queries (facts of the largest target snapshot), and optionally static_edges, words and "
            "history (known candidates per question) (default: taken from the data)",
            panel=options.DATA,
        ),
    ] = None,
    num_days: options.NumDays = None,
    max_events: options.MaxEvents = None,
    granularity: options.Granularity = None,
    time_format: options.TimeFormat = None,
    columns: options.Columns = None,
    skip_bad_rows: options.SkipBadRows = None,
    budget: Annotated[
        str | None,
        options.option(
            metavar="SIZE",
            help="device memory to stay within, such as 12GiB, 8G (powers of 1024) or 500MB (of 1000): also "
            "finds the largest batch (default: none)",
            panel=options.TRAINING,
        ),
    ] = None,
    embedding_dim: options.EmbeddingDim = None,
    num_layers: options.NumLayers = None,
    history_len: options.HistoryLen = None,
    preset: options.Preset = None,
    config_file: options.ConfigFile = None,
    assignments: options.Assignments = None,
    batch_size: options.BatchSize = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Predict the device memory of a training step for a table of settings, without training.

    The step is compiled from shapes alone. On a GPU the measured peak stands beside the prediction.

    Example: tirgn vram-probe --shape entities=7128,relations=230,edges=400,queries=800 --budget 12GiB
    """
    if data_path is not None and shape is not None:
        raise ConfigError("--data-path and --shape both say how large the problem is; give one of them")
    flags = options.given(
        embedding_dim=embedding_dim, num_layers=num_layers, history_len=history_len, batch_size=batch_size
    )
    config = GivenSettings(preset, file=config_file, assignments=assignments or (), options=flags).config()
    limit = None if budget is None else options.parse_bytes(budget)
    sizes = None if shape is None else options.parse_shape(shape)

    from tirgn_cli import show

    with show.clean_stdout():
        from tirgn_eqx.train.memory import ProblemShape, largest_batch, probe_memory

        description = None
        if sizes is not None:
            problem = ProblemShape(**sizes)
        else:
            from tirgn_eqx.data import load_graph

            load = options.given(
                num_days=num_days,
                max_events=max_events,
                granularity=granularity,
                time_format=time_format,
                columns=columns,
                skip_bad_rows=skip_bad_rows,
            )
            graph = load_graph(data_path or options.default_data_path(), **load)
            problem, description = ProblemShape.from_graph(graph, config), graph.describe()
        with show.working("compiling the training step for each setting"):
            rows = probe_memory(problem, config, budget=limit)
            largest = None if limit is None else largest_batch(problem, config, limit)
    report = {
        "dataset": description,
        "shape": dataclasses.asdict(problem),
        "budget_bytes": limit,
        "settings": rows,
        "largest_batch": largest,
    }
    if as_json:
        show.document(report)
    else:
        _show(report, rows[-1]["precision"], rows[-1]["remat"])


def _show(report: dict[str, Any], precision: str, remat: str) -> None:
    from tirgn_cli import show

    if report["dataset"] is not None:
        show.line(show.stdout(), show.dataset(report["dataset"]))
    show.line(show.stdout(), "shape: " + ", ".join(f"{name} {count:,}" for name, count in report["shape"].items()))
    limit = report["budget_bytes"]
    columns = ["precision", "remat", "batch size", "predicted", "measured"]
    rows = [
        [
            row["precision"],
            row["remat"],
            row["batch_size"] or "whole snapshot",
            show.size(row["predicted_bytes"]),
            None if row.get("measured_bytes") is None else show.size(row["measured_bytes"]),
            *([] if limit is None else [row["fits"]]),
        ]
        for row in report["settings"]
    ]
    if limit is not None:
        columns.append(f"fits {show.size(limit)}")
    show.result(show.table("Peak device memory of a training step", columns, rows))
    if limit is not None:
        largest = report["largest_batch"]
        show.line(
            show.stdout(),
            f"largest batch with {precision} and remat {remat}: "
            + (f"{largest:,} queries" if largest else "none fits; try --set remat=full or a smaller --history-len"),
        )
