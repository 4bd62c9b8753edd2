"""Two models on the same queries: differences of their figures, how certain they are, and in which strata they lie."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.names import find_names
from tirgn_eqx.errors import ConfigError, DataError, DataWarning
from tirgn_eqx.evaluate.bootstrap import CONFIDENCE, RESAMPLES, bootstrap_interval
from tirgn_eqx.evaluate.filters import Filter
from tirgn_eqx.evaluate.results import HITS, CalibrationFigures, DatasetDescription, Document, Evaluation, Figures
from tirgn_eqx.evaluate.strata import RECURRENCE, split_queries

MAX_RELATIONS = 20


class ModelFigures(Document):
    """What a comparison says of one model; `candidates`: the number of entities among which it ranks."""

    name: str
    model_type: str
    checksum_matches: bool | None
    setting: str
    candidates: int
    entity: Figures
    seconds: float
    calibration: CalibrationFigures | None = None


@dataclass(frozen=True)
class EvaluatedModel:
    """One of the two models of a comparison.

    - `name`, `model_type`: what the report calls it, and its family.
    - `evaluation`: of the split on which the two are compared.
    - `checksum_matches`: whether it was trained on these facts; None for a model that is not trained.
    """

    name: str
    model_type: str
    evaluation: Evaluation
    checksum_matches: bool | None = None

    def figures(self) -> ModelFigures:
        """What a comparison says of it."""
        found = self.evaluation
        return ModelFigures(
            name=self.name,
            model_type=self.model_type,
            checksum_matches=self.checksum_matches,
            setting=found.setting,
            candidates=found.graph.num_entities,
            entity=found.entity,
            seconds=found.seconds,
            calibration=found.calibration,
        )


class Difference(Document):
    """First - second of one metric, in points (hundredths), with its interval, and in percent of the second's value
    (None where that is 0)."""

    points: float
    percent: float | None
    interval_points: list[float]


class Stratum(Document):
    """Some of the queries: how many, their share of all, and, where there are any, the MRR of both models and the
    difference first - second with its interval."""

    name: str
    queries: int
    share: float
    mrr: list[float] | None = None
    difference: float | None = None
    interval: list[float] | None = None


class Comparison(Document):
    """The document of `tirgn compare`.

    - `difference`: by metric; `passed`: see `compare`.
    - `confidence`: of the bootstrap intervals, 0.95; `bootstrap`: their "resamples" and "seed".
    - `strata`: by "recurrence" of the answer, "direction", "relation" (the most frequent) and "snapshot".
    """

    dataset: DatasetDescription
    split: str
    filter: Filter
    models: list[ModelFigures]
    difference: dict[str, Difference]
    confidence: float
    bootstrap: dict[str, int]
    threshold: float
    passed: bool
    strata: dict[str, list[Stratum]]


def compare(
    first: EvaluatedModel,
    second: EvaluatedModel,
    *,
    threshold: float = -0.05,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare `first` with `second` on the entity queries of a split, under the filter of both.

    The two may have ids of their own, as `match_checkpoints` gives them; their facts are then compared by name.

    **Arguments:**

    - `threshold`: the comparison is `passed` if the relative difference of MRR is at least this; -0.05 allows `first`
      to be 5 % worse.
    - `resamples`, `seed`: of the paired bootstrap.

    **Returns:** the report; `to_dict()` makes it JSON-compatible.

    **Raises:** DataError when the two were evaluated on different queries or under different filters; ConfigError for a
    threshold outside [-1, 1].

    **Example:**

        models = [EvaluatedModel(name, "tirgn", evaluate_model(model, graph, history_len=7)) for name, model in two]
        print(compare(*models).difference["mrr"].interval_points)
    """
    if not -1 <= threshold <= 1:
        raise ConfigError(f"threshold = {threshold}: must be between -1 and 1, such as -0.05 for 5 % worse")
    _check_queries(first, second)
    _check_candidates(first, second)
    one, two = first.evaluation, second.evaluation
    ranks = one.filtered["entity"], two.filtered["entity"]
    reciprocal = 1 / ranks[0], 1 / ranks[1]

    def interval(values: tuple[np.ndarray, np.ndarray]) -> tuple[float, float, tuple[float, float]]:
        return (
            float(values[0].mean()),
            float(values[1].mean()),
            bootstrap_interval(values[0] - values[1], resamples=resamples, seed=seed),
        )

    def stratum(name: str, chosen: Bool[np.ndarray, " query"]) -> Stratum:
        queries, share = int(chosen.sum()), float(chosen.mean())
        if not queries:
            return Stratum(name=name, queries=queries, share=share)
        a, b, bounds = interval((reciprocal[0][chosen], reciprocal[1][chosen]))
        return Stratum(name=name, queries=queries, share=share, mrr=[a, b], difference=a - b, interval=list(bounds))

    # As numbers, because NumPy does not subtract booleans.
    hits = {f"hits_at_{k}": ((ranks[0] <= k).astype(np.float64), (ranks[1] <= k).astype(np.float64)) for k in HITS}
    difference: dict[str, Difference] = {}
    for name, values in ({"mrr": reciprocal} | hits).items():
        a, b, (low, high) = interval(values)
        # Hits of the second model may be 0, an MRR never is.
        percent = 100 * (a / b - 1) if b else None
        difference[name] = Difference(points=100 * (a - b), percent=percent, interval_points=[100 * low, 100 * high])
    # NaN compares false, so a model whose ranks are not numbers does not pass.
    relative = one.entity["mrr"] / two.entity["mrr"] - 1
    return Comparison(
        dataset=DatasetDescription.of(one.graph),
        split=one.split,
        filter=one.filter,
        models=[first.figures(), second.figures()],
        difference=difference,
        confidence=CONFIDENCE,
        bootstrap={"resamples": resamples, "seed": seed},
        threshold=threshold,
        passed=bool(relative >= threshold),
        strata=_strata(one, stratum),
    )


