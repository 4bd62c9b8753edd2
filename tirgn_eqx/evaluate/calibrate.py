"""Temperatures: one number for each kind of query that brings probabilities close to frequencies.

p becomes p^(1 / T), normalised, with the T of the least NLL on a held-out split (Guo et al., ICML 2017). Ranks do not
change.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from tirgn_eqx.data.batches.loader import KINDS
from tirgn_eqx.evaluate.ranks import Temperature
from tirgn_eqx.evaluate.results import Document, Evaluation

FIRST_STEP = 0.4  # between the first guesses of log T
MAX_ROUNDS = 6
SHRINK = 0.35  # of the step, once guesses lie on both sides of the minimum
LAST_STEP = 0.03


class Calibration(Document):
    """Fitted temperatures and the mean NLL (nats) of the held-out split without and with them, each by kind of query:
    "entity", "relation"."""

    temperature: dict[str, float]
    nll_before: dict[str, float]
    nll_after: dict[str, float]

    @property
    def pair(self) -> Temperature:
        """The temperatures as evaluators take them."""
        return jnp.float32(self.temperature["entity"]), jnp.float32(self.temperature["relation"])


def fit_temperature(evaluate: Callable[[Temperature], Evaluation]) -> Calibration:
    """Find the temperatures of the least NLL.

    The NLL is convex in 1 / T. A parabola through three values of log T gives the middle of the next three, which lie
    closer together once they have the minimum between them.

    **Arguments:** `evaluate`: evaluates the held-out split at a pair of temperatures.

    **Returns:** the best temperatures of all that were tried.

    **Example:**

        evaluate = make_evaluator(model, graph, split="valid", history_len=config.history_len)
        found = fit_temperature(lambda temperature: evaluate(model, temperature))
        print(found.temperature["entity"])
    """

    def nll(logs: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2"]:
        # Arrays, because Python numbers would be compiled into the step, which would then serve one value alone.
        found = evaluate((jnp.float32(np.exp(logs[0])), jnp.float32(np.exp(logs[1]))))
        return np.array([np.mean(found.nll[kind]) for kind in KINDS])

    # Neither temperature changes the other kind's NLL, so that each evaluation serves both searches.
    middle, width = np.zeros(2), FIRST_STEP
    best_log, best = middle, nll(middle)
    before = best
    for _ in range(MAX_ROUNDS):
        # An evaluation is all that the search costs, so one that was made already is used again.
        at_middle = nll(middle) if not np.array_equal(middle, best_log) else best
        low, high = nll(middle - width), nll(middle + width)
        for logs, values in ((middle - width, low), (middle + width, high), (middle, at_middle)):
            best_log, best = np.where(values < best, logs, best_log), np.minimum(values, best)
        bend = low - 2 * at_middle + high
        # A parabola that does not bend upwards has no minimum: go one width downhill.
        step = np.where(bend > 0, 0.5 * width * (low - high) / np.where(bend > 0, bend, 1), np.sign(low - high) * width)
        # Far from where it was measured, the parabola is no guide.
        middle = middle + np.clip(step, -2 * width, 2 * width)
        if np.all(np.abs(step) <= width):
            width *= SHRINK
        if width < LAST_STEP:
            break
    last = nll(middle)
    best_log, best = np.where(last < best, middle, best_log), np.minimum(last, best)

    def by_kind(values: Float[np.ndarray, "2"]) -> dict[str, float]:
        return {kind: float(value) for kind, value in zip(KINDS, values)}

    return Calibration(temperature=by_kind(np.exp(best_log)), nll_before=by_kind(before), nll_after=by_kind(best))
