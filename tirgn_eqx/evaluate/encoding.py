"""States of all entities before a target, computed from the entities that the window before it touches."""
# JAX's own annotations are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
from jaxtyping import Array, Float

from tirgn_eqx.data.batches.windows import WindowLoader
from tirgn_eqx.models import Encoding, Evidence, Mixture, MixtureAtTarget, RecurrentEncoder, RecurrentGraphModel
from tirgn_eqx.runtime.compiling import CompileCache
from tirgn_eqx.runtime.meshes import split
from tirgn_eqx.types import EntityRows, Window


def encode_rows(
    model: RecurrentGraphModel, window: Window, rows: EntityRows | None, edgeless: Float[Array, "entity dim"]
) -> Encoding:
    """Encode `window`, evolving only the entities that have an edge in it.

    **Arguments:** `rows`: all entities with an edge in the window, None to evolve all entities; `edgeless`: the states
    that entities without an edge have after as many snapshots (`RecurrentEncoder.isolated_state`).

    **Returns:** the encoding of all entities.
    """
    if rows is None or rows.index is None:
        return model.encoder(window, rows=rows)[0]
    encoding, _ = model.at_rows(rows).encoder(window, rows=rows)
    # Padding rows point past the table and are dropped.
    entity = split(edgeless.at[rows.index].set(encoding.entity, mode="drop"), "entity")
    return eqx.tree_at(lambda e: e.entity, encoding, entity)


class EncoderSteps(NamedTuple):
    """Compiled steps of encoders: `encode` by shape of the window, `edgeless` states by length of the window."""

    encode: CompileCache[Encoding]
    edgeless: CompileCache[Float[Array, "entity dim"]]

    @classmethod
    def new(cls) -> "EncoderSteps":
        """Steps that are compiled when they are first called."""
        return cls(CompileCache(encode_rows), CompileCache(RecurrentEncoder.isolated_state))


class Encoder:
    """Encodes the window before any target for one model.

    The last encoding is kept, because the queries of a target may come in several batches.

    **Arguments:** `model`; `windows`: of the graph; `steps`: of another encoder of models of this shape, to be shared.
    """

    def __init__(self, model: RecurrentGraphModel, windows: WindowLoader, steps: EncoderSteps | None = None):
        self.model, self.windows, self.steps = model, windows, steps or EncoderSteps.new()
        self._edgeless: dict[int, Float[Array, "entity dim"]] = {}
        self._last: tuple[tuple[int, int | None], tuple[Encoding, Float[Array, ""]]] | None = None

    def __call__(self, target: int, history_end: int | None = None) -> tuple[Encoding, Float[Array, ""]]:
        """(encoding, clock) at snapshot `target`; nothing from snapshot `history_end` on is read (None: `target`)."""
        # A single encoding is kept, because an evaluation takes the targets in order of time.
        if self._last is None or self._last[0] != (target, history_end):
            found = self.windows.build(target, history_end)
            # Windows near the beginning of the data are shorter, and edgeless states depend on the length alone.
            if found.length not in self._edgeless:
                self._edgeless[found.length] = self.steps.edgeless(found.length, self.model.encoder, found.length)
            # The steps may be shared with encoders whose windows have other shapes.
            key = (self.windows.sizes, self.windows.num_rows)
            encoding = self.steps.encode(key, self.model, found.window, found.rows, self._edgeless[found.length])
            self._last = ((target, history_end), (encoding, found.time_index))
        return self._last[1]


def model_at(
    model: Evidence | Mixture, windows: WindowLoader | None, steps: EncoderSteps | None = None
) -> Callable[[int, int | None], Evidence | MixtureAtTarget]:
    """A function from (target, history_end) to the model at that target.

    An evidence model is the same at every target; a mixture is given the encoding of the window before it.
    """
    if isinstance(model, Evidence):
        return lambda target, history_end: model
    assert windows is not None
    encoder = Encoder(model.structure, windows, steps)
    return lambda target, history_end: model.at(*encoder(target, history_end))
