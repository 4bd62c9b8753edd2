"""Forecasting models: pytrees that are trained, and the recurrency baseline, which counts."""

from typing import Any

import jax.random as jr
from jaxtyping import PRNGKeyArray

from tirgn_eqx.config import EventTrainingConfig, MixtureTrainingConfig, TrainingConfig
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.models.encoder import Encoding as Encoding
from tirgn_eqx.models.encoder import RecurrentEncoder as RecurrentEncoder
from tirgn_eqx.models.event_model import EventModel as EventModel
from tirgn_eqx.models.event_rates import EventRates as EventRates
from tirgn_eqx.models.evidence import Evidence as Evidence
from tirgn_eqx.models.gate import Gate as Gate
from tirgn_eqx.models.mixture import Mixture as Mixture
from tirgn_eqx.models.mixture import MixtureAtTarget as MixtureAtTarget
from tirgn_eqx.models.recurrency import Recurrency as Recurrency
from tirgn_eqx.models.recurrent import RecurrentGraphModel as RecurrentGraphModel
from tirgn_eqx.models.regcn import REGCN as REGCN
from tirgn_eqx.models.tirgn import TiRGN as TiRGN

Model = RecurrentGraphModel | Evidence | Mixture  # ranks: says who, given that something happens
AnyModel = Model | EventModel
MODELS: dict[str, type[RecurrentGraphModel | Evidence]] = {"tirgn": TiRGN, "regcn": REGCN, "evidence": Evidence}
# What a checkpoint may hold.
RANKING_TYPES = (*MODELS, "tirgn-evidence", "regcn-evidence")
MODEL_TYPES = (*RANKING_TYPES, "events", *(f"{one}-events" for one in RANKING_TYPES))


def build_model(
    num_entities: int,
    num_relations: int,
    config: TrainingConfig,
    static: StaticGraph | None = None,
    *,
    key: PRNGKeyArray,
) -> Model:
    """The model of `config` with its initial weights.

    **Arguments:** sizes of the vocabulary; `config`: of any family that ranks; `static`: the static graph, used when
    `config.static_graph`; `key`: of the initialisation.
    """
    sizes = num_entities, num_relations
    if not isinstance(config, MixtureTrainingConfig):
        chosen: Any = MODELS[config.family]  # each takes the config of its family
        return chosen(*sizes, config, static, key=key)
    # Both parts take the key itself, so each begins as it would when trained alone with it.
    structure = build_model(*sizes, config.structure, static, key=key)
    evidence = build_model(*sizes, config.evidence, static, key=key)
    assert isinstance(structure, RecurrentGraphModel) and isinstance(evidence, Evidence)
    return Mixture(structure, evidence, Gate(num_relations, evidence.context, key=jr.fold_in(key, 1)))


def build_any_model(
    num_entities: int,
    num_relations: int,
    config: TrainingConfig,
    static: StaticGraph | None = None,
    *,
    key: PRNGKeyArray,
) -> AnyModel:
    """As `build_model`, also of an event model."""
    sizes = num_entities, num_relations
    if not isinstance(config, EventTrainingConfig):
        return build_model(*sizes, config, static, key=key)
    # A key of its own, so that the base begins as it would when trained alone.
    rates = EventRates(*sizes, config, key=jr.fold_in(key, 2))
    return EventModel(rates, None if config.base is None else build_model(*sizes, config.base, static, key=key))
