"""Speed and memory of `tirgn data ingest`: ten million raw rows into an event table.

Why: a year of GDELT is about a hundred million rows, and memory must not grow with them. Real rows (or made-up ones
where there are none) are repeated with new ids and times, once as a file for every quarter of an hour, as GDELT
gives them, and once as a single file. Each is ingested by a process of its own; after the first also a run that
finds one new file, and one that finds none. Of ICEWS and POLECAT all rows are made up after their codebooks, a million
by default, with a file for every day.

    python -m benchmarks.ingest --data-path data/gdelt_raw/v2
    python -m benchmarks.ingest --source icews
"""

import argparse
import datetime as dt
import hashlib
import os
import random
import tempfile
import time
from importlib import metadata
from pathlib import Path

from benchmarks import common
from benchmarks.common import note, table

QUARTER = dt.timedelta(minutes=15)
BEGIN = dt.datetime(2018, 1, 1)


def source_rows(place: str | None) -> tuple[str, list[bytes]]:
    """(name, rows) of 61 columns: all in `place`, else made-up ones."""
    if place is not None and Path(place).is_dir():
        lines = [line for file in sorted(Path(place).iterdir()) for line in file.read_bytes().splitlines()]
        rows = [line for line in lines if line.count(b"\t") == 60]
        if rows:
            return "/".join(Path(place).resolve().parts[-2:]), rows
    return "made-up rows", [made_up(random.Random(number)) for number in range(20_000)]


def made_up(chance: random.Random) -> bytes:
    """A row with about as many actors, codes and letters as a real one."""
    fields = [""] * 61

    def actor():
        return f"ACTOR {min(int(chance.paretovariate(0.7)), 3000)}" if chance.random() < 0.79 else ""

    code = f"{chance.randint(1, 20):02d}{chance.randint(0, 9)}"
    late = dt.timedelta(days=0 if chance.random() < 0.97 else chance.choice([1, 7, 30, 365]))
    fields[:5] = ["1", f"{BEGIN - late:%Y%m%d}", "201801", "2018", "2018.0027"]
    fields[6], fields[16] = actor(), actor()
    fields[25:35] = [
        "1",
        code,
        code,
        code[:2],
        str(chance.randint(1, 4)),
        "1.9",
        "4",
        "1",
        "4",
        f"{chance.gauss(0, 3)}",
    ]
    fields[59:] = [f"{BEGIN:%Y%m%d%H%M%S}", "https://example.org/" + "x" * chance.randint(40, 250)]
    return "\t".join(fields).encode()


def write_files(rows: list[bytes], count: int, per_file: int, folder: Path) -> int:
    """`count` rows as files of quarters of an hour, ids rising, days as late as they were; returns bytes."""
    import polars as pl

    split = [row.decode("utf-8", "replace").split("\t") for row in rows]

    def date(text):
        return dt.datetime.strptime(text[:8], "%Y%m%d")

    parts = pl.DataFrame(
        {
            "late": [(date(fields[59]) - date(fields[1])).days for fields in split],
            "middle": ["\t".join(fields[2:59]) for fields in split],
            "address": [fields[60] for fields in split],
        }
    )
    written, size, moment = 0, 0, BEGIN
    while written < count:
        number = min(per_file, count - written)
        start = written % parts.height
        some = pl.concat([parts, parts]).slice(start, number)
        day = (pl.lit(moment.date()) - pl.duration(days="late")).dt.strftime("%Y%m%d")
        number_of = pl.int_range(100_000_000 + written, 100_000_000 + written + number).cast(pl.String)
        stamp = f"{moment:%Y%m%d%H%M%S}"
        lines = some.select(pl.concat_str([number_of, day, "middle", pl.lit(stamp), "address"], separator="\t"))
        data = ("\n".join(lines.to_series().to_list()) + "\n").encode()
        (folder / f"{stamp}.export.CSV").write_bytes(data)
        written, size, moment = written + number, size + len(data), moment + QUARTER
    return size


def headed_rows(source: str, count: int) -> list[bytes]:
    """What follows id and day in `count` made-up rows of ICEWS or POLECAT."""
    chance = random.Random(0)
    places = [f"Country {number}" for number in range(200)]
    codes = [("010", "Make statement"), ("040", "Consult"), ("042", "Make a visit"), ("190", "Use military force")]

    def actor(place):
        number = min(int(chance.paretovariate(0.7)), 3000)
        return chance.choice([f"Person {number}", f"Citizen ({place})", f"Police ({place})", place])

    rows = []
    for _ in range(count):
        (one, two), (code, text) = chance.choices(places, k=2), chance.choice(codes)
        if source == "icews":
            fields = [actor(one), "Government,Executive", one, text, code, "1.0", actor(two), "General", two]
            fields += [str(chance.randint(10**7, 10**8)), "3", "Xinhua News Agency", "City", "", "Province", one]
            fields += ["33.3", "44.4"]
        else:
            fields = ["CONSULT", "visit", "2.0", "VERBAL COOPERATION", "diplomatic;executive", actor(one), one, "700"]
            fields += ["GOV", "GOV;MIL", "None", "the spokesman", "1234", actor(two), two, "710", "CVL", "CVL"]
            fields += ["None", "the crowd", "None", "Place", "City", "None", "None", one, "33.3", "44.4", "1141269"]
            fields += ["place", "PPLC", "Agency", "2018-01-02", "A; B; C", "D; E", "F; G; H", "en", "Vers001"]
        rows.append("\t".join(fields).encode())
    return rows


