"""Models in checkpoints: read back bit for bit from the file alone, or refused with the reason."""

import json

import numpy as np
import pytest

from tests.helpers import make_graph, same_bits, tiny_config, tiny_model
from tirgn_eqx.checkpoint.files import load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.models import load_model, named_leaves, parse_config, save_calibration, save_model, versions
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.errors import CheckpointError

NAMES = tuple(f"actor {number}" for number in range(14))


@pytest.fixture(scope="module")
def graph():
    words = np.arange(4, dtype=np.int32)
    static = StaticGraph(words, np.zeros(4, np.int32), words % 3, 1, 3)
    facts = [(n % 14, n % 4, (n + 1) % 14, n // 4) for n in range(24)]
    named = {"entity_names": NAMES, "relation_names": tuple("abcd"), "static": static}
    return make_graph(facts, num_entities=14, num_relations=4, **named)


@pytest.fixture(scope="module")
def model(graph):
    return tiny_model(14, 4, graph.static)


@pytest.fixture
def saved(graph, model, tmp_path):
    return save_model(tmp_path / "mine", model, tiny_config(), graph, {"epoch": 3})


def test_a_model_is_read_back_with_all_that_is_needed_to_use_it(graph, model, saved):
    again, config, metadata = load_model(saved, "tirgn")
    assert same_bits(again, model) and config == tiny_config()
    assert metadata.entities == list(NAMES) and metadata.relations == list("abcd")
    assert metadata.checksum == graph.checksum and metadata.metrics == {"epoch": 3}
    assert metadata.static_graph.num_words == 3 and metadata.versions == versions()
    assert metadata.temperature is None and metadata.provenance == graph.provenance
    saved.with_suffix(".json").unlink()
    assert same_bits(load_model(saved)[0], model)


def test_a_calibration_changes_nothing_else(model, saved):
    before, found = load_checkpoint(saved), {"temperature": {"entity": 2.0}, "nll_before": 1.0}
    save_calibration(saved, found)
    assert load_checkpoint(saved).metadata == before.metadata | {"calibration": found}
    again, _, metadata = load_model(saved)
    assert same_bits(again, model) and metadata.temperature == {"entity": 2.0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a, m: m.update(model_type="regcn"), "type 'regcn'"),
        (lambda a, m: a.pop("encoder.entity_embedding"), "'encoder.entity_embedding' is missing"),
        (lambda a, m: a.update(extra=np.zeros(2)), "'extra' is unknown"),
        (lambda a, m: a.update({"encoder.entity_embedding": np.zeros((3, 8))}), "float64[3, 8]"),
        (lambda a, m: a.update({"encoder.entity_embedding": np.zeros((14, 8), int)}), "int64[14, 8]"),
        (lambda a, m: m["config"].update(depth=3), "depth"),
        (lambda a, m: m["config"].update(history_rate=7.0), "history_rate = 7.0"),
        (lambda a, m: m.pop("num_entities"), "entities"),
        (lambda a, m: m["static_graph"].update(bounds=[0, 1]), "static graph"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused_by_name(saved, tmp_path, change, words):
    checkpoint = load_checkpoint(saved)
    arrays, metadata = dict(checkpoint.arrays), json.loads(json.dumps(checkpoint.metadata))
    change(arrays, metadata)
    broken = save_checkpoint(tmp_path / "broken.npz", arrays, metadata)
    with pytest.raises(CheckpointError) as error:
        load_model(broken)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_another_type_than_the_wanted_one_is_refused(saved, tmp_path):
    with pytest.raises(CheckpointError, match="holds a model of type 'tirgn', not 'evidence'"):
        load_model(saved, "evidence")
    checkpoint = load_checkpoint(saved)
    path = save_checkpoint(tmp_path / "x", checkpoint.arrays, checkpoint.metadata | {"model_type": "transformer"})
    with pytest.raises(CheckpointError, match="type 'transformer', which is none of tirgn, regcn, evidence"):
        load_model(path)


def test_sizes_that_the_file_cannot_hold_are_refused_before_anything_is_built(saved, tmp_path):
    checkpoint = load_checkpoint(saved)
    arrays, metadata = checkpoint.arrays, json.loads(json.dumps(checkpoint.metadata))
    metadata["config"]["conv_channels"] = 10**8
    with pytest.raises(CheckpointError, match="conv_channels = 100,000,000, but holds"):
        load_model(save_checkpoint(tmp_path / "large", arrays, metadata))


def test_leaves_are_named_by_their_path(model):
    found = named_leaves(model)
    assert found["encoder.entity_embedding"] is model.encoder.entity_embedding
    assert found["encoder.layers.0.norm.running.mean"] is model.encoder.layers[0].norm.running.mean


def test_settings_that_cannot_be_are_refused_without_advice_for_people_who_type_them(tmp_path):
    with pytest.raises(CheckpointError, match=r"its config is not usable \([^;]*\); written by another version"):
        parse_config({"family": "tirgn", "depth": 3}, tmp_path)
