"""What the files of a training say of it: checkpoint, state, logs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tirgn_eqx.checkpoint.files import Checkpoint, load_checkpoint
from tirgn_eqx.checkpoint.run_folder import TRAIN_LOCK
from tirgn_eqx.config import resumable_settings
from tirgn_eqx.errors import CheckpointError, shown
from tirgn_eqx.report.reading import described, figure, mapping, whole
from tirgn_eqx.storage.files import locked
from tirgn_eqx.storage.untrusted import parse_json, parse_toml, read_end

BEST, TRAINED, STATE, SETTINGS = "tirgn_best.npz", "tirgn_trained.npz", "tirgn_state.json", "config.toml"
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
    """A training as its files tell it, or what was measured of a model.

    `place`: the file or folder that it was read from; `checkpoint`: None where there is none; `curves`: by the name
    that was logged; `described`: of the checkpoint (config, metrics, data, versions); `progress`: of the saved state,
    empty without one; `active`: whether it is at work now; `missing`: what could not be had, a line each; `measured`:
    what `measure` computed or a file of an evaluation holds, empty before.
    """

    name: str
    place: Path
    checkpoint: Path | None
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
        return self.metrics.get("epoch")

    @property
    def epochs(self) -> int:
        """Epochs that the logs, or else the state, know of."""
        logged = [points[-1][0] for curve in self.curves.values() if (points := curve.points)]
        return max([*logged, self.progress.get("epoch", 1) - 1, self.best_epoch or 0])

    @property
    def ended(self) -> str | None:
        """How the training ended, or where it stands; None where its files do not say."""
        # --resume may have changed them after the checkpoint was written.
        planned, patience = (self.progress.get(key, whole(self.config.get(key))) for key in ("epochs", "patience"))
        patience, best = patience or 0, self.progress.get("best_epoch") or 0
        if planned is None or not self.progress:
            return None
        if self.active:
            return f"going on, in epoch {min(self.progress.get('epoch', 1), planned)} of {planned}"
        if self.epochs >= planned:
            return f"all {planned} epochs"
        if 0 < patience <= self.epochs - best:
            return f"stopped early after epoch {self.epochs}: none was better in {self.epochs - best} more"
        return f"broken off in epoch {self.epochs + 1} of {planned}; --resume goes on"


def read_run(path: str | Path, name: str | None = None) -> Run:
    """The training whose checkpoint is at `path`, or whose `--model-dir` that is. Logs are looked for where the config
    says, from here and from the folders above the checkpoint. A folder without `tirgn_best` is shown by another
    checkpoint in it, and one without any, of a training that was stopped early on, by its settings and logs.

    **Arguments:** `name`: what it is called on the page; None: its folder, or the file where it has another name.

    **Raises:** CheckpointError where there is nothing of a training that can be read.
    """
    given, missing = Path(path), []
    if given.is_dir():
        folder, found = given, _of_folder(given, missing)
    else:
        found = load_checkpoint(given)
        folder = found.path.parent
    known = described(found.metadata) if found else _without_checkpoint(folder, missing)
    progress = _progress(folder / STATE, missing)
    logs = _logs(folder, known)
    curves: dict[str, Curve] = {}
    if logs is None:
        missing.append("no metrics.jsonl was found, so there are no learning curves")
    else:
        curves = read_curves(logs, missing)
    own = found is not None and found.path.name != BEST and not given.is_dir()
    title = name or (found.path.stem if found and own else folder.resolve().name or str(folder))
    active = locked(folder / TRAIN_LOCK)
    if active:
        missing.append("the training is still going on: what follows is as of now")
    return Run(title, given, found.path if found else None, known, curves, progress, active, tuple(missing))


def _of_folder(folder: Path, missing: list[str]) -> Checkpoint | None:
    """The best checkpoint of a folder, or the last one that can be read, or None."""
    for path in _checkpoints(folder):
        try:
            found = load_checkpoint(path)
        except CheckpointError as error:
            missing.append(str(error))
            continue
        if path.name != BEST:
            missing.append(f"{BEST} is not there or broken; {path.name} stands in for it")
        return found
    return None


def _checkpoints(folder: Path) -> Iterator[Path]:
    numbered = {
        int(n[1]): path for path in folder.iterdir() if (n := re.fullmatch(r"tirgn_epoch_(\d{1,9})", path.stem))
    }
    last = [numbered[epoch].with_suffix(".npz") for epoch in sorted(numbered, reverse=True)]
    yield from (path for path in (folder / BEST, folder / TRAINED, *last) if path.exists())


def _without_checkpoint(folder: Path, missing: list[str]) -> dict[str, Any]:
    """What the state or the settings in a folder say. **Raises:** CheckpointError where there is neither."""
    for name, parse in ((STATE, parse_json), (SETTINGS, lambda content: {"config": parse_toml(content.decode())})):
        try:
            found = described(mapping(parse(read_end(folder / name, MOST_STATE_BYTES))))
        except (OSError, ValueError):
            continue
        if found["config"]:
            missing.append("there is no checkpoint yet, so nothing was evaluated")
            return found | {"model_type": found["config"].get("family", "?")}
    broken = f" ({missing[0]})" if missing else ""
    raise CheckpointError(f"{folder}: holds no {BEST}; give a checkpoint, or the --model-dir of a training{broken}")


def read_curves(path: Path, missing: list[str]) -> dict[str, Curve]:
    """The figures of the last run in `metrics.jsonl`, by epoch; lines that are none are counted in `missing`."""
    lines: list[dict[str, Any]] = []
    broken = 0
    for line in read_end(path, MOST_LOG_BYTES).splitlines():
        try:
            found = parse_json(line)
        except ValueError:
            found = None
        if not (isinstance(found, dict) and whole(found.get("step")) is not None):
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
            points.setdefault(key, []).append((epoch, figure(value)))
    return {key: Curve(tuple(dict(found).items())) for key, found in points.items()}


def _progress(path: Path, missing: list[str]) -> dict[str, Any]:
    try:
        found = parse_json(read_end(path, MOST_STATE_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        missing.append(f"{path.name} could not be read")
        return {}
    progress = mapping(mapping(found).get("progress"))
    config = mapping(mapping(found).get("config"))
    progress |= {key: config.get(key) for key in ("epochs", "patience")}
    known = {key: whole for key in ("epoch", "best_epoch", "bad_steps", "epochs", "patience")} | {"seconds": figure}
    return {key: value for key, read in known.items() if (value := read(progress.get(key))) is not None}


def _logs(folder: Path, known: dict[str, Any]) -> Path | None:
    logdir, above = known["config"].get("logdir"), folder.resolve()
    if not isinstance(logdir, str) or not logdir or "\0" in logdir:
        return None
    for place in (Path(logdir), *(parent / logdir for parent in [above, *above.parents][:4])):
        try:
            if (path := place / "metrics.jsonl").is_file() and _is_of(place, known["config"]):
                return path
        except OSError:  # a name that no file can have
            return None
    return None


def _is_of(place: Path, config: dict[str, Any]) -> bool:
    """Whether the logs in `place` are of a training with these settings: others may have used the folder since."""
    try:
        found = parse_json(read_end(place / "config.json", MOST_STATE_BYTES))
    except (OSError, ValueError):
        return False
    free = resumable_settings()
    same = lambda one: {key: value for key, value in one.items() if key not in free}
    return isinstance(found, dict) and same(found) == same(config)


def check_names(runs: list[Run]) -> list[str]:
    """The runs' names, made different from each other by their paths where they are equal, or else by a number."""
    names = [run.name for run in runs]
    longer = [
        name if names.count(name) == 1 else f"{name} ({shown(str(run.place))[1:-1]})" for name, run in zip(names, runs)
    ]
    return [
        name if longer.count(name) == 1 else f"{name}, {longer[: place + 1].count(name)}"
        for place, name in enumerate(longer)
    ]
