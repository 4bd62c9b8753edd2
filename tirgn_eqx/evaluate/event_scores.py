"""How good forecasts of events are: probabilities against what came, beside those of simple rules.

Forecasts are made at every snapshot of a split, from what is known before it, for the facts that occurred before; what
never occurred is judged in total, and by its own stratum. A horizon counts where the data reach to its end.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.data.index.occurrences import HALF_LIVES
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.bootstrap import CONFIDENCE, RESAMPLES
from tirgn_eqx.evaluate.compare import relation_name
from tirgn_eqx.evaluate.event_rates import RatesForecaster
from tirgn_eqx.evaluate.results import DatasetDescription, Document, evaluated_snapshots
from tirgn_eqx.models.event_rates import EventRates

HORIZONS = (1, 7, 30)
TOP = (10, 100, 1000)
LEAST_PROBABILITY = 0.01  # of the facts that calibration is judged on: below it nearly all are
FLOOR = 1e-6  # of probabilities in the logarithmic score
BINS = 15
MAX_RELATIONS = 20
_EDGES = np.concatenate([[0.0], np.logspace(-7, 0, 701)])  # of the bins in which probabilities are counted

Probabilities = Float[np.ndarray, " fact"]


class EventReliabilityBin(Document):
    """Facts whose probability lies between two bounds: how many, their mean probability, the share that occurred, and
    the 95 % interval of that share (Wilson, 1927)."""

    low: float
    high: float
    facts: int
    probability: float
    occurred: float
    interval: tuple[float, float]


class RuleScores(Document):
    """How good one way to forecast is, over all facts with a past.

    - `brier`, `log_score`: means over facts, the latter in nats; lower is better.
    - `average_precision`: area under the precision-recall curve.
    - `precision`, `recall`: by k, of the k most probable facts of a snapshot, averaged over snapshots.
    """

    brier: float
    log_score: float
    average_precision: float
    precision: dict[str, float]
    recall: dict[str, float]


class RelationTotals(Document):
    """Events of one relation over all snapshots: how many were expected and how many came."""

    relation: str
    expected: float
    occurred: int


class HorizonScores(Document):
    """Forecasts over one horizon.

    - `horizon`, `snapshots`: how many snapshots it has, and at how many it was judged.
    - `facts`, `occurred`: facts with a past over all of these, and how many of them came within the horizon.
    - `rules`: the model and the baselines by name.
    - `best_baseline`: that with the lowest Brier score; `skill`: of the model against it, 1 - Brier / Brier, with its
      95 % bootstrap interval over snapshots.
    - `ece`: expected calibration error of the facts with a probability of at least `LEAST_PROBABILITY`, with its bins.
    - `totals`: of events that came to those expected, for known, novel and unseen facts and for all; `relations`: the
      most frequent.
    """

    horizon: int
    snapshots: int
    facts: int
    occurred: int
    rules: dict[str, RuleScores]
    best_baseline: str
    skill: float
    skill_interval: tuple[float, float]
    ece: float
    reliability: list[EventReliabilityBin]
    totals: dict[str, float]
    relations: list[RelationTotals]


class EventReport(Document):
    """The document of `tirgn eval --events`."""

    dataset: DatasetDescription
    split: str
    horizons: list[HorizonScores]
    seconds: float


# --- baselines -------------------------------------------------------------------------------------------------------


def climatology(index: ActivityIndex, facts: np.ndarray, target: int, horizon: int) -> Probabilities:
    """By how often the fact occurred so far: the share of past steps with it, in each step of the horizon anew."""
    cutoff = index.cutoff(target)
    times = index.fact.snapshots(index.fact.last(facts, target), facts)
    return 1 - (1 - np.minimum(times / max(cutoff.now, 1), 1)) ** horizon


def persistence(index: ActivityIndex, facts: np.ndarray, target: int, horizon: int) -> Probabilities:
    """What occurred within a horizon before the target occurs again, nothing else does."""
    age = index.fact.age(index.fact.last(facts, target), index.cutoff(target).now)
    return (age <= horizon).astype(np.float64)


def faded_rate(half_life: float) -> Callable[[ActivityIndex, np.ndarray, int, int], Probabilities]:
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


BASELINES: Mapping[str, Callable[[ActivityIndex, np.ndarray, int, int], Probabilities]] = {
    "never": lambda index, facts, target, horizon: np.zeros(len(facts)),
    "climatology": climatology,
    "persistence": persistence,
    "half-life 16": faded_rate(16.0),
    "half-life 64": faded_rate(64.0),
}
MODEL = "model"


# --- scores ----------------------------------------------------------------------------------------------------------


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
        best = np.argsort(-probability, kind="stable")[: max(TOP)]
        right = np.cumsum(occurred[best])
        found = [float(right[min(k, len(right)) - 1]) if len(right) else 0.0 for k in TOP]
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

    def reliability(self) -> tuple[float, list[EventReliabilityBin]]:
        """The calibration error and the bins of the facts with at least `LEAST_PROBABILITY`."""
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
                low, high = wilson_interval(share, facts)
                bins.append(
                    EventReliabilityBin(
                        low=number / BINS,
                        high=(number + 1) / BINS,
                        facts=facts,
                        probability=mean,
                        occurred=share,
                        interval=(low, high),
                    )
                )
        return error, bins


def wilson_interval(share: float, number: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share of `number` independent trials (Wilson, 1927)."""
    center = share + z**2 / (2 * number)
    spread = z * np.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
    whole = 1 + z**2 / number
    return max(0.0, float((center - spread) / whole)), min(1.0, float((center + spread) / whole))


