"""The convolution over the static graph, edge by edge."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.helpers import close, normal
from tests.nn.layer_helpers import DIM, random_layer, rrelu
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.nn import (
    StaticConvolution,
    StaticEdges,
)


def test_static_convolution_edge_by_edge():
    blocks, size, words = 2, DIM // 2, 4
    edges = [(0, 1, 3), (0, 0, 2), (2, 1, 3), (2, 1, 3), (4, 2, 0), (2, 0, 1)]  # entity, relation, word
    layer = random_layer(StaticConvolution, DIM, 3, blocks)
    embedding, weight = normal(1, words, DIM), np.asarray(layer.weight)
    expected = np.zeros((6, DIM))
    for entity in range(6):
        received = []
        for other, relation, word in edges:
            if other == entity:
                dense = np.zeros((DIM, DIM))
                for block in range(blocks):
                    part = slice(block * size, (block + 1) * size)
                    # The first half of the relations are those towards the words.
                    dense[part, part] = weight[3 + relation, block]
                received.append(embedding[word] @ dense)
        if received:
            expected[entity] = rrelu(np.mean(received, axis=0))
    for order in (range(len(edges)), [5, 3, 1, 0, 4, 2]):
        entity, relation, word = np.array([edges[i] for i in order], np.int32).T
        static = StaticEdges(StaticGraph(entity, relation, word, 3, words), 6)
        close(layer(jnp.asarray(embedding), static), expected)


def test_static_blocks_must_divide_the_width():
    with pytest.raises(ValueError, match="static_blocks = 3 does not divide embedding_dim = 4"):
        StaticConvolution(4, 1, 3, key=jr.key(0))
