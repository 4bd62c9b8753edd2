"""A study: what is searched, and its trials, each of which one process at a time works on and which end once."""

import contextlib
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict, cast

from tirgn_eqx.checkpoint.training_state import STATE_FILE
from tirgn_eqx.config import ModelTrainingConfig, SettingValue, output_settings
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import CheckpointError, ConfigError, DataError, nearest, shown
from tirgn_eqx.storage.locks import exclusive_lock
from tirgn_eqx.tune.journal import import_optuna, open_storage, study_lock
from tirgn_eqx.tune.space import Space, distributions, format_part, space_to_dict

if TYPE_CHECKING:
    import optuna

PRUNERS = ("median", "hyperband", "none")
STUDY_NAME = "tirgn"
_LOCK = ".trial.lock"


class TrialRow(TypedDict):
    """A trial as JSON has it.

    - `mrr`: of the best validation; of a pruned trial, of the best until then. `params`: the values of its settings.
    - `seconds`: of its training; `attempts`: how many workers have worked on it; `resumed`: how often one of them went
      on from a saved state; `reason`: why there is no `mrr`.
    """

    number: int
    state: Literal["complete", "pruned", "failed", "running"]
    mrr: float | None
    params: dict[str, SettingValue]
    best_epoch: NotRequired[int]
    epochs_trained: NotRequired[int]
    seconds: NotRequired[float]
    attempts: NotRequired[int]
    resumed: NotRequired[int]
    reason: NotRequired[str]


@dataclass
class Claim:
    """A trial that this process alone works on until `release`.

    **Arguments:** `trial`: optuna's; `resumed`: whether a training state of it was saved; `attempts`: how many workers
    have worked on it, this one included; `locks`: held until the release.
    """

    trial: "optuna.trial.Trial"
    folder: Path
    resumed: bool
    attempts: int
    locks: ExitStack

    def release(self) -> None:
        """Let other processes work on the trial."""
        self.locks.close()


