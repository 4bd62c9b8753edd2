"""Trainings that are killed at random moments and resumed: do they end, bit for bit, as if nothing had happened?

Why: resuming is promised for every moment, not for those that a test thinks of. Real processes of `tirgn train` on real
files get SIGKILL, the whole group of them: at any time of their life, in their training, and in the middle of the
writing of a checkpoint. After each kill every file at a published name must be whole; resumed, once or after
further kills, the training must end with the arrays, the metadata and the logs of one that nothing disturbed. Where a
kill left no state, the same command begins anew, as its user would.

What is compared: all checkpoints, and the state, bit for bit; their metadata but for `created` and times; the lines of
`metrics.jsonl` and TensorBoard's points but for times, from the last beginning on. Compiled programs are kept in a
cache for the while, each process having a copy of its own: one killed while it writes there harms no other.

    python -m tools.chaos.kill --kills 100 --seed 0
    python -m tools.chaos.kill --kills 20 --forms staged --tag staged
"""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmarks import common
from benchmarks.common import note, table
from tirgn_eqx.config import FAMILIES, settings_of

DATA = "sim:num_entities=16,num_relations=4,num_days=30,facts_per_day=12"
SETTINGS = {
    **{"embedding_dim": 8, "history_len": 2, "num_layers": 1, "static_blocks": 4, "conv_channels": 3},
    **{"batch_size": 0, "max_buckets": 1, "precision": "f32", "remat": "none", "learning_rate": 0.02},
    **{
        "static_graph": False,
        "evidence_heads": 2,
        "evidence_background": False,
        "ema_decay": 0.9,
        "lr_schedule": "cosine",
    },
    **{"epochs": 6, "eval_interval": 1, "checkpoint_interval": 2, "save_every": 4},
}
FORMS = {
    "tirgn": ["--model", "tirgn"],
    "evidence": ["--model", "evidence"],
    "staged": ["--model", "tirgn", "--history", "evidence", "--set", "evidence.evidence_background=false"],
}
USUAL = "tirgn,evidence"  # the staged form is made of them, and takes several times as long
SHARES = {"any": 0.3, "training": 0.3, "write": 0.4}  # what kills are aimed at
WALL = {"created", "time", "seconds", "total_time", "system/epoch_duration_s"}  # what differs from run to run
BEGINNING = "system/total_params"  # what a training logs first
LIMIT = 3600  # seconds that no training lasts, however busy the machine


class Aim(NamedTuple):
    """When to kill: `seconds` after the start (`any`), after the logs were opened (`training`), or after the
    temporary file number `number` of a checkpoint appeared (`write`)."""

    kind: str
    seconds: float = 0.0
    number: int = 0


class Seen(NamedTuple):
    """One process: its exit code, seconds until its logs were opened and until its end, checkpoints written."""

    code: int
    opened: float | None
    seconds: float
    writes: int


class Kill(NamedTuple):
    """What a kill was aimed at, where it fell, and after how many seconds."""

    aimed: str
    where: str
    seconds: float


class Training(NamedTuple):
    """One training: its kills, all that was wrong, how often it began anew, and what kills left unfinished."""

    form: str
    kills: list[Kill]
    faults: list[str]
    anew: int = 0
    left: int = 0


