"""`tirgn vram-probe`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from tirgn_cli import options, output, tables, values
from tirgn_eqx.errors import ConfigError

if TYPE_CHECKING:
    from tirgn_eqx.train.memory import ProblemShape


@dataclass(frozen=True)
class MemoryReport:
    """The document of `tirgn vram-probe`.

    **Arguments:** `dataset`: None for a shape without data; `settings`: rows of `probe_memory`; `largest_batch`: for
    the budget, 0 where none fits.
    """

    dataset: Mapping[str, object] | None
    shape: "ProblemShape"
    budget_bytes: int | None
    settings: Sequence[Mapping[str, Any]]
    largest_batch: int | None


@options.command()
def vram_probe(
    ctx: options.CommandContext,
    *,
    data_path: options.DataPath = None,
    shape: Annotated[
        str | None,
        options.option(
            metavar="NAME=N,...",
            help="sizes in place of data: entities, relations, edges (facts in the largest snapshot of the "
            "window), queries (facts of the largest target snapshot), and optionally static_edges, words and "
            "history (candidates per query in the history) (default: taken from the data)",
            panel=options.DATA,
        ),
    ] = None,
    reading: options.ReadingFlags,
    budget: Annotated[
        str | None,
        options.option(
            metavar="SIZE",
            help="limit of device memory, such as 12GiB, 8G (powers of 1024) or 500MB (powers of 1000), for which the "
            "largest batch is searched too (default: none)",
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
) -> None:
    """Predict the device memory of a training step for a table of settings, without training.

    The step is compiled from shapes alone. On a GPU the table also shows the measured peak.

    Example: tirgn vram-probe --shape entities=7128,relations=230,edges=400,queries=800 --budget 12GiB
    """
    if data_path is not None and shape is not None:
        raise ConfigError("--data-path and --shape both say how large the problem is; give one of them")
    config = values.given_settings(ctx.params).config()
    limit = None if budget is None else values.parse_bytes(budget)
    sizes = None if shape is None else values.parse_shape(shape)

    with output.stdout_to_stderr():
        from tirgn_eqx.train.memory import ProblemShape, largest_batch, probe_memory

        description = None
        if sizes is not None:
            problem = ProblemShape(**sizes)
        else:
            from tirgn_eqx.data import load_graph

            graph = load_graph(data_path or values.default_data_path(), **reading.given())
            problem, description = ProblemShape.from_graph(graph, config), graph.describe()
        with output.working("compiling the training step for each setting"):
            rows = probe_memory(problem, config, budget=limit)
            # Compiles the step for two more sizes, at least.
            largest = None if limit is None else largest_batch(problem, config, limit)
    report = MemoryReport(description, problem, limit, rows, largest)
    if as_json:
        output.print_json(vars(report))
    else:
        _show(report)


def _show(report: MemoryReport) -> None:
    if report.dataset is not None:
        output.print_result(tables.format_dataset(report.dataset))
    output.print_result("shape: " + ", ".join(f"{name} {count:,}" for name, count in asdict(report.shape).items()))
    limit, largest = report.budget_bytes, report.largest_batch
    columns = ["precision", "remat", "batch size", "predicted", "measured"]
    rows = []
    for row in report.settings:
        measured = row.get("measured_bytes")
        sizes = [tables.format_size(row["predicted_bytes"]), None if measured is None else tables.format_size(measured)]
        rows.append([row["precision"], row["remat"], row["batch_size"] or "whole snapshot", *sizes])
        if limit is not None:
            rows[-1].append(row["fits"])
    if limit is not None:
        columns.append(f"fits {tables.format_size(limit)}")
    tables.print_table(tables.make_table("Peak device memory of a training step", columns, rows))
    if limit is not None:
        found = f"{largest:,} queries" if largest else "none fits; try --set remat=full or a smaller --history-len"
        own = report.settings[-1]  # the last row has the given precision and remat
        output.print_result(f"largest batch with {own['precision']} and remat {own['remat']}: {found}")
