"""What an evaluation returns: the rank of every query, the figures made of them, and the documents for JSON."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int8, Int64
from pydantic import BaseModel, ConfigDict, Field

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.bootstrap import bootstrap_interval
from tirgn_eqx.evaluate.filters import Filter
from tirgn_eqx.evaluate.strata import RECURRENCE, recurrence

Setting = Literal["single-step", "multi-step", "multi-step, fed back"]
# Metric name -> value, as loggers take it: "mrr", "hits_at_1", ..., and "nll" where there are probabilities.
Figures = dict[str, float]
HITS = (1, 3, 10)
BINS = 15


class Document(BaseModel):
    """A JSON document or a part of one. A field with a default is left out of the JSON unless it has a value."""

    # Without the last setting, pydantic warns of fields whose names begin with `model_`.
    model_config = ConfigDict(frozen=True, protected_namespaces=())

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible. (`Any`: callers add keys of their own before they print it.)"""
        return self.model_dump(by_alias=True, exclude_defaults=True)


class ReliabilityBin(Document):
    """Queries whose confidence is between two bounds: how many, their mean confidence, and the share that was right."""

    low: float = Field(..., serialization_alias="from")
    high: float = Field(..., serialization_alias="to")
    queries: int
    probability: float
    right: float


class CalibrationFigures(Document):
    """How well probabilities agree with frequencies.

    - `brier`: the mean Brier score.
    - `ece`: the expected calibration error (Guo et al., 2017): the distance between the share that was right and the
      mean confidence, in each of `BINS` bins of equal width, averaged over all queries.
    - `reliability`: the bins that hold a query.
    """

    brier: float
    ece: float
    reliability: list[ReliabilityBin]


class SnapshotFigures(Document):
    """MRR of the entity queries of one snapshot; `time` in the unit of `graph.times`."""

    time: int
    queries: int
    mrr: float


class StratumFigures(Document):
    """Figures of the entity queries whose answer is, by what came before, of one kind; `share`: of all queries."""

    name: str
    queries: int
    share: float
    figures: Figures


class DatasetDescription(Document):
    """What `graph.describe()` says of a graph: name, checksum, counts, and the facts left out, if any, by split."""

    # A field that is missing here would be lost from every document, so that an unknown one is an error.
    model_config = ConfigDict(extra="forbid")

    name: str
    sha256: str
    facts: int
    entities: int
    relations: int
    snapshots: int
    left_out: dict[str, int] | None = None

    @classmethod
    def of(cls, graph: TemporalGraph) -> "DatasetDescription":
        """The description of `graph`."""
        return cls.model_validate(graph.describe())


class EvaluationReport(Document):
    """The document of `tirgn eval`: figures of entity queries, of relation queries, and by direction, stratum and
    snapshot.

    `filter` names the filter of all figures but those ending in `_raw`, see `filters`; `entity_raw` is missing where
    ranks were given that are filtered already; `mrr_interval`: the 95 % bootstrap interval of
    the MRR of `entity` (`bootstrap_interval`); `strata`: those of `RECURRENCE` that have queries; `seconds`: the wall
    time of the evaluation.
    """

    dataset: DatasetDescription
    split: str
    setting: str
    filter: Filter
    entity: Figures
    entity_raw: Figures | None = None
    relation: Figures | None = None
    relation_raw: Figures | None = None
    object: Figures
    subject: Figures
    mrr_interval: list[float]
    strata: list[StratumFigures]
    calibration: CalibrationFigures | None = None
    snapshots: list[SnapshotFigures]
    seconds: float


def evaluated_snapshots(graph: TemporalGraph, split: str) -> Int64[np.ndarray, " snapshot"]:
    """The snapshots of `split` that have a past to be forecast from, ascending.

    **Raises:** DataError where there is none.
    """
    snapshots = graph.split_snapshots(split)
    snapshots = snapshots[snapshots > 0]
    if len(snapshots) == 0:
        raise DataError(f"{graph.name}: the {split} split has no snapshot with a past; nothing to evaluate")
    return snapshots


def summarize(ranks: Float[np.ndarray, " query"], nll: Float[np.ndarray, " query"] | None = None) -> Figures:
    """MRR and Hits@1/3/10 as fractions, and the mean NLL in nats when it is given; NaN where there is no query."""

    def mean(values: np.ndarray) -> float:
        # NumPy's mean of nothing is NaN too, but with a warning.
        return float(np.mean(values)) if len(values) else float("nan")

    out = {"mrr": mean(1 / ranks)} | {f"hits_at_{k}": mean(ranks <= k) for k in HITS}
    return out if nll is None else out | {"nll": mean(nll)}


