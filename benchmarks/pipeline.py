"""The whole road with GDELT's raw files: collect, ingest, train, evaluate, predict, and retrain when more has come.

Why: the parts are tested one by one; this shows that they fit together, from a server's files to a named forecast, and
how long each takes. A server on this machine serves `--data-path` (a folder of raw event files; made-up ones without
it) as GDELT does; every step is a program of its own, called as a person calls it. The last hours come later: they are
collected and ingested in a second round, and the model is retrained.

    python -m benchmarks.pipeline --data-path data/gdelt_raw/v2 --files "20201113*,20201114*,20201115*"
"""

import fnmatch
import hashlib
import io
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks import common, ingest
from benchmarks.common import note, table

ORIGIN = "http://data.gdeltproject.org/gdeltv2"
QUICK_FILES = 12


def raw_files(folder: str | None, patterns: str, number: int | None) -> dict[str, bytes]:
    """Raw files by name, in order of time; made-up ones where there is no folder."""
    if folder and Path(folder).is_dir():
        found = sorted(path for path in Path(folder).iterdir() if path.name.endswith(".export.CSV"))
        chosen = [path for path in found if any(fnmatch.fnmatch(path.name, p) for p in patterns.split(","))]
        if not chosen:
            sys.exit(f"{folder}: no file like {patterns}; give other --files")
        return {path.name: path.read_bytes() for path in chosen[-number if number else 0 :]}
    out, identity = {}, 0
    for hour in range(number or 32):
        stamp = f"20201113{hour // 4:02d}{15 * (hour % 4):02d}00"
        rows = []
        for _ in range(200):
            identity += 1
            fields = ingest.made_up(random.Random(identity)).split(b"\t")
            fields[0], fields[59] = b"%d" % identity, stamp.encode()
            rows.append(b"\t".join(fields))
        out[f"{stamp}.export.CSV"] = b"\n".join(rows) + b"\n"
    return out


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server:
    """Serves a folder as GDELT's server does; files come as they are published."""

    def __init__(self, folder: Path):
        self.folder, self.lines = folder, []
        (folder / "gdeltv2").mkdir(parents=True)
        handler = partial(Quiet, directory=folder)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def publish(self, name: str, content: bytes) -> None:
        """Put a raw file on the server, zipped, and in its list."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        whole = packed.getvalue()
        (self.folder / "gdeltv2" / f"{name}.zip").write_bytes(whole)
        self.lines.append(f"{len(whole)} {hashlib.md5(whole).hexdigest()} {ORIGIN}/{name}.zip\n")
        (self.folder / "gdeltv2" / "masterfilelist.txt").write_text("".join(self.lines))


class Road:
    """Calls `tirgn` step by step, each with its seconds and its JSON."""

    def __init__(self, place: Path):
        self.place, self.steps = place, []

    def __call__(self, name: str, *words: object, codes: tuple[int, ...] = (0,)) -> common.Document:
        command = [sys.executable, "-m", "tirgn_cli", *map(str, words), "--json"]
        note(f"{name}: tirgn {' '.join(map(str, words[:2]))}")
        begin = time.perf_counter()
        run = subprocess.run(
            command, cwd=self.place, env=common.child_environment(), capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - begin
        if run.returncode not in codes:
            sys.exit(f"{name}: exit code {run.returncode}: {run.stderr.strip().splitlines()[-1:]}")
        self.steps.append({"step": name, "seconds": seconds, "exit_code": run.returncode})
        return json.loads(run.stdout)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--files", default="*", metavar="PATTERN,...", help="which files of the folder (all)")
    parser.add_argument("--later", type=int, default=4, metavar="N", help="how many files come in the second round (4)")
    parser.add_argument("--model", default="evidence", help="what is trained (evidence)")
    args = parser.parse_args()
    folder = args.data_path
    args = common.finalize(args)
    files = raw_files(folder, args.files, QUICK_FILES if args.quick else None)
    names = list(files)

    def day(name):
        return f"{name[:4]}-{name[4:6]}-{name[6:8]}"

    when = ["--from", day(names[0]), "--to", day(names[-1])]
    small = ["--embedding-dim", "8", "--epochs", "1", "--set", "max_buckets=1"] if args.quick else []
    small += ["--set", "evidence_heads=2", "--set", "evidence_background=false"] if args.quick else []
    settings = [*small, *(word for setting in args.set for word in ("--set", setting))]
    with tempfile.TemporaryDirectory() as temporary:
        place, road = Path(temporary), Road(Path(temporary))
        server = Server(place / "server")
        for name in names[: -args.later]:
            server.publish(name, files[name])
        collect = ("data", "collect", *when, "--dir", "raw", "--base-url", server.url)
        take_in = ("data", "ingest", "raw", "--out", "events.parquet")
        events = ("--data-path", "events.parquet", "--num-days", "0", "--granularity", "15min")
        collected = road("collect", *collect)
        ingested = road("ingest", *take_in)
        trained = road("train", "train", *events, "--model", args.model, "--model-dir", "models", *settings)
        checkpoint = "models/tirgn_best.npz"
        evaluated = road("evaluate", "eval", checkpoint, "--calibrate")
        facts = road("predict facts", "predict", checkpoint, "--facts", "5")
        first = facts["facts"][0]
        query = ("--subject", first["subject"], "--relation", first["relation"])
        answered = road("predict", "predict", checkpoint, *query, "--top", "5")
        # A second round with the last files, as the next day brings them.
        for name in names[-args.later :]:
            server.publish(name, files[name])
        again = road("collect what is new", *collect)
        added = road("ingest what is new", *take_in)
        retrained = road("retrain", "retrain", *events, "--from", checkpoint, "--model-dir", "weekly", codes=(0, 3))
        after = road("predict after", "predict", checkpoint, *query, "--top", "5")
    assert answered["candidates"] and after["candidates"]
    result = {
        "files": {"first": len(names) - args.later, "later": args.later},
        "steps": road.steps,
        "collected": {"first": collected, "later": again},
        "ingested": {"first": ingested, "later": added},
        "test": trained["test"]["entity"],
        "calibrated": {key: evaluated["calibrated"][key] for key in ("temperature", "nll_before", "nll_after", "ece")},
        "ece_before": evaluated["calibration"]["ece"],
        "most_probable_facts": facts["facts"],
        "forecast": answered,
        "retrained": retrained,
        "forecast_after": after,
    }
    # Where the road lay for the while is nobody's business.
    result = json.loads(json.dumps(result).replace(f"{place.resolve()}/", "").replace(f"{place}/", ""))
    payload = {"dataset": trained["dataset"], "setting": {"model": args.model}, "seed": trained["seed"]}
    document = common.record(common.join_name("pipeline", args.tag), payload | {"result": result}, args.results)
    table("from raw files to a forecast", ["step", "seconds"], [[s["step"], s["seconds"]] for s in road.steps])
    common.finish(document)


if __name__ == "__main__":
    main()
