"""Mixed precision: parameters are f32, and matrices are cast to the compute type within a step."""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false

import functools
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from tirgn_eqx.errors import ConfigError
from tirgn_eqx.nn import ConvDecoder, DropoutRates
from tirgn_eqx.runtime.compile_cache import SPEED_FILE, has_bf16_products, is_machine_folder
from tirgn_eqx.runtime.compiling import compile_ahead
from tirgn_eqx.runtime.processes import count
from tirgn_eqx.storage.atomic_write import write_text

Precision = Literal["auto", "bf16", "f32", "f64"]
Compute = Literal["bf16", "f32", "f64"]
_COMPUTE = {"bf16": jnp.bfloat16, "f32": jnp.float32, "f64": jnp.float64}
Tree = TypeVar("Tree")
# bf16 is less accurate, so that a CPU has to be clearly faster with it; and beside other work a measurement is rough.
CPU_GAIN = 1.5


def compute_type(precision: Precision) -> Compute:
    """The type that `precision` stands for: `auto` is bf16 on an accelerator, and f32 on a CPU.

    **Raises:** ConfigError when f64 is asked for and JAX would silently give f32.
    """
    if precision == "auto":
        return "f32" if jax.default_backend() == "cpu" else "bf16"
    if precision == "f64" and not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise ConfigError("precision = f64: set JAX_ENABLE_X64=1 in the environment first")
    return precision


def faster_type(precision: Precision) -> Compute:
    """`compute_type`, but with `auto` bf16 also on a CPU that is clearly faster with it. A training asks this once,
    before it traces anything, and keeps the answer: see `cpu_seconds`."""
    if precision == "auto" and jax.default_backend() == "cpu":
        return "bf16" if _cpu_prefers_bf16() else "f32"
    return compute_type(precision)


@functools.cache
def _cpu_prefers_bf16() -> bool:
    """Whether this CPU is faster with bf16, as measured once and kept beside the compiled programs."""
    # Several processes, each with a measurement of its own, might not agree.
    if not has_bf16_products() or count() > 1:
        return False
    folder = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    # Only a folder that belongs to one kind of machine: others may be shared by several.
    kept = Path(folder) / SPEED_FILE if folder and is_machine_folder(Path(folder)) else None
    if kept is not None:
        with suppress(OSError, ValueError, TypeError, KeyError):
            seconds = json.loads(kept.read_text())
            return seconds["f32"] > CPU_GAIN * seconds["bf16"]
    seconds = cpu_seconds()
    if kept is not None:
        with suppress(OSError):  # a folder that can only be read
            write_text(kept, json.dumps(seconds))
    return seconds["f32"] > CPU_GAIN * seconds["bf16"]


def cpu_seconds(queries: int = 512, dim: int = 200, channels: int = 50, candidates: int = 4096) -> dict[str, float]:
    """How long this machine takes for loss and gradient of one decoder with these sizes, by compute type: the shortest
    of several calls in turn. The decoders take most of a training step."""
    keys = jr.split(jr.key(0), 3)
    decoder = ConvDecoder(dim, channels, 3, inputs=2, key=keys[0])
    subject, entities = jr.normal(keys[1], (queries, dim)), jr.normal(keys[2], (candidates, dim))
    rates = DropoutRates(0.2, 0.2, 0.2)

    def loss(weights: tuple[ConvDecoder, Array, Array], precision: Precision) -> Float[Array, ""]:
        model, first, table = cast_for_compute(weights, precision)
        vectors, _ = model(
            first, first, (), jnp.ones(queries), decoder.running, rates=rates, training=True, key=keys[1]
        )
        scores = jnp.matmul(vectors, table.T, preferred_element_type=jnp.float32)
        return jnp.mean(jax.nn.logsumexp(scores, axis=1))

    weights = (decoder, subject, entities)
    programs = {
        precision: compile_ahead(eqx.filter_grad(functools.partial(loss, precision=precision)), weights)
        for precision in ("f32", "bf16")
    }
    seconds = dict.fromkeys(programs, float("inf"))
    for _ in range(5):
        for precision, program in programs.items():
            begin = time.perf_counter()
            jax.block_until_ready(program(weights))
            seconds[precision] = min(seconds[precision], time.perf_counter() - begin)
    return seconds


def cast_for_compute(model: Tree, precision: Precision) -> Tree:
    """`model` with its matrices in the compute type.

    Vectors and scalars (biases, BatchNorm, time vectors, running statistics) stay f32: they cost nothing, and bf16
    cannot resolve the phase of a clock of a few thousand steps. Gradients through the cast have the parameters' type.
    """
    dtype = _COMPUTE[compute_type(precision)]
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) and x.ndim >= 2 else x, model)


def cast_parameters(model: Tree, precision: Precision) -> Tree:
    """`model` as a training stores it: every floating-point leaf in f32, or in f64 when `precision` is `f64`."""
    dtype = jnp.float64 if precision == "f64" else jnp.float32
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, model)
