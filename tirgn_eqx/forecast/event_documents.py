"""What is said of the events that may come: one fact by name, and many by id."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from tirgn_eqx.evaluate.results import Document
from tirgn_eqx.forecast.probable import Kind


class PastEvents(Document):
    """Past events of two entities under one relation: how often, and when last."""

    subject: str
    relation: str
    object: str
    events: int
    last: int | str


class Calibration(Document):
    """What came on test of facts that had about the same probability, from `low` to below `high`: how many they were,
    the share that came within `horizon` steps, and the 95 % interval of that share."""

    horizon: int
    low: float
    high: float
    facts: int
    occurred: float
    interval: list[float]


class EventForecast(Document):
    """A fact by name that may come within a horizon.

    - `kind`: known, novel (a known pair with another object), or unseen (a pair that never was).
    - `probability`: that it comes at least once; `expected`: how often.
    - `usual`: how often it came in as many steps so far, None for a fact that never did; `lift`: `expected` over
      `usual`.
    - `because`: the past events of the two, those under the same relation first.
    - `calibration`: of a known fact, how right such probabilities were on test, over the nearest horizon that was
      tested; None where the checkpoint does not say, or no known fact had such a probability.
    """

    subject: str
    relation: str
    object: str
    kind: Kind
    probability: float
    expected: float
    usual: float | None = None
    lift: float | None = None
    because: list[PastEvents] = []
    calibration: Calibration | None = None


@dataclass(frozen=True)
class EventProbabilities:
    """Forecasts of given facts, `(row,)` each, as `EventForecast` says them; `usual` and `lift` are NaN for a fact that
    never was."""

    subject: Int64[np.ndarray, " row"]
    relation: Int64[np.ndarray, " row"]
    object: Int64[np.ndarray, " row"]
    kind: list[Kind]
    probability: Float[np.ndarray, " row"]
    expected: Float[np.ndarray, " row"]
    usual: Float[np.ndarray, " row"]
    lift: Float[np.ndarray, " row"]
