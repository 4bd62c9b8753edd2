"""Kinds of questions, by what the past says about their answer: where a model gains and where it loses."""

from typing import Literal

import numpy as np

from tirgn_eqx.data.graph import SPLITS, TemporalGraph, both_directions

RECURRENCE = ("exact recurrence", "known pair", "new")


def questions(graph: TemporalGraph, split: str, snapshots: np.ndarray) -> tuple[np.ndarray, ...]:
    """int64 (subject, relation, answer, snapshot) of every question of a split, in the order of an `Evaluation`: the
    facts of a snapshot, then their inverses."""
    columns = []
    for number in snapshots.tolist():
        present = np.arange(*graph.offsets[number : number + 2].tolist())
        asked = both_directions(graph, present[graph.split[present] == SPLITS.index(split)])
        columns.append((*asked, np.full(len(asked[0]), number)))
    subject, relation, answer, snapshot = (np.concatenate(column) for column in zip(*columns))
    return subject, relation, answer, snapshot


def recurrence(graph: TemporalGraph, split: Literal["valid", "test"], known: np.ndarray | None = None) -> np.ndarray:
    """int8 `(question,)`: 0 where the answer was seen with (s, r) before, 1 where s and the answer met under other
    relations only (in either direction), 2 where they never met.

    **Arguments:** `known`: int64 `(question,)`, the snapshot before which each question sees the past; None = its own.
    """
    snapshots = graph.split_snapshots(split)
    subject, relation, answer, snapshot = questions(graph, split, snapshots[snapshots > 0])
    known = snapshot if known is None else known
    seen_s, seen_r, seen_o = both_directions(graph)
    time = np.concatenate([graph.snapshot, graph.snapshot]).astype(np.int64)
    rel2, entities = 2 * graph.num_relations, graph.num_entities
    exact = _before((seen_s * entities + seen_o) * rel2 + seen_r, time, (subject * entities + answer) * rel2 + relation)
    pair = _before(seen_s * entities + seen_o, time, subject * entities + answer)
    return np.where(exact < known, 0, np.where(pair < known, 1, 2)).astype(np.int8)


def _before(code: np.ndarray, time: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """When each wanted code first occurred; every question's own fact is among the codes."""
    order = np.argsort(code, kind="stable")
    distinct, first = np.unique(code[order], return_index=True)
    earliest = np.minimum.reduceat(time[order], first)
    return earliest[np.searchsorted(distinct, wanted)]
