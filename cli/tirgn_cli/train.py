"""`tirgn train`."""

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from tirgn_cli import complete, options, output, tables, values
from tirgn_cli.common import choose_mesh, connect_processes, exit_on_lost_process
from tirgn_eqx.config import EventTrainingConfig, GivenSettings, TrainingConfig
from tirgn_eqx.config.event_options import check_event_options
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime.malloc import keep_freed_memory
from tirgn_eqx.storage.atomic_write import write_text

if TYPE_CHECKING:
    from tirgn_eqx.data import TemporalGraph
    from tirgn_eqx.train.events import TrainingResult

STRUCTURES = ("tirgn", "regcn")
# What `signal.signal` takes and returns; None for a handler that was not set by Python.
Handler = Callable[[int, FrameType | None], object] | int | None


def _with_family_of(structure: Path, given: GivenSettings) -> GivenSettings:
    """`given` with the family of a checkpoint that is the structure of a mixture."""
    from tirgn_eqx.checkpoint.files import load_checkpoint

    family = load_checkpoint(structure).metadata.get("model_type")
    # Of a model that event rates were added to, the mixture takes the model.
    family = family.removesuffix("-events") if isinstance(family, str) else family
    # One of another kind is refused where it would be used.
    return replace(given, options={"family": family} | dict(given.options or {})) if family in STRUCTURES else given


