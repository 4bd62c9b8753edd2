"""Evaluation of a model that goes on learning: from every snapshot once it is over, before the next one is forecast.

This is how a forecaster is used that is trained every day. Published figures are of models that learn nothing during
test, so that no figure from here stands beside them.
"""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

import dataclasses
import heapq
from collections.abc import Callable, Iterator
from typing import Generic, Literal, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from tirgn_eqx.config import MixtureTrainingConfig, ModelTrainingConfig, RecurrentTrainingConfig, TrainingConfig
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.evaluate.protocol import make_evaluator
from tirgn_eqx.evaluate.results import Evaluation
from tirgn_eqx.models import Mixture, Model
from tirgn_eqx.train.compiled_step import AnyPrepared, CompiledStep
from tirgn_eqx.train.events import ignore
from tirgn_eqx.train.families import resolve_config, training_family
from tirgn_eqx.train.optimizer import init_optimizer, make_optimizer
from tirgn_eqx.train.precision import cast_parameters

SETTING = "single-step, online"
HeldOut = Literal["valid", "test"]
HELD_OUT: tuple[HeldOut, ...] = ("valid", "test")
RATE = 0.1  # of the step size of the training
ModelT = TypeVar("ModelT", bound=Model)


class OnlineLearner(Generic[ModelT]):
    """A model that learns from snapshots of `graph` in time order, one gradient step for each batch.

    **Arguments:** `config`: as `load_model` returns it; `rate`: the step size, as a share of that of the training;
    `splits`: what is learnt.
    """

    def __init__(
        self,
        model: ModelT,
        graph: TemporalGraph,
        config: ModelTrainingConfig,
        rate: float = RATE,
        splits: tuple[HeldOut, ...] = HELD_OUT,
    ):
        config = resolve_config(config, graph)
        config = config.replace(
            learning_rate=rate * config.learning_rate,
            lr_schedule="constant",
            ema_decay=0.0,
            **({"targets_per_step": 1} if isinstance(config, RecurrentTrainingConfig) else {}),
        )
        data = training_family(config).data(graph, config, None)
        self._key, self._steps = jr.key(config.seed), 0
        optimizer = make_optimizer(config)
        # A step takes the buffers of its model, and those of the caller stay the caller's.
        own = jax.tree.map(lambda x: jnp.array(x) if eqx.is_array(x) else x, model)
        self.model: ModelT = cast_parameters(own, config.precision)
        self._opt_state = init_optimizer(optimizer, self.model)

        def lessons(split: HeldOut) -> Iterator[tuple[AnyPrepared, CompiledStep]]:
            # The padded shapes of a split are its own, and so are the programs.
            loader, step = data.loader(config, split), CompiledStep(config, ignore, optimizer, graph.num_entities)
            return ((prepared, step) for prepared in loader.in_order())

        self._lessons = heapq.merge(*map(lessons, splits), key=lambda lesson: lesson[0].target)
        self._next = next(self._lessons, None)

    def before(self, target: int) -> ModelT:
        """The model that has learnt from every snapshot before `target`; targets ascend from call to call.

        The next call may take the arrays of the model that this one returns.
        """
        while self._next is not None and self._next[0].target < target:
            prepared, step = self._next
            key = jr.fold_in(self._key, self._steps)
            self.model, self._opt_state, _ = step(self.model, self._opt_state, prepared, key)
            self._steps, self._next = self._steps + 1, next(self._lessons, None)
        return self.model


def online_model(
    model: Model,
    graph: TemporalGraph,
    config: TrainingConfig,
    rate: float = RATE,
    splits: tuple[HeldOut, ...] = HELD_OUT,
) -> Callable[[int], Model]:
    """From a target to `model` as it is when it has learnt from all snapshots before the target; targets ascend. Of a
    mixture the parts learn, each from its own loss, and the gate stays."""
    if not isinstance(model, Mixture):
        assert isinstance(config, ModelTrainingConfig)
        return OnlineLearner(model, graph, config, rate, splits).before
    assert isinstance(config, MixtureTrainingConfig)
    structure = OnlineLearner(model.structure, graph, config.structure, rate, splits)
    evidence = OnlineLearner(model.evidence, graph, config.evidence, rate, splits)
    return lambda target: Mixture(structure.before(target), evidence.before(target), model.gate)


def evaluate_online(
    model: Model,
    graph: TemporalGraph,
    config: TrainingConfig,
    *,
    split: HeldOut = "test",
    rate: float = RATE,
    splits: tuple[HeldOut, ...] = HELD_OUT,
) -> Evaluation:
    """Single-step ranks of the queries of `split` by a model that learns from every snapshot once it is over.

    **Arguments:** `model`, `config`: as `load_model` returns them, `model` stays as it is; `rate`, `splits`: as of
    `OnlineLearner`; a refitted model has learnt valid already, and learns test alone.

    **Returns:** an evaluation in the setting `SETTING`.

    ```python
    from tirgn_eqx import load_model
    from tirgn_eqx.train.online import evaluate_online

    model, config, metadata = load_model("models/tkg/tirgn_best.npz")
    print(evaluate_online(model, graph, config).entity["mrr"])
    ```
    """
    evaluator = make_evaluator(model, graph, split=split, **config.window())
    found = evaluator(model, known=online_model(model, graph, config, rate, splits))
    return dataclasses.replace(found, setting=SETTING)
