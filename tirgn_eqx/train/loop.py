"""Training from a graph to the best checkpoint: epochs, validation, early stopping, logs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from beartype import beartype

from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.data.batches import BatchLoader, Prepared
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.history import build_history_vocabulary
from tirgn_eqx.data.snapshots import SnapshotStore
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.protocol import Evaluator
from tirgn_eqx.models.tirgn import TiRGN
from tirgn_eqx.programs import Programs
from tirgn_eqx.train.logger import TrainingLogger, device_memory_bytes
from tirgn_eqx.train.precision import cast_parameters, check_precision
from tirgn_eqx.train.saved import MODEL_TYPE, load_model, save_model
from tirgn_eqx.train.step import init_optimizer, make_optimizer, make_step, parameter_count, step_size
from tirgn_eqx.train.stopping import EarlyStopping

Record = dict[str, Any]
STEP_RECORD_SECONDS = 0.5


class CompiledStep:
    """The training step, compiled once per batch shape, its model and optimizer donated."""

    def __init__(self, config: TiRGNTrainingConfig, on_record: Callable[[Record], None], optimizer: Any = None):
        step = make_step(config, optimizer)
        record = lambda bucket, seconds: on_record({"event": "compile", "bucket": bucket, "seconds": seconds})
        # Donation spares the first argument: a batch has no result of its shape to give its memory to.
        batch_first = lambda batch, model, opt_state: step(model, opt_state, batch)
        self.programs = Programs(batch_first, donate="all-except-first", on_compile=record)

    def __call__(self, model: TiRGN, opt_state: Any, prepared: Prepared, key: Any) -> tuple[TiRGN, Any, Any]:
        batch = eqx.tree_at(lambda b: b.key, prepared.batch, key, is_leaf=lambda x: x is None)
        return self.programs(prepared.bucket, batch, model, opt_state)


def make_loader(
    graph: TemporalGraph, config: TiRGNTrainingConfig, vocabulary: Any = None, store: Any = None
) -> BatchLoader:
    """The training split's batches as `config` asks for them."""
    return BatchLoader(
        graph,
        vocabulary or build_history_vocabulary(graph),
        "train",
        history_len=config.history_len,
        history_window=config.history_window,
        batch_size=config.batch_size,
        max_buckets=config.max_buckets,
        unique=config.unique_questions,
        num_negatives=config.num_negatives if config.loss == "sampled" else 0,
        num_shared=config.num_shared if config.loss == "shared" else 0,
        rows="all" if config.loss == "full" else "touched",
        seed=config.seed,
        store=store,
    )


class _Run:
    """One training's changing parts; `train_tirgn` is its public face."""

    def __init__(self, graph, config, model_dir: Path, emit, logger: TrainingLogger):
        check_precision(config.precision)
        self.graph, self.config, self.model_dir, self.emit, self.logger = (
            graph,
            config,
            model_dir,
            emit,
            logger,
        )
        self.key = jr.key(config.seed)
        init_key, self.step_key = jr.split(self.key)
        vocabulary = build_history_vocabulary(graph)
        store = SnapshotStore(graph)
        self.loader = make_loader(graph, config, vocabulary, store)
        if len(self.loader) == 0:
            raise DataError(
                f"{graph.name}: the train split has one snapshot, and the first is never a target; "
                "give more days or a finer granularity"
            )
        options = {"history_len": config.history_len, "history_window": config.history_window}
        evaluator = lambda split: Evaluator(graph, split, vocabulary=vocabulary, store=store, **options)
        self.validate = evaluator("valid")
        self.test = lambda: evaluator("test")
        static = graph.static if config.static_graph else None
        model = TiRGN(graph.num_entities, graph.num_relations, config, static, key=init_key)
        self.model = cast_parameters(model, config.precision)
        num_steps = config.epochs * len(self.loader)
        optimizer = make_optimizer(config, num_steps)
        self.step_size = step_size(config, num_steps)
        self.opt_state = init_optimizer(optimizer, self.model)
        self.step = CompiledStep(config, emit, optimizer)
        self.stopping = EarlyStopping(config.patience, config.monitor)
        self.global_step = 0
        self.parameters = parameter_count(self.model)
        emit(
            {
                "event": "start",
                "dataset": graph.describe(),
                "config": config.to_dict(),
                "parameters": self.parameters,
                "buckets": [vars(bucket) for bucket in self.loader.buckets],
                "history": vocabulary.report(),
                "steps_per_epoch": len(self.loader),
            }
        )
        logger.log_metrics({"system/total_params": self.parameters}, 0)

    def epoch(self, epoch: int) -> None:
        """One pass over the training snapshots."""
        begin = shown = time.perf_counter()
        facts, metrics = 0, []
        for count, prepared in enumerate(self.loader.epoch(epoch), start=1):
            key = jr.fold_in(self.step_key, self.global_step)
            self.model, self.opt_state, measured = self.step(self.model, self.opt_state, prepared, key)
            self.global_step += 1
            facts += prepared.num_facts
            metrics.append(measured)
            now = time.perf_counter()
            if now - shown >= STEP_RECORD_SECONDS or count == len(self.loader):
                shown = now
                # Two steps back is done by now: reading it does not wait for the device.
                loss = float(metrics[max(0, count - 3)]["loss"])
                step = {"event": "step", "epoch": epoch, "step": count, "loss": loss, "facts": facts}
                rate = facts / (now - begin)
                self.emit(step | {"steps_per_epoch": len(self.loader), "facts_per_second": rate})
        means = {name: float(np.mean([float(m[name]) for m in metrics])) for name in metrics[0]}
        seconds = time.perf_counter() - begin
        memory = device_memory_bytes()
        logged = {f"train/{name}": value for name, value in means.items()}
        logged |= {"train/lr": float(self.step_size(self.global_step - 1)), "system/epoch_duration_s": seconds}
        if memory is not None:
            logged["system/vram_used_mb"] = memory / 2**20
        self.logger.log_metrics(logged, self.global_step)
        self.emit(
            {
                "event": "epoch",
                "epoch": epoch,
                "epochs": self.config.epochs,
                "loss": means["loss"],
                "seconds": seconds,
                "facts_per_second": facts / seconds,
                "memory": memory,
            }
        )

    def save(self, name: str, epoch: int, figures: dict[str, Any] | None = None) -> None:
        metrics = {"epoch": epoch, "step": self.global_step, "validation": figures}
        path = save_model(self.model_dir / name, self.model, self.config, self.graph, metrics)
        self.emit({"event": "checkpoint", "path": str(path)})

    def validation(self, epoch: int) -> dict[str, float]:
        """Validate, log, and keep the model when it is the best so far."""
        figures = self.validate(self.model).entity
        self.logger.log_metrics({f"eval/{name}": value for name, value in figures.items()}, self.global_step)
        self.stopping, best = self.stopping.update(epoch, figures[self.config.monitor])
        self.emit({"event": "validation", "epoch": epoch, "best": best, **figures})
        if best:
            self.save("tirgn_best", epoch, figures)
        return figures


