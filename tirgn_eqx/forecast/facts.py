"""The most probable facts of a snapshot, overall.

A model says who the object of (s, r, ?) would be, not how often s does r. That is estimated by counting: past facts of
(s, r), each halved with every half-life of its age, as a rate per step. A fact then comes about
`rate(s, r) * p(o | s, r)` times, and at least once with probability 1 - exp(-that).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

HALF_LIFE = 16.0  # steps
PART = 256


@dataclass(frozen=True)
class Fact:
    """A fact that may happen: its probability, and how often it is expected."""

    subject: str
    relation: str
    object: str
    probability: float
    expected: float


def rates(graph: Any, known: Any) -> tuple[np.ndarray, np.ndarray]:
    """(s * num_relations + r, facts per step) of all pairs with a past, forward relations alone."""
    past = graph.snapshot < known.before
    key = graph.subject[past].astype(np.int64) * graph.num_relations + graph.relation[past]
    clock = graph.time_index - graph.time_index[0]
    age = known.now - clock[graph.snapshot[past]]
    weight = np.exp2(-age / HALF_LIFE)
    # What the weights of one fact a step add up to, as far back as the data goes.
    whole = np.exp2(-np.arange(1, max(int(known.now), 1) + 1) / HALF_LIFE).sum()
    keys, place = np.unique(key, return_inverse=True)
    return keys, np.bincount(place, weight) / whole


def probable_facts(forecaster: Any, number: int) -> list[Fact]:
    """The `number` most probable facts, exactly: pairs are asked in order of their rates, which bound what their facts
    can reach, until none that is left could come in."""
    graph, names = forecaster.graph, forecaster.names
    keys, rate = rates(graph, forecaster.known)
    order = np.argsort(-rate, kind="stable")
    best: list[tuple[float, int, int]] = []
    for begin in range(0, len(order), PART):
        part = order[begin : begin + PART]
        if len(best) >= number and best[number - 1][0] >= rate[part[0]]:
            break
        subject, relation = keys[part] // graph.num_relations, keys[part] % graph.num_relations
        expected = forecaster.objects(subject, relation) * rate[part][:, None]
        top = min(number, expected.shape[1])
        place = np.argpartition(-expected, top - 1, 1)[:, :top]
        values = np.take_along_axis(expected, place, 1)
        best += [(float(v), int(k), int(o)) for k, vs, os in zip(keys[part], values, place) for v, o in zip(vs, os)]
        best = sorted(best, key=lambda found: (-found[0], found[1:]))[:number]
    return [
        Fact(
            names.entities[key // graph.num_relations],
            names.relations[key % graph.num_relations],
            names.entities[o],
            float(-np.expm1(-value)),
            value,
        )
        for value, key, o in best
    ]
