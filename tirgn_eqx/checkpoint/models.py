"""Models in checkpoints: what is written with the weights, and a model built again from the file alone."""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false

import datetime
import platform
from collections.abc import Collection, Mapping
from functools import partial
from importlib import metadata as packages
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from tirgn_eqx.checkpoint.files import Leaf, load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.metadata import (
    Calibration,
    CheckpointMetadata,
    Settings,
    StaticGraphDescription,
    describe_data,
    last_learnt_time,
    parse_document,
)
from tirgn_eqx.checkpoint.run_folder import lock_folder
from tirgn_eqx.config import EventTrainingConfig, TrainingConfig, config_from_dict, flatten
from tirgn_eqx.data.graph import StaticGraph, TemporalGraph
from tirgn_eqx.data.vocabulary import describe_vocabulary
from tirgn_eqx.errors import CheckpointError, ConfigError, shown
from tirgn_eqx.models import MODEL_TYPES, AnyModel, EventModel, Model, build_any_model
from tirgn_eqx.runtime.meshes import for_files
from tirgn_eqx.storage.untrusted import told

FORMAT_VERSION = 1
# Settings that are sizes of arrays, and how far they may go beyond the count of numbers that a file holds.
_SIZES = (
    "embedding_dim",
    "num_layers",
    "conv_channels",
    "conv_kernel",
    "evidence_heads",
    "evidence_hidden",
    "rate_hidden",
)
_SPARE = 1000


def versions() -> dict[str, str]:
    """Versions of the packages that compute a result."""
    found = {name: packages.version(name) for name in ("jax", "jaxlib", "equinox", "optax", "numpy")}
    try:
        found["tirgn-eqx"] = packages.version("tirgn-eqx")
    except packages.PackageNotFoundError:  # run from a source tree that was never installed
        found["tirgn-eqx"] = "source"
    return found | {"python": platform.python_version()}


def named_leaves(model: object) -> dict[str, Leaf]:
    """Leaves of a PyTree by path, such as `layers.0.norm.running.mean`."""
    flat, _ = jax.tree_util.tree_flatten_with_path(model)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in flat}


