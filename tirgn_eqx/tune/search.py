"""The search: one training per trial, until the study has as many trials as were asked for."""

import gc
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

import jax
from beartype import beartype

from tirgn_eqx.config import EventTrainingConfig, ModelTrainingConfig, SettingValue, TrainingConfig
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import CheckpointError, ConfigError, DataError, DivergedError, one_line
from tirgn_eqx.storage.atomic_write import write_text
from tirgn_eqx.train.api import train_tirgn
from tirgn_eqx.train.events import EndRecord, TrainingRecord, ValidationRecord, never
from tirgn_eqx.train.recovery import is_out_of_memory
from tirgn_eqx.tune.journal import study_lock
from tirgn_eqx.tune.space import Space, check_space, default_space, space_to_dict
from tirgn_eqx.tune.study import Claim, SharedStudy, TrialRow

_NO_NUMBER = "no validation gave a number"  # why a trial failed or was pruned
_PAUSE = 2.0  # seconds between two checks of the trials that other processes work on


@dataclass(frozen=True)
class TrialRecord:
    """A trial starts; `resumed`: it continues one whose process ended."""

    number: int
    params: dict[str, SettingValue]
    resumed: bool


@dataclass(frozen=True)
class TrialEndRecord:
    """A trial ended; `state`: complete, pruned or failed."""

    number: int
    state: str
    mrr: float | None


class BestTrial(TrialRow):
    """The best trial, with the paths of its settings and of its checkpoint, None where that was removed."""

    config: str
    checkpoint: str | None


class SearchResult(TypedDict):
    """What `tune` returns, JSON-compatible. `counts`: of the trials by state; `best`: None without a complete trial."""

    status: Literal["complete", "interrupted"]
    study: str
    counts: dict[str, int]
    best: BestTrial | None
    trials: list[TrialRow]
    space: dict[str, dict[str, object]]
    seed: int
    seconds: float


SearchRecord = TrainingRecord | TrialRecord | TrialEndRecord


