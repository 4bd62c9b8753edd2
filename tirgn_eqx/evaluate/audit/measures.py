"""How an audit looks at a forecaster: at the scores and ranks of functions, or at an evaluation as a whole."""

import dataclasses
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float

from tirgn_eqx.data.batches.loader import KINDS
from tirgn_eqx.data.graph import TemporalGraph, from_facts
from tirgn_eqx.errors import DataError, TirgnError
from tirgn_eqx.evaluate.audit.contract import (
    Facts,
    ForecastRequest,
    Ids,
    Measured,
    RankFunction,
    Rows,
    ScoreFunction,
    Scores,
)
from tirgn_eqx.evaluate.evaluators import EvaluationSteps
from tirgn_eqx.evaluate.protocol import make_evaluator
from tirgn_eqx.models import Model


class ScoreMeasure:
    """The scores of all entities, by their ids in the data.

    **Arguments:** `function`: the forecaster; `name`: in messages.

    **Raises:** DataError, when called, where the function fails or gives no score for each entity and query.
    """

    def __init__(self, function: ScoreFunction, name: str):
        self.function, self.name = function, name

    def __call__(self, request: ForecastRequest, answers: Ids, rows: Rows) -> Measured:
        asked = f"{len(request.queries):,} queries at {request.time}"
        with _errors_of(self.name, f"{asked}; a forecaster has to answer any queries from any facts"):
            # A copy of the queries, because inverse relations are often written into them in place.
            found = np.asarray(self.function(dataclasses.replace(request, queries=request.queries.copy())))
        expected = (len(request.queries), request.num_entities)
        if found.shape != expected or found.dtype.kind not in "fiu":
            raise DataError(
                f"{self.name}: returned {found.dtype}{list(found.shape)} for {asked}, expected numbers "
                f"{list(expected)}; return a score of every entity for every query"
            )
        by_id: Scores = np.empty((len(rows), found.shape[1]), found.dtype if found.dtype.kind == "f" else np.float64)
        by_id[:, request.entities] = found[rows]
        if np.isnan(by_id).any():
            raise DataError(
                f"{self.name}: returned NaN for {asked}; return a number for every entity, -inf to rule one out"
            )
        return Measured(by_id)


class EvaluationMeasure:
    """The evaluation of a model as a whole, window, history and batches included: probabilities and raw ranks.

    What is asked is the snapshot of the request, whose facts are made of its queries and answers; all other facts are
    those of the request. The values are, for the entity and the relation query of each fact and direction, the
    probability of the answer, that of the most probable candidate, and the Brier score, in which all others enter.

    **Arguments:** `graph`: the data, with the ids of the model; `window`: `history_len` and `history_window`, as
    trained.
    """

    def __init__(self, model: Model, graph: TemporalGraph, *, history_len: int, history_window: int):
        self._model, self._graph, self._window = model, graph, (history_len, history_window)
        self._steps: EvaluationSteps | None = None

    def __call__(self, request: ForecastRequest, answers: Ids, rows: Rows) -> Measured:
        facts = forward_facts(request, answers)
        _, first, which = np.unique(facts, axis=0, return_index=True, return_inverse=True)
        asked = facts[np.sort(first)]  # each once, in the order in which they are asked
        others = request.facts[request.facts[:, 3] != request.time]
        graph = self._graph
        made = from_facts(
            graph.name,
            np.concatenate([others, asked]),
            np.repeat([0, 2], [len(others), len(asked)]),
            graph.num_entities,
            graph.num_relations,
            time_interval=graph.time_interval,
            clock_origin=graph.clock_origin,
            static=graph.static,
        )
        length, window = self._window
        evaluate = make_evaluator(self._model, made, split="test", history_len=length, history_window=window)
        # Compiled functions are kept by shape, so that no shape is compiled twice.
        self._steps = evaluate.steps = self._steps or evaluate.steps
        found = evaluate(self._model)
        # Every fact by its place among those that are asked; the inverses stand after all facts.
        order = np.argsort(np.argsort(first))
        inverse = request.queries[:, 1] >= request.num_relations
        at = (order[which.ravel()] + len(asked) * inverse)[rows]
        columns = [
            column[kind][at]
            for kind in KINDS
            for column in ({kind: np.exp(-found.nll[kind])}, found.confidence, found.brier)
        ]
        return Measured(np.stack(columns, 1), found.raw["entity"][at].astype(np.float64))


def ranked(rank: RankFunction, request: ForecastRequest, scores: Scores, answers: Ids) -> Float[np.ndarray, " query"]:
    """The ranks that a protocol gives.

    **Raises:** DataError, which names the protocol, where it fails or gives no rank for each answer.
    """
    # An object that is called has no name of its own.
    name = f"{rank.__module__}:{getattr(rank, '__qualname__', type(rank).__qualname__)}"
    asked = f"the ranks of {len(answers):,} answers at {request.time}"
    with _errors_of(name, f"{asked}; a ranking has to rank any answers by any scores"):
        found = np.asarray(rank(request, scores.copy(), answers))  # a filter may write into the scores
    if found.shape != answers.shape or found.dtype.kind not in "fiu" or not (found >= 1).all():
        raise DataError(
            f"{name}: returned {found.dtype}{list(found.shape)} for {asked}, expected {len(answers)} ranks of at "
            "least 1; return one for each answer"
        )
    return found.astype(np.float64)


@contextmanager
def _errors_of(name: str, asked: str) -> Generator[None]:
    """Whatever a function from elsewhere raises, as an error that names it and what it was `asked` for."""
    try:
        yield
    except TirgnError:
        raise
    except Exception as error:
        raise DataError(f"{name}: raised {type(error).__name__}: {error}, asked for {asked}") from error


def forward_facts(request: ForecastRequest, answers: Ids) -> Facts:
    """The fact that each query of a request and its answer state."""
    (first, relation), relations = request.queries.T, request.num_relations
    inverse = relation >= relations
    s, o = np.where(inverse, answers, first), np.where(inverse, first, answers)
    return np.stack([s, relation % relations, o, np.full(len(s), request.time)], 1)
