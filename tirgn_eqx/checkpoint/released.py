"""Weights of the released PyTorch TiRGN as a model of ours, by name and shape, nothing guessed."""

import dataclasses
import math
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from tirgn_eqx.checkpoint.models import save_model
from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import CheckpointError, ConfigError, nearest, shown
from tirgn_eqx.models.tirgn import TiRGN
from tirgn_eqx.storage.npz import read_arrays
from tirgn_eqx.storage.untrusted import BROKEN, Unsound, check_regular, told

# Parts of the released state_dict that its forward pass never uses, or that repeat another tensor.
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

Where = Callable[[Any], Any]


def _entries(model: TiRGN) -> dict[str, tuple[Where, Callable[[np.ndarray], np.ndarray]]]:
    """Released name -> (our leaf, how the tensor is laid out here)."""
    same = lambda x: x
    transpose = lambda x: x.T
    dim = model.encoder.entity_embedding.shape[1]
    table: dict[str, tuple[Where, Callable]] = {
        "dynamic_emb": (lambda m: m.encoder.entity_embedding, same),
        "emb_rel": (lambda m: m.encoder.relation_embedding, same),
        "weight_t1": (lambda m: m.time.weight_linear, lambda x: x[0]),
        "bias_t1": (lambda m: m.time.bias_linear, lambda x: x[0]),
        "weight_t2": (lambda m: m.time.weight_periodic, lambda x: x[0]),
        "bias_t2": (lambda m: m.time.bias_periodic, lambda x: x[0]),
    }
    if model.encoder.static_conv is not None:
        shape = model.encoder.static_conv.weight.shape
        table["words_emb"] = (lambda m: m.encoder.word_embedding, same)
        # The misspelling is the released code's own.
        table["statci_rgcn_layer.weight"] = (lambda m: m.encoder.static_conv.weight, lambda x: x.reshape(shape))
    for theirs, ours in (("relation_cell_1", "relation_gru"), ("entity_cell_1", "entity_update")):
        cell = lambda m, ours=ours: getattr(m.encoder, ours)
        table |= {
            f"{theirs}.weight_ih": (lambda m, c=cell: c(m).weight_input, transpose),
            f"{theirs}.weight_hh": (lambda m, c=cell: c(m).weight_hidden, transpose),
            f"{theirs}.bias_ih": (lambda m, c=cell: c(m).bias_input, same),
            f"{theirs}.bias_hh": (lambda m, c=cell: c(m).bias_hidden, same),
        }
    for number in range(len(model.encoder.layers)):
        layer = lambda m, number=number: m.encoder.layers[number]
        prefix = f"rgcn.layers.{number}."
        table |= {
            prefix + "weight_neighbor": (lambda m, f=layer: f(m).weight_neighbor, same),
            prefix + "loop_weight": (lambda m, f=layer: f(m).weight_loop, same),
            prefix + "evolve_loop_weight": (lambda m, f=layer: f(m).weight_isolated, same),
            prefix + "conv1d.weight": (lambda m, f=layer: f(m).mix, lambda x: x[0, :, 0]),
            prefix + "conv1d.bias": (lambda m, f=layer: f(m).mix_bias, lambda x: x[0]),
        }
        table |= _norm(prefix + "gnn_bn0.", lambda m, f=layer: f(m).norm)
    decoders = {
        "decoder_ob1": "entity_raw",
        "decoder_ob2": "entity_history",
        "rdecoder_re1": "relation_raw",
        "rdecoder_re2": "relation_history",
    }
    for theirs, ours in decoders.items():
        decoder = lambda m, ours=ours: getattr(m, ours)
        channels = getattr(model, ours).filters.shape[1]
        table |= {
            # (chan, 4, tap) -> (tap * 4 + channel, chan)
            f"{theirs}.conv1.weight": (
                lambda m, f=decoder: f(m).filters,
                lambda x: x.transpose(2, 1, 0).reshape(-1, x.shape[0]),
            ),
            f"{theirs}.conv1.bias": (lambda m, f=decoder: f(m).filter_bias, same),
            # columns channel-major -> rows position-major
            f"{theirs}.fc.weight": (
                lambda m, f=decoder: f(m).project,
                lambda x, c=channels: x.reshape(dim, c, dim).transpose(2, 1, 0).reshape(-1, dim),
            ),
            f"{theirs}.fc.bias": (lambda m, f=decoder: f(m).project_bias, same),
        }
        for bn, name in (("bn0", "norm_input"), ("bn1", "norm_feature"), ("bn2", "norm_hidden")):
            table |= _norm(f"{theirs}.{bn}.", lambda m, f=decoder, n=name: getattr(f(m), n))
    return table


def _norm(prefix: str, norm: Callable) -> dict:
    same = lambda x: x
    return {
        prefix + "weight": (lambda m: norm(m).weight, same),
        prefix + "bias": (lambda m: norm(m).bias, same),
        prefix + "running_mean": (lambda m: norm(m).running.mean, same),
        prefix + "running_var": (lambda m: norm(m).running.var, same),
    }


def _is_unused(name: str) -> bool:
    if name.endswith("num_batches_tracked"):
        return True
    if name.startswith("rgcn.layers."):
        return name.removeprefix("rgcn.layers.").partition(".")[2].startswith(_UNUSED_IN_LAYERS)
    return any(name == part or (part.endswith(".") and name.startswith(part)) for part in _UNUSED)


