"""Our sort of events beside DuckDB's `ORDER BY`: seconds and peak memory of each, in turn, in a process of its own.

Why: an ingest sorts events by time and id with bounded memory, in sorted runs that it merges (`ingest/sort.py`). DuckDB
sorts larger than memory too, so code of our own has to earn its place. Each reads the same shuffled table and writes a
sorted one in the same form: zstd, equal row groups. DuckDB runs without a limit of its memory and with one. Every
result is checked to hold all rows in order.

The table is that of `--data-path`, as `tirgn data ingest` wrote it, or one of made-up events. DuckDB is no dependency
of this project: `python -m pip install duckdb`.

    python -m benchmarks.event_sort
    python -m benchmarks.event_sort --data-path events.parquet --rounds 5
"""

import argparse
import hashlib
import importlib.util
import os
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import common
from benchmarks.common import note, table
from tirgn_eqx.ingest.gdelt_rows import GDELT
from tirgn_eqx.ingest.options import IngestOptions

ROWS, QUICK_ROWS = 5_000_000, 50_000
LIMIT = "1GB"  # of DuckDB's memory, where it has one; about what our sort takes
CASES = ("ours", "duckdb", f"duckdb within {LIMIT}")


def made_up(rows: int, seed: int) -> pl.DataFrame:
    """Events of a month with as many names as a real table has, in random order."""
    rng = np.random.default_rng(seed)
    names = np.array([f"ACTOR {number}" for number in range(6000)])
    codes = np.array([f"{number:03d}" for number in range(10, 205)])
    code, quad = rng.integers(0, len(codes), rows), rng.integers(1, 5, rows)
    quarter_hours = np.datetime64("2018-01-01", "us") + rng.integers(0, 2976, rows) * np.timedelta64(15, "m")

    def actors() -> np.ndarray:
        # A few actors take part in most events.
        return names[np.minimum(rng.pareto(0.7, rows), len(names) - 1).astype(int)]

    columns = {
        "entity1": actors(),
        "relation": np.char.add(codes[code], np.char.add("_Q", quad.astype(str))),
        "entity2": actors(),
        "timestamp": quarter_hours,
        "EventCode": codes[code],
        "QuadClass": quad,
        "GoldsteinScale": rng.normal(0, 5, rows),
        "NumMentions": rng.integers(1, 100, rows),
        "AvgTone": rng.normal(-2, 4, rows),
        "GlobalEventID": 700_000_000 + rng.permutation(rows),
    }
    schema = GDELT.schema(IngestOptions())
    return pl.DataFrame(columns).select(pl.col(name).cast(kind) for name, kind in schema.items())


def sort_ours(events: Path, out: Path) -> None:
    """Sort as an ingest does."""
    from tirgn_eqx.ingest.documents import TableState
    from tirgn_eqx.ingest.sort import Sorter
    from tirgn_eqx.ingest.table import read_frames, write_table

    sorter = Sorter(out.parent, GDELT.sort_key)
    for frame in read_frames(events):
        sorter.add(frame)
    write_table(out, sorter.merged, GDELT.schema(IngestOptions()), TableState(options={}))


def sort_duckdb(events: Path, out: Path, limit: str | None) -> None:
    """Sort by one statement of SQL, with what does not fit into memory in the folder of `out`."""
    import duckdb  # pyright: ignore[reportMissingImports]

    from tirgn_eqx.ingest.table import ROW_GROUP

    connection = duckdb.connect()
    connection.execute(f"SET temp_directory = '{out.parent}'")
    if limit is not None:
        connection.execute(f"SET memory_limit = '{limit}'")
    form = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP}"
    connection.execute(f"COPY (SELECT * FROM '{events}' ORDER BY {', '.join(GDELT.sort_key)}) TO '{out}' ({form})")


