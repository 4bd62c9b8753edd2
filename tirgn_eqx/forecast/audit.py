"""Audits of checkpoints: the model as forecasts use it, its ranking, and its evaluation as a whole."""
# JAX's own annotations are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int64

from tirgn_eqx.config import TrainingConfig
from tirgn_eqx.data.forecast_target import make_forecast_target
from tirgn_eqx.data.graph import TemporalGraph, from_facts
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.evaluate.audit.contract import Facts, ForecastRequest, Ids, Scores
from tirgn_eqx.evaluate.audit.measures import EvaluationMeasure, ScoreMeasure
from tirgn_eqx.evaluate.audit.report import AuditReport
from tirgn_eqx.evaluate.audit.run import ALONE, audit, others_true
from tirgn_eqx.evaluate.ranks import answer_ranks
from tirgn_eqx.forecast.history import check_vocabulary
from tirgn_eqx.forecast.states import MAX_QUERIES, State, state_at
from tirgn_eqx.models import Model
from tirgn_eqx.train.warm_start import NameMap, warm_start
from tirgn_eqx.types import Answers


class ModelScores:
    """A model as a `ScoreFunction`: the probability of every entity, computed as `Forecaster` does.

    The whole table of a request becomes the graph that forecasts are made from, so that what cuts off the target and
    what follows is the code that real forecasts use. Where the entities of a request are renumbered, so are the rows of
    the model's tables.

    **Arguments:** `model`, `config`: as `load_model` returns them; `graph`: the data, with the ids of the model.
    """

    def __init__(self, model: Model, config: TrainingConfig, graph: TemporalGraph):
        self._model, self._config, self._graph = model, config, graph
        self._made: tuple[Facts, int, Int64[np.ndarray, " entity"], State] | None = None

    def __call__(self, request: ForecastRequest) -> Scores:
        state = self._state(request)
        subject, relation = request.queries.T
        chunks = [slice(begin, begin + MAX_QUERIES) for begin in range(0, len(subject), MAX_QUERIES)]
        return np.concatenate([state.entity(subject[chunk], relation[chunk]) for chunk in chunks])

    def _state(self, request: ForecastRequest) -> State:
        # Equal arrays are the same object, see `ForecastRequest`: what all queries share is computed once.
        if self._made is not None:
            facts, time, entities, state = self._made
            if facts is request.facts and time == request.time and entities is request.entities:
                return state
        graph = self._graph
        made = from_facts(
            graph.name,
            request.facts,
            np.zeros(len(request.facts)),
            graph.num_entities,
            graph.num_relations,
            time_interval=graph.time_interval,
            clock_origin=graph.clock_origin,
        )
        target = make_forecast_target(made, request.time)
        model = renumber_model(self._model, request.entities)
        state = state_at(model, target, EvidenceIndex(target.graph), **self._config.window())
        self._made = (request.facts, request.time, request.entities, state)
        return state


def renumber_model(model: Model, entities: Int64[np.ndarray, " entity"]) -> Model:
    """The same model for other ids: its new id i is the entity that had the id `entities[i]`."""
    if np.array_equal(entities, np.arange(len(entities))):
        return model
    relations = np.arange(model.num_relations)
    turned = warm_start(model, model, NameMap(entities, relations, len(entities), len(relations)))
    new = jnp.asarray(np.argsort(entities), jnp.int32)

    def renumber(path: tuple[object, ...], leaf: Array) -> Array:
        # The one array that holds ids of entities; all others have at most a row for each.
        named = jax.tree_util.keystr(path, simple=True, separator=".")
        return new[leaf] if named.endswith("static_edges.entity") else leaf

    return jax.tree_util.tree_map_with_path(renumber, turned)


def model_ranks(request: ForecastRequest, scores: Scores, answers: Ids) -> Float[np.ndarray, " query"]:
    """The ranking protocol of this project as a `RankFunction`: `answer_ranks` with the time-aware filter."""
    present = request.facts[request.facts[:, 3] == request.time]
    others = others_true(present, request, request.queries, answers)
    others[np.arange(len(answers)), answers] = True  # all that is true, the answer itself too
    query, candidate = np.nonzero(others)
    one = Answers(
        answer_query=jnp.arange(len(answers)),
        answer=jnp.asarray(answers),
        answer_weight=jnp.ones(len(answers)),
        true_query=jnp.asarray(query),
        true_candidate=jnp.asarray(candidate),
    )
    found = answer_ranks(jnp.asarray(scores, jnp.float32), jnp.zeros(len(answers)), one)
    return np.asarray(found.filtered)


def audit_model(
    model: Model,
    config: TrainingConfig,
    graph: TemporalGraph,
    *,
    name: str = "the model",
    split: Literal["train", "valid", "test"] = "test",
    snapshots: int = 3,
    queries: int | None = None,
    alone: int = ALONE,
    tolerance: float | None = None,
    seed: int = 0,
) -> AuditReport:
    """Audit a model of any family that ranks: its scores, its ranking, and its evaluation as a whole.

    **Arguments:** `model`, `config`: as `load_model` returns them; `graph`: the data with the ids of the model, see
    `match_checkpoint`; `name`: of the model in the report; the others as of `audit`.

    **Raises:** DataError for a graph that the model does not fit, or a split without a snapshot to forecast.
    """
    check_vocabulary(model, graph)
    return audit(
        graph,
        ScoreMeasure(ModelScores(model, config, graph), name),
        ranks=model_ranks,
        figures=EvaluationMeasure(model, graph, **config.window()),
        model=name,
        split=split,
        snapshots=snapshots,
        queries=queries,
        alone=alone,
        tolerance=tolerance,
        seed=seed,
    )
