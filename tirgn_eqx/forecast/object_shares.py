"""Who the object of a new event would be: p(o | s, r) among the objects that are new to the pair (s, r)."""

import numpy as np
from jaxtyping import Float, Int64

from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.data.index.occurrences import ranges
from tirgn_eqx.evaluate.event_rates import POISSON, SMOOTHING, Expected, UnseenFactors, popular_share
from tirgn_eqx.forecast.states import MAX_QUERIES, State, with_temperature

Ids = Int64[np.ndarray, " query"]
MAX_CELLS = 2**21  # shares that are held at once, 16 MiB: those of 256 pairs where there are 8,192 entities


class ObjectShares:
    """The shares of objects in the new events of pairs: by a model that ranks, or without one by how often the relation
    had each object. An entity that acts on itself is an object only where the data have such facts.

    **Arguments:** `index`: of the history, all of which is known; `state`: of the model that ranks, None for counts;
    `temperature`: of that model's probabilities.
    """

    def __init__(self, index: ActivityIndex, state: State | None = None, temperature: float = 1.0):
        self.index, self.state, self.temperature = index, state, temperature
        self.chunk = max(1, min(MAX_QUERIES, MAX_CELLS // index.entities))
        # How often each (r, o) occurred: the count at the last of its rows.
        popular = index.popular
        self._events = popular.events[np.append(popular.start[1:], len(popular.occurrence)) - 1]

    def rows(self, subject: Ids, relation: Ids) -> Float[np.ndarray, "query entity"]:
        """float64: the share of every object in each of at most `chunk` pairs. A row sums to 1, and is 0 where no
        object is new."""
        if self.state is None:
            share = self._counted(relation)
        else:
            share = with_temperature(self.state.entity(subject, relation), self.temperature).astype(np.float64)
        index = self.index
        first = (subject * index.relations + relation) * index.entities
        bounds = (np.searchsorted(index.fact.key, key) for key in (first, first + index.entities))
        owner, fact = ranges(*bounds)
        share[owner, index.fact.key[fact] % index.entities] = 0
        if not index.has_loops(index.graph.num_snapshots):
            share[np.arange(len(subject)), subject] = 0
        total = share.sum(1, keepdims=True)
        share /= np.where(total > 0, total, 1)
        return share

    def _counted(self, relation: Ids) -> Float[np.ndarray, "query entity"]:
        entities, key = self.index.entities, self.index.popular.key
        distinct, place = np.unique(relation, return_inverse=True)
        owner, row = ranges(np.searchsorted(key, distinct * entities), np.searchsorted(key, (distinct + 1) * entities))
        events = np.full((len(distinct), entities), SMOOTHING)
        events[owner, key[row] % entities] += self._events[row]
        return events[place]

    def of(self, subject: Ids, relation: Ids, object: Ids) -> Float[np.ndarray, " query"]:
        """float64: the share of one object in each of any number of pairs; equal pairs cost as much as one."""
        relations, found = self.index.relations, np.zeros(len(subject))
        if self.state is None:
            return popular_share(self.index, subject * relations + relation, object, self.index.graph.num_snapshots)
        pairs, place = np.unique(subject * relations + relation, return_inverse=True)
        order = np.argsort(place, kind="stable")
        for begin in range(0, len(pairs), self.chunk):
            low, high = np.searchsorted(place, (begin, begin + self.chunk), sorter=order)
            rows = order[low:high]
            share = self.rows(*np.divmod(pairs[begin : begin + self.chunk], relations))
            found[rows] = share[place[rows] - begin, object[rows]]
        return found


def rows_of(found: Expected, rows: Int64[np.ndarray, " chosen"]) -> Expected:
    """Some of the rows that were forecast, in any order, any of them several times."""
    return Expected(*(column[rows] for column in found))


def expected_of_unseen(factors: UnseenFactors, subject: Ids, relation: Ids) -> Expected:
    """The number of events of unseen pairs, which is Poisson, within the first horizon."""
    mean = np.exp(factors.subject[subject] + factors.relation[relation, 0])[:, None]
    return Expected(mean, np.full(len(mean), POISSON))
