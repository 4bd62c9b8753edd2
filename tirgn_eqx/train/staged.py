"""Training a mixture in three stages: the evidence by itself, the structure by itself, then the gate.

Trained together on one loss, evidence learns so fast that the structure learns next to nothing. So each part has a loss
of its own, and only the gate, fitted on held-out snapshots, has that of the mixture.
"""

import dataclasses
import time
from functools import partial
from pathlib import Path
from typing import cast

import jax.random as jr
import numpy as np

from tirgn_eqx.checkpoint.files import load_checkpoint
from tirgn_eqx.checkpoint.metadata import CheckpointMetadata, StageDocument, StageIdentity, parse_document
from tirgn_eqx.checkpoint.models import load_model, save_model
from tirgn_eqx.checkpoint.run_folder import lock_folder
from tirgn_eqx.checkpoint.training_state import STATE_FILE, align_with_state
from tirgn_eqx.config import (
    EvidenceTrainingConfig,
    MixtureTrainingConfig,
    ModelTrainingConfig,
    REGCNTrainingConfig,
    TiRGNTrainingConfig,
)
from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader, EvidenceOptions
from tirgn_eqx.data.clock import apply_clock
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.data.index.snapshots import SnapshotStore
from tirgn_eqx.data.vocabulary import describe_vocabulary, reorder_ids
from tirgn_eqx.errors import CheckpointError, ConfigError
from tirgn_eqx.evaluate.evaluators import MixtureEvaluator
from tirgn_eqx.evaluate.ranks import Ranks
from tirgn_eqx.evaluate.results import Evaluation
from tirgn_eqx.models import Evidence, Gate, Mixture, RecurrentGraphModel
from tirgn_eqx.storage.atomic_write import write_text
from tirgn_eqx.storage.strict_json import to_json
from tirgn_eqx.storage.untrusted import check_regular, parse_json
from tirgn_eqx.tracking.logger import TrainingLogger
from tirgn_eqx.train import events
from tirgn_eqx.train.events import GivenPart, OnRecord, PartName, Stop, TrainingResult, make_result
from tirgn_eqx.train.families import training_family
from tirgn_eqx.train.gate import GateFitter
from tirgn_eqx.train.optimizer import parameter_count
from tirgn_eqx.train.single import RunOptions, train_single
from tirgn_eqx.train.warm_start import fingerprint

STAGE_FILE = "stage.json"  # in the folder of a finished stage


class Stages:
    """Trains the parts of a mixture, each in a folder of its own; `results` holds what they gave."""

    def __init__(self, graph: TemporalGraph, options: RunOptions):
        self.graph, self.options = graph, options
        self.results: dict[PartName, TrainingResult | GivenPart] = {}

    def train(self, name: PartName, config: ModelTrainingConfig) -> Path | None:
        """Train a part unless it is finished already. **Returns:** its best checkpoint; None when it was stopped."""
        options, folder = self.options, self.options.model_dir / name
        start = None if options.start is None else getattr(options.start, name)
        identity = StageIdentity(
            config=config.to_dict(), sha256=self.graph.checksum, start=None if start is None else fingerprint(start)
        )
        if options.resume and (finished := finished_stage(folder, self.graph, identity)) is not None:
            # Written by `train` below, for this training: `finished_stage` has compared its identity.
            self.results[name] = cast(TrainingResult, finished.result)
            return folder / finished.best
        options.on_record(events.StageRecord(name))
        # A resumed training would take the file of an earlier training for the end of this one.
        (folder / STAGE_FILE).unlink(missing_ok=True)
        part_options = dataclasses.replace(
            options,
            model_dir=folder,
            on_record=events.without_end(options.on_record),
            run_name=options.run_name and f"{options.run_name}-{name}",
            resume=options.resume and (folder / f"{STATE_FILE}.npz").exists(),
            start=start,
        )
        result = train_single(self.graph, config, part_options)
        self.results[name] = result
        if result["status"] != "complete" or result["checkpoint"] is None:
            return None
        # The document holds a name without its folder, so that the folder can be moved.
        best = Path(result["checkpoint"])
        document = StageDocument(identity=identity, best=best.name, result=dict(result) | {"checkpoint": None})
        write_text(folder / STAGE_FILE, to_json(document.model_dump()))
        return best

    def use(self, name: PartName, path: Path, config: ModelTrainingConfig) -> Path:
        """Take the checkpoint `path` for a part instead of training it.

        **Raises:** CheckpointError for one that was trained on other data, or cannot be a part of this mixture.
        """
        model, trained, metadata = load_model(path, config.model_type)
        assert isinstance(trained, ModelTrainingConfig)
        if metadata.is_refit:
            raise CheckpointError(
                f"{path}: was trained on valid, too, on which the gate is fitted; give the checkpoint beside it"
            )
        checksum = metadata.checksum
        if checksum != self.graph.checksum or not _same_names(self.graph, metadata):
            reason = (
                f"trained on other data than {self.graph.name} (checksums differ), so it may have seen what is to be "
                "forecast"
            )
            if checksum == self.graph.checksum:
                reason = f"has other names for the ids of {self.graph.name}"
            elif reorder_ids(self.graph, metadata).checksum == checksum:
                reason = f"numbers the names of {self.graph.name} in another order than the rest of this training"
            raise CheckpointError(f"{path}: {reason}; leave --{name} out to train it")
        expects_static = self.graph.static is not None and training_family(trained).reads_static(trained)
        if expects_static != (model.static_edges is not None):
            raise CheckpointError(
                f"{path}: has {'no' if expects_static else 'a'} static graph, unlike a training on {self.graph.name} "
                f"with its settings now; leave --{name} out to train it"
            )
        metrics = metadata.metrics or {}
        epoch = metrics.get("epoch")
        self.results[name] = {
            "status": "given",
            "model_type": config.model_type,
            "created": metadata.created or None,
            "seed": metadata.config.get("seed"),
            "best_epoch": epoch if isinstance(epoch, int) else None,
            "validation": metrics.get("validation"),
        }
        return path