def save_model(
    path: str | Path,
    model: AnyModel,
    config: TrainingConfig,
    graph: TemporalGraph,
    metrics: Mapping[str, object] | None = None,
    calibration: Calibration | None = None,
    learnt_until: int | None = None,
) -> Path:
    """Write `model` with all that is needed to use it: settings, names, static graph, provenance and clock.

    **Arguments:**

    - `path`: of the checkpoint, with or without `.npz`.
    - `config`: the settings that built the model.
    - `graph`: the data it was trained on.
    - `metrics`: JSON-compatible figures to keep with it.
    - `calibration`: of its probabilities, as the metadata of another checkpoint hold it.
    - `learnt_until`: the last time that a part of it learnt from, which may be later than those of train and valid.

    **Returns:** the path of the `.npz`.

    **Raises:** CheckpointError when it cannot be written.

    ```python
    path = save_model("models/mine", model, config, graph)
    model, config, metadata = load_model(path)
    ```
    """
    static, words = None, model.word_embedding
    if model.static_edges is not None and words is not None:
        static = StaticGraphDescription(bounds=list(model.static_edges.bounds), num_words=words.shape[0])
    learnt = last_learnt_time(graph), learnt_until
    metadata = CheckpointMetadata(
        model_type=config.model_type,
        format_version=FORMAT_VERSION,
        config=config.to_dict(),
        **describe_vocabulary(graph),
        static_graph=static,
        metrics=dict(metrics or {}),
        data=describe_data(graph).model_copy(
            update={"last_learnt_time": max((time for time in learnt if time is not None), default=None)}
        ),
        versions=versions(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    if calibration is not None:
        # Only where there is one: what was never set is not written.
        metadata = metadata.model_copy(update={"calibration": calibration})
    return save_checkpoint(path, named_leaves(for_files(model, graph.num_entities)), metadata.to_dict())


def save_calibration(path: str | Path, found: Mapping[str, object]) -> Path:
    """Write what `fit_temperature` found into a checkpoint; the rest of it stays as it is.

    **Raises:** CheckpointError while a training is at work in its folder, or when it cannot be written.
    """
    # The lock keeps a training from replacing the checkpoint between the reading and the writing.
    with lock_folder(Path(path).parent):
        checkpoint = load_checkpoint(path)
        return save_checkpoint(checkpoint.path, checkpoint.arrays, checkpoint.metadata | {"calibration": dict(found)})


def add_metrics(path: str | Path, found: Mapping[str, object]) -> Path:
    """Write more figures into the metrics of a checkpoint; the rest of it stays as it is. The caller holds the lock of
    its folder.

    **Raises:** CheckpointError when it cannot be written.
    """
    checkpoint = load_checkpoint(path)
    metrics = parse_document(CheckpointMetadata, checkpoint.metadata, checkpoint.path).metrics or {}
    return save_checkpoint(checkpoint.path, checkpoint.arrays, checkpoint.metadata | {"metrics": metrics | dict(found)})


def parse_config(document: Settings, path: Path) -> TrainingConfig:
    """The settings in the checkpoint `path` as a config. **Raises:** CheckpointError for unknown or impossible ones."""
    try:
        return config_from_dict(document)
    except ConfigError as error:
        reason = str(error).partition(";")[0]  # what follows is for people who type settings
        raise CheckpointError(
            f"{path}: its config is not usable ({reason}); written by another version, or train again"
        ) from error


def load_model(path: str | Path, model_type: str | None = None) -> tuple[Model, TrainingConfig, CheckpointMetadata]:
    """Read a model that ranks back from a checkpoint; the npz alone is enough. Of an event model that is its base, with
    the settings and the metadata of a checkpoint that holds the base alone.

    **Arguments:**

    - `path`: of the checkpoint, with or without `.npz`.
    - `model_type`: what it must hold, one of `RANKING_TYPES`; None takes any.

    **Returns:** (model, config, metadata).

    **Raises:** CheckpointError for a file that is missing, corrupt, of another model type, or whose arrays are
    missing, unknown, or of the wrong shape; the message names the first one.
    """
    model, config, metadata = load_any_model(path, None if model_type is None else (model_type, f"{model_type}-events"))
    if not isinstance(model, EventModel):
        return model, config, metadata
    assert isinstance(config, EventTrainingConfig)
    if model.base is None or config.base is None:
        raise CheckpointError(
            f"{path}: holds event rates alone, which rank no answers; train them with --events CKPT, beside a model "
            "that does"
        )
    own = {"model_type": config.base.model_type, "config": config.base.to_dict()}
    return model.base, config.base, metadata.model_copy(update=own)


def load_event_model(path: str | Path) -> tuple[EventModel, EventTrainingConfig, CheckpointMetadata]:
    """Read an event model back, as `load_model`. **Raises:** CheckpointError for a checkpoint without one."""
    model, config, metadata = load_any_model(path)
    if not isinstance(model, EventModel) or not isinstance(config, EventTrainingConfig):
        raise CheckpointError(
            f"{path}: holds {config.model_type}, which says nothing of how often events come; add that with "
            f"`tirgn train --events {path}`"
        )
    return model, config, metadata


def load_any_model(
    path: str | Path, model_types: Collection[str] | None = None
) -> tuple[AnyModel, TrainingConfig, CheckpointMetadata]:
    """As `load_model`, an event model as a whole.

    **Arguments:** `model_types`: those of `MODEL_TYPES` that it may hold; None takes any.
    """
    checkpoint = load_checkpoint(path)
    arrays, path = checkpoint.arrays, checkpoint.path
    kind = checkpoint.metadata.get("model_type")
    if kind not in MODEL_TYPES:
        raise CheckpointError(
            f"{path}: holds a model of type {shown(kind)}, which is none of {', '.join(MODEL_TYPES)}; give another file"
        )
    if model_types is not None and kind not in model_types:
        raise CheckpointError(
            f"{path}: holds a model of type {kind!r}, not {min(model_types, key=len)!r}; give a checkpoint of that one"
        )
    metadata = parse_document(CheckpointMetadata, checkpoint.metadata, path)
    config = parse_config(metadata.config, path)
    if config.model_type != kind:
        raise CheckpointError(f"{path}: says model type {kind!r}, but its config {config.model_type!r}; train again")
    _check_sizes(arrays, path, metadata, config)
    static = _static_graph(metadata, arrays, path)
    build = partial(build_any_model, metadata.num_entities, metadata.num_relations, config, static, key=jr.key(0))
    try:
        # Shapes alone, which take no memory: the arrays come from the file, and the key draws nothing.
        skeleton = eqx.filter_eval_shape(build)
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
        # Only the kind must agree: a training in f64 saves f64 where the skeleton has f32.
        if found.shape != leaf.shape or found.dtype.kind != np.dtype(leaf.dtype).kind:
            raise CheckpointError(
                f"{path}: array {name!r} is {found.dtype}{list(found.shape)}, expected {leaf.dtype}"
                f"{list(leaf.shape)}; this is not the model its config describes; give another, or train again"
            )
    # `expected` has the order of the skeleton's leaves.
    leaves = [jnp.asarray(arrays[name]) for name in expected]
    return jax.tree.unflatten(jax.tree.structure(skeleton), leaves), config, metadata


def _check_sizes(
    arrays: dict[str, np.ndarray], path: Path, metadata: CheckpointMetadata, config: TrainingConfig
) -> None:
    """Refuse sizes beyond what the file holds, so that no memory is taken for what it only claims."""
    numbers = sum(array.size for array in arrays.values())
    sizes = {"num_entities": metadata.num_entities, "num_relations": metadata.num_relations}
    for name, value in flatten(config.to_dict()):  # of a mixture, either part has sizes
        name = name.rpartition(".")[2]
        if name in _SIZES and isinstance(value, int):
            sizes[name] = max(value, sizes.get(name, 0))
    for name, size in sizes.items():
        if size > numbers + _SPARE:
            raise CheckpointError(
                f"{path}: says {name} = {size:,}, but holds {numbers:,} numbers in all; this is not the model its "
                "config describes; give another, or train again"
            )


def _static_graph(metadata: CheckpointMetadata, arrays: dict[str, np.ndarray], path: Path) -> StaticGraph | None:
    """The static graph that a checkpoint describes. **Raises:** CheckpointError for one that cannot be rebuilt."""
    if metadata.static_graph is None:
        return None
    bounds, num_words = metadata.static_graph.bounds, metadata.static_graph.num_words
    try:
        # Either part of a mixture may hold the static graph; where both do, it is the same.
        last = "static_edges.entity"
        prefix = next((name.removesuffix(last) for name in sorted(arrays) if name.endswith(last)), "")
        entity, word = arrays[f"{prefix}static_edges.entity"], arrays[f"{prefix}static_edges.word"]
        if {entity.dtype.kind, word.dtype.kind} != {"i"}:
            raise ValueError("no whole numbers")
        if not (bounds and bounds[0] == 0 and bounds == sorted(bounds) and entity.ndim == word.ndim == 1):
            raise ValueError("bounds are out of order")
        if not bounds[-1] == len(entity) == len(word):
            raise ValueError("edge counts differ")
        for name, values, limit in (("entity", entity, metadata.num_entities), ("word", word, num_words)):
            if len(values) and not 0 <= values.min() <= values.max() < min(limit, np.iinfo(np.int32).max):
                raise ValueError(f"an edge goes to no {name} that there is")
        if num_words > _SPARE + sum(array.size for array in arrays.values()):
            raise ValueError(f"{num_words:,} words, more than the file holds numbers")
        # Edges are sorted by relation: bounds 0, 3, 5 stand for the relations 0, 0, 0, 1, 1.
        relation = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        return StaticGraph(entity, relation, word, len(bounds) - 1, num_words)
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: its static graph cannot be rebuilt ({told(error)}); train again") from error
