"""Functions compiled ahead of time: once per padded shape, with what a backend needs to be told."""

import time
from collections.abc import Callable, Hashable
from typing import Any

import equinox as eqx
import jax

from tirgn_eqx.runtime.malloc import return_freed_memory

# On a CPU, XLA hands products to YNNPACK, which runs those inside a loop on one thread. Its older way uses all.
_CPU_OPTIONS: dict[str, str | bool] = {"xla_cpu_experimental_ynn_fusion_type": ""}


def compile_lowered(lowered: Any) -> Any:
    """What `lower` gave, compiled with the options of the backend, or without those that this XLA does not know."""
    if jax.default_backend() == "cpu":
        try:
            return lowered.compile(compiler_options=_CPU_OPTIONS)
        except jax.errors.JaxRuntimeError as error:
            if "No such compile option" not in str(error):
                raise
    return lowered.compile()


def compile_ahead(function: Callable[..., Any], *arguments: Any, donate: Any = "none") -> Any:
    """`function` compiled for `arguments`; `donate` as in `eqx.filter_jit`.

    Memory that the compiler takes after a step, and its own scratch memory, is returned to the system: so the peak
    of a training is that of the compiler or that of the steps, not their sum.
    """
    jitted: Any = eqx.filter_jit(function, donate=donate)
    return_freed_memory()
    compiled = compile_lowered(jitted.lower(*arguments))
    if "<locals>" in getattr(function, "__qualname__", ""):
        _forget(jitted)
    return_freed_memory()
    return compiled


def _forget(jitted: Any) -> None:
    """Let go of what JAX keeps of a function that was made for one training alone.

    Its caches hold the function, which holds its own entry in them: a process that trains again and again would keep
    every step that it ever compiled, until the system gives it no more memory maps. What others may call again, such
    as a module's function, stays.
    """
    inner: Any = getattr(jitted, "_cached", None)  # the jitted function within Equinox's
    if hasattr(inner, "clear_cache"):
        inner.clear_cache()


class Programs:
    """`function` compiled ahead of time, once for every key it is called with.

    A program returns before its work is done, where the function that `eqx.filter_jit` gives waits at every call;
    so the next batch is built meanwhile.

    **Arguments:** `function`; `donate`: as in `eqx.filter_jit`; `on_compile`: called with key and seconds.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        donate: Any = "none",
        on_compile: Callable[[Any, float], None] | None = None,
    ):
        self._function, self._donate, self._on_compile = function, donate, on_compile
        self.compiled: dict[Hashable, Any] = {}

    def prepare(self, key: Hashable, *arguments: Any) -> Any:
        """The program of `key`, compiled for `arguments` unless it is there."""
        run = self.compiled.get(key)
        if run is None:
            begin = time.perf_counter()
            run = self.compiled[key] = compile_ahead(self._function, *arguments, donate=self._donate)
            if self._on_compile:
                self._on_compile(key, time.perf_counter() - begin)
        return run

    def __call__(self, key: Hashable, *arguments: Any) -> Any:
        return self.prepare(key, *arguments)(*arguments)
