"""Every layer against a slow implementation in loops, in float64; padding and order change nothing."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.helpers import both_directions, close, make_graph, normal
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.data.index.snapshots import build_snapshot, stack_window
from tirgn_eqx.nn import (
    BatchNorm,
    ConvDecoder,
    DropoutRates,
    GraphConvolution,
    GRUCell,
    StaticConvolution,
    StaticEdges,
    TimeEncoding,
)
from tirgn_eqx.nn.numerics import segment_mean
from tirgn_eqx.types import Window

DIM, SLOPE = 4, (1 / 8 + 1 / 3) / 2
NO_DROPOUT = DropoutRates(0.0, 0.0, 0.0)


@pytest.fixture(params=[False, True], ids=["inference", "training"])
def training(request):
    return request.param


def random_layer(make, *sizes):
    """A layer with random numbers everywhere, variances positive: no initial value can hide a mistake."""
    skeleton = eqx.filter_eval_shape(make, *sizes, **{} if make is BatchNorm else {"key": jr.key(0)})
    rng = np.random.default_rng(0)

    def new(path, leaf):
        values = rng.uniform(0.4, 1.5, leaf.shape)
        sign = 1.0 if jax.tree_util.keystr(path).endswith(".var") else rng.choice([-1.0, 1.0], leaf.shape)
        return jnp.asarray(values * sign)

    return jax.tree.map_with_path(new, skeleton)


def numbers(layer):
    """The layer's arrays as NumPy ones, by attribute."""
    return SimpleNamespace(**{name: np.asarray(v) for name, v in vars(layer).items() if eqx.is_array(v)})


def rrelu(x):
    return np.where(x >= 0, x, SLOPE * x)


def normed(norm, samples, training):
    """(function that normalises channel c of a value, running mean, running var after it), PyTorch's way.

    `samples[c]`: all values of channel c of the batch.
    """
    p, running = numbers(norm), numbers(norm.running)
    mean, var = running.mean.copy(), running.var.copy()
    new_mean, new_var = mean.copy(), var.copy()
    if training:
        for c, values in enumerate(samples):
            mean[c], var[c] = np.mean(values), np.var(values)
            new_mean[c] = 0.9 * new_mean[c] + 0.1 * np.mean(values)
            new_var[c] = 0.9 * new_var[c] + 0.1 * np.var(values, ddof=1)

    def apply(x, c):
        return (x - mean[c]) / np.sqrt(var[c] + 1e-5) * p.weight[c] + p.bias[c]

    return apply, new_mean, new_var


# --- GRU, time, batch norm -------------------------------------------------------------------------------


def test_gru():
    cell = random_layer(GRUCell, 3, DIM)
    x, h, p = normal(1, 5, 3), normal(2, 5, DIM), numbers(cell)

    def sigmoid(value):
        return 1 / (1 + np.exp(-value))

    expected = np.zeros((5, DIM))
    for i in range(5):
        for j in range(DIM):

            def gate(g, i=i, j=j):
                return (
                    x[i] @ p.weight_input[:, g * DIM + j] + p.bias_input[g * DIM + j],
                    h[i] @ p.weight_hidden[:, g * DIM + j] + p.bias_hidden[g * DIM + j],
                )

            reset, update = sigmoid(sum(gate(0))), sigmoid(sum(gate(1)))
            of_input, of_hidden = gate(2)
            expected[i, j] = (1 - update) * np.tanh(of_input + reset * of_hidden) + update * h[i, j]
    close(cell(jnp.asarray(x), jnp.asarray(h)), expected)


def test_the_gradient_of_the_gru_is_that_of_its_equations():
    cell = random_layer(GRUCell, 3, DIM)
    weights, x, h = normal(3, 6, DIM), normal(1, 6, 3), normal(2, 6, DIM)

    def plain(cell, x, h):
        from_x = jnp.split(x @ cell.weight_input + cell.bias_input, 3, -1)
        from_h = jnp.split(h @ cell.weight_hidden + cell.bias_hidden, 3, -1)
        reset, update = (jax.nn.sigmoid(a + b) for a, b in zip(from_x[:2], from_h[:2]))
        return (1 - update) * jnp.tanh(from_x[2] + reset * from_h[2]) + update * h

    def total(run):
        return lambda *a: jnp.sum(run(*a) * weights)

    found = jax.jit(jax.grad(total(lambda cell, x, h: cell(x, h)), argnums=(0, 1, 2)))(cell, x, h)
    expected = jax.jit(jax.grad(total(plain), argnums=(0, 1, 2)))(cell, x, h)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        close(ours, theirs)