class SharedStudy:
    """The study at `path`, made where there is none; its trials have their folders next to it.

    **Arguments:** `config`: what every trial has in common; `space`: what differs; `seed`: of the sampler; `pruner`:
    how bad trials are recognised, one of `PRUNERS`; `startup`: trials that are sampled at random, and completed before
    any is pruned.

    **Raises:** ConfigError without optuna, or where the study is of other data, settings or space, each named;
    DataError for a file that is no study.
    """

    def __init__(
        self,
        path: Path,
        graph: TemporalGraph,
        config: ModelTrainingConfig,
        space: Space,
        *,
        seed: int = 0,
        pruner: str = "median",
        startup: int = 5,
    ):
        self.path, self.config, self.space, self.seed, self.startup = path, config, space, seed, startup
        import_optuna()
        import optuna

        storage = open_storage(path)
        # Trials that differ in where and how often they write can still be compared, and what the space varies is not
        # the same for all.
        free = output_settings() | set(space)
        made_for = {
            "data": {"name": graph.name, "sha256": graph.checksum},
            "config": {name: value for name, value in config.to_dict().items() if name not in free},
            "space": space_to_dict(space),
        }
        with study_lock(path):
            names = optuna.get_all_study_names(storage)
            if STUDY_NAME not in names:
                if names:
                    raise DataError(
                        f"{path}: holds a study {shown(names[0])} of another program; choose another --study"
                    )
                # Otherwise a trial that is taken over early could resume from the old state in its folder.
                for left in sorted(path.parent.glob("trial-[0-9]*")):
                    raise DataError(
                        f"{left}: left by another study, and {path} begins anew; remove it, or put --study elsewhere"
                    )
            chosen = self._pruner(pruner)
            # Creating a study that exists would add a line to the journal.
            if STUDY_NAME in names:
                self.study = optuna.load_study(study_name=STUDY_NAME, storage=storage, pruner=chosen)
            else:
                self.study = optuna.create_study(
                    study_name=STUDY_NAME, storage=storage, pruner=chosen, direction="maximize"
                )
            before = self.study.user_attrs.get("made_for")
            # A worker that died right after creating the study has left no description and no trials.
            if before is None and not self._trials():
                self.study.set_user_attr("made_for", made_for)
            else:
                for difference in _differences(before, made_for):
                    raise ConfigError(f"{path}: {difference}, or another --study")
        self._distributions = distributions(space)
        for trial in self._trials():
            for name, one in trial.distributions.items():
                if one != self._distributions.get(name):
                    raise DataError(
                        f"{path}: trial {trial.number} drew {shown(name)} from another range than the study has; "
                        "choose another --study"
                    )

    def claim(self, trials: int) -> Claim | None:
        """The next trial to work on while there are fewer than `trials`: first one whose worker died, then a new one.
        None when all others are finished or being worked on."""
        with study_lock(self.path):
            found = self._trials()
            for trial in found:
                if not trial.state.is_finished() and (claim := self._take_over(trial.number)) is not None:
                    return claim
            if len(found) >= trials:
                return None
            # Nobody else adds trials under the study's lock, so the next one gets this number. Its folder is locked
            # first, so that a folder that cannot be written leaves no trial in the study.
            number = len(found)
            folder, locks = self.folder(number), ExitStack()
            self._lock_folder(locks, folder)
            with locks:
                self.study.sampler = self._sampler(number)
                claim = Claim(self.study.ask(), folder, False, 1, locks)
                self._suggest(claim)
                # From here the claim holds the lock; had anything failed before, `with` would have released it.
                claim.locks = locks.pop_all()
            return claim

    def _take_over(self, number: int) -> Claim | None:
        """A trial that is not finished, unless another process works on it."""
        from optuna.trial import Trial

        folder, locks = self.folder(number), ExitStack()
        try:
            self._lock_folder(locks, folder)
        except BlockingIOError:
            return None
        with locks:
            # It may have been finished before the lock was taken.
            found = self.trial(number)
            if found.state.is_finished():
                return None
            self.study.sampler = self._sampler(number)
            # Optuna has no public call to go on with a trial that another process began.
            trial = Trial(self.study, found._trial_id)
            attempts = found.user_attrs.get("attempts", 0)
            attempts = attempts + 1 if isinstance(attempts, int) else 1
            claim = Claim(trial, folder, (folder / f"{STATE_FILE}.npz").is_file(), attempts, locks)
            self._suggest(claim)
            claim.locks = locks.pop_all()
            return claim

    def _lock_folder(self, locks: ExitStack, folder: Path) -> None:
        """**Raises:** BlockingIOError while another process works in `folder`."""
        try:
            locks.enter_context(exclusive_lock(folder / _LOCK, BlockingIOError(f"{folder}: is being worked on")))
        except BlockingIOError:
            # It is an OSError too, but one that `_take_over` expects.
            raise
        except OSError as error:
            raise CheckpointError(f"{folder}: cannot be written ({error.strerror}); choose another --study") from error

    def _suggest(self, claim: Claim) -> None:
        """Give the trial a value for every setting; one that it has already stays."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        with warnings.catch_warnings():
            # What optuna warns of would be printed, and is about its own interface.
            warnings.simplefilter("ignore")
            for name, one in self._distributions.items():
                match one:
                    case CategoricalDistribution():
                        claim.trial.suggest_categorical(name, one.choices)
                    case IntDistribution():
                        claim.trial.suggest_int(name, one.low, one.high, log=one.log)
                    case FloatDistribution():
                        claim.trial.suggest_float(name, one.low, one.high, log=one.log)
        claim.trial.set_user_attr("attempts", claim.attempts)
        if claim.resumed:
            claim.trial.set_user_attr("resumed", claim.trial.user_attrs.get("resumed", 0) + 1)

    def trial_config(self, params: Mapping[str, object]) -> ModelTrainingConfig:
        """The configuration of a trial. **Raises:** DataError for values that a setting cannot have."""
        try:
            return self.config.replace(**{name: params[name] for name in self.space})
        except (ConfigError, KeyError) as error:
            raise DataError(f"{self.path}: has a trial that cannot be ({error}); choose another --study") from error

    def folder(self, number: int) -> Path:
        """The folder of a trial."""
        return self.path.parent / f"trial-{number:04d}"

    def trial(self, number: int) -> "optuna.trial.FrozenTrial":
        """Optuna's record of a trial."""
        return self._trials()[number]

    def _trials(self) -> "list[optuna.trial.FrozenTrial]":
        return self.study.get_trials(deepcopy=False)

    def report(self, claim: Claim, epoch: int, mrr: float) -> bool:
        """Record a validation of the trial; whether the trial is to be pruned."""
        trial = claim.trial
        # A resumed trial may validate an epoch a second time.
        if epoch not in self.trial(trial.number).intermediate_values:
            trial.report(mrr, epoch)
        with warnings.catch_warnings():
            # NumPy warns when all values are NaN. Optuna then prunes the trial, as the worst one.
            warnings.simplefilter("ignore")
            return bool(trial.should_prune())  # it may be a boolean of NumPy

    def finish(
        self,
        claim: Claim,
        state: Literal["complete", "pruned", "failed"],
        mrr: float | None = None,
        **attributes: int | float | str | None,
    ) -> None:
        """Record how a trial ended: `complete` with its `mrr`, `pruned` or `failed`; with further `attributes`."""
        from optuna.trial import TrialState

        for name, value in attributes.items():
            if value is not None:
                claim.trial.set_user_attr(name, value)
        kind = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}[state]
        # Whoever holds the lock of a trial finishes it, once: a second time is an error that must not pass unnoticed.
        self.study.tell(claim.trial, mrr if state == "complete" else None, kind, skip_if_finished=False)

    def rows(self) -> list[TrialRow]:
        """All trials by number."""
        return [_row(trial) for trial in self._trials()]

    def best(self) -> TrialRow | None:
        """The row of the complete trial with the highest MRR, the first of equal ones."""
        complete = [row for row in self.rows() if row["state"] == "complete" and row["mrr"] is not None]
        # Of equal ones, `max` returns the first.
        return max(complete, key=lambda row: row["mrr"] or 0.0, default=None)

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints of finished trials, except the best one's. Call it under `study_lock`."""
        best = self.best()
        for row in self.rows():
            if row["state"] != "running" and (best is None or row["number"] != best["number"]):
                for path in self.folder(row["number"]).glob("tirgn_*"):
                    if path.suffix in (".npz", ".json"):
                        with contextlib.suppress(FileNotFoundError):
                            path.unlink()

    def _sampler(self, number: int) -> "optuna.samplers.TPESampler":
        """The sampler of one trial: its values follow from seed, number and the trials that have ended by then,
        whichever process samples."""
        from optuna.samplers import TPESampler

        # Unlike `hash` of a text, a checksum is the same in every process.
        seed = zlib.crc32(f"{self.seed} {number}".encode())
        with warnings.catch_warnings():
            # A constant liar counts running trials as bad ones, so that workers do not all try the same place.
            warnings.simplefilter("ignore")  # constant_liar was marked experimental in optuna 4
            return TPESampler(seed=seed, n_startup_trials=self.startup, constant_liar=True)

    def _pruner(self, name: str) -> "optuna.pruners.BasePruner":
        from optuna import pruners

        if name == "median":
            return pruners.MedianPruner(n_startup_trials=self.startup)
        if name == "hyperband":
            longest = self.config.epochs or 3  # 0: chosen by the data, 3 at least
            return pruners.HyperbandPruner(min_resource=min(self.config.eval_interval, longest), max_resource=longest)
        if name == "none":
            return pruners.NopPruner()
        raise ConfigError(f"--pruner {shown(name)}: must be one of {', '.join(PRUNERS)}{nearest(name, PRUNERS)}")