def remove_states(*folders: Path) -> None:
    """Remove the training states of an earlier training in `folders`, so that `resume` never continues that one."""
    for folder in folders:
        for name in (STAGE_FILE, f"{STATE_FILE}.json", f"{STATE_FILE}.npz"):
            (folder / name).unlink(missing_ok=True)


def finished_stage(folder: Path, graph: TemporalGraph, identity: StageIdentity) -> StageDocument | None:
    """The document of a stage in `folder` that was finished with the same settings, data, names and initial weights."""
    path = folder / STAGE_FILE
    try:
        check_regular(path)
        found = parse_document(StageDocument, parse_json(path.read_text(encoding="utf-8")), path)
    # What cannot be read does not count as finished, and the stage is trained or resumed.
    except (OSError, ValueError, CheckpointError):
        return None
    if found.identity != identity or not (folder / found.best).is_file():
        return None
    # The checksum covers ids and times, not names.
    metadata = parse_document(CheckpointMetadata, load_checkpoint(folder / found.best).metadata, folder / found.best)
    return found if _same_names(graph, metadata) else None


def _same_names(graph: TemporalGraph, metadata: CheckpointMetadata) -> bool:
    """Whether every id has the same name, where both have names."""
    ours = describe_vocabulary(graph)
    pairs = ((ours["entities"], metadata.entities), (ours["relations"], metadata.relations))
    return all(None in (here, there) or here == there for here, there in pairs)


