"""Functions compiled ahead of time."""

import gc

import jax
import jax.numpy as jnp
import pytest

from tirgn_eqx.runtime import compiling
from tirgn_eqx.runtime.compiling import CompileCache, compile_ahead, compile_lowered


def used():
    """Uses a program made for this one use, and counts those that are alive after it."""
    factor = jnp.arange(3.0)
    assert CompileCache(lambda x: x * factor)("three", jnp.ones(3)).tolist() == [0, 1, 2]
    gc.collect()
    return len(jax.devices()[0].client.live_executables())


@pytest.mark.slow
def test_a_function_made_for_one_use_leaves_no_program():
    """JAX's caches would keep each of them for as long as the process lives."""
    used()
    assert used() == used()


def double(x):
    return {"twice": 2 * x, "name": "x"}


def test_once_for_every_key():
    compiled = []
    cache = CompileCache(double, on_compile=lambda key, seconds: compiled.append((key, seconds > 0)))
    prepared = cache.prepare("three", jnp.ones(3))
    assert compiled == [("three", True)] and cache.compiled == {"three": prepared}
    assert cache("three", jnp.arange(3.0))["twice"].tolist() == [0, 2, 4]
    assert cache.prepare("three", jnp.ones(3)) is prepared
    assert cache("four", jnp.ones(4))["name"] == "x", "what is no array is passed through"
    assert compiled == [("three", True), ("four", True)]
    # The key stands for the shapes: arguments of other shapes are refused, and nothing is compiled behind its back.
    with pytest.raises(TypeError):
        cache("three", jnp.ones(5))


def test_donated_buffers_are_used_again():
    first, second = jnp.ones(64), jnp.ones(64)
    run = compile_ahead(lambda x, y: (x.sum(), y + 1), first, second, donate="all-except-first")
    run(first, second)
    assert second.is_deleted() and not first.is_deleted()


class Refuses:
    """A lowered function of an XLA that refuses options with this message."""

    def __init__(self, message):
        self.message, self.asked = message, []

    def compile(self, compiler_options=None):
        self.asked.append(compiler_options)
        if compiler_options:
            raise jax.errors.JaxRuntimeError(self.message)
        return "compiled"


def test_options_that_xla_does_not_know_are_left_out(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    old, broken = Refuses("INVALID_ARGUMENT: No such compile option: 'xla_x'"), Refuses("INTERNAL: out of luck")
    assert compile_lowered(old) == "compiled" and old.asked == [compiling._CPU_OPTIONS, None]
    with pytest.raises(jax.errors.JaxRuntimeError, match="out of luck"):
        compile_lowered(broken)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compile_lowered(broken) == "compiled"


def test_only_functions_of_one_training_are_forgotten(monkeypatch):
    """Those of a module may be called again, and need not be traced again then."""
    forgotten = []
    monkeypatch.setattr(compiling, "_forget", forgotten.append)
    compile_ahead(double, jnp.ones(3))
    assert not forgotten
    compile_ahead(lambda x: x + 1, jnp.ones(3))
    assert len(forgotten) == 1
