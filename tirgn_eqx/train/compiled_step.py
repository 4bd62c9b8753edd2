"""The training step, compiled ahead of time for every padded shape of a loader's batches."""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false

from typing import TypeVar

import equinox as eqx
import optax
from jaxtyping import PRNGKeyArray, PyTree

from tirgn_eqx.config import ModelTrainingConfig
from tirgn_eqx.data.batches.loader import Prepared
from tirgn_eqx.models import Model
from tirgn_eqx.runtime.compiling import CompileCache
from tirgn_eqx.train.data import Loader
from tirgn_eqx.train.events import CompileRecord, OnRecord
from tirgn_eqx.train.families import make_step
from tirgn_eqx.train.recovery import Metrics
from tirgn_eqx.types import Batch, EvidenceBatch

ModelT = TypeVar("ModelT", bound=Model)
AnyPrepared = Prepared[Batch] | Prepared[EvidenceBatch]


class CompiledStep:
    """The training step, compiled once for each batch shape; model and optimizer state are donated.

    **Arguments:** `on_record`: called with a `CompileRecord` after every compilation; the others: of `make_step`.
    """

    def __init__(
        self,
        config: ModelTrainingConfig,
        on_record: OnRecord,
        optimizer: optax.GradientTransformation | None = None,
        num_entities: int | None = None,
    ):
        step = make_step(config, optimizer, num_entities)

        # The batch comes first because donation spares the first argument: no result has its shape.
        def batch_first(
            batch: Batch | EvidenceBatch, model: ModelT, opt_state: PyTree
        ) -> tuple[ModelT, PyTree, Metrics]:
            return step(model, opt_state, batch)

        self.programs = CompileCache(
            batch_first,
            donate="all-except-first",
            on_compile=lambda bucket, seconds: on_record(CompileRecord(bucket, seconds)),
        )

    def __call__(
        self, model: ModelT, opt_state: PyTree, prepared: AnyPrepared, key: PRNGKeyArray
    ) -> tuple[ModelT, PyTree, Metrics]:
        return self.programs(prepared.bucket, with_key(prepared, key), model, opt_state)

    def compile(self, model: Model, opt_state: PyTree, loader: Loader, key: PRNGKeyArray) -> None:
        """Compile what is missing for the batches of `loader`.

        Compile first: allocations made by the compiler between steps fragment the heap.
        """
        if len(self.programs.compiled) < len(loader.buckets):
            batches = loader.one_of_each()
            self.programs.prepare_all((one.bucket, (with_key(one, key), model, opt_state)) for one in batches)


def with_key(prepared: AnyPrepared, key: PRNGKeyArray) -> Batch | EvidenceBatch:
    """The batch of `prepared` with its dropout key."""
    # A batch comes with None for a key, which `tree_at` takes for a leaf only when told.
    return eqx.tree_at(lambda b: b.key, prepared.batch, key, is_leaf=lambda x: x is None)
