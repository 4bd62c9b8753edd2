"""Retraining: a checkpoint is trained further on newer data, and replaced when the new model is as good.

The vocabulary is matched by name, the training begins with the old weights, and both models forecast the newest
held-out snapshots. The new one replaces the old one unless it is clearly worse.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

import jax
import jax.random as jr
from beartype import beartype
from jaxtyping import PRNGKeyArray

from tirgn_eqx.checkpoint.files import checkpoint_path, replace_checkpoint
from tirgn_eqx.checkpoint.metadata import CheckpointMetadata
from tirgn_eqx.checkpoint.models import load_any_model, load_model, save_calibration
from tirgn_eqx.checkpoint.run_folder import lock_folder
from tirgn_eqx.checkpoint.training_state import align_with_state
from tirgn_eqx.config import TrainingConfig
from tirgn_eqx.data.clock import apply_clock
from tirgn_eqx.data.graph import SPLITS, TemporalGraph
from tirgn_eqx.data.names import add_names, find_names
from tirgn_eqx.data.times import format_snapshot_time
from tirgn_eqx.data.vocabulary import match_checkpoint
from tirgn_eqx.errors import ConfigError, DataError, DataWarning
from tirgn_eqx.evaluate.bootstrap import bootstrap_interval
from tirgn_eqx.evaluate.calibrate import Calibration, fit_temperature
from tirgn_eqx.evaluate.compare import Comparison, EvaluatedModel, compare
from tirgn_eqx.evaluate.protocol import make_evaluator
from tirgn_eqx.models import AnyModel, EventModel, Model, build_model
from tirgn_eqx.train.api import train_tirgn
from tirgn_eqx.train.events import OnRecord, StageRecord, Stop, TrainingResult, ignore, never
from tirgn_eqx.train.staged import remove_states
from tirgn_eqx.train.warm_start import NameMap, warm_start

MAX_REGRESSION = 0.01
LOCK = ".retrain.lock"
PARTS = (".", "evidence", "structure")  # folders below `model_dir` that a training writes to


@dataclass(frozen=True)
class Predecessor:
    """A checkpoint that is to be retrained: of a model that ranks, or of event rates, see `retrain_events`.

    **Arguments:** `path`, `sha256`: of its file; `entities`, `relations`: its names.
    """

    path: Path
    sha256: str
    model: AnyModel
    config: TrainingConfig
    metadata: CheckpointMetadata
    entities: list[str]
    relations: list[str]


def read_predecessor(path: str | Path) -> Predecessor:
    """The checkpoint at `path`, if it can be retrained.

    **Raises:** CheckpointError for a file that is no checkpoint; ConfigError for an event model beside one that ranks;
    DataError for one without names, which new data are matched by, or with a static graph, whose words have none.
    """
    model, config, metadata = load_any_model(path)
    if isinstance(model, EventModel) and model.base is not None:
        raise ConfigError(
            f"{path}: holds an event model beside one that ranks, which are not retrained together; retrain the "
            "checkpoint that it was added to, and add it again with `tirgn train --events`"
        )
    file = checkpoint_path(path)
    names: list[list[str]] = []
    for kind, known in (("entities", metadata.entities), ("relations", metadata.relations)):
        # Of two equal names, none could be matched.
        if known is None or len(set(known)) < len(known):
            raise DataError(
                f"{file}: holds no names of its {kind}, by which those of new data are matched; train anew with "
                "`tirgn train` on data that has names"
            )
        names.append(known)
    if model.static_edges is not None:
        raise DataError(
            f"{file}: its model has a static graph, whose words have no names to match with those of new data; train "
            "anew with `tirgn train`, or with `--set static_graph=false` for a model to retrain"
        )
    return Predecessor(file, hashlib.sha256(file.read_bytes()).hexdigest(), model, config, metadata, *names)


# The functional form, since `from` cannot be the name of a field.
Period = TypedDict("Period", {"from": int | str, "to": int | str})


class SplitPeriod(Period):
    """The first and the last time of a split, and its number of facts."""

    facts: int


class DataWindow(Period):
    """Where the facts of a graph came from, and the first and last time of all and of every split that has any."""

    provenance: dict[str, object]
    splits: dict[str, SplitPeriod]


class NameCounts(TypedDict):
    """How many names the new data and the checkpoint both have, the data alone, and the checkpoint alone."""

    kept: int
    new: int
    gone: int


class NameMapping(TypedDict):
    """The names of either kind, and whether those that are gone stay in the vocabulary."""

    entities: NameCounts
    relations: NameCounts
    gone_stay: bool


class Decision(TypedDict):
    """Whether the checkpoint was replaced, and why: the test MRR of the new and of the old model, new - old, and by how
    much it might fall."""

    replaced: bool
    mrr: list[float]
    difference: float
    max_regression: float


class RetrainingResult(TypedDict):
    """What `retrain` returns, JSON-compatible.

    - `status`: "replaced", "kept", or "interrupted", after which `resume` continues.
    - `checkpoint`, `model_type`; `previous`: the new path of the old checkpoint, where it was replaced.
    - `dataset`, `window`: the data; `mapping`: by kind, how many names are kept, new and gone.
    - `training`: a `TrainingResult`; after a whole one, `comparison` of both models and the `decision`. The comparison
      is a `Comparison` as JSON without its verdict, with the difference of the NLL, and with what a calibration of the
      new model found.
    """

    status: Literal["replaced", "kept", "interrupted"]
    checkpoint: str
    previous: str | None
    dataset: dict[str, object]
    window: DataWindow
    mapping: NameMapping
    model_type: NotRequired[str]
    training: NotRequired[TrainingResult]
    comparison: NotRequired[dict[str, object]]
    decision: NotRequired[Decision]


@beartype
def retrain(
    old: Predecessor,
    graph: TemporalGraph,
    config: TrainingConfig,
    *,
    model_dir: str | Path,
    max_regression: float = MAX_REGRESSION,
    keep_gone: bool = False,
    on_record: OnRecord | None = None,
    run_name: str | None = None,
    resume: bool = False,
    stop: Stop | None = None,
) -> RetrainingResult:
    """Train on `graph` from the weights of `old`, and replace that checkpoint unless the test MRR fell too much.

    The new model keeps the clock of the old one, whose weights know its times: over years of retraining its times
    grow, and the linear time vector with them (`TimeEncoding`).

    **Main arguments:**

    - `graph`: the new data, with names.
    - `config`: such as `old.config`, with changes.
    - `model_dir`: where the training writes, and where its checkpoint stays.

    **Other arguments:**

    - `max_regression`: by how much the test MRR may fall, 0.01 being one point.
    - `keep_gone`: names that `graph` does not have stay in the vocabulary, after its own.
    - `on_record`, `run_name`, `resume`, `stop`: see `train_tirgn`.

    **Returns:** a dict, see `RetrainingResult`.

    **Raises:** DataError for data without names, with none that `old` knows, or of another clock step; ConfigError for
    settings of another model; CheckpointError when there is nothing to resume, or the checkpoint was changed in the
    meantime.
    """
    model_dir, stop, emit = Path(model_dir), stop or never, on_record or ignore
    assert not isinstance(old.model, EventModel)
    graph, mapping = prepare(old, graph, config, model_dir, max_regression, keep_gone)
    # The state that is resumed has its own order of ids, possibly another one than `graph` was read in.
    graph = align_with_state(graph, *(model_dir / part for part in PARTS)) if resume else graph
    names = map_names(old, graph)
    key = jr.split(jr.key(config.seed))[0]  # the key that a training initialises its model with
    report: RetrainingResult = {
        "status": "interrupted",
        "checkpoint": str(old.path),
        "previous": None,
        "dataset": graph.describe(),
        "window": describe_window(graph),
        "mapping": mapping,
    }
    # The training holds a lock of its own; this one also covers comparison and replacement.
    with lock_folder(model_dir, LOCK, "retraining"):
        if not resume:
            remove_states(*(model_dir / part for part in PARTS))
        start = warm_start(_initialize(graph, config, key), old.model, names)
        training = train_tirgn(
            graph, config, model_dir, on_record=emit, run_name=run_name, resume=resume, stop=stop, start=start
        )
        report["model_type"], report["training"] = training["model_type"], training
        if training["status"] != "complete":
            return report
        emit(StageRecord("comparison"))
        # The old model gets the new vocabulary in the same way, so that both answer the same queries.
        former = warm_start(_initialize(graph, old.config, key), old.model, names)
        comparison = _compare(Path(training["checkpoint"] or ""), former, old, graph, stop)
        if comparison is None or stop():
            return report
        mrr = [side.entity["mrr"] for side in comparison.report.models]
        # A NaN compares false, and the old checkpoint stays.
        replaced = bool(mrr[0] >= mrr[1] - max_regression)
        if replaced:
            with lock_folder(old.path.parent):
                # The lock is taken only now; the checksum says whether the file was changed during the training.
                previous = replace_checkpoint(old.path, training["checkpoint"] or "", old.sha256)
            report["previous"] = str(previous)
        report["status"] = "replaced" if replaced else "kept"
        report["comparison"] = comparison.to_dict()
        report["decision"] = {
            "replaced": replaced,
            "mrr": mrr,
            "difference": mrr[0] - mrr[1],
            "max_regression": max_regression,
        }
        return report


def prepare(
    old: Predecessor,
    graph: TemporalGraph,
    config: TrainingConfig,
    model_dir: Path,
    max_regression: float,
    keep_gone: bool,
) -> tuple[TemporalGraph, NameMapping]:
    """`graph` on the clock of `old`, with the names that are gone where these stay, and how its names are those of
    `old`. Warns of the very facts that `old` was trained on.

    **Raises:** as `retrain`.
    """
    _check(old, graph, config, model_dir, max_regression)
    mapping = _count_names(old, graph, keep_gone)
    _warn_of_same_facts(old, graph, mapping)
    graph = apply_clock(graph, old.metadata, learning=True)
    return add_names(graph, old.entities, old.relations) if keep_gone else graph, mapping


def _check(
    old: Predecessor, graph: TemporalGraph, config: TrainingConfig, model_dir: Path, max_regression: float
) -> None:
    """**Raises:** ConfigError for settings of another model, or a folder that holds `old`; DataError for data without
    names."""
    if config.model_type != old.config.model_type:
        raise ConfigError(
            f"{old.path}: holds {old.config.model_type}, and the settings ask for {config.model_type}; leave model and "
            "history as they were, or train anew with `tirgn train`"
        )
    if not -1 <= max_regression <= 1:
        raise ConfigError(f"max_regression = {max_regression}: must be between -1 and 1, such as 0.01 for one point")
    # Resolved, since two paths may name one folder.
    if old.path.resolve().parent in [(model_dir / part).resolve() for part in PARTS]:
        raise ConfigError(f"--model-dir {model_dir}: the training would write over {old.path}; name another folder")
    for kind, names in (("entities", graph.entity_names), ("relations", graph.relation_names)):
        if names is None:
            raise DataError(f"{graph.name}: has no names of its {kind} to match with {old.path}; give data with names")


def _count_names(old: Predecessor, graph: TemporalGraph, keep_gone: bool) -> NameMapping:
    """How the names of `graph` are those of `old`. **Raises:** DataError when they have none of a kind in common."""

    def count(kind: str, names: Sequence[str], known: list[str]) -> NameCounts:
        common = len(set(names) & set(known))
        if common == 0:
            raise DataError(
                f"{graph.name}: none of its {kind} is one of {old.path} (here {(names or ['none'])[0]!r}, there "
                f"{known[0]!r}); give data of the same kind, or train anew with `tirgn train`"
            )
        return {"kept": common, "new": len(names) - common, "gone": len(known) - common}

    return {
        "entities": count("entities", graph.entity_names or (), old.entities),
        "relations": count("relations", graph.relation_names or (), old.relations),
        "gone_stay": keep_gone,
    }


def map_names(old: Predecessor, graph: TemporalGraph) -> NameMap:
    """The id in `old` of every name of `graph`, which has names."""
    assert graph.entity_names is not None and graph.relation_names is not None
    return NameMap(
        find_names(graph.entity_names, old.entities),
        find_names(graph.relation_names, old.relations),
        len(old.entities),
        len(old.relations),
    )


def _warn_of_same_facts(old: Predecessor, graph: TemporalGraph, mapping: NameMapping) -> None:
    """Warn when the facts are those that `old` was trained on, whatever order the ids have now."""
    if mapping["entities"]["new"] or mapping["relations"]["new"] or old.metadata.data is None:
        return
    # A checksum depends on the order of ids, so it is taken with those of the checkpoint.
    if match_checkpoint(graph, old.metadata, learning=True).checksum == old.metadata.checksum:
        warnings.warn(
            f"{graph.name}: the very facts that {old.path} was trained on; has the data been updated?",
            DataWarning,
            stacklevel=4,
        )


def describe_window(graph: TemporalGraph) -> DataWindow:
    """Where the facts came from, and the first and last time of every split; JSON-compatible."""

    def period(first: int, last: int) -> Period:
        return {"from": format_snapshot_time(graph, first), "to": format_snapshot_time(graph, last)}

    splits: dict[str, SplitPeriod] = {}
    for split, counts in zip(SPLITS, graph.split_counts):
        snapshots = graph.split_snapshots(split)
        if len(snapshots):
            splits[split] = {**period(int(snapshots[0]), int(snapshots[-1])), "facts": int(counts.sum())}
    return {**period(0, graph.num_snapshots - 1), "provenance": graph.provenance, "splits": splits}


def _initialize(graph: TemporalGraph, config: TrainingConfig, key: PRNGKeyArray) -> Model:
    """The model of `config` for the vocabulary of `graph` with random weights."""
    return build_model(graph.num_entities, graph.num_relations, config, graph.static, key=key)


@dataclass(frozen=True)
class _Comparison:
    """The new model against the old one.

    **Arguments:** `nll`: the mean difference of the entity queries' NLL, in nats; `interval`: of it, 95 % of a paired
    bootstrap; `calibrated`: what a calibration of the new model found, None for none.
    """

    report: Comparison
    nll: float
    interval: tuple[float, float]
    calibrated: Calibration | None

    def to_dict(self) -> dict[str, object]:
        document = self.report.to_dict()
        document["difference"]["nll"] = {"nats": self.nll, "interval_nats": list(self.interval)}
        if self.calibrated is not None:
            document["calibrated"] = self.calibrated.to_dict()
        # `compare` judges by another threshold than the one that decides here.
        return {name: value for name, value in document.items() if name not in ("passed", "threshold")}


def _compare(checkpoint: Path, former: Model, old: Predecessor, graph: TemporalGraph, stop: Stop) -> _Comparison | None:
    """The new checkpoint against the old model on the test split, which neither has seen; None when it was stopped.

    Where the old checkpoint was calibrated, the new one is calibrated as well.
    """
    model, config, _ = load_model(checkpoint)
    evaluator = make_evaluator(model, graph, split="test", **config.window())
    new = evaluator(model)
    if stop():
        return None
    # A compiled evaluation fits models of one structure and batches of one window.
    same = _structure(model) == _structure(former) and config.window() == old.config.window()
    other = evaluator if same else make_evaluator(former, graph, split="test", **old.config.window())
    former_evaluation = other(former)
    report = compare(
        EvaluatedModel(str(checkpoint), config.model_type, new, True),
        EvaluatedModel(str(old.path), old.config.model_type, former_evaluation, False),
    )
    worse = new.nll["entity"] - former_evaluation.nll["entity"]
    calibrated = None
    if old.metadata.calibration is not None:
        # On valid, since test compares the two models.
        valid = make_evaluator(model, graph, split="valid", **config.window())
        calibrated = fit_temperature(lambda temperature: valid(model, temperature))
        save_calibration(checkpoint, calibrated.to_dict())
    return _Comparison(report, float(worse.mean()), bootstrap_interval(worse), calibrated)


def _structure(model: Model) -> object:
    # JAX's annotation of it is incomplete.
    return jax.tree.structure(model)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
