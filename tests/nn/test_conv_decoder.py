"""The decoder against loops; queries count by their weight."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.helpers import close, normal
from tests.nn.layer_helpers import DIM, NO_DROPOUT, normed, numbers, random_layer
from tirgn_eqx.nn import (
    ConvDecoder,
    DropoutRates,
)

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
