"""What a training changes, and its way to the disk and back."""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false

from pathlib import Path

import equinox as eqx
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from tirgn_eqx.checkpoint.metadata import Settings, TrainingIdentity, TrainingProgress
from tirgn_eqx.checkpoint.training_state import load_training_state, save_training_state
from tirgn_eqx.config import ModelTrainingConfig
from tirgn_eqx.models import Model
from tirgn_eqx.runtime.meshes import for_files
from tirgn_eqx.train.optimizer import with_averaged_weights
from tirgn_eqx.train.recovery import HostMetrics
from tirgn_eqx.train.stopping import EarlyStopping


class TrainState(eqx.Module):
    """All that changes in a training.

    **Arguments:**

    - `model`: weights and running statistics.
    - `opt_state`: the optimizer's state, with the averaged weights where they are kept.
    - `stopping`: the best validation so far; `best_mrr`: its MRR, whatever figure early stopping follows.
    - `epoch`: the current one, from 1; `epoch_metrics`: the metrics of its finished steps.
    - `global_step`: finished steps in all; `last_validated`: epoch of the last validation, -1 for none.
    - `skipped_steps`: non-finite steps of earlier epochs.
    - `oom_overrides`: settings that were changed because memory ran out.
    """

    model: Model
    opt_state: PyTree
    stopping: EarlyStopping
    best_mrr: float | None = None
    epoch: int = 1
    epoch_metrics: tuple[HostMetrics, ...] = ()
    global_step: int = 0
    last_validated: int = -1
    skipped_steps: int = 0
    oom_overrides: Settings = eqx.field(default_factory=dict[str, object])

    def forecaster(self) -> Model:
        """The model that is validated and saved: with averaged weights where they are kept."""
        return with_averaged_weights(self.model, self.opt_state)


def initial_stopping(config: ModelTrainingConfig) -> EarlyStopping:
    """Early stopping before the first validation."""
    return EarlyStopping(config.patience, config.monitor)


def save_state(folder: Path, state: TrainState, seconds: float, identity: TrainingIdentity) -> None:
    """Write `state` to `folder`; `seconds`: trained so far."""
    metrics = state.epoch_metrics
    progress = TrainingProgress(
        epoch=state.epoch,
        step=len(metrics),
        global_step=state.global_step,
        last_validated=state.last_validated,
        best_value=state.stopping.best_value,
        best_epoch=state.stopping.best_epoch,
        best_mrr=state.best_mrr,
        seconds=seconds,
        oom_overrides=state.oom_overrides,
        skipped_steps=state.skipped_steps,
    )
    losses = {name: np.asarray([float(step[name]) for step in metrics]) for name in (metrics[0] if metrics else {})}
    # Without the rows that pad the tables on this mesh, so that any other mesh can load them.
    model, opt_state = for_files((state.model, state.opt_state), identity.num_entities)
    save_training_state(folder, model, opt_state, progress, losses, identity)


def load_state(
    folder: Path,
    shapes: tuple[PyTree, PyTree],
    config: ModelTrainingConfig,
    identity: TrainingIdentity,
    num_steps: int,
    *,
    force: bool = False,
    mesh: Mesh | None = None,
) -> tuple[TrainState, float]:
    """(state, seconds trained) as `save_state` wrote them.

    **Arguments:** `shapes`: of model and optimizer state; `num_steps`: of an epoch; `force`: take a state of other
    data or settings too.

    **Raises:** CheckpointError, see `load_training_state`.
    """
    model, opt_state, progress, losses = load_training_state(folder, *shapes, identity, force=force, mesh=mesh)
    # With other data, which `force` allows, an epoch may have fewer steps than were finished.
    steps = progress.step if progress.step < num_steps else 0
    state = TrainState(
        model,
        opt_state,
        EarlyStopping(config.patience, config.monitor, progress.best_value, progress.best_epoch),
        # A state of an earlier version holds the monitored figure alone.
        best_mrr=progress.best_value if progress.best_mrr is None and config.monitor == "mrr" else progress.best_mrr,
        epoch=progress.epoch,
        epoch_metrics=tuple({name: values[row] for name, values in losses.items()} for row in range(steps)),
        global_step=progress.global_step,
        last_validated=progress.last_validated,
        skipped_steps=progress.skipped_steps,
        oom_overrides=progress.oom_overrides,
    )
    return state, progress.seconds
