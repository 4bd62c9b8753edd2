"""What forecasters know: facts that fit a model, read as its checkpoint says."""

from pathlib import Path
from typing import Any

from tirgn_eqx.checkpoint.metadata import CheckpointMetadata
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.readers.load import load_graph, reading_of
from tirgn_eqx.data.vocabulary import match_checkpoint
from tirgn_eqx.errors import CheckpointError, DataError
from tirgn_eqx.models import AnyModel


def load_history(
    checkpoint: str | Path, metadata: CheckpointMetadata, data_path: str | None, load: dict[str, Any]
) -> TemporalGraph:
    """The facts as `read_history` gives them, with the ids of the checkpoint."""
    return match_checkpoint(read_history(checkpoint, metadata, data_path, load), metadata, checkpoint)


def read_history(
    checkpoint: str | Path, metadata: CheckpointMetadata, data_path: str | None, load: dict[str, Any]
) -> TemporalGraph:
    """The facts at `data_path`, or those that a checkpoint was trained on, with ids of their own.

    **Arguments:** `load`: options of `load_graph`, each as in training unless given.

    **Raises:** CheckpointError where neither the checkpoint nor `data_path` says where the data are.
    """
    provenance = metadata.provenance
    if data_path is None and not provenance:
        raise CheckpointError(f"{checkpoint}: does not say where its data came from; give the path of the data")
    if data_path is None:
        return load_graph(**provenance | load)
    return load_graph(data_path, **reading_of(provenance, data_path) | load)


def check_vocabulary(model: AnyModel, graph: TemporalGraph) -> None:
    """**Raises:** DataError for a graph with another number of entities or relations than the model has."""
    sizes = (model.num_entities, model.num_relations)
    if sizes != (graph.num_entities, graph.num_relations):
        raise DataError(
            f"{graph.name}: has {graph.num_entities:,} entities and {graph.num_relations:,} relations, but the "
            f"model was trained with {sizes[0]:,} and {sizes[1]:,}; use the data that it was trained on, or retrain"
        )
