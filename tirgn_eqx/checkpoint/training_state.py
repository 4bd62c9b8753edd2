"""The whole state of a training between two steps, so that it can go on after the process has ended.

Everything else is a function of the config: data order and negatives of seed and epoch, dropout of seed and step. So a
run that goes on from its state computes, bit for bit, what it would have computed without the break.
"""

import dataclasses
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from tirgn_eqx.checkpoint.files import Checkpoint, load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.metadata import check_data
from tirgn_eqx.config import TiRGNTrainingConfig, resumable_settings
from tirgn_eqx.data.clock import with_clock
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.vocabulary import KINDS, for_checkpoint, reordered
from tirgn_eqx.errors import CheckpointError, ConfigError, DataWarning, shown
from tirgn_eqx.runtime.meshes import put_leaf

STATE_FILE = "tirgn_state"
STATE_TYPE = "tirgn-training-state"


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    `epoch`, `step`: the current epoch and its finished steps; `global_step`: finished steps in all; `validated`: the
    last validated epoch (-1 = none); `best_value`, `best_epoch`: of early stopping; `seconds`: trained so far;
    `given_up`: settings that were changed because memory ran out; `losses`: the metrics of the epoch's finished
    steps, by name; `bad_steps`: steps of earlier epochs that were passed over.
    """

    epoch: int
    step: int
    global_step: int
    validated: int
    best_value: float | None
    best_epoch: int | None
    seconds: float
    given_up: dict[str, Any]
    losses: dict[str, np.ndarray]
    bad_steps: int = 0


def _leaves(tree: Any, prefix: str) -> dict[str, Any]:
    return {f"{prefix}.{number}": leaf for number, leaf in enumerate(jax.tree.leaves(tree))}


def save_state(folder: Path, model: Any, opt_state: Any, progress: Progress, run: dict[str, Any]) -> None:
    """Write the state to `folder`, in one rename.

    **Arguments:** `model`, `opt_state`: as `for_files` gives them; `run`: what the state belongs to (`config` as a
    dict, `data` with its sha256, the `vocabulary` of the graph, and `start`, the fingerprint of the model that it
    began from, if any).
    """
    arrays = {**_leaves(model, "model"), **_leaves(opt_state, "opt")}
    arrays |= {f"loss.{name}": values for name, values in progress.losses.items()}
    plain = {key: value for key, value in vars(progress).items() if key != "losses"}
    save_checkpoint(folder / STATE_FILE, arrays, {"model_type": STATE_TYPE, "progress": plain, **run})


def as_begun(graph: TemporalGraph, *folders: Path, force: bool = False) -> TemporalGraph:
    """`graph` with the ids and the clock of the training that is to be resumed, so that its weights keep their meaning.

    **Arguments:** `folders`: where its state may be, the first one that holds one counts; `force`: the data may be
    other data by now, of which the facts that the training knows the names of are kept.

    **Returns:** `graph` as it is without a state; with its own ids where the names are others, which `load_state` then
    refuses.

    **Raises:** CheckpointError for a state that cannot be read; DataError for another step, and by force as
    `for_checkpoint`.
    """
    for folder in folders:
        if (folder / f"{STATE_FILE}.npz").is_file():
            described = read_state(folder).metadata
            # States of earlier versions do not say their names.
            known = all(isinstance(described.get(kind), list) for kind in KINDS)
            if force and known:
                return for_checkpoint(graph, described, f"the training in {folder}", learning=True)
            return with_clock(reordered(graph, described), described, learning=True)
    return graph


def load_state(
    folder: Path, model: Any, opt_state: Any, run: dict[str, Any], *, force: bool = False, mesh: Mesh | None = None
) -> tuple[Any, Any, Progress]:
    """(model, opt_state, progress) as saved, in the structure of those given, on `mesh` whatever mesh wrote them.

    **Arguments:** `model`, `opt_state`: arrays or their shapes, without padding; `force`: take a state of other data or
    settings too, with a warning for each.

    **Raises:** CheckpointError when there is no state, or it is of other data or settings, each named; also by force
    where its arrays do not fit.
    """
    checkpoint = read_state(folder, mapped=mesh is not None)
    described, arrays, path = checkpoint.metadata, checkpoint.arrays, checkpoint.path
    for difference in _differences(described, run):
        if not force:
            raise CheckpointError(f"{path}: {difference}, or train without --resume, or with --force as well")
        warnings.warn(f"{path}: {difference.partition(';')[0]}; going on with it", DataWarning, stacklevel=2)

    def fill(tree: Any, prefix: str) -> Any:
        leaves, (paths, structure) = [], jax.tree_util.tree_flatten_with_path(tree)
        for (place, _), (name, leaf) in zip(paths, _leaves(tree, prefix).items()):
            found = arrays.get(name)
            if found is None or found.shape != leaf.shape or found.dtype != leaf.dtype:
                raise CheckpointError(f"{path}: {name} is missing or of another shape; train without --resume")
            leaves.append(put_leaf(place, found, mesh))
        return jax.tree.unflatten(structure, leaves)

    losses = {name.removeprefix("loss."): values for name, values in arrays.items() if name.startswith("loss.")}
    try:
        progress = Progress(**described["progress"], losses=losses)
        _check_progress(progress)
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(f"{path}: says nothing usable about its progress; train without --resume") from error
    return fill(model, "model"), fill(opt_state, "opt"), progress


def read_state(folder: Path, *, mapped: bool = True) -> Checkpoint:
    """The file of a training state, and what it says it belongs to.

    **Arguments:** `mapped`: as of `load_checkpoint`; by default, for those who want the metadata alone.

    **Raises:** CheckpointError when there is none, or it says nothing usable about its data and settings.
    """
    path = folder / f"{STATE_FILE}.npz"
    if not path.is_file():
        raise CheckpointError(f"{folder}: holds no training to resume ({path.name} is missing); train without --resume")
    checkpoint = load_checkpoint(path, mapped=mapped)
    described = checkpoint.metadata
    if described.get("model_type") != STATE_TYPE:
        raise CheckpointError(f"{path}: is no training state; train without --resume")
    if not (isinstance(described.get("data"), dict) and isinstance(described.get("config"), dict)):
        raise CheckpointError(f"{path}: says nothing usable about its data and settings; train without --resume")
    check_data(described["data"], path)
    return checkpoint


def _check_progress(progress: Progress) -> None:
    """**Raises:** ValueError for numbers that no training comes to, or settings that do not exist."""
    whole = lambda value, low: isinstance(value, int) and not isinstance(value, bool) and low <= value < 2**53
    number = lambda value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    best, epoch = progress.best_value, progress.best_epoch
    good = all(whole(value, 0) for value in (progress.epoch, progress.step, progress.global_step, progress.bad_steps))
    good = good and whole(progress.validated, -1) and number(progress.seconds) and isinstance(progress.given_up, dict)
    good = good and (best is None or number(best)) and (epoch is None or whole(epoch, 0))
    if not (good and all(values.ndim == 1 and values.dtype.kind == "f" for values in progress.losses.values())):
        raise ValueError("progress")
    TiRGNTrainingConfig().replace(**progress.given_up)


def _differences(described: dict[str, Any], run: dict[str, Any]) -> Iterator[str]:
    """In what a saved state is not of `run`, each with what to do about it."""
    was, now = described["data"], run["data"]
    if was.get("sha256") != now["sha256"]:
        yield (
            f"was trained on {shown(was.get('name'))} (sha256 {str(was.get('sha256'))[:12]}), not on {now['name']} "
            f"({now['sha256'][:12]}); give the same data"
        )
    for kind in KINDS:
        if described.get(kind) is not None and run.get(kind) is not None and described[kind] != run[kind]:
            yield f"its {kind} have other names than those of {now['name']}; give data with the same names"
    if described.get("start") != run.get("start"):
        yield "this training began from other weights; begin it from the same ones"
    before, after = described["config"], run["config"]
    # A falling step size depends on the length of the run.
    free = resumable_settings() - ({"epochs"} if after.get("lr_schedule") != "constant" else set())
    for key in sorted((set(before) | set(after)) - free):
        if before.get(key) != after.get(key):
            was, now = shown(before.get(key)), shown(after.get(key))
            yield f"was trained with {key} = {was}, not {now}; give the same settings"


def resumed(stopping: Any, progress: Progress) -> Any:
    """Early stopping as it stood."""
    return dataclasses.replace(stopping, best_value=progress.best_value, best_epoch=progress.best_epoch)
