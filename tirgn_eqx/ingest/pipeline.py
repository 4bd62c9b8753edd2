"""Raw files on their way to the table: read in packs, counted file by file, cleaned, and sorted on the disk."""

import bisect
import hashlib
import itertools
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from tirgn_eqx.errors import printable
from tirgn_eqx.ingest.clean import clean_rows
from tirgn_eqx.ingest.counts import RowCounts
from tirgn_eqx.ingest.documents import (
    CommonReason,
    FilesSummary,
    RejectedLine,
    TableState,
    UnreadableFile,
    split_reason,
)
from tirgn_eqx.ingest.event_format import EventFormat
from tirgn_eqx.ingest.formats import recognize
from tirgn_eqx.ingest.headers import HeaderReader
from tirgn_eqx.ingest.lines import ParsedLines, Reject, parse_lines
from tirgn_eqx.ingest.options import IngestOptions
from tirgn_eqx.ingest.repeats import RepeatsFile
from tirgn_eqx.ingest.sort import Sorter
from tirgn_eqx.ingest.sources import Block, Source, Unreadable, checksum, read_blocks
from tirgn_eqx.ingest.table import read_ids, read_state
from tirgn_eqx.storage.table_probe import kept

REJECTS_HEADER = b"file\tline\treason\traw\n"
REJECTS_SHOWN = 20
_DAY = 86_400


class FileEnd(NamedTuple):
    """The end of a file: the sha256 of its bytes, or why it could not be read, or neither if it was known before."""

    source: Source
    checksum: str = ""
    fault: str = ""


Pack = list[Block | FileEnd]


