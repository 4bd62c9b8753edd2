"""What a training shows: plain lines, or a live display on a terminal."""

import io
from dataclasses import replace

from rich.console import Console

from tirgn_cli.progress import SECONDS_BETWEEN_EPOCH_LINES, SECONDS_BETWEEN_STEP_LINES, TrainingView
from tirgn_eqx import TiRGNTrainingConfig
from tirgn_eqx.train.events import (
    CheckpointRecord,
    CompileRecord,
    EarlyStoppingRecord,
    EndRecord,
    EpochRecord,
    StartRecord,
    StepRecord,
    ValidationRecord,
)

DATASET = {"name": "tiny", "sha256": "0" * 64, "facts": 1234, "entities": 6, "relations": 2, "snapshots": 10}
CONFIG = TiRGNTrainingConfig(epochs=4, precision="f32", batch_size=64, history_len=5, seed=3)
START = StartRecord(
    dataset=DATASET,
    config=CONFIG,
    parameters=1500,
    buckets=[],
    history={"pairs": 12, "objects_per_pair": 1.5},
    steps_per_epoch=10,
)
VALIDATION = {"mrr": 0.5, "hits_at_1": 0.25, "hits_at_3": 0.5, "hits_at_10": 1.0, "nll": 2.0}


def step(epoch: int, number: int) -> StepRecord:
    return StepRecord(epoch, number, steps_per_epoch=10, loss=3.25, facts=100, facts_per_second=5000.0)


def epoch(number: int, epochs: int = 4) -> EpochRecord:
    return EpochRecord(number, epochs, loss=3.0, seconds=20.0, facts_per_second=6000.0, memory=3 * 2**30)


def validation(number: int, best: bool) -> ValidationRecord:
    return ValidationRecord(number, best, VALIDATION)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines():
    clock, console = Clock(), Console(file=io.StringIO(), width=40)
    with TrainingView(console=console, clock=clock) as view:
        view(START)
        view(CompileRecord(8, 2.0))
        view(step(1, 1))
        clock.now = 9.0
        view(step(1, 10))
        view(epoch(1))
        view(validation(1, best=True))
        view(CheckpointRecord("tirgn_best.npz"))
        clock.now = 10.0
        view(step(2, 10))
        view(epoch(2))
        view(validation(2, best=False))
        view(epoch(3))
        view(EarlyStoppingRecord("Early stopping at epoch 2, best MRR 0.5000 at epoch 1"))
        view(EndRecord({"status": "complete"}))
    assert console.file.getvalue().splitlines() == [
        "tiny: 1,234 facts, 6 entities, 2 relations, 10 snapshots, sha256 000000000000",
        "history: 12 (s, r) pairs, 1.50 objects per pair on average",
        "model: 1,500 parameters, f32, remat dots, batch 64, window 5, seed 3",
        "epoch 1/4  loss 3.0000  valid MRR 0.5000  best  ETA 30.0 s",
        "epoch 2/4  loss 3.0000  valid MRR 0.5000  best 0.5000 at 1  ETA 10.5 s",
        "Early stopping at epoch 2, best MRR 0.5000 at epoch 1",
    ]


def test_verbose_lines():
    clock, console = Clock(), Console(file=io.StringIO(), width=40)
    with TrainingView(console=console, clock=clock, verbose=True) as view:
        view(START)
        view(CompileRecord(8, 2.0))
        view(epoch(1))
        view(validation(1, best=True))
        view(epoch(2))
    figures = "MRR 0.5000  H@1 0.2500  H@3 0.5000  H@10 1.0000  NLL 2.0000"
    assert console.file.getvalue().splitlines()[3:] == [
        "compiled for bucket 8 in 2.0 s",
        "epoch 1/4  loss 3.0000  20.0 s  6,000 facts/s  memory 3.0 GiB",
        f"valid 1  {figures}  best",
        "epoch 2/4  loss 3.0000  20.0 s  6,000 facts/s  memory 3.0 GiB",
    ]


def test_short_epochs_share_a_line():
    clock, console = Clock(), Console(file=io.StringIO())
    with TrainingView(console=console, clock=clock) as view:
        view(replace(START, config=CONFIG.replace(epochs=9)))
        for number in range(1, 10):
            clock.now += SECONDS_BETWEEN_EPOCH_LINES / 2.9
            view(epoch(number, epochs=9))
    shown = [line.split()[1] for line in console.file.getvalue().splitlines() if line.startswith("epoch")]
    assert shown == ["1/9", "4/9", "7/9", "9/9"]


def test_a_long_epoch_is_not_silent():
    clock, console = Clock(), Console(file=io.StringIO())
    with TrainingView(console=console, clock=clock) as view:
        view(START)
        before = len(console.file.getvalue().splitlines())
        for number in range(1, 9):
            clock.now += SECONDS_BETWEEN_STEP_LINES / 4
            view(step(1, number))
    lines = console.file.getvalue().splitlines()[before:]
    assert lines == [
        "epoch 1/4  step 4/10  loss 3.2500  5,000 facts/s  ETA 0:04:30",
        "epoch 1/4  step 8/10  loss 3.2500  5,000 facts/s  ETA 0:04:00",
    ]


def test_quiet_shows_nothing():
    console = Console(file=io.StringIO(), force_terminal=True)
    with TrainingView(quiet=True, console=console) as view:
        for record in (START, step(1, 1), epoch(1), validation(1, best=True)):
            view(record)
    assert console.file.getvalue() == ""


def test_live_display():
    clock = Clock()
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    with TrainingView(console=console, clock=clock) as view:
        view(START)
        assert "preparing and compiling" in rendered(view)
        view(step(2, 1))
        clock.now = 9.0
        view(step(2, 10))
        view(epoch(2))
        view(validation(1, best=True))
        view(validation(2, best=False))
        lines = rendered(view).splitlines()
    assert lines[0].startswith("epoch 2/4 ") and lines[0].rstrip().endswith("50%")
    assert lines[1].rstrip() == "step 10/10  loss 3.0000  6,000 facts/s  ETA 20.0 s  memory 3.0 GiB"
    assert lines[2].startswith("valid 2  MRR 0.5000")
    assert lines[3].startswith("best 0.5000 at 1")
    assert "valid MRR 0.5000  best" in console.file.getvalue()


def rendered(view: TrainingView) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(view._render())
    return console.file.getvalue()
