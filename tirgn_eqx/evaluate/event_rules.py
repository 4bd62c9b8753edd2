"""Simple rules that say how probable events are: what a model of events has to beat."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.data.index.occurrences import HALF_LIVES

Probabilities = Float[np.ndarray, " fact"]
Rule = Callable[[ActivityIndex, np.ndarray, int, int], Probabilities]
"""From an index, known facts by position, a target snapshot and a horizon in steps."""


def climatology(index: ActivityIndex, facts: np.ndarray, target: int, horizon: int) -> Probabilities:
    """By how often the fact occurred so far: the share of past steps with it, in each step of the horizon anew."""
    cutoff = index.cutoff(target)
    times = index.fact.snapshots(index.fact.last(facts, target), facts)
    return 1 - (1 - np.minimum(times / max(cutoff.now, 1), 1)) ** horizon


def persistence(index: ActivityIndex, facts: np.ndarray, target: int, horizon: int) -> Probabilities:
    """What occurred within a horizon before the target occurs again, nothing else does."""
    age = index.fact.age(index.fact.last(facts, target), index.cutoff(target).now)
    return (age <= horizon).astype(np.float64)


def faded_rate(half_life: float) -> Rule:
    """By the rate at which the fact occurred, each time halved with every `half_life` steps of its age, as the
    recurrency baseline and `tirgn predict --facts` without an event model count."""
    place = HALF_LIVES.index(half_life)

    def forecast(index: ActivityIndex, facts: np.ndarray, target: int, horizon: int) -> Probabilities:
        now = index.cutoff(target).now
        # The weight of a fact that occurred at every step so far.
        whole = np.exp2(-np.arange(1, max(int(now), 1) + 1) / half_life).sum()
        strength = index.fact.faded(index.fact.last(facts, target), now)[:, place].astype(np.float64)
        return -np.expm1(-strength / whole * horizon)

    return forecast


BASELINES: Mapping[str, Rule] = {
    "never": lambda index, facts, target, horizon: np.zeros(len(facts)),
    "climatology": climatology,
    "persistence": persistence,
    "half-life 16": faded_rate(16.0),
    "half-life 64": faded_rate(64.0),
}
