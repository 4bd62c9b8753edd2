"""Training one model that is not a mixture: folder, devices and logs around the training loop."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from tirgn_eqx.checkpoint.run_folder import lock_folder
from tirgn_eqx.checkpoint.training_state import STATE_FILE, align_with_state, read_training_state
from tirgn_eqx.config import ModelTrainingConfig
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.models import Model
from tirgn_eqx.runtime.meshes import MeshShape, make_mesh, on
from tirgn_eqx.runtime.processes import is_first
from tirgn_eqx.tracking.logger import NullLogger, TrainingLogger
from tirgn_eqx.train.events import EndRecord, OnRecord, Stop, TrainingResult, ignore, never
from tirgn_eqx.train.precision import Precision
from tirgn_eqx.train.trainer import Trainer


@dataclass(frozen=True)
class RunOptions:
    """How a training runs, as opposed to what is trained; see `train_tirgn` for each."""

    model_dir: Path
    on_record: OnRecord = ignore
    run_name: str | None = None
    resume: bool = False
    force: bool = False
    stop: Stop = never
    start: Model | None = None
    select: bool = True  # the best model by validation; False: no validation, and the last model


def train_single(
    graph: TemporalGraph, config: ModelTrainingConfig, options: RunOptions, mesh: MeshShape | None = None
) -> TrainingResult:
    """`train_tirgn` of a model that is not a mixture."""
    folder, devices = options.model_dir, None if mesh is None else make_mesh(mesh)
    # All processes train; the first one alone locks, writes and reports.
    on_record = options.on_record if is_first() else ignore
    with on(devices), lock_folder(folder) if is_first() else nullcontext():
        if options.resume:
            # The weights know ids and times as they were, with `force` also on other data.
            graph = align_with_state(graph, folder, force=options.force)
            config = config.replace(precision=_resumed_precision(folder, config))
        trainer = Trainer(graph, config, folder, on_record, options.start, devices, options.select)
        if options.resume:
            trainer.resume(options.force)
        # Lines logged after the saved state are cut, since the resumed training writes them again.
        step = trainer.state.global_step if options.resume else None
        with (
            TrainingLogger(
                config.logdir,
                run_name=options.run_name,
                config=trainer.config,
                tracker=config.tracker,
                resume_step=step,
            )
            if is_first()
            else NullLogger()
        ) as logger:
            trainer.logger = logger
            if not options.resume:
                logger.log_metrics({"system/total_params": trainer.parameters}, 0)
            result = trainer.train(options.stop)
    on_record(EndRecord(result))
    return result


def _resumed_precision(folder: Path, config: ModelTrainingConfig) -> Precision:
    """The precision of `config`; where that is `auto`, the one with which the training in `folder` began."""
    if config.precision != "auto" or not (folder / f"{STATE_FILE}.npz").is_file():
        return config.precision
    saved = read_training_state(folder)[1].config.get("precision")
    # What is on the disk may say anything, which `load_training_state` then refuses.
    return saved if saved in ("bf16", "f32") else "auto"
