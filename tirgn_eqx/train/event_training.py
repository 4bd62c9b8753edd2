"""Training the rates of events: a pass over snapshots whose future is known, selected by likelihood on valid."""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax.random as jr
import numpy as np
import optax
from beartype import beartype
from jaxtyping import Array, PyTree, jaxtyped

from tirgn_eqx.checkpoint.metadata import CheckpointMetadata
from tirgn_eqx.checkpoint.models import add_metrics, load_model, save_model
from tirgn_eqx.checkpoint.run_folder import lock_folder
from tirgn_eqx.config import EventTrainingConfig, TrainingConfig
from tirgn_eqx.config.event_options import check_event_options
from tirgn_eqx.data.batches.event_rows import EventRowsLoader, EventRowsOptions
from tirgn_eqx.data.batches.prefetch import prefetch
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.activity import ActivityIndex, find_periods
from tirgn_eqx.data.times import format_snapshot_time
from tirgn_eqx.data.vocabulary import match_checkpoint
from tirgn_eqx.errors import ConfigError, DataError, DivergedError
from tirgn_eqx.evaluate.event_scores import HORIZONS, evaluate_events
from tirgn_eqx.evaluate.results import evaluated_snapshots
from tirgn_eqx.models import EventModel, EventRates, Model
from tirgn_eqx.models.event_rates import event_loss
from tirgn_eqx.runtime.compiling import CompileCache
from tirgn_eqx.tracking.logger import TrainingLogger
from tirgn_eqx.train import events
from tirgn_eqx.train.events import TrainingResult, make_result
from tirgn_eqx.train.optimizer import parameter_count
from tirgn_eqx.train.recovery import Metrics, SkippedSteps, update_if_finite
from tirgn_eqx.train.single import RunOptions
from tirgn_eqx.types import EventBatch

MAX_VALID = 32  # snapshots of valid that a validation looks at, spread evenly
LEAST_HISTORY = 0.1  # of the train split that comes before its first target
GRAD_CLIP = 1.0
MAX_SKIPPED = 10  # non-finite steps of an epoch
LEAST_EPOCHS, LEAST_STEPS = 6, 1200  # where `epochs` is 0
PATIENCE = 10  # epochs without a better likelihood on valid, as data of a few snapshots soon have

EventStep = Callable[[EventRates, PyTree, EventBatch], tuple[EventRates, PyTree, Metrics]]
CompiledStep = Callable[[str, EventRates, PyTree, EventBatch], tuple[EventRates, PyTree, Metrics]]


def make_event_step(optimizer: optax.GradientTransformation) -> EventStep:
    """The pure `step(rates, opt_state, batch) -> (rates, opt_state, metrics)`."""

    @jaxtyped(typechecker=beartype)
    def step(rates: EventRates, opt_state: PyTree, batch: EventBatch) -> tuple[EventRates, PyTree, Metrics]:
        loss, gradient = eqx.filter_value_and_grad(event_loss)(rates, batch)
        return update_if_finite(optimizer, gradient, rates, opt_state, {"loss": loss})

    return step


