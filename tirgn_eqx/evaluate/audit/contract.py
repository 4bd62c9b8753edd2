"""What a forecaster under audit is asked and gives: the contract by which systems from elsewhere plug in.

An audit calls a `ScoreFunction` many times with requests that differ in what must make no difference, so the function
has to compute its scores from the request alone. What it reads elsewhere (files made from all data, say) the audit
cannot change, and cannot see.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int64

Facts = Int64[np.ndarray, "fact 4"]
Pairs = Int64[np.ndarray, "query 2"]
Ids = Int64[np.ndarray, " query"]
Rows = Int64[np.ndarray, " row"]
Scores = Float[np.ndarray, "query entity"]


@dataclass(frozen=True)
class ForecastRequest:
    """The queries of one snapshot, and the table of facts that they are to be answered from.

    **Arguments:**

    - `facts`: columns subject, relation, object, time, in time order. By default this is the whole table, facts at and
      after `time` included, as public systems are given it: not to look at them is what the function promises. Requests
      with the same facts share one array, so that a function may keep an index for as long as `facts` is the same
      object.
    - `queries`: columns subject, relation. A relation from `num_relations` on is the inverse one of
      `relation - num_relations`, and asks for the subject of a fact.
    - `time`: of the snapshot that is forecast, in the unit of the times in `facts`.
    - `num_entities`, `num_relations`: ids in `facts` and `queries` are below these.
    - `entities`: int64 `(entity,)`, by id of this request the id in the data. They differ in the requests that renumber
      the entities; a function with learnt tables takes its rows in this order: `table[request.entities]`.
    - `entity_names`, `relation_names`: by id of this request; None for data without names.
    """

    facts: Facts
    queries: Pairs
    time: int
    num_entities: int
    num_relations: int
    entities: Int64[np.ndarray, " entity"]
    entity_names: tuple[str, ...] | None = None
    relation_names: tuple[str, ...] | None = None


@runtime_checkable
class ScoreFunction(Protocol):
    """A forecaster: a score of every entity for every query; higher is more probable, -inf rules a candidate out."""

    def __call__(self, request: ForecastRequest, /) -> Scores:
        """**Returns:** `(query, entity)`, in the order of `request.queries` and of the ids of the request."""
        ...


@runtime_checkable
class RankFunction(Protocol):
    """The ranking protocol of a forecaster: which rank its scores give the true answers."""

    def __call__(self, request: ForecastRequest, scores: Scores, answers: Ids, /) -> Float[np.ndarray, " query"]:
        """**Arguments:** `scores`: of the request's queries; `answers`: the true entity of each. The facts of the
        request hold the other true answers at the same time, for a filter.

        **Returns:** the rank of every answer, 1 = best.
        """
        ...


class Measured(NamedTuple):
    """What must not move: `values` of some queries, and the ranks of their answers where these are given."""

    values: Float[np.ndarray, "query value"]
    ranks: Float[np.ndarray, " query"] | None = None


@runtime_checkable
class Measure(Protocol):
    """How a forecaster is looked at: the values of the queries `rows` of a request; `answers`: of all its queries."""

    def __call__(self, request: ForecastRequest, answers: Ids, rows: Rows, /) -> Measured: ...
