"""Weights of the released PyTorch TiRGN as a model of this library, matched by name and shape."""
# JAX and Equinox annotate their functions in part, and torch need not be installed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import dataclasses
import math
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from tirgn_eqx.checkpoint.metadata import Settings
from tirgn_eqx.checkpoint.models import named_leaves, save_model
from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import CheckpointError, ConfigError, nearest, shown
from tirgn_eqx.models.tirgn import TiRGN
from tirgn_eqx.storage.npz import read_arrays
from tirgn_eqx.storage.untrusted import BROKEN, Unsound, check_regular, told

# Tensors of the released state_dict that its forward pass never uses, or that repeat another one.
_UNUSED = (
    "w1",
    "w2",
    "time_gate_weight",
    "time_gate_bias",
    "global_weight",
    "global_bias",
    "linear_0.",
    "linear_1.",
    "rgcn.rel_emb",
    "decoder_ob1.b",
    "decoder_ob2.b",
    "rdecoder_re1.b",
    "rdecoder_re2.b",
)
_UNUSED_IN_LAYERS = ("fc.", "gnn_bn1.", "gnn_bn2.")

Layout = Callable[[np.ndarray], np.ndarray]


def _same(x: np.ndarray) -> np.ndarray:
    return x


def _transpose(x: np.ndarray) -> np.ndarray:
    return x.T


def _first(x: np.ndarray) -> np.ndarray:
    return np.asarray(x[0])


Table = dict[str, tuple[str, Layout]]
_CELL: Table = {
    # PyTorch holds weights as (out, in), this library as (in, out).
    "weight_ih": ("weight_input", _transpose),
    "weight_hh": ("weight_hidden", _transpose),
    "bias_ih": ("bias_input", _same),
    "bias_hh": ("bias_hidden", _same),
}
_LAYER: Table = {
    "weight_neighbor": ("weight_neighbor", _same),
    "loop_weight": ("weight_loop", _same),
    "evolve_loop_weight": ("weight_isolated", _same),
    # (1, 2, 1) there: the weights that mix the two channels, entity state and relation state, into one.
    "conv1d.weight": ("mix", lambda x: x[0, :, 0]),
    "conv1d.bias": ("mix_bias", _first),
}
_NORM: Table = {
    "weight": ("weight", _same),
    "bias": ("bias", _same),
    "running_mean": ("running.mean", _same),
    "running_var": ("running.var", _same),
}
_DECODERS = {
    "decoder_ob1": "entity_raw",
    "decoder_ob2": "entity_history",
    "rdecoder_re1": "relation_raw",
    "rdecoder_re2": "relation_history",
}


def tensor_table(model: TiRGN) -> Table:
    """By the name of a released tensor, the path of our leaf and how the tensor is laid out there."""
    encoder, dim = model.encoder, model.encoder.entity_embedding.shape[1]
    table: Table = {
        "dynamic_emb": ("encoder.entity_embedding", _same),
        "emb_rel": ("encoder.relation_embedding", _same),
        # Time vectors are (1, d) there and (d,) here.
        "weight_t1": ("time.weight_linear", _first),
        "bias_t1": ("time.bias_linear", _first),
        "weight_t2": ("time.weight_periodic", _first),
        "bias_t2": ("time.bias_periodic", _first),
    }
    if encoder.static_conv is not None:
        shape = encoder.static_conv.weight.shape
        table["words_emb"] = ("encoder.word_embedding", _same)
        # The misspelling is the released code's own.
        table["statci_rgcn_layer.weight"] = ("encoder.static_conv.weight", lambda x: x.reshape(shape))
    for theirs, ours in (("relation_cell_1", "relation_gru"), ("entity_cell_1", "entity_update")):
        table |= _under(theirs, f"encoder.{ours}", _CELL)
    for number in range(len(encoder.layers)):
        theirs, ours = f"rgcn.layers.{number}", f"encoder.layers.{number}"
        table |= _under(theirs, ours, _LAYER) | _under(f"{theirs}.gnn_bn0", f"{ours}.norm", _NORM)
    for theirs, ours in _DECODERS.items():
        channels = getattr(model, ours).filters.shape[1]
        table |= {
            # (chan, 4, tap) -> (tap * 4 + channel, chan)
            f"{theirs}.conv1.weight": (f"{ours}.filters", lambda x: x.transpose(2, 1, 0).reshape(-1, x.shape[0])),
            f"{theirs}.conv1.bias": (f"{ours}.filter_bias", _same),
            # columns channel-major -> rows position-major
            f"{theirs}.fc.weight": (
                f"{ours}.project",
                lambda x, c=channels: x.reshape(dim, c, dim).transpose(2, 1, 0).reshape(-1, dim),
            ),
            f"{theirs}.fc.bias": (f"{ours}.project_bias", _same),
        }
        for theirs_norm, ours_norm in (("bn0", "norm_input"), ("bn1", "norm_feature"), ("bn2", "norm_hidden")):
            table |= _under(f"{theirs}.{theirs_norm}", f"{ours}.{ours_norm}", _NORM)
    return table


