"""How good forecasts of events are: probabilities against what came, beside those of simple rules.

Forecasts are made at every snapshot of a split, from what is known before it, for the facts that occurred before; what
never occurred is judged in total, and by its own stratum. A horizon counts where the data reach to its end.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.activity import ActivityIndex
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.compare import relation_name
from tirgn_eqx.evaluate.event_rates import RatesForecaster
from tirgn_eqx.evaluate.event_rules import BASELINES, Rule
from tirgn_eqx.evaluate.event_tally import EventReliabilityBin, RuleScores, RuleTally, ratio, skill_interval
from tirgn_eqx.evaluate.new_facts import NewFactSample, NewFactScores, NewFactTally
from tirgn_eqx.evaluate.results import DatasetDescription, Document, evaluated_snapshots
from tirgn_eqx.models.event_rates import EventRates

HORIZONS = (1, 7, 30)
MAX_RELATIONS = 20


class RelationTotals(Document):
    """Events of one relation over all snapshots: how many were expected and how many came."""

    relation: str
    expected: float
    occurred: int


class HorizonScores(Document):
    """Forecasts over one horizon.

    - `horizon`, `snapshots`: how many steps it has, and at how many snapshots it was judged.
    - `facts`, `occurred`: facts with a past over all of these, and how many of them came within the horizon.
    - `rules`: the model and the baselines by name.
    - `best_baseline`: that with the lowest Brier score; `skill`: of the model against it, 1 - Brier / Brier, with its
      95 % interval by a bootstrap over runs of snapshots, None where the split holds less than two horizons.
    - `ece`: expected calibration error of the facts with a probability of at least `LEAST_PROBABILITY`, with its bins.
    - `totals`: of events that came to those expected, for known, novel and unseen facts and for all; `relations`: the
      most frequent.
    - `new_facts`: facts without a past, as a stratum of their own.
    """

    horizon: int
    snapshots: int
    facts: int
    occurred: int
    rules: dict[str, RuleScores]
    best_baseline: str
    skill: float
    skill_interval: list[float] | None
    ece: float
    reliability: list[EventReliabilityBin]
    totals: dict[str, float]
    relations: list[RelationTotals]
    new_facts: NewFactScores


class EventReport(Document):
    """The document of `tirgn eval --events`."""

    dataset: DatasetDescription
    split: str
    horizons: list[HorizonScores]
    seconds: float


MODEL = "model"


@dataclass
class HorizonTally:
    """What is counted of one horizon, snapshot by snapshot."""

    relations: int
    names: Iterable[str]
    rules: dict[str, RuleTally] = field(init=False)
    facts: list[int] = field(default_factory=list[int])
    occurred: int = 0
    expected: np.ndarray = field(default_factory=lambda: np.zeros(3))
    came: np.ndarray = field(default_factory=lambda: np.zeros(3))
    expected_by_relation: np.ndarray = field(init=False)
    came_by_relation: np.ndarray = field(init=False)
    new_facts: NewFactTally = field(default_factory=NewFactTally)

    def __post_init__(self) -> None:
        self.rules = {name: RuleTally() for name in (MODEL, *self.names)}
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


def score_events(
    forecaster: RatesForecaster, split: str, rules: Mapping[str, Rule] = BASELINES
) -> Iterator[HorizonScores]:
    """The scores of a forecaster's horizons over `split`, beside those of `rules`.

    **Raises:** DataError where no horizon ends within the data.
    """
    index, graph = forecaster.index, forecaster.index.graph
    targets = [int(number) for number in evaluated_snapshots(graph, split)]
    horizons = forecaster.horizons
    tallies = {horizon: HorizonTally(index.relations, rules) for horizon in horizons}
    for target in targets:
        fitting = [horizon for horizon in horizons if index.covers(target, horizon, graph.num_snapshots)]
        if not fitting:
            continue
        facts, pairs = index.known_facts(target), index.known_pairs(target)
        known, novel, unseen = (
            forecaster.known(facts, target),
            forecaster.novel(pairs, target),
            forecaster.unseen(target),
        )
        sample = NewFactSample(forecaster, target, pairs)
        relation_of_fact, relation_of_pair = index.parts(facts)[1], index.pair.key[pairs] % index.relations
        for horizon in fitting:
            place, tally = horizons.index(horizon), tallies[horizon]
            end = index.window_end(target, horizon)
            came = index.happened(target, end)
            occurred = np.zeros(len(index.fact.key), bool)
            occurred[came[0].group] = True
            occurred = occurred[facts]
            tally.facts.append(len(facts))
            tally.occurred += int(occurred.sum())
            total = int(occurred.sum()) + len(index.new_facts(target, end))
            tally.rules[MODEL].add(known.probability[:, place], occurred, total)
            for name, rule in rules.items():
                tally.rules[name].add(rule(index, facts, target, horizon), occurred, total)
            sample.add(tally.new_facts, novel, place, end)
            tally.came += [part.count.sum() for part in came]
            by_relation = [
                np.bincount(relation_of_fact, known.mean[:, place], index.relations),
                np.bincount(relation_of_pair, novel.mean[:, place], index.relations),
                unseen.total[:, place],
            ]
            tally.expected += [part.sum() for part in by_relation]
            tally.expected_by_relation += np.sum(by_relation, 0)
            rows = slice(int(graph.offsets[target]), int(graph.offsets[end]))
            tally.came_by_relation += np.bincount(graph.relation[rows], minlength=index.relations)
    if not any(tally.facts for tally in tallies.values()):
        raise DataError(
            f"{graph.name}: the data end {graph.num_snapshots - targets[0]} snapshots after {split} begins, before the "
            f"end of a horizon of {min(horizons)}; give a shorter --horizon"
        )
    for horizon, tally in tallies.items():
        if tally.facts:
            yield _scores(horizon, tally, graph)


def _scores(horizon: int, tally: HorizonTally, graph: TemporalGraph) -> HorizonScores:
    rules = {name: rule.scores() for name, rule in tally.rules.items()}
    best = min(tally.names, key=lambda name: rules[name].brier)
    ours, theirs = (np.array(tally.rules[name].brier) for name in (MODEL, best))
    ece, reliability = tally.rules[MODEL].reliability(horizon)
    kinds = dict(zip(("known", "novel", "unseen"), ratio(tally.came, tally.expected).tolist()))
    order = np.argsort(-tally.came_by_relation, kind="stable")[:MAX_RELATIONS].tolist()
    return HorizonScores(
        horizon=horizon,
        snapshots=len(tally.facts),
        facts=sum(tally.facts),
        occurred=tally.occurred,
        rules=rules,
        best_baseline=best,
        skill=1 - float(ratio(ours.sum(), theirs.sum())),
        skill_interval=skill_interval(ours, theirs, horizon),
        ece=ece,
        reliability=reliability,
        totals=kinds | {"all": float(ratio(tally.came.sum(), tally.expected.sum()))},
        relations=[
            RelationTotals(
                relation=relation_name(graph, number),
                expected=float(tally.expected_by_relation[number]),
                occurred=int(tally.came_by_relation[number]),
            )
            for number in order
        ],
        new_facts=tally.new_facts.scores(),
    )
