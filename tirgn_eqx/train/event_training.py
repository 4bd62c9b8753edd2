"""Training the rates of events: a pass over snapshots whose future is known, selected by likelihood on valid."""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import equinox as eqx
import jax.random as jr
import numpy as np
import optax
from beartype import beartype
from jaxtyping import Array, PyTree, jaxtyped

from tirgn_eqx.checkpoint.models import load_model, save_model
from tirgn_eqx.checkpoint.run_folder import lock_folder
from tirgn_eqx.config import EventTrainingConfig, MixtureTrainingConfig, ModelTrainingConfig
from tirgn_eqx.data.batches.event_rows import EventRowsLoader, EventRowsOptions
from tirgn_eqx.data.batches.prefetch import prefetch
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.activity import ActivityIndex, find_periods
from tirgn_eqx.data.vocabulary import match_checkpoint
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.event_scores import HORIZONS, evaluate_events
from tirgn_eqx.models import EventModel, EventRates
from tirgn_eqx.models.event_rates import event_loss
from tirgn_eqx.runtime.compiling import CompileCache
from tirgn_eqx.tracking.logger import TrainingLogger
from tirgn_eqx.train import events
from tirgn_eqx.train.events import TrainingResult, make_result
from tirgn_eqx.train.optimizer import parameter_count
from tirgn_eqx.train.recovery import Metrics, update_if_finite
from tirgn_eqx.train.single import RunOptions
from tirgn_eqx.types import EventBatch

MAX_VALID = 32  # snapshots of valid that a validation looks at, spread evenly
LEAST_HISTORY = 0.1  # of the train split that comes before its first target
GRAD_CLIP = 1.0
LEAST_EPOCHS, LEAST_STEPS = 6, 1200  # where `epochs` is 0

EventStep = Callable[[EventRates, PyTree, EventBatch], tuple[EventRates, PyTree, Metrics]]


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

    **Arguments:** `base`: the checkpoint of a model that ranks, which becomes part of the model.

    **Returns:** as `train_tirgn`, with `events` in place of `validation` and `test`.
    """
    begin, ranking = time.perf_counter(), None
    if base is not None:
        ranking, base_config, metadata = load_model(base)
        assert isinstance(base_config, ModelTrainingConfig | MixtureTrainingConfig)
        graph = match_checkpoint(graph, metadata, base)
        config = config.replace(base=base_config)
    if config.periods == "auto":
        config = config.replace(periods=",".join(f"{period:g}" for period in find_periods(graph)) or "none")
    with lock_folder(options.model_dir):
        fit = RatesFit(graph, config, options)
        with TrainingLogger(config.logdir, run_name=options.run_name, config=config, tracker=config.tracker) as logger:
            complete = fit.run(logger)
            if not complete:
                return make_result(config, "interrupted", epochs_trained=fit.epoch, seconds=time.perf_counter() - begin)
            model = EventModel(fit.best, ranking)
            metrics = {"epoch": fit.best_epoch, "validation": {"nll": fit.best_nll}}
            path = save_model(options.model_dir / "tirgn_best", model, config, graph, metrics)
            options.on_record(events.CheckpointRecord(str(path)))
            report = evaluate_events(model.rates, graph, fit.index, split="test")
            first = report.horizons[0]
            logger.log_metrics({"test/event_skill": first.skill, "test/event_ece": first.ece}, fit.steps)
    result = make_result(
        config,
        "complete",
        epochs_trained=fit.epoch,
        best_epoch=fit.best_epoch,
        checkpoint=path,
        parameters=parameter_count(model),
        seconds=time.perf_counter() - begin,
    )
    result["events"] = {"valid_nll": fit.best_nll, "test": report.to_dict()}
    options.on_record(events.EndRecord(result))
    return result


class RatesFit:
    """Fits rates on the train split of a graph; `best` are those of the epoch with the best likelihood on valid."""

    def __init__(self, graph: TemporalGraph, config: EventTrainingConfig, options: RunOptions):
        self.config, self.options, self.index = config, options, ActivityIndex(graph)
        train, valid, test = (graph.split_snapshots(split) for split in ("train", "valid", "test"))
        self.train = train[max(1, int(LEAST_HISTORY * len(train))) :]
        if len(self.train) == 0:
            raise DataError(f"{graph.name}: the train split has too few snapshots to learn how often events come")
        # What is learnt from ends before valid, and what selects before test.
        self.train_end = int(valid[0]) if len(valid) else int(test[0]) if len(test) else graph.num_snapshots
        self.valid_end = int(test[0]) if len(test) else graph.num_snapshots
        places = np.linspace(0, max(len(valid) - 1, 0), min(MAX_VALID, len(valid))).astype(int)
        self.valid = valid[places]
        loader_options = EventRowsOptions(HORIZONS, config.rows_per_step, config.periods_list(), config.seed)
        self.loader = EventRowsLoader(self.index, loader_options)
        self.steps_per_epoch = min(len(self.train), config.snapshots_per_epoch)
        self.epochs = config.epochs or max(LEAST_EPOCHS, -(-LEAST_STEPS // self.steps_per_epoch))
        schedule = optax.cosine_decay_schedule(config.learning_rate, self.epochs * self.steps_per_epoch)
        self.optimizer = optax.chain(optax.clip_by_global_norm(GRAD_CLIP), optax.adam(schedule))
        self.best = EventRates(graph.num_entities, graph.num_relations, config, key=jr.key(config.seed))
        self.best_nll, self.best_epoch, self.epoch, self.steps = float("inf"), 0, 0, 0

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
            begin, losses = time.perf_counter(), list[Array]()
            order = np.random.default_rng((self.config.seed, epoch)).permutation(self.train)[: self.steps_per_epoch]
            build = partial(self.loader.build, end=self.train_end, epoch=epoch)
            for batch in prefetch(build, order.tolist()):
                rates, opt_state, metrics = step("step", rates, opt_state, batch)
                losses.append(metrics["loss"])
                self.steps += 1
                if len(losses) % 20 == 0:
                    speed = batch.known.weight.shape[0] * len(losses) / (time.perf_counter() - begin)
                    emit(events.StepRecord(epoch, len(losses), len(order), float(losses[-1]), 0, speed))
                if self.options.stop():
                    return False
            loss, seconds = float(np.mean(np.array(losses))), time.perf_counter() - begin
            batches = prefetch(partial(self.loader.build, end=self.valid_end), self.valid.tolist())
            nll = float(np.mean([float(judge("judge", rates, batch)) for batch in batches]))
            self.epoch, best = epoch, nll < self.best_nll
            emit(events.EpochRecord(epoch, self.epochs, loss, seconds, len(losses) / seconds, None))
            emit(events.ValidationRecord(epoch, best, {"nll": nll}))
            logger.log_metrics({"train/loss": loss, "eval/nll": nll, "system/epoch_duration_s": seconds}, self.steps)
            if best:
                self.best, self.best_nll, self.best_epoch = rates, nll, epoch
        return True
