"""When and how often keys occurred, answered for any keys at any time by look-ups alone.

A key is anything that occurs with facts: a triple (s, r, o), a pair (s, o), a subject, a relation with an object.
What was known of it before a snapshot lies at the last occurrence before that snapshot: how many events there had been,
and their sum faded by age. So features for training can be made for any time, in any order, from one index.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

HALF_LIVES = (1.0, 4.0, 16.0, 64.0)  # steps of the model's clock


@dataclass(frozen=True)
class Occurrences:
    """Every distinct (key, snapshot), in order.

    `key`: int64 `(group,)`, ascending; `start`: int64 `(group,)`, the first row of each key; `occurrence`: int64
    `(row,)`, ascending: group * num_snapshots + snapshot; `events`: float32 `(row,)`, the key's events up to and with
    this snapshot; `strength`: float32 `(row, half_life)`, those events, each halved with every half-life of its age at
    this snapshot, or None; `clock`: float64 `(snapshot,)`, time of a snapshot in steps.
    """

    key: np.ndarray
    start: np.ndarray
    occurrence: np.ndarray
    events: np.ndarray
    strength: np.ndarray | None
    clock: np.ndarray

    @property
    def nbytes(self) -> int:
        arrays = (self.key, self.start, self.occurrence, self.events, self.strength)
        return sum(array.nbytes for array in arrays if array is not None)

    @cached_property
    def first_snapshot(self) -> np.ndarray:
        """int64 `(group,)`: when each key occurred first."""
        return self.occurrence[self.start] % len(self.clock)

    @cached_property
    def _time(self) -> np.ndarray:
        return self.clock[self.occurrence % len(self.clock)]

    def group(self, keys: np.ndarray) -> np.ndarray:
        """int64: the position of each key in `key`, -1 for one that never occurs."""
        return find(self.key, keys)

    def last(self, groups: np.ndarray, known: int) -> np.ndarray:
        """int64: the row of each group's last occurrence before snapshot `known`, -1 where there is none."""
        row = np.searchsorted(self.occurrence, groups * len(self.clock) + known) - 1
        return np.where((groups >= 0) & (row >= self.start[groups]), row, -1)

    def snapshots(self, rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """int64: in how many snapshots each group had occurred at `rows`, its own."""
        return rows - self.start[groups] + 1

    def age(self, rows: np.ndarray, now: float) -> np.ndarray:
        """float32: steps from `rows` to `now`."""
        return (now - self._time[rows]).astype(np.float32)

    def faded(self, rows: np.ndarray, now: float) -> np.ndarray:
        """float32 `(row, half_life)`: the strengths at `now`, when nothing has come since `rows`."""
        assert self.strength is not None
        return self.strength[rows] * np.exp2(-self.age(rows, now)[:, None] / np.array(HALF_LIVES, np.float32))


def find(table: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """int64: where each wanted value stands in the ascending `table`, -1 where it does not."""
    if len(table) == 0:
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(table, wanted), len(table) - 1)
    return np.where(table[place] == wanted, place, -1)


def ranges(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(owner, member): the members low .. high - 1 of every owner, one after the other."""
    length = high - low
    owner = np.repeat(np.arange(len(low)), length)
    return owner, np.arange(length.sum()) - np.repeat(np.cumsum(length) - length - low, length)


def accumulate(values: np.ndarray, fade: np.ndarray, start: np.ndarray) -> None:
    """Within each run of rows, add to every row of `values` the sum up to the row before, times the row's `fade`.

    **Arguments:** `start`: int64 `(run,)`, ascending, where the runs begin; what `fade` says there is not used.
    """
    # The rows of all runs, side by side: first ones, second ones, and so on.
    place = np.arange(len(values)) - np.repeat(start, np.diff(start, append=len(values)))
    order = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[order], np.arange(1, place.max(initial=0) + 2))
    for begin, end in zip(bounds[:-1], bounds[1:]):
        rows = order[begin:end]
        values[rows] += values[rows - 1] * fade[rows]


def build_occurrences(key: np.ndarray, snapshot: np.ndarray, clock: np.ndarray, *, faded: bool = True) -> Occurrences:
    """Index events.

    **Arguments:** `key`, `snapshot`: int64 `(event,)`; `clock`: float64 `(snapshot,)`; `faded`: keep the strengths.
    """
    code, count = np.unique(key * len(clock) + snapshot, return_counts=True)
    key, snapshot = code // len(clock), code % len(clock)
    new = np.diff(key, prepend=-1) != 0
    start = np.flatnonzero(new)
    group = np.cumsum(new) - 1
    total = np.cumsum(count)
    events = total - (total - count)[start][group]
    strength = None
    if faded:
        strength = np.repeat(count.astype(np.float32)[:, None], len(HALF_LIVES), 1)
        since = np.diff(clock[snapshot], prepend=0.0)[:, None]
        # Where a key begins, what is computed is not used.
        fade = np.exp2(-np.maximum(since, 0) / np.asarray(HALF_LIVES)).astype(np.float32)
        accumulate(strength, fade, start)
    return Occurrences(key[start], start, group * len(clock) + snapshot, events.astype(np.float32), strength, clock)
