"""Training a chosen setting once more, on the train and valid splits together: what one does before real forecasts.

Figures of such a model on test are those of a practitioner, and stand beside no published ones, which know of the valid
split no more than its figures.
"""

import dataclasses
import time
from collections.abc import Callable

import numpy as np

from tirgn_eqx.checkpoint.models import load_model, save_model
from tirgn_eqx.checkpoint.training_state import STATE_FILE
from tirgn_eqx.config import MixtureTrainingConfig, ModelTrainingConfig
from tirgn_eqx.data.graph import SPLITS, TemporalGraph
from tirgn_eqx.data.vocabulary import match_checkpoint
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.evaluate.protocol import make_evaluator
from tirgn_eqx.models import Evidence, Mixture, Model, RecurrentGraphModel
from tirgn_eqx.train import events
from tirgn_eqx.train.events import PartName, RefitResult, TrainingResult, evaluation_figures
from tirgn_eqx.train.single import RunOptions, train_single
from tirgn_eqx.train.staged import remove_states

FOLDER = "refit"


def with_valid_in_train(graph: TemporalGraph) -> TemporalGraph:
    """`graph` with the facts of valid in train."""
    train, valid = SPLITS.index("train"), SPLITS.index("valid")
    return dataclasses.replace(graph, split=np.where(graph.split == valid, train, graph.split).astype(np.int8))


def train_and_refit(
    graph: TemporalGraph, options: RunOptions, train: Callable[[RunOptions], TrainingResult]
) -> TrainingResult:
    """The result of `train`, with that of a refit of what it selected."""
    if not options.resume:
        remove_states(*(options.model_dir / FOLDER).glob("*"))
    result = train(dataclasses.replace(options, on_record=events.without_end(options.on_record)))
    if result["status"] == "complete":
        again = refit(graph, options, result)
        if again is None:
            result["status"] = "interrupted"
        else:
            result["refit"] = again
    options.on_record(events.EndRecord(result))
    return result


def refit(graph: TemporalGraph, options: RunOptions, selected: TrainingResult) -> RefitResult | None:
    """Train the model of `selected` again, with its settings, from new weights, on train and valid of `graph`, for as
    many epochs as were best. Of a mixture each part is trained so; the gate stays, for it has no other data than valid.

    **Arguments:** `options`: of the training that gave `selected`; what is trained goes to the folder `refit` in its
    `model_dir`, and can be resumed there.

    **Returns:** figures on test, and the checkpoint `tirgn_refit`; None when it was stopped.
    """
    assert selected["checkpoint"] is not None
    begin = time.perf_counter()
    model, config, metadata = load_model(selected["checkpoint"])
    # The ids and the clock are those that the training went on with.
    graph = match_checkpoint(graph, metadata, selected["checkpoint"], learning=True)
    merged = with_valid_in_train(graph)
    epochs: dict[str, int] = {}

    def train_part(name: str, part: ModelTrainingConfig, best_epoch: int | None) -> Model | None:
        # Without an epoch that was best, for want of a finite validation, all of them are trained.
        part = part.replace(epochs=best_epoch or part.epochs)
        folder = options.model_dir / FOLDER / name
        again = dataclasses.replace(
            options,
            model_dir=folder,
            run_name=options.run_name and f"{options.run_name}-refit-{name}",
            on_record=events.without_end(options.on_record),
            resume=options.resume and (folder / f"{STATE_FILE}.npz").exists(),
            start=None,
            select=False,
        )
        result = train_single(merged, part, again)
        epochs[name] = result["epochs_trained"]
        if result["status"] != "complete" or result["checkpoint"] is None:
            return None
        if result["epochs_trained"] != part.epochs:
            # `epochs` may change when a training is resumed, but not to fewer than are trained already.
            told = f"holds a refit of {result['epochs_trained']} epochs, and {part.epochs} are asked for"
            raise CheckpointError(f"{folder}: {told}; remove it")
        return load_model(result["checkpoint"])[0]

    options.on_record(events.StageRecord("refit"))
    found: Model | None
    if isinstance(model, Mixture):
        assert isinstance(config, MixtureTrainingConfig) and "stages" in selected
        parts: dict[PartName, ModelTrainingConfig] = {"evidence": config.evidence, "structure": config.structure}
        trained: dict[PartName, Model] = {}
        for name, part in parts.items():
            again = train_part(name, part, selected["stages"][name]["best_epoch"])
            if again is None:
                return None
            trained[name] = again
        structure, evidence = trained["structure"], trained["evidence"]
        assert isinstance(structure, RecurrentGraphModel) and isinstance(evidence, Evidence)
        found = Mixture(structure, evidence, model.gate)
    else:
        assert isinstance(config, ModelTrainingConfig)
        found = train_part(config.family, config, selected["best_epoch"])
    if found is None:
        return None
    test = evaluation_figures(make_evaluator(found, graph, split="test", **config.window())(found))
    path = save_model(options.model_dir / "tirgn_refit", found, config, graph, {"refit": True, "epochs": epochs})
    options.on_record(events.CheckpointRecord(str(path)))
    return {"checkpoint": str(path), "epochs": epochs, "test": test, "total_time": time.perf_counter() - begin}
