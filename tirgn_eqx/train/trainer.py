"""The training loop of one model."""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false

import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import equinox as eqx
import jax.random as jr
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from tirgn_eqx.checkpoint.metadata import Settings, TrainingIdentity
from tirgn_eqx.checkpoint.models import load_model, save_model
from tirgn_eqx.checkpoint.run_folder import epoch_name, prune_checkpoints
from tirgn_eqx.config import ModelTrainingConfig
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.times import format_snapshot_time
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.results import Evaluation
from tirgn_eqx.models import Model, build_model
from tirgn_eqx.runtime.meshes import Placement, made, placed
from tirgn_eqx.runtime.processes import Agreement, barrier, count, is_first
from tirgn_eqx.tracking.logger import NullLogger, TrainingLogger, device_memory_bytes
from tirgn_eqx.train import events
from tirgn_eqx.train.compiled_step import AnyPrepared, CompiledStep
from tirgn_eqx.train.data import Loader
from tirgn_eqx.train.events import OnRecord, Stop, TrainingResult, make_result
from tirgn_eqx.train.families import resolve_config, training_family
from tirgn_eqx.train.optimizer import init_optimizer, learning_rate_schedule, make_optimizer, parameter_count
from tirgn_eqx.train.precision import cast_parameters
from tirgn_eqx.train.recovery import (
    HostMetrics,
    SkippedSteps,
    describe_divergence,
    is_out_of_memory,
    is_skipped,
)
from tirgn_eqx.train.state import TrainState, initial_stopping, load_state, save_state
from tirgn_eqx.train.warm_start import fingerprint, warm_start

STEP_RECORD_SECONDS = 0.5  # between two `StepRecord`s
READ_BEHIND = 2  # steps: by then a step has finished, and reading its metrics does not wait for the device


