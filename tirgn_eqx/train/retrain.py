"""Retraining: a checkpoint goes on learning on newer data, and is replaced when the new model is as good.

The vocabulary is matched by name, the training begins with the old weights, both models answer the newest held-out
snapshots, and the new one takes the old one's place unless it is clearly worse.
"""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.random as jr
import numpy as np
from beartype import beartype

from tirgn_eqx.checkpoint.files import checkpoint_path, replace_checkpoint
from tirgn_eqx.checkpoint.models import load_model, save_calibration
from tirgn_eqx.checkpoint.run_folder import working_alone
from tirgn_eqx.checkpoint.training_state import STATE_FILE, as_begun
from tirgn_eqx.config import TrainingConfig
from tirgn_eqx.data.clock import with_clock
from tirgn_eqx.data.graph import SPLITS, TemporalGraph
from tirgn_eqx.data.names import places, with_further_names
from tirgn_eqx.data.snapshot_time import moment
from tirgn_eqx.data.vocabulary import for_checkpoint
from tirgn_eqx.errors import ConfigError, DataError, DataWarning
from tirgn_eqx.evaluate.calibrate import fit_temperature
from tirgn_eqx.evaluate.compare import Entrant, compare, paired_bootstrap
from tirgn_eqx.evaluate.protocol import make_evaluator
from tirgn_eqx.models import Model, build_model
from tirgn_eqx.train.api import Record, train_tirgn
from tirgn_eqx.train.staged import STAGE_FILE
from tirgn_eqx.train.warm_start import NameMap, warm_start

MAX_REGRESSION = 0.01
LOCK = ".retrain.lock"


@dataclass(frozen=True)
class Predecessor:
    """A checkpoint that is to be retrained: its file and the sha256 of it, the model, its settings and its metadata."""

    path: Path
    sha256: str
    model: Model
    config: TrainingConfig
    described: dict[str, Any]

    @property
    def provenance(self) -> dict[str, Any]:
        """Where its data came from; empty where it does not say."""
        return (self.described.get("data") or {}).get("provenance") or {}


def read_predecessor(path: str | Path) -> Predecessor:
    """The checkpoint at `path`, if it can be retrained.

    **Raises:** CheckpointError for a file that is no checkpoint; DataError for one without names, by which alone new
    data is matched, or with a static graph, whose words have none.
    """
    model, config, described = load_model(path)
    file = checkpoint_path(path)
    for kind, number in (("entities", "num_entities"), ("relations", "num_relations")):
        names = described.get(kind)
        if not (isinstance(names, list) and len(set(names)) == described[number]):
            raise DataError(
                f"{file}: holds no names of its {kind}, by which those of new data are matched; train anew with "
                "`tirgn train` on data that has names"
            )
    if model.static_edges is not None:
        raise DataError(
            f"{file}: its model has a static graph, which event tables have none of; train anew with `tirgn train "
            "--set static_graph=false`"
        )
    return Predecessor(file, hashlib.sha256(file.read_bytes()).hexdigest(), model, config, described)