def train_staged(
    graph: TemporalGraph,
    config: MixtureTrainingConfig,
    options: RunOptions,
    *,
    structure: str | Path | None = None,
    evidence: str | Path | None = None,
) -> TrainingResult:
    """`train_tirgn` of a mixture.

    **Arguments:** `structure`, `evidence`: checkpoints trained on the same data, to use instead of their stages.

    **Returns:** as `train_tirgn`, with `stages`. `validation` is cross-fitted: every snapshot is forecast with a gate
    that was fitted on the other one of two halves, because the final gate has seen them all.
    """
    folder, emit, start = options.model_dir, options.on_record, options.start
    with lock_folder(folder):
        begin = time.perf_counter()
        if options.resume:
            graph = align_with_state(graph, folder / "evidence", folder / "structure", force=options.force)
        # A given part cannot be renumbered, so the graph takes over its ids.
        for given in (evidence, structure):
            graph = graph if given is None else reorder_ids(graph, load_checkpoint(given).metadata)
        if not (start is None or isinstance(start, Mixture)):
            raise ConfigError(
                f"{config.model_type} cannot begin from {type(start).__name__}; begin from one of its own kind"
            )
        stages = Stages(graph, options)
        parts: list[tuple[PartName, ModelTrainingConfig, str | Path | None]]
        parts = [("evidence", config.evidence, evidence), ("structure", config.structure, structure)]
        paths: dict[str, Path] = {}
        for name, settings, given in parts:
            path = stages.train(name, settings) if given is None else stages.use(name, Path(given), settings)
            if path is None:
                return _with_stages(make_result(config, "interrupted"), stages)
            paths[name] = path
        emit(events.StageRecord("gate"))
        part, evidence_config, _ = load_model(paths["evidence"])
        base, structure_config, metadata = load_model(paths["structure"])
        # A given structure may have been trained with another clock on the same facts.
        graph = apply_clock(graph, metadata, learning=True)
        assert isinstance(part, Evidence) and isinstance(evidence_config, EvidenceTrainingConfig)
        assert isinstance(base, RecurrentGraphModel)
        assert isinstance(structure_config, TiRGNTrainingConfig | REGCNTrainingConfig)
        # Built once for the fit and for both evaluations.
        index, store, history_len = EvidenceIndex(graph), SnapshotStore(graph), structure_config.history_len
        evaluate = partial(
            MixtureEvaluator, graph, history_len=history_len, index=index, store=store, **part.loader_options
        )
        evaluator = evaluate("valid")
        model = Mixture(base, part, Gate(part.num_relations, part.context, key=jr.key(config.seed)))
        fitted, validation = fit_gate(model, evaluator, emit, options.stop)
        if fitted is None or validation is None:
            return _with_stages(make_result(config, "interrupted"), stages)
        # The settings of a part are its own where it was given.
        config = config.replace(structure=structure_config, evidence=evidence_config)
        metrics = {"validation": validation.entity, "cross_fitted": True}
        best = save_model(folder / "tirgn_best", fitted, config, graph, metrics)
        emit(events.CheckpointRecord(str(best)))
        test = evaluate("test", steps=evaluator.steps)(fitted)
        step = 0 if options.resume else None
        with TrainingLogger(
            config.logdir, run_name=options.run_name, config=config, tracker=config.tracker, resume_step=step
        ) as logger:
            figures = {f"eval/{name}": value for name, value in validation.entity.items()}
            figures |= {f"test/{name}": value for name, value in test.entity.items()}
            logger.log_metrics(figures, 0, once=options.resume)
        # Stages that an earlier run finished count by their results, the gate by the clock of this run.
        seconds = sum(found["total_time"] for found in stages.results.values() if "total_time" in found)
        result = make_result(
            config,
            "complete",
            checkpoint=best,
            validation=validation,
            test=test,
            parameters=parameter_count(fitted),
            seconds=max(seconds, time.perf_counter() - begin),
        )
        result = _with_stages(result, stages)
        emit(events.EndRecord(result))
        return result


def _with_stages(result: TrainingResult, stages: Stages) -> TrainingResult:
    """The result of a mixture with those of its stages; its epochs are those of the structure."""
    structure = stages.results.get("structure")
    if structure is not None:
        result["best_epoch"] = structure.get("best_epoch")
        if "epochs_trained" in structure:
            result["epochs_trained"] = structure["epochs_trained"]
    result["stages"] = stages.results
    return result


def fit_gate(
    model: Mixture, evaluator: MixtureEvaluator, on_record: OnRecord, stop: Stop
) -> tuple[Mixture | None, Evaluation | None]:
    """Fit the gate of a mixture on all snapshots of the evaluator's split.

    **Returns:** (model, evaluation) where the evaluation is cross-fitted: gates fitted on either half of the split
    forecast the other half. None for what was stopped before its end.
    """
    split_loader = evaluator.loader
    # As in training, equal answers are merged: the loss may leave out other true answers, each of them once.
    options = EvidenceOptions(batch_size=split_loader.options.batch_size, **model.evidence.loader_options)
    loader = EvidenceLoader(split_loader.graph, split_loader.index, evaluator.split, options)
    snapshots, fit = loader.snapshots, GateFitter(model, loader, evaluator.model_at(model), on_record)
    # A single snapshot cannot be halved: the initial gate forecasts it.
    halves = [half for half in (snapshots[::2], snapshots[1::2]) if 0 < len(half) < len(snapshots)]
    whole = None if halves else evaluator(model)
    for half in halves:
        fitted = fit(half, stop)
        if fitted is None:
            return None, None
        found = evaluator(fitted)
        whole = found if whole is None else _join(found, whole, np.isin(whole.snapshot, half))
    return fit(snapshots, stop), whole


def _join(last: Evaluation, first: Evaluation, seen_by_last: np.ndarray) -> Evaluation:
    """The queries of `first` that the gate of `last` was fitted on, and the others of `last`."""

    def pick(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {kind: np.where(seen_by_last, old[kind], new[kind]) for kind in old}

    columns = {name: pick(getattr(first, name), getattr(last, name)) for name in Ranks._fields}
    return dataclasses.replace(first, **columns)
