"""A training that a benchmark can stop between two steps: loader, model, optimizer state and compiled step."""

import time
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import equinox as eqx
import jax
import jax.random as jr
import numpy as np

from tirgn_eqx.config import RecurrentTrainingConfig
from tirgn_eqx.data import TemporalGraph
from tirgn_eqx.data.batches.loader import Prepared
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.data.index.snapshots import SnapshotStore
from tirgn_eqx.models import build_model
from tirgn_eqx.runtime import compiling
from tirgn_eqx.train.compiled_step import CompiledStep
from tirgn_eqx.train.data import make_loader
from tirgn_eqx.train.events import CompileRecord, TrainingRecord
from tirgn_eqx.train.optimizer import init_optimizer, make_optimizer, parameter_count
from tirgn_eqx.train.precision import cast_parameters
from tirgn_eqx.types import Batch

Result = TypeVar("Result")


def clock(fn: Callable[[], Result]) -> tuple[float, Result]:
    """(seconds, result) of one call."""
    begin = time.perf_counter()
    out = fn()
    return time.perf_counter() - begin, out


class Harness:
    """The same objects that a training makes, in the same way, ready for single steps.

    `setup` holds the seconds of the history vocabulary and of the loader's plan; `compiled` those of each
    bucket's compilation, as they happen.
    """

    def __init__(self, graph: TemporalGraph, config: RecurrentTrainingConfig):
        self.graph, self.config = graph, config
        self.setup, self.compiled = {}, {}
        self.setup["history_seconds"], self.vocabulary = clock(lambda: build_history_vocabulary(graph))
        self.store = SnapshotStore(graph)
        self.setup["plan_seconds"], self.loader = clock(lambda: make_loader(graph, config, self.vocabulary, self.store))
        init_key, self.step_key = jr.split(jr.key(config.seed))
        static = graph.static if config.static_graph else None
        model = build_model(graph.num_entities, graph.num_relations, config, static, key=init_key)
        # Any: what is measured is TiRGN or RE-GCN, and `flops.py` reads the layers that only the former has.
        self.model: Any = cast_parameters(model, config.precision)
        self.optimizer = make_optimizer(config)
        self.opt_state = init_optimizer(self.optimizer, self.model)
        self.parameters = parameter_count(self.model)
        self.steps = 0
        self._run = CompiledStep(config, self._on_record)

    def _on_record(self, record: TrainingRecord) -> None:
        if isinstance(record, CompileRecord):
            self.compiled[record.bucket] = record.seconds

    def step(self, prepared: Prepared) -> dict[str, jax.Array]:
        """One training step; returns its metrics, still on the device."""
        # As the trainer does, so that the same steps have the same dropout.
        key = jr.fold_in(self.step_key, self.steps)
        self.steps += 1
        self.model, self.opt_state, metrics = self._run(self.model, self.opt_state, prepared, key)
        return metrics

    def compile(self) -> None:
        """Compile every bucket's step, as a training does before its first one."""
        self._run.compile(self.model, self.opt_state, self.loader, self.step_key)

    def step_memory(self, bucket: int) -> dict[str, int] | None:
        """The compiler's account of the bucket's step, in bytes, once it has run."""
        return memory_analysis(self._run.programs.compiled[bucket])

    def with_key(self, prepared: Prepared) -> Batch:
        """The batch with its dropout key, as the step sees it."""
        return eqx.tree_at(lambda b: b.key, prepared.batch, self.step_key, is_leaf=lambda x: x is None)

    def targets(self, bucket: int) -> np.ndarray:
        """The targets of one bucket, in time order."""
        members = [target for target in self.loader.items.tolist() if self.loader.bucket_of[target] == bucket]
        return np.asarray(members)

    def typical(self, bucket: int, *, largest: bool = False) -> Prepared:
        """The batch of the bucket's target with the median number of facts, or with the most."""
        targets = self.targets(bucket)
        offsets = self.graph.offsets
        order = np.argsort(offsets[targets + 1] - offsets[targets], kind="stable")
        return self.loader.build(int(targets[order[-1 if largest else len(order) // 2]]))


def compile_ahead(
    fn: Callable[..., object], *args: object, donate: Literal["none", "all-except-first"] = "none"
) -> tuple[float, Callable[..., Any]]:
    """(seconds of compilation, compiled function); calling the latter does not wait for the result."""
    return clock(lambda: compiling.compile_ahead(fn, *args, donate=donate))


def memory_analysis(compiled: Any) -> dict[str, int] | None:
    """The compiler's own account in bytes, of what Equinox or JAX compiled."""
    # Any: Equinox keeps what JAX compiled in an attribute of a class that is not public.
    try:
        found = getattr(compiled, "compiled", compiled).memory_analysis()
    except NotImplementedError:
        return None
    names = ("argument", "output", "temp", "alias", "generated_code")
    return {name: int(getattr(found, f"{name}_size_in_bytes")) for name in names}


def device_peak() -> int | None:
    """Peak bytes in use on the first device so far; None where the backend does not say (CPU)."""
    stats = jax.devices()[0].memory_stats()
    return None if stats is None else stats.get("peak_bytes_in_use")
