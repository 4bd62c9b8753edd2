"""The optimizer: clipping, Adam with an L2 penalty as published, its learning rate, and averaged weights."""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from tirgn_eqx.config import ModelTrainingConfig
from tirgn_eqx.models import AnyModel, EventRates, Model
from tirgn_eqx.nn import RunningStatistics, StaticEdges


def trainable(model: AnyModel | EventRates) -> PyTree[bool]:
    """True for every leaf that training changes: floating-point arrays (or their shapes) that are no buffers."""

    def mark(node: object) -> PyTree[bool]:
        if _is_buffer(node):
            return jax.tree.map(lambda _: False, node)
        return isinstance(node, jax.Array | jax.ShapeDtypeStruct) and jnp.issubdtype(node.dtype, jnp.inexact)

    return jax.tree.map(mark, model, is_leaf=_is_buffer)


def _is_buffer(node: object) -> bool:
    # The degrees of static edges are a floating-point array, which would be trained otherwise.
    return isinstance(node, RunningStatistics | StaticEdges)


def parameter_count(model: AnyModel | EventRates) -> int:
    """Number of trained scalars."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, trainable(model))))


def clip_by_norm(limit: float) -> optax.GradientTransformation:
    """Scale the gradient down to global norm `limit`, as PyTorch's `clip_grad_norm_` does.

    `optax.clip_by_global_norm` lacks the 1e-6 that PyTorch adds to the norm.
    """

    def init(params: PyTree) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(
        updates: PyTree, state: optax.EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, optax.EmptyState]:
        del params
        scale = jnp.minimum(1.0, limit / (optax.tree.norm(updates) + 1e-6))
        return jax.tree.map(lambda g: g * scale.astype(g.dtype), updates), state

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]  # optax's Params has no PyTree


class AverageState(NamedTuple):
    """The moving average of the weights, and the number of updates in it."""

    updates: Int[Array, ""]
    weights: PyTree


def moving_average(decay: float) -> optax.GradientTransformation:
    """Keep the exponential moving average of the weights; the last link of a chain, whose updates it passes on.

    After update t it is `decay_t * average + (1 - decay_t) * weights` with `decay_t = min(decay, (1 + t) / (10 + t))`,
    so that the initial weights are forgotten quickly. A step on rows averages those rows alone, each over the steps
    that touched it.
    """

    def init(params: PyTree) -> AverageState:
        # A copy, because a step donates both the weights and this state.
        return AverageState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.array, params))

    def update(updates: PyTree, state: AverageState, params: PyTree | None = None) -> tuple[PyTree, AverageState]:
        assert params is not None
        number = state.updates + 1
        # 1 - decay_t, where 1 - (1 + t) / (10 + t) = 9 / (10 + t).
        share = jnp.maximum(1 - decay, 9 / (10 + number))

        def blend(mean: Array, x: Array, change: Array) -> Array:
            # The updates are applied after the chain, so `x + change` are the weights after this step.
            return mean + share.astype(x.dtype) * (x + change - mean)

        return updates, AverageState(number, jax.tree.map(blend, state.weights, params, updates))

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]  # as above


def with_averaged_weights(model: Model, opt_state: PyTree) -> Model:
    """`model` with its averaged weights where the optimizer keeps them (`ema_decay`), else `model` itself."""
    for state in opt_state:
        if isinstance(state, AverageState):
            # `weights` has None in place of buffers and settings, which come from the model.
            return eqx.combine(state.weights, model)
    return model


def learning_rate_schedule(config: ModelTrainingConfig, num_steps: int) -> optax.Schedule:
    """The learning rate by the number of steps done, in a training of `num_steps`."""
    rate, steps = config.learning_rate, max(num_steps, 1)
    if config.lr_schedule == "linear":
        return optax.linear_schedule(rate, 0.0, steps)
    if config.lr_schedule == "cosine":
        return optax.cosine_decay_schedule(rate, steps)
    return optax.constant_schedule(rate)


def make_optimizer(config: ModelTrainingConfig, num_steps: int = 1) -> optax.GradientTransformation:
    """Clipping, then Adam with the L2 penalty in the gradient (not AdamW), as published.

    **Arguments:** `num_steps`: of the whole training, for a learning rate that decays (`lr_schedule`).

    **Returns:** an optax transformation; `init_optimizer` makes its state.
    """
    # A schedule adds a count of steps to the optimizer's state; a constant rate has none.
    constant = config.lr_schedule == "constant"
    # PyTorch's order: the gradient is clipped before `step`, and Adam adds the penalty within it, unclipped.
    return optax.chain(
        clip_by_norm(config.grad_clip) if config.grad_clip else optax.identity(),
        optax.add_decayed_weights(config.weight_decay),
        optax.scale_by_adam(eps=1e-8),
        optax.scale_by_learning_rate(config.learning_rate if constant else learning_rate_schedule(config, num_steps)),
        *([moving_average(config.ema_decay)] if config.ema_decay else []),
    )


def init_optimizer(optimizer: optax.GradientTransformation, model: Model) -> PyTree:
    """The optimizer's state for the trainable leaves of `model`."""
    return optimizer.init(eqx.filter(model, trainable(model)))  # pyright: ignore[reportArgumentType]
