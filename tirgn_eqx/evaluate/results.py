"""What an evaluation gives: ranks of every query, and the figures made of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import DataError

T = TypeVar("T")
Setting = Literal["single-step", "multi-step", "multi-step, fed back"]
HITS = (1, 3, 10)
BINS = 15


def evaluated_snapshots(graph: TemporalGraph, split: str) -> np.ndarray:
    """int64: the snapshots of `split` that have a past to be forecast from. **Raises:** DataError for none."""
    snapshots = graph.split_snapshots(split)
    snapshots = snapshots[snapshots > 0]
    if len(snapshots) == 0:
        raise DataError(f"{graph.name}: the {split} split has no snapshot with a past; nothing to evaluate")
    return snapshots


def summarize(ranks: np.ndarray, nll: np.ndarray | None = None) -> dict[str, float]:
    """MRR and Hits@1/3/10 as fractions, and the mean NLL in nats when given; NaN for no query."""
    mean = lambda values: float(np.mean(values)) if len(values) else float("nan")
    out = {"mrr": mean(1 / ranks)} | {f"hits_at_{k}": mean(ranks <= k) for k in HITS}
    return out if nll is None else out | {"nll": mean(nll)}


def calibration(confidence: np.ndarray, right: np.ndarray, brier: np.ndarray, bins: int = BINS) -> dict[str, Any]:
    """How far probabilities can be taken at their word; JSON-compatible.

    `brier`: the mean Brier score; `ece`: the expected calibration error (Guo et al., 2017), the mean over all queries
    of |share that was right - mean probability| of their bin, in bins of equal width; `reliability`: those bins.

    **Arguments:** `confidence`: of the most probable candidate; `right`: whether it was the answer, a share of 1 where
    several were as probable; `brier`: per query. All NaN where a probability is not a number.
    """
    if not (len(confidence) and np.isfinite(confidence).all()):
        return {"brier": float("nan"), "ece": float("nan"), "reliability": []}
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    number = np.bincount(place, minlength=bins)
    mean = lambda values: np.bincount(place, values, bins) / np.maximum(number, 1)
    promised, kept = mean(confidence), mean(right)
    rows = [
        {"from": i / bins, "to": (i + 1) / bins, "queries": int(number[i]), "probability": p, "right": r}
        for i, (p, r) in enumerate(zip(promised.tolist(), kept.tolist()))
        if number[i]
    ]
    error = float(np.abs(promised - kept) @ number / len(place))
    return {"brier": float(np.mean(brier)), "ece": error, "reliability": rows}


@dataclass(frozen=True)
class Evaluation:
    """Ranks of every query of one split, and how they were obtained.

    Arrays are over queries, in time order and within a snapshot facts first, inverses after: `snapshot`
    (number), `inverse` (True: the subject was asked for), and per kind "entity" and (where the model forecasts
    relations) "relation" the filtered rank and the raw rank, and where it gives probabilities the NLL, the probability
    of the most probable candidate, whether it was right, and the Brier score.
    """

    graph: TemporalGraph
    split: str
    setting: str
    snapshot: np.ndarray
    inverse: np.ndarray
    filtered: dict[str, np.ndarray]
    raw: dict[str, np.ndarray]
    nll: dict[str, np.ndarray]
    seconds: float
    confidence: dict[str, np.ndarray] = field(default_factory=dict)
    right: dict[str, np.ndarray] = field(default_factory=dict)
    brier: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def entity(self) -> dict[str, float]:
        """Entity figures, both directions pooled, time-aware filter."""
        return summarize(self.filtered["entity"], self.nll.get("entity"))

    @property
    def calibration(self) -> dict[str, Any]:
        """`{"calibration": ...}` of the entity forecasts, where there are probabilities."""
        if "entity" not in self.confidence:
            return {}
        confidence, right, brier = (part["entity"] for part in (self.confidence, self.right, self.brier))
        return {"calibration": calibration(confidence, right, brier)}

    def to_dict(self) -> dict[str, Any]:
        """The result as `tirgn eval --json` prints it."""
        entity, nll = self.filtered["entity"], self.nll.get("entity")

        def by_direction(inverse: bool) -> dict[str, float]:
            chosen = self.inverse == inverse
            return summarize(entity[chosen], None if nll is None else nll[chosen])

        snapshots = []
        for number in np.unique(self.snapshot):
            ranks = entity[self.snapshot == number]
            row = {"time": int(self.graph.times[number]), "queries": len(ranks)}
            snapshots.append(row | {"mrr": summarize(ranks)["mrr"]})
        relation = {}
        if "relation" in self.filtered:
            relation["relation"] = summarize(self.filtered["relation"], self.nll.get("relation"))
            relation["relation_raw"] = summarize(self.raw["relation"])
        return {
            "dataset": self.graph.describe(),
            "split": self.split,
            "setting": self.setting,
            "filter": "time",
            "entity": self.entity,
            "entity_raw": summarize(self.raw["entity"]),
            **relation,
            "object": by_direction(False),
            "subject": by_direction(True),
            **self.calibration,
            "snapshots": snapshots,
            "seconds": self.seconds,
        }


def one_ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, each given out when the next one has begun: so the device never waits for its reader."""
    items = iter(items)
    for last in items:
        for item in items:
            yield last
            last = item
        yield last
