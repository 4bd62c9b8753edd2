"""What training does differently for the families of models: one table, and the functions that look it up.

A mixture is not in it, for no gradient step trains it as a whole: `staged` trains its parts one after the other.
"""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

import optax

from tirgn_eqx.checkpoint.metadata import Settings
from tirgn_eqx.config import (
    EvidenceTrainingConfig,
    MixtureTrainingConfig,
    ModelTrainingConfig,
    RecurrentTrainingConfig,
    TrainingConfig,
)
from tirgn_eqx.config.setting import AUTO
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.statistics import MOSTLY_LASTING, lasting_share
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime.meshes import Placement
from tirgn_eqx.train.data import ConfigT, EvidenceData, RecurrentData, TrainingData
from tirgn_eqx.train.optimizer import make_optimizer
from tirgn_eqx.train.precision import compute_type, faster_type
from tirgn_eqx.train.recovery import evidence_oom_overrides, recurrent_oom_overrides
from tirgn_eqx.train.step import Step, make_evidence_step, make_recurrent_step, unrolls_window


@dataclass(frozen=True)
class TrainingFamily(Generic[ConfigT]):
    """How the models of one family are trained.

    **Arguments:**

    - `data`: makes the loaders and evaluators of a graph, settings and devices.
    - `step`: makes the pure training step of settings, optimizer and size of the vocabulary, see `make_step`.
    - `resolve`: the settings with the choices that depend on the machine and on the data.
    - `oom_overrides`: the settings to change after memory ran out, or an error; see `recurrent_oom_overrides`.
    - `reads_static`: whether models of these settings use the static graph of data that have one.
    - `on_mesh`: whether the training can be split over several devices.
    """

    data: Callable[[TemporalGraph, ConfigT, Placement | None], TrainingData[ConfigT, Any]]  # `Any`: its own loader
    step: Callable[[ConfigT, optax.GradientTransformation, int | None], Step]
    resolve: Callable[[ConfigT, TemporalGraph], ConfigT]
    oom_overrides: Callable[[ConfigT, int, str, BaseException], Settings]
    reads_static: Callable[[ConfigT], bool]
    on_mesh: bool


def _resolve_recurrent(config: RecurrentTrainingConfig, graph: TemporalGraph) -> RecurrentTrainingConfig:
    return config.replace(precision=faster_type(config.precision), unroll=unrolls_window(config))


def _resolve_evidence(config: EvidenceTrainingConfig, graph: TemporalGraph) -> EvidenceTrainingConfig:
    if config.precision == "bf16":
        raise ConfigError("precision = bf16: evidence sums intensities in f32; leave it out, or give f32")
    # What `auto` stands for may be bf16.
    config = config.replace(precision="f32" if config.precision == "auto" else compute_type(config.precision))
    if AUTO not in (config.evidence_background, config.loss_filter) and config.epochs:
        return config
    lasting = lasting_share(graph) > MOSTLY_LASTING
    # A lasting state is best forecast by itself: a background loses 0.3 points on YAGO. It has many true answers at
    # once, which the filter of the loss keeps from competing.
    return config.replace(
        evidence_background=not lasting if config.evidence_background == AUTO else config.evidence_background,
        loss_filter=lasting if config.loss_filter == AUTO else config.loss_filter,
        # More epochs than 3 gain nothing on ICEWS14s and GDELT-resplit; on YAGO 3 lose 1.4 points. Patience ends most.
        epochs=config.epochs or (12 if lasting else 3),
    )


_RECURRENT = TrainingFamily(
    data=RecurrentData,
    step=make_recurrent_step,
    resolve=_resolve_recurrent,
    oom_overrides=recurrent_oom_overrides,
    reads_static=lambda config: config.static_graph,
    on_mesh=True,
)
_EVIDENCE = TrainingFamily(
    data=EvidenceData,
    step=lambda config, optimizer, num_entities: make_evidence_step(optimizer),
    resolve=_resolve_evidence,
    oom_overrides=evidence_oom_overrides,
    # Evidence uses the words of a static graph in its background alone.
    reads_static=lambda config: config.static_graph and config.has_background,
    on_mesh=False,
)
# `Any`: the functions of a family take its own settings, which no type of a dict can say.
TRAINING_FAMILIES: dict[type[ModelTrainingConfig], TrainingFamily[Any]] = {
    RecurrentTrainingConfig: _RECURRENT,
    EvidenceTrainingConfig: _EVIDENCE,
}


def training_family(config: ConfigT) -> TrainingFamily[ConfigT]:
    """How models with the settings `config` are trained; settings of your own are trained as the class they extend."""
    for kind, family in TRAINING_FAMILIES.items():
        if isinstance(config, kind):
            return family
    known = " or ".join(kind.__name__ for kind in TRAINING_FAMILIES)
    raise ConfigError(f"{type(config).__name__}: no training is known for these settings; extend {known}")


def reads_static(config: TrainingConfig) -> bool:
    """Whether a training with these settings, or one of its parts, uses the static graph of data that have one."""
    if isinstance(config, MixtureTrainingConfig):
        return reads_static(config.structure) or reads_static(config.evidence)
    return isinstance(config, ModelTrainingConfig) and training_family(config).reads_static(config)


def resolve_config(config: ConfigT, graph: TemporalGraph) -> ConfigT:
    """`config` with the choices that depend on the machine and on the train split of `graph`, so that records and
    checkpoints say what was used.

    **Raises:** ConfigError for a precision that is not available.
    """
    return training_family(config).resolve(config, graph)


def make_step(
    config: ModelTrainingConfig,
    optimizer: optax.GradientTransformation | None = None,
    num_entities: int | None = None,
) -> Step:
    """The pure `step(model, opt_state, batch) -> (model, opt_state, metrics)` of `config`.

    A step whose loss or gradient is not finite changes nothing. Shapes and types of the arguments are checked while the
    step is traced. A batch with `rows` costs what those rows cost: other entities keep their embeddings and their
    moments (lazy Adam), and only the rows are counted in the L2 penalty.

    **Arguments:**

    - `optimizer`: of `make_optimizer`, which is the default.
    - `num_entities`: of the vocabulary, where the model's table has more rows (on several devices).

    **Returns:** the step, to be compiled with `eqx.filter_jit`; `metrics` has scalars `loss`, `loss_entity`,
    `loss_relation`, `loss_static` and `gradient_norm`.
    """
    return training_family(config).step(config, optimizer or make_optimizer(config), num_entities)
