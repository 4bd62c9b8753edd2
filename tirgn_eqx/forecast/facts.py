"""The most probable facts of a snapshot, over all queries.

A model says who the object of (s, r, ?) would be, not how often s does r. That is estimated by counting: past facts of
(s, r), each with a weight that halves with every half-life of its age, as a rate per step of the clock. A fact is then
expected `rate(s, r) * p(o | s, r)` times, and occurs at least once with probability 1 - exp(-expected).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.evidence import Cutoff
from tirgn_eqx.forecast.names import Names

HALF_LIFE = 16.0  # steps
CHUNK = 256  # pairs (s, r) that are forecast at once


@dataclass(frozen=True)
class Fact:
    """A possible fact by name: the probability that it occurs, and how often it is expected."""

    subject: str
    relation: str
    object: str
    probability: float
    expected: float


def pair_rates(graph: TemporalGraph, cutoff: Cutoff) -> tuple[Int64[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
    """(s * num_relations + r, facts per step) of every pair (s, r) with a past, forward relations alone."""
    past = graph.snapshot < cutoff.before
    key = graph.subject[past].astype(np.int64) * graph.num_relations + graph.relation[past]
    # From the first snapshot on, so that `now` is also the number of steps that the history has.
    clock = graph.time_index - graph.time_index[0]
    weight = np.exp2(-(cutoff.now - clock[graph.snapshot[past]]) / HALF_LIFE)
    # The sum of the weights of one fact at every step, as far back as the data goes.
    whole = np.exp2(-np.arange(1, max(int(cutoff.now), 1) + 1) / HALF_LIFE).sum()
    keys, place = np.unique(key, return_inverse=True)
    return keys, np.bincount(place, weight) / whole


def probable_facts(
    graph: TemporalGraph,
    cutoff: Cutoff,
    names: Names,
    objects: Callable[[np.ndarray, np.ndarray], np.ndarray],
    number: int,
) -> list[Fact]:
    """The `number` most probable facts, exactly, most probable first.

    Pairs are forecast in order of their rates, which bound what their facts can reach, until no further one could be
    among the best. **Arguments:** `objects`: see `Forecaster.objects`.
    """
    keys, rate = pair_rates(graph, cutoff)
    order = np.argsort(-rate, kind="stable")
    best: list[tuple[float, int, int]] = []
    for begin in range(0, len(order), CHUNK):
        chunk = order[begin : begin + CHUNK]
        # As p(o | s, r) is at most 1, no fact of the remaining pairs is expected more often than the first rate.
        if len(best) >= number and best[number - 1][0] >= rate[chunk[0]]:
            break
        expected = objects(keys[chunk] // graph.num_relations, keys[chunk] % graph.num_relations) * rate[chunk][:, None]
        top = min(number, expected.shape[1])
        place = np.argpartition(-expected, top - 1, 1)[:, :top]
        values = np.take_along_axis(expected, place, 1)
        found = zip(values.ravel().tolist(), np.repeat(keys[chunk], top).tolist(), place.ravel().tolist())
        best = sorted([*best, *found], key=lambda fact: (-fact[0], *fact[1:]))[:number]
    facts: list[Fact] = []
    for expected, key, o in best:
        s, r = divmod(key, graph.num_relations)
        # expm1 keeps the digits of small probabilities, which 1 - exp(-x) rounds away.
        probability = float(-np.expm1(-expected))
        facts.append(Fact(names.entities[s], names.relations[r], names.entities[o], probability, expected))
    return facts
