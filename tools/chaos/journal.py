"""Writers of one journal of forecasts that are killed at random moments: is anything lost, or there twice?

Why: a track record is worth something only if it is whole. Two processes at a time write batches of forecasts to one
folder, mostly the same batches, and say on stdout when they begin one and when it is written. Now and then one gets
SIGKILL, at any moment of its life, in the middle of a batch, or as soon as a file grows, and another one is started.
After each kill every forecast that the killed one called written must be there; at the end each line must be whole,
each forecast there once, and of every batch either all or, where its writer was killed, some.

    python -m tools.chaos.journal --kills 200 --seed 0
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from benchmarks import common
from benchmarks.common import note
from tirgn_eqx.data.forecast_journal import (
    LOCK,
    ForecastingModel,
    JournalForecast,
    KnownData,
    Selection,
    append_forecasts,
    journal_files,
    read_journal,
)
from tirgn_eqx.storage.locks import exclusive_lock

BATCH = 200  # forecasts
NAME = 8000  # letters of a name, so that the writing of a batch takes long enough to be hit
ROUND = 10  # kills of one journal
AIMS = {"any": 0.1, "batch": 0.4, "write": 0.5}
PATIENCE = 5.0  # seconds in which a writer that has begun a batch writes something
WRITERS = 2
OVERLAP = 3  # batches that a new writer begins before the last one written
BEGUN, WRITTEN = "+", "="  # what a writer says of a batch
MODEL = ForecastingModel(name="models/events/tirgn_best.npz", sha256="0" * 64, learnt_until="2026-01-01")
DATA = KnownData(name="made", sha256="1" * 64, facts=1, last="2026-01-01")


class Kill(NamedTuple):
    """What a kill was aimed at; where it fell: before the first batch, between two, or within one; and whether it left
    a line cut off."""

    aimed: str
    where: str
    torn: bool


def batch(number: int) -> list[JournalForecast]:
    """The forecasts of a batch, the same ones in every process."""
    return [
        JournalForecast(
            model=MODEL,
            version="0",
            data=DATA,
            selection=Selection(by="probability", number=BATCH),
            target=number,
            horizon=1,
            step=1,
            unit="number",
            subject=f"actor {row} ".ljust(NAME, "x"),
            relation="says",
            object="world\n" * (row % 7),
            probability=row / BATCH,
            expected=row / BATCH,
        )
        for row in range(BATCH)
    ]


def write(folder: Path, first: int) -> None:
    """A writer: batches from `first` on, until it is killed."""
    number = first
    while True:
        forecasts = batch(number)
        print(f"{BEGUN}{number}", flush=True)
        append_forecasts(folder, forecasts)
        print(f"{WRITTEN}{number}", flush=True)
        number += 1


class Writer:
    """A writer as a process of its own."""

    def __init__(self, folder: Path, first: int):
        command = [sys.executable, "-m", "tools.chaos.journal", "--write", str(folder), str(first)]
        self.process = subprocess.Popen(
            command, cwd=common.ROOT, env=common.child_environment(), stdout=subprocess.PIPE, text=True
        )

    def first_line(self) -> str:
        """Wait for the beginning of its first batch."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def kill(self) -> tuple[str, set[int]]:
        """Where the kill fell, and the batches that it had called written."""
        self.process.kill()
        said, _ = self.process.communicate()
        # A line of a killed writer may be cut off itself.
        lines = [line for line in said.splitlines(keepends=True) if line.endswith("\n")]
        where = "between batches" if lines and lines[-1].startswith(WRITTEN) else "within a batch"
        return where, {int(line[1:]) for line in lines if line.startswith(WRITTEN)}


def raw_ids(folder: Path) -> tuple[Counter[str], list[str]]:
    """How often each forecast stands in the files, whatever readers make of it; and lines that are not whole, but for a
    last one without an end."""
    found, faults = Counter[str](), list[str]()
    for path in journal_files(folder):
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
            try:
                if line.endswith(b"\n"):
                    found[json.loads(line)["id"]] += 1
            except ValueError:
                faults.append(f"{path.name}:{number}: is cut off")
    return found, faults


def torn_files(folder: Path) -> int:
    """Files whose last line has no end."""
    contents = (path.read_bytes() for path in journal_files(folder))
    return sum(bool(content) and not content.endswith(b"\n") for content in contents)


