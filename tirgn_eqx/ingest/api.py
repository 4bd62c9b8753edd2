"""Ingest raw event files into an event table: cleaned, without repetitions, in order of time, with a report."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tirgn_eqx.errors import DataError
from tirgn_eqx.ingest.counts import DAY, QUARTER_HOUR, TableCounts, find_gaps
from tirgn_eqx.ingest.documents import IngestReport, MalformedSummary, TableState
from tirgn_eqx.ingest.formats import FORMATS
from tirgn_eqx.ingest.options import IngestOptions
from tirgn_eqx.ingest.pipeline import Pipeline, parse_ahead
from tirgn_eqx.ingest.sort import RUN_ROWS
from tirgn_eqx.ingest.sources import BLOCK_BYTES, find_sources
from tirgn_eqx.ingest.table import read_frames, write_table
from tirgn_eqx.storage.atomic_write import flush
from tirgn_eqx.storage.locks import exclusive_lock


@dataclass(frozen=True)
class IngestProgress:
    """How far an ingest is: `files` of `total` are done, and so many `rows` were read."""

    files: int
    total: int
    rows: int


def ingest(
    paths: Iterable[str | Path],
    out: str | Path,
    options: IngestOptions | None = None,
    *,
    on_progress: Callable[[IngestProgress], None] | None = None,
    block_bytes: int = BLOCK_BYTES,
    run_rows: int = RUN_ROWS,
) -> IngestReport:
    """Add raw event files to the event table `out`.

    Beside `NAME.parquet` stand `NAME.rejects.tsv` with every malformed line, `NAME.repeats.parquet` with the ids of the
    events that repeat a fact and are left out, and `NAME.report.json` with the report. The table is replaced as a whole
    at the end, so that an interrupted ingest leaves it unchanged. Files that are in the table already (same name, size
    and checksum) are skipped, and so are events whose id it holds or has left out: the table is the same however the
    files are divided among ingests. A file that cannot be read is listed in the report, contributes nothing, and stops
    no other file.

    Memory grows with the number of distinct names, with 8 bytes per event for its id, and with the events of a single
    time; everything else is bounded by `block_bytes` and `run_rows`.

    **Arguments:**

    - `paths`: raw files, or folders that hold them (see `find_sources`).
    - `out`: the table, made if there is none.
    - `options`: the source of the files and how events become facts; for an existing table the same as before. None
      takes the defaults.
    - `on_progress`: called after each block.
    - `block_bytes`: bytes to read at once; `run_rows`: events to sort in memory. Neither changes the table.

    **Returns:** the report.

    **Raises:** ConfigError for a table that was made with other options or by something else; DataError for paths
    without files, if there would be no events at all, and while another ingest works on the table.
    """
    out = Path(os.path.expanduser(out))
    options = options or IngestOptions()
    source = FORMATS[options.source]
    found = find_sources(paths, source.names, source.examples)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _work_folder(out) as folder:
        pipeline = Pipeline(out, options, source, folder, run_rows, block_bytes)
        with closing(pipeline.rejects):
            for pack, parsed in parse_ahead(pipeline.read_packs(found), pipeline.reader):
                pipeline.add(pack, parsed)
                if on_progress is not None:
                    rows = pipeline.counts.rows["read"] + pipeline.file.filled
                    on_progress(IngestProgress(pipeline.files.found, len(found), rows))
        return _finish(pipeline)


def _finish(pipeline: Pipeline) -> IngestReport:
    """Replace the table if there is anything new, and save the report."""
    counts, rejects = pipeline.counts, pipeline.rejects
    totals, seen = counts.add_to(pipeline.state.totals), counts.merge_seen(pipeline.state.seen)
    table, repeats = TableCounts(pipeline.options.keep_duplicates, pipeline.repeats.add), pipeline.repeats
    moves: list[tuple[Path, Path]] = []
    # An existing table records files without new events too, so that they are not read again.
    written = bool(pipeline.files.read and (pipeline.exists or counts.rows["accepted"]))
    if written:
        state = TableState(
            options=pipeline.state.options,
            sources=sorted(pipeline.sources),
            rejects_bytes=rejects.size,
            ingests=pipeline.state.ingests + 1,
            seen=seen,
            totals=totals,
        )
        # The table that is there is in order already, and is merged with the new events.
        before = [read_frames(pipeline.out)] if pipeline.exists else []
        schema = pipeline.source.schema(pipeline.options)
        write_table(pipeline.folder / "table", lambda: table(pipeline.sorter.merged(before)), schema, state)
        if repeats.write():
            moves.append((repeats.path, repeats.place))
    elif pipeline.exists:
        # Nothing is new: the table is read only to count what the report says of it.
        for _ in table(read_frames(pipeline.out)):
            pass
    report = IngestReport(
        table=pipeline.out.name,
        written=written,
        options=pipeline.state.options,
        files=pipeline.files,
        rows=counts.rows,
        malformed=MalformedSummary(
            reasons=rejects.reasons,
            first=rejects.first,
            most=rejects.find_most_common(),
            file=str(pipeline.rejects_file) if rejects.reasons else None,
        ),
        late=counts.late,
        noted=counts.noted,
        events=table.summarize(totals.rows["accepted"], repeats.count),
        missing={"quarter_hours": find_gaps(seen.quarter_hours, QUARTER_HOUR), "days": find_gaps(seen.days, DAY)},
        totals=totals,
    )
    _publish(pipeline, report, moves)
    if not written and not pipeline.exists:
        raise DataError(f"{pipeline.out}: no events to write; {report.explain_nothing()}")
    return report


def _publish(pipeline: Pipeline, report: IngestReport, moves: list[tuple[Path, Path]]) -> None:
    """Move `moves` and the other new files into place. The table comes last, because it records which part of the
    others is its own."""
    # A table that stays as it is keeps its rejects too, because it records their length.
    if pipeline.rejects.size and (report.written or not pipeline.exists):
        flush(pipeline.rejects.path)
        moves.append((pipeline.rejects.path, pipeline.rejects_file))
    if report.written:
        moves.append((pipeline.folder / "table", pipeline.out))
    text = pipeline.folder / "report"
    text.write_text(json.dumps(report.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
    flush(text)
    for new, place in (*moves, (text, pipeline.out.with_suffix(".report.json"))):
        os.replace(new, place)
    flush(pipeline.out.parent)


@contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    """An empty hidden folder beside `out`, for one ingest at a time, removed at the end.

    **Raises:** DataError while another ingest works on the same table.
    """
    folder, lock = out.with_name(f".{out.name}.ingest"), out.with_name(f".{out.name}.lock")
    busy = DataError(f"{out}: another ingest is at work on this table; wait for its end")
    with exclusive_lock(lock, busy):
        shutil.rmtree(folder, ignore_errors=True)  # left by an ingest that was killed
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # Windows deletes it with the release
                lock.unlink()
