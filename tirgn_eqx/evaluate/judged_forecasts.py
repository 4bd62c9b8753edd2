"""Forecasts that are over, with what came of them, and how good they were."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int64

from tirgn_eqx.data.forecast_journal import JournalLine
from tirgn_eqx.evaluate.event_tally import FLOOR, EventReliabilityBin, RuleTally, skill_interval
from tirgn_eqx.evaluate.results import Document

Interval = list[float]
Name = TypeVar("Name", int, str)


class ForecastScores(Document):
    """How good some forecasts were.

    - `name`: which ones, such as a relation, or the first day of a week.
    - `forecasts`, `came`: how many, and how many of their facts came; `targets`: their different target times.
    - `probability`: the mean; `calibration`: the number of facts that came to the one expected, the sum of the
      probabilities (above 1: too low ones); None where that is 0.
    - `events`, `expected`: how often the facts came in all, and how often they were expected to.
    - `brier`, `log_score`: means, the latter in nats; lower is better.
    - `skill`: 1 - Brier / Brier of the usual rate, None where the latter is 0; `skill_interval`: of it, 95 % of a
      bootstrap over runs of target times that are as long as a horizon, None for less than two of them.
    """

    name: int | str
    forecasts: int
    came: int
    targets: int
    probability: float
    calibration: float | None
    events: int
    expected: float
    brier: float
    log_score: float
    skill: float | None
    skill_interval: Interval | None


class RuleComparison(Document):
    """A simple rule on the same forecasts, and the skill of the forecasts against it, as in `ForecastScores`."""

    brier: float
    log_score: float
    skill: float | None
    skill_interval: Interval | None


@dataclass(frozen=True)
class JudgedForecasts:
    """Forecasts with what came of them, `(forecast,)` each.

    **Arguments:** `begin`: the target time, by which intervals draw them; `probability`, `expected`: of the
    forecasts; `usual`: the probability by the usual rate, of a Poisson number; `events`: how often each fact came.
    """

    lines: Sequence[JournalLine]
    begin: Int64[np.ndarray, " forecast"]
    probability: Float[np.ndarray, " forecast"]
    expected: Float[np.ndarray, " forecast"]
    usual: Float[np.ndarray, " forecast"]
    events: Int64[np.ndarray, " forecast"]

    @classmethod
    def of(cls, lines: Sequence[JournalLine], events: Int64[np.ndarray, " forecast"]) -> "JudgedForecasts":
        """The forecasts of a journal, and how often the fact of each came."""
        probability, expected, rate = (
            np.array(column, np.float64)
            for column in (
                [line.probability for line in lines],
                [line.expected for line in lines],
                [line.usual or 0.0 for line in lines],
            )
        )
        begin = np.array([line.begin for line in lines], np.int64)
        return cls(lines, begin, probability, expected, -np.expm1(-rate), events)

    @property
    def came(self) -> Bool[np.ndarray, " forecast"]:
        """Whether the fact of each came."""
        return self.events > 0

    def by(self, name: Callable[[JournalLine], Name | None]) -> "dict[Name, JudgedForecasts]":
        """The forecasts by name, in the order in which each name first occurs; those that have None are left out."""
        rows: dict[Name, list[int]] = {}
        for row, line in enumerate(self.lines):
            if (value := name(line)) is not None:
                rows.setdefault(value, []).append(row)
        return {value: self._where(found) for value, found in rows.items()}

    def _where(self, rows: list[int]) -> "JudgedForecasts":
        arrays = (self.begin, self.probability, self.expected, self.usual, self.events)
        return JudgedForecasts([self.lines[row] for row in rows], *(array[rows] for array in arrays))

    def score(self, name: int | str) -> ForecastScores:
        """How good they were; there is at least one."""
        came, usual = self.came, self.compare(self.usual)
        return ForecastScores(
            name=name,
            forecasts=len(self.lines),
            came=int(came.sum()),
            targets=len(np.unique(self.begin)),
            probability=float(self.probability.mean()),
            calibration=_quotient(float(came.sum()), float(self.probability.sum())),
            events=int(self.events.sum()),
            expected=float(self.expected.sum()),
            brier=float(_squares(self.probability, came).mean()),
            log_score=_log_score(self.probability, came),
            skill=usual.skill,
            skill_interval=usual.skill_interval,
        )

    def compare(self, rule: Float[np.ndarray, " forecast"]) -> RuleComparison:
        """The skill against the probabilities of a rule."""
        ours, theirs = _squares(self.probability, self.came), _squares(rule, self.came)
        targets, place = np.unique(self.begin, return_inverse=True)
        ratio = _quotient(float(ours.sum()), float(theirs.sum()))
        by_target = [np.bincount(place, squares, len(targets)) for squares in (ours, theirs)]
        return RuleComparison(
            brier=float(theirs.mean()),
            log_score=_log_score(rule, self.came),
            skill=None if ratio is None else 1 - ratio,
            skill_interval=skill_interval(by_target[0], by_target[1], self._overlap),
        )

    @property
    def _overlap(self) -> int:
        """How many targets lie within one horizon, whose outcomes are alike."""
        targets, length = np.unique(self.begin), max(line.end - line.begin for line in self.lines)
        return int((np.searchsorted(targets, targets + length) - np.arange(len(targets))).max())

    def reliability(self) -> tuple[float, list[EventReliabilityBin]]:
        """The expected calibration error of probabilities of at least 1 %, and its bins."""
        tally = RuleTally()
        tally.add(self.probability, self.came, int(self.came.sum()))
        return tally.reliability(self._overlap)


def _squares(probability: Float[np.ndarray, " forecast"], came: Bool[np.ndarray, " forecast"]) -> np.ndarray:
    return (probability - came) ** 2


def _log_score(probability: Float[np.ndarray, " forecast"], came: Bool[np.ndarray, " forecast"]) -> float:
    clipped = np.clip(probability, FLOOR, 1 - FLOOR)
    return -float(np.log(np.where(came, clipped, 1 - clipped)).mean())


def _quotient(above: float, below: float) -> float | None:
    return above / below if below > 0 else None
