"""The documents in checkpoints: what they hold, and how an entry that cannot be is named."""

from pathlib import Path

import pytest

from tests.helpers import make_graph
from tirgn_eqx import TiRGNTrainingConfig
from tirgn_eqx.checkpoint.metadata import (
    CheckpointMetadata,
    StageDocument,
    TrainingIdentity,
    TrainingProgress,
    describe_data,
    parse_document,
)
from tirgn_eqx.errors import CheckpointError

PATH = Path("some.npz")
SIZES = {"num_entities": 2, "num_relations": 1}


def graph_of(**fields):
    return make_graph([(0, 0, 1, 3), (1, 0, 0, 5)], num_entities=2, num_relations=1, **fields)


def refused(kind, document):
    with pytest.raises(CheckpointError) as told:
        parse_document(kind, document, PATH)
    return str(told.value)


def test_a_document_has_only_what_was_set():
    metadata = CheckpointMetadata(**SIZES, model_type="tirgn")
    assert metadata.to_dict() == SIZES | {"model_type": "tirgn"}
    assert parse_document(CheckpointMetadata, metadata.to_dict() | {"later": 1}, PATH) == metadata


def test_what_metadata_do_not_say_is_none():
    metadata = CheckpointMetadata(**SIZES)
    assert metadata.checksum is None and metadata.temperature is None and metadata.provenance == {}
    told = {"data": {"sha256": "ab", "provenance": {"kind": "table", "own": 1}}, "calibration": {"temperature": {}}}
    metadata = CheckpointMetadata.model_validate(SIZES | told)
    assert metadata.checksum == "ab" and metadata.temperature == {}
    assert metadata.provenance == {"kind": "table", "own": 1}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "num_entities (num_entities is missing)"),
        (SIZES | {"num_entities": "2"}, "num_entities (num_entities = '2')"),
        (SIZES | {"num_entities": 0}, "num_entities (num_entities = 0)"),
        (SIZES | {"entities": ["a"]}, "entities: expected 2 names"),
        (SIZES | {"entities": "ab"}, "entities: expected names, not 'ab'"),
        (SIZES | {"data": {"time_interval": 0}}, "data (time_interval = 0)"),
        (SIZES | {"data": {"provenance": {"own": "a"}}}, "data (own = 'a')"),
        (SIZES | {"calibration": {"temperature": {"entity": -1.0}}}, "calibration (entity = -1.0)"),
        ([], "contents ([])"),
    ],
)
def test_the_first_entry_that_cannot_be_is_named(document, words):
    assert refused(CheckpointMetadata, document) == f"some.npz: says nothing usable about its {words}; train again"


def test_the_overrides_of_a_state_are_settings_with_values_that_they_may_have():
    progress = {"epoch": 1, "step": 0, "global_step": 0}
    assert TrainingProgress(**progress, oom_overrides={"remat": "full"}).oom_overrides == {"remat": "full"}
    assert "config key 'depth' does not exist" in refused(TrainingProgress, progress | {"oom_overrides": {"depth": 1}})
    assert "remat = 'all'" in refused(TrainingProgress, progress | {"oom_overrides": {"remat": "all"}})


def test_a_state_of_an_earlier_version_says_no_best_mrr():
    assert TrainingProgress(epoch=1, step=0, global_step=0, best_value=0.5).best_mrr is None


def test_the_identity_of_a_training_changes_with_data_names_settings_and_start():
    config, graph = TiRGNTrainingConfig(), graph_of()
    identity = TrainingIdentity.of(graph, config)
    assert TrainingIdentity.of(graph_of(), config) == identity
    others = [
        TrainingIdentity.of(graph_of(entity_names=("a", "b")), config),
        TrainingIdentity.of(make_graph([(0, 0, 1, 3)], num_entities=2, num_relations=1), config),
        TrainingIdentity.of(graph, config.replace(seed=1)),
        TrainingIdentity.of(graph, config, "ab"),
    ]
    assert all(other != identity for other in others)


def test_data_are_described_with_their_clock():
    graph = graph_of().relabel(time_interval=2, clock_origin=1)
    found = describe_data(graph)
    assert (found.time_interval, found.clock_origin, found.first_time, found.last_time) == (2, 1, 3, 5)
    assert found.sha256 == graph.checksum and found.to_dict()["facts"] == 2


def test_the_best_checkpoint_of_a_stage_is_in_its_folder():
    stage = {"identity": {"config": {}, "sha256": ""}, "result": {}}
    assert parse_document(StageDocument, stage | {"best": "a.npz"}, PATH).best == "a.npz"
    assert "best: must be the name of a file in the same folder" in refused(StageDocument, stage | {"best": "../a.npz"})