@beartype
def train_tirgn(
    graph: TemporalGraph,
    config: TiRGNTrainingConfig,
    *,
    model_dir: str | Path = "models/tkg",
    on_record: Callable[[Record], None] | None = None,
    run_name: str | None = None,
) -> dict[str, Any]:
    """Train TiRGN on the train split, select on valid, and evaluate the best model on test.

    **Main arguments:** `graph`; `config`; `model_dir`: folder of `tirgn_best`, `tirgn_epoch_{N}` and
    `tirgn_trained` (`.npz` and `.json`).

    **Other arguments:** `on_record`: called with a dict at every event (`start`, `compile`, `step`, `epoch`,
    `validation`, `checkpoint`, `early_stopping`, `end`); `run_name`: in the logs.

    **Returns:** `status`, `epochs_trained`, `best_mrr`, `best_epoch`, `total_time` (seconds),
    `early_stopped`, `model_type`, `checkpoint`, `parameters`, and the `validation` and `test` evaluation of
    the best checkpoint.

    **Raises:** DataError when nothing can be trained on; CheckpointError when a checkpoint cannot be written.
    """
    emit = on_record or (lambda record: None)
    begin = time.perf_counter()
    model_dir = Path(model_dir)
    with TrainingLogger(config.logdir, run_name=run_name, config=config.to_dict()) as logger:
        run = _Run(graph, config, model_dir, emit, logger)
        epoch, early, validated = 0, False, -1
        for epoch in range(1, config.epochs + 1):
            run.epoch(epoch)
            last = epoch == config.epochs
            if epoch % config.eval_interval == 0 or last:
                run.validation(epoch)
                validated = epoch
            if config.checkpoint_interval and epoch % config.checkpoint_interval == 0:
                run.save(f"tirgn_epoch_{epoch}", epoch)
            if validated == epoch and not last and run.stopping.should_stop(epoch):
                early = True
                message = run.stopping.message(epoch)
                logger.log_text("early_stopping", message, run.global_step)
                emit({"event": "early_stopping", "message": message})
                break
        if validated < 0:
            run.validation(0)
        run.save("tirgn_trained", epoch)
        best = model_dir / "tirgn_best.npz"
        if run.stopping.best_epoch is None:  # no validation gave a number
            best = model_dir / "tirgn_trained.npz"
        model, _, _ = load_model(best)
        validation, test = run.validate(model), run.test()(model)
        logger.log_metrics({f"test/{k}": v for k, v in test.entity.items()}, run.global_step)
        result = {
            "status": "completed",
            "epochs_trained": epoch,
            "best_mrr": validation.entity["mrr"],
            "best_epoch": run.stopping.best_epoch,
            "total_time": time.perf_counter() - begin,
            "early_stopped": early,
            "model_type": MODEL_TYPE,
            "checkpoint": str(best),
            "parameters": run.parameters,
            "device": jax.devices()[0].device_kind,
            "validation": _figures(validation),
            "test": _figures(test),
        }
    emit({"event": "end"} | result)
    return result


def _figures(evaluation) -> dict[str, Any]:
    """What a training's result says of an evaluation: the figures without the per-snapshot list."""
    figures = evaluation.to_dict()
    return {name: figures[name] for name in ("split", "setting", "filter", "entity", "entity_raw", "relation")}