def train_events(
    graph: TemporalGraph, config: EventTrainingConfig, options: RunOptions, *, base: str | Path | None = None
) -> TrainingResult:
    """`train_tirgn` of the event model.

    **Arguments:** `base`: the checkpoint of a model that ranks, which becomes part of the model. Its calibration and
    figures, whether it is a refit among them, go to the new checkpoint.

    **Returns:** as `train_tirgn`, with `events` in place of `validation` and `test`. What was interrupted keeps
    nothing, since a training takes minutes.

    **Raises:** ConfigError for settings of a base without its checkpoint, or of another one, and for a base that would
    be written over.
    """
    check_event_options(config, options.model_dir, base, {})
    begin, part = time.perf_counter(), None
    if base is not None:
        part = _read_base(base, config)
        graph = match_checkpoint(graph, part.metadata, base)
        config = config.replace(base=part.config)
    if config.periods == "auto":
        config = config.replace(periods=",".join(f"{period:g}" for period in find_periods(graph)) or "none")
    with lock_folder(options.model_dir):
        fit = RatesFit(graph, config, options)
        # What `epochs` = 0 stands for is known now, and is what records and checkpoint say.
        fit.config = config = config.replace(epochs=fit.epochs)
        with TrainingLogger(config.logdir, run_name=options.run_name, config=config, tracker=config.tracker) as logger:
            complete = fit.run(logger)
            if not complete:
                result = make_result(
                    config, "interrupted", epochs_trained=fit.epoch, seconds=time.perf_counter() - begin
                )
                options.on_record(events.EndRecord(result))
                return result
            model = EventModel(fit.best, None if part is None else part.model)
            metrics: dict[str, object] = {"epoch": fit.best_epoch, "validation": {"nll": fit.best_nll}}
            calibration, learnt_until = None, None
            if part is not None:
                # Figures of the whole are those of the model that ranks, as for the checkpoint that holds it alone.
                kept = {name: one for name, one in (part.metadata.metrics or {}).items() if name != "event_test"}
                metrics, calibration = kept | {"events": metrics}, part.metadata.calibration
                learnt_until = None if part.metadata.data is None else part.metadata.data.learnt_until
            path = save_model(
                options.model_dir / "tirgn_best", model, config, graph, metrics, calibration, learnt_until
            )
            options.on_record(events.CheckpointRecord(str(path)))
            report = evaluate_events(model.rates, graph, fit.index, split="test")
            # Added to what is written already, so that the model is not lost where the evaluation is broken off.
            add_metrics(path, {"event_test": report.to_dict()})
            first = report.horizons[0]
            logger.log_metrics({"test/event_skill": first.skill, "test/event_ece": first.ece}, fit.steps)
    result = make_result(
        config,
        "complete",
        epochs_trained=fit.epoch,
        best_epoch=fit.best_epoch,
        checkpoint=path,
        parameters=parameter_count(model),
        skipped_steps=fit.skipped,
        early_stopped=fit.epoch < fit.epochs,
        seconds=time.perf_counter() - begin,
    )
    result["events"] = {"valid_nll": fit.best_nll, "test": report.to_dict()}
    options.on_record(events.EndRecord(result))
    return result


class _Base(NamedTuple):
    """The model that ranks, which becomes part of an event model."""

    model: Model
    config: TrainingConfig
    metadata: CheckpointMetadata


def _read_base(path: str | Path, config: EventTrainingConfig) -> _Base:
    base = _Base(*load_model(path))
    if config.base not in (None, base.config):
        raise ConfigError(f"base: other settings than {path} was trained with, which are taken; leave base out")
    return base


