"""Models in checkpoints: what is written with the weights, and a model built again from the file alone."""

import datetime
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from tirgn_eqx.checkpoint.files import load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.metadata import check_described, check_sizes, static_graph
from tirgn_eqx.checkpoint.run_folder import working_alone
from tirgn_eqx.config import TrainingConfig, config_from_dict
from tirgn_eqx.data.clock import clock_of
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.vocabulary import vocabulary
from tirgn_eqx.errors import CheckpointError, ConfigError, shown
from tirgn_eqx.models import MODEL_TYPES, Model, build_model
from tirgn_eqx.runtime.meshes import for_files
from tirgn_eqx.storage.untrusted import told

FORMAT_VERSION = 1


def versions() -> dict[str, str]:
    """Versions of what computes a result."""
    packages = ("jax", "jaxlib", "equinox", "optax", "numpy")
    found = {name: metadata.version(name) for name in packages}
    try:
        found["tirgn-eqx"] = metadata.version("tirgn-eqx")
    except metadata.PackageNotFoundError:  # run from a source tree that was never installed
        found["tirgn-eqx"] = "source"
    return found | {"python": platform.python_version()}


def named_leaves(model: Any) -> dict[str, Any]:
    """Leaves by path, such as `layers.0.norm.running.mean`."""
    flat, _ = jax.tree_util.tree_flatten_with_path(model)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in flat}


def save_model(
    path: str | Path,
    model: Model,
    config: TrainingConfig,
    graph: TemporalGraph,
    metrics: dict[str, Any] | None = None,
) -> Path:
    """Write `model` with all that is needed to use it: config, names, static graph, provenance, metrics."""
    static, words = None, model.word_embedding
    if model.static_edges is not None and words is not None:
        static = {"bounds": list(model.static_edges.bounds), "num_words": words.shape[0]}
    described = {
        "model_type": config.model_type,
        "format_version": FORMAT_VERSION,
        "config": config.to_dict(),
        **vocabulary(graph),
        "static_graph": static,
        "metrics": metrics or {},
        "data": graph.describe() | {"provenance": graph.provenance} | clock_of(graph),
        "versions": versions(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    arrays = named_leaves(for_files(model, graph.num_entities))
    return save_checkpoint(path, arrays, described)


def save_calibration(path: str | Path, found: dict[str, Any]) -> Path:
    """Write what `fit_temperature` found into a checkpoint, the rest of which stays as it is.

    **Raises:** CheckpointError while a training is at work in its folder, or when it cannot be written.
    """
    with working_alone(Path(path).parent):
        checkpoint = load_checkpoint(path)
        return save_checkpoint(checkpoint.path, checkpoint.arrays, checkpoint.metadata | {"calibration": found})


def _saved_config(document: Any, path: Path) -> TrainingConfig:
    """The configuration that a checkpoint holds. **Raises:** CheckpointError."""
    try:
        return config_from_dict(document)
    except ConfigError as error:
        reason = str(error).partition(";")[0]  # what follows is for people who type settings
        raise CheckpointError(
            f"{path}: its config is not usable ({reason}); written by another version, or train again"
        ) from error


def load_model(path: str | Path, model_type: str | None = None) -> tuple[Model, TrainingConfig, dict[str, Any]]:
    """(model, config, metadata) of a checkpoint; the npz alone is enough.

    **Arguments:** `path`; `model_type`: what the checkpoint must hold, one of `MODEL_TYPES`; None takes any.

    **Raises:** CheckpointError for a file that is missing, corrupt, of another model type, or whose arrays
    are missing, spare, or of the wrong shape, each named.
    """
    checkpoint = load_checkpoint(path)
    described, arrays, path = checkpoint.metadata, checkpoint.arrays, checkpoint.path
    kind = described.get("model_type")
    if kind not in MODEL_TYPES:
        raise CheckpointError(
            f"{path}: holds a model of type {shown(kind)}, which is none of {', '.join(MODEL_TYPES)}; give another file"
        )
    if model_type not in (None, kind):
        raise CheckpointError(
            f"{path}: holds a model of type {kind!r}, not {model_type!r}; give a checkpoint of that one"
        )
    config = _saved_config(described.get("config"), path)
    if config.model_type != kind:
        raise CheckpointError(f"{path}: says model type {kind!r}, but its config {config.model_type!r}; train again")
    check_described(described, path)
    entities, relations = described["num_entities"], described["num_relations"]
    check_sizes(arrays, path, {"num_entities": entities, "num_relations": relations}, config)
    static = static_graph(described.get("static_graph"), arrays, path, entities)
    shared: dict[str, Any] = {"static": static, "key": jr.key(0)}
    try:
        skeleton = eqx.filter_eval_shape(lambda: build_model(entities, relations, config, **shared))
    except (ValueError, TypeError, OverflowError, ConfigError) as error:
        raise CheckpointError(f"{path}: its config describes no model ({told(error)}); train again") from error
    expected = named_leaves(skeleton)
    for name in sorted(set(expected) ^ set(arrays)):
        state = "missing" if name in expected else "unknown"
        raise CheckpointError(
            f"{path}: array {shown(name)} is {state}; this is not a whole {kind} checkpoint; give another one"
        )
    for name, leaf in expected.items():
        found = arrays[name]
        if found.shape != leaf.shape or found.dtype.kind != np.dtype(leaf.dtype).kind:
            raise CheckpointError(
                f"{path}: array {name!r} is {found.dtype}{list(found.shape)}, expected {leaf.dtype}"
                f"{list(leaf.shape)}; this is not the model its config describes; give another, or train again"
            )
    leaves = [jnp.asarray(arrays[name]) for name in expected]
    return jax.tree.unflatten(jax.tree.structure(skeleton), leaves), config, described
