"""Strata of queries, by what the history says about their answer: where a model gains and where it loses."""

import numpy as np
from jaxtyping import Int8, Int64

from tirgn_eqx.data.graph import SPLITS, TemporalGraph, both_directions

Column = Int64[np.ndarray, " query"]
RECURRENCE = ("exact recurrence", "known pair", "new")


def split_queries(
    graph: TemporalGraph, split: str, snapshots: Int64[np.ndarray, " snapshot"]
) -> tuple[Column, Column, Column, Column]:
    """(subject, relation, answer, snapshot) of every query of a split, in the order of an `Evaluation`: the facts of a
    snapshot, then their inverses."""
    columns: list[tuple[np.ndarray, ...]] = []
    for number in snapshots.tolist():
        present = np.arange(int(graph.offsets[number]), int(graph.offsets[number + 1]))
        facts = both_directions(graph, present[graph.split[present] == SPLITS.index(split)])
        columns.append((*facts, np.full(len(facts[0]), number)))
    subject, relation, answer, snapshot = (np.concatenate(column) for column in zip(*columns))
    return subject, relation, answer, snapshot


def recurrence(graph: TemporalGraph, split: str, history_end: Column | None = None) -> Int8[np.ndarray, " query"]:
    """The stratum of every query of a split, as a place in `RECURRENCE`.

    0: the answer occurred with (s, r) before. 1: s and the answer occurred together before, in either direction, under
    other relations only. 2: they never did.

    **Arguments:** `history_end`: of each query, the snapshot before which its history ends; None: its own snapshot.
    """
    snapshots = graph.split_snapshots(split)
    subject, relation, answer, snapshot = split_queries(graph, split, snapshots[snapshots > 0])
    end = snapshot if history_end is None else history_end
    past_s, past_r, past_o = both_directions(graph)
    time = np.concatenate([graph.snapshot, graph.snapshot]).astype(np.int64)
    rel2, entities = 2 * graph.num_relations, graph.num_entities
    # A pair, and below a fact, as one integer each, so that a search compares all of them at once.
    pair, past_pair = subject * entities + answer, past_s * entities + past_o
    exact_since = _first_occurrence(past_pair * rel2 + past_r, time, pair * rel2 + relation)
    pair_since = _first_occurrence(past_pair, time, pair)
    # Strictly before the end, which leaves out the query's own fact.
    return np.where(exact_since < end, 0, np.where(pair_since < end, 1, 2)).astype(np.int8)


def _first_occurrence(code: np.ndarray, time: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """When each wanted code first occurred; every query's own fact is among the codes."""
    order = np.argsort(code, kind="stable")
    distinct, first = np.unique(code[order], return_index=True)
    # Equal codes are adjacent, and `first` is where each of their runs begins.
    earliest = np.minimum.reduceat(time[order], first)
    return earliest[np.searchsorted(distinct, wanted)]
