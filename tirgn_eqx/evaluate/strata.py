"""Strata of queries, by what the history says about their answer: where a model gains and where it loses."""

import numpy as np
from jaxtyping import Int8, Int64

from tirgn_eqx.data.graph import SPLITS, TemporalGraph, both_directions
from tirgn_eqx.data.index.occurrences import find

Column = Int64[np.ndarray, " query"]
RECURRENCE = ("exact recurrence", "known pair", "new")
CHUNK = 2**20  # facts that are looked at in one go, so that a graph of any size needs little memory


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
    rel2, entities = 2 * graph.num_relations, graph.num_entities
    # A pair, and with its relation a fact, as one integer each, so that a search compares all of them at once.
    pair = subject * entities + answer
    exact_since = _FirstOccurrence(pair * rel2 + relation)
    pair_since = _FirstOccurrence(pair)
    for begin in range(0, graph.num_facts, CHUNK):
        rows = slice(begin, begin + CHUNK)
        past_s, past_r, past_o = both_directions(graph, rows)
        past_pair, time = past_s * entities + past_o, np.tile(graph.snapshot[rows], 2)
        exact_since.add(past_pair * rel2 + past_r, time)
        pair_since.add(past_pair, time)
    # Strictly before the end, which leaves out the query's own fact.
    return np.where(exact_since.found < end, 0, np.where(pair_since.found < end, 1, 2)).astype(np.int8)


class _FirstOccurrence:
    """The first snapshot of every wanted code, from codes that come a chunk at a time; a number beyond all snapshots
    for a code that never comes."""

    def __init__(self, wanted: np.ndarray):
        self._codes, self._place = np.unique(wanted, return_inverse=True)
        self._first = np.full(len(self._codes), np.iinfo(np.int64).max)

    def add(self, codes: np.ndarray, time: np.ndarray) -> None:
        place = find(self._codes, codes)
        wanted = place >= 0
        np.minimum.at(self._first, place[wanted], time[wanted])

    @property
    def found(self) -> np.ndarray:
        return self._first[self._place]
