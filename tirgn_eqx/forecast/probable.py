"""The best of very many rows, exactly and in little memory."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int64

Kind = Literal["known", "novel", "unseen"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class FactRows:
    """Facts by id, `(row,)` each: their expected numbers and probabilities, and their kinds as places in `KINDS`."""

    subject: Int64[np.ndarray, " row"]
    relation: Int64[np.ndarray, " row"]
    object: Int64[np.ndarray, " row"]
    expected: Float[np.ndarray, " row"]
    probability: Float[np.ndarray, " row"]
    kind: Int64[np.ndarray, " row"]

    def __len__(self) -> int:
        return len(self.subject)

    def take(self, rows: Int64[np.ndarray, " chosen"]) -> "FactRows":
        """The rows at some places, in their order."""
        return FactRows(*(column[rows] for column in vars(self).values()))

    def joined(self, others: "FactRows") -> "FactRows":
        """These rows, then `others`."""
        return FactRows(*map(np.concatenate, zip(vars(self).values(), vars(others).values())))


def no_facts() -> FactRows:
    """No rows."""
    none, nothing = np.zeros(0, np.int64), np.zeros(0)
    return FactRows(none, none, none, nothing, nothing, none)


class BestFacts:
    """The `number` facts with the highest keys of all that were added, equal ones by id; none with a key of 0."""

    def __init__(self, number: int):
        self.number, self.rows, self.key = number, no_facts(), np.zeros(0)

    @property
    def least(self) -> float:
        """The key below which nothing that is added can be among the best."""
        return float(self.key[-1]) if len(self.key) == self.number else 0.0

    def add(self, rows: FactRows, key: Float[np.ndarray, " row"]) -> None:
        """Add facts that were not added before."""
        fitting = np.flatnonzero((key > 0) & (key >= self.least))
        rows, key = self.rows.joined(rows.take(fitting)), np.concatenate([self.key, key[fitting]])
        order = np.lexsort((rows.object, rows.relation, rows.subject, -key))[: self.number]
        self.rows, self.key = rows.take(order), key[order]


def largest(
    values: Float[np.ndarray, " row"], ids: Int64[np.ndarray, " row"], number: int
) -> Int64[np.ndarray, " chosen"]:
    """The places of the `number` largest values in any order; of equal ones those with the smaller ids."""
    if len(values) <= number:
        return np.arange(len(values))
    least = np.partition(values, len(values) - number)[len(values) - number]
    above, tied = np.flatnonzero(values > least), np.flatnonzero(values == least)
    spare = number - len(above)
    if spare < len(tied):
        tied = tied[np.argpartition(ids[tied], spare - 1)[:spare]]
    return np.concatenate([above, tied])


def largest_sums(first: Float[np.ndarray, " one"], second: Float[np.ndarray, " other"]) -> Iterator[tuple[int, int]]:
    """The places (i, j) of all sums first[i] + second[j], largest first, without making them all: at any time there is
    one candidate for every j."""
    order = np.argsort(-first, kind="stable")
    if len(order) == 0:
        return
    heap = [(-float(first[order[0]] + value), j, 0) for j, value in enumerate(second)]
    heapq.heapify(heap)
    while heap:
        _, j, rank = heap[0]
        yield int(order[rank]), j
        if rank + 1 < len(order):
            heapq.heapreplace(heap, (-float(first[order[rank + 1]] + second[j]), j, rank + 1))
        else:
            heapq.heappop(heap)
