"""The records of a training run as a live display on a terminal, and as plain lines anywhere else."""

from dataclasses import dataclass
from types import TracebackType
from typing import Unpack

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from tirgn_cli import tables
from tirgn_cli.view import View, ViewOptions
from tirgn_eqx.train.events import (
    CompileRecord,
    EarlyStoppingRecord,
    EpochRecord,
    GateRecord,
    OutOfMemoryRecord,
    ResumeRecord,
    SkippedStepRecord,
    StageRecord,
    StartRecord,
    StepRecord,
    TrainingRecord,
    ValidationRecord,
)
from tirgn_eqx.tune.search import SearchRecord, TrialEndRecord, TrialRecord

SECONDS_BETWEEN_STEP_LINES = 30.0
SECONDS_BETWEEN_EPOCH_LINES = 2.0
WIDEST = 100  # columns of the live display: a longer bar says no more
SHORT = {"mrr": "MRR", "hits_at_1": "H@1", "hits_at_3": "H@3", "hits_at_10": "H@10", "nll": "NLL"}


@dataclass
class Figures:
    """The latest value of everything that the display shows."""

    epochs: int = 0
    epoch: int = 0
    step: int = 0
    steps_per_epoch: int = 0
    loss: float | None = None
    facts_per_second: float | None = None
    memory: int | None = None
    monitor: str = "mrr"
    validation: ValidationRecord | None = None
    best: ValidationRecord | None = None
    # ETA: measured from the first step on, so that the first compilation does not count.
    started: float | None = None
    steps_before: int = 0

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    @property
    def steps_done(self) -> int:
        return max(self.epoch - 1, 0) * self.steps_per_epoch + self.step

    def eta(self, now: float) -> float | None:
        """Seconds until the last epoch ends, early stopping aside; None before the first step."""
        # Without the steps before a resumption, which took none of the time that is measured here.
        done = self.steps_done - self.steps_before
        if self.started is None or done <= 0:
            return None
        return (now - self.started) / done * (self.total_steps - self.steps_done)