def test_time_encoding():
    encoding = random_layer(TimeEncoding, DIM)
    linear, periodic = encoding(jnp.asarray(7.0))
    p = numbers(encoding)
    close(linear, p.weight_linear * 7 + p.bias_linear)
    close(periodic, np.sin(p.weight_periodic * 7 + p.bias_periodic))


def test_batch_norm(training):
    norm, x = random_layer(BatchNorm, 3), normal(1, 6, 3)
    out, running = norm.rows(jnp.asarray(x), jnp.ones(6), norm.running, training)
    apply, mean, var = normed(norm, list(x.T), training)
    close(out, np.stack([apply(x[:, c], c) for c in range(3)], 1))
    close(running.mean, mean)
    close(running.var, var)


def test_batch_norm_counts_rows_by_weight():
    norm, x = random_layer(BatchNorm, 3), normal(1, 5, 3)
    weight = np.array([1, 2, 0, 3, 0])
    repeated = np.repeat(x, weight, axis=0)
    out, running = norm.rows(jnp.asarray(x), jnp.asarray(weight, jnp.float32), norm.running, True)
    expected, expected_running = norm.rows(jnp.asarray(repeated), jnp.ones(6), norm.running, True)
    close(out[weight > 0], np.asarray(expected)[[0, 1, 3]])
    close(running.mean, expected_running.mean)
    close(running.var, expected_running.var)


@pytest.mark.parametrize("weight", [[0, 1, 0], [0, 0, 0]])
def test_batch_norm_of_one_row_or_none_uses_and_keeps_the_averages(weight):
    norm, x = random_layer(BatchNorm, 3), jnp.asarray(normal(1, 3, 3))
    out, running = norm.rows(x, jnp.asarray(weight, jnp.float32), norm.running, True)
    expected, _ = norm.rows(x, jnp.ones(3), norm.running, False)
    close(out[1], expected[1])
    close(running.mean, norm.running.mean)
    close(running.var, norm.running.var)


# --- graph convolution -----------------------------------------------------------------------------------

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


# --- decoder ---------------------------------------------------------------------------------------------

CHANNELS, KERNEL, NUM_QUERIES = 3, 3, 5


def decoder_inputs(seed=1):
    return normal(seed, NUM_QUERIES, DIM), normal(seed + 1, NUM_QUERIES, DIM), normal(seed + 2, 2, DIM)


def decode(decoder, first, second, times, weight, training, rates=NO_DROPOUT, key=None):
    out, running = eqx.filter_jit(decoder)(
        jnp.asarray(first),
        jnp.asarray(second),
        (jnp.asarray(times[0]), jnp.asarray(times[1])),
        jnp.asarray(weight, jnp.float32),
        decoder.running,
        rates=rates,
        training=training,
        key=key,
    )
    return np.asarray(out), [np.asarray(x) for x in jax.tree.leaves(running)]


