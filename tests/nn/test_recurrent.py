"""Recurrent cells against their equations in loops."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.helpers import close, normal
from tests.nn.layer_helpers import DIM, numbers, random_layer
from tirgn_eqx.nn import (
    GRUCell,
)


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
