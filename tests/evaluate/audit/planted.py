"""A forecaster that counts the past, and the same with one leak each: the leaks of public systems in miniature."""

import itertools

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph, from_facts


def made_graph(split_at: tuple[int, int] = (9, 11)) -> TemporalGraph:
    """Twelve facts at each of 14 times, named; the last three times are the test split."""
    rng = np.random.default_rng(5)
    rows = np.stack([*(rng.integers(0, size, 168) for size in (8, 2, 8)), np.repeat(np.arange(14), 12)], 1)
    return from_facts(
        "made",
        rows,
        np.searchsorted(split_at, rows[:, 3], side="right"),
        8,
        2,
        entity_names=tuple(f"E{i}" for i in range(8)),
        relation_names=("meet", "aid"),
    )


def both_ways(facts, request):
    s, r, o, t = facts.T
    ends = np.concatenate([s, o]), np.concatenate([r, r + request.num_relations]), np.concatenate([o, s])
    return np.stack([*ends, np.tile(t, 2)], 1)


def counts(request, facts):
    """How often each entity answered each query in `facts`, and half a thousandth for each event of its own."""
    s, r, o, _ = both_ways(facts, request).T
    times = np.zeros((request.num_entities, 2 * request.num_relations, request.num_entities))
    np.add.at(times, (s, r, o), 1)
    found = times[tuple(request.queries.T)]
    return found + np.bincount(o, minlength=request.num_entities) / 2048  # sums of these are exact


def past(request):
    return request.facts[request.facts[:, 3] < request.time]


def honest(request):
    return counts(request, past(request))


def vocabulary_of_all_data(request):
    """As a history vocabulary that is built once, over train, valid and test."""
    return honest(request) + 0.25 * counts(request, request.facts)


def later_facts(request):
    return honest(request) + counts(request, request.facts[request.facts[:, 3] > request.time])


def size_of_the_snapshot(request):
    """How many facts the target holds decides how much the past counts."""
    present = request.facts[request.facts[:, 3] == request.time]
    return honest(request) * (1 + len(present) / 64)


def answers_of_the_target(request):
    return honest(request) + counts(request, request.facts[request.facts[:, 3] == request.time])


def scaled_by_the_last_time(request):
    """Times are normalised by the last one of the whole table."""
    return honest(request) * request.time / request.facts[:, 3].max(initial=request.time)


def subjects_of_the_other_queries(request):
    """As LogCL: the graph of the inverse queries holds the true answers as subjects."""
    return honest(request) + np.bincount(request.queries[:, 0], minlength=request.num_entities) / 16


def normalised_over_the_batch(request):
    scores = honest(request)
    return scores - scores.mean(0)


def place_in_the_batch(request):
    """Files are in an order, and so are their queries: the row itself tells of the answer."""
    rows = np.arange(len(request.queries))
    return honest(request) + (rows[:, None] % request.num_entities == request.entities)


def both_ends(request):
    """Each query beside its inverse, which is asked only because the fact is true: rows i and i + half."""
    half = len(request.queries) // 2
    scores = honest(request)
    if 2 * half == len(request.queries) and half:
        scores[np.arange(half), request.queries[half:, 0]] += 1
    return scores


def ties_by_id(request):
    return honest(request) - np.arange(request.num_entities) / 2**20


def other_each_time():
    numbers = itertools.count()
    return lambda request: honest(request) + next(numbers) / 64


def counts_of_what_was_asked():
    """Keeps what it was asked, also about later snapshots: the queries are the facts."""
    seen = []

    def forecast(request):
        found = honest(request)
        found[:, request.queries[:, 0]] += sum(time > request.time for time in seen) / 64
        seen.append(request.time)
        return found

    return forecast


# --- ranking protocols -------------------------------------------------------------------------------------------


def others(request, answers, facts):
    """By query, what else is true in `facts`."""
    facts = both_ways(facts, request)
    rows = [facts[(facts[:, 0] == s) & (facts[:, 1] == r), 2] for s, r in request.queries.tolist()]
    return [set(row.tolist()) - {answer} for row, answer in zip(rows, answers.tolist())]


def present(request):
    return request.facts[request.facts[:, 3] == request.time]


def rank(request, scores, answers, *, facts=present, equal=0.5, order=None):
    found = []
    for row, answer, left in zip(scores, answers.tolist(), others(request, answers, facts(request))):
        kept = np.array([i not in left for i in range(len(row))])
        if order is not None:  # sorted, equal ones by id
            place = np.argsort(-np.where(kept, row, -np.inf), kind="stable")
            found.append(1 + int(np.flatnonzero(place == answer)[0]))
        else:
            found.append(1 + (row[kept] > row[answer]).sum() + equal * ((row[kept] == row[answer]).sum() - 1))
    return np.array(found, float)


def optimistic_rank(request, scores, answers):
    return rank(request, scores, answers, equal=0)


def rank_by_id(request, scores, answers):
    return rank(request, scores, answers, order="id")


def rank_with_static_filter(request, scores, answers):
    """Leaves out what is true at any time, as older evaluations do."""
    return rank(request, scores, answers, facts=lambda request: request.facts)
