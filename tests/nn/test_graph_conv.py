"""The graph convolution edge by edge; order and padding change nothing."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.helpers import both_directions, close, make_graph, normal
from tests.nn.layer_helpers import DIM, normed, numbers, random_layer, rrelu
from tirgn_eqx.data.index.snapshots import build_snapshot, stack_window
from tirgn_eqx.nn import (
    GraphConvolution,
)
from tirgn_eqx.nn.segments import segment_mean
from tirgn_eqx.types import Window

FACTS = [(0, 0, 1, 0), (0, 0, 1, 0), (2, 1, 2, 0), (3, 1, 0, 0), (1, 0, 4, 0), (4, 1, 0, 0)]
ENTITIES, RELATIONS = 7, 2  # 5 and 6 have no fact


def window_of(facts, spare=0):
    """(one snapshot of a Window with `spare` padded rows in every list, its graph)."""
    graph = make_graph(facts, num_entities=ENTITIES, num_relations=RELATIONS)
    snapshot = build_snapshot(graph, 0)
    sizes = tuple(size + spare for size in snapshot.sizes)
    fields = stack_window([snapshot], 1, sizes, ENTITIES, RELATIONS)  # pyright: ignore[reportArgumentType]
    window = Window(**{name: jnp.asarray(values) for name, values in fields.items()})
    return jax.tree.map(lambda x: x[0], window), graph


def apply_graph_layer(layer, state, relations, window, training, rate=0.0, key=None):
    mean = segment_mean(jnp.asarray(relations)[window.edge_relation], window.edge_target, window.degree)
    return eqx.filter_jit(layer)(
        jnp.asarray(state),
        jnp.asarray(relations),
        mean,
        window,
        layer.norm.running,
        rate=rate,
        training=training,
        key=key,
    )


@pytest.mark.parametrize("spare", [0, 3])
def test_graph_convolution_edge_by_edge(training, spare):
    layer = random_layer(GraphConvolution, DIM)
    state, relations = normal(1, ENTITIES, DIM), normal(2, 2 * RELATIONS, DIM)
    window, graph = window_of(FACTS, spare)
    edges, p = both_directions(graph), numbers(layer)
    samples = [
        np.concatenate([state[s] for s, _, _, _ in edges]),
        np.concatenate([relations[r] for _, r, _, _ in edges]),
    ]
    norm, mean, var = normed(layer.norm, samples, training)
    messages = {entity: [] for entity in range(ENTITIES)}
    for s, r, o, _ in edges:
        mixed = p.mix[0] * norm(state[s], 0) + p.mix[1] * norm(relations[r], 1) + p.mix_bias
        messages[o].append(mixed @ p.weight_neighbor)
    expected = []
    for entity, received in messages.items():
        alone = state[entity] @ p.weight_isolated

        def both(entity=entity, received=received):
            return np.mean(received, axis=0) + state[entity] @ p.weight_loop

        expected.append(rrelu(both() if received else alone))
    out, running = apply_graph_layer(layer, state, relations, window, training)
    close(out, np.stack(expected))
    close(running.mean, mean)
    close(running.var, var)


def test_graph_convolution_does_not_see_the_order_of_facts(training):
    layer = random_layer(GraphConvolution, DIM)
    state, relations = normal(1, ENTITIES, DIM), normal(2, 2 * RELATIONS, DIM)
    results = []
    for seed, spare in [(0, 0), (1, 0), (2, 5)]:
        facts = [FACTS[i] for i in np.random.default_rng(seed).permutation(len(FACTS))]
        results.append(apply_graph_layer(layer, state, relations, window_of(facts, spare)[0], training))
    for out, running in results[1:]:
        close(out, results[0][0])
        close(running.mean, results[0][1].mean)
        close(running.var, results[0][1].var)


def test_graph_convolution_of_an_empty_snapshot_keeps_the_averages():
    layer = random_layer(GraphConvolution, DIM)
    state, relations = normal(1, ENTITIES, DIM), normal(2, 2 * RELATIONS, DIM)
    fields = stack_window([], 1, (4, 5, 3), ENTITIES, RELATIONS)
    window = Window(**{name: jnp.asarray(values[0:1]) for name, values in fields.items()})
    window = jax.tree.map(lambda x: x[0], window)
    out, running = apply_graph_layer(layer, state, relations, window, True)
    close(out, rrelu(state @ numbers(layer).weight_isolated))
    close(running.mean, layer.norm.running.mean)
    close(running.var, layer.norm.running.var)


def test_graph_convolution_drops_out_whole_rows_of_numbers():
    layer = random_layer(GraphConvolution, DIM)
    state, relations = normal(1, ENTITIES, DIM), normal(2, 2 * RELATIONS, DIM)
    window, _ = window_of(FACTS)
    plain, _ = apply_graph_layer(layer, state, relations, window, True)
    out, _ = apply_graph_layer(layer, state, relations, window, True, rate=0.5, key=jr.key(1))
    out, plain = np.asarray(out), np.asarray(plain)
    kept = out != 0
    assert 0 < kept.sum() < kept.size
    close(out[kept], 2 * plain[kept])
