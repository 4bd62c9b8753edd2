"""The static loss of the encoder: weighted, and of one window's length however many targets share it."""

import equinox as eqx
import jax
import numpy as np
import pytest

from tests.helpers import random_graph, tiny_model
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.data.index.history import build_history_vocabulary

ENTITIES, RELATIONS = 8, 3
STATIC = StaticGraph(np.arange(12) % ENTITIES, np.arange(12) % 2, np.arange(12) % 5, 2, 5)


@pytest.fixture(scope="module")
def window():
    """Of four snapshots."""
    graph = random_graph(4, num_entities=ENTITIES, num_relations=RELATIONS)
    loader = GraphLoader(graph, build_history_vocabulary(graph), "test", GraphOptions(history_len=4, max_buckets=1))
    return loader.build(int(loader.items[-1])).batch.window


@eqx.filter_jit
def static_loss(model, window, targets=1):
    return model.encoder(window, targets=targets)[0].static_loss


def model_of(weight):
    return tiny_model(ENTITIES, RELATIONS, STATIC, static_weight=weight, angle=5.0)


def test_the_static_loss_is_weighted(window):
    whole, half = (float(static_loss(model_of(weight), window)) for weight in (1.0, 0.5))
    assert whole > 0.1 and half == pytest.approx(whole / 2, rel=1e-5)


def test_the_static_loss_of_several_targets_is_that_of_one_window(window):
    """Three targets share four snapshots: each of them alone has a window of two."""
    model = model_of(1.0)
    with jax.default_matmul_precision("highest"):
        alone, together = float(static_loss(model, window)), float(static_loss(model, window, 3))
    assert together == pytest.approx(alone * 2 / 4, rel=1e-5)
