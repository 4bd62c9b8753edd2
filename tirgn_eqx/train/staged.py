"""Training a structure with evidence, in three stages: evidence by itself, the structure by itself, then the gate.

Trained together on one loss, evidence learns so fast that the structure learns next to nothing; so each has its own
loss, and only the gate, fitted on held-out snapshots, has that of both.
"""

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.random as jr
import numpy as np

from tirgn_eqx.checkpoint.files import load_checkpoint
from tirgn_eqx.checkpoint.models import load_model, save_model
from tirgn_eqx.checkpoint.run_folder import working_alone
from tirgn_eqx.checkpoint.training_state import STATE_FILE, as_begun
from tirgn_eqx.config import (
    EvidenceTrainingConfig,
    MixtureTrainingConfig,
    ModelTrainingConfig,
    REGCNTrainingConfig,
    TiRGNTrainingConfig,
)
from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader
from tirgn_eqx.data.clock import with_clock
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.data.index.snapshots import SnapshotStore
from tirgn_eqx.data.vocabulary import KINDS, reordered, vocabulary
from tirgn_eqx.errors import CheckpointError, ConfigError
from tirgn_eqx.evaluate.combined import CombinedEvaluator
from tirgn_eqx.evaluate.ranks import Ranks
from tirgn_eqx.evaluate.results import Evaluation
from tirgn_eqx.models import Combined, Evidence, Gate, Model, RecurrentGraphModel
from tirgn_eqx.storage.files import write_text
from tirgn_eqx.storage.untrusted import check_regular, parse_json
from tirgn_eqx.tracking.logger import TrainingLogger
from tirgn_eqx.train.api import Record, train_alone
from tirgn_eqx.train.gate import GateFit
from tirgn_eqx.train.optimizer import parameter_count
from tirgn_eqx.train.result import result_of
from tirgn_eqx.train.warm_start import fingerprint

STAGE_FILE = "stage.json"  # in the folder of a stage that is done: its result, and what it was trained with


class Stages:
    """The stages of one training, each in a folder of its own below `model_dir`."""

    def __init__(
        self,
        graph: TemporalGraph,
        config: MixtureTrainingConfig,
        model_dir: Path,
        emit: Callable[[Record], None],
        resume: bool,
        stop: Callable[[], bool],
        force: bool = False,
    ):
        self.graph, self.config, self.model_dir = graph, config, model_dir
        self.emit, self.resume, self.stop, self.force = emit, resume, stop, force
        self.results: dict[str, dict[str, Any]] = {}

    def part(
        self,
        name: str,
        config: ModelTrainingConfig,
        given: Path | None,
        run_name: str | None,
        start: Model | None = None,
    ) -> Path | None:
        """The checkpoint of a part, trained (from the weights of `start`) unless it is `given` or done already; None
        when it was stopped."""
        if given is not None:
            return self._given(name, given, config)
        folder = self.model_dir / name
        made_with = {"config": config.to_dict(), "sha256": self.graph.checksum}
        made_with |= {} if start is None else {"start": fingerprint(start)}
        if self.resume and (done := self._done(folder, made_with)) is not None:
            self.results[name] = done
            return folder / done["best"]
        self.emit({"event": "stage", "stage": name})
        # What an earlier training left here would be taken for the end of this one, were it broken off.
        (folder / STAGE_FILE).unlink(missing_ok=True)
        again = self.resume and (folder / f"{STATE_FILE}.npz").exists()
        found = train_alone(
            self.graph,
            config,
            model_dir=folder,
            on_record=lambda record: None if record["event"] == "end" else self.emit(record),
            run_name=run_name and f"{run_name}-{name}",
            resume=again,
            force=self.force,
            stop=self.stop,
            start=start,
        )
        self.results[name] = found
        if found["status"] != "complete":
            return None
        best = Path(found["checkpoint"])
        kept = found | {"checkpoint": None, "best": best.name}
        write_text(folder / STAGE_FILE, json.dumps(made_with | {"result": kept}))
        return best

    def _done(self, folder: Path, made_with: dict[str, Any]) -> dict[str, Any] | None:
        """What a stage gave that came to its end with the same settings and data, from the same weights."""
        try:
            check_regular(folder / STAGE_FILE)
            found = parse_json((folder / STAGE_FILE).read_text(encoding="utf-8"))
            best = found["result"]["best"]
            same = {key: value for key, value in found.items() if key != "result"} == made_with
            # The name of a file of this folder, not a way to another.
            if not (same and Path(best).name == best and (folder / best).is_file()):
                return None
            # The checksum does not see what the ids are called.
            return found["result"] if _same_names(self.graph, load_checkpoint(folder / best).metadata) else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _given(self, name: str, path: Path, config: ModelTrainingConfig) -> Path:
        """A checkpoint that takes the place of a stage, looked through."""
        model, trained, described = load_model(path, config.model_type)
        expected = (described.get("data") or {}).get("sha256")
        if expected != self.graph.checksum or not _same_names(self.graph, described):
            why = f"trained on other data than {self.graph.name} (checksums differ), so it may have seen what is to be "
            why += "forecast"
            if expected == self.graph.checksum:
                why = f"has other names for the ids of {self.graph.name}"
            elif reordered(self.graph, described).checksum == expected:
                why = f"numbers the names of {self.graph.name} in another order than the rest of this training"
            raise CheckpointError(f"{path}: {why}; leave --{name} out to train it")
        assert isinstance(trained, ModelTrainingConfig)
        words = trained.static_graph and self.graph.static is not None
        words = words and not (isinstance(trained, EvidenceTrainingConfig) and not trained.evidence_background)
        if words != (model.static_edges is not None):
            raise CheckpointError(
                f"{path}: has {'no' if words else 'a'} static graph, unlike a training on {self.graph.name} with its "
                f"settings now; leave --{name} out to train it"
            )
        metrics = described.get("metrics") or {}
        self.results[name] = {"status": "given", "model_type": config.model_type, "created": described.get("created")}
        self.results[name] |= {"seed": (described.get("config") or {}).get("seed")}
        self.results[name] |= {"best_epoch": metrics.get("epoch"), "validation": metrics.get("validation")}
        return path


