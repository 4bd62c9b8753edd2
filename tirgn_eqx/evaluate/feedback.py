"""Snapshots that a model forecasts for itself, so that its window goes on where nothing is known any more.

No question of the held-out split is read: the model asks what was asked in the last known window.
"""

import dataclasses
from functools import partial
from typing import Any, Literal

import jax
import numpy as np

from tirgn_eqx.data.batches.loader import BatchLoader
from tirgn_eqx.data.graph import SPLITS, TemporalGraph
from tirgn_eqx.data.index.history import HistoryVocabulary
from tirgn_eqx.data.index.snapshots import Snapshot, SnapshotStore, build_snapshot
from tirgn_eqx.models import RecurrentGraphModel
from tirgn_eqx.runtime.compiling import Programs
from tirgn_eqx.types import Batch

TOP = 3  # answers taken from one question


class ForecastStore(SnapshotStore):
    """The snapshots of a graph before `known`, and after it those that were forecast.

    **Arguments:** `facts`: how many facts a forecast snapshot has at most, which with the known snapshots decides the
    padding.
    """

    def __init__(self, graph: TemporalGraph, known: int, facts: int):
        super().__init__(graph)
        self.known, self.facts = known, facts
        self._forecast: dict[int, Snapshot] = {}

    def __getitem__(self, index: int) -> Snapshot:
        return super().__getitem__(index) if index < self.known else self._forecast[index]

    def window_sizes(self, target: int, history_len: int) -> np.ndarray:
        """int64 `(3,)`: (active, edge, pair) counts that every window before `target` fits in."""
        most = [min(2 * self.facts, self.graph.num_entities), 2 * self.facts, self.facts]
        before = min(target, self.known)
        return np.maximum(super().window_sizes(before, history_len), most)

    def put(self, index: int, subject: np.ndarray, relation: np.ndarray, object_: np.ndarray) -> None:
        """Make these facts (at least one, at most `facts`) snapshot `index`."""
        columns = {"subject": subject, "relation": relation, "object": object_, "snapshot": np.zeros_like(subject)}
        alone = dataclasses.replace(self.graph, **columns, split=np.zeros(len(subject), np.int8))
        self._forecast[index] = build_snapshot(alone, 0)


def top_answers(model: RecurrentGraphModel, batch: Batch, count: int) -> tuple[jax.Array, jax.Array]:
    """(probability, entity) of the `count` most probable answers to every entity question, each
    `(micro, unit, count)`."""
    encoding, _ = model.encoder(batch.window)

    def chunk(queries):
        score, _ = model.ranking_scores(encoding, queries, batch.time_index, kind="entity")
        probability, entity = jax.lax.top_k(score, count)
        return probability, entity

    return jax.lax.map(chunk, batch.entity_queries)


def forecast_snapshots(
    model: RecurrentGraphModel,
    graph: TemporalGraph,
    split: Literal["valid", "test"],
    *,
    history_len: int,
    history_window: int,
    vocabulary: HistoryVocabulary,
    batch_size: int,
) -> ForecastStore:
    """The snapshots of `split` as `model` forecasts them, one after the other, each from those before it.

    Every question (s, r), both directions, of the last known window is asked again. A fact's expected number is the
    probability of its answer times how often its question was asked in a snapshot; the facts with the largest ones
    become the snapshot, as many as the known ones of the window have on average.
    """
    snapshots = graph.split_snapshots(split)
    snapshots = snapshots[snapshots > 0]
    known, last = int(snapshots[0]), int(snapshots[-1])
    window = slice(graph.offsets[max(0, known - history_len)], graph.offsets[known])
    length = min(known, history_len)
    wanted = max(1, round((window.stop - window.start) / length))
    store = ForecastStore(graph, known, wanted)
    asking = _asking_again(graph, window, split, known, last)
    options: dict[str, Any] = {"history_len": history_len, "history_window": history_window, "batch_size": batch_size}
    loader = BatchLoader(
        asking, vocabulary, split, unique=True, max_buckets=1, known=known, fed_back=True, store=store, **options
    )
    count = min(TOP, graph.num_entities)
    programs = Programs(partial(top_answers, count=count))
    for target in loader.targets.tolist():
        prepared = loader.build(target)
        probability, answer = (np.asarray(x) for x in programs(prepared.bucket, model, prepared.batch))
        asked = prepared.batch.entity_queries
        subject, given, weight = (np.asarray(x) for x in (asked.subject, asked.condition, asked.weight))
        expected = weight[..., None] * probability
        store.put(target, *_most_expected(subject, given, answer, expected, graph.num_relations, wanted))
    return store


def _asking_again(graph: TemporalGraph, window: slice, split: str, known: int, last: int) -> TemporalGraph:
    """`graph` up to `known`, and then the window's facts again at every snapshot up to `last`, as facts of `split`."""
    times = last - known + 1
    again = window.stop - window.start
    before = graph.offsets[known]
    join = lambda column: np.concatenate([column[:before], np.tile(column[window], times)])
    return dataclasses.replace(
        graph,
        subject=join(graph.subject),
        relation=join(graph.relation),
        object=join(graph.object),
        snapshot=np.concatenate([graph.snapshot[:before], np.repeat(np.arange(known, last + 1), again)]).astype(
            np.int32
        ),
        split=np.concatenate([np.zeros(before, np.int8), np.full(times * again, SPLITS.index(split), np.int8)]),
    )


def _most_expected(
    subject: np.ndarray,
    given: np.ndarray,
    answer: np.ndarray,
    expected: np.ndarray,
    num_relations: int,
    wanted: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int32 (subject, relation, object) of the `wanted` facts with the largest expected numbers.

    **Arguments:** `subject`, `given`: of the questions; `answer`, `expected`: several for each of them.
    """
    expected = expected.ravel()
    spread = lambda column: np.broadcast_to(column[..., None], answer.shape).ravel()
    s, r, o = spread(subject), spread(given), answer.ravel()
    inverse = r >= num_relations
    s, r, o = np.where(inverse, o, s), np.where(inverse, r - num_relations, r), np.where(inverse, s, o)
    order = np.argsort(-expected, kind="stable")
    order = order[expected[order] > 0]
    # A fact that both of its questions name counts once, with the larger number.
    facts = np.stack([s, r, o], 1)[order]
    _, first = np.unique(facts, axis=0, return_index=True)
    chosen = facts[np.sort(first)[:wanted]].astype(np.int32)
    return chosen[:, 0], chosen[:, 1], chosen[:, 2]
