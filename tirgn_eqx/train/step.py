"""The training step: a pure function of model, optimizer state and batch.

The window of a recurrent graph model is evolved once. Queries are scored in micro-batches inside a scan, each giving
its gradient with respect to the decoders and the evolved state; the summed state gradient is pulled back through the
evolution once. Memory is therefore that of one micro-batch, and evolution is never repeated.
"""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from beartype import beartype
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, jaxtyped

from tirgn_eqx.config import RecurrentTrainingConfig
from tirgn_eqx.models import Encoding, Evidence, RecurrentGraphModel
from tirgn_eqx.models.encoder import GraphStatistics, Remat
from tirgn_eqx.models.recurrent import Buffers
from tirgn_eqx.nn.segments import segment_sum
from tirgn_eqx.runtime.meshes import as_placed, everywhere, is_entity_table, split
from tirgn_eqx.train.optimizer import trainable
from tirgn_eqx.train.precision import Precision, cast_for_compute
from tirgn_eqx.train.recovery import Metrics, is_finite, select_tree, update_if_finite
from tirgn_eqx.types import Answers, Batch, EntityRows, EvidenceBatch, Queries, Scalar

# `Any`: a model, its optimizer state and a batch, all of one family, see `TrainingFamily`.
Step = Callable[[Any, Any, Any], tuple[Any, Any, Metrics]]


class Gradients(NamedTuple):
    """Metrics, the gradient with respect to the trainable leaves (None elsewhere), and the new buffers."""

    metrics: Metrics
    gradient: RecurrentGraphModel
    buffers: Buffers


# The scan over micro-batches carries the gradients of decoders and states, the losses, and the buffers; a step has the
# queries of either kind, a key, the divisors, and the target.
_Carry = tuple[tuple[RecurrentGraphModel, Encoding], list[Scalar], Buffers]
_MicroBatch = tuple[tuple[Queries, Queries], PRNGKeyArray | None, list[Float[Array, ""]], Int[Array, ""] | None]


