"""Two models on the same questions: differences, how sure they are, and where they lie."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.names import find_names
from tirgn_eqx.errors import ConfigError, DataError, DataWarning
from tirgn_eqx.evaluate.results import HITS, Evaluation
from tirgn_eqx.evaluate.strata import RECURRENCE, questions, recurrence

RESAMPLES = 1000
CONFIDENCE = 0.95
MOST_FREQUENT = 20


def paired_bootstrap(
    first: np.ndarray, second: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of mean(first - second), questions drawn with replacement (Efron, 1979).

    **Arguments:** `first`, `second`: float `(question,)`, one figure a question, such as 1 / rank.
    """
    difference, rng = np.asarray(first - second, np.float64), np.random.default_rng(seed)
    # Equal differences are interchangeable: drawing how often each value comes is the same, and cheaper for few.
    values, counts = np.unique(difference, return_counts=True)
    total = len(difference)
    if len(values) < total // 50:
        means = np.array([rng.multinomial(total, counts / total) @ values / total for _ in range(resamples)])
    else:
        draw = lambda: difference[rng.integers(0, total, total)].mean()
        means = np.array([draw() for _ in range(resamples)])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Entrant:
    """One side of a comparison: what it is called in the report, what it is, how it ranked, and whether it was trained
    on this data (None for what was not trained)."""

    name: str
    model_type: str
    evaluation: Evaluation
    checksum_matches: bool | None = None


def compare(
    first: Entrant,
    second: Entrant,
    *,
    threshold: float = -0.05,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """`first` against `second` on entity questions, time-aware filter; JSON-compatible.

    **Arguments:** `threshold`: the relative difference of MRR down to which the comparison is `passed` (-0.05: `first`
    may be 5 % worse).

    The two may have ids of their own, as `match_checkpoints` gives them; their facts are compared by name then.

    **Raises:** DataError when the two were not asked the same questions; ConfigError for a threshold that is no share.
    """
    if not -1 <= threshold <= 1:
        raise ConfigError(f"threshold = {threshold}: must be between -1 and 1, such as -0.05 for 5 % worse")
    one, two = first.evaluation, second.evaluation
    _check_same(first, second)
    _check_candidates(first, second)
    ranks = one.filtered["entity"], two.filtered["entity"]
    reciprocal = 1 / ranks[0], 1 / ranks[1]
    bootstrap = {"resamples": resamples, "seed": seed}

    def part(name: str, chosen: np.ndarray) -> dict[str, Any]:
        figures = {"name": name, "questions": int(chosen.sum()), "share": float(chosen.mean())}
        if not chosen.any():
            return figures
        means = [float(values[chosen].mean()) for values in reciprocal]
        low, high = paired_bootstrap(*(values[chosen] for values in reciprocal), **bootstrap)
        return figures | {"mrr": means, "difference": means[0] - means[1], "interval": [low, high]}

    difference = {}
    hits: dict[str, Any] = {f"hits_at_{k}": [(side <= k).astype(np.float64) for side in ranks] for k in HITS}
    for name, values in ({"mrr": reciprocal} | hits).items():
        means = [float(v.mean()) for v in values]
        low, high = paired_bootstrap(*values, **bootstrap)
        difference[name] = {
            "points": 100 * (means[0] - means[1]),
            "percent": 100 * (means[0] / means[1] - 1) if means[1] else None,
            "interval_points": [100 * low, 100 * high],
        }
    graph = one.graph
    relative = one.entity["mrr"] / two.entity["mrr"] - 1
    return {
        "dataset": graph.describe(),
        "split": one.split,
        "filter": "time",
        "models": [
            {"name": side.name, "model_type": side.model_type, "checksum_matches": side.checksum_matches}
            | {"setting": side.evaluation.setting, "candidates": side.evaluation.graph.num_entities}
            | {"entity": side.evaluation.entity, "seconds": side.evaluation.seconds}
            | side.evaluation.calibration
            for side in (first, second)
        ],
        "difference": difference,
        "confidence": CONFIDENCE,
        "bootstrap": bootstrap,
        "threshold": threshold,
        "passed": bool(relative >= threshold),
        "strata": _strata(one, part),
    }


def _check_same(first: Entrant, second: Entrant) -> None:
    one, two = first.evaluation, second.evaluation
    same = one.split == two.split and one.setting == two.setting
    # The checksum does not see the order of the facts within a snapshot, in which the ranks stand.
    columns = ("snapshot", "split", "times")
    same = same and all(np.array_equal(getattr(one.graph, name), getattr(two.graph, name)) for name in columns)
    # Each model may have ids of its own: what a fact says is told by its names.
    for column, names in (("subject", "entity"), ("relation", "relation"), ("object", "entity")):
        mine, theirs = (getattr(graph, f"{names}_names") for graph in (one.graph, two.graph))
        ids, others = getattr(one.graph, column), getattr(two.graph, column)
        if mine != theirs and mine is not None and theirs is not None:
            others = find_names(theirs, mine)[others]
        same = same and np.array_equal(ids, others)
    if not same or not np.array_equal(one.snapshot, two.snapshot) or not np.array_equal(one.inverse, two.inverse):
        raise DataError(
            f"{first.name} and {second.name} were not asked the same questions "
            f"({one.graph.name}, {one.split}, {one.setting}; {two.graph.name}, {two.split}, {two.setting}); "
            "evaluate both on one graph"
        )


def _check_candidates(first: Entrant, second: Entrant) -> None:
    """Warn where the answers of the two were ranked among other candidates: a longer list makes it harder."""
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


def _strata(evaluation: Evaluation, part: Any) -> dict[str, list[dict[str, Any]]]:
    graph, snapshot, inverse = evaluation.graph, evaluation.snapshot, evaluation.inverse
    known = None if evaluation.setting == "single-step" else np.full(len(snapshot), snapshot.min())
    kind = recurrence(graph, evaluation.split, known)  # pyright: ignore[reportArgumentType]
    _, relation, _, _ = questions(graph, evaluation.split, np.unique(snapshot))
    relation = relation % graph.num_relations
    counts = np.bincount(relation, minlength=graph.num_relations)
    frequent = [number for number in np.argsort(-counts, kind="stable")[:MOST_FREQUENT].tolist() if counts[number]]
    return {
        "recurrence": [part(name, kind == number) for number, name in enumerate(RECURRENCE)],
        "direction": [part("object", ~inverse), part("subject", inverse)],
        "relation": [part(_relation_name(graph, number), relation == number) for number in frequent],
        "snapshot": [part(str(int(graph.times[number])), snapshot == number) for number in np.unique(snapshot)],
    }


def _relation_name(graph: TemporalGraph, number: int) -> str:
    return graph.relation_names[number] if graph.relation_names else str(number)
