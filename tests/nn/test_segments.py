"""Sums into segments and rows of tables: without a scatter they are what they are with one, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends import traced_for
from tests.helpers import close, normal
from tirgn_eqx.nn import segments
from tirgn_eqx.nn.segments import add_rows, put_rows, segment_mean, segment_sum, take_rows

DIM = 4
TYPES = [jnp.float32, jnp.float64, jnp.bfloat16]


def small_integers(rng, *shape):
    """Floats whose sums are exact in every order, in bf16 too."""
    return rng.integers(-5, 6, shape)


def with_gradient(function, *arguments):
    """The value, and the gradients of its sum weighted by small integers."""
    value, pull_back = jax.vjp(function, *arguments)
    weight = small_integers(np.random.default_rng(1), *value.shape)
    return value, pull_back(jnp.asarray(weight, value.dtype))


def assert_same(function, *arguments):
    """The value and the gradients are those of the plain form, in every bit; returns the value."""
    plain = jax.jit(lambda *arguments: with_gradient(function, *arguments))(*arguments)
    with traced_for("gpu"):
        traced = jax.jit(lambda *arguments: with_gradient(function, *arguments)).trace(*arguments)
    assert "scatter-add" not in str(traced.jaxpr)
    found = traced.lower().compile()(*arguments)
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(found), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a, float), np.asarray(b, float))
    return found[0]


SHAPES = {
    "items": st.sampled_from([0, 1, 2, 7, 24]),
    "rows": st.sampled_from([1, 2, 9]),
    "inner": st.sampled_from([(), (3,), (2, 3)]),
    "dtype": st.sampled_from(TYPES),
    "seed": st.integers(0, 2**16),
}


@settings(max_examples=15, deadline=None)
@given(**SHAPES, is_sorted=st.booleans())
def test_sums_into_segments(items, rows, inner, dtype, seed, is_sorted):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, rows + 1, items)  # `rows` is padding
    ids = np.sort(ids) if is_sorted else ids
    values = small_integers(rng, items, *inner)
    total = assert_same(
        lambda values: segment_sum(values, jnp.asarray(ids), rows, is_sorted), jnp.asarray(values, dtype)
    )
    expected = np.zeros((rows + 1, *inner))
    np.add.at(expected, ids, values)
    np.testing.assert_array_equal(np.asarray(total, float), expected[:rows])


@settings(max_examples=15, deadline=None)
@given(**SHAPES, padded=st.booleans(), one_hot=st.booleans())
def test_rows_of_a_table(items, rows, inner, dtype, seed, padded, one_hot):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, rows + padded, (items, 2))
    table = small_integers(rng, rows, *inner)
    with pytest.MonkeyPatch.context() as patch:
        if not one_hot:
            patch.setattr(segments, "MAX_ONE_HOT", 0)
        found = assert_same(lambda table: take_rows(table, jnp.asarray(ids), padded=padded), jnp.asarray(table, dtype))
    np.testing.assert_array_equal(np.asarray(found, float), np.concatenate([table, np.zeros((1, *inner))])[ids])


@settings(max_examples=8, deadline=None)
@given(items=SHAPES["items"], seed=SHAPES["seed"], dtype=SHAPES["dtype"])
def test_pairs_of_ids(items, seed, dtype):
    rng = np.random.default_rng(seed)
    table = jnp.asarray(small_integers(rng, 3, 5, 2), dtype)
    # Either id may be padding, and the position of no such pair may be taken for that of another.
    row, column = (jnp.asarray(rng.integers(0, size + 1, items)) for size in (3, 5))
    assert_same(lambda table: take_rows(table, row, column), table)
    inside = row % 3, column % 5
    assert_same(lambda table: take_rows(table, *inside, padded=False), table)
    values = jnp.asarray(small_integers(rng, items, 2), dtype)
    assert_same(lambda table, values: add_rows(table, values, row, column), table, values)


@pytest.mark.parametrize("ids", [[], [3], [4, 1], [2, 0, 5, 5, 3], [5, 5]])
def test_rows_are_put_into_a_table(ids):
    table, values = small_integers(np.random.default_rng(0), 5, 2), 10 * np.ones((len(ids), 2))
    arguments = jnp.asarray(table, jnp.float32), jnp.asarray(values, jnp.float32)
    found = assert_same(lambda table, values: put_rows(table, values, jnp.asarray(ids, int)), *arguments)
    expected = np.concatenate([table, np.zeros((1, 2))])
    expected[np.array(ids, int)] = 10
    np.testing.assert_array_equal(found, expected[:5])


def test_sums_of_many_items_are_as_exact_as_any():
    rng = np.random.default_rng(0)
    ids, values = np.sort(rng.integers(0, 7, 5000)), rng.normal(size=(5000, 3)) + 100
    expected = np.zeros((7, 3))
    np.add.at(expected, ids, values)
    with traced_for("gpu"):
        total = jax.jit(lambda x, ids: segment_sum(x, ids, 7, is_sorted=True))(jnp.float32(values), ids)
    np.testing.assert_allclose(total, expected, rtol=3e-7)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_what_is_not_finite_stays_in_its_segment(backend):
    values = jnp.array([1.0, np.nan, 2.0, np.inf, 3.0, np.nan])
    with traced_for(backend):
        total = segment_sum(values, jnp.array([0, 1, 1, 2, 4, 5]), 5, is_sorted=True)
    np.testing.assert_array_equal(total, [1, np.nan, np.inf, 0, 3])


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_the_gradient_of_padding_is_dropped_whatever_it_is(backend):
    with traced_for(backend):
        _, pull_back = jax.vjp(lambda table: take_rows(table, jnp.array([1, 2])), jnp.ones(2))
        (gradient,) = pull_back(jnp.array([3.0, np.nan]))
    np.testing.assert_array_equal(gradient, [0, 3])


def test_elsewhere_the_program_is_the_plain_one():
    values, ids = jnp.ones((6, 2)), jnp.array([0, 0, 2, 2, 2, 4])

    def program(function, backend="cpu"):
        with traced_for(backend):
            return str(jax.make_jaxpr(lambda x: with_gradient(function, x))(values))

    assert program(lambda x: segment_sum(x, ids, 4, is_sorted=True)) == program(
        lambda x: jax.ops.segment_sum(x, ids, 4, indices_are_sorted=True)
    )
    assert program(lambda x: take_rows(x, ids)) == program(lambda x: x.at[ids].get(mode="fill", fill_value=0))
    assert program(lambda x: take_rows(x, ids, padded=False)) == program(lambda x: x[ids])
    assert program(lambda x: take_rows(x, ids, ids % 2, padded=False)) == program(lambda x: x[ids, ids % 2])
    assert program(lambda x: add_rows(x, x, ids)) == program(lambda x: x.at[ids].add(x, mode="drop"))
    assert program(lambda x: put_rows(x, x, ids)) == program(lambda x: x.at[ids].set(x, mode="drop"))
    # On a GPU too, where there are targets enough.
    many = segments.FEW_TARGETS
    assert program(lambda x: segment_sum(x, ids, many), "gpu") == program(lambda x: jax.ops.segment_sum(x, ids, many))
    assert program(lambda x: segment_sum(x, ids, many - 1), "gpu") != program(lambda x: segment_sum(x, ids, many - 1))


def test_integers_are_left_alone():
    with traced_for("gpu"):
        program = str(jax.make_jaxpr(lambda x: take_rows(x, jnp.array([1, 3])))(jnp.arange(3)))
    assert "custom" not in program


def test_segment_mean():
    values, segment = normal(0, 6, DIM), np.array([0, 0, 2, 2, 2, 4])  # 4 = padding
    out = segment_mean(jnp.asarray(values), jnp.asarray(segment), jnp.array([2.0, 0.0, 3.0, 0.0]))
    close(out, [values[:2].mean(0), np.zeros(DIM), values[2:5].mean(0), np.zeros(DIM)])
