"""One training: steps, epochs, validation, early stopping, and going on after a break."""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from jax.sharding import Mesh

from tirgn_eqx.checkpoint.models import load_model, save_model
from tirgn_eqx.checkpoint.run_folder import numbered, prune
from tirgn_eqx.checkpoint.training_state import Progress, load_state, resumed, save_state
from tirgn_eqx.config import EvidenceTrainingConfig, RecurrentTrainingConfig
from tirgn_eqx.data.clock import clock_of
from tirgn_eqx.data.snapshot_time import moment
from tirgn_eqx.data.vocabulary import vocabulary
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.models import Model, build_model
from tirgn_eqx.runtime.meshes import Placement, for_files, made, placed
from tirgn_eqx.runtime.processes import Agreement, count, is_first, together
from tirgn_eqx.tracking.logger import device_memory_bytes
from tirgn_eqx.train.compiled import CompiledStep
from tirgn_eqx.train.data import TrainingData
from tirgn_eqx.train.non_finite import BadSteps, diagnosis, is_bad
from tirgn_eqx.train.optimizer import averaged, init_optimizer, make_optimizer, parameter_count, step_size
from tirgn_eqx.train.out_of_memory import lighter, ran_out_of_memory
from tirgn_eqx.train.precision import cast_parameters, compute_type
from tirgn_eqx.train.result import result_of
from tirgn_eqx.train.stopping import EarlyStopping
from tirgn_eqx.train.warm_start import fingerprint, warm_start

Record = dict[str, Any]
STEP_RECORD_SECONDS = 0.5


