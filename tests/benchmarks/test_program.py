"""Dense products of a program, read from its text."""

import jax
import jax.numpy as jnp

from benchmarks.program import Product, products
from tests.benchmarks.compiled_program import PROGRAM


def test_dense_products_are_counted_with_their_loops():
    assert products(PROGRAM) == [Product(flops=2 * 4 * 8 * 6, bytes=4 * 32 + 4 * 24 + 2 * 48, times=3)]


def test_products_of_a_compiled_loop_are_those_of_its_shapes():
    def loop(a: jax.Array, b: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 5, lambda _, x: jnp.tanh(x @ a), b)

    text = jax.jit(loop).lower(jnp.ones((96, 96)), jnp.ones((64, 96))).compile().as_text()
    assert sum(one.times * one.flops for one in products(text)) == 5 * 2 * 64 * 96 * 96