def loss_and_gradient(
    model: RecurrentGraphModel,
    batch: Batch,
    *,
    precision: Precision = "f32",
    policy: Remat = "none",
    unroll: bool = False,
    training: bool = True,
    num_entities: int | None = None,
) -> Gradients:
    """Loss and gradient of one target snapshot, or of the mean over several that share their evolution.

    The loss is `task_weight` * entity + (1 - `task_weight`) * relation + static, where entity and relation are
    means over all answers of the snapshot in both directions (TiRGN, equations 15 to 17).

    **Arguments:**

    - `batch`: with a leading `micro` axis on its queries.
    - `precision`, `policy`, `unroll`: compute type, rematerialisation, unrolling of the loop over the window.
    - `training`: batch statistics and dropout (with `batch.key`); False freezes both, as in inference.
    - `num_entities`: of the vocabulary, when `model` holds only the rows of the batch (`at_rows`).
    """
    parameters, rest = eqx.partition(model, trainable(model))
    # One key for the dropout of the encoder, one for that of the decoders.
    key, micro_key = (None, None) if batch.key is None or not training else jr.split(batch.key)

    def ready(parameters: RecurrentGraphModel) -> RecurrentGraphModel:
        # Cast inside what is differentiated, so that gradients are those of the f32 parameters.
        return cast_for_compute(eqx.combine(parameters, rest), precision)

    all_queries = (batch.entity_queries, batch.relation_queries)
    # Divided by the answers of the whole snapshot, the sums of micro-batches add up to one mean.
    divisors = [_divisor(queries.answer_weight, batch) for queries in all_queries]
    targets = 1 if batch.target_of_micro is None else batch.time_index.shape[0]
    shares = (model.task_weight, 1 - model.task_weight)

    def encode(parameters: RecurrentGraphModel) -> tuple[Encoding, GraphStatistics]:
        encoder = ready(parameters).encoder
        return encoder(
            batch.window, rows=batch.rows, targets=targets, training=training, key=key, policy=policy, unroll=unroll
        )

    # Forward through the window here; backward once, below, with the gradient that all micro-batches sum up.
    encoding, pull_back, graph_buffers = jax.vjp(encode, parameters, has_aux=True)
    buffers = eqx.tree_at(lambda b: b.graph, model.buffers, graph_buffers)

    def micro_loss(
        parameters: RecurrentGraphModel,
        encoding: Encoding,
        buffers: Buffers,
        queries: tuple[Queries, Queries],
        key: PRNGKeyArray | None,
        micro_divisors: list[Float[Array, ""]],
        target: Int[Array, ""] | None,
    ) -> tuple[Scalar, tuple[list[Scalar], Buffers]]:
        time_index = batch.time_index if target is None else batch.time_index[target]
        decoder, losses = ready(parameters), list[Scalar]()
        kind_keys = (None, None) if key is None else jr.split(key)
        for kind, some, divisor, kind_key in zip(("entity", "relation"), queries, micro_divisors, kind_keys):
            loss, buffers = decoder.answer_losses(
                encoding,
                some,
                time_index,
                buffers,
                kind=kind,
                training=training,
                key=kind_key,
                rows=batch.rows,
                num_entities=num_entities,
            )
            losses.append(loss / divisor.astype(loss.dtype))
        return shares[0] * losses[0] + shares[1] * losses[1], (losses, buffers)

    differentiate = jax.value_and_grad(micro_loss, argnums=(0, 1), has_aux=True)
    num_micro = batch.entity_queries.subject.shape[0]
    if num_micro == 1:
        queries, some = jax.tree.map(lambda x: x[0], (all_queries, divisors))
        (_, (losses, buffers)), gradients = differentiate(parameters, encoding, buffers, queries, micro_key, some, None)
    else:

        def body(carry: _Carry, step: _MicroBatch) -> tuple[_Carry, None]:
            ((to_decoder, to_state), losses, buffers), (queries, key, some, target) = carry, step
            seen = encoding if target is None else encoding.at_target(target)
            result = differentiate(parameters, seen, buffers, queries, key, some, target)
            (_, (new, buffers)), (more_to_decoder, more_to_state) = result

            def add(total: Array, part: Array) -> Array:
                return total + part.astype(total.dtype)

            def put(total: Array, part: Array) -> Array:
                # Every target has its own state, and each state its own gradient.
                return total.at[target].add(part.astype(total.dtype)) if part.ndim else total

            to_state = jax.tree.map(add if target is None else put, to_state, more_to_state)
            gradients = jax.tree.map(add, to_decoder, more_to_decoder), to_state
            return (gradients, jax.tree.map(add, losses, new), buffers), None

        # The states may be in bf16; their gradient is summed over micro-batches in at least f32.
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.promote_types(x.dtype, jnp.float32)), encoding)
        start = jax.tree.map(jnp.zeros_like, parameters), zeros
        no_loss = [jnp.zeros_like(encoding.static_loss)] * 2
        micro_keys = None if micro_key is None else jr.split(micro_key, num_micro)
        carry, _ = jax.lax.scan(
            body, (start, no_loss, buffers), (all_queries, micro_keys, divisors, batch.target_of_micro)
        )
        gradients, losses, buffers = carry
    decoder_gradient, state_gradient = gradients
    # `pull_back` takes gradients in the types of what `encode` returned.
    state_gradient = jax.tree.map(lambda g, x: g.astype(x.dtype), state_gradient, encoding)
    # The static loss is part of the encoding and enters the total with factor 1.
    one = jnp.ones_like(encoding.static_loss)
    (encoder_gradient,) = pull_back(eqx.tree_at(lambda e: e.static_loss, state_gradient, one))
    gradient = jax.tree.map(jnp.add, decoder_gradient, encoder_gradient)
    static = encoding.static_loss
    metrics = {
        "loss": shares[0] * losses[0] + shares[1] * losses[1] + static,
        "loss_entity": losses[0],
        "loss_relation": losses[1],
        "loss_static": static,
    }
    return Gradients(metrics, gradient, buffers)


