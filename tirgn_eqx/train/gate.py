"""The last stage of a mixture: its gate, fitted on held-out snapshots with everything else frozen.

On the training snapshots both parts remember what they forecast, the structure more so, and a gate fitted there
trusts it too much (ICEWS14s: test MRR 46.3, against 48.0 when it is fitted on the validation split).
"""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false

import itertools
from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import numpy as np
import optax
from beartype import beartype
from jaxtyping import Array, Float, Int, PyTree, jaxtyped

from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader, Prepared
from tirgn_eqx.data.batches.prefetch import prefetch
from tirgn_eqx.models import Evidence, Gate, Mixture, MixtureAtTarget
from tirgn_eqx.runtime.compiling import CompileCache
from tirgn_eqx.train.events import GateRecord, OnRecord
from tirgn_eqx.train.recovery import Metrics, update_if_finite
from tirgn_eqx.train.step import mean_nll
from tirgn_eqx.types import EvidenceBatch

LEARNING_RATE = 0.02
MIN_STEPS = 240  # the snapshots are repeated until there are as many
MIN_PASSES = 2
MAX_PARTS = 256  # of a pass; of longer splits, parts are spread evenly
L2_WEIGHT = 1e-2  # of the parameters that distinguish queries and relations

GateStep = Callable[[Gate, PyTree, MixtureAtTarget, EvidenceBatch], tuple[Gate, PyTree, Metrics]]


def gate_loss(gate: Gate, informed: MixtureAtTarget, batch: EvidenceBatch) -> tuple[Float[Array, ""], Metrics]:
    """Mean NLL of the entity answers plus that of the relation answers, in nats, plus the L2 penalty of the gate."""
    informed = eqx.tree_at(lambda i: i.model.gate, informed, gate)
    entity, relation = informed.answer_log_probabilities(batch)
    losses = mean_nll(entity, batch.entity.answers), mean_nll(relation, batch.relation.answers)
    loss = losses[0] + losses[1] + L2_WEIGHT * gate.l2_penalty()
    return loss, {"loss": loss, "loss_entity": losses[0], "loss_relation": losses[1]}


def make_gate_step(optimizer: optax.GradientTransformation) -> GateStep:
    """The pure `step(gate, opt_state, informed, batch) -> (gate, opt_state, metrics)`."""

    @jaxtyped(typechecker=beartype)
    def step(
        gate: Gate, opt_state: PyTree, informed: MixtureAtTarget, batch: EvidenceBatch
    ) -> tuple[Gate, PyTree, Metrics]:
        gradient, metrics = eqx.filter_grad(gate_loss, has_aux=True)(gate, informed, batch)
        return update_if_finite(optimizer, gradient, gate, opt_state, metrics)

    return step


class GateFitter:
    """Fits gates on chosen snapshots of one loader; every batch shape is compiled once.

    **Arguments:** `loader`: of the held-out split; `at`: gives the model at a target snapshot, such as `model_at` of
    a `MixtureEvaluator`; `on_record`: called now and then.
    """

    def __init__(
        self,
        model: Mixture,
        loader: EvidenceLoader,
        at: Callable[[int], Evidence | MixtureAtTarget],
        on_record: OnRecord,
    ):
        self.model, self.loader, self.at, self.on_record = model, loader, at, on_record
        self._programs: dict[int, CompileCache[tuple[Gate, PyTree, Metrics]]] = {}

    def __call__(self, snapshots: Int[np.ndarray, " time"], stop: Callable[[], bool]) -> Mixture | None:
        """The model with a gate fitted on `snapshots`; None when `stop` ended it early."""
        parts = np.flatnonzero(np.isin([target for target, _ in self.loader.parts], snapshots))
        if len(parts) > MAX_PARTS:
            parts = parts[np.linspace(0, len(parts) - 1, MAX_PARTS).astype(int)]
        passes = max(MIN_PASSES, -(-MIN_STEPS // len(parts)))
        steps = passes * len(parts)
        optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))
        # The schedule is compiled into the step, so fits of different lengths cannot share it.
        program = self._programs.setdefault(steps, CompileCache(make_gate_step(optimizer)))
        gate, opt_state = self.model.gate, optimizer.init(eqx.filter(self.model.gate, eqx.is_inexact_array))
        for count, prepared in enumerate(self._batches(parts, passes), start=1):
            informed = self.at(prepared.target)
            # As in evaluation: some GPUs round f32 products to 10 bits by default.
            with jax.default_matmul_precision("highest"):
                bucket = self.loader.buckets[prepared.bucket]
                gate, opt_state, metrics = program(bucket, gate, opt_state, informed, prepared.batch)
            # Reading the loss waits for the device, so only every tenth step is reported.
            if count % 10 == 0 or count == steps:
                self.on_record(GateRecord(count, steps, float(metrics["loss"])))
            if stop():
                return None
        return eqx.tree_at(lambda m: m.gate, self.model, gate)

    def _batches(self, parts: np.ndarray, passes: int) -> Iterator[Prepared[EvidenceBatch]]:
        """The parts of all passes, each pass in another random order."""
        orders = (
            np.random.default_rng((self.loader.options.seed, number)).permutation(parts) for number in range(passes)
        )
        return prefetch(self.loader.build, list(itertools.chain.from_iterable(order.tolist() for order in orders)))
