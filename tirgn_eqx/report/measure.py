"""What a page shows that no file of a training holds: figures by kind of question, relation and time, and forecasts
beside what happened."""

from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from tirgn_eqx.config import TrainingConfig
from tirgn_eqx.data.batches.loader import KINDS
from tirgn_eqx.data.graph import SPLITS, TemporalGraph
from tirgn_eqx.data.snapshot_time import moment
from tirgn_eqx.data.statistics import graph_statistics
from tirgn_eqx.evaluate.protocol import make_evaluator
from tirgn_eqx.evaluate.results import Evaluation, summarize
from tirgn_eqx.evaluate.strata import RECURRENCE, questions, recurrence
from tirgn_eqx.forecast import Forecaster
from tirgn_eqx.models import Model

TOP = 5  # candidates of a sample
MOMENTS = 3  # that samples are taken from, at most
MOST_RELATIONS = 300


def measure(
    model: Model,
    config: TrainingConfig,
    graph: TemporalGraph,
    *,
    split: Literal["valid", "test"] = "test",
    samples: int = 12,
    seed: int = 0,
    temperature: dict[str, float] | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Figures of `split`, single-step with the time-aware filter, and some forecasts; JSON-compatible.

    **Arguments:** `samples`: forecasts, of questions drawn by `seed`; `temperature`: of the probabilities, by kind of
    question, as the checkpoint holds it; `told`: called with what is being done.
    """
    told(f"evaluating on the {split} split of {graph.name}")
    window = config.window()
    run: Any = make_evaluator(model, graph, split=split, **window)
    pair = None
    if temperature:
        pair = tuple(jnp.asarray(temperature.get(kind, 1.0), jnp.float32) for kind in KINDS)
    evaluation = run(model, pair)
    found = evaluation.to_dict()
    found |= {"calibrated": bool(temperature), **_by_kind(evaluation)}
    for row, number in zip(found["snapshots"], np.unique(evaluation.snapshot)):
        row["when"] = moment(graph, int(number))
    found["card"] = card(graph)
    told(f"forecasting {samples} questions")
    return found | {"samples": _samples(model, config, evaluation, samples, seed, temperature)}


def card(graph: TemporalGraph) -> dict[str, Any]:
    """What `tirgn data stats` counts, and the first and the last time of each split as people write them."""
    spans = {}
    for split in SPLITS:
        if len(numbers := graph.split_snapshots(split)):
            spans[split] = [moment(graph, int(numbers[0])), moment(graph, int(numbers[-1]))]
    return graph_statistics(graph) | {"spans": spans}


def _by_kind(evaluation: Evaluation) -> dict[str, Any]:
    """`strata` and `relations`: questions, MRR and Hits of each kind and of each relation, the most frequent first."""
    graph, ranks, nll = evaluation.graph, evaluation.filtered["entity"], evaluation.nll.get("entity")
    snapshots = np.unique(evaluation.snapshot)
    _, relation, _, _ = questions(graph, evaluation.split, snapshots)
    relation = relation % graph.num_relations

    def row(name: str, chosen: np.ndarray) -> dict[str, Any]:
        figures = summarize(ranks[chosen], None if nll is None else nll[chosen])
        return {"name": name, "questions": int(chosen.sum()), "share": float(chosen.mean()), **figures}

    kind = recurrence(graph, evaluation.split)  # pyright: ignore[reportArgumentType]
    strata = [row(name, kind == number) for number, name in enumerate(RECURRENCE)]
    counts = np.bincount(relation, minlength=graph.num_relations)
    order = [number for number in np.argsort(-counts, kind="stable").tolist() if counts[number]]
    names = graph.relation_names or tuple(map(str, range(graph.num_relations)))
    rows = [row(names[number], relation == number) for number in order[:MOST_RELATIONS]]
    # In the bins of `tirgn eval`: the calibration error depends on them.
    confidence = {"reliability": known["calibration"]} if (known := evaluation.calibration) else {}
    return {
        "strata": [part for part in strata if part["questions"]],
        "relations": rows,
        "relations_left_out": len(order) - len(rows),
        **confidence,
    }


def _samples(
    model: Model,
    config: TrainingConfig,
    evaluation: Evaluation,
    number: int,
    seed: int,
    temperature: dict[str, float] | None,
) -> list[dict[str, Any]]:
    """Forecasts of questions of the split, each with its best candidates, what carries them, and what happened."""
    graph, snapshots = evaluation.graph, np.unique(evaluation.snapshot)
    subject, relation, answer, snapshot = questions(graph, evaluation.split, snapshots)
    rng = np.random.default_rng(seed)
    moments = np.unique(snapshots[np.linspace(0, len(snapshots) - 1, min(MOMENTS, len(snapshots))).astype(int)])
    chosen = []
    for place, target in enumerate(moments.tolist()):
        asked = np.flatnonzero(snapshot == target)
        wanted = (number + place) // len(moments)
        chosen.append((target, np.sort(rng.choice(asked, min(wanted, len(asked)), replace=False))))
    out = []
    for target, rows in chosen:
        if not len(rows):
            continue
        forecaster = Forecaster(model, config, graph, at=int(graph.times[target]), temperature=temperature)
        names = forecaster.names
        for row in rows.tolist():
            s, r, o = int(subject[row]), int(relation[row]), int(answer[row])
            forecast = forecaster.forecast_ids(s, r, top=TOP).to_dict()
            probability = forecaster.objects(np.array([s]), np.array([r]))[0]
            same = (snapshot == target) & (subject == s) & (relation == r)
            out.append(
                forecast
                | {
                    "happened": sorted({names.entities[i] for i in answer[same].tolist()}),
                    "answer": names.entities[o],
                    "answer_probability": float(probability[o]),
                    "rank": float(evaluation.filtered["entity"][row]),
                }
            )
    return out
