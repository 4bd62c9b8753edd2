"""Which candidates a filter leaves out before an answer is ranked.

- `time`: the other answers that are true at the same time, in any split.
- `all`: those that are true at any time, in any split, as many published systems filter. It reads facts of the future,
  and on a query that recurs it leaves out the strongest wrong candidates.
- `none`: nothing, so that filtered and raw ranks are the same.
"""

from typing import Literal

import numpy as np
from jaxtyping import Int64

from tirgn_eqx.data.graph import TemporalGraph, both_directions
from tirgn_eqx.data.index.occurrences import find, ranges

Filter = Literal["time", "all", "none"]
FILTERS: tuple[Filter, ...] = ("time", "all", "none")
# How results name them.
FILTER_NAMES: dict[Filter, str] = {"time": "time-aware filter", "all": "time-unaware filter", "none": "no filter"}
Column = Int64[np.ndarray, " fact"]
OfQuery = Int64[np.ndarray, " query"]


class TrueAnswers:
    """From a snapshot to what is true of its queries, and what a filter therefore leaves out: (subject, relation,
    object), in both directions, each once; the answers that are ranked are among the objects.

    As a `Candidates`, it replaces the filter of the batches of an evaluator.

    **Arguments:** `graph`: whose facts of all splits are read; `ever`: what is true at any time, as the time-unaware
    filter leaves it out, and not only at the snapshot.
    """

    def __init__(self, graph: TemporalGraph, *, ever: bool = False):
        self.graph, self.ever = graph, ever
        # A fact without its time as one integer, so that a search finds all objects of a query in a row.
        self._facts = np.unique(self._codes(*both_directions(graph))) if ever else np.zeros(0, np.int64)

    def __call__(self, snapshot: int) -> tuple[Column, Column, Column]:
        graph = self.graph
        present = slice(int(graph.offsets[snapshot]), int(graph.offsets[snapshot + 1]))
        codes = np.unique(self._codes(*both_directions(graph, present)))
        if self.ever:
            queries = np.unique(codes // graph.num_entities) * graph.num_entities
            bounds = (np.searchsorted(self._facts, edge) for edge in (queries, queries + graph.num_entities))
            codes = self._facts[ranges(*bounds)[1]]
        query, object_ = np.divmod(codes, graph.num_entities)
        return *np.divmod(query, 2 * graph.num_relations), object_

    def of_queries(self, snapshot: int, subject: OfQuery, relation: OfQuery) -> tuple[Column, Column]:
        """(query, object): the positions of queries in `subject` and `relation`, ascending, and what is left out.

        **Arguments:** `subject`, `relation`: int64 `(query,)` of distinct queries about the snapshot, in ascending
        order of subject and relation.
        """
        s, r, o = self(snapshot)
        rel2 = 2 * self.graph.num_relations
        # Other splits ask further queries of the snapshot, which are none of these.
        query = find(subject * rel2 + relation, s * rel2 + r)
        return query[query >= 0], o[query >= 0]

    def _codes(self, subject: Column, relation: Column, object_: Column) -> Column:
        return (subject * (2 * self.graph.num_relations) + relation) * self.graph.num_entities + object_