@options.command()
def train(
    ctx: options.CommandContext,
    *,
    data_path: options.DataPath = None,
    reading: options.ReadingFlags,
    model: options.Model = None,
    embedding_dim: options.EmbeddingDim = None,
    num_layers: options.NumLayers = None,
    history_len: options.HistoryLen = None,
    history: options.History = None,
    structure: Annotated[
        Path | None,
        options.option(
            metavar="CKPT",
            autocompletion=complete.checkpoints,
            help="with --history evidence, a tirgn or regcn checkpoint to take instead of training one (default: none)",
            panel=options.MODEL,
        ),
    ] = None,
    evidence: Annotated[
        Path | None,
        options.option(
            metavar="CKPT",
            autocompletion=complete.checkpoints,
            help="with --history evidence, an evidence checkpoint to take instead of training one (default: none)",
            panel=options.MODEL,
        ),
    ] = None,
    events: Annotated[
        Path | None,
        options.option(
            metavar="CKPT",
            autocompletion=complete.checkpoints,
            help="learn how often events come, and keep it with the model of this checkpoint, which says who, in a "
            "checkpoint elsewhere (default: none)",
            panel=options.MODEL,
        ),
    ] = None,
    history_rate: options.HistoryRate = None,
    history_window: options.HistoryWindow = None,
    preset: options.Preset = None,
    recipe: options.Recipe = None,
    config_file: options.ConfigFile = None,
    assignments: options.Assignments = None,
    epochs: options.Epochs = None,
    learning_rate: options.LearningRate = None,
    batch_size: options.BatchSize = None,
    precision: options.Precision = None,
    remat: options.Remat = None,
    seed: options.Seed = None,
    mesh: options.MeshOption = None,
    coordinator: options.Coordinator = None,
    num_processes: options.NumProcesses = None,
    process_id: options.ProcessId = None,
    eval_interval: options.EvalInterval = None,
    patience: options.Patience = None,
    monitor: options.Monitor = None,
    max_skipped_steps: options.MaxSkippedSteps = None,
    model_dir: Annotated[
        Path,
        options.option(
            metavar="DIR",
            help="folder of the checkpoints and of config.toml (default: models/tkg)",
            panel=options.OUTPUT,
        ),
    ] = Path("models/tkg"),
    checkpoint_interval: options.CheckpointInterval = None,
    save_every: options.SaveEvery = None,
    keep: options.Keep = None,
    logdir: options.LogDir = None,
    run_name: Annotated[
        str | None,
        options.option(
            metavar="NAME",
            help="name of the run in the logs (default: chosen by date and time)",
            panel=options.OUTPUT,
        ),
    ] = None,
    resume: Annotated[
        bool,
        options.option(
            "--resume",
            help="continue the interrupted training in --model-dir, to the same result; not for the event model "
            "(default: start again)",
            panel=options.TRAINING,
        ),
    ] = False,
    force: Annotated[
        bool,
        options.option(
            "--force",
            help="with --resume, continue although data or settings have changed, if the arrays fit (default: refuse)",
            panel=options.TRAINING,
        ),
    ] = False,
    refit: Annotated[
        bool,
        options.option(
            "--refit",
            help="train what was selected once more on train and valid together, for as many epochs as were best, and "
            "save it as tirgn_refit.npz for real forecasts (default: no)",
            panel=options.TRAINING,
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Train a model, validate as it learns, and keep the best checkpoint.

    A setting comes from the first place that has it: its own option, --set, --config, --recipe, --preset, the default.
    This help ends with the settings of TiRGN; `tirgn train --model regcn --help` shows those of RE-GCN, --model
    evidence those of the evidence model, and --history evidence those of a model with both, which is RE-GCN by the
    preset `structure` and the recipe `fast`, unless --model or --preset says otherwise.

    Example: tirgn train

    Example: tirgn train --data-path data/YAGO --preset yago --model-dir models/yago

    Example: tirgn train --data-path data/YAGO --history evidence --model-dir models/both

    Example: tirgn train --data-path events.parquet --num-days 60 --epochs 20 --set angle=10

    Example: tirgn train --data-path events.parquet --model evidence --refit

    Example: tirgn train --data-path data/wikidata --mesh data=2,entity=4
    """
    if coordinator is None and (num_processes is not None or process_id is not None):
        raise ConfigError(
            "--num-processes, --process-id: only with --coordinator HOST:PORT; give it, or leave them out"
        )
    if force and not resume:
        raise ConfigError("--force: only with --resume; add it, or leave --force out")
    # Before JAX makes its first large array.
    keep_freed_memory()
    source = data_path or values.default_data_path()
    given = values.given_settings(ctx.params)
    if events is not None and model in (None, "events"):
        given = replace(given, options=dict(given.options or {}) | {"family": "events"})
    if structure is not None and model is None and preset is None:
        given = _with_family_of(structure, given)
    config = given.config(values.default_preset(source))
    # Before anything is read or written.
    others = {"--mesh": mesh, "--coordinator": coordinator, "--resume": resume, "--refit": refit}
    others |= {"--structure": structure, "--evidence": evidence, "--history": history, "--recipe": recipe}
    check_event_options(config, model_dir, events, others)

    # Modules that load JAX are imported only here: it takes seconds, for which `--help` must not wait.
    from tirgn_cli.progress import TrainingView

    with output.stdout_to_stderr():
        # Processes must be connected before anything else of JAX is used, see `join`.
        connect_processes(coordinator, num_processes, process_id)
        shape = choose_mesh(mesh, coordinator)

        from tirgn_eqx.data import load_graph
        from tirgn_eqx.runtime.processes import PeerMonitor, is_first
        from tirgn_eqx.train.families import reads_static

        # A part of a mixture decides for itself.
        if reading.static_words and not reads_static(config):
            raise ConfigError(
                f"--static-words {reading.static_words}: these settings train without a static graph; leave it out, or "
                "add --set static_graph=true where the model can use one"
            )
        graph = load_graph(source, **reading.given())
        # All processes share the folder, and one writes to it.
        if is_first():
            save_config(config, model_dir)

        from tirgn_eqx.train.api import train_tirgn

        with Signals() as signals, PeerMonitor(exit_on_lost_process), TrainingView(quiet=not is_first()) as view:
            result = train_tirgn(
                graph,
                config,
                model_dir=model_dir,
                on_record=view,
                mesh=shape,
                run_name=run_name,
                resume=resume,
                force=force,
                structure=structure,
                evidence=evidence,
                base=events,
                stop=signals.received,
                refit=refit,
            )
    if is_first() and as_json:
        output.print_json({"dataset": graph.describe(), "seed": config.seed, **result})
    elif is_first() and result["status"] == "complete":
        _show_result(tables.format_dataset(graph.describe()), config.seed, result)
    if result["status"] != "complete":
        kept = f"saved in {model_dir}; the same command with --resume goes on from there"
        if isinstance(config, EventTrainingConfig):
            kept = "nothing of it is kept; the same command starts again"
        if is_first():
            told = f"interrupted after {result['epochs_trained']} whole epochs; {kept}"
            output.print_line(output.stderr(), told)
        # Shells report a process that a signal ended as 128 + its number. Of several processes, another one may have
        # received the signal.
        raise typer.Exit(128 + (signals.number or signal.SIGTERM))
    if result["checkpoint"] is not None and shape is None:
        # The training is complete, whatever happens to what only saves time later.
        with suppress(Exception), output.stdout_to_stderr():
            leave_programs(result["checkpoint"], graph)


def leave_programs(checkpoint: str, graph: "TemporalGraph") -> None:
    """Put what `tirgn predict` compiles into the cache of compiled programs, where there is one, so that the first
    question need not wait; the programs of `tirgn eval` are those of the validation, and are there already."""
    import jax

    if not jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue]
        return
    from tirgn_eqx.checkpoint.models import load_model
    from tirgn_eqx.forecast import Forecaster

    model, config, metadata = load_model(checkpoint)
    Forecaster(model, config, graph, metadata=metadata).compile()


class Signals:
    """A context in which the first SIGINT or SIGTERM is only recorded, so that a training can finish its step and save;
    the second one interrupts at once."""

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Handler] = {}

    def received(self) -> bool:
        """Whether a signal has come."""
        return self.number != 0

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number

    def __enter__(self) -> "Signals":
        # Only the main thread may change handlers; in another one, signals are left to the caller.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def save_config(config: TrainingConfig, model_dir: Path) -> Path:
    """Write the configuration to `config.toml` in `model_dir`; a file that is there is replaced whole.

    **Raises:** CheckpointError while another training is at work there, or when it cannot be written.
    """
    from tirgn_eqx.checkpoint.run_folder import lock_folder

    head = "# settings of the last training in this folder; `tirgn train --config` reads them\n"
    with lock_folder(model_dir):
        write_text(model_dir / "config.toml", head + config.to_toml())
    return model_dir / "config.toml"


def _show_result(dataset: str, seed: int, result: "TrainingResult") -> None:
    rows = [
        [f"{split}, {kind}", *tables.metric_row(measured[kind])]
        for split, measured in (
            ("validation", result["validation"]),
            ("test", result["test"]),
            ("refit on train and valid, test", result["refit"]["test"] if "refit" in result else None),
        )
        if measured is not None
        for kind in ("entity", "relation")
    ]
    if rows:
        caption = "single-step, time-aware filter, both directions, ties at their mean rank"
        tables.print_table(
            tables.make_table("Figures of the best checkpoint", ["", *tables.METRICS.values()], rows, caption)
        )
    epoch, checkpoint = result["best_epoch"], result["checkpoint"]
    best = f"{tables.format_cell(result['best_mrr'])} in validation, epoch {tables.format_cell(epoch)}"
    found = result.get("events")
    if found is not None:
        tables.print_table(tables.make_event_table("Events of the test split", found["test"]["horizons"]))
        for horizon in found["test"]["horizons"]:
            output.print_result(tables.describe_events(horizon))
    tables.print_table(
        tables.make_pairs(
            "Training",
            {
                "data": dataset,
                "status": result["status"] + (", stopped early" if result["early_stopped"] else ""),
                "epochs trained": result["epochs_trained"],
                "best MRR": best if found is None else None,
                "best NLL": None if found is None else f"{found['valid_nll']:.4f} in validation, epoch {epoch}",
                "steps skipped": result["skipped_steps"] or None,
                "seed": seed,
                "time": tables.format_duration(result["total_time"]),
                "checkpoint": checkpoint,
                "refit": result["refit"]["checkpoint"] if "refit" in result else None,
                "next": f"tirgn eval {checkpoint}" + (" --events" if found is not None else ""),
            },
        )
    )
