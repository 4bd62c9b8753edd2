"""Counts of a temporal graph, for `tirgn data stats` and for checks against published counts."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypedDict

import numpy as np

from tirgn_eqx.data.graph import SPLITS, TemporalGraph
from tirgn_eqx.data.times import UNIT_NAMES, format_snapshot_time


class FactsPerSnapshot(TypedDict):
    """Numbers of facts, over the snapshots that have any."""

    min: int
    mean: float
    max: int


class TimeStatistics(TypedDict):
    """See `graph_statistics`; without dates, `unit` and `dates` are None."""

    first: int
    last: int
    step: int | None
    interval: int
    gaps: int
    missing: int
    unit: str | None
    dates: list[str] | None


class GraphStatistics(TypedDict):
    """The document that `graph_statistics` describes."""

    name: str
    sha256: str
    facts: dict[str, int]
    entities: dict[str, int]
    relations: dict[str, int]
    snapshots: dict[str, int]
    time: TimeStatistics
    read: dict[str, object] | None
    duplicates: dict[str, int]
    facts_per_snapshot: FactsPerSnapshot
    static_edges: int
    answer_in_history: dict[str, float | None]
    unseen_entity_facts: dict[str, int]
    lasting_share: float


def graph_statistics(graph: TemporalGraph) -> GraphStatistics:
    """Counts and shares of a dataset; JSON-compatible.

    **Returns:**

    - `name`, `sha256`.
    - `facts`, `snapshots`, `duplicates`: `total` and per split. A snapshot that two splits share counts in both; a
      duplicate repeats an earlier row of its split exactly.
    - `entities`, `relations`: `vocabulary` (ids that exist) and `occurring` (ids in at least one fact).
    - `time`, in the unit of the source: `first`, `last`, `step` (smallest distance of two snapshots, None for a single
      one), `interval` (of the model's clock), `gaps` (distances above `step`), `missing` (steps without a snapshot),
      `unit` (such as `day` for times that count from 1970, None for step numbers) and `dates` (first and last time in
      ISO 8601, or None).
    - `read`: how the reader accounts for every line or row, see `ReadReport`; None for data that were not read.
    - `facts_per_snapshot`: `min`, `mean`, `max`. `static_edges`: facts of the static graph.
    - `answer_in_history`: per split, the share of queries whose answer occurred with their subject and relation in a
      fact of any split strictly before. One figure serves both directions, because (s, r, o) and its inverse occur
      together. Snapshot 0 is counted although it has no history and is never a training target: so it gives the
      published .429 .525 .524 (train, valid, test) of ICEWS14s and .896 .886 .927 of YAGO.
    - `unseen_entity_facts`: of valid and test, the facts with a subject or object that no train fact has.
    - `lasting_share`: see the function of that name.
    """
    masks = {split: graph.split_mask(split) for split in SPLITS}
    in_train = np.zeros(graph.num_entities, bool)
    in_train[graph.subject[masks["train"]]] = True
    in_train[graph.object[masks["train"]]] = True
    # A fact counts once, whether one of its entities is unseen or both.
    unseen = ~(in_train[graph.subject] & in_train[graph.object])
    in_history, repeated = _compare_with_history(graph)
    return {
        "name": graph.name,
        "sha256": graph.checksum,
        "facts": _per_split(masks, lambda mask: int(mask.sum())),
        "entities": {"vocabulary": graph.num_entities, "occurring": _distinct(graph.subject, graph.object)},
        "relations": {"vocabulary": graph.num_relations, "occurring": _distinct(graph.relation)},
        "snapshots": _per_split(masks, lambda mask: _distinct(graph.snapshot[mask])),
        "time": _time(graph),
        "read": None if graph.read is None else dataclasses.asdict(graph.read),
        "duplicates": _per_split(masks, lambda mask: int(repeated[mask].sum())),
        "facts_per_snapshot": _spread(graph.snapshot),
        "static_edges": 0 if graph.static is None else len(graph.static.entity),
        "answer_in_history": {split: _share(in_history[mask]) for split, mask in masks.items()},
        "unseen_entity_facts": {split: int(unseen[masks[split]].sum()) for split in ("valid", "test")},
        "lasting_share": lasting_share(graph),
    }


# Above this share of lasting facts, data are states and not events: published sets have 0.02 to 0.13 or 0.9 and more.
MOSTLY_LASTING = 0.5
_RECENT = 100  # snapshots that `lasting_share` looks at


def lasting_share(graph: TemporalGraph) -> float:
    """The share of facts of a snapshot that hold in the snapshot before it as well, over the last snapshots of the
    train split: near 0 for events, near 1 for states that last, such as being married. 0 for fewer than two snapshots.
    """
    train = graph.split_snapshots("train")[-_RECENT - 1 :]
    shares = list[float]()
    before = np.zeros(0, np.int64)
    for number in train.tolist():
        first, last = graph.offsets[number : number + 2].tolist()
        # A snapshot may be shared by two splits.
        rows = first + np.flatnonzero(graph.split[first:last] == SPLITS.index("train"))
        pairs = graph.subject[rows].astype(np.int64) * graph.num_entities + graph.object[rows]
        facts = np.unique(pairs * graph.num_relations + graph.relation[rows])
        if number > train[0]:
            shares.append(float(np.isin(facts, before).mean()))
        before = facts
    return float(np.mean(shares)) if shares else 0.0


def _distinct(*columns: np.ndarray) -> int:
    return len(np.unique(np.concatenate(columns)))


def _per_split(masks: Mapping[str, np.ndarray], count: Callable[[np.ndarray], int]) -> dict[str, int]:
    return {"total": count(np.ones_like(masks["train"]))} | {split: count(mask) for split, mask in masks.items()}


def _share(hit: np.ndarray) -> float | None:
    return float(hit.mean()) if len(hit) else None


def _spread(snapshot: np.ndarray) -> FactsPerSnapshot:
    counts = np.unique(snapshot, return_counts=True)[1]
    return {"min": int(counts.min()), "mean": float(counts.mean()), "max": int(counts.max())}


def _time(graph: TemporalGraph) -> TimeStatistics:
    distance = np.diff(graph.times)
    step = int(distance.min()) if len(distance) else None
    return {
        "first": int(graph.times[0]),
        "last": int(graph.times[-1]),
        "step": step,
        "interval": graph.time_interval,
        "gaps": int((distance > step).sum()) if step else 0,
        # A distance of 3 steps misses 2 snapshots.
        "missing": int((distance // step - 1).sum()) if step else 0,
        "unit": None if graph.time_unit is None else UNIT_NAMES[graph.time_unit],
        "dates": None if graph.time_unit is None else [str(format_snapshot_time(graph, place)) for place in (0, -1)],
    }


def _compare_with_history(graph: TemporalGraph) -> tuple[np.ndarray, np.ndarray]:
    """Two bool `(fact,)`: (s, r, o) occurred at an earlier time; the row repeats one of its snapshot."""
    pair = _dense(graph.subject.astype(np.int64) * graph.num_relations + graph.relation)
    triple = _dense(pair * graph.num_entities + graph.object)
    # Facts are in time order, so the first row of a triple has its first time.
    first_row = np.unique(triple, return_index=True)[1]
    in_history = graph.snapshot[first_row][triple] < graph.snapshot
    # The split is a part of the key, because only a row of the same split counts as a duplicate.
    fact = _dense(triple * graph.num_snapshots + graph.snapshot) * len(SPLITS) + graph.split
    # `np.unique` gives the first row of each key; all other rows repeat one.
    repeated = np.ones(graph.num_facts, bool)
    repeated[np.unique(fact, return_index=True)[1]] = False
    return in_history, repeated


def _dense(key: np.ndarray) -> np.ndarray:
    """Equal keys as equal numbers from 0 without holes, so that products of keys stay within 64 bits."""
    return np.unique(key, return_inverse=True)[1].astype(np.int64)
