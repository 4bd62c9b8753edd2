"""A checkpoint used with data of other entities: its relations are mapped by name.

Only an evidence model without a background can be: all that it learns belongs to relations, and of entities it sees
ages and counts of their past events.
"""
# To a type checker, parts of JAX are unknown.
# pyright: reportUnknownMemberType=false

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax.random as jr
import numpy as np

from tirgn_eqx.checkpoint.metadata import CheckpointMetadata, DataDescription
from tirgn_eqx.config import EvidenceTrainingConfig, TrainingConfig
from tirgn_eqx.data.clock import describe_clock
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.relation_map import RelationMapping, map_relations
from tirgn_eqx.data.vocabulary import match_checkpoint
from tirgn_eqx.errors import ConfigError, DataError, shown
from tirgn_eqx.models import Evidence, Model
from tirgn_eqx.train.warm_start import NameMap, warm_start


class Transferred(NamedTuple):
    """A model with the vocabulary of other data.

    **Arguments:** `metadata`: of the checkpoint, with the names and the clock of these data and without its
    calibration; `graph`: the facts whose relations it knows; `renamed`: the relations that go by another name in the
    checkpoint, with that name.
    """

    model: Evidence
    metadata: CheckpointMetadata
    graph: TemporalGraph
    renamed: dict[str, str]


def check_transferable(model: Model, config: TrainingConfig, checkpoint: str | Path = "the checkpoint") -> None:
    """**Raises:** ConfigError for a model that knows entities."""
    if isinstance(model, Evidence) and model.background is None:
        return
    kind = "evidence with a background" if isinstance(model, Evidence) else config.model_type
    raise ConfigError(
        f"--map-relations: {checkpoint} holds {kind}, which knows its entities one by one; train a model of relations "
        "alone with --model evidence --set evidence_background=false"
    )


def transfer(
    model: Model,
    config: TrainingConfig,
    metadata: CheckpointMetadata,
    graph: TemporalGraph,
    how: RelationMapping = "by-name",
    checkpoint: str | Path = "the checkpoint",
) -> Transferred:
    """The model of a checkpoint for the facts of `graph`, whose entities it need not know.

    Ids, names and times of the graph stay; the weights of every relation are those of the checkpoint's relation that
    its name means, see `map_relations`. Facts of other relations are left out with one DataWarning, and counted in
    `left_out`. One step of the graph's clock counts as one step of the training.

    **Arguments:** the first three as `load_model` returns them; `checkpoint`: its name in messages.

    **Raises:** ConfigError for a model that knows entities; DataError where the data or the checkpoint have no names of
    relations, where it knows none of them, or where the steps are known to differ in length.
    """
    check_transferable(model, config, checkpoint)
    assert isinstance(model, Evidence) and isinstance(config, EvidenceTrainingConfig)
    names, vocabulary = graph.relation_names, metadata.relations
    if names is None or vocabulary is None:
        who = graph.name if names is None else str(checkpoint)
        raise DataError(
            f"{who}: has no names of relations to map by; give data with names, such as a folder with relation2id.txt"
        )
    place = map_relations(names, vocabulary, how)
    known = [name for name, number in zip(names, place.tolist()) if number >= 0]
    if not known:
        raise DataError(
            f"{graph.name}: {checkpoint} knows none of its {len(names):,} relations, such as {shown(names[0], 30)} (it "
            f"knows {shown(vocabulary[0], 30)} and others); give data whose relations have such names"
        )
    if graph.entity_names is None:
        # Their numbers are as good: none of them is known to the model.
        graph = dataclasses.replace(graph, entity_names=tuple(map(str, range(graph.num_entities))))
    # The provenance stays, by which `match_checkpoint` refuses steps that are known to differ in length.
    clock = (metadata.data or DataDescription()).model_copy(update=describe_clock(graph))
    metadata = metadata.model_copy(
        update={
            "num_entities": graph.num_entities,
            "num_relations": len(known),
            "entities": list(graph.entity_names or ()),
            "relations": known,
            "data": clock,
            "calibration": None,
        }
    )
    renamed: dict[str, str] = {
        name: vocabulary[number]
        for name, number in zip(names, place.tolist())
        if number >= 0 and name != vocabulary[number]
    }
    place = place[place >= 0]
    mapping = NameMap(np.full(graph.num_entities, -1), place, model.num_entities, model.num_relations)
    fresh = Evidence(graph.num_entities, len(known), config, key=jr.key(0))
    matched = match_checkpoint(graph, metadata, checkpoint)
    return Transferred(warm_start(fresh, model, mapping), metadata, matched, renamed)