class Run:
    """One training's changing parts."""

    def __init__(self, graph, config, model_dir: Path, emit, start: Model | None = None, mesh: Mesh | None = None):
        # Settled here, so that records and checkpoints say what was used.
        precision = compute_type(config.precision)
        if isinstance(config, RecurrentTrainingConfig):
            config = config.replace(unroll=config.unroll and jax.default_backend() == "cpu")
        elif precision == "bf16":
            if config.precision == "bf16":
                raise ConfigError("precision = bf16: evidence sums intensities in f32; leave it out, or give f32")
            precision = "f32"
        config = config.replace(precision=precision)
        self.graph, self.config, self.model_dir, self.emit = graph, config, model_dir, emit
        self.logger: Any = None
        self.mesh, self.agreement, placement = mesh, Agreement(mesh), Placement(mesh)
        self.key = jr.key(config.seed)
        self.step_key = placement.key(jr.split(self.key)[1])
        self.data = TrainingData(graph, config, placement)
        self.loader = self.data.loader(config)
        if len(self.loader) == 0:
            raise DataError(
                f"{graph.name}: the train split has one snapshot, and the first is never a target; "
                "give more days, or a finer granularity (15min, hour)"
            )
        self.validate = self.data.evaluator("valid")
        self.test = lambda: self.data.evaluator("test", self.validate.programs)
        num_steps = config.epochs * len(self.loader)
        self.optimizer = make_optimizer(config, num_steps)
        self.step_size = step_size(config, num_steps)
        self.model, self.opt_state = self._begun(start)
        self.begun_from = {} if start is None else {"start": fingerprint(start)}
        self.step = CompiledStep(config, emit, self.optimizer, graph.num_entities)
        self.given_up: dict[str, Any] = {}  # settings that memory did not allow, as they are now
        self.stopping = EarlyStopping(config.patience, config.monitor)
        self.global_step, self.start_epoch, self.validated = 0, 1, -1
        self.earlier_seconds, self.begin = 0.0, time.perf_counter()
        self.measured: list[Record] = []  # metrics of the epoch's finished steps
        self.bad_steps = 0  # of earlier epochs
        self.saved_at = self.begin
        self.parameters = parameter_count(self._shapes()[0])
        emit(
            {
                "event": "start",
                "dataset": graph.describe(),
                "config": config.to_dict(),
                "parameters": self.parameters,
                "buckets": [vars(bucket) for bucket in self.loader.buckets],
                "history": self.data.report(),
                "steps_per_epoch": len(self.loader),
            }
        )

    # --- going on after a break ------------------------------------------------------------------------------

    def _described(self) -> dict[str, Any]:
        data = self.graph.describe() | {"provenance": self.graph.provenance} | clock_of(self.graph)
        return {"config": self.config.to_dict(), "data": data, **vocabulary(self.graph), **self.begun_from}

    def save_state(self, epoch: int, step: int) -> None:
        """Keep everything that the rest of the training depends on; `step`: finished steps of `epoch`."""
        names = self.measured[0] if self.measured else {}
        progress = Progress(
            epoch=epoch,
            step=step,
            global_step=self.global_step,
            validated=self.validated,
            best_value=self.stopping.best_value,
            best_epoch=self.stopping.best_epoch,
            seconds=self.seconds(),
            given_up=self.given_up,
            losses={name: np.asarray([float(m[name]) for m in self.measured]) for name in names},
            bad_steps=self.bad_steps,
        )
        model, opt_state = for_files((self.model, self.opt_state), self.graph.num_entities)
        save_state(self.model_dir, model, opt_state, progress, self._described())
        self.saved_at = time.perf_counter()

    def restore(self, force: bool = False) -> Progress:
        """Go back to where the training in `model_dir` was saved; `force`: also if it is of other data or settings."""
        self.model, self.opt_state, done = load_state(
            self.model_dir, *self._shapes(), self._described(), force=force, mesh=self.mesh
        )
        self.stopping = resumed(self.stopping, done)
        self.global_step, self.start_epoch, self.validated = done.global_step, done.epoch, done.validated
        # Of other data, by force, an epoch may have fewer steps than were done.
        steps = done.step if done.step < len(self.loader) else 0
        columns, self.bad_steps = done.losses.items(), done.bad_steps
        self.measured = [{name: values[row] for name, values in columns} for row in range(steps)]
        return done

    def resume(self, force: bool = False) -> None:
        """Go on with the training in `model_dir`."""
        done = self.restore(force)
        self.earlier_seconds, self.begin = done.seconds, time.perf_counter()
        if done.given_up:
            self._change(done.given_up)
        self.emit({"event": "resume", "epoch": done.epoch, "step": done.step, "global_step": done.global_step})

    def _change(self, settings: dict[str, Any]) -> None:
        """Take steps of another form from here on."""
        self.given_up = self.given_up | settings
        changed = self.config.replace(**self.given_up)
        self.loader = self.data.loader(changed)
        self.step = CompiledStep(changed, self.emit, self.optimizer, self.graph.num_entities)

    def step_down(self, error: BaseException) -> None:
        """After running out of memory: a lighter form of the step, from the last saved state.

        **Raises:** `error` when there is no lighter form.
        """
        now = self.config.replace(**self.given_up)
        if isinstance(now, EvidenceTrainingConfig):
            # A smaller part is another step, not the same one in pieces: that would be another training.
            questions = self.data.most_questions(self.loader)
            raise DataError(
                f"{self.graph.name}: out of memory in a step of up to {questions:,} questions; train again with a "
                f"smaller --batch-size (now {now.batch_size}) or --set max_partners (now {now.max_partners})"
            ) from error
        next_rung = lighter(now, self.data.most_questions(self.loader))
        if next_rung is None:
            raise error
        settings = {"remat": next_rung.remat, "batch_size": next_rung.batch_size}
        settings |= {"unroll": next_rung.unroll} if now.unroll else {}
        # The step that failed may have eaten the arrays that were donated to it.
        del self.model, self.opt_state
        self.restore()
        self._change(settings)
        message = "out of memory; going on with " + ", ".join(f"{name} = {value}" for name, value in settings.items())
        self.logger.log_text("out_of_memory", message, self.global_step)
        self.emit({"event": "out_of_memory", "message": message, **settings})

    def _begun(self, start: Model | None) -> tuple[Any, Any]:
        """Model and optimizer state as they begin, the model with the weights of `start`."""
        if start is not None:
            return placed(self._skeleton(start), self.mesh)
        return made(self._skeleton, self.mesh)

    def _skeleton(self, start: Model | None = None) -> tuple[Any, Any]:
        """The same on one device."""
        graph, config = self.graph, self.config
        static = graph.static if config.static_graph else None
        model = build_model(graph.num_entities, graph.num_relations, config, static, key=jr.split(self.key)[0])
        model = model if start is None else warm_start(model, start)
        model = cast_parameters(model, config.precision)
        return model, init_optimizer(self.optimizer, model)

    def _shapes(self) -> tuple[Any, Any]:
        """Their shapes, as files hold them."""
        return eqx.filter_eval_shape(self._skeleton)

    def seconds(self) -> float:
        """Time trained, earlier parts of a resumed run included."""
        return self.earlier_seconds + time.perf_counter() - self.begin

    # --- epochs ----------------------------------------------------------------------------------------------

    def epoch_within_memory(self, epoch: int, stop: Callable[[], bool]) -> bool:
        """`epoch`, and where memory runs out, again with a lighter step."""
        while True:
            try:
                return self.epoch(epoch, stop)
            except Exception as error:
                # Of several processes, this one alone may have run out.
                if count() > 1 or not ran_out_of_memory(error):
                    raise
                failed = error
            self.step_down(failed)

    def epoch(self, epoch: int, stop: Callable[[], bool]) -> bool:
        """One pass over the training snapshots, or the rest of one; False when it was stopped on its way."""
        self.step.compile(self.model, self.opt_state, self.loader, self.step_key)
        self.validate.compile(self.forecaster())
        begin = shown = time.perf_counter()
        facts, metrics = 0, self.measured
        bad = BadSteps(self.config.max_bad_steps, epoch, len(self.loader), sum(map(is_bad, metrics)))
        unseen: deque[tuple[int, int, Record]] = deque()  # steps whose figures were not looked at yet
        for done, prepared in enumerate(self.loader.epoch(epoch, len(metrics)), start=len(metrics) + 1):
            key = jr.fold_in(self.step_key, self.global_step)
            self.model, self.opt_state, measured = self.step(self.model, self.opt_state, prepared, key)
            self.global_step += 1
            facts += prepared.num_facts
            metrics.append(measured)
            unseen.append((done, prepared.target, measured))
            # Two steps back is done by now: reading it does not wait for the device.
            self._look_at(unseen, bad, waiting=2)
            now = time.perf_counter()
            if now - shown >= STEP_RECORD_SECONDS or done == len(self.loader):
                shown = now
                loss = float(metrics[max(0, done - 3)]["loss"])
                step = {"event": "step", "epoch": epoch, "step": done, "loss": loss, "facts": facts}
                rate = facts / (now - begin)
                self.emit(step | {"steps_per_epoch": len(self.loader), "facts_per_second": rate})
            stopped, due = self.agreement(stop(), self._due(done, now))
            if done < len(self.loader):
                if stopped or due:
                    self._look_at(unseen, bad)
                    self.save_state(epoch, done)
                if stopped:
                    return False
        self._look_at(unseen, bad)
        if bad.too_many:
            raise bad.error(self._diagnosis())
        self.measured, self.bad_steps = [], self.bad_steps + bad.count
        good = [m for m in metrics if not is_bad(m)]
        means = {name: float(np.mean([float(m[name]) for m in good])) for name in metrics[0]}
        seconds = time.perf_counter() - begin
        memory = device_memory_bytes()
        logged = {f"train/{name}": value for name, value in means.items()}
        logged |= {
            "train/lr": np.asarray(self.step_size(self.global_step - 1)).item(),
            "system/epoch_duration_s": seconds,
        }
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
        return True

    def _due(self, step: int, now: float) -> bool:
        """Whether the state is to be saved after a step inside an epoch."""
        every, minutes = self.config.save_every, self.config.save_minutes
        return bool((every and step % every == 0) or (minutes and now - self.saved_at >= 60 * minutes))

    def _look_at(self, unseen: "deque[tuple[int, int, Record]]", bad: BadSteps, waiting: int = 0) -> None:
        """Report the bad ones among steps, but for the last `waiting`. **Raises:** DivergedError for too many."""
        while len(unseen) > waiting:
            step, target, metrics = unseen.popleft()
            if is_bad(metrics):
                when = moment(self.graph, target)
                message, at = bad.report(step, when, metrics), self.global_step - len(unseen)
                self.logger.log_text("bad_step", message, at)
                self.emit({"event": "bad_step", "epoch": bad.epoch, "step": step, "time": when, "message": message})
                if bad.count > bad.limit:
                    raise bad.error(self._diagnosis())

    def _diagnosis(self) -> str:
        best = self.model_dir / "tirgn_best.npz"
        kept = f"{best} is that of epoch {self.stopping.best_epoch}"
        return diagnosis(self.model, self.config, kept if self.stopping.best_epoch else "there is no checkpoint yet")

    def forecaster(self) -> Model:
        """What is validated and saved: the averaged weights where an average is kept."""
        return averaged(self.model, self.opt_state)

    def save(self, name: str, epoch: int, figures: dict[str, Any] | None = None) -> None:
        metrics = {"epoch": epoch, "step": self.global_step, "validation": figures}
        path = save_model(self.model_dir / name, self.forecaster(), self.config, self.graph, metrics)
        self.emit({"event": "checkpoint", "path": str(path)})
        if self.config.keep and name == numbered(epoch) and is_first():
            prune(path, epoch, self.config.keep)

    def validation(self, epoch: int) -> dict[str, float]:
        """Validate, log, and keep the model when it is the best so far."""
        figures = self.validate(self.forecaster()).entity
        self.logger.log_metrics({f"eval/{name}": value for name, value in figures.items()}, self.global_step)
        self.stopping, best = self.stopping.update(epoch, figures[self.config.monitor])
        self.emit({"event": "validation", "epoch": epoch, "best": best, **figures})
        if best:
            self.save("tirgn_best", epoch, figures)
        return figures

    def train(self, stop: Callable[[], bool]) -> dict[str, Any]:
        """All epochs, from where the run stands, and the test of the best model."""
        config, epoch, early = self.config, self.start_epoch - 1, False
        if self.global_step == 0:
            self.save_state(1, 0)  # what running out of memory in the first step goes back to
        for epoch in range(self.start_epoch, config.epochs + 1):
            if not self.epoch_within_memory(epoch, stop):
                return self.result("interrupted", epoch - 1, False)
            last = epoch == config.epochs
            if epoch % config.eval_interval == 0 or last:
                self.validation(epoch)
                self.validated = epoch
            if config.checkpoint_interval and epoch % config.checkpoint_interval == 0:
                self.save(numbered(epoch), epoch)
            early = self.validated == epoch and not last and self.stopping.should_stop(epoch)
            if early:
                message = self.stopping.message(epoch)
                self.logger.log_text("early_stopping", message, self.global_step)
                self.emit({"event": "early_stopping", "message": message})
                break
            self.save_state(epoch + 1, 0)
            if self.agreement(stop(), False, now=True)[0] and not last:
                return self.result("interrupted", epoch, False)
        if self.validated < 0:
            self.validation(0)
        self.save("tirgn_trained", epoch)
        best = self.model_dir / "tirgn_best.npz"
        if self.stopping.best_epoch is None:  # no validation gave a number
            best = self.model_dir / "tirgn_trained.npz"
        together("checkpoints are written")
        model = placed(load_model(best)[0], self.mesh)
        validation, test = self.validate(model), self.test()(model)
        # A run that is resumed at its end comes by here again.
        self.logger.log_metrics({f"test/{k}": v for k, v in test.entity.items()}, self.global_step, once=True)
        return self.result("complete", epoch, early, best, validation, test)

    def result(self, status, epoch, early, best=None, validation=None, test=None) -> dict[str, Any]:
        """What `train_tirgn` returns."""
        return result_of(
            self.config,
            status,
            epoch=epoch,
            best_epoch=self.stopping.best_epoch,
            best_value=self.stopping.best_value,
            early_stopped=early,
            best=best,
            validation=validation,
            test=test,
            seconds=self.seconds(),
            parameters=self.parameters,
            given_up=self.given_up,
            bad_steps=self.bad_steps,
        )
