"""The scores that a model gives to all candidates, of the queries of a split, and a file of them for other tools."""
# JAX's own annotations are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int64

from tirgn_eqx.data.graph import SPLITS, TemporalGraph, both_directions
from tirgn_eqx.data.times import format_snapshot_time
from tirgn_eqx.data.vocabulary import describe_vocabulary
from tirgn_eqx.evaluate.encoding import encode_rows
from tirgn_eqx.evaluate.evaluators import Split
from tirgn_eqx.evaluate.protocol import make_evaluator
from tirgn_eqx.evaluate.ranks import Temperature
from tirgn_eqx.evaluate.results import Setting
from tirgn_eqx.evaluate.score_files import VOCABULARY
from tirgn_eqx.models import Evidence, MixtureAtTarget, Model, RecurrentGraphModel
from tirgn_eqx.runtime.compiling import CompileCache
from tirgn_eqx.runtime.meshes import everywhere
from tirgn_eqx.storage.atomic_write import atomic_write
from tirgn_eqx.types import Batch, EvidenceBatch, Queries

if TYPE_CHECKING:
    import polars as pl

ROW_GROUP = 2**24  # scores of a row group of a file, so that a reader holds few at a time


class ScoredQueries(NamedTuple):
    """Queries (subject, relation, ?) by id about one time, and the score of every entity.

    Relations from `num_relations` on are inverse and predict the subject. `time`: as `format_snapshot_time` writes it.
    """

    time: int | str
    subject: Int64[np.ndarray, " query"]
    relation: Int64[np.ndarray, " query"]
    scores: Float32[np.ndarray, "query entity"]


def score_batch(
    model: RecurrentGraphModel,
    batch: Batch,
    edgeless: Float[Array, "entity dim"],
    num_entities: int | None = None,
    temperature: Temperature | None = None,
) -> Float[Array, "micro query entity"]:
    """The probabilities of which `rank_batch` makes the ranks of entity answers; the arguments are its own."""
    encoding = encode_rows(model, batch.window, batch.rows, edgeless)

    def score(queries: Queries) -> Float[Array, "query entity"]:
        return model.ranking_scores(encoding, queries, batch.time_index, kind="entity", num_entities=num_entities)[0]

    return everywhere(jax.lax.map(score, batch.entity_queries))


def score_evidence_batch(
    model: Evidence | MixtureAtTarget, batch: EvidenceBatch, temperature: Temperature | None = None
) -> Float[Array, "query entity"]:
    """As `score_batch`, of evidence models and mixtures."""
    intensity = model.entity_intensities(batch)
    return intensity / jnp.sum(intensity, 1, keepdims=True)


def score_split(
    model: Model,
    graph: TemporalGraph,
    *,
    split: Split = "test",
    history_len: int,
    history_window: int = 0,
    setting: Setting = "single-step",
) -> Iterator[ScoredQueries]:
    """The scores of every query of a split, in order of time: those that `evaluate_model` ranks, so that the ranks are
    the same. They are probabilities before calibration, which changes no rank.

    **Arguments:** as of `evaluate_model`; `graph`: with the ids of the model.

    **Raises:** DataError for a split without facts.
    """
    evaluator = make_evaluator(
        model, graph, split=split, history_len=history_len, history_window=history_window, setting=setting
    )
    recurrent = isinstance(model, RecurrentGraphModel)
    step: CompileCache[Array] = CompileCache(score_batch if recurrent else score_evidence_batch)
    batches = evaluator.each_batch(step, model)
    while True:
        # As in an evaluation. For each batch anew, because the reader may take the next one in another thread.
        with jax.default_matmul_precision("highest"):
            if (found := next(batches, None)) is None:
                return
        prepared, scores = found
        rows, answer_query = prepared.rows["entity"].ravel(), _answer_queries(prepared.batch).ravel()
        # Evidence batches pad their answers beyond `rows`; graph batches have rows of -1 for it.
        place, first = np.unique(answer_query[: len(rows)][rows >= 0], return_index=True)
        present = np.arange(int(graph.offsets[prepared.target]), int(graph.offsets[prepared.target + 1]))
        facts = both_directions(graph, present[graph.split[present] == SPLITS.index(split)])
        subject, relation = (column[rows[rows >= 0][first]] for column in facts[:2])
        of_queries = np.asarray(scores).reshape(-1, scores.shape[-1])[place, : graph.num_entities]
        yield ScoredQueries(format_snapshot_time(graph, prepared.target), subject, relation, of_queries)