@beartype
def retrain(
    old: Predecessor,
    graph: TemporalGraph,
    config: TrainingConfig,
    *,
    model_dir: str | Path,
    max_regression: float = MAX_REGRESSION,
    keep_gone: bool = False,
    on_record: Callable[[Record], None] | None = None,
    run_name: str | None = None,
    resume: bool = False,
    stop: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Train on `graph` from the weights of `old`, compare the two, and replace the checkpoint unless the test MRR fell
    by more than `max_regression`.

    The new model goes on with the clock of the old one, whose weights know its times: over years of retraining its
    times grow, and the linear time vector with them (`TimeEncoding`).

    **Main arguments:** `old`; `graph`: with names; `config`: such as `old.config`, with changes; `model_dir`: where the
    training writes, and where its checkpoint stays.

    **Other arguments:** `max_regression`: a fraction, 0.01 being one point of MRR; `keep_gone`: names that `graph` does
    not have stay in the vocabulary, after its own; `on_record`, `run_name`, `resume`, `stop`: as of `train_tirgn`.

    **Returns:** `status` ("replaced", "kept", or "interrupted", after which `resume` goes on), `dataset`, `window`,
    `mapping`, `training`, and after a whole training `comparison`, `decision`, and `previous`, the old checkpoint's new
    path.

    **Raises:** DataError for data without names, with none that `old` knows, or of another step; ConfigError for
    settings of another model; CheckpointError when there is nothing to resume, or the checkpoint was changed in the
    meantime.
    """
    model_dir, stop, emit = Path(model_dir), stop or (lambda: False), on_record or (lambda record: None)
    _check(old, graph, config, model_dir, max_regression)
    known = old.described["entities"], old.described["relations"]
    found = _mapping(old, graph)
    _check_news(old, graph, found)
    graph = with_clock(graph, old.described, learning=True)
    if keep_gone:
        graph = with_further_names(graph, *known)
    graph = as_begun(graph, *(model_dir / part for part in (".", "evidence", "structure"))) if resume else graph
    assert graph.entity_names is not None and graph.relation_names is not None
    names = NameMap(
        places(graph.entity_names, known[0]), places(graph.relation_names, known[1]), len(known[0]), len(known[1])
    )
    key = jr.split(jr.key(config.seed))[0]  # as a training begins
    report = {
        "status": "interrupted",
        "checkpoint": str(old.path),
        "previous": None,
        "dataset": graph.describe(),
        "window": window(graph),
        "mapping": found | {"gone_stay": keep_gone},
    }
    with working_alone(model_dir, LOCK, "retraining"):
        if not resume:
            _forget(model_dir)
        start = warm_start(_fresh(graph, config, key), old.model, names)
        options: dict[str, Any] = {"model_dir": model_dir, "on_record": on_record, "run_name": run_name}
        options |= {"resume": resume, "stop": stop, "start": start}
        training = train_tirgn(graph, config, **options)
        report |= {"model_type": training["model_type"], "training": training}
        if training["status"] != "complete":
            return report
        emit({"event": "stage", "stage": "comparison"})
        former = warm_start(_fresh(graph, old.config, key), old.model, names)
        comparison = _compared(Path(training["checkpoint"]), former, old, graph, stop)
        if comparison is None or stop():
            return report
        mrr = [side["entity"]["mrr"] for side in comparison["models"]]
        replaced = bool(mrr[0] >= mrr[1] - max_regression)
        decision = {"replaced": replaced, "mrr": mrr, "difference": mrr[0] - mrr[1], "max_regression": max_regression}
        if replaced:
            with working_alone(old.path.parent):
                previous = replace_checkpoint(old.path, training["checkpoint"], old.sha256)
            report["previous"] = str(previous)
        report |= {"status": "replaced" if replaced else "kept", "comparison": comparison, "decision": decision}
        return report


def _check(
    old: Predecessor, graph: TemporalGraph, config: TrainingConfig, model_dir: Path, max_regression: float
) -> None:
    if config.model_type != old.config.model_type:
        raise ConfigError(
            f"{old.path}: holds {old.config.model_type}, and the settings ask for {config.model_type}; leave model and "
            "history as they were, or train anew with `tirgn train`"
        )
    if not -1 <= max_regression <= 1:
        raise ConfigError(f"max_regression = {max_regression}: must be between -1 and 1, such as 0.01 for one point")
    if old.path.resolve().parent in [(model_dir / part).resolve() for part in (".", "structure", "evidence")]:
        raise ConfigError(f"--model-dir {model_dir}: the training would write over {old.path}; name another folder")
    for kind, names in (("entities", graph.entity_names), ("relations", graph.relation_names)):
        if names is None:
            raise DataError(f"{graph.name}: has no names of its {kind} to match with {old.path}; give data with names")


def _mapping(old: Predecessor, graph: TemporalGraph) -> dict[str, Any]:
    """How many names both have, the data alone, and the checkpoint alone. **Raises:** DataError for none in common."""
    counts = {}
    for kind, names in (("entities", graph.entity_names), ("relations", graph.relation_names)):
        known = old.described[kind]
        common = len(set(names or ()) & set(known))
        if common == 0:
            raise DataError(
                f"{graph.name}: none of its {kind} is one of {old.path} (here {(names or ['none'])[0]!r}, there "
                f"{known[0]!r}); give data of the same kind, or train anew with `tirgn train`"
            )
        counts[kind] = {"kept": common, "new": len(names or ()) - common, "gone": len(known) - common}
    return counts


def _check_news(old: Predecessor, graph: TemporalGraph, mapping: dict[str, Any]) -> None:
    """Warn where the facts are those that `old` was trained on, whatever order the ids have now."""
    same = not any(mapping[kind]["new"] for kind in mapping)
    if same and for_checkpoint(graph, old.described, learning=True).checksum == (old.described.get("data") or {}).get(
        "sha256"
    ):
        warnings.warn(
            f"{graph.name}: the very facts that {old.path} was trained on; has the data been updated?",
            DataWarning,
            stacklevel=3,
        )


def window(graph: TemporalGraph) -> dict[str, Any]:
    """Where the facts came from, and from when to when every split lasts; JSON-compatible."""
    splits = {}
    for split, counts in zip(SPLITS, graph.split_counts):
        snapshots = graph.split_snapshots(split)
        if len(snapshots):
            first, last = moment(graph, int(snapshots[0])), moment(graph, int(snapshots[-1]))
            splits[split] = {"from": first, "to": last, "facts": int(counts.sum())}
    ends = {"from": moment(graph, 0), "to": moment(graph, graph.num_snapshots - 1)}
    return ends | {"provenance": graph.provenance, "splits": splits}


def _fresh(graph: TemporalGraph, config: TrainingConfig, key: Any) -> Model:
    """The model of `config` for the vocabulary of `graph`, as it begins."""
    return build_model(graph.num_entities, graph.num_relations, config, graph.static, key=key)


def _compared(
    checkpoint: Path, former: Model, old: Predecessor, graph: TemporalGraph, stop: Callable[[], bool]
) -> dict[str, Any] | None:
    """The new checkpoint against the old model on the test split, which neither has seen; None where it was stopped.
    Where the old one was calibrated, the new one is as well."""
    model, config, _ = load_model(checkpoint)
    make = lambda model, config, split: make_evaluator(model, graph, split=split, **config.window())
    evaluator: Any = make(model, config, "test")
    new = evaluator(model)
    if stop():
        return None
    same = jax.tree.structure(model) == jax.tree.structure(former) and config.window() == old.config.window()
    before: Any = evaluator if same else make(former, old.config, "test")
    former_evaluation = before(former)
    report = compare(
        Entrant(str(checkpoint), config.model_type, new, True),
        Entrant(str(old.path), old.config.model_type, former_evaluation, False),
    )
    nll = [side.nll["entity"] for side in (new, former_evaluation)]
    low, high = paired_bootstrap(*nll)
    report["difference"]["nll"] = {"nats": float(np.mean(nll[0] - nll[1])), "interval_nats": [low, high]}
    if old.described.get("calibration"):
        valid: Any = make(model, config, "valid")
        fitted = fit_temperature(lambda temperature: valid(model, temperature))
        save_calibration(checkpoint, fitted)
        report["calibrated"] = fitted
    # The share that `compare` judges by is not the one that decides here.
    return {name: value for name, value in report.items() if name not in ("passed", "threshold")}


def _forget(model_dir: Path) -> None:
    """Remove what an earlier training here would be resumed from, so that a break finds this one's state or none."""
    for folder in (model_dir, model_dir / "evidence", model_dir / "structure"):
        for name in (STAGE_FILE, f"{STATE_FILE}.json", f"{STATE_FILE}.npz"):
            (folder / name).unlink(missing_ok=True)