class RatesFit:
    """Fits rates on the train split of a graph; `best` are those of the epoch with the best likelihood on valid."""

    def __init__(self, graph: TemporalGraph, config: EventTrainingConfig, options: RunOptions):
        self.config, self.options, self.index = config, options, ActivityIndex(graph)
        train = graph.split_snapshots("train")
        # Before the training, which a graph without one of them would make useless.
        valid, test = (evaluated_snapshots(graph, split) for split in ("valid", "test"))
        self.train = train[max(1, int(LEAST_HISTORY * len(train))) :]
        if len(self.train) == 0:
            raise DataError(f"{graph.name}: the train split has too few snapshots to learn how often events come")
        # What is learnt from ends before valid, and what selects before test.
        self.train_end, self.valid_end = int(valid[0]), int(test[0])
        places = np.linspace(0, len(valid) - 1, min(MAX_VALID, len(valid))).astype(int)
        self.valid = valid[places]
        loader_options = EventRowsOptions(HORIZONS, config.rows_per_step, config.periods_list(), config.seed)
        self.loader = EventRowsLoader(self.index, loader_options)
        self.steps_per_epoch = min(len(self.train), config.snapshots_per_epoch)
        self.epochs = config.epochs or max(LEAST_EPOCHS, -(-LEAST_STEPS // self.steps_per_epoch))
        schedule = optax.cosine_decay_schedule(config.learning_rate, self.epochs * self.steps_per_epoch)
        self.optimizer = optax.chain(optax.clip_by_global_norm(GRAD_CLIP), optax.adam(schedule))
        self.best = EventRates(graph.num_entities, graph.num_relations, config, key=jr.key(config.seed))
        self.best_nll, self.best_epoch, self.epoch, self.steps, self.skipped = float("inf"), 0, 0, 0, 0

    def run(self, logger: TrainingLogger) -> bool:
        """Train all epochs. **Returns:** False when it was stopped."""
        rates, emit = self.best, self.options.on_record
        emit(
            events.StartRecord(
                dataset=self.index.graph.describe(),
                config=self.config,
                parameters=parameter_count(rates),
                buckets=(),
                history={},
                steps_per_epoch=self.steps_per_epoch,
            )
        )
        opt_state = self.optimizer.init(eqx.filter(rates, eqx.is_inexact_array))
        step, judge = CompileCache(make_event_step(self.optimizer)), CompileCache(event_loss)
        for epoch in range(1, self.epochs + 1):
            begin = time.perf_counter()
            trained = self._train_epoch(step, rates, opt_state, epoch)
            if trained is None:
                return False
            rates, opt_state, loss = trained
            seconds = time.perf_counter() - begin
            batches = prefetch(partial(self.loader.build, end=self.valid_end), self.valid.tolist())
            nll = float(np.mean([float(judge("judge", rates, batch)) for batch in batches]))
            self.epoch, best = epoch, nll < self.best_nll
            emit(events.EpochRecord(epoch, self.epochs, loss, seconds, self.steps_per_epoch / seconds, None))
            emit(events.ValidationRecord(epoch, best, {"nll": nll}))
            logger.log_metrics({"train/loss": loss, "eval/nll": nll, "system/epoch_duration_s": seconds}, self.steps)
            if best:
                self.best, self.best_nll, self.best_epoch = rates, nll, epoch
            elif epoch - self.best_epoch >= PATIENCE:
                break
        if not self.best_epoch:
            raise DivergedError(
                f"no likelihood on valid was finite in {self.epochs} epochs; train again with a smaller --lr (now "
                f"{self.config.learning_rate:g})"
            )
        return True

    def _train_epoch(
        self, step: CompiledStep, rates: EventRates, opt_state: PyTree, epoch: int
    ) -> tuple[EventRates, PyTree, float] | None:
        """(rates, state of the optimizer, mean loss) after a pass; None when it was stopped."""
        order = np.random.default_rng((self.config.seed, epoch)).permutation(self.train)[: self.steps_per_epoch]
        skipped = SkippedSteps(MAX_SKIPPED, epoch, len(order))
        begin, losses = time.perf_counter(), list[Array]()
        build = partial(self.loader.build, end=self.train_end, epoch=epoch)
        for target, batch in zip(order.tolist(), prefetch(build, order.tolist())):
            rates, opt_state, metrics = step("step", rates, opt_state, batch)
            losses.append(metrics["loss"])
            self.steps += 1
            skipped.add(len(losses), target, metrics)
            if len(losses) % 20 == 0:
                self._report_skipped(skipped)
                speed = batch.known.weight.shape[0] * len(losses) / (time.perf_counter() - begin)
                record = events.StepRecord(epoch, len(losses), len(order), float(losses[-1]), 0, speed)
                self.options.on_record(record)
            if self.options.stop():
                return None
        self._report_skipped(skipped)
        if skipped.too_many:
            raise skipped.error("train again with a smaller --lr")
        finite = np.array(losses)
        return rates, opt_state, float(np.mean(finite[np.isfinite(finite)]))

    def _report_skipped(self, skipped: SkippedSteps) -> None:
        """Report the skipped steps. **Raises:** DivergedError for too many."""
        for number, target, metrics in skipped.read():
            moment = format_snapshot_time(self.index.graph, target)
            message = skipped.describe(number, moment, metrics)
            self.skipped += 1
            self.options.on_record(events.SkippedStepRecord(skipped.epoch, number, moment, message))
        if skipped.count > skipped.limit:
            raise skipped.error("train again with a smaller --lr")
