"""How a training survives non-finite steps and a device that runs out of memory.

A step whose loss or gradient is not finite would put NaN into every weight that it reaches. The compiled step leaves
model and optimizer as they were then, and the loop counts such steps; too many end the training. Which steps they are
depends on data and seed alone, so a resumed training skips the same ones.
"""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false

from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple, NoReturn, SupportsFloat, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, PyTree

from tirgn_eqx.checkpoint.metadata import Settings
from tirgn_eqx.checkpoint.models import named_leaves
from tirgn_eqx.config import EvidenceTrainingConfig, ModelTrainingConfig, RecurrentTrainingConfig
from tirgn_eqx.errors import DataError, DivergedError

T = TypeVar("T")
Metrics = dict[str, Float[Array, ""]]
# Scalars on the device, or NumPy's after a training was resumed.
HostMetrics = Mapping[str, SupportsFloat]
SMALLEST_BATCH = 16
_STRONGER_REMAT = {"none": "dots", "dots": "full"}


# --- non-finite steps --------------------------------------------------------------------------------------------


def is_finite(metrics: Metrics) -> Bool[Array, ""]:
    """Whether loss and gradient are finite, inside a compiled step: a NaN anywhere in a gradient makes its norm NaN."""
    return jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["gradient_norm"])


def select_tree(condition: Bool[Array, ""], new: T, old: T) -> T:
    """`new` where `condition` holds, else `old`; PyTrees of the same structure."""
    # A NaN in what is not chosen does no harm here, since nothing is differentiated through this.
    return jax.tree.map(lambda new, old: jnp.where(condition, new, old) if eqx.is_array(new) else new, new, old)


def update_if_finite(
    optimizer: optax.GradientTransformation,
    gradient: T,
    model: T,
    opt_state: PyTree,
    metrics: Metrics,
    parameters: PyTree | None = None,
) -> tuple[T, PyTree, Metrics]:
    """A model and its optimizer state after an update, or as they were where loss or gradient is not finite; and the
    metrics with the norm of the gradient. `parameters`: for an optimizer that reads them."""
    updates, new_state = optimizer.update(gradient, opt_state, parameters)  # pyright: ignore[reportArgumentType]
    metrics = metrics | {"gradient_norm": optax.tree.norm(gradient)}
    new = eqx.apply_updates(model, updates), new_state
    return *select_tree(is_finite(metrics), new, (model, opt_state)), metrics


def is_skipped(metrics: HostMetrics) -> bool:
    """Whether a finished step was not finite, on the host."""
    return not (np.isfinite(float(metrics["loss"])) and np.isfinite(float(metrics["gradient_norm"])))


class FinishedStep(NamedTuple):
    """A step by its number in the epoch, its target snapshot, and its metrics."""

    step: int
    target: int
    metrics: HostMetrics


class SkippedSteps:
    """Counts the non-finite steps of one epoch.

    Reading the metrics of a step waits for the device, so steps are read when later ones have been started.

    **Arguments:** `limit`: how many an epoch may have; `epoch`; `steps`: of the whole epoch; `count`: those of an
    earlier part of the epoch.
    """

    def __init__(self, limit: int, epoch: int, steps: int, count: int = 0):
        self.limit, self.epoch, self.steps, self.count = limit, epoch, steps, count
        self.first = ""
        self._unread: deque[FinishedStep] = deque()

    def add(self, step: int, target: int, metrics: HostMetrics) -> None:
        """Note a step that was started."""
        self._unread.append(FinishedStep(step, target, metrics))

    def read(self, waiting: int = 0) -> Iterator[FinishedStep]:
        """The non-finite steps among all but the last `waiting` that were not read yet; each is counted."""
        while len(self._unread) > waiting:
            found = self._unread.popleft()
            if is_skipped(found.metrics):
                self.count += 1
                yield found

    def describe(self, step: int, time: int | str, metrics: HostMetrics) -> str:
        """The message about a skipped step whose target snapshot is at `time`."""
        loss, norm = float(metrics["loss"]), float(metrics["gradient_norm"])
        message = f"step {step} of epoch {self.epoch}, snapshot {time}: loss {loss:g}, gradient norm {norm:g}"
        self.first = self.first or message
        return f"skipped {message}"

    @property
    def unread(self) -> int:
        """How many steps were not read yet."""
        return len(self._unread)

    @property
    def too_many(self) -> bool:
        """Whether the training is to end: more than the limit, or all steps of the epoch."""
        return self.count > self.limit or self.count == self.steps

    def error(self, advice: str) -> DivergedError:
        """The error that ends the training; `advice`: what to do next."""
        return DivergedError(
            f"the training diverged: {self.count:,} of {self.steps:,} steps of epoch {self.epoch} gave no finite loss "
            f"or gradient (max_skipped_steps = {self.limit}), {self.first or 'some before this part of it began'}; "
            f"{advice}"
        )