def _row(trial: "optuna.trial.FrozenTrial") -> TrialRow:
    name = trial.state.name.lower()
    state = {"fail": "failed", "waiting": "running"}.get(name, name)
    # NaN, which is unequal to itself, is left out.
    values = [value for value in trial.intermediate_values.values() if value == value]
    mrr = trial.value if state == "complete" else max(values, default=None)
    known = trial.user_attrs.keys() & TrialRow.__optional_keys__
    attributes = {key: trial.user_attrs[key] for key in TrialRow.__annotations__ if key in known}
    row = {"number": trial.number, "state": state, "mrr": mrr, "params": dict(trial.params)} | attributes
    return cast(TrialRow, row)  # as this class wrote it: optuna checks no attributes when it reads a journal


def _differences(before: object, now: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """What a study was made for unlike `now`, each with what to do about it."""
    if not (isinstance(before, dict) and all(isinstance(before.get(part), dict) for part in now)):
        yield "does not say what it is a study of; give one that tirgn tune made"
        return
    was, is_now = before["data"], now["data"]
    if was.get("sha256") != is_now["sha256"]:
        yield (
            f"is a study of {shown(was.get('name'))} (sha256 {str(was.get('sha256'))[:12]}), not of {is_now['name']} "
            f"({str(is_now['sha256'])[:12]}); give the same data"
        )
    for name in sorted({*before["space"], *now["space"]}):
        was, is_now = (found["space"].get(name) for found in (before, now))
        if was != is_now:
            yield f"searches {name} over {_range(was)}, not over {_range(is_now)}; give the same --param"
    for name in sorted({*before["config"], *now["config"]}):
        was, is_now = (found["config"].get(name) for found in (before, now))
        if was != is_now:
            yield f"is a study with {name} = {shown(was)}, not {shown(is_now)}; give the same settings"


def _range(part: object) -> str:
    """The range or choices that a study file holds, for a message."""
    with contextlib.suppress(KeyError):
        if isinstance(part, Mapping):
            return shown(format_part(part)).strip("'")
    return "nothing" if part is None else shown(part)
