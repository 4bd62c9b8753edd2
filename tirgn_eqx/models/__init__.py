"""Forecasting models: immutable pytrees that are trained, and counters that are not."""

from jaxtyping import PRNGKeyArray

from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.models.evidence import Evidence as Evidence
from tirgn_eqx.models.evolution import Encoding as Encoding
from tirgn_eqx.models.evolution import RecurrentGraphModel as RecurrentGraphModel
from tirgn_eqx.models.recurrency import Recurrency as Recurrency
from tirgn_eqx.models.regcn import REGCN as REGCN
from tirgn_eqx.models.tirgn import TiRGN as TiRGN

Model = RecurrentGraphModel | Evidence
MODELS: dict[str, type[Model]] = {"tirgn": TiRGN, "regcn": REGCN, "evidence": Evidence}


def build_model(
    num_entities: int,
    num_relations: int,
    config: TiRGNTrainingConfig,
    static: StaticGraph | None = None,
    *,
    key: PRNGKeyArray,
) -> Model:
    """The model that `config.model` names, as it begins; `static` is used when `config.static_graph`."""
    chosen: type = MODELS[config.model]
    return chosen(num_entities, num_relations, config, static, key=key)
