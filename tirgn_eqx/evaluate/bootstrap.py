"""How certain a mean over queries is, by drawing the queries again."""

import numpy as np
from jaxtyping import Float

CONFIDENCE = 0.95
RESAMPLES = 1000


def bootstrap_interval(
    values: Float[np.ndarray, " query"], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of `values`, queries drawn with replacement (Efron, 1979).

    Of a difference of two models, query by query, this is the paired bootstrap.

    **Arguments:** `values`: one for each query, such as 1 / rank; `resamples`, `seed`: of the draws.

    **Returns:** (low, high).
    """
    values, rng = np.asarray(values, np.float64), np.random.default_rng(seed)
    # Equal values are interchangeable: to draw how often each comes is the same, and cheaper for few values.
    distinct, counts = np.unique(values, return_counts=True)
    total = len(values)
    if len(distinct) < total // 50:
        means = np.array([rng.multinomial(total, counts / total) @ distinct / total for _ in range(resamples)])
    else:
        means = np.array([values[rng.integers(0, total, total)].mean() for _ in range(resamples)])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
