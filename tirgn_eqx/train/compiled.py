"""The training step as compiled programs, one for each padded shape of a batch."""

from collections.abc import Callable
from typing import Any

import equinox as eqx

from tirgn_eqx.config import ModelTrainingConfig
from tirgn_eqx.models import Model
from tirgn_eqx.runtime.compiling import Programs
from tirgn_eqx.train.data import Loader, PreparedBatch
from tirgn_eqx.train.step import make_step


class CompiledStep:
    """The training step, compiled once per batch shape, its model and optimizer donated."""

    def __init__(
        self,
        config: ModelTrainingConfig,
        on_record: Callable[[dict[str, Any]], None],
        optimizer: Any = None,
        num_entities: int | None = None,
    ):
        step = make_step(config, optimizer, num_entities)
        record = lambda bucket, seconds: on_record({"event": "compile", "bucket": bucket, "seconds": seconds})
        # Donation spares the first argument: a batch has no result of its shape to give its memory to.
        batch_first = lambda batch, model, opt_state: step(model, opt_state, batch)
        self.programs = Programs(batch_first, donate="all-except-first", on_compile=record)

    def __call__(self, model: Model, opt_state: Any, prepared: PreparedBatch, key: Any) -> tuple[Model, Any, Any]:
        return self.programs(prepared.bucket, with_key(prepared, key), model, opt_state)

    def compile(self, model: Model, opt_state: Any, loader: Loader, key: Any) -> None:
        """Compile what is missing for the batches of `loader`, before any step: a compiler's leavings among the arrays
        of steps would keep the C heap from using their places again."""
        if len(self.programs.compiled) < len(loader.buckets):
            for prepared in loader.one_of_each():
                self.programs.prepare(prepared.bucket, with_key(prepared, key), model, opt_state)


def with_key(prepared: PreparedBatch, key: Any) -> Any:
    """The batch with its dropout key, as the step sees it."""
    return eqx.tree_at(lambda b: b.key, prepared.batch, key, is_leaf=lambda x: x is None)