def _check_queries(first: EvaluatedModel, second: EvaluatedModel) -> None:
    one, two = first.evaluation, second.evaluation
    if one.filter != two.filter:
        raise DataError(
            f"{first.name} was evaluated with --filter {one.filter} and {second.name} with --filter {two.filter}; "
            "figures under different filters do not compare, evaluate both under one"
        )
    same = one.split == two.split and one.setting == two.setting
    # The checksum does not depend on the order of the facts within a snapshot, and the order of the ranks does.
    columns = ("snapshot", "split", "times")
    same = same and all(np.array_equal(getattr(one.graph, name), getattr(two.graph, name)) for name in columns)
    # Each model may have ids of its own, so facts are compared by name.
    for column, names in (("subject", "entity"), ("relation", "relation"), ("object", "entity")):
        mine, theirs = (getattr(graph, f"{names}_names") for graph in (one.graph, two.graph))
        ids, others = getattr(one.graph, column), getattr(two.graph, column)
        # Where either side has no names, its ids are taken to be those of the other.
        if mine != theirs and mine is not None and theirs is not None:
            others = find_names(theirs, mine)[others]
        same = same and np.array_equal(ids, others)
    if not same or not np.array_equal(one.snapshot, two.snapshot) or not np.array_equal(one.inverse, two.inverse):
        raise DataError(
            f"{first.name} and {second.name} were evaluated on different queries "
            f"({one.graph.name}, {one.split}, {one.setting}; {two.graph.name}, {two.split}, {two.setting}); "
            "evaluate both on one graph"
        )


def _check_candidates(first: EvaluatedModel, second: EvaluatedModel) -> None:
    """Warn where the two rank among different candidates, since a longer list is harder."""
    graphs = first.evaluation.graph, second.evaluation.graph
    known = [graph.num_entities if graph.entity_names is None else frozenset(graph.entity_names) for graph in graphs]
    if known[0] != known[1]:
        one, two = (f"{side.name} among {graph.num_entities:,}" for side, graph in zip((first, second), graphs))
        warnings.warn(
            f"{one}, {two}: answers are ranked among the entities that each model knows, which are not the same; "
            "part of the difference is due to that",
            DataWarning,
            stacklevel=3,
        )


def _strata(evaluation: Evaluation, stratum: Callable[[str, np.ndarray], Stratum]) -> dict[str, list[Stratum]]:
    graph, snapshot, inverse, kind = evaluation.graph, evaluation.snapshot, evaluation.inverse, evaluation.recurrence
    _, relation, _, _ = split_queries(graph, evaluation.split, np.unique(snapshot))
    # Both directions of a relation are one stratum.
    relation = relation % graph.num_relations
    counts = np.bincount(relation, minlength=graph.num_relations)
    # Stable, so that relations of equal frequency stand in the order of their ids.
    frequent = [number for number in np.argsort(-counts, kind="stable")[:MAX_RELATIONS].tolist() if counts[number]]
    return {
        "recurrence": [stratum(name, kind == number) for number, name in enumerate(RECURRENCE)],
        "direction": [stratum("object", ~inverse), stratum("subject", inverse)],
        "relation": [stratum(relation_name(graph, number), relation == number) for number in frequent],
        "snapshot": [stratum(str(int(graph.times[n])), snapshot == n) for n in np.unique(snapshot).tolist()],
    }


def relation_name(graph: TemporalGraph, number: int) -> str:
    """The name of a relation; its id as text in data without names."""
    return graph.relation_names[number] if graph.relation_names else str(number)
