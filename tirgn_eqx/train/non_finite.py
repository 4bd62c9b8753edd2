"""Steps whose loss or gradient is not finite: passed over, counted, and in the end a reason to stop.

Such a step would put NaN into every weight that it reaches. Which step it is depends on the data and the seed alone,
so a run that is resumed passes over the same ones.
"""

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from tirgn_eqx.checkpoint.models import named_leaves
from tirgn_eqx.config import ModelTrainingConfig
from tirgn_eqx.errors import DivergedError

T = TypeVar("T")
Metrics = dict[str, Float[Array, ""]]


def is_finite(metrics: Metrics) -> Bool[Array, ""]:
    """Whether the loss and the norm of the gradient are numbers, the one thing that a NaN anywhere in it cannot be."""
    return jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["gradient_norm"])


def kept_unless(ok: Bool[Array, ""], new: T, old: T) -> T:
    """`new`, but `old` where not `ok`; both of the same structure."""
    choose = lambda new, old: jnp.where(ok, new, old) if eqx.is_array(new) else new
    return jax.tree.map(choose, new, old)


def is_bad(metrics: Any) -> bool:
    """Whether a step was passed over."""
    return not (np.isfinite(float(metrics["loss"])) and np.isfinite(float(metrics["gradient_norm"])))


class BadSteps:
    """The steps of one epoch that were passed over; `report` says what to make of each.

    **Arguments:** `limit`: of an epoch; `epoch`; `steps`: of the epoch; `count`: those known already.
    """

    def __init__(self, limit: int, epoch: int, steps: int, count: int = 0):
        self.limit, self.epoch, self.steps, self.count = limit, epoch, steps, count
        self.first = ""

    def report(self, step: int, time: int | str, metrics: Any) -> str:
        """The line about a bad step at the snapshot of `time`."""
        loss, norm = float(metrics["loss"]), float(metrics["gradient_norm"])
        said = f"step {step} of epoch {self.epoch}, snapshot {time}: loss {loss:g}, gradient norm {norm:g}"
        self.count += 1
        self.first = self.first or said
        return f"passed over {said}"

    @property
    def too_many(self) -> bool:
        """Whether the training is to end: more than the limit, or all steps of the epoch."""
        return self.count > self.limit or self.count == self.steps

    def error(self, advice: str) -> DivergedError:
        """What ends the training; `advice`: what to do next."""
        return DivergedError(
            f"the training diverged: {self.count:,} of {self.steps:,} steps of epoch {self.epoch} gave no finite loss "
            f"or gradient (max_bad_steps = {self.limit}), {self.first or 'some before this part of it began'}; {advice}"
        )


def diagnosis(model: Any, config: ModelTrainingConfig, kept: str) -> str:
    """How a model that diverged stands, and what to do next; `kept`: what there is of it."""
    sizes = {
        name: float(np.abs(np.asarray(leaf, np.float64)).max())
        for name, leaf in named_leaves(model).items()
        if leaf.size and jnp.issubdtype(leaf.dtype, jnp.inexact)
    }
    name = max(sizes, key=lambda name: sizes[name])
    precision = "" if config.precision in ("f32", "f64") else " or --precision f32"
    return (
        f"no such step was applied, the largest weight is {sizes[name]:.3g} (in {name}); {kept}; train again with a "
        f"smaller --lr (now {config.learning_rate:g}){precision}"
    )
