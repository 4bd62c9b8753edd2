"""Forecasting models: pytrees that are trained, and the recurrency baseline, which counts."""

import jax.random as jr
from jaxtyping import PRNGKeyArray

from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.models.encoder import Encoding as Encoding
from tirgn_eqx.models.encoder import RecurrentEncoder as RecurrentEncoder
from tirgn_eqx.models.evidence import Evidence as Evidence
from tirgn_eqx.models.gate import Gate as Gate
from tirgn_eqx.models.mixture import Mixture as Mixture
from tirgn_eqx.models.mixture import MixtureAtTarget as MixtureAtTarget
from tirgn_eqx.models.recurrency import Recurrency as Recurrency
from tirgn_eqx.models.recurrent import RecurrentGraphModel as RecurrentGraphModel
from tirgn_eqx.models.regcn import REGCN as REGCN
from tirgn_eqx.models.tirgn import TiRGN as TiRGN

Model = RecurrentGraphModel | Evidence | Mixture
MODELS = {"tirgn": TiRGN, "regcn": REGCN, "evidence": Evidence}
# What a checkpoint may hold.
MODEL_TYPES = (*MODELS, "tirgn-evidence", "regcn-evidence")


def build_model(
    num_entities: int,
    num_relations: int,
    config: TiRGNTrainingConfig,
    static: StaticGraph | None = None,
    *,
    key: PRNGKeyArray,
) -> RecurrentGraphModel | Evidence:
    """The initial model of `config.model` alone, whatever `config.history` is.

    **Arguments:** sizes of the vocabulary; `config`; `static`: the static graph, used when `config.static_graph`;
    `key`: of the initialisation.
    """
    return MODELS[config.model](num_entities, num_relations, config, static, key=key)


def build_mixture(
    num_entities: int,
    num_relations: int,
    config: TiRGNTrainingConfig,
    evidence: TiRGNTrainingConfig,
    static: StaticGraph | None = None,
    *,
    key: PRNGKeyArray,
) -> Mixture:
    """The initial mixture of the recurrent graph model of `config` and the evidence model of `evidence`.

    **Raises:** ConfigError when the two are of other families.
    """
    structure = build_model(num_entities, num_relations, config, static, key=key)
    part = build_model(num_entities, num_relations, evidence, static, key=key)
    if not (isinstance(structure, RecurrentGraphModel) and isinstance(part, Evidence)):
        raise ConfigError(f"{config.model} with {evidence.model}: tirgn or regcn goes with evidence")
    return Mixture(structure, part, Gate(num_relations, part.context, key=jr.fold_in(key, 1)))
