"""Functions compiled ahead of time."""

import gc

import jax
import jax.numpy as jnp
import pytest

from tirgn_eqx.runtime.compiling import Programs


def used():
    """Uses a program made for this one use, and counts those that are alive after it."""
    factor = jnp.arange(3.0)
    assert Programs(lambda x: x * factor)("three", jnp.ones(3)).tolist() == [0, 1, 2]
    gc.collect()
    return len(jax.devices()[0].client.live_executables())


@pytest.mark.slow
def test_a_function_made_for_one_use_leaves_no_program():
    """JAX's caches would keep each of them for as long as the process lives."""
    used()
    assert used() == used()
