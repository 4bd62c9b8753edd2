"""Probabilities of events against what came: Brier and log scores, precision of the most probable, calibration.

Probabilities are counted in fine bins, so that any number of facts takes the same memory.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from tirgn_eqx.evaluate.bootstrap import CONFIDENCE, RESAMPLES
from tirgn_eqx.evaluate.event_rules import Probabilities
from tirgn_eqx.evaluate.results import Document

TOP = (10, 100, 1000)
LEAST_PROBABILITY = 0.01  # of the facts that calibration is judged on: below it nearly all are
FLOOR = 1e-6  # of probabilities in the logarithmic score
BINS = 15
_EDGES = np.concatenate([[0.0], np.logspace(-7, 0, 701)])  # of the bins in which probabilities are counted


class EventReliabilityBin(Document):
    """Facts whose probability lies between two bounds: how many, their mean probability, the share that occurred, and
    the 95 % interval of that share (Wilson, 1927)."""

    low: float
    high: float
    facts: int
    probability: float
    occurred: float
    interval: list[float]


class RuleScores(Document):
    """How good one way to forecast is, over all facts with a past.

    - `brier`, `log_score`: means over facts, the latter in nats; lower is better.
    - `average_precision`: area under the precision-recall curve.
    - `precision`, `recall`: by k, of the k most probable facts of a snapshot, averaged over snapshots; of facts with
      the same probability, as many as still fit are taken at random, and the mean over such draws counts.
    """

    brier: float
    log_score: float
    average_precision: float
    precision: dict[str, float]
    recall: dict[str, float]


@dataclass
class RuleTally:
    """Sums over facts, from which the scores of one rule follow; probabilities are counted in fine bins, so that any
    number of facts takes the same memory."""

    brier: list[float] = field(default_factory=list[float])
    log_score: float = 0.0
    facts: np.ndarray = field(default_factory=lambda: np.zeros(len(_EDGES), np.int64))
    probability: np.ndarray = field(default_factory=lambda: np.zeros(len(_EDGES)))
    occurred: np.ndarray = field(default_factory=lambda: np.zeros(len(_EDGES), np.int64))
    precision: list[list[float]] = field(default_factory=list[list[float]])
    recall: list[list[float]] = field(default_factory=list[list[float]])

    def add(self, probability: Probabilities, occurred: Bool[np.ndarray, " fact"], total: int) -> None:
        """The forecasts of one snapshot; `total`: facts that occurred, those without a past among them."""
        self.brier.append(float(((probability - occurred) ** 2).sum()))
        clipped = np.clip(probability, FLOOR, 1 - FLOOR)
        self.log_score -= float(np.log(np.where(occurred, clipped, 1 - clipped)).sum())
        place = np.searchsorted(_EDGES, probability, side="right") - 1
        self.facts += np.bincount(place, minlength=len(_EDGES))
        self.probability += np.bincount(place, probability, len(_EDGES))
        self.occurred += np.bincount(place[occurred], minlength=len(_EDGES))
        found = _found_at(probability, occurred)
        self.precision.append([number / k for number, k in zip(found, TOP)])
        self.recall.append([number / max(total, 1) for number in found])

    def scores(self) -> RuleScores:
        facts, occurred = int(self.facts.sum()), int(self.occurred.sum())
        # From the most probable bin down; within a bin all facts are tied.
        number, right = np.cumsum(self.facts[::-1]), np.cumsum(self.occurred[::-1])
        precision = right / np.maximum(number, 1)
        average = float((precision * self.occurred[::-1]).sum() / max(occurred, 1))
        means = (np.mean(rows, 0).tolist() for rows in (self.precision, self.recall))
        by_k = [dict(zip(map(str, TOP), row)) for row in means]
        return RuleScores(
            brier=sum(self.brier) / max(facts, 1),
            log_score=self.log_score / max(facts, 1),
            average_precision=average,
            precision=by_k[0],
            recall=by_k[1],
        )

    def reliability(self, overlap: int = 1) -> tuple[float, list[EventReliabilityBin]]:
        """The calibration error and the bins of the facts with at least `LEAST_PROBABILITY`.

        **Arguments:** `overlap`: forecasts whose horizons overlap, which are taken for one trial in the intervals.
        """
        middle = np.append((_EDGES[:-1] + _EDGES[1:]) / 2, 1.0)
        judged = np.append(_EDGES[:-1], 1.0) >= LEAST_PROBABILITY * (1 - 1e-9)
        coarse = np.minimum((middle * BINS).astype(int), BINS - 1)
        bins, error, whole = list[EventReliabilityBin](), 0.0, int(self.facts[judged].sum())
        for number in range(BINS):
            chosen = judged & (coarse == number)
            facts = int(self.facts[chosen].sum())
            if facts:
                mean, share = float(self.probability[chosen].sum()) / facts, float(self.occurred[chosen].sum()) / facts
                error += abs(mean - share) * facts / whole
                low, high = wilson_interval(share, max(facts / overlap, 1.0))
                bins.append(
                    EventReliabilityBin(
                        low=max(number / BINS, LEAST_PROBABILITY),
                        high=(number + 1) / BINS,
                        facts=facts,
                        probability=mean,
                        occurred=share,
                        interval=[low, high],
                    )
                )
        return error, bins


def _found_at(probability: Probabilities, occurred: Bool[np.ndarray, " fact"]) -> list[float]:
    """How many of the k most probable facts occurred, for every k of `TOP`, in the mean over the orders of ties."""
    found = list[float]()
    for k in TOP:
        if k >= len(probability):
            found.append(float(occurred.sum()))
            continue
        least = np.partition(probability, -k)[-k]
        above, tied = probability > least, probability == least
        room = k - int(above.sum())
        found.append(float(occurred[above].sum() + room * occurred[tied].mean()))
    return found


def wilson_interval(share: float, number: int | float, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share of `number` independent trials (Wilson, 1927)."""
    center = share + z**2 / (2 * number)
    spread = z * np.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
    whole = 1 + z**2 / number
    return max(0.0, float((center - spread) / whole)), min(1.0, float((center + spread) / whole))


def skill_interval(
    ours: Float[np.ndarray, " snapshot"], theirs: Float[np.ndarray, " snapshot"], block: int = 1, seed: int = 0
) -> list[float] | None:
    """The 95 % bootstrap interval of 1 - sum(ours) / sum(theirs), the same snapshots drawn of both.

    Horizons of neighbouring snapshots overlap, so that their errors are alike: snapshots are drawn in runs of `block`
    that follow each other, the first one after the last (Politis and Romano, 1992). None where there are less than two
    runs, for then nothing is known of how much another period would differ.
    """
    number = len(ours)
    if number < 2 * block:
        return None
    begin = np.random.default_rng(seed).integers(0, number, (RESAMPLES, -(-number // block)))
    drawn = ((begin[:, :, None] + np.arange(block)) % number).reshape(RESAMPLES, -1)[:, :number]
    tail = (1 - CONFIDENCE) / 2
    skill = 1 - ratio(ours[drawn].sum(1), theirs[drawn].sum(1))
    # A draw in which nothing came has no skill.
    return np.nanquantile(skill, [tail, 1 - tail]).tolist() if np.isfinite(skill).any() else None


def ratio(above: np.ndarray | float, below: np.ndarray | float) -> np.ndarray:
    """The quotients; NaN where the divisor is 0."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)