def calibration(
    confidence: Float[np.ndarray, " query"],
    right: Float[np.ndarray, " query"],
    brier: Float[np.ndarray, " query"],
    bins: int = BINS,
) -> CalibrationFigures:
    """Compare probabilities with frequencies.

    **Arguments:** columns of `Ranks`; `bins`: how many of equal width.

    **Returns:** the errors; NaN and no bins where a probability is not a number, or where there is no query.
    """
    if not (len(confidence) and np.isfinite(confidence).all()):
        return CalibrationFigures(brier=float("nan"), ece=float("nan"), reliability=[])
    # A confidence of 1 belongs to the last bin, not to one after it.
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    number = np.bincount(place, minlength=bins)
    # Empty bins divide 0 by 1; they have no part in the error, whose weights are the numbers of queries.
    promised, kept = (np.bincount(place, values, bins) / np.maximum(number, 1) for values in (confidence, right))
    rows = zip(range(bins), number.tolist(), promised.tolist(), kept.tolist())
    reliability = [
        ReliabilityBin(low=i / bins, high=(i + 1) / bins, queries=queries, probability=p, right=share)
        for i, queries, p, share in rows
        if queries
    ]
    error = float(np.abs(promised - kept) @ number / len(place))
    return CalibrationFigures(brier=float(np.mean(brier)), ece=error, reliability=reliability)


@dataclass(frozen=True)
class Evaluation:
    """The rank of every query of one split, and how it was obtained.

    All arrays are `(query,)`, in time order, within a snapshot the facts first and their inverses after. Columns by
    kind of query have the keys "entity" and, where the model forecasts relations, "relation"; see `Ranks` for what they
    hold. A model without probabilities has ranks alone, and `raw` is empty where its ranks were given filtered.

    - `snapshot`: int64, the number of the target snapshot.
    - `inverse`: bool, True where the subject is queried.
    - `seconds`: wall time of the evaluation.
    - `filter`: of the filtered ranks, see `filters`.
    """

    graph: TemporalGraph
    split: str
    setting: str
    snapshot: Int64[np.ndarray, " query"]
    inverse: Bool[np.ndarray, " query"]
    filtered: dict[str, Float[np.ndarray, " query"]]
    raw: dict[str, Float[np.ndarray, " query"]]
    nll: dict[str, Float[np.ndarray, " query"]]
    seconds: float
    confidence: dict[str, Float[np.ndarray, " query"]] = field(default_factory=dict[str, np.ndarray])
    right: dict[str, Float[np.ndarray, " query"]] = field(default_factory=dict[str, np.ndarray])
    brier: dict[str, Float[np.ndarray, " query"]] = field(default_factory=dict[str, np.ndarray])
    filter: Filter = "time"

    @property
    def entity(self) -> Figures:
        """Figures of the entity queries, both directions pooled, filtered."""
        return summarize(self.filtered["entity"], self.nll.get("entity"))

    @cached_property
    def recurrence(self) -> Int8[np.ndarray, " query"]:
        """The stratum of every query by what came before, as a place in `RECURRENCE`."""
        # In multi-step, the history of all queries ends before the first target, and so does what counts as recurrence.
        multi = self.setting.startswith("multi-step")
        end = np.full(len(self.snapshot), self.snapshot.min()) if multi else None
        return recurrence(self.graph, self.split, end)

    @property
    def calibration(self) -> CalibrationFigures | None:
        """Calibration of the entity forecasts; None for a model without probabilities."""
        if "entity" not in self.confidence:
            return None
        return calibration(self.confidence["entity"], self.right["entity"], self.brier["entity"])

    def report(self) -> EvaluationReport:
        """All figures, as `tirgn eval --json` prints them."""
        ranks, nll = self.filtered["entity"], self.nll.get("entity")
        relation, relation_raw = self.filtered.get("relation"), self.raw.get("relation")
        entity_raw = self.raw.get("entity")

        def figures(chosen: Bool[np.ndarray, " query"]) -> Figures:
            return summarize(ranks[chosen], None if nll is None else nll[chosen])

        strata: list[StratumFigures] = []
        for number, name in enumerate(RECURRENCE):
            if (chosen := self.recurrence == number).any():
                queries, share = int(chosen.sum()), float(chosen.mean())
                strata.append(StratumFigures(name=name, queries=queries, share=share, figures=figures(chosen)))
        snapshots: list[SnapshotFigures] = []
        for number in np.unique(self.snapshot).tolist():
            here = ranks[self.snapshot == number]
            time, mrr = int(self.graph.times[number]), summarize(here)["mrr"]
            snapshots.append(SnapshotFigures(time=time, queries=len(here), mrr=mrr))
        return EvaluationReport(
            dataset=DatasetDescription.of(self.graph),
            split=self.split,
            setting=self.setting,
            filter=self.filter,
            entity=self.entity,
            entity_raw=None if entity_raw is None else summarize(entity_raw),
            relation=None if relation is None else summarize(relation, self.nll.get("relation")),
            relation_raw=None if relation_raw is None else summarize(relation_raw),
            object=figures(~self.inverse),
            subject=figures(self.inverse),
            mrr_interval=list(bootstrap_interval(1 / ranks)),
            strata=strata,
            calibration=self.calibration,
            snapshots=snapshots,
            seconds=self.seconds,
        )

    def to_dict(self) -> dict[str, Any]:
        """`report` as JSON-compatible values."""
        return self.report().to_dict()
