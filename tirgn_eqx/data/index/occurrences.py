"""When and how often keys occurred: one index answers for any keys at any time.

A key stands for anything that occurs with facts: a triple (s, r, o), a pair (s, o), a subject, a relation with an
object. Counts up to each occurrence are stored with it, so that what was known of a key before a snapshot is read at
its last occurrence before that snapshot. Features can therefore be made for any target, in any order.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

HALF_LIVES = (1.0, 4.0, 16.0, 64.0)  # in steps of the model's clock


@dataclass(frozen=True)
class Occurrences:
    """Every distinct (key, snapshot), in order of key and snapshot. A group is all occurrences of one key.

    `key`: int64 `(group,)`, ascending; `start`: int64 `(group,)`, first row of each group; `occurrence`: int64
    `(row,)`, ascending: group * num_snapshots + snapshot; `events`: float32 `(row,)`, events of the key up to and
    including this snapshot; `strength`: float32 `(row, half_life)`, the same events, each halved with every half-life
    of its age at this snapshot, or None; `clock`: float64 `(snapshot,)`, time of a snapshot in steps.

    For example, with 10 snapshots, key 5 at snapshots 0 and 2 and key 9 at snapshot 1 give `key` = [5, 9], `start` =
    [0, 2] and `occurrence` = [0, 2, 11]. The last row of key 9 (group 1) before snapshot 4 is the one before the place
    where 1 * 10 + 4 would be inserted: row 2.
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

    def last(self, groups: np.ndarray, before: int) -> np.ndarray:
        """int64: the row of each group's last occurrence before snapshot `before`, -1 where there is none."""
        # A row before the group's start belongs to another group: this key has not occurred yet. Group -1 has none.
        row = np.searchsorted(self.occurrence, groups * len(self.clock) + before) - 1
        return np.where((groups >= 0) & (row >= self.start[groups]), row, -1)

    def events_before(self, keys: np.ndarray, before: int) -> np.ndarray:
        """float64: how often each key occurred before snapshot `before`."""
        row = self.last(self.group(keys), before)
        return np.where(row >= 0, self.events[np.maximum(row, 0)], 0).astype(np.float64)

    def snapshots(self, rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """int64: in how many snapshots each group had occurred up to its row in `rows`."""
        return rows - self.start[groups] + 1

    @cached_property
    def _by_first(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.first_snapshot, kind="stable")
        return order, self.first_snapshot[order]

    def known_before(self, before: int) -> np.ndarray:
        """int64: the groups that occurred before snapshot `before`, in the order in which they first did."""
        return self._by_first[0][: self.num_known(before)]

    def num_known(self, before: int) -> int:
        """How many groups occurred before snapshot `before`."""
        return int(np.searchsorted(self._by_first[1], before))

    def age(self, rows: np.ndarray, now: float) -> np.ndarray:
        """float32: steps from `rows` to `now`."""
        # Subtracted in float64: times of a long clock may have more digits than float32 holds, ages rarely do.
        return (now - self._time[rows]).astype(np.float32)

    def faded(self, rows: np.ndarray, now: float) -> np.ndarray:
        """float32 `(row, half_life)`: the strengths of `rows`, faded further until `now`."""
        assert self.strength is not None
        return self.strength[rows] * np.exp2(-self.age(rows, now)[:, None] / np.array(HALF_LIVES, np.float32))


def count_first(first: np.ndarray, keys: np.ndarray, before: int, num_snapshots: int) -> np.ndarray:
    """int64: how many of `first`, ascending key * num_snapshots + first snapshot, each key has before snapshot
    `before`."""
    base = keys * num_snapshots
    return np.searchsorted(first, base + before) - np.searchsorted(first, base)


def find(table: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """int64: the position of each wanted value in the ascending `table`, -1 where it is missing."""
    if len(table) == 0:
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(table, wanted), len(table) - 1)
    return np.where(table[place] == wanted, place, -1)


def ranges(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(owner, member): the integers low[i] .. high[i] - 1 of every owner i, one owner after the other.

    For example, low = [3, 7] and high = [5, 8] give owner = [0, 0, 1] and member = [3, 4, 7].
    """
    length = high - low
    owner = np.repeat(np.arange(len(low)), length)
    return owner, np.arange(length.sum()) - np.repeat(np.cumsum(length) - length - low, length)


def accumulate(values: np.ndarray, fade: np.ndarray, start: np.ndarray) -> None:
    """Within each run of rows, add to every row the sum up to the row before, times the row's `fade`, in place.

    One run of values [1, 1, 1] with fade [_, 0.5, 0.5] becomes [1, 1.5, 1.75].

    **Arguments:** `start`: int64 `(run,)`, ascending, the first row of each run, whose `fade` is not used.
    """
    # All first rows of runs, then all second rows and so on: as many vector operations as the longest run has rows.
    place = np.arange(len(values)) - np.repeat(start, np.diff(start, append=len(values)))
    order = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[order], np.arange(1, place.max(initial=0) + 2))
    for begin, end in zip(bounds[:-1], bounds[1:]):
        rows = order[begin:end]
        values[rows] += values[rows - 1] * fade[rows]


def build_occurrences(key: np.ndarray, snapshot: np.ndarray, clock: np.ndarray, *, faded: bool = True) -> Occurrences:
    """Index events.

    **Arguments:** `key`, `snapshot`: int64 `(event,)`, in any order; `clock`: float64 `(snapshot,)`; `faded`: store
    the strengths.
    """
    # Equal facts of one snapshot become one row, which counts them.
    code, count = np.unique(key * len(clock) + snapshot, return_counts=True)
    key, snapshot = code // len(clock), code % len(clock)
    new = np.diff(key, prepend=-1) != 0
    start = np.flatnonzero(new)
    group = np.cumsum(new) - 1
    # Running totals, less what the keys before had in all: counts [2, 1 | 3] give [2, 3 | 3].
    total = np.cumsum(count)
    events = total - (total - count)[start][group]
    strength = None
    if faded:
        strength = np.repeat(count.astype(np.float32)[:, None], len(HALF_LIVES), 1)
        since = np.diff(clock[snapshot], prepend=0.0)[:, None]
        # Negative at the first row of a key, whose fade is not used.
        fade = np.exp2(-np.maximum(since, 0) / np.asarray(HALF_LIVES)).astype(np.float32)
        accumulate(strength, fade, start)
    return Occurrences(key[start], start, group * len(clock) + snapshot, events.astype(np.float32), strength, clock)
