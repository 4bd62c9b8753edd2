"""The queries about one snapshot, and their arrays in padded micro-batches."""

from dataclasses import dataclass

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph, both_directions
from tirgn_eqx.data.index.history_index import HistoryIndex, HistoryVocabulary
from tirgn_eqx.data.index.occurrences import ranges


@dataclass(frozen=True)
class SnapshotQueries:
    """Queries of one kind about one snapshot, both directions, before padding; history ends before `history_end`.

    Query i has (`subject[i]`, `condition[i]`), and `key[i]` is the pair as one integer. `answer[j]` answers query
    `answer_query[j]`; the answers of a query are adjacent, and `row[j]` is the answer's position among [facts, inverse
    facts] of the split. (`true_query`, `true_candidate`) are all candidates that are true at this time, facts of other
    splits included, for the time-aware filter.
    """

    history_end: int
    subject: np.ndarray
    condition: np.ndarray
    key: np.ndarray
    answer_query: np.ndarray
    answer: np.ndarray
    true_query: np.ndarray
    true_candidate: np.ndarray
    row: np.ndarray

    @property
    def num_queries(self) -> int:
        return len(self.subject)


def build_queries(
    graph: TemporalGraph,
    vocabulary: HistoryVocabulary,
    time: int,
    split: int,
    kind: str,
    *,
    unique: bool,
    history_end: int | None = None,
    candidates: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> SnapshotQueries:
    """The queries that the facts of `split` at snapshot `time` answer.

    **Arguments:** `kind`: "entity" or "relation"; `unique`: one query for all facts with the same one; otherwise one
    per fact and direction, as the released code decodes; `history_end`: the snapshot before which history ends,
    `time` by default; `candidates`: (subject, relation, object) in place of what is true, for entity queries.
    """
    present = np.arange(graph.offsets[time], graph.offsets[time + 1])
    chosen = present[graph.split[present] == split]

    def columns(facts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        subject, relation, object_ = both_directions(graph, facts)
        if kind == "entity":
            return subject, relation, object_, vocabulary.entity_keys(subject, relation)
        return subject, object_, relation, vocabulary.relation_keys(subject, object_)

    subject, condition, answer, key = columns(chosen)
    answer_query = row = np.arange(len(key))
    if unique:
        key, first, answer_query = np.unique(key, return_index=True, return_inverse=True)
        subject, condition = subject[first], condition[first]
        # The answers of a query become adjacent, in the order of their facts.
        row = np.argsort(answer_query, kind="stable")
    # The time-aware filter knows the facts of all splits, not only of the one that is queried.
    _, _, all_answer, all_key = columns(present)
    if candidates is not None and kind == "entity":
        all_answer, all_key = candidates[2], vocabulary.entity_keys(*candidates[:2])
    # The distinct true (key, candidate) pairs as integers; those of one key are adjacent.
    span = 2 * graph.num_relations if kind == "relation" else graph.num_entities
    code = np.unique(all_key * span + all_answer)
    true_query, place = ranges(np.searchsorted(code, key * span), np.searchsorted(code, (key + 1) * span))
    return SnapshotQueries(
        history_end=time if history_end is None else history_end,
        subject=subject,
        condition=condition,
        key=key,
        answer_query=answer_query[row],
        answer=answer[row],
        true_query=true_query,
        true_candidate=(code[place] % span).astype(np.int32),
        row=row,
    )


@dataclass(frozen=True)
class Division:
    """Queries dealt to micro-batches: queries `order[bounds[m]:bounds[m + 1]]` form micro-batch m."""

    order: np.ndarray
    bounds: np.ndarray


def divide(num_queries: int, num_micro: int, seed: int | None = None) -> Division:
    """Deal queries evenly to `num_micro` micro-batches.

    With `seed` they are shuffled first, so that the BatchNorm statistics of a micro-batch cover both directions.
    """
    shuffle = seed is not None and num_micro > 1
    order = np.random.default_rng(seed).permutation(num_queries) if shuffle else np.arange(num_queries)
    return Division(order, np.linspace(0, num_queries, num_micro + 1).astype(np.int64))


@dataclass(frozen=True)
class Shards:
    """Equal parts of the queries of every micro-batch, one for each slice of devices; `own`: those this process fills.

    The place of a query does not depend on the number of shards; answers and history go to the shard of their query.
    """

    count: int = 1
    own: tuple[int, ...] = (0,)


ONE_SHARD = Shards()


def division_sizes(
    queries: SnapshotQueries,
    division: Division,
    index: HistoryIndex,
    padded_queries: int | None = None,
    shards: Shards = ONE_SHARD,
) -> np.ndarray:
    """int64 `(4,)`: the largest (queries, answers, history pairs, true pairs) of a micro-batch.

    **Arguments:** `padded_queries`, `shards`: padded queries of a micro-batch, and how they are shared. With several
    shards all but the queries are the size of the largest shard times the number of shards, and history counts in this
    process's own shards alone.
    """
    lengths = np.diff(division.bounds)
    bounds = division.bounds
    own = np.ones(queries.num_queries, bool)
    if shards.count > 1:
        assert padded_queries is not None
        # Cut every micro-batch where a shard is full: with 8 padded queries in 2 shards, 5 queries are cut at [0, 4].
        cuts = np.minimum(np.arange(shards.count) * (padded_queries // shards.count), lengths[:, None])
        bounds = np.append((division.bounds[:-1, None] + cuts).ravel(), division.bounds[-1])
        shard = np.repeat(np.tile(np.arange(shards.count), len(lengths)), np.diff(bounds))
        own[division.order] = np.isin(shard, shards.own)
    history = np.zeros(queries.num_queries, np.int64)
    history[own] = index.count(queries.key[own], queries.history_end)
    per_query = np.stack(
        [
            np.ones(queries.num_queries, np.int64),
            np.bincount(queries.answer_query, minlength=queries.num_queries),
            history,
            np.bincount(queries.true_query, minlength=queries.num_queries),
        ]
    )[:, division.order]
    # (4, query + 1): running totals, of which every micro-batch or shard is a difference between two of its bounds.
    total = np.concatenate([np.zeros((4, 1), np.int64), np.cumsum(per_query, 1)], 1)
    sizes = shards.count * np.diff(total[:, bounds], axis=1).max(1, initial=0)
    # The number of padded queries is given, and the same for any number of shards.
    sizes[0] = lengths.max(initial=0)
    return sizes


def _empty_fields(num_micro: int, sizes: tuple[int, ...], num_candidates: int) -> dict[str, np.ndarray]:
    """Fields of `pack` that are padding only."""
    query, answer, history, true = sizes
    zeros = {name: np.zeros((num_micro, query), np.int32) for name in ("subject", "condition")}
    zeros |= {name: np.zeros((num_micro, answer), np.int32) for name in ("answer_query", "answer")}
    return zeros | {
        "weight": np.zeros((num_micro, query), np.float32),
        "answer_weight": np.zeros((num_micro, answer), np.float32),
        "answer_in_history": np.zeros((num_micro, answer), bool),
        "history_query": np.full((num_micro, history), query, np.int32),
        "history_candidate": np.full((num_micro, history), num_candidates, np.int32),
        "true_query": np.full((num_micro, true), query, np.int32),
        "true_candidate": np.full((num_micro, true), num_candidates, np.int32),
        "row": np.full((num_micro, answer), -1, np.int64),
    }


def blank(fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fields of the same shapes as those that `pack` gives, without any query."""
    empty = {name: np.zeros_like(values) for name, values in fields.items()}
    for name in empty.keys() & {"history_query", "true_query"}:
        empty[name][:] = fields["subject"].shape[1]
    empty["row"][:] = -1
    return empty


def pack(
    queries: SnapshotQueries,
    division: Division,
    index: HistoryIndex,
    history_window: int,
    num_micro: int,
    sizes: tuple[int, ...],
    num_candidates: int,
    shards: Shards = ONE_SHARD,
) -> dict[str, np.ndarray]:
    """The fields of a `tirgn_eqx.types.Queries` with a leading micro axis, padded to `sizes`; and `row`, see
    `SnapshotQueries`.

    Each shard has an equal share of `sizes`. The history of queries of other processes' shards is left out.
    Padding: candidates `num_candidates`, queries the query size (dropped by scatters), rows -1.

    **Raises:** IndexError when something does not fit `sizes`.
    """
    out = _empty_fields(num_micro, sizes, num_candidates)
    # Where each query goes: its micro-batch and its place there.
    count = queries.num_queries
    micro_of = np.empty(count, np.int64)
    place_of = np.empty(count, np.int64)
    lengths = np.diff(division.bounds)
    micro_of[division.order] = np.repeat(np.arange(len(lengths)), lengths)
    place_of[division.order] = np.arange(count) - np.repeat(division.bounds[:-1], lengths)
    out["subject"][micro_of, place_of] = queries.subject
    out["condition"][micro_of, place_of] = queries.condition
    weight = np.bincount(queries.answer_query, minlength=count).astype(np.float32)
    out["weight"][micro_of, place_of] = weight

    shard_of = place_of // max(1, sizes[0] // shards.count)
    group_of = micro_of * shards.count + shard_of

    def scatter(query: np.ndarray, **columns: np.ndarray) -> None:
        """Deal rows to the shard of their query in its micro-batch, in the order of the queries there.

        Rows of groups [0, 0, 1] take the places [0, 1, 0] of their groups.
        """
        # Stable, so that the rows of a query keep their order. History must be sorted by query: its sums rely on that.
        order = np.argsort(micro_of[query] * count + place_of[query], kind="stable")
        group = group_of[query][order]
        starts = np.searchsorted(group, np.arange(num_micro * shards.count))
        place = np.arange(len(query)) - starts[group]
        for name, values in columns.items():
            # A view: (micro, size) as (micro * shard, size / shard). A place past the end raises and is not dropped.
            out[name].reshape(num_micro * shards.count, -1)[group, place] = values[order]

    own = np.flatnonzero(np.isin(shard_of, shards.own))
    position, candidate = index.lookup(queries.key[own], queries.history_end, history_window)
    query = own[position]
    in_history = np.isin(queries.answer_query * num_candidates + queries.answer, query * num_candidates + candidate)
    scatter(
        queries.answer_query,
        answer_query=place_of[queries.answer_query],
        answer=queries.answer,
        answer_weight=np.ones(len(queries.answer), np.float32),
        answer_in_history=in_history,
        row=queries.row,
    )
    scatter(query, history_query=place_of[query], history_candidate=candidate)
    true = queries.true_query
    scatter(true, true_query=place_of[true], true_candidate=queries.true_candidate)
    return out
