"""Windows without queries are encoded as those of batches, from the entities that they touch."""

import equinox as eqx
import numpy as np
import pytest

from tests.helpers import random_graph, tiny_model
from tests.models.evidence_helpers import build
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.batches.windows import WindowLoader
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.evaluate.encoding import Encoder, EncoderSteps, encode_rows, model_at

HISTORY_LEN = 2


@pytest.fixture(scope="module")
def graph():
    return random_graph(3, num_entities=14, facts=8)


@pytest.fixture(scope="module")
def model(graph):
    return tiny_model(graph.num_entities, graph.num_relations, history_len=HISTORY_LEN)


@pytest.mark.ci
def test_windows_without_queries_encode_as_those_of_batches(graph, model):
    for known in (None, 3):
        loader = GraphLoader(
            graph,
            build_history_vocabulary(graph),
            "test",
            GraphOptions(history_len=HISTORY_LEN, history_end=known, unique=True),
        )
        encoder = Encoder(model, WindowLoader(graph, "test", history_len=HISTORY_LEN, history_end=known))
        for target in loader.items.tolist():
            expected, _ = eqx.filter_jit(lambda m, w: m.encoder(w))(model, loader.build(target).batch.window)
            found, time_index = encoder(target)
            np.testing.assert_allclose(found.entity, expected.entity, atol=1e-6)
            np.testing.assert_allclose(found.relation, expected.relation, atol=1e-6)
            assert float(time_index) == graph.time_index[target]


def test_entities_that_the_window_does_not_touch_have_the_states_of_the_whole_computation(graph, model):
    """Of the window before snapshot 1, which touches only some of the entities."""
    found = WindowLoader(graph, None, history_len=HISTORY_LEN).build(1)
    touched = np.asarray(found.rows.weight).sum()
    assert 0 < touched < graph.num_entities
    edgeless = eqx.filter_jit(lambda m: m.encoder.isolated_state(found.length))(model)
    encode = eqx.filter_jit(encode_rows)
    by_rows = encode(model, found.window, found.rows, edgeless)
    loader = GraphLoader(graph, build_history_vocabulary(graph), "train", GraphOptions(history_len=HISTORY_LEN))
    whole = encode(model, loader.build(1).batch.window, None, edgeless)
    np.testing.assert_allclose(by_rows.entity, whole.entity, atol=1e-5)
    np.testing.assert_allclose(by_rows.relation, whole.relation, atol=1e-5)


def test_the_last_encoding_is_kept_and_steps_are_shared(graph, model, monkeypatch):
    windows, steps = WindowLoader(graph, "test", history_len=HISTORY_LEN), EncoderSteps.new()
    encoder = Encoder(model, windows, steps)
    built, build = [], windows.build
    monkeypatch.setattr(windows, "build", lambda *arguments: built.append(arguments) or build(*arguments))
    assert encoder(5) is encoder(5) and built == [(5, None)]
    assert encoder(5, 4) is not encoder(5) and built == [(5, None), (5, 4), (5, None)]
    assert len(steps.encode.compiled) == 1
    Encoder(model, windows, steps)(6)
    assert len(steps.encode.compiled) == 1


def test_an_evidence_model_is_the_same_at_every_target(graph):
    evidence = build(graph)
    at = model_at(evidence, None)
    assert at(3, None) is at(5, 2) is evidence
