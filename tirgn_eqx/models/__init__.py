"""Forecasting models: immutable pytrees that are trained, and counters that are not."""

import jax.random as jr
from jaxtyping import PRNGKeyArray

from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.models.combined import Combined as Combined
from tirgn_eqx.models.combined import Gate as Gate
from tirgn_eqx.models.evidence import Evidence as Evidence
from tirgn_eqx.models.evolution import Encoding as Encoding
from tirgn_eqx.models.evolution import RecurrentGraphModel as RecurrentGraphModel
from tirgn_eqx.models.recurrency import Recurrency as Recurrency
from tirgn_eqx.models.regcn import REGCN as REGCN
from tirgn_eqx.models.tirgn import TiRGN as TiRGN

Model = RecurrentGraphModel | Evidence | Combined
MODELS: dict[str, type[Model]] = {"tirgn": TiRGN, "regcn": REGCN, "evidence": Evidence}
# What a checkpoint may hold.
MODEL_TYPES = (*MODELS, "tirgn-evidence", "regcn-evidence")


def build_model(
    num_entities: int,
    num_relations: int,
    config: TiRGNTrainingConfig,
    static: StaticGraph | None = None,
    *,
    key: PRNGKeyArray,
) -> Model:
    """The model that `config.model` names, as it begins and by itself, whatever `config.history` says; `static` is used
    when `config.static_graph`."""
    chosen: type = MODELS[config.model]
    return chosen(num_entities, num_relations, config, static, key=key)


def build_combined(
    num_entities: int,
    num_relations: int,
    config: TiRGNTrainingConfig,
    evidence: TiRGNTrainingConfig,
    static: StaticGraph | None = None,
    *,
    key: PRNGKeyArray,
) -> Combined:
    """The model of `config` with evidence as the config `evidence` describes it, as both begin."""
    sizes = (num_entities, num_relations)
    structure = build_model(*sizes, config, static, key=key)
    part = build_model(*sizes, evidence, static, key=key)
    if not (isinstance(structure, RecurrentGraphModel) and isinstance(part, Evidence)):
        raise ConfigError(f"{config.model} with {evidence.model}: tirgn or regcn goes with evidence")
    return Combined(structure, part, Gate(part, jr.fold_in(key, 1)))