def describe_divergence(model: PyTree, config: ModelTrainingConfig, kept: str) -> str:
    """The largest weight of a model that diverged, and what to do next; `kept`: which checkpoint there is."""
    sizes = {
        name: float(np.abs(np.asarray(leaf, np.float64)).max())
        for name, leaf in named_leaves(model).items()
        # An empty array has no maximum, and integers are not weights.
        if 0 not in leaf.shape and jnp.issubdtype(leaf.dtype, jnp.inexact)
    }
    name = max(sizes, key=lambda name: sizes[name])
    precision = "" if config.precision in ("f32", "f64") else " or --precision f32"
    return (
        f"no such step was applied, the largest weight is {sizes[name]:.3g} (in {name}); {kept}; train again with a "
        f"smaller --lr (now {config.learning_rate:g}){precision}"
    )


# --- out of memory -----------------------------------------------------------------------------------------------


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that the device's or the host's memory ran out."""
    if isinstance(error, MemoryError):
        return True
    # XLA raises one type for all its errors; the words are those of its allocators.
    words = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory")
    return isinstance(error, jax.errors.JaxRuntimeError) and any(word in str(error) for word in words)


def recurrent_oom_overrides(
    config: RecurrentTrainingConfig, queries: int, dataset: str, error: BaseException
) -> Settings:
    """The settings to change after `error`, so that a step needs less memory.

    **Arguments:** `config`: the settings of the failed step; `queries`: of the largest snapshot; `dataset`: its name.

    **Raises:** `error` when there is no cheaper form of the step.
    """
    cheaper = cheaper_config(config, queries)
    if cheaper is None:
        raise error
    names = ("remat", "batch_size", "unroll") if config.unroll else ("remat", "batch_size")
    return {name: getattr(cheaper, name) for name in names}


def evidence_oom_overrides(
    config: EvidenceTrainingConfig, queries: int, dataset: str, error: BaseException
) -> NoReturn:
    """**Raises:** DataError: of the evidence model, a smaller batch is another step and thus another training."""
    raise DataError(
        f"{dataset}: out of memory in a step of up to {queries:,} queries; train again with a "
        f"smaller --batch-size (now {config.batch_size}) or --set max_partners (now {config.max_partners})"
    ) from error


def cheaper_config(config: RecurrentTrainingConfig, queries: int) -> RecurrentTrainingConfig | None:
    """The settings of a step that needs less memory than that of `config`; None when there are none.

    First the window is looped over instead of unrolled, without which rematerialisation has no effect. Then
    rematerialisation gets stronger, which changes no number. Then micro-batches get smaller, which changes only the
    rows that the decoders' BatchNorm sees at once.

    **Arguments:** `queries`: of the largest snapshot, which `batch_size` 0 stands for.
    """
    if config.unroll:
        return config.replace(unroll=False)
    if config.remat in _STRONGER_REMAT:
        return config.replace(remat=_STRONGER_REMAT[config.remat])
    # A batch size above the largest snapshot has no effect, so halving it would change nothing.
    whole = min(config.batch_size, queries) if config.batch_size else queries
    half = (whole + 1) // 2
    return config.replace(batch_size=half) if half >= SMALLEST_BATCH else None
