"""The recurrency baseline: past facts happen again (Gastinger et al., IJCAI 2024). Nothing is trained.

For a query (s, r, ?, t), with both directions as relations of their own:

- strict, psi(o) = sum_k 2^(-decay (t - k)) / sum_j 2^(-decay (t - j)), over the past times k of (s, r, o) and over all
  past snapshots j;
- relaxed, xi(o) = the share of o among the objects of r so far;
- combined, share * psi + (1 - share) * xi.

Times are in steps of the model's clock. `decay` and `share` belong to the relation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int

from tirgn_eqx.data.index.recurrence import HistoryCandidates, RecurrenceIndex
from tirgn_eqx.errors import ConfigError, DataError

VARIANTS = ("combined", "strict", "relaxed")
MAX_COUNTS = 2**30  # relations * entities
# The paper chooses among these values for every relation.
DECAYS = (0.0, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.5, 0.9, 1.0001)
SHARES = (0.0, 0.00001, 0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 1.0)


@dataclass(frozen=True)
class Recurrency:
    """The parameters of the baseline.

    **Arguments:**

    - `decay`: float64 `(rel2,)`, at least 0, in 1 / step.
    - `share`: float64 `(rel2,)` in [0, 1], the weight of the strict part: 1 is the strict baseline, 0 the relaxed one.

    **Raises:** ConfigError for a value out of range.

    ```python
    from tirgn_eqx.models import Recurrency

    baseline = Recurrency.constant(num_relations=3, decay=0.1, share=0.99)
    assert baseline.variant("strict").to_dict() == {"decay": 0.1, "share": 1.0}
    ```
    """

    decay: Float64[np.ndarray, " rel2"]
    share: Float64[np.ndarray, " rel2"]

    def __post_init__(self) -> None:
        # Negated, so that NaN, which compares false, is refused too.
        bad = self.decay[~((self.decay >= 0) & (self.decay < np.inf))]
        if len(bad):
            raise ConfigError(f"decay = {bad[0]}: must be a finite number, at least 0")
        bad = self.share[~((self.share >= 0) & (self.share <= 1))]
        if len(bad):
            raise ConfigError(f"share = {bad[0]}: must be between 0 and 1")

    @classmethod
    def constant(cls, num_relations: int, decay: float, share: float) -> "Recurrency":
        """The same two values for every relation and direction."""
        return cls(np.full(2 * num_relations, decay, np.float64), np.full(2 * num_relations, share, np.float64))

    def variant(self, name: str) -> "Recurrency":
        """One of the two parts alone ("strict", "relaxed"), or both ("combined").

        **Raises:** ConfigError for another name.
        """
        if name not in VARIANTS:
            raise ConfigError(f"variant {name!r}: must be one of {', '.join(VARIANTS)}")
        shares = {"strict": np.ones_like(self.share), "relaxed": np.zeros_like(self.share)}
        return replace(self, share=shares.get(name, self.share))

    def to_dict(self) -> dict[str, float | list[float]]:
        """The parameters as JSON-compatible values: one number where all relations share it."""
        columns = {"decay": self.decay, "share": self.share}
        return {name: x[0].item() if np.ptp(x) == 0 else x.tolist() for name, x in columns.items()}


class StrictPart:
    """psi for one choice of decays.

    **Arguments:** `index`: of past facts; `decay`: float64 `(rel2,)`.
    """

    def __init__(self, index: RecurrenceIndex, decay: Float64[np.ndarray, " rel2"]):
        self.index, self.decay = index, decay
        self.strength = index.strength(decay)

    def __call__(self, pairs: HistoryCandidates, now: float, before: int) -> Float64[np.ndarray, " pair"]:
        """psi of pairs, float64 `(pair,)`.

        **Arguments:** `now`: time of the target, in steps; `before`: the snapshot before which the history ends.
        """
        # `strength` is that at the last occurrence; from then to now it only fades.
        rate = self.decay[self.index.relation[pairs.last]]
        fade = np.exp2(-rate * (now - self.index.time[pairs.last]))
        return self.strength[pairs.last] * fade / self._total(rate, now, before)

    def _total(self, rate: Float64[np.ndarray, " pair"], now: float, before: int) -> Float64[np.ndarray, " pair"]:
        """The strength of a triple that happened at every snapshot of the history."""
        # Relations share few decays, so every sum over snapshots is taken once for each.
        distinct, place = np.unique(rate, return_inverse=True)
        totals = np.exp2(-distinct[:, None] * (now - self.index.clock[:before])).sum(1)
        # A sum that underflows to 0 has numerators of 0, so any positive divisor will do.
        return np.maximum(totals, np.finfo(np.float64).tiny)[place]


class RelaxedPart:
    """xi: how often each object followed each relation in the known facts, updated as time goes on.

    `count` is int32 `(rel2, entity)`, and `total` int64 `(rel2,)`.

    **Raises:** DataError for more than `MAX_COUNTS` counts (4 GiB).
    """

    def __init__(self, rel2: int, num_entities: int):
        if rel2 * num_entities > MAX_COUNTS:
            raise DataError(
                f"{num_entities:,} entities and {rel2 // 2:,} relations: too many for the recurrency baseline, which "
                f"counts every pair of them ({4 * rel2 * num_entities / 2**30:.0f} GiB)"
            )
        self.count = np.zeros((rel2, num_entities), np.int32)
        self.total = np.zeros(rel2, np.int64)

    def update(self, relation: Int[np.ndarray, " fact"], object_: Int[np.ndarray, " fact"]) -> None:
        """Count facts that have become known."""
        # `count[...] += 1` would count a pair that occurs twice in a snapshot once.
        np.add.at(self.count, (relation, object_), 1)
        self.total += np.bincount(relation, minlength=len(self.total))

    def __call__(self, relation: Int[np.ndarray, " n"], object_: Int[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """xi of pairs of relations and objects, float64; 0 for a relation that never happened."""
        return self.count[relation, object_] / np.maximum(self.total[relation], 1)

    def distribution(
        self, relations: Sequence[int] | Int[np.ndarray, " n"]
    ) -> tuple[Int[np.ndarray, " m"], Float64[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        """How many entities have which xi, for each of `relations`.

        **Returns:** `(row, value, number)`: `number` entities have xi `value` for `relations[row]`; ascending.
        """
        counts = self.count[relations]
        row, object_ = counts.nonzero()
        # Row and count as one number, so that one `unique` serves all rows: with span 5, row 2 and count 3 are 13.
        span = int(counts.max(initial=0)) + 1
        code, number = np.unique(row * span + counts[row, object_], return_counts=True)
        rows = np.arange(len(counts))
        # `nonzero` lists no entity of count 0; these are one more value of every row.
        never = counts.shape[1] - np.bincount(row, minlength=len(counts))
        code, number = np.concatenate([rows * span, code]), np.concatenate([never, number])
        order = np.argsort(code, kind="stable")
        row = code[order] // span
        return row, code[order] % span / np.maximum(self.total[relations], 1)[row], number[order]