def wait_for_growth(folder: Path) -> None:
    """Return as soon as a file of the journal grows; a write lasts less than a millisecond, so that this does not
    sleep."""
    end, before = time.monotonic() + PATIENCE, size_of(folder)
    while size_of(folder) <= before and time.monotonic() < end:
        pass


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in journal_files(folder)) if folder.is_dir() else 0


def run(folder: Path, kills: int, chance: random.Random) -> tuple[list[Kill], set[int], list[str]]:
    """(the kills, the batches that were called written, all that was wrong)."""
    fell, written, faults = list[Kill](), set[int](), list[str]()
    writers = [Writer(folder, 0) for _ in range(WRITERS)]
    try:
        while len(fell) < kills:
            writer = chance.choice(writers)
            (aimed,) = chance.choices(list(AIMS), list(AIMS.values()))
            if aimed != "any":
                writer.first_line()
            if aimed == "write":
                wait_for_growth(folder)
            else:
                # A batch takes some hundredths of a second, most of it until its lines are on the disk.
                time.sleep(chance.uniform(0, 0.8 if aimed == "any" else 0.15))
            where, said = writer.kill()
            # Under the lock, because a line that another writer has begun is cut off too. That one may have mended it.
            with exclusive_lock(folder / LOCK):
                torn = torn_files(folder) > 0
            fell.append(Kill(aimed, where if said or aimed != "any" else "at the beginning", torn))
            written |= said
            ids, broken = raw_ids(folder)
            lost = sum(one.identity not in ids for number in said for one in batch(number))
            faults += broken + ([f"kill {len(fell)}: {lost} forecasts that were written are lost"] if lost else [])
            writers[writers.index(writer)] = Writer(folder, max(0, max(written, default=0) - OVERLAP))
    finally:
        for writer in writers:
            where, said = writer.kill()
            written |= said
    # One more writer mends what the last kill left; then nothing is left to write of what was written.
    for number in sorted(written):
        if append_forecasts(folder, batch(number)).written:
            faults.append(f"batch {number}: was written and is not whole")
    ids, broken = raw_ids(folder)
    faults += broken + [f"{identity}: is there {count} times" for identity, count in ids.items() if count > 1]
    if torn_files(folder):
        faults.append("a line is cut off after the next writer")
    if len(read_journal(folder).lines) != len(ids):
        faults.append("readers find another number of forecasts")
    return fell, written, faults


def main() -> None:
    if sys.argv[1:2] == ["--write"]:
        return write(Path(sys.argv[2]), int(sys.argv[3]))
    parser = common.parser(__doc__)
    parser.add_argument("--kills", type=int, metavar="N", help="kills in all (default: 200; quick: 10)")
    args = common.finalize(parser.parse_args())
    kills, begin = args.kills or (10 if args.quick else 200), time.monotonic()
    fell, faults, batches, forecasts = list[Kill](), list[str](), 0, 0
    chance = random.Random(args.seed or 0)
    while len(fell) < kills:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "journal"
            found, written, wrong = run(folder, min(ROUND, kills - len(fell)), chance)
            fell, faults, batches = fell + found, faults + wrong, batches + len(written)
            forecasts += len(read_journal(folder).lines)
        note(f"{len(fell):3d} of {kills} kills, {forecasts:,} forecasts, {len(faults)} faults")
    result = {
        "kills": len(fell),
        "aimed": dict(Counter(kill.aimed for kill in fell)),
        "where": dict(Counter(kill.where for kill in fell)),
        "left_a_line_cut_off": sum(kill.torn for kill in fell),
        "batches_written": batches,
        "forecasts": forecasts,
        "faults": faults[:100],
        "seconds": time.monotonic() - begin,
    }
    payload = {"dataset": {"name": "made", "forecasts_per_batch": BATCH}, "seed": args.seed or 0}
    payload |= {
        "setting": {"writers_at_a_time": WRITERS, "overlap": OVERLAP, "kills_of_a_journal": ROUND},
        "result": result,
    }
    document = common.record(common.join_name("journal-kill", args.tag), payload, args.results)
    common.table("kills", ["where it fell", "kills"], sorted(result["where"].items()))
    common.finish(document)
    if faults:
        sys.exit(f"{len(faults)} faults, the first: {faults[0]}")


if __name__ == "__main__":
    main()
