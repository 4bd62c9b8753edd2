"""The GlobalEventIDs that were seen, 8 bytes each."""

from collections.abc import Iterable

import numpy as np


class KnownIds:
    """A growing set of int64 as sorted arrays, each at least twice as long as the next.

    **Arguments:** `batches`: arrays of distinct ids to begin with.
    """

    def __init__(self, batches: Iterable[np.ndarray] = ()):
        self._levels: list[np.ndarray] = []
        for ids in batches:
            self._insert(np.sort(ids))

    def add(self, ids: np.ndarray) -> np.ndarray:
        """Adds `ids` `(row,)`; bool `(row,)`: True where an id is seen for the first time, also within `ids`."""
        distinct, first = np.unique(ids, return_index=True)
        new = np.ones(len(distinct), bool)
        for level in self._levels:
            if len(distinct) and distinct[-1] >= level[0] and distinct[0] <= level[-1]:
                place = np.minimum(np.searchsorted(level, distinct), len(level) - 1)
                new &= level[place] != distinct
        self._insert(distinct[new])
        mask = np.zeros(len(ids), bool)
        mask[first[new]] = True
        return mask

    def __len__(self) -> int:
        return sum(map(len, self._levels))

    def _insert(self, ids: np.ndarray) -> None:
        if not len(ids):
            return
        self._levels.append(ids)
        while len(self._levels) > 1 and len(self._levels[-2]) < 2 * len(self._levels[-1]):
            last = self._levels.pop()
            # Sorted stretches are merged, not sorted anew, by the stable sort.
            self._levels[-1] = np.sort(np.concatenate([self._levels[-1], last]), kind="stable")
