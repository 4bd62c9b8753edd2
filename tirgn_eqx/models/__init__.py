"""Forecasting models: immutable pytrees that are trained, and counters that are not."""

import jax.random as jr
from jaxtyping import PRNGKeyArray

from tirgn_eqx.config import MixtureTrainingConfig, TrainingConfig
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.models.combined import Combined as Combined
from tirgn_eqx.models.combined import Gate as Gate
from tirgn_eqx.models.evidence import Evidence as Evidence
from tirgn_eqx.models.evolution import Encoding as Encoding
from tirgn_eqx.models.evolution import RecurrentGraphModel as RecurrentGraphModel
from tirgn_eqx.models.recurrency import Recurrency as Recurrency
from tirgn_eqx.models.regcn import REGCN as REGCN
from tirgn_eqx.models.tirgn import TiRGN as TiRGN

Model = RecurrentGraphModel | Evidence | Combined
MODELS: dict[str, type[RecurrentGraphModel | Evidence]] = {"tirgn": TiRGN, "regcn": REGCN, "evidence": Evidence}
# What a checkpoint may hold.
MODEL_TYPES = (*MODELS, "tirgn-evidence", "regcn-evidence")


def build_model(
    num_entities: int,
    num_relations: int,
    config: TrainingConfig,
    static: StaticGraph | None = None,
    *,
    key: PRNGKeyArray,
) -> Model:
    """The model of `config` with its initial weights; `static` is used when `config.static_graph`."""
    sizes = (num_entities, num_relations)
    if not isinstance(config, MixtureTrainingConfig):
        chosen: type = MODELS[config.family]
        return chosen(*sizes, config, static, key=key)
    structure = build_model(*sizes, config.structure, static, key=key)
    evidence = build_model(*sizes, config.evidence, static, key=key)
    assert isinstance(structure, RecurrentGraphModel) and isinstance(evidence, Evidence)
    return Combined(structure, evidence, Gate(evidence, jr.fold_in(key, 1)))