def _under(theirs: str, ours: str, table: Table) -> Table:
    """`table` with these prefixes before the names of both sides."""
    return {f"{theirs}.{name}": (f"{ours}.{path}", layout) for name, (path, layout) in table.items()}


def _is_unused(name: str) -> bool:
    # PyTorch reads this counter of BatchNorm only where no momentum is set.
    if name.endswith("num_batches_tracked"):
        return True
    if name.startswith("rgcn.layers."):
        # Of `rgcn.layers.0.fc.weight`, the part after the number of the layer.
        return name.removeprefix("rgcn.layers.").partition(".")[2].startswith(_UNUSED_IN_LAYERS)
    # A name with a dot at its end stands for all tensors of a module.
    return any(name == part or (part.endswith(".") and name.startswith(part)) for part in _UNUSED)


def model_from_state_dict(
    state: Mapping[str, np.ndarray], graph: TemporalGraph, config: TiRGNTrainingConfig, source: str = "state"
) -> TiRGN:
    """The released model's `state_dict` as a `TiRGN`, in the tensors' own precision.

    **Arguments:** `graph`: the data it was trained on; `config`: its settings; `source`: the file, for messages.

    **Raises:** CheckpointError that names a missing, spare or misshapen tensor and, where a setting explains it, the
    option to change.
    """
    static = graph.static if config.static_graph else None
    _check_sizes(state, config, source)
    build = partial(TiRGN, graph.num_entities, graph.num_relations, config, static, key=jr.key(0))
    try:
        # Build shapes alone until they are known to be those of the state.
        skeleton = eqx.filter_eval_shape(build)
    except (ValueError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{source}: its shapes and the settings make no model ({told(error)})") from error
    table, leaves = tensor_table(skeleton), named_leaves(skeleton)
    for name in state:
        if name not in table and not _is_unused(name):
            hint = "; the state has a static graph, the data or the config has none" if name.startswith("w") else ""
            if name.startswith("rgcn.layers."):
                hint = f"; the state has more than --num-layers {config.num_layers}"
            raise CheckpointError(f"{source}: spare tensor {shown(name)}{hint or nearest(name, table)}")
    for name in table:
        if name not in state:
            raise CheckpointError(f"{source}: missing tensor {name!r}; check --num-layers and the static graph")
    values: dict[str, jax.Array] = {}
    for name, (path, layout) in table.items():
        expected, tensor = leaves[path].shape, np.asarray(state[name])
        if tensor.dtype.kind != "f":
            raise CheckpointError(
                f"{source}: tensor {name!r} has type {tensor.dtype}, expected floats; save the weights"
            )
        try:
            value = layout(tensor) if tensor.size == math.prod(expected) else tensor
        except (ValueError, IndexError):
            value = tensor
        if value.shape != expected:
            raise CheckpointError(
                f"{source}: tensor {name!r} has shape {tuple(np.shape(state[name]))}, which does not fit "
                f"{expected} here; check the data folder, --set embedding_dim=… and --set conv_channels=…"
            )
        values[path] = jnp.asarray(value)
    model = build()
    # `|` keeps the order of the model's leaves.
    return jax.tree.unflatten(jax.tree.structure(model), [*(named_leaves(model) | values).values()])


def _check_sizes(state: Mapping[str, np.ndarray], config: TiRGNTrainingConfig, source: str) -> None:
    """Refuse sizes beyond what the state holds, so that no memory is taken for what it only claims."""
    numbers = sum(np.size(value) for value in state.values())
    for name in ("embedding_dim", "num_layers", "conv_channels", "conv_kernel"):
        if getattr(config, name) > numbers:
            raise CheckpointError(
                f"{source}: holds {numbers:,} numbers in all, too few for {name} = {getattr(config, name)}; check --set"
            )


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of an `.npz`, or of a `.pt` file, which torch's weights-only loader reads without running code.

    **Raises:** CheckpointError when the file is missing, is neither, or torch is needed and not installed.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise CheckpointError(f"{path}: no such file; give the state_dict as .npz or as a torch file")
    if path.suffix == ".npz":
        try:
            check_regular(path)
            return read_arrays(path.read_bytes(), packed=True)
        except (Unsound, OSError) as error:
            raise CheckpointError(
                f"{path}: not a readable .npz of tensors ({told(error)}); save the state_dict with numpy.savez"
            ) from error
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise CheckpointError(
            f"{path}: reading a torch file needs torch; install it (pip install torch), or save the "
            "state_dict as .npz with numpy.savez"
        ) from error
    _check_packing(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a file that is not its own
        raise CheckpointError(
            f"{path}: torch cannot read it with weights_only=True ({told(error)[:200]}); save model.state_dict()"
        ) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise CheckpointError(f"{path}: holds no state_dict of tensors; save model.state_dict()")
    return {name: _plain_tensor(path, name, value) for name, value in content.items()}


def _check_packing(path: Path) -> None:
    """**Raises:** CheckpointError for a zip file that unpacks to more than its size, which torch never writes."""
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
    except BROKEN:
        return  # not a zip file: torch reads it, or says why not
    if total > path.stat().st_size:
        raise CheckpointError(f"{path}: unpacks to {total:,} bytes, more than it has; save it with torch.save")


# `Any`: torch is optional, so that no type checker can rely on its types.
def _plain_tensor(path: Path, name: str, value: Any) -> np.ndarray:
    """A dense tensor whose numbers are in the file, as an array."""
    import torch  # pyright: ignore[reportMissingImports]

    def refused(what: str) -> CheckpointError:
        return CheckpointError(f"{path}: {shown(name)} is {what}; save model.state_dict() of plain tensors")

    if not isinstance(value, torch.Tensor):
        raise refused(f"a {type(value).__name__}, not a tensor")
    if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
        raise refused(f"a tensor of another kind ({value.layout}, {value.dtype}, on {value.device})")
    value = value.detach()
    # A tensor with strides of 0 repeats its storage and may claim any size.
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise refused(f"{value.numel():,} numbers, of which the file holds {len(value.untyped_storage()):,} bytes")
    # NumPy has no bfloat16, and no view of a tensor whose conjugate or sign is applied only when it is read.
    return (value.float() if value.dtype == torch.bfloat16 else value.resolve_conj().resolve_neg()).numpy()


def import_torch(state_path: str | Path, graph: TemporalGraph, out: str | Path, config_overrides: Settings) -> Path:
    """Write the released model's weights as a checkpoint that `tirgn eval` runs.

    Sizes that the weights show (embedding width, graph layers, channels, kernel, static blocks) are read from them.
    Other settings (window length, time-dependent options) come from `config_overrides`, which also win over the
    weights, so that a contradiction is named. The clock counts from time 0, as in the released code.

    **Arguments:** `state_path`: an `.npz` or torch file; `graph`: the data it was trained on; `out`: the checkpoint.

    **Returns:** the path of the checkpoint.

    **Raises:** CheckpointError for a file that is not these weights.
    """
    state = read_state_dict(state_path)
    sizes = _settings_from_shapes(state)
    try:
        # As in the released code: the history is never cut, and a snapshot is one batch.
        config = TiRGNTrainingConfig(history_window=0, batch_size=0).replace(**sizes | config_overrides)
    except ConfigError as error:
        raise CheckpointError(f"{state_path}: its shapes say {error}; check the file and --set") from error
    model = model_from_state_dict(state, graph, config, str(state_path))
    graph = dataclasses.replace(graph, clock_origin=0)
    return save_model(out, model, config, graph, {"imported_from": str(state_path)})


def _settings_from_shapes(state: Mapping[str, np.ndarray]) -> dict[str, int]:
    """The settings that the shapes of tensors show; those of missing or misshapen tensors are left out."""
    found: dict[str, int] = {}

    def shape(name: str) -> tuple[int, ...]:
        return np.shape(state.get(name, ()))

    if len(shape("emb_rel")) == 2:
        found["embedding_dim"] = shape("emb_rel")[1]
    if len(shape("decoder_ob1.conv1.weight")) == 3:
        channels, _, kernel = shape("decoder_ob1.conv1.weight")
        found |= {"conv_channels": channels, "conv_kernel": kernel}
    layers = {name.split(".")[2] for name in state if name.startswith("rgcn.layers.")}
    if layers:
        found["num_layers"] = len(layers)
    static = shape("statci_rgcn_layer.weight")
    found["static_graph"] = len(static) == 2
    if len(static) == 2 and "embedding_dim" in found:
        # blocks * (dim / blocks)^2 columns
        found["static_blocks"] = max(1, found["embedding_dim"] ** 2 // max(1, static[1]))
    return found
