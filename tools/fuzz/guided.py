"""Readers fuzzed by coverage: atheris looks for bytes that reach code which none reached before.

Why: `run.py` knows the forms of files, and so makes what its writer thought of. This one knows nothing but which lines
ran. It needs atheris (`pip install atheris`), and takes the readers that are written in Python: settings, lists, the
record of a collection, the archives of checkpoints, options of the command line.

    python -m tools.fuzz.guided --seconds 60
"""

import argparse
import importlib
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import common
from benchmarks.common import note, table

# The file that the bytes become, and the seeds that it begins with.
READERS = {
    **{"settings": "run.toml", "options": "0.txt", "lists": "masterfilelist.txt", "record": "collected.json"},
    **{"folder": "entity2id.txt", "checkpoint": "m.npz", "packed": "20180101000000.export.CSV.zip"},
}
WATCHED = ("config", "storage.untrusted", "data.readers", "gdelt.feed", "gdelt.verified", "storage.download")
WATCHED += ("ingest.sources",)


def child(reader: str, seconds: int, seed: int) -> None:
    """Fuzzes one reader in this process, which atheris ends; an error that is none of ours ends it with a traceback."""
    atheris = importlib.import_module("atheris")

    # What is imported here is watched; the readers import it where they need it.
    with atheris.instrument_imports(include=["tirgn_eqx"], enable_loader_override=False):
        for module in WATCHED:
            importlib.import_module(f"tirgn_eqx.{module}")
    from tools.fuzz import readers

    readers.ACTS["checkpoint"] = _load_arrays
    seeds = next(files for files in readers.SEEDS[reader]() if READERS[reader] in files)
    with tempfile.TemporaryDirectory() as work:
        corpus = Path(work) / "corpus"
        readers.write({"seed": seeds[READERS[reader]]}, corpus)

        def once(data: bytes) -> None:
            place = readers.write(seeds | {READERS[reader]: data}, Path(work) / "case")
            readers.attempt(reader, place)

        words = [sys.argv[0], f"-max_total_time={seconds}", f"-seed={seed + 1}", "-max_len=20000", "-timeout=20"]
        atheris.Setup([*words, "-rss_limit_mb=4096", f"-artifact_prefix={Path.cwd()}/", str(corpus)], once)
        atheris.Fuzz()


def _load_arrays(place: Path) -> None:
    """The archive of a checkpoint without its model, whose building would take most of the time."""
    from tirgn_eqx.errors import CheckpointError
    from tirgn_eqx.storage.npz import read_arrays
    from tirgn_eqx.storage.untrusted import Unsound, parse_json

    try:
        parse_json(read_arrays((place / "m.npz").read_bytes()).pop("__metadata__").tobytes().decode())
    except (Unsound, KeyError, ValueError) as error:
        raise CheckpointError(f"m.npz: {error}") from error


def main() -> int:
    parser = common.parser(__doc__)
    parser.add_argument("--seconds", type=int, metavar="N", help="for each reader (default: 60; quick: 2)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = common.finalize(parser.parse_args())
    seconds, seed = args.seconds or (2 if args.quick else 60), args.seed or 0
    if args.child:
        child(args.child, seconds, seed)
        return 0
    result, faults = {}, 0
    for reader in READERS:
        began = time.perf_counter()
        words = [
            sys.executable,
            "-m",
            "tools.fuzz.guided",
            "--child",
            reader,
            "--seconds",
            str(seconds),
            "--seed",
            str(seed),
        ]
        run = subprocess.run(words, env=common.child_environment(), capture_output=True, text=True)
        done, found = re.search(r"Done (\d+) runs", run.stderr), re.findall(r"cov: (\d+)", run.stderr)
        result[reader] = {
            "inputs": int(done[1]) if done else 0,
            "coverage": {"first": int(found[0]), "last": int(found[-1])} if found else None,
            "fault": run.stderr[-600:] if run.returncode or not done else None,
            "seconds": time.perf_counter() - began,
        }
        faults += result[reader]["fault"] is not None
        note(f"{reader}: {result[reader]}")
    inputs = sum(told["inputs"] for told in result.values())
    payload = {"dataset": {"name": "bytes by coverage", "facts": inputs}, "setting": {"seconds": seconds}, "seed": seed}
    document = common.record("fuzz-guided", payload | {"result": result}, args.results)
    columns = ["reader", "inputs", "branches at first", "at last", "fault"]
    rows = []
    for reader, told in result.items():
        coverage = told["coverage"] or {}
        rows.append([reader, told["inputs"], coverage.get("first"), coverage.get("last"), bool(told["fault"])])
    table(f"{inputs:,} inputs found by coverage, {faults} faults", columns, rows)
    common.finish(document)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
