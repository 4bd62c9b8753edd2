"""The recurrency baseline: what happened before happens again (Gastinger et al., IJCAI 2024). Nothing is trained.

For a question (s, r, ?, t), with both directions as relations of their own:

- strict, psi(o) = sum_k 2^(-decay (t - k)) / sum_j 2^(-decay (t - j)), over the past times k of (s, r, o) and over all
  past snapshots j;
- relaxed, xi(o) = the share of o among the objects of r so far;
- combined, share * psi + (1 - share) * xi.

Times are in steps of the model's clock. `decay` and `share` belong to the relation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tirgn_eqx.data.index.recurrence import HistoryCandidates, RecurrenceIndex
from tirgn_eqx.errors import ConfigError, DataError

VARIANTS = ("combined", "strict", "relaxed")
MOST_COUNTS = 2**30  # relations * entities that are counted
# The values among which the paper's authors choose, for every relation.
DECAYS = (0.0, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.5, 0.9, 1.0001)
SHARES = (0.0, 0.00001, 0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 1.0)


@dataclass(frozen=True)
class Recurrency:
    """The baseline's parameters.

    **Arguments:** `decay`: float64 `(rel2,)`, at least 0, in 1 / step; `share`: float64 `(rel2,)` in [0, 1], the weight
    of the strict part: 1 for all is the strict baseline, 0 the relaxed one.
    """

    decay: np.ndarray
    share: np.ndarray

    def __post_init__(self) -> None:
        # Comparisons with NaN are False: it is refused as well.
        bad = self.decay[~((self.decay >= 0) & (self.decay < np.inf))]
        if len(bad):
            raise ConfigError(f"decay = {bad[0]}: must be a finite number, at least 0")
        bad = self.share[~((self.share >= 0) & (self.share <= 1))]
        if len(bad):
            raise ConfigError(f"share = {bad[0]}: must be between 0 and 1")

    @classmethod
    def constant(cls, num_relations: int, decay: float, share: float) -> "Recurrency":
        """The same two values for every relation and direction."""
        full = lambda value: np.full(2 * num_relations, value, np.float64)
        return cls(full(decay), full(share))

    def variant(self, name: str) -> "Recurrency":
        """One of the two parts alone ("strict", "relaxed"), or both ("combined").

        **Raises:** ConfigError for another name.
        """
        if name not in VARIANTS:
            raise ConfigError(f"variant {name!r}: must be one of {', '.join(VARIANTS)}")
        shares = {"strict": np.ones_like(self.share), "relaxed": np.zeros_like(self.share)}
        return replace(self, share=shares.get(name, self.share))

    def to_dict(self) -> dict[str, Any]:
        """Parameters as JSON-compatible values: one number where all relations share it."""
        one = lambda values: values[0].item() if np.ptp(values) == 0 else values.tolist()
        return {"decay": one(self.decay), "share": one(self.share)}


class StrictPart:
    """psi for one choice of decays, at any pairs and time."""

    def __init__(self, index: RecurrenceIndex, decay: np.ndarray):
        self.index, self.decay = index, decay
        self.strength = index.strength(decay)

    def __call__(self, pairs: HistoryCandidates, now: float, known: int) -> np.ndarray:
        """float64 `(pair,)`: psi at time `now` (in steps), when the snapshots before `known` are known."""
        rate = self.decay[self.index.relation[pairs.last]]
        fade = np.exp2(-rate * (now - self.index.time[pairs.last]))
        return self.strength[pairs.last] * fade / self._total(rate, now, known)

    def _total(self, rate: np.ndarray, now: float, known: int) -> np.ndarray:
        """What a triple would have that happened at every known snapshot."""
        distinct, place = np.unique(rate, return_inverse=True)
        totals = np.exp2(-distinct[:, None] * (now - self.index.clock[:known])).sum(1)
        # So long ago that nothing is left of it: any divisor will do.
        return np.maximum(totals, np.finfo(np.float64).tiny)[place]


class RelaxedPart:
    """How often each object followed each relation in the known facts, kept up to date as time goes on.

    `count`: int32 `(rel2, entity)`; `total`: int64 `(rel2,)`.

    **Raises:** DataError for more than `MOST_COUNTS` counts (4 GiB).
    """

    def __init__(self, rel2: int, num_entities: int):
        if rel2 * num_entities > MOST_COUNTS:
            raise DataError(
                f"{num_entities:,} entities and {rel2 // 2:,} relations: too many for the recurrency baseline, which "
                f"counts every pair of them ({4 * rel2 * num_entities / 2**30:.0f} GiB)"
            )
        self.count = np.zeros((rel2, num_entities), np.int32)
        self.total = np.zeros(rel2, np.int64)

    def learn(self, relation: np.ndarray, object_: np.ndarray) -> None:
        """Count facts that have become known."""
        np.add.at(self.count, (relation, object_), 1)
        self.total += np.bincount(relation, minlength=len(self.total))

    def __call__(self, relation: np.ndarray, object_: np.ndarray) -> np.ndarray:
        """float64: xi of the objects for the relations; 0 for a relation that never happened."""
        return self.count[relation, object_] / np.maximum(self.total[relation], 1)

    def distribution(self, relations: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(row, value, number): how many entities have which xi, for each of `relations` by its row; ascending."""
        counts = self.count[relations]
        row, object_ = counts.nonzero()
        span = int(counts.max(initial=0)) + 1
        code, number = np.unique(row * span + counts[row, object_], return_counts=True)
        rows = np.arange(len(counts))
        never = counts.shape[1] - np.bincount(row, minlength=len(counts))
        code, number = np.concatenate([rows * span, code]), np.concatenate([never, number])
        order = np.argsort(code, kind="stable")
        row = code[order] // span
        return row, code[order] % span / np.maximum(self.total[relations], 1)[row], number[order]