def decode_in_loops(decoder, first, second, times, training):
    """(output, the running averages after it) with every query counting once."""
    p, queries, averages = numbers(decoder), len(first), []
    stacked = [np.stack([first[u], second[u], times[0], times[1]]) for u in range(queries)]
    norm, *new = normed(decoder.norm_input, [np.concatenate([x[c] for x in stacked]) for c in range(4)], training)
    averages += new
    inputs = [np.stack([norm(x[c], c) for c in range(4)]) for x in stacked]
    reach = decoder.kernel // 2
    maps = np.zeros((queries, DIM, CHANNELS))
    for u in range(queries):
        for position in range(DIM):
            for channel in range(CHANNELS):
                total = p.filter_bias[channel]
                for tap in range(decoder.kernel):
                    at = position + tap - reach
                    for c in range(4):
                        if 0 <= at < DIM:
                            total += inputs[u][c, at] * p.filters[tap * 4 + c, channel]
                maps[u, position, channel] = total
    norm, *new = normed(decoder.norm_feature, [maps[:, :, c].ravel() for c in range(CHANNELS)], training)
    averages += new
    features = np.maximum(np.stack([norm(maps[:, :, c], c) for c in range(CHANNELS)], 2), 0)
    hidden = np.zeros((queries, DIM))
    for u in range(queries):
        for d in range(DIM):
            hidden[u, d] = p.project_bias[d] + sum(
                features[u, position, channel] * p.project[position * CHANNELS + channel, d]
                for position in range(DIM)
                for channel in range(CHANNELS)
            )
    norm, *new = normed(decoder.norm_hidden, list(hidden.T), training)
    averages += new
    return np.maximum(np.stack([norm(hidden[:, d], d) for d in range(DIM)], 1), 0), averages


@pytest.fixture(params=[1, 5])
def decoder(request):
    return random_layer(ConvDecoder, DIM, CHANNELS, request.param)


def test_conv_decoder_in_loops(decoder, training):
    first, second, times = decoder_inputs()
    out, running = decode(decoder, first, second, times, np.ones(NUM_QUERIES), training)
    expected, averages = decode_in_loops(decoder, first, second, times, training)
    assert (expected > 0).any() and (expected == 0).any()
    close(out, expected)
    for ours, average in zip(running, averages, strict=True):
        close(ours, average)


def test_conv_decoder_counts_queries_by_weight(training):
    decoder = random_layer(ConvDecoder, DIM, CHANNELS, KERNEL)
    first, second, times = decoder_inputs()
    weight = np.array([2, 0, 1, 3, 0])
    out, running = decode(decoder, first, second, times, weight, training)

    def repeat(x):
        return np.repeat(x, weight, axis=0)

    expected, averages = decode_in_loops(decoder, repeat(first), repeat(second), times, training)
    close(out[weight > 0], expected[[0, 2, 3]])
    for ours, average in zip(running, averages, strict=True):
        close(ours, average)
    # What stands in a padded query does not matter.
    first[weight == 0] = 1e3
    again, running_again = decode(decoder, first, second, times, weight, training)
    close(again[weight > 0], out[weight > 0])
    for ours, before in zip(running_again, running, strict=True):
        close(ours, before)


def test_conv_decoder_without_any_query_is_finite_and_keeps_the_averages():
    decoder = random_layer(ConvDecoder, DIM, CHANNELS, KERNEL)

    def total(decoder, first):
        out, running = decoder(
            first,
            jnp.zeros((NUM_QUERIES, DIM)),
            (jnp.ones(DIM), jnp.ones(DIM)),
            jnp.zeros(NUM_QUERIES),
            decoder.running,
            rates=NO_DROPOUT,
            training=True,
            key=None,
        )
        return jnp.sum(out), running

    gradient, running = eqx.filter_jit(eqx.filter_grad(total, has_aux=True))(decoder, jnp.zeros((NUM_QUERIES, DIM)))
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradient))
    for ours, before in zip(jax.tree.leaves(running), jax.tree.leaves(decoder.running), strict=True):
        close(ours, before)


@pytest.mark.parametrize("place", ["input", "feature", "hidden"])
def test_conv_decoder_drops_out_where_told(place):
    decoder = random_layer(ConvDecoder, DIM, CHANNELS, KERNEL)
    rates = DropoutRates(*[0.5 if name == place else 0.0 for name in ("input", "feature", "hidden")])

    def run(key, rates=rates):
        return decode(decoder, *decoder_inputs(), np.ones(NUM_QUERIES), True, rates, key)[0]

    assert np.array_equal(run(None), run(jr.key(0), NO_DROPOUT))
    assert np.array_equal(run(jr.key(0)), run(jr.key(0)))
    assert not np.array_equal(run(jr.key(0)), run(None))
    assert not np.array_equal(run(jr.key(0)), run(jr.key(1)))


# --- static graph ----------------------------------------------------------------------------------------


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