def _answer_queries(batch: object) -> np.ndarray:
    """int64 `(..., answer)`: the query of every entity answer of a batch, counted over all micro-batches."""
    if isinstance(batch, EvidenceBatch):
        return np.asarray(batch.entity.answers.answer_query, np.int64)
    assert isinstance(batch, Batch)
    queries = batch.entity_queries
    size = queries.subject.shape[-1]
    return np.asarray(queries.answer_query, np.int64) + size * np.arange(len(queries.subject))[:, None]


def write_scores(path: str | Path, graph: TemporalGraph, scored: Iterable[ScoredQueries]) -> int:
    """Write a parquet file of scores, which `open_scores` reads; a group of queries is held at a time.

    The columns are `subject`, `relation`, `object` (names, or ids where `graph` has none; the part that is predicted is
    null), `time`, and `scores`, float32 by the ids of `graph`, which the metadata hold under `tirgn.vocabulary`.

    **Returns:** the number of queries.

    **Raises:** OSError when it cannot be written; a file that was there before stays whole. Whatever `scored` raises.
    """
    import polars as pl
    from polars.io.plugins import register_io_source

    named = pl.String if graph.entity_names else pl.Int64
    dated = pl.String if graph.time_unit is not None else pl.Int64
    names = {"subject": named, "relation": pl.String if graph.relation_names else pl.Int64, "object": named}
    schema = pl.Schema(names | {"time": dated, "scores": pl.Array(pl.Float32, graph.num_entities)})
    raised: list[BaseException] = []
    count = 0

    def frames(*_: Any) -> Iterator["pl.DataFrame"]:  # what polars tells of the columns that it wants
        nonlocal count
        try:
            for one in scored:
                count += len(one.subject)
                yield _frame(graph, one, schema)
        except BaseException as error:
            raised.append(error)
            raise

    rows = max(1, ROW_GROUP // graph.num_entities)
    metadata = {VOCABULARY: json.dumps(describe_vocabulary(graph))}
    # An open file, because polars refuses a path whose bytes are not UTF-8.
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        try:
            register_io_source(frames, schema=schema).sink_parquet(file, row_group_size=rows, metadata=metadata)
        except Exception:
            # Polars wraps what was raised into an error of its own.
            if raised:
                raise raised[0] from None
            raise
    return count


def _frame(graph: TemporalGraph, scored: ScoredQueries, schema: "pl.Schema") -> "pl.DataFrame":
    import polars as pl

    inverse, relation = np.divmod(scored.relation, graph.num_relations)

    def named(ids: np.ndarray, names: tuple[str, ...] | None) -> list[str] | list[int]:
        return ids.tolist() if names is None else [names[number] for number in ids.tolist()]

    subject = pl.Series(named(scored.subject, graph.entity_names))
    asked = pl.Series(inverse == 0)
    ends = pl.DataFrame({"entity": subject, "asked": asked}).select(
        subject=pl.when("asked").then("entity"), object=pl.when(~pl.col("asked")).then("entity")
    )
    columns = {
        "subject": ends["subject"],
        "relation": named(relation, graph.relation_names),
        "object": ends["object"],
        "time": [str(scored.time) if schema["time"] == pl.String else scored.time] * len(relation),
        "scores": np.asarray(scored.scores, np.float32),
    }
    return pl.DataFrame(columns, schema=schema)
