"""Sort events by time with bounded memory: sorted runs on disk, merged block by block.

Memory holds the rows of one run while runs are made, and one block of each run while they are merged.
"""

import io
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

Key = tuple[str, str]  # the columns of the time and of the id; a pair of values is unique
RUN_ROWS = 500_000  # events to sort in memory
# A merge holds a block of each run: at most 48 * 32,768 rows, about three times RUN_ROWS.
BLOCK_ROWS = 32_768  # events of a run to read at once
MAX_RUNS = 48  # runs to merge at once


class Sorter:
    """Takes events in any order and returns them in order of `key`.

    **Arguments:** `folder`: where runs are written; `key`: the columns to sort by; `rows`: events to sort in memory.
    """

    def __init__(self, folder: Path, key: Key, rows: int = RUN_ROWS):
        self._folder, self._key, self._rows = folder, key, rows
        self._waiting: list[pl.DataFrame] = []
        self._count = 0
        self._names = itertools.count()
        self._runs: list[SortedRun] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Add events."""
        self._waiting.append(frame)
        self._count += frame.height
        if self._count >= self._rows:
            self._spill()

    def merged(self, others: Iterable[Iterator[pl.DataFrame]] = ()) -> Iterator[pl.DataFrame]:
        """All events in order, merged with `others`, which are already in this order."""
        self._spill()
        # While runs are merged, each keeps a file open and a block in memory, so that too many are first merged into
        # fewer.
        while len(self._runs) > MAX_RUNS:
            first, self._runs = self._runs[:MAX_RUNS], self._runs[MAX_RUNS:]
            self._runs.append(self._write(merge([run.blocks() for run in first], self._key)))
            for run in first:
                run.path.unlink()
        yield from merge([*others, *(run.blocks() for run in self._runs)], self._key)

    def _spill(self) -> None:
        if self._count:
            frame = pl.concat(self._waiting).sort(self._key)
            self._waiting, self._count = [], 0
            self._runs.append(self._write([frame]))

    def _write(self, frames: Iterable[pl.DataFrame]) -> "SortedRun":
        run = SortedRun(self._folder / f"run-{next(self._names)}")
        run.write(frames)
        return run


class SortedRun:
    """Events on disk: blocks, each an Arrow file, one after the other in the file `path`."""

    def __init__(self, path: Path):
        self.path = path
        self._sizes: list[int] = []

    def write(self, frames: Iterable[pl.DataFrame]) -> None:
        """Write the frames one after the other."""
        with self.path.open("wb") as file:
            for frame in frames:
                for block in frame.iter_slices(BLOCK_ROWS):
                    # Into memory first: a block's size must be known to read it back.
                    buffer = io.BytesIO()
                    block.write_ipc(buffer)
                    self._sizes.append(file.write(buffer.getbuffer()))

    def blocks(self) -> Iterator[pl.DataFrame]:
        """The events, block by block."""
        with self.path.open("rb") as file:
            for size in self._sizes:
                yield pl.read_ipc(io.BytesIO(file.read(size)))


def merge(runs: list[Iterator[pl.DataFrame]], key: Key) -> Iterator[pl.DataFrame]:
    """The rows of several runs in order of `key`; each run is in this order already."""
    heads = [(head, run) for run in runs if (head := _next(run)) is not None]
    while heads:
        # No row that is still to be read sorts before the earliest last row of the present blocks.
        limit = min(_last(head, key) for head, _ in heads)
        taken, left = [], []
        # The block with the earliest last row is used up in every round, so that the loop ends.
        for head, run in heads:
            count = _count_up_to(head, limit, key)
            taken.append(head.head(count))
            rest = head.slice(count) if count < head.height else _next(run)
            if rest is not None:
                left.append((rest, run))
        heads = left
        taken = [frame for frame in taken if frame.height]
        # A single frame is in order already.
        yield taken[0] if len(taken) == 1 else pl.concat(taken).sort(key)


def _next(run: Iterator[pl.DataFrame]) -> pl.DataFrame | None:
    return next((frame for frame in run if frame.height), None)


def _last(frame: pl.DataFrame, key: Key) -> tuple:
    return frame.select(key).row(-1)


def _count_up_to(frame: pl.DataFrame, limit: tuple, key: Key) -> int:
    """The number of rows of a sorted frame up to and including `limit`."""
    time, number = limit
    if frame[key[0]][0] > time:
        return 0
    # Ids ascend only among the rows of one time.
    begin, end = (int(frame[key[0]].search_sorted(time, side=side)) for side in ("left", "right"))
    return begin + int(frame[key[1]].slice(begin, end - begin).search_sorted(number, side="right"))