def child(case: str, events: Path, out: Path) -> None:
    """Sort in this process; seconds and peak memory on the last line."""
    from tirgn_eqx.runtime.malloc import keep_freed_memory

    begin, before = time.perf_counter(), common.peak_rss()
    if case == "ours":
        keep_freed_memory()  # as the command does
        sort_ours(events, out)
    else:
        sort_duckdb(events, out, None if case == "duckdb" else LIMIT)
    seconds, used = time.perf_counter() - begin, os.times()
    cpu = used.user + used.system
    common.finish(
        {"seconds": seconds, "cpu_seconds": cpu, "peak_rss_bytes": common.peak_rss(), "rss_bytes_before": before}
    )


def measure(case: str, events: Path, work: Path) -> common.Document:
    """The account of one sort in a process of its own, whose result is checked."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        out = Path(folder) / "sorted.parquet"
        words = ["--child", case, "--table", str(events), "--out", str(out)]
        found = common.run_module("benchmarks.event_sort", words)
        keys, expected = (pl.read_parquet(path, columns=list(GDELT.sort_key)) for path in (out, events))
        if not keys.equals(expected.sort(GDELT.sort_key)):
            sys.exit(f"{case}: the result is not the table in order")
        return found | {"table_bytes": out.stat().st_size}


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument(
        "--rows", type=int, metavar="N", help=f"made-up events (default: {ROWS:,}; quick: {QUICK_ROWS:,})"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="of all cases in turn (default: 3; quick: 1)")
    parser.add_argument("--child", metavar="CASE", help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.child, args.table, args.out)
    source = args.data_path
    args = common.finalize(args)
    if importlib.util.find_spec("duckdb") is None:
        parser.error("needs DuckDB, which is not installed: python -m pip install duckdb")
    common.commit()  # as it is now, however long this takes
    seed, rounds = args.seed or 0, args.rounds or (1 if args.quick else 3)
    accounts: dict[str, list[common.Document]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        events = Path(folder) / "events.parquet"
        rows = args.rows or (QUICK_ROWS if args.quick else ROWS)
        frame = (
            made_up(rows, seed)
            if source is None
            else pl.read_parquet(source).sample(fraction=1, shuffle=True, seed=seed)
        )
        frame.write_parquet(events, row_group_size=1 << 17)
        dataset = {"name": "made-up events" if source is None else Path(source).name, "facts": frame.height}
        dataset |= {"bytes": events.stat().st_size, "sha256": hashlib.sha256(events.read_bytes()).hexdigest()}
        del frame
        for number in range(rounds):
            # Another one begins each round, so that none always finds the file cache as the same one left it.
            for case in CASES[number % len(CASES) :] + CASES[: number % len(CASES)]:
                accounts[case].append(measure(case, events, Path(folder)))
                last = accounts[case][-1]
                note(f"round {number + 1}, {case}: {last['seconds']:.1f} s, {last['peak_rss_bytes'] / 2**20:,.0f} MiB")
    from tirgn_eqx.checkpoint.models import versions
    from tirgn_eqx.ingest.sort import BLOCK_ROWS, MAX_RUNS, RUN_ROWS

    result = {
        case: {
            **{
                name: common.spread([one[name] for one in found])
                for name in ("seconds", "cpu_seconds", "peak_rss_bytes")
            },
            "rss_bytes_before": found[0]["rss_bytes_before"],
            "table_bytes": found[0]["table_bytes"],
        }
        for case, found in accounts.items()
    }
    setting = {"rounds": rounds, "run_rows": RUN_ROWS, "block_rows": BLOCK_ROWS, "max_runs": MAX_RUNS, "limit": LIMIT}
    payload = {"dataset": dataset, "setting": setting, "seed": seed, "result": result}
    payload["versions"] = versions() | {name: metadata.version(name) for name in ("polars", "duckdb")}
    document = common.record(common.join_name("event-sort", args.tag), payload, args.results)
    table(
        f"{dataset['facts']:,} events sorted, medians of {rounds}",
        ["sort", "seconds", "CPU s", "peak MiB", "table MB"],
        [
            [
                case,
                found["seconds"]["median"],
                found["cpu_seconds"]["median"],
                found["peak_rss_bytes"]["median"] / 2**20,
                found["table_bytes"] / 1e6,
            ]
            for case, found in result.items()
        ],
    )
    common.finish(document)


if __name__ == "__main__":
    main()
