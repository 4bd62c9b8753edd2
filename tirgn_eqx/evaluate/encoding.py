"""States of all entities before a target, computed from those that the window before it touches."""

from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Array, Float

from tirgn_eqx.data.batches.windows import WindowLoader
from tirgn_eqx.models import Encoding, RecurrentEncoder, RecurrentGraphModel
from tirgn_eqx.runtime.compiling import Programs
from tirgn_eqx.runtime.meshes import split
from tirgn_eqx.types import EntityRows, Window


def encode_rows(
    model: RecurrentGraphModel, window: Window, rows: EntityRows | None, idle: Float[Array, "entity dim"]
) -> Encoding:
    """The encoding of all entities from `rows` (all that have an edge in the window; None: all entities) and the
    `idle` states of the others."""
    if rows is None or rows.index is None:
        return model.encoder(window, rows=rows)[0]
    encoding, _ = model.at_rows(rows).encoder(window, rows=rows)
    entity = split(idle.at[rows.index].set(encoding.entity, mode="drop"), "entity")
    return eqx.tree_at(lambda e: e.entity, encoding, entity)


class EncoderPrograms(NamedTuple):
    """What encoders of one model compile: windows by their shape, idle states by the window's length."""

    encode: Programs
    idle: Programs


class Encoder:
    """Encodes the windows before targets for one model; the last one is kept, since a target comes in parts.

    **Arguments:** `model`; `windows`; `programs`: those of another encoder of the same model, to be shared.
    """

    def __init__(self, model: RecurrentGraphModel, windows: WindowLoader, programs: EncoderPrograms | None = None):
        self.model, self.windows = model, windows
        self.programs = programs or EncoderPrograms(Programs(encode_rows), Programs(RecurrentEncoder.isolated_state))
        self._idle: dict[int, Any] = {}
        self._last: tuple[Any, Encoding, Any] | None = None

    def __call__(self, target: int, known: int | None = None) -> tuple[Encoding, Float[Array, ""]]:
        """(encoding, clock) before snapshot `target`; `known`: nothing from this snapshot on is known."""
        if self._last is None or self._last[0] != (target, known):
            found = self.windows.build(target, known)
            if found.length not in self._idle:
                self._idle[found.length] = self.programs.idle(found.length, self.model.encoder, found.length)
            key = (self.windows.sizes, self.windows.num_rows)
            encoding = self.programs.encode(key, self.model, found.window, found.rows, self._idle[found.length])
            self._last = ((target, known), encoding, found.time_index)
        return self._last[1:]