def train_staged(
    graph: TemporalGraph,
    config: MixtureTrainingConfig,
    *,
    model_dir: str | Path = "models/tkg",
    on_record: Callable[[Record], None] | None = None,
    run_name: str | None = None,
    resume: bool = False,
    force: bool = False,
    stop: Callable[[], bool] | None = None,
    structure: str | Path | None = None,
    evidence: str | Path | None = None,
    start: Model | None = None,
) -> dict[str, Any]:
    """Train a mixture; see `train_tirgn`, which calls it.

    **Arguments:** `structure`, `evidence`: checkpoints trained on the same data, that take the place of their stages;
    `start`: a `Combined` model whose parts they begin from.

    **Returns:** what `train_tirgn` does, with `stages` in addition. `validation` is cross-fitted: every snapshot is
    forecast with a gate that was fitted on the others of two halves, since the final gate has seen them all.
    """
    with working_alone(Path(model_dir)):
        begin = time.perf_counter()
        folder = Path(model_dir)
        graph = as_begun(graph, folder / "evidence", folder / "structure", force=force) if resume else graph
        for given in (evidence, structure):
            graph = graph if given is None else reordered(graph, load_checkpoint(given).metadata)
        stop, emit = stop or (lambda: False), on_record or (lambda record: None)
        stages = Stages(graph, config, folder, emit, resume, stop, force)
        if not (start is None or isinstance(start, Combined)):
            raise ConfigError(
                f"{config.model_type} cannot begin from {type(start).__name__}; begin from one of its own kind"
            )
        path = {}
        for name, given in (("evidence", evidence), ("structure", structure)):
            settings = config.evidence if name == "evidence" else config.structure
            begin_from = None if start is None else getattr(start, name)
            found = stages.part(name, settings, None if given is None else Path(given), run_name, begin_from)
            if found is None:
                return result_of(config, "interrupted", stages=stages.results, **_trained(stages))
            path[name] = found
        emit({"event": "stage", "stage": "gate"})
        part, settings, _ = load_model(path["evidence"])
        base, structure_config, described = load_model(path["structure"])
        # A structure that was given may have been trained with another clock on the same facts.
        graph = with_clock(graph, described, learning=True)
        assert isinstance(part, Evidence) and isinstance(base, RecurrentGraphModel)
        assert isinstance(structure_config, TiRGNTrainingConfig | REGCNTrainingConfig)
        model = Combined(base, part, Gate(part, jr.key(config.seed)))
        shared: dict[str, Any] = part.needs | {"history_len": structure_config.history_len}
        shared |= {"index": EvidenceIndex(graph), "store": SnapshotStore(graph)}
        evaluator = CombinedEvaluator(graph, "valid", **shared)
        fitted, validation = fit_gate(model, evaluator, emit, stop)
        if fitted is None or validation is None:
            return result_of(config, "interrupted", stages=stages.results, **_trained(stages))
        # The parts' own settings, in case they were given.
        config = config.replace(structure=structure_config, evidence=settings)
        metrics = {"validation": validation.entity, "cross_fitted": True}
        best = save_model(Path(model_dir) / "tirgn_best", fitted, config, graph, metrics)
        emit({"event": "checkpoint", "path": str(best)})
        options = {"encoder": evaluator.encoder_programs, "programs": evaluator.programs}
        test = CombinedEvaluator(graph, "test", **shared, **options)(fitted)
        logs: dict[str, Any] = {"run_name": run_name, "config": config.to_dict(), "resume_step": 0 if resume else None}
        with TrainingLogger(config.logdir, **logs) as logger:
            logged = {f"eval/{name}": value for name, value in validation.entity.items()}
            logged |= {f"test/{name}": value for name, value in test.entity.items()}
            logger.log_metrics(logged, 0, once=resume)
        seconds = sum(found.get("total_time", 0.0) for found in stages.results.values())
        seconds = max(seconds, time.perf_counter() - begin)
        options = {"parameters": parameter_count(fitted), "seconds": seconds, "stages": stages.results}
        result = result_of(
            config, "complete", best=best, validation=validation, test=test, **options, **_trained(stages)
        )
        emit({"event": "end"} | result)
        return result


