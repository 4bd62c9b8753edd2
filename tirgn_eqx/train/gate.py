"""The last stage of a structure with evidence: its gate, fitted on held-out snapshots with everything else frozen.

On the training snapshots both parts remember what they forecast, the structure more so, and a gate fitted there
trusts it too much (ICEWS14s: test MRR 46.3, against 48.0 fitted on the validation split).
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from beartype import beartype
from jaxtyping import Array, Float, PyTree, jaxtyped

from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader
from tirgn_eqx.data.batches.prefetch import prefetch
from tirgn_eqx.models import Gate, Mixture, MixtureAtTarget
from tirgn_eqx.runtime.compiling import Programs
from tirgn_eqx.train.evidence_step import mean_nll
from tirgn_eqx.train.non_finite import is_finite, kept_unless
from tirgn_eqx.train.optimizer import global_norm
from tirgn_eqx.types import EvidenceBatch

STEP_SIZE = 0.02
STEPS = 240  # at least so many, over the snapshots again and again
PASSES = 2  # at least
MOST_PARTS = 256  # of a pass: of longer splits, parts spread evenly
STRAYING = 1e-2  # weight of the squares of what distinguishes questions and relations

Metrics = dict[str, Float[Array, ""]]


def gate_loss(gate: Gate, informed: MixtureAtTarget, batch: EvidenceBatch) -> tuple[Float[Array, ""], Metrics]:
    """Mean NLL of the entity answers plus that of the relation answers, in nats, plus what keeps the gate simple."""
    informed = eqx.tree_at(lambda i: i.model.gate, informed, gate)
    entity, relation = informed.answer_log_probabilities(batch)
    losses = mean_nll(entity, batch.entity.answers), mean_nll(relation, batch.relation.answers)
    loss = losses[0] + losses[1] + STRAYING * gate.l2_penalty()
    return loss, {"loss": loss, "loss_entity": losses[0], "loss_relation": losses[1]}


def make_gate_step(optimizer: optax.GradientTransformation) -> Any:
    """The pure `step(gate, opt_state, informed, batch) -> (gate, opt_state, metrics)`."""

    @jaxtyped(typechecker=beartype)
    def step(
        gate: Gate, opt_state: PyTree, informed: MixtureAtTarget, batch: EvidenceBatch
    ) -> tuple[Gate, PyTree, Metrics]:
        gradient, metrics = eqx.filter_grad(gate_loss, has_aux=True)(gate, informed, batch)
        updates, new_state = optimizer.update(gradient, opt_state)
        metrics = metrics | {"gradient_norm": global_norm(gradient)}
        new = eqx.apply_updates(gate, updates), new_state
        return *kept_unless(is_finite(metrics), new, (gate, opt_state)), metrics

    return step


class GateFit:
    """Fits gates on chosen snapshots of one loader; every batch shape is compiled once, whatever the choice.

    **Arguments:** `loader`: of the held-out split; `at`: the model at a target, such as a `MixtureEvaluator`'s
    `forecaster`; `model`; `on_record`: called with a dict now and then.
    """

    def __init__(
        self, model: Mixture, loader: EvidenceLoader, at: Callable[[int], Any], on_record: Callable[[dict], None]
    ):
        self.model, self.loader, self.at, self.emit = model, loader, at, on_record
        self._programs: dict[int, Programs] = {}

    def __call__(self, chosen: np.ndarray, stop: Callable[[], bool], name: str = "gate") -> Mixture | None:
        """The model with a gate fitted on the snapshots `chosen`; None when it was stopped on its way."""
        parts = np.flatnonzero(np.isin([target for target, _ in self.loader.parts], chosen))
        if len(parts) > MOST_PARTS:
            parts = parts[np.linspace(0, len(parts) - 1, MOST_PARTS).astype(int)]
        passes = max(PASSES, -(-STEPS // len(parts)))
        steps = passes * len(parts)
        optimizer = optax.adam(optax.cosine_decay_schedule(STEP_SIZE, steps))
        program = self._programs.setdefault(steps, Programs(make_gate_step(optimizer)))
        gate, opt_state = self.model.gate, optimizer.init(eqx.filter(self.model.gate, eqx.is_inexact_array))
        for count, prepared in enumerate(self._order(parts, passes), start=1):
            informed = self.at(prepared.target)
            with jax.default_matmul_precision("highest"):
                gate, opt_state, metrics = program(
                    self.loader.buckets[prepared.bucket], gate, opt_state, informed, prepared.batch
                )
            if count % 10 == 0 or count == steps:
                self.emit({"event": name, "step": count, "steps": steps, "loss": float(metrics["loss"])})
            if stop():
                return None
        return eqx.tree_at(lambda m: m.gate, self.model, gate)

    def _order(self, parts: np.ndarray, passes: int) -> Iterator[Any]:
        """The parts of every pass, each pass in an order of its own."""
        orders = (np.random.default_rng((self.loader.seed, number)).permutation(parts) for number in range(passes))
        return prefetch(self.loader.build, list(itertools.chain.from_iterable(order.tolist() for order in orders)))