def write_headed_files(source: str, rows: list[bytes], count: int, per_file: int, folder: Path) -> int:
    """`count` rows as files of days with a header each, ids rising; returns bytes."""
    import polars as pl

    from tirgn_eqx.ingest import icews_rows, polecat_rows

    header = (icews_rows if source == "icews" else polecat_rows).BOOK.header + b"\n"
    rest = pl.Series("rest", [row.decode() for row in rows])
    written, size, day = 0, 0, BEGIN
    while written < count:
        number = min(per_file, count - written)
        some = pl.concat([rest, rest]).slice(written % len(rest), number).to_frame()
        number_of = pl.int_range(20_000_000 + written, 20_000_000 + written + number).cast(pl.String)
        lines = some.select(pl.concat_str([number_of, pl.lit(f"{day:%Y-%m-%d}"), "rest"], separator="\t"))
        data = header + ("\n".join(lines.to_series().to_list()) + "\n").encode()
        name = f"{day:%Y%m%d}-icews-events.tab" if source == "icews" else f"ngecEvents.{day:%Y%m%d}.DV.txt"
        (folder / name).write_bytes(data)
        written, size, day = written + number, size + len(data), day + dt.timedelta(days=1)
    return size


def join_files(files: list[Path], target: Path, headed: bool) -> None:
    """All files as one, with one header; they are gone afterwards."""
    with target.open("wb") as whole:
        for number, file in enumerate(files):
            data = file.read_bytes()
            whole.write(data.partition(b"\n")[2] if headed and number else data)
            file.unlink()


def child(paths: str, out: Path, source: str) -> None:
    """Ingests in this process; seconds, peak memory and counts on the last line."""
    before = time.perf_counter()
    from tirgn_eqx.ingest.api import ingest
    from tirgn_eqx.ingest.options import IngestOptions
    from tirgn_eqx.runtime.malloc import keep_freed_memory

    keep_freed_memory()  # as the command does
    report = ingest([paths], out, IngestOptions(source))
    used = os.times()
    common.finish(
        {
            "seconds": time.perf_counter() - before,
            "cpu_seconds": {"user": used.user, "system": used.system},
            "peak_rss_bytes": common.peak_rss(),
            "files": report.files.read,
            "rows": report.rows,
            "events": report.events.model_dump(),
        }
    )


def measure(place: Path, out: Path, source: str) -> dict:
    """The account of an ingest of `place` by a process of its own."""
    words = ["--child", str(place), "--out", str(out), "--source", source]
    found = common.run_module("benchmarks.ingest", words)
    found["rows_per_second"] = found["rows"]["read"] / found["seconds"]
    found["rows_per_cpu_second"] = found["rows"]["read"] / sum(found["cpu_seconds"].values())
    found["table_bytes"] = out.stat().st_size
    return found


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--source", default="gdelt", choices=("gdelt", "icews", "polecat"), help="of the rows (gdelt)")
    parser.add_argument(
        "--rows", type=int, metavar="N", help="raw rows (default: 10,000,000 of GDELT, else 1,000,000; quick: 20,000)"
    )
    parser.add_argument("--rows-per-file", type=int, default=2500, metavar="N", help="of a quarter hour or day (2,500)")
    parser.add_argument("--child", metavar="PATH", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.child, args.out, args.source)
    place, source = args.data_path, args.source
    args = common.finalize(args)
    gdelt = source == "gdelt"
    count = args.rows or (20_000 if args.quick else 10_000_000 if gdelt else 1_000_000)
    name, rows = source_rows(place) if gdelt else (f"made-up rows of {source}", headed_rows(source, 20_000))
    result = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as work:
        folder, more = Path(work) / "raw", Path(work) / "more"
        folder.mkdir()
        more.mkdir()
        note(f"writing {count:,} rows")
        if gdelt:
            size = write_files(rows, count, args.rows_per_file, folder)
        else:
            size = write_headed_files(source, rows, count, args.rows_per_file, folder)
        files = sorted(folder.iterdir())
        out = Path(work) / "events.parquet"
        last = files[-1].rename(more / files[-1].name)
        result["a file per quarter hour" if gdelt else "a file per day"] = measure(folder, out, source)
        last.rename(folder / last.name)
        result["one new file"] = measure(folder, out, source)
        result["nothing new"] = measure(folder, out, source)
        whole = more / "whole.export.CSV"
        join_files(files, whole, headed=not gdelt)
        out.unlink()
        result["one file"] = measure(whole, out, source)
    dataset = {"name": name, "source_rows": len(rows), "rows": count, "bytes": size, "files": len(files)}
    dataset["sha256"] = hashlib.sha256(b"\n".join(rows)).hexdigest()
    from tirgn_eqx.checkpoint.models import versions
    from tirgn_eqx.ingest.options import IngestOptions

    payload = {"dataset": dataset, "setting": IngestOptions(source).to_dict(), "seed": 0, "result": result}
    payload["versions"] = versions() | {"polars": metadata.version("polars")}
    title = common.join_name(
        "ingest", "" if gdelt else source, f"{count // 1_000_000}m" if count >= 1_000_000 else str(count), args.tag
    )
    document = common.record(title, payload, args.results)
    table(
        f"{count:,} rows, {size / 1e9:.2f} GB",
        ["", "files", "rows", "seconds", "CPU s", "rows/s", "peak MiB", "events"],
        [
            [
                case,
                told["files"],
                told["rows"]["read"],
                told["seconds"],
                sum(told["cpu_seconds"].values()),
                told["rows_per_second"],
                told["peak_rss_bytes"] / 2**20,
                told["events"]["events"],
            ]
            for case, told in result.items()
        ],
    )
    common.finish(document)


if __name__ == "__main__":
    main()
