"""Trainings as the files in their folders tell them: checkpoint, training state, logs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tirgn_eqx.checkpoint.files import load_checkpoint
from tirgn_eqx.checkpoint.run_folder import TRAIN_LOCK
from tirgn_eqx.config import flatten, resumable_settings
from tirgn_eqx.errors import CheckpointError, shown
from tirgn_eqx.report.documents import (
    CheckpointSummary,
    DatasetSummary,
    RankMetrics,
    TrainingStateSummary,
    check_document,
    to_finite,
)
from tirgn_eqx.report.measure import Measurements
from tirgn_eqx.storage.locks import is_locked
from tirgn_eqx.storage.untrusted import parse_json, parse_toml, read_end

BEST, TRAINED, STATE, SETTINGS = "tirgn_best.npz", "tirgn_trained.npz", "tirgn_state.json", "config.toml"
MAX_LOG_BYTES = 256 << 20
MAX_STATE_BYTES = 16 << 20
Curve = tuple[tuple[int, float | None], ...]  # (epoch, value) by epoch; None where the value was no number


@dataclass(frozen=True)
class TrainingRun:
    """A training as its files tell it, or what was measured of a model.

    **Arguments:** `source`: the file or folder that it was read from; `checkpoint`: None where there is none;
    `metadata`: what the checkpoint, or else the training state, says; `curves`: logged values by name; `state`: None
    where there is no training state; `active`: whether a process is training it now; `missing`: what could not be
    read, a line each; `measurements`: what `measure` computed or a document of an evaluation holds.
    """

    name: str
    source: Path
    checkpoint: Path | None
    metadata: CheckpointSummary
    curves: dict[str, Curve]
    state: TrainingStateSummary | None
    active: bool
    missing: tuple[str, ...]
    measurements: Measurements | None = None

    @property
    def config(self) -> dict[str, object]:
        """The settings by name."""
        return self.metadata.config

    @property
    def data(self) -> DatasetSummary:
        """What the model was trained or evaluated on."""
        return self.metadata.data

    @property
    def best_epoch(self) -> int | None:
        """The epoch that the checkpoint was written after."""
        metrics = self.metadata.metrics
        return (metrics.events or metrics).epoch

    @property
    def epochs(self) -> int:
        """Epochs that the logs, or else the training state, know of."""
        # The epoch of a state is the one in progress, so that one less is complete.
        logged = [curve[-1][0] for curve in self.curves.values()]
        return max([*logged, self.state.progress.epoch - 1 if self.state else 0, self.best_epoch or 0])

    @property
    def parameters(self) -> int | None:
        """The number of weights, where it was logged."""
        curve = self.curves.get("system/total_params")
        return int(curve[-1][1]) if curve and curve[-1][1] is not None else None

    @property
    def test_metrics(self) -> RankMetrics:
        """Metrics on the test split: those measured, or those that the training logged at its end."""
        if self.measurements and self.measurements.split == "test":
            return self.measurements.metrics["entity"]
        logged = {key.removeprefix("test/"): curve[-1][1] for key, curve in self.curves.items() if key[:5] == "test/"}
        return RankMetrics(**logged)

    @property
    def test_setting(self) -> str | None:
        """The setting that `test_metrics` were measured in."""
        if self.measurements and self.measurements.split == "test":
            return self.measurements.setting
        return "single-step" if self.test_metrics != RankMetrics() else None

    @property
    def notes(self) -> list[str]:
        """What is not on the page, or not what one expects, a line each."""
        left_out = self.measurements.left_out if self.measurements else {}
        counts = ", ".join(f"{count:,} of {split}" for split, count in left_out.items() if count)
        more = [f"facts left out for names that the model does not know: {counts}"] if counts else []
        return [*self.missing, *more]

    @property
    def outcome(self) -> str | None:
        """How the training ended, or where it stands; None where its files do not say."""
        if self.state is None:
            return None
        # --resume may have changed the settings after the checkpoint was written.
        settings = self.config | self.state.config
        planned, patience, best = settings.get("epochs"), settings.get("patience"), self.state.progress.best_epoch or 0
        if not isinstance(planned, int):
            return None
        if self.active:
            return f"running, in epoch {min(self.state.progress.epoch, planned)} of {planned}"
        if self.epochs >= planned:
            return f"all {planned} epochs"
        if isinstance(patience, int) and 0 < patience <= self.epochs - best:
            return f"stopped early after epoch {self.epochs}: no improvement in {self.epochs - best} more"
        return f"interrupted in epoch {self.epochs + 1} of {planned}; --resume continues it"


Runs = Sequence[TrainingRun]


def read_run(path: str | Path) -> TrainingRun:
    """The training whose checkpoint is at `path`, or whose `--model-dir` that is.

    Logs are looked for where the config says, from the working directory and from the folders above the checkpoint. A
    folder without `tirgn_best` is shown by another checkpoint in it, and one without any, of a training that was
    stopped early on, by its settings and logs. The run is named after its folder, or after a checkpoint of another name
    than `tirgn_best`.

    **Raises:** CheckpointError where there is nothing of a training that can be read.
    """
    path, missing = Path(path), []
    if path.is_dir():
        folder, found = path, _best_readable(path, missing)
    else:
        found = _read_metadata(path)
        folder = found[0].parent
    state = _read_state(folder / STATE, missing)
    checkpoint, metadata = found or (None, _without_checkpoint(folder, state, missing))
    logs = _find_logs(folder, metadata.config)
    if logs is None:
        missing.append("no metrics.jsonl was found, so there are no learning curves")
    own_name = checkpoint is not None and checkpoint.name != BEST and not path.is_dir()
    name = checkpoint.stem if checkpoint and own_name else folder.resolve().name or str(folder)
    curves = read_curves(logs, missing) if logs else {}
    if active := is_locked(folder / TRAIN_LOCK):
        missing.append("the training is still running: the page shows how far it has come")
    return TrainingRun(name, path, checkpoint, metadata, curves, state, active, tuple(missing))


def _read_metadata(path: Path) -> tuple[Path, CheckpointSummary]:
    """The npz of a checkpoint, and what it says of its model."""
    found = load_checkpoint(path)
    place, todo = f"{found.path}: its metadata", "use another checkpoint, or train again"
    return found.path, check_document(CheckpointSummary, found.metadata, place, todo)


def _best_readable(folder: Path, missing: list[str]) -> tuple[Path, CheckpointSummary] | None:
    """The best checkpoint of a folder, or the last one that can be read, or None."""
    epochs = {int(n[1]) for path in folder.iterdir() if (n := re.fullmatch(r"tirgn_epoch_(\d{1,9})", path.stem))}
    for name in (BEST, TRAINED, *(f"tirgn_epoch_{epoch}.npz" for epoch in sorted(epochs, reverse=True))):
        if not (folder / name).exists():
            continue
        try:
            found = _read_metadata(folder / name)
        except CheckpointError as error:
            missing.append(str(error))
            continue
        if name != BEST:
            missing.append(f"{BEST} is missing or broken; {name} is shown instead")
        return found
    return None


def _read_state(path: Path, missing: list[str]) -> TrainingStateSummary | None:
    todo = "how the training ended is not shown"
    try:
        return check_document(TrainingStateSummary, read_end(path, MAX_STATE_BYTES), path.name, todo)
    except FileNotFoundError:
        return None
    except OSError as error:
        missing.append(f"{path.name}: cannot be read ({error.strerror}); {todo}")
    except CheckpointError as error:
        missing.append(str(error))
    return None


def _without_checkpoint(folder: Path, state: TrainingStateSummary | None, missing: list[str]) -> CheckpointSummary:
    """What the state or the settings in a folder say. **Raises:** CheckpointError where there is neither."""
    config, data = (state.config, state.data) if state else ({}, DatasetSummary())
    try:
        config = config or parse_toml(read_end(folder / SETTINGS, MAX_STATE_BYTES).decode())
    except (OSError, ValueError):
        pass  # the line below says that there is nothing to read
    if not config:
        broken = f" ({missing[0]})" if missing else ""
        raise CheckpointError(f"{folder}: holds no {BEST}; give a checkpoint, or the --model-dir of a training{broken}")
    missing.append("there is no checkpoint yet, so nothing was evaluated")
    return CheckpointSummary(model_type=str(config.get("model", "?")), config=config, data=data)


def read_curves(path: Path, missing: list[str]) -> dict[str, Curve]:
    """The logged values of the last training in a `metrics.jsonl`, by name and epoch.

    **Arguments:** `missing`: gets a line with the number of lines that could not be read.
    """
    lines: list[tuple[int, dict[str, object]]] = []
    broken = 0
    for line in read_end(path, MAX_LOG_BYTES).splitlines():
        try:
            found = parse_json(line)
        except ValueError:
            found = None
        if not isinstance(found, dict) or type(step := found.get("step")) is not int:
            broken += 1
            continue
        if "system/total_params" in found and step == 0:
            lines = []  # another training begins in the same file
        lines.append((step, found))
    if broken:
        missing.append(f"{broken:,} lines of {path.name} could not be read")
    # Lines are logged by step. A line with a loss ends an epoch, so that the n-th step with one is the end of epoch n.
    # Step 0 is before the first.
    epochs = {0: 0}
    for step, line in lines:
        if "train/loss" in line:
            epochs.setdefault(step, len(epochs))
    points: dict[str, dict[int, float | None]] = {}
    for step, line in lines:
        for key, value in line.items() if step in epochs else ():
            if "/" in key and (value is None or isinstance(value, int | float)):
                # A resumed training may log a step again. The later line counts.
                points.setdefault(key, {})[epochs[step]] = to_finite(value)
    return {key: tuple(found.items()) for key, found in points.items()}


def _find_logs(folder: Path, config: dict[str, object]) -> Path | None:
    """The `metrics.jsonl` of a training with these settings."""
    logdir, above = config.get("logdir"), folder.resolve()
    if not isinstance(logdir, str) or not logdir or "\0" in logdir:
        return None
    # A relative `logdir` counts from the working directory of the training, which no file names.
    for place in (Path(logdir), *(parent / logdir for parent in [above, *above.parents][:4])):
        try:
            if (path := place / "metrics.jsonl").is_file() and _logs_match(place, config):
                return path
        except OSError:  # a name that no file can have
            return None
    return None


def _logs_match(place: Path, config: dict[str, object]) -> bool:
    """Whether the logs in `place` are of a training with these settings: others may have used the folder since."""
    try:
        found = parse_json(read_end(place / "config.json", MAX_STATE_BYTES))
    except (OSError, ValueError):
        return False
    if not isinstance(found, dict):
        return False
    # `--resume` may have changed the others since the logs began, in the parts of a mixture too.
    free = resumable_settings()
    logged, own = (
        {name: value for name, value in flatten(one) if name.rpartition(".")[2] not in free} for one in (found, config)
    )
    return logged == own


def distinct_names(runs: Sequence[TrainingRun]) -> list[str]:
    """The runs' names, made different from each other by their paths where they are equal, or else by a number."""
    names = [run.name for run in runs]
    longer = [
        name if names.count(name) == 1 else f"{name} ({shown(str(run.source))[1:-1]})" for name, run in zip(names, runs)
    ]
    return [
        name if longer.count(name) == 1 else f"{name}, {longer[: place + 1].count(name)}"
        for place, name in enumerate(longer)
    ]
