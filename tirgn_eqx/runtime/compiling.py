"""Functions compiled ahead of time, once per padded shape, with the compiler options of the backend."""

import time
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

import equinox as eqx
import jax

from tirgn_eqx.runtime.compile_cache import usable_cores
from tirgn_eqx.runtime.malloc import return_freed_memory

# On a CPU, XLA lets YNNPACK compute products, which runs those inside a loop on one thread; without it, on all.
_CPU_OPTIONS: dict[str, str | bool] = {"xla_cpu_experimental_ynn_fusion_type": ""}

Donated = Literal["all", "all-except-first", "warn", "warn-except-first", "none"]
Result = TypeVar("Result")
CompiledT = TypeVar("CompiledT", covariant=True)


@runtime_checkable
class Lowered(Protocol[CompiledT]):
    """A function lowered by JAX (`jax.stages.Lowered`), or by Equinox, whose class is private."""

    def compile(self, /, compiler_options: dict[str, str | bool] | None = None) -> CompiledT: ...


def compile_lowered(lowered: Lowered[CompiledT]) -> CompiledT:
    """Compile a lowered function with the options of the backend, or without those that this XLA does not know."""
    if jax.default_backend() == "cpu":
        try:
            return lowered.compile(compiler_options=_CPU_OPTIONS)
        except jax.errors.JaxRuntimeError as error:
            if "No such compile option" not in str(error):
                raise
    return lowered.compile()


def compile_ahead(
    function: Callable[..., Result], *arguments: object, donate: Donated = "none"
) -> Callable[..., Result]:
    """`function` compiled for `arguments`; `donate` as in `eqx.filter_jit`.

    Free memory is returned to the system before and after, so that the peak of a training is that of the compiler or
    that of the steps, not their sum.
    """
    return _traced(function, arguments, donate)()


def _traced(
    function: Callable[..., Result], arguments: tuple[object, ...], donate: Donated
) -> Callable[[], Callable[..., Result]]:
    """`function` traced for `arguments`: call what is returned, in any thread, to compile it.

    Tracing follows the contexts of the calling thread, such as a mesh or a precision, and compiling follows none.
    """
    jitted = eqx.filter_jit(function, donate=donate)
    # Equinox declares the result of `filter_jit` as a plain function, and documents that it has `lower`.
    lowered: Lowered[Callable[..., Result]] = jitted.lower(*arguments)  # pyright: ignore[reportFunctionMemberAccess]

    def compile_traced() -> Callable[..., Result]:
        return_freed_memory()
        compiled = compile_lowered(lowered)
        # A function that was defined inside another one belongs to one training, and nothing else can call it again.
        if "<locals>" in getattr(function, "__qualname__", ""):
            _forget(jitted)
        return_freed_memory()
        return compiled

    return compile_traced


def _forget(jitted: Callable[..., object]) -> None:
    """Clear JAX's caches of a function that was made for one training.

    The caches hold the function, and the function holds its entry in them. A process that trains again and again would
    keep every step that it ever compiled, until the system refuses further memory maps. Functions of modules stay,
    because others may call them again.
    """
    inner = getattr(jitted, "_cached", None)  # the jitted function within Equinox's
    if (clear := getattr(inner, "clear_cache", None)) is not None:
        clear()


class CompileCache(Generic[Result]):
    """`function` compiled ahead of time, once for every key that it is called with.

    A call returns before the device has finished, while a function of `eqx.filter_jit` waits at every call; so the
    next batch can be built meanwhile.

    **Arguments:** `function`; `donate`: as in `eqx.filter_jit`; `on_compile`: called with key and seconds.
    """

    def __init__(
        self,
        function: Callable[..., Result],
        *,
        donate: Donated = "none",
        on_compile: Callable[[Any, float], None] | None = None,  # any: the type of the caller's keys
    ):
        self._function, self._on_compile = function, on_compile
        self._donate: Donated = donate
        self.compiled: dict[Hashable, Callable[..., Result]] = {}

    def prepare(self, key: Hashable, *arguments: object) -> Callable[..., Result]:
        """The compiled function of `key`, compiled for `arguments` unless it was before."""
        if key not in self.compiled:
            self.prepare_all([(key, arguments)])
        return self.compiled[key]

    def prepare_all(self, calls: Iterable[tuple[Hashable, tuple[object, ...]]]) -> None:
        """Compile for every key with its arguments that was not before.

        One thread traces, and takes the next call from `calls`, while others compile: one for every two cores, which is
        what a compilation keeps busy. On two cores a second compilation at a time gained a tenth and took 1.3 GiB.
        """
        started: dict[Hashable, Future[tuple[Callable[..., Result], float]]] = {}
        with ThreadPoolExecutor(max(1, usable_cores() // 2)) as pool:
            try:
                for key, arguments in calls:
                    if key not in self.compiled and key not in started:
                        begin = time.perf_counter()
                        compile_traced = _traced(self._function, arguments, self._donate)
                        started[key] = pool.submit(_timed, compile_traced, time.perf_counter() - begin)
                for key, future in started.items():
                    self.compiled[key], seconds = future.result()
                    if self._on_compile:
                        self._on_compile(key, seconds)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def __call__(self, key: Hashable, *arguments: object) -> Result:
        return self.prepare(key, *arguments)(*arguments)


def _timed(function: Callable[[], Result], seconds: float) -> tuple[Result, float]:
    """The result of `function`, and how long it took on top of `seconds`."""
    begin = time.perf_counter()
    result = function()
    return result, seconds + time.perf_counter() - begin
