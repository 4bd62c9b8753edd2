"""Vectors of entities and relations by name, as a table for other tools: learnt embeddings, or evolved states."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from tirgn_eqx.config import TrainingConfig
from tirgn_eqx.data.batches.windows import WindowLoader
from tirgn_eqx.data.forecast_target import make_forecast_target
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.times import format_snapshot_time, parse_snapshot_time
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.evaluate.encoding import Encoder
from tirgn_eqx.models import Evidence, Mixture, Model
from tirgn_eqx.storage.atomic_write import atomic_write

INVERSE = "inverse relation"  # the kind of the second half of the vectors of relations


class VectorTable(NamedTuple):
    """A vector of every entity, or of every relation and then of every inverse relation, by id.

    `name`: of the array in a checkpoint, or of the state.
    """

    name: str
    kind: Literal["entity", "relation"]
    vectors: Float[np.ndarray, "id dim"]


def learnt_embeddings(model: Model) -> list[VectorTable]:
    """The embeddings that a model has learnt: of a recurrent graph model the states before any snapshot, of evidence
    the tables of its background, of a mixture both.

    **Raises:** ConfigError for an evidence model without background, which has none.
    """
    if isinstance(model, Mixture):
        parts = {"structure.": model.structure, "evidence.": model.evidence}
        # A mixture has those of its structure in any case.
        return [
            table._replace(name=prefix + table.name)
            for prefix, part in parts.items()
            if not (isinstance(part, Evidence) and part.background is None)
            for table in learnt_embeddings(part)
        ]
    if isinstance(model, Evidence):
        background = model.background
        if background is None:
            raise ConfigError(
                "an evidence model without background has no embeddings; --safetensors writes all its arrays"
            )
        entity = {name: getattr(background, name) for name in ("subject", "object", "neighbour")}
        relation = {name: getattr(background, name) for name in ("relation", "gate")}
        return _tables("background.", entity, relation)
    encoder = model.encoder
    names = ("entity_embedding", "relation_embedding")
    entity, relation = ({name: getattr(encoder, name)} for name in names)
    return _tables("encoder.", entity, relation)


def evolved_states(
    model: Model, config: TrainingConfig, graph: TemporalGraph, at: str | int | None = None
) -> tuple[list[VectorTable], int | str]:
    """The states that a recurrent graph model, alone or in a mixture, reaches over the window before a time.

    **Arguments:** `graph`: with the ids of the model; `at`: see `Forecaster`; nothing at this time or later is read.

    **Returns:** the tables, and the time.

    **Raises:** ConfigError for an evidence model, which has no states; DataError for a time before all facts.
    """
    structure = model.structure if isinstance(model, Mixture) else model
    if isinstance(structure, Evidence):
        raise ConfigError("an evidence model has no states that evolve; leave --at out for its embeddings")
    target = make_forecast_target(graph, None if at is None else parse_snapshot_time(graph, at))
    windows = WindowLoader(target.graph, None, history_len=config.window()["history_len"])
    encoding, _ = Encoder(structure, windows)(target.target, target.history_end)
    tables = _tables("", {"entity_state": encoding.entity}, {"relation_state": encoding.relation})
    return tables, format_snapshot_time(target.graph, target.target)


def write_embeddings(
    path: str | Path,
    tables: Sequence[VectorTable],
    entities: Sequence[str] | None = None,
    relations: Sequence[str] | None = None,
) -> int:
    """Write a parquet file with a row for every vector: `table`, `kind`, `id`, `name`, `vector`.

    The kinds are entity, relation and inverse relation.

    **Arguments:** `entities`, `relations`: names by id; None: the ids as text.

    **Returns:** the number of vectors.

    **Raises:** OSError when it cannot be written; a file that was there before stays whole.
    """
    import polars as pl

    frames: list[pl.DataFrame] = []
    for table in tables:
        # Relations come with their inverses, which have the same names.
        kinds, known = ([table.kind], entities) if table.kind == "entity" else (["relation", INVERSE], relations)
        count = len(table.vectors) // len(kinds)
        columns = {
            "table": [table.name] * len(table.vectors),
            "kind": np.repeat(kinds, count).tolist(),
            "id": np.arange(len(table.vectors)),
            "name": list(map(str, range(count)) if known is None else known) * len(kinds),
        }
        vectors = pl.Series("vector", table.vectors).arr.to_list()
        frames.append(pl.DataFrame(columns).with_columns(vectors))
    # Of parts that were trained in several precisions, all are written in the widest.
    written = pl.concat(frames, how="vertical_relaxed")
    # An open file, because polars refuses a path whose bytes are not UTF-8.
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        written.write_parquet(file)
    return written.height


def _tables(prefix: str, entity: dict[str, object], relation: dict[str, object]) -> list[VectorTable]:
    found = [VectorTable(prefix + name, "entity", np.asarray(array)) for name, array in entity.items()]
    return found + [VectorTable(prefix + name, "relation", np.asarray(array)) for name, array in relation.items()]
