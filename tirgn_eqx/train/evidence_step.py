"""The training step of the evidence model: pure, like that of the others, and of one part of a snapshot."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import optax
from beartype import beartype
from jaxtyping import Array, Float, PyTree, jaxtyped

from tirgn_eqx.models.evidence import Evidence
from tirgn_eqx.train.non_finite import is_finite, kept_unless
from tirgn_eqx.train.optimizer import global_norm, trainable
from tirgn_eqx.types import Answers, EvidenceBatch

Metrics = dict[str, Float[Array, ""]]


def mean_nll(log_probability: Float[Array, " answer"], answers: Answers) -> Float[Array, ""]:
    """Mean negative log-probability of the answers, each with its weight; 0 where there are none."""
    weight = answers.answer_weight
    return -jnp.sum(log_probability * weight) / jnp.maximum(jnp.sum(weight), 1)


def evidence_loss(model: Evidence, batch: EvidenceBatch) -> tuple[Float[Array, ""], Metrics]:
    """`task_weight` * mean NLL of the entity answers + (1 - `task_weight`) * that of the relation answers, in nats."""

    entity, relation = model.answer_log_probabilities(batch, batch.key)
    losses = mean_nll(entity, batch.entity.answers), mean_nll(relation, batch.relation.answers)
    loss = model.task_weight * losses[0] + (1 - model.task_weight) * losses[1]
    zero = jnp.zeros_like(loss)
    return loss, {"loss": loss, "loss_entity": losses[0], "loss_relation": losses[1], "loss_static": zero}


def make_evidence_step(optimizer: optax.GradientTransformation) -> Any:
    """The pure `step(model, opt_state, batch) -> (model, opt_state, metrics)`; shapes are checked as it is traced."""

    @jaxtyped(typechecker=beartype)
    def step(model: Evidence, opt_state: PyTree, batch: EvidenceBatch) -> tuple[Evidence, PyTree, Metrics]:
        gradient, metrics = eqx.filter_grad(evidence_loss, has_aux=True)(model, batch)
        trained = trainable(model)
        gradient = eqx.filter(gradient, trained)
        updates, new_state = optimizer.update(gradient, opt_state, eqx.filter(model, trained))  # pyright: ignore
        metrics = metrics | {"gradient_norm": global_norm(gradient)}
        new = eqx.apply_updates(model, updates), new_state
        return *kept_unless(is_finite(metrics), new, (model, opt_state)), metrics

    return step
