"""`tirgn train`."""

import signal
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from tirgn_cli import complete, options
from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime.malloc import keep_freed_memory
from tirgn_eqx.storage.files import write_text


def train(
    data_path: options.DataPath = None,
    num_days: options.NumDays = None,
    max_events: options.MaxEvents = None,
    granularity: options.Granularity = None,
    time_format: options.TimeFormat = None,
    columns: options.Columns = None,
    skip_bad_rows: options.SkipBadRows = None,
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
    max_bad_steps: options.MaxBadSteps = None,
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
            help="go on with the interrupted training in --model-dir, to the same end (default: begin anew)",
            panel=options.TRAINING,
        ),
    ] = False,
    force: Annotated[
        bool,
        options.option(
            "--force",
            help="with --resume, go on although data or settings have changed, if the arrays fit (default: refuse)",
            panel=options.TRAINING,
        ),
    ] = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Train a model, validate as it learns, and keep the best checkpoint.

    A setting comes from the first place that has it: its own option, --set, --config, --recipe, --preset, the default.

    Example: tirgn train

    Example: tirgn train --data-path data/YAGO --preset yago --model-dir models/yago

    Example: tirgn train --data-path data/YAGO --preset yago --recipe fast --history evidence --model-dir models/both

    Example: tirgn train --data-path events.parquet --num-days 60 --epochs 20 --set angle=10

    Example: tirgn train --data-path data/wikidata --mesh data=2,entity=4
    """
    if coordinator is None and (num_processes is not None or process_id is not None):
        raise ConfigError("--num-processes, --process-id: mean something with --coordinator HOST:PORT alone")
    if force and not resume:
        raise ConfigError("--force: only with --resume; a training that begins anew asks for nothing")
    keep_freed_memory()
    source = data_path or options.default_data_path()
    config = options.resolve_config(
        preset,
        config_file,
        assignments,
        options.given(
            model=model,
            embedding_dim=embedding_dim,
            num_layers=num_layers,
            history_len=history_len,
            history=history,
            history_rate=history_rate,
            history_window=history_window,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            precision=precision,
            remat=remat,
            seed=seed,
            eval_interval=eval_interval,
            patience=patience,
            monitor=monitor,
            max_bad_steps=max_bad_steps,
            checkpoint_interval=checkpoint_interval,
            keep=keep,
            logdir=logdir,
        )
        | options.save_every(save_every),
        recipe,
        "sim" if source.partition(":")[0] == "sim" else None,
    )
    load = options.given(
        num_days=num_days,
        max_events=max_events,
        granularity=granularity,
        time_format=time_format,
        columns=columns,
        skip_bad_rows=skip_bad_rows,
    )

    from tirgn_cli import show
    from tirgn_cli.progress import TrainingView

    if quiet:
        show.only_warnings()
    with show.clean_stdout():
        from tirgn_cli.together import devices, lost, several

        several(coordinator, num_processes, process_id)
        shape = devices(mesh, coordinator)

        from tirgn_eqx.data import load_graph
        from tirgn_eqx.runtime.processes import Watch, is_first

        graph = load_graph(source, **load)
        if is_first():
            save_config(config, model_dir)

        from tirgn_eqx.train.api import train_tirgn

        outputs = {"mesh": shape, "model_dir": model_dir, "run_name": run_name, "resume": resume, "force": force}
        outputs |= {"structure": structure, "evidence": evidence}
        quiet = quiet or not is_first()
        with Signals() as signals, Watch(lost), TrainingView(quiet=quiet) as view:
            result = train_tirgn(graph, config, on_record=view, stop=signals.received, **outputs)
    result = {"dataset": graph.describe(), "seed": config.seed, **result}
    if is_first() and as_json:
        show.document(result)
    elif is_first() and result["status"] == "complete":
        _show_result(result)
    if result["status"] != "complete":
        again = "the same command with --resume goes on from there"
        if is_first():
            told = f"interrupted after {result['epochs_trained']} whole epochs; saved in {model_dir}; {again}"
            show.line(show.stderr(), told)
        # Of several processes, another one may have been asked.
        raise typer.Exit(128 + (signals.number or signal.SIGTERM))


class Signals:
    """While in use, the first SIGINT or SIGTERM is only noted, so that a training can finish its step and save; the
    second one interrupts at once."""

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def received(self) -> bool:
        return self.number != 0

    def _handle(self, number: int, frame: Any) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number

    def __enter__(self) -> "Signals":
        # Python lets only the main thread change handlers; elsewhere, signals are left to the caller.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def save_config(config: TiRGNTrainingConfig, model_dir: Path) -> Path:
    """Writes the resolved config to `config.toml` in `model_dir`; a file that is there is replaced whole.

    **Raises:** CheckpointError while another training is at work there, or when it cannot be written.
    """
    from tirgn_eqx.checkpoint.run_folder import lock_folder

    head = "# settings of the last training in this folder; `tirgn train --config` reads them\n"
    with lock_folder(model_dir):
        write_text(model_dir / "config.toml", head + config.to_toml())
    return model_dir / "config.toml"


def _show_result(result: dict[str, Any]) -> None:
    from tirgn_cli import show

    rows = []
    for split in ("validation", "test"):
        measured = result.get(split) or {}
        rows += [
            [f"{split}, {kind}", *show.figures(measured[kind])]
            for kind in ("entity", "relation")
            if isinstance(measured.get(kind), dict)
        ] or ([[split, *show.figures(measured)]] if "mrr" in measured else [])
    if rows:
        caption = "single-step, time-aware filter, both directions, ties at their mean rank"
        show.result(show.table("Figures of the best checkpoint", ["", *show.METRICS.values()], rows, caption))
    best, epoch = result["best_mrr"], result["best_epoch"]
    checkpoint = result["checkpoint"]
    show.result(
        show.pairs(
            "Training",
            {
                "data": show.dataset(result["dataset"]),
                "status": result["status"] + (", stopped early" if result["early_stopped"] else ""),
                "epochs trained": result["epochs_trained"],
                "best MRR": f"{show.cell(best)} in validation, epoch {show.cell(epoch)}",
                "steps skipped": result["skipped_steps"] or None,
                "seed": result["seed"],
                "time": show.duration(result["total_time"]),
                "checkpoint": checkpoint,
                "next": f"tirgn eval {checkpoint}",
            },
        )
    )
