"""A search by several workers, some of them killed: is every trial finished exactly once, and is none begun anew?

Workers run `tirgn tune` at one study, as processes of their own. Now and then one is killed with SIGKILL and another
one is started, until the study has its trials. Then the journal and the logs of the trials are gone through: a trial
that was finished twice or never, one that began anew although it had been saved, an epoch that is missing from the logs
or there twice, is a fault. Time is that of the machine with all that runs on it.
"""

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks import common
from benchmarks.common import note

DATA = "sim:num_entities=30,num_relations=6,num_days=20,facts_per_day=30"
SETTINGS = common.QUICK_SETTINGS | {"epochs": 6, "save_every": 3}
SPACE = ("history_len=1:3", "num_layers=1,2", "dropout=0:0.5", "learning_rate=1e-3:3e-2:log")
FINISHED = {1: "complete", 2: "pruned", 3: "failed"}


class Worker:
    """One `tirgn tune`. **Arguments:** `words`: its options; `log`: where what it says goes."""

    def __init__(self, words: list[str], log: Path):
        self.begun, self.log = time.monotonic(), log
        with log.open("w") as out:
            command = [sys.executable, "-m", "tirgn_cli", "tune", *words]
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=common.child_environment())

    def ended(self) -> bool:
        return self.process.poll() is not None

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def operations(study: Path) -> list[common.Document]:
    """The journal, but for a line that is being written."""
    lines = study.read_bytes().splitlines(keepends=True) if study.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def unfinished(study: Path) -> set[int]:
    found = operations(study)
    begun = sum(one["op_code"] == 4 for one in found)
    return set(range(begun)) - {one["trial_id"] for one in found if one["op_code"] == 6 and one["state"] in FINISHED}


def saved(study: Path) -> set[int]:
    """Unfinished trials whose training was saved."""
    folder = study.parent
    return {number for number in unfinished(study) if (folder / f"trial-{number:04d}" / "tirgn_state.npz").exists()}


def lost(study: Path) -> set[int]:
    """Unfinished trials that were saved, and nobody works on."""
    free = {number for number in saved(study) if unlocked(study.parent / f"trial-{number:04d}")}
    return free & unfinished(study)  # one may have ended just now


def faults_of(study: Path, found: common.Document, trials: int, losses: dict[int, int]) -> list[str]:
    """What is not as it should be. **Arguments:** `losses`: kills that hit a saved trial, by trial."""
    ends = Counter(one["trial_id"] for one in operations(study) if one["op_code"] == 6 and one["state"] in FINISHED)
    faults = [f"trial {number} was finished {ends[number]} times" for number in range(trials) if ends[number] != 1]
    faults += [f"trial {number} is too many" for number in sorted(set(ends) - set(range(trials)))]
    for row in found["trials"]:
        number = row["number"]
        log = study.parent / f"trial-{number:04d}" / "logs" / "metrics.jsonl"
        epochs = sum("train/loss" in line for line in log.read_text().splitlines())
        if epochs != row.get("epochs_trained"):
            faults.append(f"trial {number} logged {epochs} epochs of {row.get('epochs_trained')}")
        if row.get("resumed", 0) < losses.get(number, 0):
            faults.append(f"trial {number} was lost {losses[number]} times and gone on with {row.get('resumed', 0)}")
    return faults


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--trials", type=int, metavar="N", help="of the study (default: 24; quick: 4)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="at a time (default: 2)")
    parser.add_argument("--kills", type=int, metavar="N", help="at most (default: 10; quick: 1)")
    args = parser.parse_args()
    data = args.data_path or DATA
    args = common.finalize(args)
    trials, kills = args.trials or (4 if args.quick else 24), args.kills or (1 if args.quick else 10)
    chance, begin = random.Random(args.seed or 0), time.monotonic()
    killed: list[dict[str, float]] = []
    losses: Counter[int] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        study = Path(temporary) / "tuning" / "study.journal"
        words = ["--data-path", data, "--study", str(study), "--trials", str(trials), "--startup", "3", "--only"]
        words += [word for one in SPACE for word in ("--param", one)] + ["--seed", str(args.seed or 0), "--json", "-q"]
        settings = {key: value for key, value in SETTINGS.items() if key not in ("history_len", "num_layers")}
        words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        started = 0

        def another() -> Worker:
            nonlocal started
            started += 1
            return Worker(words, Path(temporary) / f"worker-{started}.log")

        workers = [another() for _ in range(args.workers)]
        while not all(worker.ended() for worker in workers):
            time.sleep(chance.uniform(0.5, 3.0))
            failed = [worker for worker in workers if worker.process.poll() not in (None, 0)]
            if failed:
                sys.exit(f"a worker failed: {failed[0].log.read_text()[-500:]}")
            hit = saved(study)
            alive = [worker for worker in workers if not worker.ended()]
            if len(killed) >= kills or not hit or not alive or chance.random() > 0.3:
                continue
            worker, before = chance.choice(alive), lost(study)
            worker.kill()
            # What was lost before, and not taken over yet, is not lost again.
            free = sorted(lost(study) - before)
            losses.update(free)
            killed.append({"after_seconds": time.monotonic() - worker.begun, "lost_saved_trials": len(free)})
            note(f"killed {len(killed)} of at most {kills}; trials to take over: {free}")
            workers[workers.index(worker)] = another()
        last = common.last_json(workers[0].log.read_text())
        faults = faults_of(study, last, trials, losses)
        ends = Counter(row["state"] for row in last["trials"])
        result = {
            "trials": len(last["trials"]),
            "by_state": dict(ends),
            "workers_at_a_time": args.workers,
            "workers_started": started,
            "kills": killed,
            "trials_taken_over": sum(row.get("attempts", 1) > 1 for row in last["trials"]),
            "taken_over_saved": sum(row.get("resumed", 0) for row in last["trials"]),
            "faults": faults,
            "best": {key: last["best"][key] for key in ("number", "mrr", "params")},
            "seconds": time.monotonic() - begin,
        }
    payload = {"dataset": {k: v for k, v in last["dataset"].items() if k != "provenance"}, "seed": args.seed or 0}
    payload |= {"setting": SETTINGS | {"space": list(SPACE)}, "result": result}
    document = common.record(common.join_name("tune", args.tag), payload, args.results)
    common.table("trials", ["state", "trials"], sorted(ends.items()))
    common.finish(document)
    if faults:
        sys.exit(f"{len(faults)} faults, the first: {faults[0]}")


def unlocked(folder: Path) -> bool:
    """Whether nobody works on a trial."""
    from tirgn_eqx.storage.locks import is_locked

    return not is_locked(folder / ".trial.lock")


if __name__ == "__main__":
    main()