@beartype
def tune(
    graph: TemporalGraph,
    config: TrainingConfig,
    *,
    study: str | Path = "tuning/study.journal",
    trials: int = 30,
    space: Space | None = None,
    seed: int = 0,
    pruner: str = "median",
    startup: int = 5,
    out: str | Path | None = None,
    keep_trials: bool = False,
    on_record: Callable[[SearchRecord], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> SearchResult:
    """Search for the settings with the highest validation MRR, alone or with other processes at the same `study`.

    A trial whose process died is taken over, and its training goes on from its last saved state. While other processes
    still work on the last trials, this one waits, and takes over a trial whose process dies.

    **Main arguments:** `graph`; `config`: what all trials have in common; `study`: the file that keeps everything, with
    the trials in folders next to it; `trials`: how many the study has in the end, by all processes; `space`: what is
    searched, None for `default_space`.

    **Other arguments:** `seed`, `pruner`, `startup`: see `SharedStudy`; `out`: where the best settings so far are
    written as TOML, None for `best.toml` next to the study; `keep_trials`: keep the checkpoints of all trials, not only
    those of the best; `on_record`: called with the records of `train_tirgn`, and with a `TrialRecord` and a
    `TrialEndRecord` around them; `stop`: called after every step, and True saves the trial's state and ends the search.

    **Returns:** a `SearchResult`.

    **Raises:** ConfigError without optuna, or for a study of other data, settings or space; DataError for a file that
    is no study, or when all trials failed; CheckpointError when a trial cannot be written or resumed.
    """
    if isinstance(config, EventTrainingConfig):
        raise ConfigError("family = events: is selected by another figure than the MRR; tune a model that ranks")
    if not isinstance(config, ModelTrainingConfig):
        raise ConfigError("history = evidence: has parts that are trained apart; tune each of them by itself")
    if trials < 1 or startup < 1:
        raise ConfigError(f"trials = {trials}, startup = {startup}: must be at least 1")
    has_static = graph.static is not None
    space = default_space(config, has_static) if space is None else space
    check_space(space, config, has_static)
    emit, stop = on_record or (lambda record: None), stop or never
    path, begin = Path(study), time.perf_counter()
    shared = SharedStudy(path, graph, config, space, seed=seed, pruner=pruner, startup=startup)
    out = path.parent / "best.toml" if out is None else Path(out)
    while not stop():
        claim = shared.claim(trials)
        if claim is None:
            # While others work, one of them may die, and its trial is then taken over here.
            if all(row["state"] != "running" for row in shared.rows()):
                break
            _wait(stop)
            continue
        try:
            ended = _work(shared, claim, graph, emit, stop)
        finally:
            # Also after an error: the system would keep the lock until this process ends.
            claim.release()
        # The compiled steps of one trial do not fit the shapes of the next.
        jax.clear_caches()
        gc.collect()
        if not ended:
            break
        _keep_best(shared, out, keep_trials)
    rows = shared.rows()
    counts = Counter(row["state"] for row in rows)
    status = "interrupted" if counts["running"] or len(rows) < trials else "complete"
    # Once more: another process may have ended the last trial.
    best = _keep_best(shared, out, keep_trials)
    if status == "complete" and best is None:
        reasons = [row.get("reason", "none came to a validation") for row in rows if row["state"] != "complete"]
        raise DataError(f"{path}: no trial came to its end ({reasons[0]}); choose another --study and a smaller space")
    return {
        "status": status,
        "study": str(path),
        "counts": {state: counts[state] for state in ("complete", "pruned", "failed", "running")},
        "best": best,
        "trials": rows,
        "space": space_to_dict(space),
        "seed": seed,
        "seconds": time.perf_counter() - begin,
    }


def _work(
    shared: SharedStudy,
    claim: Claim,
    graph: TemporalGraph,
    emit: Callable[[SearchRecord], None],
    stop: Callable[[], bool],
) -> bool:
    """Train one trial to its end; False when it was interrupted and can be resumed."""
    number, folder = claim.trial.number, claim.folder
    config = shared.trial_config(claim.trial.params).replace(logdir=str(folder / "logs"))
    emit(TrialRecord(number, dict(claim.trial.params), claim.resumed))
    pruned = False

    def record(one: TrainingRecord) -> None:
        nonlocal pruned
        # NaN is reported as well: the pruner takes it for the worst value.
        if isinstance(one, ValidationRecord) and one.epoch > 0:
            pruned = shared.report(claim, one.epoch, one.metrics["mrr"])
        if not isinstance(one, EndRecord):
            emit(one)

    try:
        write_text(folder / "config.toml", f"# settings of trial {number}\n{config.to_toml()}")
        found = train_tirgn(
            graph,
            config,
            model_dir=folder,
            run_name=f"trial-{number:04d}",
            resume=claim.resumed,
            on_record=record,
            stop=lambda: pruned or stop(),
        )
    except CheckpointError as error:
        if not claim.resumed:
            raise
        raise CheckpointError(
            f"trial {number} cannot be gone on with: {error}; or remove {folder}, and it begins anew"
        ) from error
    except Exception as error:
        if not _caused_by_settings(error):
            raise
        shared.finish(claim, "failed", reason=one_line(str(error))[:300])
        emit(TrialEndRecord(number, "failed", None))
        return True
    attributes = {key: found[key] for key in ("best_epoch", "epochs_trained")} | {"seconds": found["total_time"]}
    mrr = found["best_mrr"]
    # A trial that is to be pruned after its last epoch has come to its end, and counts as complete.
    if found["status"] == "complete" and mrr is not None and math.isfinite(mrr):
        shared.finish(claim, "complete", float(mrr), **attributes)
    elif found["status"] == "complete":
        shared.finish(claim, "failed", **attributes, reason=_NO_NUMBER)
    elif pruned:
        reason = _NO_NUMBER if shared.rows()[number]["mrr"] is None else None
        shared.finish(claim, "pruned", **attributes, reason=reason)
    else:
        return False
    row = shared.rows()[number]
    emit(TrialEndRecord(number, row["state"], row["mrr"]))
    return True


def _caused_by_settings(error: BaseException) -> bool:
    """Whether the settings made the trial fail: its loss diverged, or it needs too much memory."""
    causes = (error, error.__cause__)
    return isinstance(error, DivergedError) or any(cause is not None and is_out_of_memory(cause) for cause in causes)


def _keep_best(shared: SharedStudy, out: Path, keep_trials: bool) -> BestTrial | None:
    """Write the best settings so far to `out`, and remove the checkpoints of the other finished trials."""
    with study_lock(shared.path):
        if not keep_trials:
            shared.remove_checkpoints()
        best = shared.best()
        if best is None:
            return None
        config = shared.trial_config(best["params"])
        head = f"# trial {best['number']} of {shared.path.name}, validation MRR {best['mrr']:.6f}\n"
        write_text(out, head + config.to_toml())
    checkpoint = shared.folder(best["number"]) / "tirgn_best.npz"
    return {**best, "config": str(out), "checkpoint": str(checkpoint) if checkpoint.exists() else None}


def _wait(stop: Callable[[], bool]) -> None:
    until = time.monotonic() + _PAUSE
    while time.monotonic() < until and not stop():
        time.sleep(0.1)
