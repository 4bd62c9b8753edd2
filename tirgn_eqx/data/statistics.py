"""Counted facts about a temporal graph, for `tirgn data stats` and for checks against published counts."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tirgn_eqx.data.dates import UNITS
from tirgn_eqx.data.graph import SPLITS, TemporalGraph
from tirgn_eqx.data.snapshot_time import moment


def graph_statistics(graph: TemporalGraph) -> dict[str, Any]:
    """What a dataset holds, as JSON-compatible counts and shares.

    Keys:

    - `name`, `sha256`; `facts`, `snapshots` and `duplicates`: `total` and per split (a snapshot shared by two
      splits counts in both; a duplicate repeats an earlier row of its split exactly);
    - `entities` and `relations`: `vocabulary` (ids that exist) and `occurring` (ids in at least one fact);
    - `time`, in the unit of the source: `first`, `last`, `step` (smallest distance of two snapshots, None for
      a single one), `interval` (the model's clock), `gaps` (distances above `step`), `missing` (steps of
      time without a snapshot), `unit` (such as `day` for times that count from 1970, None for plain step numbers)
      and `dates` (first and last time in ISO 8601, or None);
    - `read`: how the reader accounts for every line or row, see `ReadReport`; None for data that were not read;
    - `facts_per_snapshot`: `min`, `mean`, `max`; `static_edges`: facts of the static graph;
    - `answer_in_history`: per split, the share of queries whose answer was seen with the query's subject and
      relation strictly before the query's time, in facts of any split. One figure serves both directions:
      (s, r, o) and its inverse (o, r + R, s) are always seen together. Snapshot 0, where nothing is known,
      is counted although it is never a training target: so it gives the published .429 .525 .524 (train,
      valid, test) of ICEWS14s and .896 .886 .927 of YAGO;
    - `unseen_entity_facts`: of valid and test, the facts with a subject or object that no train fact has.
    """
    occurring = lambda *columns: int(len(np.unique(np.concatenate(columns))))
    masks = {split: graph.split_mask(split) for split in SPLITS}
    known = np.zeros(graph.num_entities, bool)
    known[graph.subject[masks["train"]]] = True
    known[graph.object[masks["train"]]] = True
    unseen = ~(known[graph.subject] & known[graph.object])
    seen, repeated = _seen_before(graph)
    return {
        "name": graph.name,
        "sha256": graph.checksum,
        "facts": _per_split(masks, lambda mask: int(mask.sum())),
        "entities": {"vocabulary": graph.num_entities, "occurring": occurring(graph.subject, graph.object)},
        "relations": {"vocabulary": graph.num_relations, "occurring": occurring(graph.relation)},
        "snapshots": _per_split(masks, lambda mask: occurring(graph.snapshot[mask])),
        "time": _time(graph),
        "read": None if graph.read is None else dataclasses.asdict(graph.read),
        "duplicates": _per_split(masks, lambda mask: int(repeated[mask].sum())),
        "facts_per_snapshot": _spread(graph.snapshot),
        "static_edges": 0 if graph.static is None else len(graph.static.entity),
        "answer_in_history": {split: _share(seen[mask]) for split, mask in masks.items()},
        "unseen_entity_facts": {split: int(unseen[masks[split]].sum()) for split in ("valid", "test")},
    }


def _per_split(masks: dict[str, np.ndarray], count: Callable[[np.ndarray], int]) -> dict[str, int]:
    everything = np.ones_like(masks["train"])
    return {"total": count(everything)} | {split: count(mask) for split, mask in masks.items()}


def _share(hit: np.ndarray) -> float | None:
    return float(hit.mean()) if len(hit) else None


def _spread(snapshot: np.ndarray) -> dict[str, Any]:
    counts = np.unique(snapshot, return_counts=True)[1]
    return {"min": int(counts.min()), "mean": float(counts.mean()), "max": int(counts.max())}


def _time(graph: TemporalGraph) -> dict[str, Any]:
    distance = np.diff(graph.times)
    step = int(distance.min()) if len(distance) else None
    return {
        "first": int(graph.times[0]),
        "last": int(graph.times[-1]),
        "step": step,
        "interval": graph.time_interval,
        "gaps": int((distance > step).sum()) if step else 0,
        "missing": int((distance // step - 1).sum()) if step else 0,
        "unit": None if graph.time_unit is None else UNITS[graph.time_unit],
        "dates": None if graph.time_unit is None else [str(moment(graph, place)) for place in (0, -1)],
    }


def _seen_before(graph: TemporalGraph) -> tuple[np.ndarray, np.ndarray]:
    """Two bool `(fact,)`: (s, r, o) occurred at an earlier time; the row repeats one of its snapshot."""
    pair = _numbered(graph.subject.astype(np.int64) * graph.num_relations + graph.relation)
    triple = _numbered(pair * graph.num_entities + graph.object)
    # Facts lie in time order, so the first row of a triple is its first time.
    first_row = np.unique(triple, return_index=True)[1]
    seen = graph.snapshot[first_row][triple] < graph.snapshot
    fact = _numbered(triple * graph.num_snapshots + graph.snapshot) * len(SPLITS) + graph.split
    repeated = np.ones(graph.num_facts, bool)
    repeated[np.unique(fact, return_index=True)[1]] = False
    return seen, repeated


def _numbered(key: np.ndarray) -> np.ndarray:
    """Equal keys as equal numbers from 0 without holes, so that products of keys stay within 64 bits."""
    return np.unique(key, return_inverse=True)[1].astype(np.int64)
