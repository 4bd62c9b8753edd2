"""Temperatures: a number for each kind of question that makes probabilities mean what they say.

p becomes p^(1 / T), normalised, with the T of the least NLL on a held-out split (Guo et al., ICML 2017). Ranks stay as
they are.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from tirgn_eqx.data.batches.loader import KINDS

WIDTH = 0.4  # of log T, how far the first guesses stand apart
ROUNDS = 6  # at most
NARROWER = 0.35  # once the middle is found
ENOUGH = 0.03


def fit_temperature(evaluate: Callable[[Any], Any]) -> dict[str, Any]:
    """The temperatures of least NLL.

    The NLL is convex in 1 / T: a parabola through three values of log T gives the next middle, again and again, with
    the guesses closer together once they are on both sides of it.

    **Arguments:** `evaluate`: from a pair of temperatures to an `Evaluation`.

    **Returns:** `temperature`, `nll_before` and `nll_after`, each by kind of question.
    """

    def nll(logs: np.ndarray) -> np.ndarray:
        found = evaluate(tuple(jnp.asarray(np.exp(x), jnp.float32) for x in logs))
        return np.array([np.mean(found.nll[kind]) for kind in KINDS])

    middle, width = np.zeros(2), WIDTH
    best_log, best = middle, nll(middle)
    before = best
    for _ in range(ROUNDS):
        at_middle = nll(middle) if not np.array_equal(middle, best_log) else best
        low, high = nll(middle - width), nll(middle + width)
        for logs, values in ((middle - width, low), (middle + width, high), (middle, at_middle)):
            best_log, best = np.where(values < best, logs, best_log), np.minimum(values, best)
        bend = low - 2 * at_middle + high
        step = np.where(bend > 0, 0.5 * width * (low - high) / np.where(bend > 0, bend, 1), np.sign(low - high) * width)
        # A parabola says little far from where it was measured.
        middle = middle + np.clip(step, -2 * width, 2 * width)
        if np.all(np.abs(step) <= width):
            width *= NARROWER
        if width < ENOUGH:
            break
    last = nll(middle)
    best_log, best = np.where(last < best, middle, best_log), np.minimum(last, best)
    named = lambda values: {kind: float(value) for kind, value in zip(KINDS, values)}
    return {"temperature": named(np.exp(best_log)), "nll_before": named(before), "nll_after": named(best)}
