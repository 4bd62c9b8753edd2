"""The optimizer: clip, Adam with L2 as published, its step size over a run, and the moving average of the weights."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from tirgn_eqx.config import ModelTrainingConfig
from tirgn_eqx.models import Model
from tirgn_eqx.nn import RunningStatistics, StaticEdges


def trainable(model: Model) -> PyTree:
    """True for every leaf that training changes: floating, and not a buffer. Shapes may stand for arrays."""
    is_buffer = lambda node: isinstance(node, RunningStatistics | StaticEdges)
    is_array = lambda node: eqx.is_array(node) or isinstance(node, jax.ShapeDtypeStruct)
    is_floating = lambda node: is_array(node) and jnp.issubdtype(node.dtype, jnp.inexact)
    mark = lambda node: jax.tree.map(lambda _: False, node) if is_buffer(node) else is_floating(node)
    return jax.tree.map(mark, model, is_leaf=is_buffer)


def parameter_count(model: Model) -> int:
    """Number of trained scalars."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, trainable(model))))


def global_norm(tree: PyTree) -> Float[Array, ""]:
    """L2 norm over all leaves together."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))


def clip_by_norm(limit: float) -> optax.GradientTransformation:
    """Scale the gradient to global norm `limit` when it is longer, as PyTorch's clip_grad_norm_ does."""

    def update(updates, state, params=None):
        del params
        # PyTorch divides by the norm plus 1e-6.
        scale = jnp.minimum(1.0, limit / (global_norm(updates) + 1e-6))
        return jax.tree.map(lambda g: g * scale.astype(g.dtype), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


class Average(NamedTuple):
    """A moving average of the weights, and the number of updates in it."""

    updates: Int[Array, ""]
    weights: PyTree


def moving_average(decay: float) -> optax.GradientTransformation:
    """Keep the exponential moving average of the weights; the last link of a chain, whose updates it passes on.

    After update t it is `decay_t * average + (1 - decay_t) * weights` with `decay_t = min(decay, (1 + t) / (10 + t))`,
    so that the first weights are soon forgotten. A step on rows averages those rows alone: each over the steps
    that touched it.
    """

    def init(params):
        # A copy: a step donates both the weights and this state.
        return Average(jnp.zeros((), jnp.int32), jax.tree.map(jnp.array, params))

    def update(updates, state, params=None):
        assert params is not None
        number = state.updates + 1
        share = jnp.maximum(1 - decay, 9 / (10 + number))
        blend = lambda mean, x, change: mean + share.astype(x.dtype) * (x + change - mean)
        return updates, Average(number, jax.tree.map(blend, state.weights, params, updates))

    return optax.GradientTransformation(init, update)


def averaged(model: Model, opt_state: PyTree) -> Model:
    """`model` with its averaged weights, where the optimizer keeps an average; else `model` as it is."""
    for state in opt_state:
        if isinstance(state, Average):
            return eqx.combine(state.weights, model)
    return model


def step_size(config: ModelTrainingConfig, num_steps: int) -> optax.Schedule:
    """Adam's step size by the number of steps done, over a run of `num_steps`."""
    rate, steps = config.learning_rate, max(num_steps, 1)
    if config.lr_schedule == "linear":
        return optax.linear_schedule(rate, 0.0, steps)
    if config.lr_schedule == "cosine":
        return optax.cosine_decay_schedule(rate, steps)
    return optax.constant_schedule(rate)


def make_optimizer(config: ModelTrainingConfig, num_steps: int = 1) -> optax.GradientTransformation:
    """Clip, then Adam with L2 in the gradient (not AdamW): as published when the step size is constant.

    **Arguments:** `num_steps`: of the whole run, for a step size that falls.
    """
    constant = config.lr_schedule == "constant"
    return optax.chain(
        clip_by_norm(config.grad_clip) if config.grad_clip else optax.identity(),
        optax.add_decayed_weights(config.weight_decay),
        optax.scale_by_adam(eps=1e-8),
        optax.scale_by_learning_rate(config.learning_rate if constant else step_size(config, num_steps)),
        *([moving_average(config.ema_decay)] if config.ema_decay else []),
    )


def init_optimizer(optimizer: optax.GradientTransformation, model: Model) -> PyTree:
    """The optimizer's state for the trainable leaves of `model`."""
    return optimizer.init(eqx.filter(model, trainable(model)))  # pyright: ignore[reportArgumentType]
