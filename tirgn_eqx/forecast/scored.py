"""The scores of all candidates of queries by name, for other tools; see `tirgn_eqx.evaluate.all_scores`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.all_scores import ScoredQueries
from tirgn_eqx.forecast.forecaster import Forecaster, Query
from tirgn_eqx.forecast.states import MAX_QUERIES


def score_queries(forecaster: Forecaster, queries: Sequence[Query]) -> Iterator[ScoredQueries]:
    """The scores of every entity for queries (subject, relation, object), each with None for the part that is
    predicted: probabilities before calibration. Equal queries are scored once.

    **Raises:** DataError for a name that is not known.
    """
    names, relations = forecaster.names, forecaster.graph.num_relations
    subjects = [object_ if subject is None else subject for subject, _, object_ in queries]
    first = names.ids("entity", [str(name) for name in subjects])
    second = names.ids("relation", [str(relation) for _, relation, _ in queries])
    second = second + relations * np.array([subject is None for subject, _, _ in queries], np.int64)
    pairs = np.array(list(dict.fromkeys(zip(first.tolist(), second.tolist()))), np.int64).reshape(-1, 2)
    for begin in range(0, len(pairs), MAX_QUERIES):
        subject, relation = pairs[begin : begin + MAX_QUERIES].T
        yield ScoredQueries(forecaster.time, subject, relation, forecaster.state.entity(subject, relation))


def check_entity_queries(path: Path, queries: Sequence[Query]) -> None:
    """**Raises:** DataError for a query that leaves neither subject nor object open, whose candidates are entities."""
    for number, (subject, relation, object_) in enumerate(queries, start=1):
        if (subject is None) == (object_ is None):
            asks = "asks for a relation" if relation is None else "names a whole fact"
            raise DataError(f"{path}: row {number} {asks}; scores are of all entities, leave subject or object empty")
