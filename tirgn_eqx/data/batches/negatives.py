"""Entities drawn to stand for the many that a question is not about."""

import numpy as np

from tirgn_eqx.errors import DataError


def draw_others(rng: np.random.Generator, taken: np.ndarray, num_candidates: int, count: int) -> np.ndarray:
    """Up to `count` distinct candidates that are not among the ascending, distinct `taken`; int64, any order.

    The k-th candidate that is not taken is k plus the number of taken ones at or below it: one draw and one search
    each, nothing is ever rejected.
    """
    free = num_candidates - len(taken)
    draw = rng.choice(free, min(count, free), replace=False, shuffle=False)
    return draw + np.searchsorted(taken - np.arange(len(taken)), draw, side="right")


def negative_sampling(
    rng: np.random.Generator,
    answer_query: np.ndarray,
    true_query: np.ndarray,
    true_candidate: np.ndarray,
    num_candidates: int,
    num_negatives: int,
) -> np.ndarray:
    """Draw `num_negatives` candidates per answer, uniformly among those that do not answer its unit.

    The k-th candidate that is not true is k plus the number of true ones at or below it: so one uniform draw
    and one search per negative, and nothing is ever rejected.

    **Arguments:** `answer_query`: `(answer,)`; (`true_query`, `true_candidate`): every true pair, distinct.

    **Returns:** int32 `(answer, num_negatives)`.

    **Raises:** DataError when every candidate answers some unit.
    """
    units = int(max(answer_query.max(initial=-1), true_query.max(initial=-1))) + 1
    order = np.lexsort((true_candidate, true_query))
    unit, candidate = true_query[order].astype(np.int64), true_candidate[order].astype(np.int64)
    count = np.bincount(unit, minlength=units)
    free = num_candidates - count[answer_query]
    if np.any(free < 1):
        raise DataError(
            f"a question is answered by all {num_candidates} entities, so no negative can be drawn; use --set loss=full"
        )
    draw = (rng.random((len(answer_query), num_negatives)) * free[:, None]).astype(np.int64)
    start = np.cumsum(count) - count
    place = np.arange(len(unit)) - start[unit]
    # candidate - place = how many non-true candidates lie below this true one.
    skip = unit * (num_candidates + 1) + candidate - place
    base = answer_query.astype(np.int64)[:, None]
    below = np.searchsorted(skip, base * (num_candidates + 1) + draw, side="right") - start[base]
    return (draw + below).astype(np.int32)