def skill_interval(
    ours: Float[np.ndarray, " snapshot"], theirs: Float[np.ndarray, " snapshot"], seed: int = 0
) -> tuple[float, float]:
    """The 95 % bootstrap interval of 1 - sum(ours) / sum(theirs), the same snapshots drawn with replacement of both."""
    drawn = np.random.default_rng(seed).multinomial(len(ours), np.full(len(ours), 1 / len(ours)), RESAMPLES)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(1 - _ratio(drawn @ ours, drawn @ theirs), [tail, 1 - tail])
    return float(low), float(high)


@dataclass
class HorizonTally:
    """What is counted of one horizon, snapshot by snapshot."""

    relations: int
    rules: dict[str, RuleTally] = field(init=False)
    facts: list[int] = field(default_factory=list[int])
    occurred: int = 0
    expected: np.ndarray = field(default_factory=lambda: np.zeros(3))
    came: np.ndarray = field(default_factory=lambda: np.zeros(3))
    expected_by_relation: np.ndarray = field(init=False)
    came_by_relation: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.rules = {name: RuleTally() for name in (MODEL, *BASELINES)}
        self.expected_by_relation, self.came_by_relation = np.zeros(self.relations), np.zeros(self.relations)


def evaluate_events(
    model: EventRates,
    graph: TemporalGraph,
    index: ActivityIndex | None = None,
    *,
    split: str = "test",
    horizons: tuple[int, ...] = HORIZONS,
) -> EventReport:
    """Judge the rates of events on a split; see `tirgn_eqx.evaluate.event_scores`."""
    begin = time.perf_counter()
    forecaster = RatesForecaster(model, index or ActivityIndex(graph), horizons)
    found = list(score_events(forecaster, split))
    seconds = time.perf_counter() - begin
    return EventReport(dataset=DatasetDescription.of(graph), split=split, horizons=found, seconds=seconds)


def score_events(forecaster: RatesForecaster, split: str) -> Iterator[HorizonScores]:
    """The scores of a forecaster's horizons over `split`.

    **Raises:** DataError where no horizon ends within the data.
    """
    index, graph = forecaster.index, forecaster.index.graph
    targets = [int(number) for number in evaluated_snapshots(graph, split)]
    horizons = forecaster.horizons
    tallies = {horizon: HorizonTally(index.relations) for horizon in horizons}
    for target in targets:
        fitting = [horizon for horizon in horizons if target + horizon <= graph.num_snapshots]
        if not fitting:
            continue
        facts, pairs = index.known_facts(target), index.known_pairs(target)
        known, novel, unseen = (
            forecaster.known(facts, target),
            forecaster.novel(pairs, target),
            forecaster.unseen(target),
        )
        relation_of_fact, relation_of_pair = index.parts(facts)[1], index.pair.key[pairs] % index.relations
        for horizon in fitting:
            place, tally = horizons.index(horizon), tallies[horizon]
            came = index.happened(target, target + horizon)
            occurred = np.zeros(len(index.fact.key), bool)
            occurred[came[0].group] = True
            occurred = occurred[facts]
            tally.facts.append(len(facts))
            tally.occurred += int(occurred.sum())
            total = int(occurred.sum()) + index.num_new_facts(target, target + horizon)
            tally.rules[MODEL].add(known.probability[:, place], occurred, total)
            for name, rule in BASELINES.items():
                tally.rules[name].add(rule(index, facts, target, horizon), occurred, total)
            tally.came += [part.count.sum() for part in came]
            by_relation = [
                np.bincount(relation_of_fact, known.mean[:, place], index.relations),
                np.bincount(relation_of_pair, novel.mean[:, place], index.relations),
                unseen.total[:, place],
            ]
            tally.expected += [part.sum() for part in by_relation]
            tally.expected_by_relation += np.sum(by_relation, 0)
            rows = slice(int(graph.offsets[target]), int(graph.offsets[target + horizon]))
            tally.came_by_relation += np.bincount(graph.relation[rows], minlength=index.relations)
    if not any(tally.facts for tally in tallies.values()):
        raise DataError(
            f"{graph.name}: the data end {graph.num_snapshots - targets[0]} snapshots after {split} begins, before the "
            f"end of a horizon of {min(horizons)}; give a shorter --horizon"
        )
    for horizon, tally in tallies.items():
        if tally.facts:
            yield _scores(horizon, tally, graph)


def _ratio(above: ArrayLike, below: ArrayLike) -> np.ndarray:
    """The quotients; NaN where the divisor is 0."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)


def _scores(horizon: int, tally: HorizonTally, graph: TemporalGraph) -> HorizonScores:
    rules = {name: rule.scores() for name, rule in tally.rules.items()}
    best = min(BASELINES, key=lambda name: rules[name].brier)
    ours, theirs = (np.array(tally.rules[name].brier) for name in (MODEL, best))
    low, high = skill_interval(ours, theirs)
    ece, reliability = tally.rules[MODEL].reliability()
    kinds = dict(zip(("known", "novel", "unseen"), _ratio(tally.came, tally.expected).tolist()))
    order = np.argsort(-tally.came_by_relation, kind="stable")[:MAX_RELATIONS].tolist()
    return HorizonScores(
        horizon=horizon,
        snapshots=len(tally.facts),
        facts=sum(tally.facts),
        occurred=tally.occurred,
        rules=rules,
        best_baseline=best,
        skill=1 - float(_ratio(ours.sum(), theirs.sum())),
        skill_interval=(low, high),
        ece=ece,
        reliability=reliability,
        totals=kinds | {"all": float(_ratio(tally.came.sum(), tally.expected.sum()))},
        relations=[
            RelationTotals(
                relation=relation_name(graph, number),
                expected=float(tally.expected_by_relation[number]),
                occurred=int(tally.came_by_relation[number]),
            )
            for number in order
        ],
    )
