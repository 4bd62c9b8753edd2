"""Changes to facts, queries and ids that no honest forecast may notice; each is a pure function, random by `rng`."""

import dataclasses

import numpy as np
from jaxtyping import Int64

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.evaluate.audit.contract import Facts, ForecastRequest, Ids, Pairs

Rng = np.random.Generator


def table_of(graph: TemporalGraph) -> Facts:
    """The facts of a graph as rows subject, relation, object, time."""
    columns = (graph.subject, graph.relation, graph.object, graph.times[graph.snapshot])
    return np.stack([column.astype(np.int64) for column in columns], 1)


def random_facts(times: Int64[np.ndarray, " fact"], num_entities: int, num_relations: int, rng: Rng) -> Facts:
    """A random fact at each of `times`."""
    sizes = (num_entities, num_relations, num_entities)
    return np.stack([*(rng.integers(0, size, len(times)) for size in sizes), times], 1)


def with_facts(request: ForecastRequest, facts: Facts) -> ForecastRequest:
    """The request with another table, which is brought into time order, and which nobody can write into."""
    facts = facts[np.argsort(facts[:, 3], kind="stable")]
    facts.setflags(write=False)
    return dataclasses.replace(request, facts=facts)


def with_queries(request: ForecastRequest, queries: Pairs) -> ForecastRequest:
    """The request with other queries and the very same table."""
    return dataclasses.replace(request, queries=queries)


# --- what happens at the time of the forecast --------------------------------------------------------------------


def with_other_answers(request: ForecastRequest, rng: Rng) -> ForecastRequest:
    """Every fact at the time of the request with another object, so that the same queries have other answers."""
    facts = request.facts.copy()
    now = facts[:, 3] == request.time
    # A shift by 1 .. entities - 1 never gives the same entity.
    shift = 1 + rng.integers(0, max(1, request.num_entities - 1), int(now.sum()))
    facts[now, 2] = (facts[now, 2] + shift) % request.num_entities
    return with_facts(request, facts)


def with_random_present(request: ForecastRequest, rng: Rng) -> ForecastRequest:
    """Random facts at the time of the request, half as many again, so that counts of the snapshot change too."""
    others, number = _apart_from_now(request)
    times = np.full(number + number // 2 + 1, request.time)
    added = random_facts(times, request.num_entities, request.num_relations, rng)
    return with_facts(request, np.concatenate([others, added]))


def without_present(request: ForecastRequest) -> ForecastRequest:
    """No fact at the time of the request."""
    return with_facts(request, _apart_from_now(request)[0])


def _apart_from_now(request: ForecastRequest) -> tuple[Facts, int]:
    now = request.facts[:, 3] == request.time
    return request.facts[~now], int(now.sum())


# --- what happens later ------------------------------------------------------------------------------------------


def with_random_future(request: ForecastRequest, rng: Rng, step: int = 1) -> ForecastRequest:
    """Random facts after the time of the request: other facts, more of them, at other times; `step`: of the clock."""
    is_later = request.facts[:, 3] > request.time
    known, later = request.facts[~is_later], request.facts[is_later]
    times = len(np.unique(later[:, 3])) + 1
    number = len(later) + len(later) // 2 + times + int((known[:, 3] == request.time).sum())
    later_times = request.time + step * np.cumsum(rng.integers(1, 4, times))
    added = random_facts(rng.choice(later_times, number), request.num_entities, request.num_relations, rng)
    return with_facts(request, np.concatenate([known, added]))


def without_future(request: ForecastRequest) -> ForecastRequest:
    """No fact after the time of the request."""
    return with_facts(request, request.facts[request.facts[:, 3] <= request.time])


def with_random_other_times(request: ForecastRequest, rng: Rng) -> ForecastRequest:
    """Random facts in place of all that are not of the time of the request."""
    facts = request.facts.copy()
    other = facts[:, 3] != request.time
    facts[other] = random_facts(facts[other, 3], request.num_entities, request.num_relations, rng)
    return with_facts(request, facts)


# --- what else is asked ------------------------------------------------------------------------------------------


def false_queries(request: ForecastRequest, number: int, rng: Rng) -> tuple[Pairs, Ids]:
    """Queries in both directions of `number` random facts that nobody asked for, and their answers."""
    times = np.full(number, request.time)
    s, r, o, _ = random_facts(times, request.num_entities, request.num_relations, rng).T
    first, relation = np.concatenate([s, o]), np.concatenate([r, r + request.num_relations])
    return np.stack([first, relation], 1), np.concatenate([o, s])


# --- which ids things have ---------------------------------------------------------------------------------------


def with_entities_renumbered(request: ForecastRequest, order: Int64[np.ndarray, " entity"]) -> ForecastRequest:
    """The same request with other ids: its new id i is the entity that had the id `order[i]`."""
    new = np.argsort(order)
    facts, queries = request.facts.copy(), request.queries.copy()
    facts[:, 0], facts[:, 2], queries[:, 0] = new[facts[:, 0]], new[facts[:, 2]], new[queries[:, 0]]
    ids: list[int] = order.tolist()
    names = None if request.entity_names is None else tuple(request.entity_names[i] for i in ids)
    return dataclasses.replace(
        request, facts=facts, queries=queries, entities=request.entities[order], entity_names=names
    )
