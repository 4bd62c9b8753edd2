"""What no file of a training holds: metrics by kind of query, relation and time, and forecasts beside what happened."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
import numpy as np

from tirgn_eqx.config import TrainingConfig
from tirgn_eqx.data.batches.loader import KINDS
from tirgn_eqx.data.graph import SPLITS, TemporalGraph
from tirgn_eqx.data.statistics import graph_statistics
from tirgn_eqx.data.times import format_snapshot_time
from tirgn_eqx.evaluate.compare import relation_name
from tirgn_eqx.evaluate.filters import FILTER_NAMES, Filter
from tirgn_eqx.evaluate.protocol import make_evaluator
from tirgn_eqx.evaluate.results import Evaluation, summarize
from tirgn_eqx.evaluate.rules import RuleReport, learn_rules
from tirgn_eqx.evaluate.strata import split_queries
from tirgn_eqx.forecast import Forecast, Forecaster
from tirgn_eqx.models import Evidence, Mixture, Model
from tirgn_eqx.report.documents import CalibrationMetrics, EvaluationDocument, RankMetrics, SnapshotMetrics

MAX_CANDIDATES = 5  # of a sample
MAX_SAMPLE_TIMES = 3
MAX_RELATIONS = 300


@dataclass(frozen=True)
class StratumMetrics:
    """Metrics of the queries of one kind or relation; `share`: of all queries, a fraction."""

    name: str
    queries: int
    share: float | None
    metrics: RankMetrics


@dataclass(frozen=True)
class SampleForecast:
    """A forecast of one query of a split and what happened: the answer, its probability and rank, and all true
    answers."""

    forecast: Forecast
    answer: str
    answer_probability: float
    rank: float
    happened: tuple[str, ...]


@dataclass(frozen=True)
class Measurements:
    """What was measured of a model on one split.

    **Arguments:** `metrics`: by "entity", "object", "subject", "relation" and "entity_raw", those that are known;
    `strata`: by what the past says of the answer; `relations`: the most frequent first; `relations_left_out`: how many
    more there are, None where that is not known; `rules`: what a model with evidence has learnt; `statistics`: of
    `graph_statistics`; `spans`: first and last time of each split; `left_out`: facts by split whose names the model
    does not know.
    """

    split: str
    setting: str
    metrics: dict[str, RankMetrics]
    calibration: CalibrationMetrics | None = None
    strata: tuple[StratumMetrics, ...] = ()
    relations: tuple[StratumMetrics, ...] = ()
    relations_left_out: int | None = None
    snapshots: tuple[SnapshotMetrics, ...] = ()
    samples: tuple[SampleForecast, ...] = ()
    rules: RuleReport | None = None
    statistics: dict[str, object] = dataclasses.field(default_factory=dict)
    spans: dict[str, tuple[int | str, ...]] = dataclasses.field(default_factory=dict)
    left_out: dict[str, int] = dataclasses.field(default_factory=dict)


def from_evaluation(document: EvaluationDocument) -> Measurements:
    """What an evaluation document holds, which is not by relation."""
    parts = ("entity", "object", "subject", "relation", "entity_raw")
    metrics = {part: found for part in parts if (found := getattr(document, part)) is not None}
    shared = {"snapshots": document.snapshots, "left_out": document.dataset.left_out}
    strata = tuple(StratumMetrics(row.name, row.queries, row.share, row.figures) for row in document.strata)
    setting = describe_setting(document.setting, document.filter)
    return Measurements(document.split, setting, metrics, document.calibration, strata, **shared)


def describe_setting(setting: str, filter: Filter) -> str:
    """A setting as pages name it, with the filter unless it is the time-aware one of all other metrics."""
    return setting if filter == "time" else f"{setting}, {FILTER_NAMES[filter]}"


def measure(
    model: Model,
    config: TrainingConfig,
    graph: TemporalGraph,
    *,
    split: Literal["valid", "test"] = "test",
    samples: int = 12,
    seed: int = 0,
    temperature: dict[str, float] | None = None,
    rules: bool = True,
) -> Measurements:
    """Metrics of `split`, single-step with the time-aware filter, sample forecasts, and rules.

    **Arguments:** `samples`: how many queries are drawn, by `seed`, and forecast; `temperature`: of the probabilities
    by kind of query, as the checkpoint holds it; `rules`: False for a model that has learnt from valid, on which rules
    are chosen.
    """
    pair = None
    if temperature:
        entity, relation = (jnp.asarray(temperature.get(kind, 1.0), jnp.float32) for kind in KINDS)
        pair = entity, relation
    evaluator = make_evaluator(model, graph, split=split, **config.window())
    # The evaluator was made for this kind of model, which its type does not say.
    evaluation = evaluator(model, pair)  # pyright: ignore[reportArgumentType]
    # Not strict, because the dict holds lists where the model has tuples.
    found = from_evaluation(EvaluationDocument.model_validate(evaluation.to_dict(), strict=False))
    times = [format_snapshot_time(graph, int(number)) for number in np.unique(evaluation.snapshot)]
    spans = {}
    for name in SPLITS:
        snapshots = graph.split_snapshots(name)
        spans[name] = (
            tuple(format_snapshot_time(graph, int(number)) for number in snapshots[[0, -1]]) if len(snapshots) else ()
        )
    relations, left_out = _by_relation(evaluation)
    return dataclasses.replace(
        found,
        relations=relations,
        relations_left_out=left_out,
        snapshots=tuple(row.model_copy(update={"label": time}) for row, time in zip(found.snapshots, times)),
        samples=tuple(_samples(model, config, evaluation, samples, seed, temperature)),
        rules=_rules(model, config, graph) if rules else None,
        statistics=graph_statistics(graph),
        spans=spans,
    )


def _by_relation(evaluation: Evaluation) -> tuple[tuple[StratumMetrics, ...], int]:
    """Metrics of the most frequent relations, and how many more there are."""
    graph, ranks, nll = evaluation.graph, evaluation.filtered["entity"], evaluation.nll.get("entity")
    _, relation, _, _ = split_queries(graph, evaluation.split, np.unique(evaluation.snapshot))
    # A relation and its inverse are shown as one.
    relation = relation % graph.num_relations
    counts = np.bincount(relation, minlength=graph.num_relations)
    # A stable sort leaves relations of equal count in the order of their ids.
    order = [number for number in np.argsort(-counts, kind="stable").tolist() if counts[number]]
    rows: list[StratumMetrics] = []
    for number in order[:MAX_RELATIONS]:
        chosen = relation == number
        metrics = RankMetrics(**summarize(ranks[chosen], None if nll is None else nll[chosen]))
        name = relation_name(graph, number)
        rows.append(StratumMetrics(name, int(chosen.sum()), float(chosen.mean()), metrics))
    return tuple(rows), len(order) - len(rows)


def _rules(model: Model, config: TrainingConfig, graph: TemporalGraph) -> RuleReport | None:
    """The strongest rules; None for a model without evidence, and without a valid split to choose them on."""
    if not isinstance(model, Evidence | Mixture) or not (graph.split_snapshots("valid") > 0).any():
        return None
    return learn_rules(model, graph, history_len=config.window()["history_len"]).report()


def _samples(
    model: Model,
    config: TrainingConfig,
    evaluation: Evaluation,
    number: int,
    seed: int,
    temperature: dict[str, float] | None,
) -> Iterator[SampleForecast]:
    """Forecasts of queries from a few snapshots, spread over the split."""
    graph, snapshots = evaluation.graph, np.unique(evaluation.snapshot)
    subject, relation, answer, snapshot = split_queries(graph, evaluation.split, snapshots)
    rng = np.random.default_rng(seed)
    places = np.linspace(0, len(snapshots) - 1, min(MAX_SAMPLE_TIMES, len(snapshots))).astype(int)
    targets = np.unique(snapshots[places]).tolist()
    for place, target in enumerate(targets):
        present = np.flatnonzero(snapshot == target)
        # 13 queries at 3 times are 4, 4 and 5.
        wanted = (number + place) // len(targets)
        rows = np.sort(rng.choice(present, min(wanted, len(present)), replace=False))
        if not len(rows):
            continue
        # One for each time: facts at that time and later must be unknown to it.
        forecaster = Forecaster(model, config, graph, at=int(graph.times[target]), temperature=temperature)
        names = forecaster.names
        for row in rows.tolist():
            s, r, o = int(subject[row]), int(relation[row]), int(answer[row])
            same = (snapshot == target) & (subject == s) & (relation == r)
            yield SampleForecast(
                forecast=forecaster.forecast_ids(s, r, top=MAX_CANDIDATES),
                answer=names.entities[o],
                answer_probability=float(forecaster.objects(np.array([s]), np.array([r]))[0][o]),
                # Ranks have the order of `split_queries`.
                rank=float(evaluation.filtered["entity"][row]),
                happened=tuple(sorted({names.entities[i] for i in answer[same].tolist()})),
            )
