"""Windows without queries are encoded as those of batches, from the entities that they touch."""

import equinox as eqx
import numpy as np
import pytest

from tests.helpers import random_graph, tiny_model
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.batches.windows import WindowLoader
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.evaluate.encoding import Encoder

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
