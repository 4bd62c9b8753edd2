"""Mixed precision: parameters are f32, and matrices are cast to the compute type within a step."""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false

from typing import Literal, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from tirgn_eqx.errors import ConfigError

Precision = Literal["auto", "bf16", "f32", "f64"]
Compute = Literal["bf16", "f32", "f64"]
_COMPUTE = {"bf16": jnp.bfloat16, "f32": jnp.float32, "f64": jnp.float64}
Tree = TypeVar("Tree")


def compute_type(precision: Precision) -> Compute:
    """The type that `precision` stands for on this machine: `auto` is bf16 on an accelerator, and f32 on a CPU.

    On a CPU, XLA's bf16 step measured slower than its f32 step, and it is less accurate.

    **Raises:** ConfigError when f64 is asked for and JAX would silently give f32.
    """
    if precision == "auto":
        return "f32" if jax.default_backend() == "cpu" else "bf16"
    if precision == "f64" and not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise ConfigError("precision = f64: set JAX_ENABLE_X64=1 in the environment first")
    return precision


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
