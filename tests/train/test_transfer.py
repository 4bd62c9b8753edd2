"""An evidence model without a background forecasts data of other entities, with its relations found by name."""

import dataclasses

import jax
import numpy as np
import pytest

from tests.helpers import random_graph, renumbered
from tests.models.evidence_helpers import made, small
from tirgn_eqx.checkpoint.metadata import Calibration
from tirgn_eqx.checkpoint.models import load_model, save_model
from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.errors import ConfigError, DataError, DataWarning
from tirgn_eqx.evaluate import evaluate_model
from tirgn_eqx.forecast import Forecaster
from tirgn_eqx.models import build_model
from tirgn_eqx.train.transfer import check_transferable, transfer

RELATIONS = ("Make statement", "042_Q1", "Use force")
CONFIG = small(evidence_background=False)


def whole_snapshots(seed, **sizes):
    """A random graph whose splits begin with a snapshot."""
    graph = random_graph(seed, num_times=12, facts=12, **sizes)
    return dataclasses.replace(graph, split=np.digitize(graph.snapshot, [7, 9]).astype(np.int8))


def named(graph, entities=None, relations=RELATIONS):
    entities = entities or tuple(f"entity {number}" for number in range(graph.num_entities))
    return dataclasses.replace(graph, entity_names=entities, relation_names=relations)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    graph = named(whole_snapshots(0))
    model = made(graph.num_entities, graph.num_relations, (("evidence_background", False),))
    path = save_model(tmp_path_factory.mktemp("transfer") / "relations", model, CONFIG, graph)
    return graph, path


def figures(model, graph):
    report = evaluate_model(model, graph, **CONFIG.window()).to_dict()
    return {kind: report[kind]["mrr"] for kind in ("entity", "entity_raw", "relation")}, report["entity"]["nll"]


def test_other_names_of_entities_and_other_spellings_of_relations_change_no_figure(checkpoint):
    graph, path = checkpoint
    model, config, metadata = load_model(path)
    expected, nll = figures(model, graph)
    other = renumbered(graph, [3, 1, 0, 2, 7, 6, 5, 4], [2, 0, 1])
    other = named(other, tuple("ABCDEFGH"), ("use_force", "MAKE  STATEMENT", "042"))
    with pytest.raises(DataError, match="no fact is left"):
        evaluate_model(model, other, **CONFIG.window(), metadata=metadata)
    found = transfer(model, config, metadata, other)
    assert found.graph.checksum == other.checksum and found.graph.left_out == (0, 0, 0)
    assert found.renamed == {"use_force": "Use force", "MAKE  STATEMENT": "Make statement", "042": "042_Q1"}
    mrr, other_nll = figures(found.model, found.graph)
    assert mrr == pytest.approx(expected, abs=1e-12) and other_nll == pytest.approx(nll, rel=1e-5)
    # With relations taken by number, the figures are others.
    swapped = transfer(model, config, metadata, named(other, other.entity_names, RELATIONS))
    assert figures(swapped.model, swapped.graph)[0] != pytest.approx(expected, abs=1e-12)


def test_more_entities_than_it_was_trained_with_and_another_clock(checkpoint):
    graph, path = checkpoint
    model, config, metadata = load_model(path)
    more = whole_snapshots(1, num_entities=30)
    more = dataclasses.replace(named(more), times=24 * more.times, time_interval=24, clock_origin=48)
    calibrated = metadata.model_copy(update={"calibration": Calibration(temperature={"entity": 2.0})})
    found = transfer(model, config, calibrated, more)
    # The temperature is that of other data.
    assert found.metadata.temperature is None
    assert found.model.num_entities == 30 and found.graph.time_interval == 24 and found.graph.clock_origin == 48
    evaluate_model(found.model, found.graph, **CONFIG.window(), metadata=found.metadata)
    # A nameless graph has numbers for names.
    nameless = dataclasses.replace(more, entity_names=None, relation_names=("Make statement", "new", "Use force"))
    with pytest.warns(DataWarning, match="left out"):
        assert transfer(model, config, metadata, nameless).graph.entity_names[:2] == ("0", "1")


def test_facts_of_unknown_relations_are_left_out_and_counted_or_take_the_weights_of_their_parents(checkpoint):
    graph, path = checkpoint
    model, config, metadata = load_model(path)
    other = named(graph, tuple("ABCDEFGH"), ("Make statement", "0421", "Use force"))
    with pytest.warns(DataWarning, match="1 relation, such as '0421'"):
        found = transfer(model, config, metadata, other)
    assert sum(found.graph.left_out) == int((graph.relation == 1).sum()) > 0
    assert found.graph.relation_names == ("Make statement", "Use force") and found.model.num_relations == 2
    evaluate_model(found.model, found.graph, **CONFIG.window())
    found = transfer(model, config, metadata, other, "by-cameo")
    assert found.renamed == {"0421": "042_Q1"} and found.graph.left_out == (0, 0, 0)
    assert figures(found.model, found.graph)[0] == pytest.approx(figures(model, graph)[0], abs=1e-12)
    # Two relations of one parent are two relations, with the same weights.
    both = named(graph, tuple("ABCDEFGH"), ("042", "0421", "Use force"))
    found = transfer(model, config, metadata, both, "by-cameo")
    np.testing.assert_array_equal(found.model.head_weight[0], found.model.head_weight[1])
    assert found.model.num_relations == 3


def test_what_knows_entities_or_has_no_names_in_common_is_refused(checkpoint):
    graph, path = checkpoint
    model, config, metadata = load_model(path)
    with pytest.raises(DataError, match="knows none of its 3 relations, such as 'a'"):
        transfer(model, config, metadata, named(graph, tuple("ABCDEFGH"), ("a", "b", "c")))
    with pytest.raises(DataError, match="no names of relations to map by"):
        transfer(model, config, metadata, dataclasses.replace(graph, relation_names=None))
    with pytest.raises(DataError, match="no names of relations to map by"):
        transfer(model, config, metadata.model_copy(update={"relations": None}), graph)
    hourly = dataclasses.replace(graph, provenance={"granularity": "hour"})
    daily = metadata.data.model_copy(
        update={"provenance": type(metadata.data).model_validate({"provenance": {"granularity": "day"}}).provenance}
    )
    with pytest.raises(DataError, match="one step is 'hour', but 'day'"):
        transfer(model, config, metadata.model_copy(update={"data": daily}), hourly)
    for other in (small(), TiRGNTrainingConfig(embedding_dim=4, num_layers=1, conv_channels=2, precision="f32")):
        knows = build_model(8, 3, other, key=jax.random.key(0))
        with pytest.raises(ConfigError, match="knows its entities one by one; train .*evidence_background=false"):
            check_transferable(knows, other, "m.npz")


def test_a_forecaster_answers_by_the_names_of_the_data(checkpoint, tmp_path):
    from tirgn_eqx.data import write_folder

    graph, path = checkpoint
    other = named(graph, tuple("ABCDEFGH"), ("make_statement", "042", "use force"))
    write_folder(other, tmp_path / "other")
    forecaster = Forecaster.load(path, str(tmp_path / "other"), map_relations="by-name")
    found = forecaster.forecast("A", "042", top=3)
    assert {candidate.name for candidate in found.candidates} <= set("ABCDEFGH")
    own = Forecaster.load(path, str(tmp_path / "other"), map_relations="by-cameo")
    assert own.forecast("A", "042", top=3) == found
