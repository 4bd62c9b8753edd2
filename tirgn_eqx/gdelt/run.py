"""Files on their way to the table: read in packs, counted file by file, cleaned, and sorted on the disk."""

import bisect
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from tirgn_eqx.gdelt import sources as files
from tirgn_eqx.gdelt.clean import clean_rows
from tirgn_eqx.gdelt.known import KnownIds
from tirgn_eqx.gdelt.options import IngestOptions
from tirgn_eqx.gdelt.read import Reject, Rows, read_lines
from tirgn_eqx.gdelt.rejects import Rejects
from tirgn_eqx.gdelt.report import Counts
from tirgn_eqx.gdelt.sort import Sorter
from tirgn_eqx.gdelt.table import empty_state, read_ids, read_state


class End(NamedTuple):
    """The end of a file: the sha256 of its bytes, or why it could not be read, or neither where it was known."""

    source: files.Source
    checksum: str = ""
    fault: str = ""


Pack = list[files.Block | End]


class Run:
    """One ingest: what it has read so far, and how it ends."""

    def __init__(self, out: Path, options: IngestOptions, folder: Path, run_rows: int, block_bytes: int):
        self.out, self.options, self.folder, self.block_bytes = out, options, folder, block_bytes
        before = read_state(out, options)
        self.exists = before is not None
        self.state = before or empty_state()
        self.sources = {tuple(source) for source in self.state["sources"]}
        self.sizes = {source[:2] for source in self.sources}
        self.known = KnownIds(read_ids(out) if self.exists else ())
        self.rejects_file = out.with_suffix(".rejects.tsv")
        self.rejects = Rejects(folder / "rejects", self.rejects_file, self.state["rejects_bytes"])
        self.counts, self.sorter = Counts(), Sorter(folder, run_rows)
        self.files: dict[str, Any] = {"found": 0, "read": 0, "empty": 0, "already_in_table": 0, "unreadable": []}
        self.file = FileCounts(self.rejects.mark())

    def packs(self, found: list[files.Source]) -> Iterator[Pack]:
        """The blocks and ends of all files, small files together in packs of about a block."""
        pack, size = [], 0
        for source in found:
            try:
                name = (source.path.name, source.size)
                if name in self.sizes and (*name, files.checksum(source.path)) in self.sources:
                    pack.append(End(source))
                    continue
                digest = hashlib.sha256()
                for block in files.read_blocks(source, digest, self.block_bytes):
                    pack.append(block)
                    size += len(block.data)
                    if size >= self.block_bytes:
                        yield pack
                        pack, size = [], 0
                pack.append(End(source, checksum=digest.hexdigest()))
            except files.Unreadable as error:
                pack.append(End(source, fault=str(error)))
        yield pack

    def add(self, pack: Pack, rows: Rows) -> None:
        """Counts a pack, block by block, sets its rejects aside and keeps its new events."""
        line = byte = 0
        for part in pack:
            if isinstance(part, End):
                self._end(part)
                continue
            byte += len(part.data)
            begin, line = line, int(np.searchsorted(rows.ends, byte))
            first, after = (bisect.bisect_left(rows.rejects, (number,)) for number in (begin, line))
            before = self.file.lines_before(part.part, line - begin) + 1 - begin
            rejects = [Reject(number + before, reason, raw) for number, reason, raw in rows.rejects[first:after]]
            self.rejects.add(part.part, rejects)
            filled = int(rows.filled[begin:line].sum())
            self.file.count(filled, line - begin - filled, rejects, int(rows.fitting[begin:line].sum()))
        self.counts.add_rows(rows)
        events = clean_rows(rows.frame, self.options)
        new = self.known.add(events.frame["GlobalEventID"].to_numpy())
        self.counts.add_events(events, new)
        self.sorter.add(events.frame.filter(pl.Series(new, dtype=pl.Boolean)))

    def _end(self, end: End) -> None:
        """Settles what becomes of a file."""
        file, fault = self.file, end.fault
        if file.filled and not file.fitting:
            # A file of another kind has brought nothing but rejects.
            self.rejects.back_to(file.mark)
            fault = f"no line is one of GDELT's; the first: {file.first}"
        self.files["found"] += 1
        if fault:
            self.files["unreadable"].append({"file": end.source.name, "reason": fault})
        elif not end.checksum:
            self.files["already_in_table"] += 1
        else:
            self.files["read"] += 1
            self.files["empty"] += not file.filled
            self.counts.add_lines(file.filled, file.blank, file.rejects)
            self.sources.add((end.source.path.name, end.source.size, end.checksum))
        self.file = FileCounts(self.rejects.mark())


class FileCounts:
    """Counts of the file that is being read. **Arguments:** `mark`: where the rejects stood at its beginning."""

    def __init__(self, mark: tuple):
        self.mark = mark
        self.filled = self.blank = self.rejects = self.fitting = 0
        self.first = self._part = ""
        self._lines = 0

    def lines_before(self, part: str, lines: int) -> int:
        """How many lines of this part of the file came before these `lines`."""
        before = self._lines if part == self._part else 0
        self._part, self._lines = part, before + lines
        return before

    def count(self, filled: int, blank: int, rejects: list[Reject], fitting: int) -> None:
        """Adds a block's lines: that hold something, that are blank, its rejects, and lines of GDELT's width."""
        self.filled, self.blank, self.fitting = self.filled + filled, self.blank + blank, self.fitting + fitting
        self.first = self.first or (rejects[0].reason if rejects else "")
        self.rejects += len(rejects)


def ahead(packs: Iterator[Pack], options: IngestOptions) -> Iterator[tuple[Pack, Rows]]:
    """Each pack with its rows, read in a thread while the one before is at work."""

    def read() -> tuple[Pack, Rows] | None:
        pack = next(packs, None)
        if pack is None:
            return None
        return pack, read_lines(b"".join(part.data for part in pack if isinstance(part, files.Block)), options)

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(read)
        while (now := coming.result()) is not None:
            coming = pool.submit(read)
            yield now
