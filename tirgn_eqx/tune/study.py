"""A study: what it is a search of, and its trials, each worked on by one process at a time and finished once."""

import contextlib
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tirgn_eqx.checkpoint.training_state import STATE_FILE
from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import CheckpointError, ConfigError, DataError, nearest, shown
from tirgn_eqx.storage.locks import exclusive_lock
from tirgn_eqx.tune.journal import import_optuna, open_storage, turn
from tirgn_eqx.tune.space import Choices, Space, distributions, said, to_dict

PRUNERS = ("median", "hyperband", "none")
NAME = "tirgn"
_LOCK = ".trial.lock"
# What trials may differ in and still be compared: where they write, and how often.
_FREE = ("logdir", "save_every", "save_minutes", "keep", "checkpoint_interval")


@dataclass
class Claim:
    """A trial that this process has to itself until `release`. `trial`: optuna's; `resumed`: whether it was saved on
    its way; `attempts`: workers that began or took it over, with this one."""

    trial: Any
    folder: Path
    resumed: bool
    attempts: int
    held: ExitStack

    def release(self) -> None:
        self.held.close()


class SharedStudy:
    """The study at `path`, begun where there is none; its trials have their folders beside it.

    **Arguments:** `config`: what every trial has in common; `space`: what differs; `seed`: of the draws; `pruner`: how
    hopeless trials are told, one of `PRUNERS`; `startup`: trials that are drawn at random, and finished before any is
    given up.

    **Raises:** ConfigError without optuna, or when the study there is of other data, settings or space, each named;
    DataError for a file that is no study.
    """

    def __init__(
        self,
        path: Path,
        graph: TemporalGraph,
        config: TiRGNTrainingConfig,
        space: Space,
        *,
        seed: int = 0,
        pruner: str = "median",
        startup: int = 5,
    ):
        self.path, self.config, self.space, self.seed, self.startup = path, config, space, seed, startup
        self._optuna = import_optuna()
        storage = open_storage(path)
        made_for = {
            "data": {"name": graph.name, "sha256": graph.checksum},
            "config": {k: v for k, v in config.to_dict().items() if k not in space and k not in _FREE},
            "space": to_dict(space),
        }
        with turn(path):
            known = self._optuna.get_all_study_names(storage)
            if NAME not in known:
                if known:
                    raise DataError(
                        f"{path}: holds a study {shown(known[0])} of another program; choose another --study"
                    )
                for left in sorted(path.parent.glob("trial-[0-9]*")):
                    raise DataError(
                        f"{left}: left by another study, and {path} begins anew; remove it, or put --study elsewhere"
                    )
            options: dict[str, Any] = {"storage": storage, "study_name": NAME, "pruner": self._pruner(pruner)}
            # To create one that is there would add a line to the journal.
            load, create = self._optuna.load_study, self._optuna.create_study
            self.study = load(**options) if NAME in known else create(direction="maximize", **options)
            before = self.study.user_attrs.get("made_for")
            if before is None and not self.study.get_trials(deepcopy=False):
                self.study.set_user_attr("made_for", made_for)
            else:
                _check_same(path, before, made_for)
        self._distributions = distributions(space)
        self._check_trials()

    def _check_trials(self) -> None:
        """**Raises:** DataError where a trial drew from another range than the study's space says."""
        for trial in self.study.get_trials(deepcopy=False):
            for name, one in trial.distributions.items():
                if one != self._distributions.get(name):
                    raise DataError(
                        f"{self.path}: trial {trial.number} drew {shown(name)} from another range than the study has; "
                        "choose another --study"
                    )

    # --- trials ----------------------------------------------------------------------------------------------

    def claim(self, trials: int) -> Claim | None:
        """The next trial to work on, while there are fewer than `trials`: first one whose worker is gone, then a new
        one; None when the others are finished or being worked on."""
        with turn(self.path):
            known = self.study.get_trials(deepcopy=False)
            for found in known:
                if not found.state.is_finished() and (claim := self._take_over(found.number)) is not None:
                    return claim
            if len(known) >= trials:
                return None
            number = len(known)
            folder, held = self.folder(number), ExitStack()
            self._hold(held, folder)
            with held:
                self.study.sampler = self._sampler(number)
                claim = Claim(self.study.ask(), folder, False, 1, held)
                self._draw(claim)
                claim.held = held.pop_all()
            return claim

    def _take_over(self, number: int) -> Claim | None:
        """A trial that is not finished, unless another process works on it."""
        folder, held = self.folder(number), ExitStack()
        try:
            self._hold(held, folder)
        except BlockingIOError:
            return None
        with held:
            # It may have been finished between the look at it and the lock.
            found = self.study.get_trials(deepcopy=False)[number]
            if found.state.is_finished():
                return None
            self.study.sampler = self._sampler(number)
            trial = self._optuna.trial.Trial(self.study, found._trial_id)
            attempts = found.user_attrs.get("attempts", 0)
            attempts = attempts + 1 if isinstance(attempts, int) else 1
            claim = Claim(trial, folder, (folder / f"{STATE_FILE}.npz").is_file(), attempts, held)
            self._draw(claim)
            claim.held = held.pop_all()
            return claim

    def _hold(self, held: ExitStack, folder: Path) -> None:
        """**Raises:** BlockingIOError while another process works in `folder`."""
        try:
            held.enter_context(exclusive_lock(folder / _LOCK, BlockingIOError(f"{folder}: is being worked on")))
        except BlockingIOError:
            raise
        except OSError as error:
            raise CheckpointError(f"{folder}: cannot be written ({error.strerror}); choose another --study") from error

    def _draw(self, claim: Claim) -> None:
        """Give the trial a value for every setting; those that it has already stay."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of optuna
            for name, one in self._distributions.items():
                if isinstance(self.space[name], Choices):
                    claim.trial.suggest_categorical(name, one.choices)
                elif isinstance(one, self._optuna.distributions.IntDistribution):
                    claim.trial.suggest_int(name, one.low, one.high, log=one.log)
                else:
                    claim.trial.suggest_float(name, one.low, one.high, log=one.log)
        claim.trial.set_user_attr("attempts", claim.attempts)
        if claim.resumed:
            claim.trial.set_user_attr("resumed", claim.trial.user_attrs.get("resumed", 0) + 1)

    def settings(self, params: Mapping[str, Any]) -> TiRGNTrainingConfig:
        """The config of a trial. **Raises:** DataError for values that a setting cannot have."""
        try:
            return self.config.replace(**{name: params[name] for name in self.space})
        except (ConfigError, KeyError) as error:
            raise DataError(f"{self.path}: has a trial that cannot be ({error}); choose another --study") from error

    def folder(self, number: int) -> Path:
        return self.path.parent / f"trial-{number:04d}"

    def report(self, claim: Claim, epoch: int, mrr: float) -> bool:
        """Keep a validation of the trial; whether it is to be given up."""
        trial = claim.trial
        if epoch not in self.trial(trial.number).intermediate_values:  # a resumed trial may come by it again
            trial.report(mrr, epoch)
        return bool(trial.should_prune())

    def trial(self, number: int) -> Any:
        """What is known of a trial."""
        return self.study.get_trials(deepcopy=False)[number]

    def finish(self, claim: Claim, state: str, mrr: float | None = None, **known: Any) -> None:
        """Say how a trial ended: `complete` with its `mrr`, `pruned` or `failed`; and what else is `known` of it."""
        for name, value in known.items():
            if value is not None:
                claim.trial.set_user_attr(name, value)
        states = self._optuna.trial.TrialState
        kind = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[state]
        self.study.tell(claim.trial, mrr if state == "complete" else None, kind, skip_if_finished=False)

    # --- what came of it -------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """All trials by number: state, validation MRR (of one given up: its best so far), settings, what is known."""
        return [self._row(trial) for trial in self.study.get_trials(deepcopy=False)]

    def _row(self, trial: Any) -> dict[str, Any]:
        name = trial.state.name.lower()
        state = {"fail": "failed", "waiting": "running"}.get(name, name)
        values = [value for value in trial.intermediate_values.values() if value == value]
        mrr = trial.value if state == "complete" else max(values, default=None)
        extra = ("best_epoch", "epochs_trained", "seconds", "attempts", "resumed", "reason")
        known = {key: trial.user_attrs[key] for key in extra if key in trial.user_attrs}
        return {"number": trial.number, "state": state, "mrr": mrr, "params": dict(trial.params)} | known

    def best(self) -> dict[str, Any] | None:
        """The row of the complete trial with the highest MRR, the first of equal ones."""
        complete = [row for row in self.rows() if row["state"] == "complete" and row["mrr"] is not None]
        return max(complete, key=lambda row: (row["mrr"], -row["number"]), default=None)

    def clear(self, keep: bool) -> None:
        """Remove the checkpoints of finished trials, but for the best one; nothing where `keep`. Call it in a turn."""
        best = self.best()
        for row in [] if keep else self.rows():
            if row["state"] != "running" and (best is None or row["number"] != best["number"]):
                for path in self.folder(row["number"]).glob("tirgn_*"):
                    if path.suffix in (".npz", ".json"):
                        with contextlib.suppress(FileNotFoundError):
                            path.unlink()

    # --- optuna's parts --------------------------------------------------------------------------------------

    def _sampler(self, number: int) -> Any:
        """The sampler of one trial: its draws follow from seed, number and what is known by then, whoever draws."""
        seed = zlib.crc32(f"{self.seed} {number}".encode())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constant_liar was marked experimental in optuna 4
            return self._optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.startup, constant_liar=True)

    def _pruner(self, name: str) -> Any:
        pruners = self._optuna.pruners
        if name == "median":
            return pruners.MedianPruner(n_startup_trials=self.startup)
        if name == "hyperband":
            longest = max(self.config.epochs, 1)
            return pruners.HyperbandPruner(min_resource=min(self.config.eval_interval, longest), max_resource=longest)
        if name == "none":
            return pruners.NopPruner()
        raise ConfigError(f"--pruner {shown(name)}: must be one of {', '.join(PRUNERS)}{nearest(name, PRUNERS)}")


def _check_same(path: Path, before: Any, now: dict[str, Any]) -> None:
    """**Raises:** ConfigError for a study of other data, settings or space."""
    for difference in _differences(before, now):
        raise ConfigError(f"{path}: {difference}, or another --study")


def _differences(before: Any, now: dict[str, Any]) -> Iterator[str]:
    if not (isinstance(before, dict) and all(isinstance(before.get(part), dict) for part in now)):
        yield "does not say what it is a study of; give one that tirgn tune made"
        return
    was, is_now = before["data"], now["data"]
    if was.get("sha256") != is_now["sha256"]:
        yield (
            f"is a study of {shown(was.get('name'))} (sha256 {str(was.get('sha256'))[:12]}), not of {is_now['name']} "
            f"({is_now['sha256'][:12]}); give the same data"
        )
    for name in sorted({*before["space"], *now["space"]}):
        was, is_now = (found["space"].get(name) for found in (before, now))
        if was != is_now:
            yield f"searches {name} over {_range(was)}, not over {_range(is_now)}; give the same --param"
    for name in sorted({*before["config"], *now["config"]}):
        was, is_now = (found["config"].get(name) for found in (before, now))
        if was != is_now:
            yield f"is a study with {name} = {shown(was)}, not {shown(is_now)}; give the same settings"


def _range(part: Any) -> str:
    """A range or choices as a study says them."""
    if part is None:
        return "nothing"
    try:
        return shown(said(part)).strip("'")
    except (KeyError, TypeError):
        return shown(part)
