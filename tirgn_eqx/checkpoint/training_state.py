"""The state of a training between two steps, so that it can go on after the process has ended.

Everything else is a function of the settings: data order and negatives of seed and epoch, dropout of seed and step. A
training that is resumed therefore computes, bit for bit, what it would have computed without the interruption.
"""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from tirgn_eqx.checkpoint.files import Checkpoint, Leaf, load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.metadata import (
    STATE_TYPE,
    TrainingIdentity,
    TrainingProgress,
    TrainingStateMetadata,
    parse_document,
)
from tirgn_eqx.config import resumable_settings
from tirgn_eqx.data.clock import apply_clock
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.vocabulary import VOCABULARIES, match_checkpoint, reorder_ids
from tirgn_eqx.errors import CheckpointError, DataWarning, shown
from tirgn_eqx.runtime.meshes import put_leaf

STATE_FILE = "tirgn_state"
_RESTART = "train without --resume"


def _leaves(tree: PyTree, prefix: str) -> dict[str, Leaf]:
    return {f"{prefix}.{number}": leaf for number, leaf in enumerate(jax.tree.leaves(tree))}


def save_training_state(
    folder: Path,
    model: PyTree,
    opt_state: PyTree,
    progress: TrainingProgress,
    losses: Mapping[str, np.ndarray],
    identity: TrainingIdentity,
) -> None:
    """Write the state of a training to `folder`, in one rename.

    **Arguments:**

    - `model`, `opt_state`: as `for_files` gives them.
    - `losses`: float `(step,)` by name, the metrics of the current epoch's finished steps.
    - `identity`: the training that the state belongs to.
    """
    arrays = {**_leaves(model, "model"), **_leaves(opt_state, "opt")}
    arrays |= {f"loss.{name}": values for name, values in losses.items()}
    metadata = {"model_type": STATE_TYPE, "progress": progress.model_dump(), **identity.to_dict()}
    save_checkpoint(folder / STATE_FILE, arrays, metadata)


def align_with_state(graph: TemporalGraph, *folders: Path, force: bool = False) -> TemporalGraph:
    """`graph` with the ids and the clock of the training that is to be resumed, so that its weights keep their meaning.

    **Arguments:** `folders`: where its state may be, the first one that holds one counts; `force`: other data are
    allowed, and the facts whose names the training knows are kept.

    **Returns:** `graph` itself without a state; with its own ids where the names differ, which `load_training_state`
    then refuses.

    **Raises:** CheckpointError for a state that cannot be read; DataError for another clock step, and with `force` as
    `match_checkpoint`.
    """
    for folder in folders:
        if (folder / f"{STATE_FILE}.npz").is_file():
            saved = read_training_state(folder)[1]
            metadata = saved.to_dict()
            if force and None not in (saved.entities, saved.relations):
                return match_checkpoint(graph, metadata, f"the training in {folder}", learning=True)
            return apply_clock(reorder_ids(graph, metadata), metadata, learning=True)
    return graph


def load_training_state(
    folder: Path,
    model: PyTree,
    opt_state: PyTree,
    identity: TrainingIdentity,
    *,
    force: bool = False,
    mesh: Mesh | None = None,
) -> tuple[PyTree, PyTree, TrainingProgress, dict[str, np.ndarray]]:
    """Read back what `save_training_state` wrote, on `mesh`, whatever mesh wrote it.

    **Arguments:** `model`, `opt_state`: arrays or their shapes, without padding; `force`: take a state of other data or
    settings too, with a warning for each.

    **Returns:** (model, opt_state, progress, losses) in the structure of the arguments.

    **Raises:** CheckpointError when there is no state, or it belongs to a training with other data or settings, each
    named; with `force` only where its arrays do not fit.
    """
    # On a mesh the arrays stay on the disk, and each device receives its own rows alone.
    checkpoint, saved = read_training_state(folder, mapped=mesh is not None)
    arrays, path = checkpoint.arrays, checkpoint.path
    for difference in _differences(saved, identity):
        if not force:
            raise CheckpointError(f"{path}: {difference}, or {_RESTART}, or with --force as well")
        warnings.warn(f"{path}: {difference.partition(';')[0]}; going on with it", DataWarning, stacklevel=2)

    def fill(tree: PyTree, prefix: str) -> PyTree:
        leaves, (paths, structure) = [], jax.tree_util.tree_flatten_with_path(tree)
        for (place, _), (name, leaf) in zip(paths, _leaves(tree, prefix).items()):
            found = arrays.get(name)
            # The types must be equal too: a resumed training computes the same bits as an unbroken one.
            if found is None or found.shape != leaf.shape or found.dtype != leaf.dtype:
                raise CheckpointError(f"{path}: {name} is missing or of another shape; {_RESTART}")
            leaves.append(put_leaf(place, found, mesh))
        return jax.tree.unflatten(structure, leaves)

    losses = {name.removeprefix("loss."): values for name, values in arrays.items() if name.startswith("loss.")}
    if not all(values.ndim == 1 and values.dtype.kind == "f" for values in losses.values()):
        raise CheckpointError(f"{path}: says nothing usable about its losses; {_RESTART}")
    return fill(model, "model"), fill(opt_state, "opt"), saved.progress, losses


def read_training_state(folder: Path, *, mapped: bool = True) -> tuple[Checkpoint, TrainingStateMetadata]:
    """The file of a training state, and its validated metadata.

    **Arguments:** `mapped`: as in `load_checkpoint`; the default serves those who want the metadata alone.

    **Raises:** CheckpointError when there is none, or its metadata are damaged.
    """
    path = folder / f"{STATE_FILE}.npz"
    if not path.is_file():
        raise CheckpointError(f"{folder}: holds no training to resume ({path.name} is missing); {_RESTART}")
    checkpoint = load_checkpoint(path, mapped=mapped)
    if checkpoint.metadata.get("model_type") != STATE_TYPE:
        raise CheckpointError(f"{path}: is no training state; {_RESTART}")
    return checkpoint, parse_document(TrainingStateMetadata, checkpoint.metadata, path, _RESTART)


def _differences(saved: TrainingIdentity, identity: TrainingIdentity) -> Iterator[str]:
    """How the training of a saved state differs from the one that is to resume it, each with what to do about it."""
    was, now = saved.data, identity.data
    if was.sha256 != now.sha256:
        yield (
            f"was trained on {shown(was.name)} (sha256 {was.sha256[:12]}), not on {now.name} "
            f"({now.sha256[:12]}); give the same data"
        )
    for kind in VOCABULARIES:
        before, after = getattr(saved, kind), getattr(identity, kind)
        if before is not None and after is not None and before != after:
            yield f"its {kind} have other names than those of {now.name}; give data with the same names"
    if saved.start != identity.start:
        yield "this training began from other weights; begin it from the same ones"
    # A learning rate that decays depends on the number of epochs.
    free = resumable_settings() - ({"epochs"} if identity.config.get("lr_schedule") != "constant" else set[str]())
    for key in sorted((set(saved.config) | set(identity.config)) - free):
        before, after = saved.config.get(key), identity.config.get(key)
        if before != after:
            yield f"was trained with {key} = {shown(before)}, not {shown(after)}; give the same settings"