class TrainingView(View[TrainingRecord]):
    """Shows the records of `train_tirgn(on_record=...)`."""

    def __init__(self, **options: Unpack[ViewOptions]):
        super().__init__(**options)
        self.figures = Figures()
        self._held, self._epoch_seconds = False, 0.0

    def __call__(self, record: TrainingRecord) -> None:
        if self._held and (self._verbose or not isinstance(record, ValidationRecord)):
            self._show_epoch()
            self._held = False
        match record:
            case StartRecord():
                self._on_start(record)
            case ResumeRecord():
                self._line(f"resumed in epoch {record.epoch} after step {record.step}")
            case StageRecord():
                self.figures = Figures()
                self._line(f"stage: {record.stage}")
            case CompileRecord() if self._verbose:
                self._line(f"compiled for bucket {record.bucket} in {tables.format_duration(record.seconds)}")
            case StepRecord():
                self._on_step(record)
            case GateRecord():
                self._on_gate(record)
            case EpochRecord():
                self._on_epoch(record)
            case ValidationRecord():
                self._on_validation(record)
            case EarlyStoppingRecord() | OutOfMemoryRecord() | SkippedStepRecord():
                self._line(record.message)
            case _:
                pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._held:
            self._show_epoch()
            self._held = False

    def _on_start(self, record: StartRecord, *, show_data: bool = True) -> None:
        config, now = record.config, self.figures
        now.monitor, now.epochs, now.steps_per_epoch = config.monitor, config.epochs, record.steps_per_epoch
        if not show_data:
            return
        self._line(tables.format_dataset(record.dataset))
        history = record.history
        if "triples" in history:
            size = history["bytes"] / 2**20
            self._line(f"evidence: {history['triples']:,} past triples of {history['pairs']:,} pairs, {size:.0f} MiB")
        elif "pairs" in history:
            mean = history.get("objects_per_pair", 0.0)
            self._line(f"history: {history['pairs']:,} (s, r) pairs, {mean:.2f} objects per pair on average")
        names = {"precision": "", "remat": "remat ", "batch_size": "batch ", "history_len": "window ", "seed": "seed "}
        settings = config.to_dict()
        said = ", ".join(f"{word}{settings[name]}" for name, word in names.items() if name in settings)
        self._line(f"model: {record.parameters:,} parameters, {said}")

    def _on_gate(self, record: GateRecord) -> None:
        now = self._clock()
        if record.step == record.steps or now - self._last_line >= SECONDS_BETWEEN_STEP_LINES:
            self._last_line = now
            self._line(f"gate: step {record.step}/{record.steps}", f"loss {record.loss:.4f}")

    def _on_step(self, record: StepRecord) -> None:
        now, figures = self._clock(), self.figures
        figures.epoch, figures.step, figures.steps_per_epoch = record.epoch, record.step, record.steps_per_epoch
        figures.loss, figures.facts_per_second = record.loss, record.facts_per_second
        if figures.started is None:
            figures.started, figures.steps_before = now, figures.steps_done
        if self._live is None and now - self._last_line >= SECONDS_BETWEEN_STEP_LINES:
            self._last_line = now
            self._line(*self._position(), *self._speed(now))

    def _on_epoch(self, record: EpochRecord) -> None:
        figures = self.figures
        figures.epoch, figures.epochs, figures.step = record.epoch, record.epochs, figures.steps_per_epoch
        figures.loss, figures.facts_per_second, figures.memory = record.loss, record.facts_per_second, record.memory
        self._epoch_seconds = record.seconds
        # Held until it is known whether a validation follows, which then shares the line.
        self._held = self._live is None

    def _show_epoch(self) -> None:
        """A line about the last epoch; short ones are not worth one each, but for the first and the last."""
        figures, now = self.figures, self._clock()
        if not (self._verbose or figures.epoch in (1, figures.epochs)):
            if now - self._last_line < SECONDS_BETWEEN_EPOCH_LINES:
                return
        self._last_line = now
        self._line(*self._epoch(), tables.format_duration(self._epoch_seconds), *self._speed(now))

    def _on_validation(self, record: ValidationRecord) -> None:
        self.figures.validation = record
        if record.best:
            self.figures.best = record
        if self._verbose:
            self._line(_figures(record), *self._best())
        elif self._live is None or record.best:
            # This line is about the epoch as well.
            self._held, self._last_line = False, self._clock()
            eta, monitor = self.figures.eta(self._last_line), self.figures.monitor
            figure = f"valid {SHORT[monitor]} {record.metrics[monitor]:.4f}"
            self._line(
                *self._epoch(), figure, *self._best(), "" if eta is None else f"ETA {tables.format_duration(eta)}"
            )

    def _epoch(self) -> list[str]:
        figures = self.figures
        loss = "" if figures.loss is None else f"loss {figures.loss:.4f}"
        return [f"epoch {figures.epoch}/{figures.epochs}", loss]

    def _best(self) -> list[str]:
        """Whether the last validation is the best so far, or which one is."""
        last, best, monitor = self.figures.validation, self.figures.best, self.figures.monitor
        if best is last:
            return ["best"]
        return [f"best {best.metrics[monitor]:.4f} at {best.epoch}"] if best else []

    def _position(self) -> list[str]:
        """Epoch, step and loss."""
        now = self.figures
        loss = "" if now.loss is None else f"loss {now.loss:.4f}"
        return [f"epoch {now.epoch}/{now.epochs}", f"step {now.step}/{now.steps_per_epoch}", loss]

    def _speed(self, now: float) -> list[str]:
        """Facts per second, time to go and device memory, as far as they are known."""
        figures, eta = self.figures, self.figures.eta(now)
        rate, memory = figures.facts_per_second, figures.memory
        return [
            "" if rate is None else f"{rate:,.0f} facts/s",
            "" if eta is None else f"ETA {tables.format_duration(eta)}",
            "" if memory is None else f"memory {tables.format_size(memory)}",
        ]

    def _render(self) -> RenderableType:
        """The live display: a bar, the running figures, and the last and best validation."""
        now = self.figures
        if not now.epochs:
            return Text("reading the data")
        epoch, *rest = self._position()
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(no_wrap=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True, justify="right")
        share = now.steps_done / now.total_steps if now.total_steps else 0.0
        bar.add_row(
            Text(epoch, "bold"),
            tables.make_bar(now.total_steps, now.steps_done),
            f"{share:.0%}",
        )
        figures = [part for part in (*rest, *self._speed(self._clock())) if part]
        if now.started is None:
            figures = ["preparing and compiling"]
        rows: list[RenderableType] = [bar, Text("  ".join(figures))]
        if now.validation:
            rows.append(Text(_figures(now.validation)))
            rows += [Text(part, "dim") for part in self._best()]
        return Constrain(Group(*rows), WIDEST)


def _figures(record: ValidationRecord) -> str:
    """A validation in full."""
    parts = [f"{short} {record.metrics[name]:.4f}" for name, short in SHORT.items() if name in record.metrics]
    return "  ".join([f"valid {record.epoch}", *parts])


class TuneView(TrainingView):
    """Shows the records of `tune(on_record=...)`: trial after trial, each as a training; the data, and what else is the
    same for all of them, once."""

    _begun = False

    def __call__(self, record: SearchRecord) -> None:
        match record:
            case TrialRecord():
                self._on_trial(record)
            case TrialEndRecord():
                mrr = "" if record.mrr is None else f"MRR {record.mrr:.4f}"
                self._line(f"trial {record.number} {record.state}", mrr)
            case _:
                super().__call__(record)

    def _on_start(self, record: StartRecord, *, show_data: bool = True) -> None:
        super()._on_start(record, show_data=show_data and (self._verbose or not self._begun))
        self._begun = True

    def _on_trial(self, record: TrialRecord) -> None:
        self.figures = Figures()
        params = ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in record.params.items()
        )
        again = "resumed: " if record.resumed else ""
        self._line(f"trial {record.number}: {again}{params}")
