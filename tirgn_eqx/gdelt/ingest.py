"""Raw event files into an event table: cleaned, without repetitions, in order of time, with a report."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl

from tirgn_eqx.errors import DataError
from tirgn_eqx.gdelt.options import IngestOptions
from tirgn_eqx.gdelt.report import UNITS, TableCounts, malformed_in_words, merged_ranges, missing
from tirgn_eqx.gdelt.run import Run, ahead
from tirgn_eqx.gdelt.sort import RUN
from tirgn_eqx.gdelt.sources import BLOCK, find_sources
from tirgn_eqx.gdelt.table import read_frames, write_table
from tirgn_eqx.gdelt.workplace import workplace
from tirgn_eqx.storage.atomic_write import flush

Progress = Callable[[dict[str, int]], None]


def ingest(
    paths: Iterable[str | Path],
    out: str | Path,
    options: IngestOptions | None = None,
    *,
    on_progress: Progress | None = None,
    block_bytes: int = BLOCK,
    run_rows: int = RUN,
) -> dict[str, Any]:
    """Adds raw event files to the event table `out`, and returns the report.

    Beside `NAME.parquet` stands `NAME.rejects.tsv` with every malformed line. The table is replaced whole, at the
    end: a run that is broken off at any moment leaves it as it was. Files that are in the table already (same
    name, size and checksum) are passed over, and so are events whose GlobalEventID it holds. A file that cannot be
    read is named in the report under `files.unreadable`, leaves nothing in the table, and stops no other.

    Memory grows with the number of distinct names, with 8 bytes per event for its GlobalEventID, and with the
    events of a single time; all else is bounded by `block_bytes` and `run_rows`.

    **Arguments:**

    - `paths`: raw files, or folders that hold them (see `find_sources`).
    - `out`: the table, made where there is none.
    - `options`: what events are made of; of a table that is there, the same as then. None takes the defaults.
    - `on_progress`: called after each block with the number of `files` done, `of` how many, and `rows` read.
    - `block_bytes`: bytes that are read at once; `run_rows`: events that are sorted in memory. Neither changes
      the table.

    **Raises:** ConfigError for a table that was made with other options or by something else; DataError for
    paths without files, where there would be no events at all, and while another ingest works on the table.
    """
    out = Path(os.path.expanduser(out))
    options = options or IngestOptions()
    found = find_sources(paths)
    out.parent.mkdir(parents=True, exist_ok=True)
    with workplace(out) as folder:
        run = Run(out, options, folder, run_rows, block_bytes)
        with closing(run.rejects):
            for pack, rows in ahead(run.packs(found), options):
                run.add(pack, rows)
                if on_progress is not None:
                    rows_read = run.counts.rows["read"] + run.file.filled
                    on_progress({"files": run.files["found"], "of": len(found), "rows": rows_read})
        return _finish(run)


def _finish(run: Run) -> dict[str, Any]:
    """Puts the new table in the place of the old one if there is anything new, and saves the report."""
    state, totals = run.state, run.counts.plus(run.state["totals"])
    seen = {name: merged_ranges(state["seen"][name], run.counts.seen[name]) for name in UNITS}
    table = TableCounts(run.options.keep_duplicates)
    written = bool(run.files["read"] and (run.exists or run.counts.rows["accepted"]))
    if written:
        state = {
            "sources": sorted(run.sources),
            "rejects_bytes": run.rejects.size,
            "seen": seen,
            "totals": totals,
        }
        write_table(run.folder / "table", lambda: table(_events(run)), state, run.options)
    elif run.exists:
        for _ in table(read_frames(run.out)):
            pass
    report = {
        "table": run.out.name,
        "written": written,
        "options": run.options.to_dict(),
        "files": run.files,
        "rows": dict(run.counts.rows),
        "malformed": {
            "reasons": dict(run.rejects.reasons),
            "first": run.rejects.first,
            "most": run.rejects.most(),
            "file": str(run.rejects_file) if run.rejects.reasons else None,
        },
        "late": dict(run.counts.late),
        "events": table.to_dict(totals["rows"]["accepted"]),
        "missing": {name: missing(seen[name], unit) for name, unit in UNITS.items()},
        "totals": totals,
    }
    _publish(run, report)
    if not written and not run.exists:
        raise DataError(f"{run.out}: no events to write; {_nothing(report)}")
    return report


def _events(run: Run) -> Iterator[pl.DataFrame]:
    return run.sorter.merged([read_frames(run.out)] if run.exists else [])


def _publish(run: Run, report: dict[str, Any]) -> None:
    """Moves what was written into its place. The table comes after its rejects: it says how long they are."""
    moves = []
    if run.rejects.size and (report["written"] or not run.exists):
        flush(run.rejects.path)
        moves.append((run.rejects.path, run.rejects_file))
    if report["written"]:
        moves.append((run.folder / "table", run.out))
    text = run.folder / "report"
    text.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    flush(text)
    for new, place in (*moves, (text, run.out.with_suffix(".report.json"))):
        os.replace(new, place)
    flush(run.out.parent)


def _nothing(report: dict[str, Any]) -> str:
    """Why there are no events, in words."""
    found, rows = report["files"], report["rows"]
    if found["unreadable"]:
        count, first = len(found["unreadable"]), found["unreadable"][0]
        return f"{count} of {found['found']} files cannot be read, first {first['file']}: {first['reason']}"
    if rows["malformed"] and rows["malformed"] == rows["read"]:
        return malformed_in_words(report)
    told = [f"{count:,} {name.replace('_', ' ')}" for name, count in rows.items() if count]
    return f"{', '.join(told) or 'all files are empty'}; give other files or fewer filters"