def _same_names(graph: TemporalGraph, described: dict[str, Any]) -> bool:
    """Whether every id has the same name, where both have names."""
    ours, theirs = vocabulary(graph), [described.get(kind) for kind in KINDS]
    return all(None in (ours[kind], names) or ours[kind] == names for kind, names in zip(KINDS, theirs))


def _trained(stages: Stages) -> dict[str, Any]:
    """What the result of all stages says about its epochs: those of the structure."""
    found = stages.results.get("structure", {})
    return {"epoch": found.get("epochs_trained", 0), "best_epoch": found.get("best_epoch")}


def fit_gate(
    model: Combined, evaluator: CombinedEvaluator, emit: Callable[[Record], None], stop: Callable[[], bool]
) -> tuple[Combined | None, Evaluation | None]:
    """The model with its gate fitted on all snapshots of the evaluator's split, and the evaluation of that split with
    gates fitted on either half of it, each forecasting the other; None where it was stopped."""
    asked = evaluator.loader
    # As in training, equal answers are put together: the loss may leave out other true answers, each of them once.
    options = {"batch_size": asked.batch_size, "max_buckets": 3, **model.evidence.needs}
    loader = EvidenceLoader(asked.graph, asked.index, evaluator.split, **options)
    snapshots, fit = loader.snapshots, GateFit(model, loader, evaluator.forecaster(model), emit)
    # A single snapshot cannot be halved: the gate as it begins forecasts it.
    halves = [half for half in (snapshots[::2], snapshots[1::2]) if 0 < len(half) < len(snapshots)]
    whole = None if halves else evaluator(model)
    for half in halves:
        fitted = fit(half, stop)
        if fitted is None:
            return None, None
        found = evaluator(fitted)
        whole = found if whole is None else _joined(found, whole, np.isin(whole.snapshot, half))
    return fit(snapshots, stop), whole


def _joined(last: Evaluation, first: Evaluation, seen_by_last: np.ndarray) -> Evaluation:
    """The questions of `first` where the gate of `last` has seen them, and those of `last` elsewhere."""
    pick = lambda old, new: {kind: np.where(seen_by_last, old[kind], new[kind]) for kind in old}
    columns = {name: pick(getattr(first, name), getattr(last, name)) for name in Ranks._fields}
    return dataclasses.replace(first, **columns)