class Trainer:
    """Trains one model on one graph. All that changes is in `state`; the rest is made once.

    **Arguments:** `model_dir`: folder of checkpoints and of the training state; `start`: a model whose weights it
    begins with; `mesh`: the devices; `select`: validate, and keep the best model, instead of the last one.

    **Raises:** ConfigError for impossible settings; DataError for a graph without a training target.
    """

    def __init__(
        self,
        graph: TemporalGraph,
        config: ModelTrainingConfig,
        model_dir: Path,
        on_record: OnRecord,
        start: Model | None = None,
        mesh: Mesh | None = None,
        select: bool = True,
    ):
        self.graph, self.model_dir, self.on_record = graph, model_dir, on_record
        self.config, self.family = resolve_config(config, graph), training_family(config)
        config = self.config
        self.logger: TrainingLogger | NullLogger = NullLogger()
        self.mesh, self.agreement, placement = mesh, Agreement(mesh), Placement(mesh)
        self.init_key, step_key = jr.split(jr.key(config.seed))
        self.step_key = placement.key(step_key)
        self.data = self.family.data(graph, config, placement)
        self.loader: Loader = self.data.loader(config)
        if len(self.loader) == 0:
            raise DataError(
                f"{graph.name}: the train split has one snapshot, and the first is never a target; "
                "give more days, or a finer granularity (15min, hour)"
            )
        self.validator = self.data.evaluator("valid") if select else None
        num_steps = config.epochs * len(self.loader)
        self.optimizer = make_optimizer(config, num_steps)
        self.learning_rate = learning_rate_schedule(config, num_steps)
        self.step = CompiledStep(config, on_record, self.optimizer, graph.num_entities)
        if start is None:
            model, opt_state = made(self._initialize, mesh)
        else:
            model, opt_state = placed(self._initialize(start), mesh)
        self.state = TrainState(model, opt_state, initial_stopping(config))
        self.identity = TrainingIdentity.of(graph, config, None if start is None else fingerprint(start))
        # By shapes without a mesh: the rows that pad a split table are no parameters.
        self.parameters = parameter_count(self._shapes()[0])
        self.earlier_seconds, self.began = 0.0, time.perf_counter()
        self.saved_at = self.began
        on_record(
            events.StartRecord(
                dataset=graph.describe(),
                config=config,
                parameters=self.parameters,
                buckets=self.loader.buckets,
                history=self.data.report(),
                steps_per_epoch=len(self.loader),
            )
        )

    def _initialize(self, start: Model | None = None) -> tuple[Model, PyTree]:
        """Model and optimizer state on one device, with random weights or those of `start`."""
        graph, config = self.graph, self.config
        model = build_model(graph.num_entities, graph.num_relations, config, graph.static, key=self.init_key)
        model = cast_parameters(model if start is None else warm_start(model, start), config.precision)
        return model, init_optimizer(self.optimizer, model)

    def _shapes(self) -> tuple[PyTree, PyTree]:
        return eqx.filter_eval_shape(self._initialize)

    def seconds(self) -> float:
        """Time trained, with the earlier parts of a resumed training."""
        return self.earlier_seconds + time.perf_counter() - self.began

    # --- the loop ------------------------------------------------------------------------------------------------

    def train(self, stop: Stop) -> TrainingResult:
        """Train all epochs from where the state stands, and test the best model."""
        config, early_stopped = self.config, False
        last_epoch = self.state.epoch - 1
        if self.state.global_step == 0:
            self.save_state()  # what running out of memory in the first step goes back to
        for epoch in range(self.state.epoch, config.epochs + 1):
            last_epoch, is_last = epoch, epoch == config.epochs
            if not self.run_epoch_within_memory(stop):
                return self._result("interrupted", epoch - 1)
            if epoch % config.eval_interval == 0 or is_last:
                self.validate(epoch)
            if config.checkpoint_interval and epoch % config.checkpoint_interval == 0:
                path = self.save_checkpoint(epoch_name(epoch), epoch)
                if config.keep and is_first():
                    prune_checkpoints(path, epoch, config.keep)
            early_stopped = (
                self.state.last_validated == epoch and not is_last and self.state.stopping.should_stop(epoch)
            )
            if early_stopped:
                message = self.state.stopping.message(epoch)
                self.logger.log_text("early_stopping", message, self.state.global_step)
                self.on_record(events.EarlyStoppingRecord(message))
                break
            # After the validation, whose outcome is part of the state.
            self.save_state()
            if self.agreement(stop(), False, now=True)[0] and not is_last:
                return self._result("interrupted", epoch)
        return self._finish(last_epoch, early_stopped)

    def run_epoch_within_memory(self, stop: Stop) -> bool:
        """`run_epoch`, repeated from the last saved state with a cheaper step when memory runs out."""
        while True:
            try:
                return self.run_epoch(stop)
            except Exception as error:
                # One of several processes cannot change its step alone.
                if count() > 1 or not is_out_of_memory(error):
                    raise
                failed = error
            self.use_cheaper_step(failed)

    def run_epoch(self, stop: Stop) -> bool:
        """One pass over the training snapshots, or the rest of one; False when `stop` ended it early."""
        self.step.compile(self.state.model, self.state.opt_state, self.loader, self.step_key)
        if self.validator is not None:
            self.validator.compile(self.state.forecaster())
        epoch, num_steps, metrics = self.state.epoch, len(self.loader), list(self.state.epoch_metrics)
        skipped = SkippedSteps(self.config.max_skipped_steps, epoch, num_steps, sum(map(is_skipped, metrics)))
        facts, begin = 0, time.perf_counter()
        shown = begin
        for done, prepared in enumerate(self.loader.epoch(epoch, len(metrics)), start=len(metrics) + 1):
            metrics.append(self._take_step(prepared))
            facts += prepared.num_facts
            skipped.add(done, prepared.target, metrics[-1])
            self._report_skipped(skipped, waiting=READ_BEHIND)
            now = time.perf_counter()
            if now - shown >= STEP_RECORD_SECONDS or done == num_steps:
                # The loss of a step that has finished: reading the newest one would wait for the device.
                shown, loss = now, float(metrics[max(0, done - 1 - READ_BEHIND)]["loss"])
                self.on_record(events.StepRecord(epoch, done, num_steps, loss, facts, facts / (now - begin)))
            # All processes decide alike after the same step; one alone would leave the others waiting in a collective.
            stopped, due = self.agreement(stop(), self._is_save_due(done, now))
            if (stopped or due) and done < num_steps:
                self._report_skipped(skipped)
                self.state = replace(self.state, epoch_metrics=tuple(metrics))
                self.save_state()
                if stopped:
                    return False
        self._report_skipped(skipped)
        # That an epoch had nothing but skipped steps is known only when all of them are read.
        if skipped.too_many:
            raise skipped.error(self._divergence())
        self.state = replace(
            self.state, epoch=epoch + 1, epoch_metrics=(), skipped_steps=self.state.skipped_steps + skipped.count
        )
        self._report_epoch(epoch, metrics, facts, time.perf_counter() - begin)
        return True

    def _take_step(self, prepared: AnyPrepared) -> HostMetrics:
        # By the number of the step, so that a resumed training draws the same dropout.
        key = jr.fold_in(self.step_key, self.state.global_step)
        model, opt_state, metrics = self.step(self.state.model, self.state.opt_state, prepared, key)
        self.state = replace(self.state, model=model, opt_state=opt_state, global_step=self.state.global_step + 1)
        return metrics

    def _is_save_due(self, step: int, now: float) -> bool:
        every, minutes = self.config.save_every, self.config.save_minutes
        return bool((every and step % every == 0) or (minutes and now - self.saved_at >= 60 * minutes))

    def _report_epoch(self, epoch: int, metrics: list[HostMetrics], facts: int, seconds: float) -> None:
        # One NaN would make the mean of the epoch NaN.
        finite = [step for step in metrics if not is_skipped(step)]
        means = {name: float(np.mean([float(step[name]) for step in finite])) for name in metrics[0]}
        memory, step = device_memory_bytes(), self.state.global_step
        logged = {f"train/{name}": value for name, value in means.items()}
        # A schedule takes the number of steps done before: the first step has the rate of 0.
        logged["train/lr"] = np.asarray(self.learning_rate(step - 1)).item()
        logged["system/epoch_duration_s"] = seconds
        if memory is not None:
            logged["system/vram_used_mb"] = memory / 2**20
        self.logger.log_metrics(logged, step)
        self.on_record(events.EpochRecord(epoch, self.config.epochs, means["loss"], seconds, facts / seconds, memory))

    # --- validation, checkpoints, and the end --------------------------------------------------------------------

    def validate(self, epoch: int) -> None:
        """Validate the model, where models are selected, and save it as the best one when it is."""
        if self.validator is None:
            return
        figures = self.validator(self.state.forecaster()).entity
        self.logger.log_metrics({f"eval/{name}": value for name, value in figures.items()}, self.state.global_step)
        stopping, best = self.state.stopping.update(epoch, figures[self.config.monitor])
        best_mrr = figures["mrr"] if best else self.state.best_mrr
        self.state = replace(self.state, stopping=stopping, best_mrr=best_mrr, last_validated=epoch)
        self.on_record(events.ValidationRecord(epoch, best, figures))
        if best:
            self.save_checkpoint("tirgn_best", epoch, figures)

    def save_checkpoint(self, name: str, epoch: int, validation: dict[str, float] | None = None) -> Path:
        """Write the model to `model_dir` with the figures of its validation; returns the path."""
        metrics = {"epoch": epoch, "step": self.state.global_step, "validation": validation}
        path = save_model(self.model_dir / name, self.state.forecaster(), self.config, self.graph, metrics)
        self.on_record(events.CheckpointRecord(str(path)))
        return path

    def _finish(self, epoch: int, early_stopped: bool) -> TrainingResult:
        """Save the last model, and evaluate the best one on the valid and test splits."""
        if self.state.last_validated < 0:
            self.validate(0)
        self.save_checkpoint("tirgn_trained", epoch)
        # Without a finite validation, or any, there is no best model.
        name = "tirgn_trained" if self.state.stopping.best_epoch is None else "tirgn_best"
        # The other processes read what the first one writes.
        barrier("checkpoints are written")
        path = self.model_dir / f"{name}.npz"
        # The best model may be of an earlier epoch, and then exists in its file alone.
        model = placed(load_model(path)[0], self.mesh)
        validator = self.validator
        validation = None if validator is None else validator(model)
        test = self.data.evaluator("test", None if validator is None else validator.steps)(model)
        # Resuming a finished training reaches this line again; log the test figures once.
        figures = {f"test/{name}": value for name, value in test.entity.items()}
        self.logger.log_metrics(figures, self.state.global_step, once=True)
        return self._result("complete", epoch, early_stopped, path, validation, test)

    def _result(
        self,
        status: Literal["complete", "interrupted"],
        epochs_trained: int,
        early_stopped: bool = False,
        checkpoint: Path | None = None,
        validation: Evaluation | None = None,
        test: Evaluation | None = None,
    ) -> TrainingResult:
        return make_result(
            self.config,
            status,
            epochs_trained=epochs_trained,
            early_stopped=early_stopped,
            checkpoint=checkpoint,
            validation=validation,
            test=test,
            best_epoch=self.state.stopping.best_epoch,
            best_mrr=self.state.best_mrr,
            seconds=self.seconds(),
            parameters=self.parameters,
            oom_overrides=self.state.oom_overrides,
            skipped_steps=self.state.skipped_steps,
        )

    # --- recovery ------------------------------------------------------------------------------------------------

    def save_state(self) -> None:
        """Save all that the rest of the training depends on."""
        save_state(self.model_dir, self.state, self.seconds(), self.identity)
        self.saved_at = time.perf_counter()

    def restore(self, force: bool = False) -> float:
        """Go back to the saved state in `model_dir`, and return the seconds trained until then; `force`: also when it
        belongs to other data or settings."""
        self.state, seconds = load_state(
            self.model_dir,
            self._shapes(),
            self.config,
            self.identity,
            len(self.loader),
            force=force,
            mesh=self.mesh,
        )
        return seconds

    def resume(self, force: bool = False) -> None:
        """Continue the training in `model_dir`."""
        self.earlier_seconds, self.began = self.restore(force), time.perf_counter()
        if self.state.oom_overrides:
            self._override(self.state.oom_overrides)
        state = self.state
        self.on_record(events.ResumeRecord(state.epoch, len(state.epoch_metrics), state.global_step))

    def use_cheaper_step(self, error: BaseException) -> None:
        """After running out of memory, continue from the last saved state with a step that needs less of it.

        **Raises:** `error`, or another one that says what to do, when there is no such step.
        """
        before = self.state.oom_overrides
        queries = self.data.most_queries(self.loader)
        # From the settings of the step that failed, earlier overrides included.
        changes = self.family.oom_overrides(self.config.replace(**before), queries, self.graph.name, error)
        # The failed step may have invalidated its donated buffers; free what is left before loading others.
        del self.state
        self.restore()
        # The restored state may be older than some of the overrides, so all are set again.
        self._override(before | changes)
        message = "out of memory; going on with " + ", ".join(f"{name} = {value}" for name, value in changes.items())
        self.logger.log_text("out_of_memory", message, self.state.global_step)
        self.on_record(events.OutOfMemoryRecord(message, changes))

    def _override(self, settings: Settings) -> None:
        """Take steps with these settings instead of those of `config` from here on."""
        self.state = replace(self.state, oom_overrides=settings)
        changed = self.config.replace(**settings)
        self.loader = self.data.loader(changed)
        self.step = CompiledStep(changed, self.on_record, self.optimizer, self.graph.num_entities)

    def _report_skipped(self, skipped: SkippedSteps, waiting: int = 0) -> None:
        """Report the skipped steps but for the last `waiting`. **Raises:** DivergedError for too many."""
        for step, target, metrics in skipped.read(waiting):
            time_of_target = format_snapshot_time(self.graph, target)
            message = skipped.describe(step, time_of_target, metrics)
            # Logged at its own step: `unread` later ones have been started since.
            self.logger.log_text("skipped_step", message, self.state.global_step - skipped.unread)
            self.on_record(events.SkippedStepRecord(skipped.epoch, step, time_of_target, message))
            if skipped.count > skipped.limit:
                raise skipped.error(self._divergence())

    def _divergence(self) -> str:
        best = self.state.stopping.best_epoch
        kept = f"{self.model_dir / 'tirgn_best.npz'} is that of epoch {best}" if best else "there is no checkpoint yet"
        return describe_divergence(self.state.model, self.config, kept)
