"""Functions compiled ahead of time."""

import gc
import threading

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


def test_the_next_shape_is_traced_while_one_compiles(monkeypatch):
    """Batches and traces of later shapes need not wait for the compiler."""
    traced, compiled, tracing_done = [], [], threading.Event()

    def plus_one(x):
        traced.append(x.shape)
        return x + 1

    def compile_when_all_are_traced(lowered):
        assert tracing_done.wait(30), "the compiler was waited for"
        return compile_lowered(lowered)

    def calls():
        for size in (2, 3, 2):
            yield size, (jnp.ones(size),)
        tracing_done.set()

    monkeypatch.setattr(compiling, "compile_lowered", compile_when_all_are_traced)
    cache = CompileCache(plus_one, on_compile=lambda key, seconds: compiled.append(key))
    cache.prepare_all(calls())
    assert traced == [(2,), (3,)] and compiled == [2, 3] == list(cache.compiled)
    assert cache(3, jnp.zeros(3)).tolist() == [1, 1, 1]


def test_what_a_compilation_meets_is_raised_where_it_was_asked_for(monkeypatch):
    def fail(lowered):
        raise MemoryError("no room")

    monkeypatch.setattr(compiling, "compile_lowered", fail)
    cache = CompileCache(double)
    with pytest.raises(MemoryError, match="no room"):
        cache.prepare_all((size, (jnp.ones(size),)) for size in (2, 3))
    assert not cache.compiled


def test_contexts_of_the_caller_hold_for_what_is_traced():
    found = []

    def square(x):
        found.append(jax.config.jax_default_matmul_precision)
        return x @ x

    with jax.default_matmul_precision("highest"):
        CompileCache(square).prepare_all([("square", (jnp.ones((4, 4)),))])
    assert found == ["highest"]


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
