"""Snapshots that a model forecasts for itself, so that its window goes on after the last known snapshot.

No query of the held-out split is read: the model is given the queries of the last known window again.
"""
# JAX's own annotations are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import dataclasses
from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.graph import SPLITS, TemporalGraph
from tirgn_eqx.data.index.history_index import HistoryVocabulary
from tirgn_eqx.data.index.snapshots import Snapshot, SnapshotStore, build_snapshot
from tirgn_eqx.models import RecurrentGraphModel
from tirgn_eqx.runtime.compiling import CompileCache
from tirgn_eqx.types import Batch, Queries

ANSWERS_PER_QUERY = 3


class ForecastStore(SnapshotStore):
    """The snapshots of a graph before `first_forecast`, and from there on those that were forecast.

    **Arguments:** `forecast_size`: facts of a forecast snapshot, which with the known snapshots decides the padding.
    """

    def __init__(self, graph: TemporalGraph, first_forecast: int, forecast_size: int):
        super().__init__(graph)
        self.first_forecast, self.forecast_size = first_forecast, forecast_size
        self._forecast: dict[int, Snapshot] = {}

    def __getitem__(self, index: int) -> Snapshot:
        return super().__getitem__(index) if index < self.first_forecast else self._forecast[index]

    def window_sizes(self, target: int, history_len: int) -> np.ndarray:
        """int64 `(3,)`: (active, edge, pair) counts that no window before `target` exceeds."""
        # A fact has two entities, an edge in either direction, and one pair (relation, subject).
        most = [min(2 * self.forecast_size, self.graph.num_entities), 2 * self.forecast_size, self.forecast_size]
        return np.maximum(super().window_sizes(min(target, self.first_forecast), history_len), most)

    def put(
        self,
        index: int,
        subject: Int[np.ndarray, " fact"],
        relation: Int[np.ndarray, " fact"],
        object_: Int[np.ndarray, " fact"],
    ) -> None:
        """Make these facts, at least one and at most `forecast_size`, snapshot `index`."""
        columns = {"subject": subject, "relation": relation, "object": object_, "snapshot": np.zeros_like(subject)}
        # As the only facts of a graph, so that their snapshot is built like any other.
        alone = dataclasses.replace(self.graph, **columns, split=np.zeros(len(subject), np.int8))
        self._forecast[index] = build_snapshot(alone, 0)


def top_answers(
    model: RecurrentGraphModel, batch: Batch, count: int
) -> tuple[Float[Array, "micro query {count}"], Int[Array, "micro query {count}"]]:
    """(probability, entity) of the `count` most probable answers to every entity query."""
    encoding, _ = model.encoder(batch.window)

    def top_of_micro_batch(queries: Queries) -> tuple[Array, Array]:
        score, _ = model.ranking_scores(encoding, queries, batch.time_index, kind="entity")
        probability, entity = jax.lax.top_k(score, count)
        return probability, entity

    return jax.lax.map(top_of_micro_batch, batch.entity_queries)


def forecast_snapshots(
    model: RecurrentGraphModel,
    graph: TemporalGraph,
    split: str,
    *,
    history_len: int,
    history_window: int,
    vocabulary: HistoryVocabulary,
    batch_size: int,
) -> ForecastStore:
    """Forecast the snapshots of `split`, one after the other, each from those before it.

    Every query (s, r), both directions, of the last known window is given to the model. The expected number of a fact
    is the probability of its answer times how often its query occurred in a snapshot. The facts with the largest
    expected numbers become the snapshot, as many as a known snapshot of the window has on average.

    **Arguments:** `history_len`, `history_window`: as trained; `vocabulary`: of `graph`; `batch_size`: queries of
    a micro-batch.
    """
    snapshots = graph.split_snapshots(split)
    snapshots = snapshots[snapshots > 0]
    first, last = int(snapshots[0]), int(snapshots[-1])
    window = slice(int(graph.offsets[max(0, first - history_len)]), int(graph.offsets[first]))
    forecast_size = max(1, round((window.stop - window.start) / min(first, history_len)))
    store = ForecastStore(graph, first, forecast_size)
    # Only the window goes on with forecasts: the history vocabulary ends before the first target.
    options = GraphOptions(
        history_len=history_len,
        history_window=history_window,
        batch_size=batch_size,
        unique=True,
        max_buckets=1,
        history_end=first,
        fed_back=True,
    )
    repeated = _with_repeated_window(graph, window, split, first, last)
    loader = GraphLoader(repeated, vocabulary, split, options, store=store)
    top = CompileCache(partial(top_answers, count=min(ANSWERS_PER_QUERY, graph.num_entities)))
    for target in loader.items.tolist():
        prepared = loader.build(target)
        probability, answer = (np.asarray(x) for x in top(prepared.bucket, model, prepared.batch))
        queries = prepared.batch.entity_queries
        subject, relation, weight = (np.asarray(x) for x in (queries.subject, queries.condition, queries.weight))
        # `weight` counts over the whole window. Only the order matters, so it is not divided by the window's length.
        expected = weight[..., None] * probability
        store.put(target, *_most_expected(subject, relation, answer, expected, graph.num_relations, forecast_size))
    return store


def _with_repeated_window(graph: TemporalGraph, window: slice, split: str, first: int, last: int) -> TemporalGraph:
    """`graph` before snapshot `first`, and then the window's facts at every snapshot to `last`, as facts of `split`."""
    times, size, before = last - first + 1, window.stop - window.start, int(graph.offsets[first])

    def repeated(column: np.ndarray) -> np.ndarray:
        return np.concatenate([column[:before], np.tile(column[window], times)])

    snapshot = np.concatenate([graph.snapshot[:before], np.repeat(np.arange(first, last + 1), size)])
    return dataclasses.replace(
        graph,
        subject=repeated(graph.subject),
        relation=repeated(graph.relation),
        object=repeated(graph.object),
        snapshot=snapshot.astype(np.int32),
        split=np.concatenate([np.zeros(before, np.int8), np.full(times * size, SPLITS.index(split), np.int8)]),
    )


def _most_expected(
    subject: Int[np.ndarray, "micro query"],
    relation: Int[np.ndarray, "micro query"],
    answer: Int[np.ndarray, "micro query count"],
    expected: Float[np.ndarray, "micro query count"],
    num_relations: int,
    forecast_size: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int32 (subject, relation, object) of the facts with the largest expected numbers, inverses turned round."""
    expected = expected.ravel()
    s, r = (np.broadcast_to(column[..., None], answer.shape).ravel() for column in (subject, relation))
    o, inverse = answer.ravel(), r >= num_relations
    # The answer to an inverse query is the subject of its fact.
    s, r, o = np.where(inverse, o, s), np.where(inverse, r - num_relations, r), np.where(inverse, s, o)
    order = np.argsort(-expected, kind="stable")
    # Padded queries have weight 0.
    order = order[expected[order] > 0]
    # A fact that answers a query of both directions counts once, with the larger number.
    facts = np.stack([s, r, o], 1)[order]
    _, first = np.unique(facts, axis=0, return_index=True)
    chosen = facts[np.sort(first)[:forecast_size]].astype(np.int32)
    return chosen[:, 0], chosen[:, 1], chosen[:, 2]
