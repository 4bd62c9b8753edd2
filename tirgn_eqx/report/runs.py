"""What the files of a training say of it: checkpoint, state, logs."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tirgn_eqx.errors import CheckpointError, shown
from tirgn_eqx.files import locked
from tirgn_eqx.foreign import parse_json, read_end
from tirgn_eqx.train.checkpoint import load_checkpoint
from tirgn_eqx.train.folder import TRAIN_LOCK

BEST, STATE = "tirgn_best.npz", "tirgn_state.json"
MOST_LOG_BYTES = 256 << 20
MOST_STATE_BYTES = 16 << 20


@dataclass(frozen=True)
class Curve:
    """One logged figure: `(epoch, value)` by epoch, None where it was no number."""

    points: tuple[tuple[int, float | None], ...]

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class Run:
    """A training as its files tell it.

    `curves`: by the name that was logged; `described`: of the checkpoint (config, metrics, data, versions);
    `progress`: of the saved state, empty without one; `active`: whether it is at work now; `missing`: what could not be
    had, a line each; `measured`: what `measure` computed, empty before.
    """

    name: str
    checkpoint: Path
    described: dict[str, Any]
    curves: dict[str, Curve]
    progress: dict[str, Any]
    active: bool
    missing: tuple[str, ...]
    measured: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        return self.described.get("config") or {}

    @property
    def data(self) -> dict[str, Any]:
        return self.described.get("data") or {}

    @property
    def metrics(self) -> dict[str, Any]:
        return self.described.get("metrics") or {}

    @property
    def best_epoch(self) -> int | None:
        """The epoch that the checkpoint was written after."""
        found = self.metrics.get("epoch")
        return found if isinstance(found, int) else None

    @property
    def epochs(self) -> int:
        """Epochs that the logs, or else the state, know of."""
        logged = [points[-1][0] for curve in self.curves.values() if (points := curve.points)]
        return max([*logged, self.progress.get("epoch", 1) - 1, self.best_epoch or 0])


def read_run(path: str | Path, name: str | None = None) -> Run:
    """The training whose checkpoint is at `path`, or whose `--model-dir` that is. Logs are looked for where the config
    says, from here and from the folders above the checkpoint.

    **Arguments:** `name`: what it is called on the page; None: its folder, or the file where it has another name.

    **Raises:** CheckpointError where there is no checkpoint that can be read.
    """
    given = Path(path)
    checkpoint = given / BEST if given.is_dir() else given
    if given.is_dir() and not checkpoint.exists():
        raise CheckpointError(f"{given}: holds no {BEST}; give a checkpoint, or the --model-dir of a training")
    found = load_checkpoint(checkpoint)
    described, checkpoint = found.metadata, found.path
    missing: list[str] = []
    progress = _progress(checkpoint.parent / STATE, missing)
    logs = _logs(checkpoint, described)
    curves: dict[str, Curve] = {}
    if logs is None:
        missing.append("no metrics.jsonl was found, so there are no learning curves")
    else:
        curves = read_curves(logs, missing)
    title = name or (checkpoint.parent.name if checkpoint.name == BEST else checkpoint.stem)
    active = locked(checkpoint.parent / TRAIN_LOCK)
    if active:
        missing.append("the training is still going on: what follows is as of now")
    return Run(title, checkpoint, described, curves, progress, active, tuple(missing))


def read_curves(path: Path, missing: list[str]) -> dict[str, Curve]:
    """The figures of the last run in `metrics.jsonl`, by epoch; lines that are none are counted in `missing`."""
    lines: list[dict[str, Any]] = []
    broken = 0
    for line in read_end(path, MOST_LOG_BYTES).splitlines():
        try:
            found = parse_json(line)
        except ValueError:
            found = None
        if not (isinstance(found, dict) and isinstance(found.get("step"), int)):
            broken += 1
            continue
        if "system/total_params" in found and found["step"] == 0:
            lines = []  # a run of its own begins
        lines.append(found)
    if broken:
        missing.append(f"{broken:,} lines of {path.name} could not be read")
    epoch_of: dict[int, int] = {}
    for line in lines:
        if "train/loss" in line:
            epoch_of.setdefault(line["step"], len(epoch_of) + 1)
    points: dict[str, list[tuple[int, float | None]]] = {}
    for line in lines:
        epoch = 0 if line["step"] == 0 else epoch_of.get(line["step"])
        for key, value in line.items():
            if "/" not in key or epoch is None or not (value is None or isinstance(value, int | float)):
                continue
            points.setdefault(key, []).append((epoch, None if value is None else float(value)))
    return {key: Curve(tuple(dict(found).items())) for key, found in points.items()}


def _progress(path: Path, missing: list[str]) -> dict[str, Any]:
    try:
        found = parse_json(read_end(path, MOST_STATE_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        missing.append(f"{path.name} could not be read")
        return {}
    progress = found.get("progress") if isinstance(found, dict) else None
    known = {"epoch": int, "best_epoch": int, "bad_steps": int, "seconds": int | float}
    progress = progress if isinstance(progress, dict) else {}
    return {key: value for key, kind in known.items() if isinstance(value := progress.get(key), kind)}


def _logs(checkpoint: Path, described: dict[str, Any]) -> Path | None:
    logdir = (described.get("config") or {}).get("logdir")
    if not isinstance(logdir, str) or not logdir or "\0" in logdir:
        return None
    places = [Path(logdir), *(parent / logdir for parent in checkpoint.resolve().parents[:4])]
    for place in places:
        if (path := place / "metrics.jsonl").is_file() and _is_of(place, described):
            return path
    return None


def _is_of(place: Path, described: dict[str, Any]) -> bool:
    """Whether the logs in `place` are of a training with these settings: others may have used the folder since."""
    try:
        found = json.loads((place / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    config = described.get("config") or {}
    free = ("epochs", "patience", "save_every", "save_minutes", "keep", "max_bad_steps")
    same = lambda one: {key: value for key, value in one.items() if key not in free}
    return isinstance(found, dict) and same(found) == same(config)


def check_names(runs: list[Run]) -> list[str]:
    """The runs' names, made different from each other by their paths where they are equal."""
    names = [run.name for run in runs]
    return [
        name if names.count(name) == 1 else f"{name} ({shown(str(run.checkpoint.parent))[1:-1]})"
        for name, run in zip(names, runs)
    ]