def _take_rows(tree: PyTree, rows: EntityRows) -> PyTree:
    """`tree` with its entity tables cut down to `rows`."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: split(rows.take(leaf), "entity") if is_entity_table(path) else leaf, tree
    )


def _put_rows(tree: PyTree, rows: EntityRows, part: PyTree) -> PyTree:
    """`part` with the whole entity tables of `tree`, where `rows` are replaced by those of `part`."""

    def put(path: tuple[object, ...], whole: Array, few: Array) -> Array:
        return whole.at[rows.index].set(few, mode="drop") if is_entity_table(path) else few

    return jax.tree_util.tree_map_with_path(put, tree, part)


def _divisor(weight: Float[Array, "micro answer"], batch: Batch) -> Float[Array, " micro"]:
    """What the summed loss of a micro-batch is divided by: answers of its target * targets with answers."""
    count = jnp.sum(weight, 1)
    if batch.target_of_micro is None:
        return jnp.broadcast_to(jnp.maximum(jnp.sum(count), 1), count.shape)
    total = segment_sum(count, batch.target_of_micro, batch.time_index.shape[0])
    # `(target,)` to `(micro,)`: the divisor of a target belongs to each of its micro-batches.
    return (jnp.maximum(total, 1) * jnp.maximum(jnp.sum(total > 0), 1))[batch.target_of_micro]


def unrolls_window(config: RecurrentTrainingConfig) -> bool:
    """Whether a step has no loop over the window: that runs faster on a CPU only, and compiles more slowly anywhere."""
    return config.unroll and jax.default_backend() == "cpu"


def make_recurrent_step(
    config: RecurrentTrainingConfig, optimizer: optax.GradientTransformation, num_entities: int | None = None
) -> Step:
    """`make_step` of recurrent graph models; `num_entities`: of the vocabulary, where the table has more rows."""

    @jaxtyped(typechecker=beartype)
    def step(
        model: RecurrentGraphModel, opt_state: PyTree, batch: Batch
    ) -> tuple[RecurrentGraphModel, PyTree, Metrics]:
        entities = num_entities or model.num_entities
        if batch.rows is None or batch.rows.index is None:
            return update(model, opt_state, batch, entities)
        # The rows are cut out, updated and put back, so that no gradient of the whole table is made.
        part, part_state = model.at_rows(batch.rows), _take_rows(opt_state, batch.rows)
        part, part_state, metrics = update(part, part_state, batch, entities)
        return _put_rows(model, batch.rows, part), _put_rows(opt_state, batch.rows, part_state), metrics

    def update(
        model: RecurrentGraphModel, opt_state: PyTree, batch: Batch, num_entities: int
    ) -> tuple[RecurrentGraphModel, PyTree, Metrics]:
        unroll = unrolls_window(config)
        result = loss_and_gradient(
            model, batch, precision=config.precision, policy=config.remat, unroll=unroll, num_entities=num_entities
        )
        parameters = eqx.filter(model, trainable(model))
        updates, new_state = optimizer.update(result.gradient, opt_state, parameters)  # pyright: ignore
        metrics = result.metrics | {"gradient_norm": optax.tree.norm(result.gradient)}
        new = eqx.apply_updates(model, updates).with_buffers(jax.lax.stop_gradient(result.buffers))
        new, new_state = select_tree(is_finite(metrics), (new, new_state), (model, opt_state))
        # Laid out as the arguments are, since the results are the arguments of the next compiled step.
        return as_placed(new), as_placed(new_state), everywhere(metrics)

    return step


# --- the evidence model ------------------------------------------------------------------------------------------


def mean_nll(log_probability: Float[Array, " answer"], answers: Answers) -> Float[Array, ""]:
    """Weighted mean of the answers' negative log-probabilities, in nats; 0 where there are none."""
    weight = answers.answer_weight
    return -jnp.sum(log_probability * weight) / jnp.maximum(jnp.sum(weight), 1)


def evidence_loss(model: Evidence, batch: EvidenceBatch) -> tuple[Float[Array, ""], Metrics]:
    """`task_weight` * mean NLL of entity answers + (1 - `task_weight`) * mean NLL of relation answers, in nats."""
    entity, relation = model.answer_log_probabilities(batch, batch.key)
    losses = mean_nll(entity, batch.entity.answers), mean_nll(relation, batch.relation.answers)
    loss = model.task_weight * losses[0] + (1 - model.task_weight) * losses[1]
    zero = jnp.zeros_like(loss)
    return loss, {"loss": loss, "loss_entity": losses[0], "loss_relation": losses[1], "loss_static": zero}


def make_evidence_step(optimizer: optax.GradientTransformation) -> Step:
    """`make_step` of the evidence model, whose batches are parts of a snapshot."""

    @jaxtyped(typechecker=beartype)
    def step(model: Evidence, opt_state: PyTree, batch: EvidenceBatch) -> tuple[Evidence, PyTree, Metrics]:
        gradient, metrics = eqx.filter_grad(evidence_loss, has_aux=True)(model, batch)
        trained = trainable(model)
        # `filter_grad` differentiates every floating-point array, the degrees of static edges included.
        gradient = eqx.filter(gradient, trained)
        return update_if_finite(optimizer, gradient, model, opt_state, metrics, eqx.filter(model, trained))

    return step
