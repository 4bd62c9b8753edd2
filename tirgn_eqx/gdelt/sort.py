"""Events in order of time with bounded memory: sorted runs on disk, merged block by block.

Memory holds the rows of one run while runs are made, and a block of each run while they are merged.
"""

import io
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

KEY = ("timestamp", "GlobalEventID")  # no two events have the same
RUN = 500_000  # events that are sorted in memory
BLOCK = 32_768  # events of a run that are read at once
MOST_RUNS = 48  # that are merged at once


class Sorter:
    """Takes events in any order and gives them in order of `KEY`.

    **Arguments:** `folder`: where runs are kept; `rows`: events that are sorted in memory.
    """

    def __init__(self, folder: Path, rows: int = RUN):
        self._folder, self._rows = folder, rows
        self._waiting: list[pl.DataFrame] = []
        self._count = 0
        self._names = itertools.count()
        self._runs: list[Run] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Takes events."""
        self._waiting.append(frame)
        self._count += frame.height
        if self._count >= self._rows:
            self._spill()

    def merged(self, others: Iterable[Iterator[pl.DataFrame]] = ()) -> Iterator[pl.DataFrame]:
        """All events in order of `KEY`, with those of `others`, which are in this order already."""
        self._spill()
        while len(self._runs) > MOST_RUNS:
            first, self._runs = self._runs[:MOST_RUNS], self._runs[MOST_RUNS:]
            self._runs.append(self._write(merge([run.blocks() for run in first])))
            for run in first:
                run.path.unlink()
        yield from merge([*others, *(run.blocks() for run in self._runs)])

    def _spill(self) -> None:
        if self._count:
            frame = pl.concat(self._waiting).sort(KEY)
            self._waiting, self._count = [], 0
            self._runs.append(self._write([frame]))

    def _write(self, frames: Iterable[pl.DataFrame]) -> "Run":
        run = Run(self._folder / f"run-{next(self._names)}")
        run.write(frames)
        return run


class Run:
    """Events on disk in blocks, each an Arrow file of its own inside one file. **Arguments:** `path`: that file."""

    def __init__(self, path: Path):
        self.path = path
        self._sizes: list[int] = []

    def write(self, frames: Iterable[pl.DataFrame]) -> None:
        """Writes the frames one after the other."""
        with self.path.open("wb") as file:
            for frame in frames:
                for block in frame.iter_slices(BLOCK):
                    buffer = io.BytesIO()
                    block.write_ipc(buffer)
                    self._sizes.append(file.write(buffer.getbuffer()))

    def blocks(self) -> Iterator[pl.DataFrame]:
        """The events, block by block."""
        with self.path.open("rb") as file:
            for size in self._sizes:
                yield pl.read_ipc(io.BytesIO(file.read(size)))


def merge(runs: list[Iterator[pl.DataFrame]]) -> Iterator[pl.DataFrame]:
    """The rows of all runs, each in order of `KEY`, in this order."""
    heads = [(head, run) for run in runs if (head := _next(run)) is not None]
    while heads:
        # Nothing that is still to come sorts before the earliest end of the blocks at hand.
        limit = min(_last(head) for head, _ in heads)
        taken, left = [], []
        for head, run in heads:
            count = _count_up_to(head, limit)
            taken.append(head.head(count))
            rest = head.slice(count) if count < head.height else _next(run)
            if rest is not None:
                left.append((rest, run))
        heads = left
        taken = [frame for frame in taken if frame.height]
        yield taken[0] if len(taken) == 1 else pl.concat(taken).sort(KEY)


def _next(run: Iterator[pl.DataFrame]) -> pl.DataFrame | None:
    return next((frame for frame in run if frame.height), None)


def _last(frame: pl.DataFrame) -> tuple:
    return frame.select(KEY).row(-1)


def _count_up_to(frame: pl.DataFrame, limit: tuple) -> int:
    """How many rows of a sorted frame are not after `limit`."""
    time, number = limit
    if frame["timestamp"][0] > time:
        return 0
    begin, end = (int(frame["timestamp"].search_sorted(time, side=side)) for side in ("left", "right"))
    return begin + int(frame["GlobalEventID"].slice(begin, end - begin).search_sorted(number, side="right"))
