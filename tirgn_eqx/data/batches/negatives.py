"""Candidates drawn at random among those that are not excluded.

Of the candidates without the ascending `excluded` e[0], e[1], ..., the k-th one is k plus the number of i with
e[i] - i <= k, because e[i] - i free candidates lie below e[i]. So each draw costs one binary search, and no draw is
rejected. For example, of 7 candidates without [1, 2, 5] those that are free are 0, 3, 4 and 6: e[i] - i is [1, 1, 3],
and the one with k = 2 is 2 + 2 = 4.
"""

import numpy as np

from tirgn_eqx.errors import DataError


def draw_others(rng: np.random.Generator, excluded: np.ndarray, num_candidates: int, count: int) -> np.ndarray:
    """Up to `count` distinct candidates that are not in the ascending, distinct `excluded`; int64, in any order."""
    free = num_candidates - len(excluded)
    draw = rng.choice(free, min(count, free), replace=False, shuffle=False)
    return draw + np.searchsorted(excluded - np.arange(len(excluded)), draw, side="right")


def negative_sampling(
    rng: np.random.Generator,
    answer_query: np.ndarray,
    true_query: np.ndarray,
    true_candidate: np.ndarray,
    num_candidates: int,
    num_negatives: int,
) -> np.ndarray:
    """Draw `num_negatives` candidates per answer, uniformly among those that do not answer its query.

    **Arguments:** `answer_query`: `(answer,)`; (`true_query`, `true_candidate`): every true pair, distinct.

    **Returns:** int32 `(answer, num_negatives)`.

    **Raises:** DataError when every candidate answers some query.
    """
    queries = int(max(answer_query.max(initial=-1), true_query.max(initial=-1))) + 1
    order = np.lexsort((true_candidate, true_query))
    query, candidate = true_query[order].astype(np.int64), true_candidate[order].astype(np.int64)
    count = np.bincount(query, minlength=queries)
    free = num_candidates - count[answer_query]
    if np.any(free < 1):
        raise DataError(
            f"a question is answered by all {num_candidates} entities, so no negative can be drawn; use --set loss=full"
        )
    # `random` is below 1, so every draw is below the number of its own query's free candidates.
    draw = (rng.random((len(answer_query), num_negatives)) * free[:, None]).astype(np.int64)
    start = np.cumsum(count) - count
    place = np.arange(len(query)) - start[query]
    # One search serves all queries: their numbers candidate - place lie in ranges of their own.
    skip = query * (num_candidates + 1) + candidate - place
    base = answer_query.astype(np.int64)[:, None]
    below = np.searchsorted(skip, base * (num_candidates + 1) + draw, side="right") - start[base]
    return (draw + below).astype(np.int32)