def model_from_state(
    state: Mapping[str, np.ndarray], graph: TemporalGraph, config: TiRGNTrainingConfig, source: str = "state"
) -> TiRGN:
    """The released model's `state_dict` as a `TiRGN`, in the tensors' own precision.

    **Raises:** CheckpointError that names a missing, spare or misshapen tensor and, where a setting explains
    it, the option to change.
    """
    static = graph.static if config.static_graph else None
    _check_sizes(state, config, source)
    build: Any = lambda: TiRGN(graph.num_entities, graph.num_relations, config, static, key=jr.key(0))
    try:
        # Shapes alone, until the state's own are known to be these.
        skeleton = eqx.filter_eval_shape(build)
    except (ValueError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{source}: its shapes and the settings make no model ({told(error)})") from error
    table = _entries(skeleton)
    for name in state:
        if name not in table and not _is_unused(name):
            hint = "; the state has a static graph, the data or the config has none" if name.startswith("w") else ""
            if name.startswith("rgcn.layers."):
                hint = f"; the state has more than --num-layers {config.num_layers}"
            raise CheckpointError(f"{source}: spare tensor {shown(name)}{hint or nearest(name, table)}")
    for name in table:
        if name not in state:
            raise CheckpointError(f"{source}: missing tensor {name!r}; check --num-layers and the static graph")
    values = []
    for name, (where, layout) in table.items():
        expected, tensor = where(skeleton).shape, np.asarray(state[name])
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
        values.append(jnp.asarray(value))
    return eqx.tree_at(lambda m: [where(m) for where, _ in table.values()], build(), values)


def _check_sizes(state: Mapping[str, np.ndarray], config: TiRGNTrainingConfig, source: str) -> None:
    """No size that a model is built by goes beyond what the state holds."""
    numbers = sum(np.size(value) for value in state.values())
    for name in ("embedding_dim", "num_layers", "conv_channels", "conv_kernel"):
        if getattr(config, name) > numbers:
            raise CheckpointError(
                f"{source}: holds {numbers:,} numbers in all, too few for {name} = {getattr(config, name)}; check --set"
            )


def read_state(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of an `.npz`, or of a `.pt`/checkpoint file through torch's weights-only loader.

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
    except Exception as error:  # torch raises many kinds for a file that is not its own
        raise CheckpointError(
            f"{path}: torch cannot read it with weights_only=True ({told(error)[:200]}); save model.state_dict()"
        ) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise CheckpointError(f"{path}: holds no state_dict of tensors; save model.state_dict()")
    return {name: _plain_tensor(path, name, value) for name, value in content.items()}


def _check_packing(path: Path) -> None:
    """**Raises:** CheckpointError for a zip file that unpacks to more than itself: torch writes none."""
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
    except BROKEN:
        return  # an older form, or none at all, of which torch will say so
    if total > path.stat().st_size:
        raise CheckpointError(f"{path}: unpacks to {total:,} bytes, more than it has; save it with torch.save")


def _plain_tensor(path: Path, name: str, value: Any) -> np.ndarray:
    """A dense tensor that has its numbers in the file, as an array."""
    import torch  # pyright: ignore[reportMissingImports]

    refused = lambda what: CheckpointError(f"{path}: {shown(name)} is {what}; save model.state_dict() of plain tensors")
    if not isinstance(value, torch.Tensor):
        raise refused(f"a {type(value).__name__}, not a tensor")
    if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
        raise refused(f"a tensor of another kind ({value.layout}, {value.dtype}, on {value.device})")
    value = value.detach()
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise refused(f"{value.numel():,} numbers, of which the file holds {len(value.untyped_storage()):,} bytes")
    return (value.float() if value.dtype == torch.bfloat16 else value.resolve_conj().resolve_neg()).numpy()


def import_torch(
    state_path: str | Path, graph: TemporalGraph, out: str | Path, config_overrides: dict[str, Any]
) -> Path:
    """Write the released model's weights as a checkpoint that `tirgn eval` runs.

    Sizes that the weights show (embedding width, graph layers, channels, kernel, static blocks) are read from
    them; what they do not show (window length, time-dependent options) comes from `config_overrides`, which
    also wins where both speak, so that a contradiction is named. The clock counts from time 0, as the released code's.
    """
    state = read_state(state_path)
    sizes = _shown_settings(state)
    try:
        config = TiRGNTrainingConfig(history_window=0, batch_size=0).replace(**sizes | config_overrides)
    except ConfigError as error:
        raise CheckpointError(f"{state_path}: its shapes say {error}; check the file and --set") from error
    model = model_from_state(state, graph, config, str(state_path))
    graph = dataclasses.replace(graph, clock_origin=0)
    return save_model(out, model, config, graph, {"imported_from": str(state_path)})


def _shown_settings(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The settings that tensor shapes give away; silent about tensors that are missing or misshapen."""
    found: dict[str, Any] = {}
    shape = lambda name: np.shape(state.get(name, ()))
    if len(shape("emb_rel")) == 2:
        found["embedding_dim"] = int(shape("emb_rel")[1])
    if len(shape("decoder_ob1.conv1.weight")) == 3:
        channels, _, kernel = shape("decoder_ob1.conv1.weight")
        found |= {"conv_channels": int(channels), "conv_kernel": int(kernel)}
    layers = {name.split(".")[2] for name in state if name.startswith("rgcn.layers.")}
    if layers:
        found["num_layers"] = len(layers)
    static = shape("statci_rgcn_layer.weight")
    found["static_graph"] = len(static) == 2
    if len(static) == 2 and "embedding_dim" in found:
        # blocks * (dim / blocks)^2 columns
        found["static_blocks"] = max(1, found["embedding_dim"] ** 2 // max(1, int(static[1])))
    return found