class Form:
    """One kind of training: how it goes on undisturbed, and processes of it."""

    def __init__(self, name: str, work: Path, seed: int, data: str, cold: bool):
        self.name, self.work, self.cache = name, work, work / "cache"
        self.cache.mkdir(parents=True)
        known = settings_of(FAMILIES["evidence" if name == "evidence" else "tirgn"])
        settings = [f"--set={key}={json.dumps(value)}" for key, value in SETTINGS.items() if key in known]
        paths = ["--model-dir", "model", "--logdir", "model/logs"]
        self.words = ["train", "--data-path", data, "--seed", str(seed), *paths, *settings, *FORMS[name], "--quiet"]
        self.whole = work / "whole"
        self.watch(self.whole)
        self.end = end_of(self.whole)
        # Once more with all programs from the cache: the times of this one are what kills are aimed by.
        self.usual = self.watch(work / "again")
        self.faults = differences(self.end, end_of(work / "again"))
        if cold:
            self.watch(work / "cold", cached=False)
            self.faults += differences(self.end, end_of(work / "cold"))

    def watch(self, place: Path, *more: str, aim: Aim | None = None, cached: bool = True) -> Seen:
        """Run a training in `place`, killed as `aim` says; exits when it ends with an error."""
        place.mkdir(exist_ok=True)
        changes, own = {}, Path(tempfile.mkdtemp(dir=self.work, prefix="cache-"))
        if cached:
            for file in self.cache.iterdir():
                os.link(file, own / file.name)
            changes = {"JAX_COMPILATION_CACHE_DIR": str(own), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
            changes["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
        command = [sys.executable, "-m", "tirgn_cli", *self.words, *more]
        with (place / "said.txt").open("w+") as said:
            begin = time.monotonic()
            # A session of its own, so that a kill hits all that the training started.
            process = subprocess.Popen(
                command,
                cwd=place,
                env=common.child_environment(**changes),
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
            try:
                opened, writes = follow(process, place, begin, aim)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
            code = process.wait()
            seen = Seen(code, opened, time.monotonic() - begin, writes)
            said.seek(0)
            text = said.read().strip()
        if code not in (0, -signal.SIGKILL):
            sys.exit(f"{self.name} {' '.join(more)}: ended with {code}: {text.splitlines()[-1:]}")
        # Only a process that came to its end has whole entries; a resumed one compiled some in addition.
        if cached and code == 0:
            for file in own.iterdir():
                if not (self.cache / file.name).exists():
                    os.link(file, self.cache / file.name)
        return seen

    def aim(self, chance: random.Random) -> Aim:
        """A moment to kill at; of the times of the whole life, a few lie after its end."""
        (kind,) = chance.choices(list(SHARES), list(SHARES.values()))
        opened = self.usual.opened or 0.0
        if kind == "any":
            return Aim(kind, chance.uniform(0, 1.02 * self.usual.seconds))
        if kind == "training":
            return Aim(kind, chance.uniform(0, self.usual.seconds - opened))
        # At once, or a little later: between the renames.
        return Aim(kind, chance.choice([0.0, chance.uniform(0, 0.01)]), chance.randint(1, self.usual.writes))

    def resume(self, place: Path) -> list[str]:
        """What the command says to go on with what is in `place`."""
        saved = self.name == "staged" or (place / "model" / "tirgn_state.npz").exists()
        return ["--resume"] * saved


def follow(process: subprocess.Popen, place: Path, begin: float, aim: Aim | None) -> tuple[float | None, int]:
    """Watch a process to its end, or kill it at the moment of `aim`; (seconds until it opened its logs, writes)."""
    before, opened, writes, temporary, due = len(events(place)), None, 0, set(), None
    if aim and aim.kind == "any":
        due = begin + aim.seconds
    while process.poll() is None:
        now = time.monotonic()
        if now - begin > LIMIT:
            sys.exit(f"{place.name}: a training that should take seconds did not end in {LIMIT} s")
        if due is not None and now >= due:
            os.killpg(process.pid, signal.SIGKILL)
            break
        if opened is None and len(events(place)) > before:
            opened = now - begin
            if aim and aim.kind == "training":
                due = now + aim.seconds
        found = set(checkpoint_temporaries(place))
        writes += len(found - temporary)
        temporary = found
        if aim and aim.kind == "write" and due is None and writes >= aim.number:
            due = now + aim.seconds
            continue
        # Renames are a matter of milliseconds; elsewhere a busy watcher would only take its time from the training.
        time.sleep(0.0003 if aim and aim.kind == "write" and opened else 0.004)
    return opened, writes


def folders(place: Path) -> list[Path]:
    """Where the parts of a training write checkpoints."""
    return [place / "model", place / "model" / "evidence", place / "model" / "structure"]


def names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def checkpoint_temporaries(place: Path) -> Iterator[str]:
    """Temporary files of checkpoints; those of one that was killed stay, but a process has names of its own."""
    for folder in folders(place):
        yield from (f"{folder.name}/{name}" for name in names(folder) if ".npz." in name and name.endswith(".tmp"))


def events(place: Path) -> list[str]:
    logs = place / "model" / "logs"
    places = (logs, logs / "evidence", logs / "structure")
    return [name for folder in places for name in names(folder) if ".tfevents." in name]


# --- what a kill leaves --------------------------------------------------------------------------------------------


def unreadable(place: Path) -> list[str]:
    """Files at published names that are not whole, each with why."""
    from tirgn_eqx.checkpoint.files import load_checkpoint
    from tirgn_eqx.config import config_from_dict, read_config
    from tirgn_eqx.errors import DataWarning

    found = []
    for path in sorted(path for path in place.rglob("*") if path.is_file() and not path.name.startswith(".")):
        try:
            if path.suffix == ".npz":
                with warnings.catch_warnings():
                    # A side file without its sum; other warnings, of whatever runs beside, are no fault of a file.
                    warnings.simplefilter("error", DataWarning)
                    load_checkpoint(path)
            elif path.suffix == ".json":
                json.loads(path.read_bytes())
            elif path.suffix == ".toml":
                config_from_dict(read_config(path))
            elif path.suffix == ".jsonl":
                # The last one may be cut off until the training is resumed.
                for line in path.read_bytes().splitlines(keepends=True):
                    json.loads(line if line.endswith(b"\n") else b"{}")
        except Exception as error:
            because = "" if error.__cause__ is None else f" ({error.__cause__!r})"
            found.append(f"{path.relative_to(place)}: {type(error).__name__}: {error}{because}")
    return found


def where(place: Path, left: set[str]) -> str:
    """Where a kill fell, as the files tell it. **Arguments:** `left`: what earlier kills left unfinished."""
    if unfinished(place) - left:
        return "in the writing of a checkpoint"
    model = place / "model"
    if not any((folder / "tirgn_state.npz").exists() for folder in folders(place)):
        return "before the first state"
    lines = [line for path in sorted(model.glob("logs/*.jsonl")) for line in path.read_text().splitlines()]
    if lines and "test/mrr" in lines[-1]:
        return "after the end"
    if (model / "structure" / "stage.json").exists():
        return "in the fitting of the gate"
    if (model / "tirgn_trained.npz").exists():
        return "in the test"
    logs = [path for path in model.glob("logs/**/metrics.jsonl") if path.stat().st_size]
    newest = max(logs, key=lambda path: path.stat().st_mtime, default=None)
    states = [folder / "tirgn_state.npz" for folder in folders(place)]
    saved = max(path.stat().st_mtime for path in states if path.exists())
    if newest is not None and newest.stat().st_mtime > saved and "train/loss" in newest.read_text().splitlines()[-1]:
        return "in a validation"
    return "in an epoch"


def unfinished(place: Path) -> set[str]:
    """Temporary files of checkpoints, and checkpoints that wait for their side file."""
    found = set(checkpoint_temporaries(place))
    for folder in folders(place):
        for name in names(folder):
            if name.endswith(".npz") and not name.startswith(".") and not (folder / name).with_suffix(".json").exists():
                found.add(f"{folder.name}/{name}")
    return found


# --- how a training ended ------------------------------------------------------------------------------------------


def end_of(place: Path) -> dict[str, object]:
    """All that a training left, but for times: by file, and by tag of TensorBoard."""
    from tirgn_eqx.checkpoint.files import load_checkpoint

    found: dict[str, object] = {}
    for path in sorted((place / "model").rglob("*")):
        name = str(path.relative_to(place))
        if path.name.startswith(".") or path.is_dir():
            continue
        if path.suffix == ".npz":
            checkpoint = load_checkpoint(path)
            found |= {
                f"{name}: {key}": (array.dtype.str, array.shape, array.tobytes())
                for key, array in checkpoint.arrays.items()
            }
            found[f"{name}: metadata"] = timeless(checkpoint.metadata)
        elif path.name == "metrics.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            begins = [number for number, line in enumerate(lines) if BEGINNING in line]
            found[name] = [timeless(line) for line in lines[begins[-1] if begins else 0 :]]
        elif path.suffix == ".json" and not path.with_suffix(".npz").exists():
            found[name] = timeless(json.loads(path.read_text()))
        elif path.suffix == ".toml":
            found[name] = path.read_text()
    for folder in sorted({(place / "model" / "logs" / name).parent for name in ("x", "evidence/x", "structure/x")}):
        if folder.is_dir():
            points = board(folder)
            found |= {f"TensorBoard {folder.name}: {tag}": value for tag, value in points.items() if tag not in WALL}
    return found


def board(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """TensorBoard's points of a folder by tag; what every attempt logs at its beginning counts once."""
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        return {}
    # It remarks that points before a resumption are dropped; they are written again.
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    points = {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }
    return points | ({BEGINNING: sorted(set(points[BEGINNING]))} if BEGINNING in points else {})


def timeless(document: object) -> object:
    """A document without times."""
    if isinstance(document, dict):
        return {key: timeless(value) for key, value in document.items() if key not in WALL}
    return [timeless(value) for value in document] if isinstance(document, list) else document


def differences(expected: dict[str, object], found: dict[str, object]) -> list[str]:
    """What is not the same at the end of two trainings."""
    spare = [f"{name}: only in one of them" for name in sorted(set(expected) ^ set(found))]
    return spare + [
        f"{name}: differs{shown(expected[name], found[name])}"
        for name in sorted(set(expected) & set(found))
        if expected[name] != found[name]
    ]


def shown(expected: object, found: object) -> str:
    if isinstance(expected, list) and isinstance(found, list) and len(expected) != len(found):
        return f", {len(found)} instead of {len(expected)}"
    return ""


# --- the kills -----------------------------------------------------------------------------------------------------


def broken_training(form: Form, place: Path, chance: random.Random, most: int) -> Training:
    """One training that is killed up to `most` times and resumed to its end: its kills and all that was wrong."""
    kills: list[Kill] = []
    faults: list[str] = []
    left: set[str] = set()
    for _ in range(min(most, chance.choice((1, 1, 1, 2, 3)))):
        aim = form.aim(chance)
        seen = form.watch(place, *(form.resume(place) if kills else ()), aim=aim)
        if seen.code == 0:
            break  # it ended before its moment came
        found = where(place, left)
        left = unfinished(place)
        kills.append(Kill(aim.kind, found, seen.seconds))
        faults += [f"unreadable after a kill {found}: {what}" for what in unreadable(place)]
    again = form.resume(place)
    form.watch(place, *again)
    faults += [f"unreadable at the end: {what}" for what in unreadable(place)]
    faults += differences(form.end, end_of(place))
    return Training(form.name, kills, faults, anew=int(not again), left=len(left))


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--kills", type=int, metavar="N", help="kills in all (default: 100; quick: 3)")
    parser.add_argument("--forms", help=f"of {', '.join(FORMS)} (default: {USUAL}; quick: tirgn)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings at a time (default: 1)")
    args = parser.parse_args()
    data = args.data_path or DATA
    args = common.finalize(args)
    wanted = args.kills or (3 if args.quick else 100)
    chosen = (args.forms or ("tirgn" if args.quick else USUAL)).split(",")
    begin = time.monotonic()
    trainings: list[Training] = []
    with tempfile.TemporaryDirectory() as temporary:
        forms = []
        for name in chosen:
            note(f"{name}: undisturbed")
            forms.append(Form(name, Path(temporary) / name, args.seed or 0, data, not args.quick))
            trainings.append(Training(name, [], forms[-1].faults))
        done, number = 0, 0
        with ThreadPoolExecutor(args.jobs) as pool:
            while done < wanted:
                round_of = []
                for _ in range(min(args.jobs, wanted - done)):
                    form, number = forms[number % len(forms)], number + 1
                    place, own = form.work / f"broken-{number}", random.Random(f"{args.seed or 0} {number}")
                    most = 1 if wanted - done <= 3 * args.jobs else 3
                    round_of.append(pool.submit(broken_training, form, place, own, most))
                for found in (coming.result() for coming in round_of):
                    trainings.append(found)
                    done += len(found.kills)
                    told = ", ".join(f"{kill.where} ({kill.seconds:.1f} s)" for kill in found.kills)
                    told += ": FAULT" if found.faults else ""
                    note(f"{done:3d} of {wanted}, {found.form}: {told or 'ended before its moment'}")
                    for fault in found.faults[:5]:
                        note(f"    {fault}")
        described = json.loads((forms[0].whole / "model" / "tirgn_best.json").read_text())
    kills = [(kill, found) for found in trainings for kill in found.kills]
    faults = [f"{found.form}: {fault}" for found in trainings for fault in found.faults]
    identical = sum(not found.faults for _, found in kills)
    result = {
        "kills": len(kills),
        "ended_identical": identical,
        "unreadable": sum("unreadable" in fault for fault in faults),
        "where": (fell := dict(Counter(kill.where for kill, _ in kills))),
        "aimed": dict(Counter(kill.aimed for kill, _ in kills)),
        "forms": dict(Counter(found.form for _, found in kills)),
        "trainings": sum(bool(found.kills) for found in trainings),
        "killed_more_than_once": sum(len(found.kills) > 1 for found in trainings),
        "begun_anew": sum(found.anew for found in trainings),
        "most_left_by_kills": max(found.left for found in trainings),
        "usual": {form.name: form.usual._asdict() for form in forms},
        "seconds": time.monotonic() - begin,
        "faults": faults[:100],
    }
    payload = {"dataset": {k: v for k, v in described["data"].items() if k != "provenance"}, "seed": args.seed or 0}
    payload |= {"setting": SETTINGS | {"forms": chosen}, "result": result}
    document = common.record(common.join_name("kill", args.tag), payload, args.results)
    table("kills", ["where it fell", "kills"], sorted(fell.items()))
    common.finish(document)
    if faults or identical < len(kills):
        sys.exit(f"{len(faults)} faults, the first: {faults[0]}")


if __name__ == "__main__":
    main()