class Pipeline:
    """Takes raw files to sorted events, and counts on the way.

    **Arguments:** `out`: the table, made by earlier ingests or not yet there; `source`: the one of the options;
    `folder`: an empty folder for temporary files; `run_rows`: events to sort in memory; `block_bytes`: bytes to read at
    once.
    """

    def __init__(
        self, out: Path, options: IngestOptions, source: EventFormat, folder: Path, run_rows: int, block_bytes: int
    ):
        self.out, self.options, self.source, self.folder, self.block_bytes = out, options, source, folder, block_bytes
        # One helper process checks both files.
        with kept():
            before = read_state(out, options, source)
            self.exists = before is not None
            self.state = before or TableState(options=options.to_dict())
            (folder / "repeats").mkdir()
            self.repeats = RepeatsFile(out, source, self.state.ingests, folder / "repeats", run_rows)
        self.sources = set(self.state.sources)
        in_table = read_ids(out, source) if self.exists else ()
        self.known_ids = KnownIds(itertools.chain(in_table, self.repeats.read_ids()))
        self.rejects_file = out.with_suffix(".rejects.tsv")
        self.rejects = RejectsFile(folder / "rejects", self.rejects_file, self.state.rejects_bytes)
        self.counts, self.sorter, self.files = RowCounts(), Sorter(folder, source.sort_key, run_rows), FilesSummary()
        self.file = FileCounts(self.rejects.mark())
        self.reader = HeaderReader(source, options)
        self._known_sizes = {(name, size) for name, size, _ in self.sources}

    def read_packs(self, sources: list[Source]) -> Iterator[Pack]:
        """The blocks and ends of all files; small files share a pack of about one block. A pack has one header."""
        pack, size, header = [], 0, b""
        for source in sources:
            try:
                name = (source.path.name, source.size)
                # The checksum reads the whole file, so it is taken only where name and size are known.
                if name in self._known_sizes and (*name, checksum(source.path)) in self.sources:
                    pack.append(FileEnd(source))
                    continue
                digest = hashlib.sha256()
                for block in self.reader.split(source, read_blocks(source, digest, self.block_bytes)):
                    if size and block.header != header:
                        yield pack
                        pack, size = [], 0
                    header = block.header
                    pack.append(block)
                    size += len(block.data)
                    if size >= self.block_bytes:
                        yield pack
                        pack, size = [], 0
                pack.append(FileEnd(source, checksum=digest.hexdigest()))
            except Unreadable as error:
                pack.append(FileEnd(source, fault=str(error)))
        yield pack

    def add(self, pack: Pack, parsed: ParsedLines) -> None:
        """Count a pack, block by block, write its rejects, and keep its new events."""
        line = byte = 0
        for part in pack:
            if isinstance(part, FileEnd):
                self._end_file(part)
                continue
            byte += len(part.data)
            # The newlines before `byte` are those of all blocks up to this one.
            begin, line = line, int(np.searchsorted(parsed.ends, byte))
            # (number,) sorts before every reject of that line.
            first, after = (bisect.bisect_left(parsed.rejects, (number,)) for number in (begin, line))
            # Lines count from 0 in a pack, and from 1 in a file.
            before = self.file.lines_before(part, line - begin) + 1 - begin
            rejects = [Reject(number + before, reason, raw) for number, reason, raw in parsed.rejects[first:after]]
            self.rejects.add(part.part, rejects)
            filled = int(parsed.filled[begin:line].sum())
            self.file.add(filled, line - begin - filled, rejects, int(parsed.fitting[begin:line].sum()))
            if outside := self._count_outside(part.part, parsed.frame, begin, line):
                self.counts.noted["outside_file"] += outside
        self.counts.add_parsed(parsed)
        events = clean_rows(parsed.frame, self.options, self.source)
        new = self.known_ids.add(self.source.identity(events.frame))
        self.counts.add_events(events, new)
        self.sorter.add(events.frame.filter(pl.Series(new, dtype=pl.Boolean)))

    def _count_outside(self, part: str, rows: pl.DataFrame, begin: int, end: int) -> int:
        """How many rows of the lines from `begin` to `end` are of a day that a file of this name cannot hold."""
        if (days := self.source.file_days(part)) is None:
            return 0
        first, last = (int(rows["line"].search_sorted(number)) for number in (begin, end))
        return int((~(rows["time"].slice(first, last - first) // _DAY).is_between(*days)).sum())

    def _end_file(self, end: FileEnd) -> None:
        file, fault = self.file, end.fault
        if file.filled and not file.fitting:
            # A file of another kind has contributed nothing but rejects.
            self.rejects.reset(file.mark)
            fault = recognize(file.first_raw) or f"no line is one of {self.source.title}'s; the first: {file.first}"
        self.files.found += 1
        if fault:
            self.files.unreadable.append(UnreadableFile(file=end.source.name, reason=fault))
        elif not end.checksum:
            self.files.already_in_table += 1
        else:
            self.files.read += 1
            self.files.empty += not file.filled
            self.counts.add_lines(file.filled, file.blank, file.rejects)
            # The name without its folder, so that files are recognised after a move.
            self.sources.add((end.source.path.name, end.source.size, end.checksum))
        self.file = FileCounts(self.rejects.mark())


def parse_ahead(packs: Iterator[Pack], reader: HeaderReader) -> Iterator[tuple[Pack, ParsedLines]]:
    """Each pack with its parsed lines, which a thread prepares while the pack before is processed."""

    def parse_next() -> tuple[Pack, ParsedLines] | None:
        pack = next(packs, None)
        if pack is None:
            return None
        blocks = [part for part in pack if isinstance(part, Block)]
        form = reader.form(blocks[-1].header if blocks else b"")
        return pack, parse_lines(b"".join(block.data for block in blocks), form)

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(parse_next)
        while (now := coming.result()) is not None:
            coming = pool.submit(parse_next)
            yield now


class RejectsMark(NamedTuple):
    """A state of a `RejectsFile` to return to."""

    end: int
    reasons: Counter[str]
    first: list[RejectedLine]
    examples: dict[str, RejectedLine]


class RejectsFile:
    """A new rejects file, which holds every malformed line with its place and the reason.

    It begins with the rejects of earlier ingests. **Arguments:** `path`: the new file; `earlier`: the old file, if any;
    `size`: how many of its bytes belong to the table; an ingest that was interrupted may have written more.
    """

    def __init__(self, path: Path, earlier: Path, size: int):
        self.path, self.size = path, 0
        self.reasons: Counter[str] = Counter()
        self.first: list[RejectedLine] = []
        self._examples: dict[str, RejectedLine] = {}  # the first line with each reason
        self._file = path.open("w+b")
        if size and earlier.is_file():
            with earlier.open("rb") as old:
                shutil.copyfileobj(old, self._file)
            self._file.truncate(min(size, self._file.tell()))
            self._file.seek(0, 2)
        if not self._file.tell():
            self._file.write(REJECTS_HEADER)

    def add(self, name: str, rejects: Iterable[Reject]) -> None:
        """Write rejects of the file `name`."""
        name = printable(name)
        for line, reason, raw in rejects:
            reason = printable(reason)
            self._file.write(f"{name}\t{line}\t{reason}\t".encode() + raw + b"\n")
            # Some reasons begin with the name of a column; all values in that column count as one reason.
            kind = split_reason(reason)[0] if reason[:1].isupper() else reason
            self.reasons[kind] += 1
            if kind not in self._examples or len(self.first) < REJECTS_SHOWN:
                reject = RejectedLine(file=name, line=line, reason=reason)
                self._examples.setdefault(kind, reject)
                if len(self.first) < REJECTS_SHOWN:
                    self.first.append(reject)

    def find_most_common(self) -> CommonReason | None:
        """The most common reason, with the first line that has it."""
        if not self.reasons:
            return None
        kind, count = self.reasons.most_common(1)[0]
        return CommonReason(**vars(self._examples[kind]), count=count)

    def mark(self) -> RejectsMark:
        """The present state, for `reset`."""
        return RejectsMark(self._file.tell(), Counter(self.reasons), list(self.first), dict(self._examples))

    def reset(self, mark: RejectsMark) -> None:
        """Remove what was added since `mark`."""
        end, self.reasons, self.first, self._examples = mark
        self._file.seek(end)
        self._file.truncate()

    def close(self) -> None:
        """Close the file and set `size` to its number of bytes, or to 0 if it holds no rejects."""
        size = self._file.tell()
        self._file.close()
        self.size = size if size > len(REJECTS_HEADER) else 0


class FileCounts:
    """Counts of the file that is being read. **Arguments:** `mark`: the state of the rejects at its beginning."""

    def __init__(self, mark: RejectsMark):
        self.mark = mark
        self.filled = self.blank = self.rejects = self.fitting = 0
        self.first = self._part = ""
        self.first_raw = b""
        self._lines = 0

    def lines_before(self, block: Block, lines: int) -> int:
        """The number of lines in this part of the file before the `lines` of a block."""
        before = self._lines if block.part == self._part else bool(block.header)
        self._part, self._lines = block.part, before + lines
        return before

    def add(self, filled: int, blank: int, rejects: list[Reject], fitting: int) -> None:
        """Add a block's lines: filled, blank, malformed, and those with a number of columns that GDELT uses."""
        self.filled, self.blank, self.fitting = self.filled + filled, self.blank + blank, self.fitting + fitting
        if rejects and not self.first:
            _, self.first, self.first_raw = rejects[0]
        self.rejects += len(rejects)


class KnownIds:
    """A growing set of int64 ids, 8 bytes each: sorted arrays, each at least twice as long as the next.

    **Arguments:** `batches`: arrays of distinct ids to begin with.
    """

    def __init__(self, batches: Iterable[np.ndarray] = ()):
        self._levels: list[np.ndarray] = []
        for ids in batches:
            self._insert(np.sort(ids))

    def add(self, ids: np.ndarray) -> np.ndarray:
        """Add `ids` `(row,)`.

        **Returns:** bool `(row,)`, True where an id occurs for the first time, within `ids` too.
        """
        # The first row of each id, so that its repetitions within `ids` are not new.
        distinct, first = np.unique(ids, return_index=True)
        new = np.ones(len(distinct), bool)
        for level in self._levels:
            # Ids of most sources grow with time, so that most levels end before the new ids begin.
            if len(distinct) and distinct[-1] >= level[0] and distinct[0] <= level[-1]:
                # An id beyond the end is compared with the last one of the level, which differs.
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
        # Lengths at least double from level to level, so that there are few levels and few merges of each id.
        while len(self._levels) > 1 and len(self._levels[-2]) < 2 * len(self._levels[-1]):
            last = self._levels.pop()
            # A stable sort merges sorted stretches instead of sorting them again.
            self._levels[-1] = np.sort(np.concatenate([self._levels[-1], last]), kind="stable")
