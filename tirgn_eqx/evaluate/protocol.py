"""Evaluation: every snapshot of a split forecast from what is known before it.

Single-step: each snapshot from everything strictly before it, the truth then revealed; history at test time is
train + valid + earlier test snapshots. Multi-step: all of them from what is known before the split's first snapshot,
window and history vocabulary frozen there, only the clock going on. Multi-step, fed back: the same, but the window goes
on with snapshots that the model forecasts for itself. No parameter is updated. Both directions are asked; figures are
micro-averages over queries.
"""

import time
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from beartype import beartype
from jaxtyping import Array, Float, jaxtyped

from tirgn_eqx.data.batches.loader import KINDS, BatchLoader, Prepared
from tirgn_eqx.data.batches.queries import Candidates
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.history import HistoryVocabulary, build_history_vocabulary
from tirgn_eqx.data.index.snapshots import SnapshotStore
from tirgn_eqx.data.vocabulary import for_checkpoint
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.combined import MixtureEvaluator
from tirgn_eqx.evaluate.encoding import encode_rows
from tirgn_eqx.evaluate.evidence import EvidenceEvaluator
from tirgn_eqx.evaluate.feedback import forecast_snapshots
from tirgn_eqx.evaluate.ranks import Ranks, Temperature, answer_ranks, tempered
from tirgn_eqx.evaluate.results import Evaluation as Evaluation
from tirgn_eqx.evaluate.results import Setting as Setting
from tirgn_eqx.evaluate.results import evaluated_snapshots, one_ahead
from tirgn_eqx.models import Evidence, Mixture, Model, RecurrentEncoder, RecurrentGraphModel
from tirgn_eqx.runtime.compiling import Programs
from tirgn_eqx.runtime.meshes import Placement, everywhere, table_rows
from tirgn_eqx.types import Batch

SCORES = 2**26  # the most [unit, candidate] scores held at once


def rank_batch(
    model: RecurrentGraphModel,
    batch: Batch,
    idle: Float[Array, "entity dim"],
    temperature: Temperature | None = None,
    num_entities: int | None = None,
) -> tuple[Ranks, Ranks]:
    """Ranks of a batch's entity and relation answers, each `(micro, answer)`; one chunk of units at a time.
    `temperature`: of the two kinds; `num_entities`: of the vocabulary, where the model's table has more rows."""
    encoding = encode_rows(model, batch.window, batch.rows, idle)

    def chunk(both):
        options = {"encoding": encoding, "time_index": batch.time_index}
        ranks = []
        for kind, queries, degree in zip(KINDS, both, (None, None) if temperature is None else temperature):
            scores = model.ranking_scores(queries=queries, kind=kind, num_entities=num_entities, **options)
            real = num_entities if kind == "entity" else None
            ranks.append(answer_ranks(*tempered(*scores, queries, degree), queries, real))
        return ranks[0], ranks[1]

    return everywhere(jax.lax.map(chunk, (batch.entity_queries, batch.relation_queries)))


class EvaluationPrograms(NamedTuple):
    """What evaluators of one model compile: ranking by bucket, and idle states by length of the window."""

    rank: Programs
    idle: Programs


class Evaluator:
    """Evaluates models of one shape on one split; compiles each batch shape once, however often it is called.

    **Arguments:** `graph`; `split`: "valid" or "test"; `history_len`, `history_window`: as trained; `setting`;
    `programs`: those of another evaluator of the same model, to be shared; `candidates`: of a snapshot, what is left
    out of its filtered entity ranks instead of what is true; `placement`: the devices that the model is on.
    """

    def __init__(
        self,
        graph: TemporalGraph,
        split: Literal["train", "valid", "test"],
        *,
        history_len: int,
        history_window: int,
        setting: Setting = "single-step",
        vocabulary: HistoryVocabulary | None = None,
        max_buckets: int = 3,
        store: SnapshotStore | None = None,
        programs: EvaluationPrograms | None = None,
        placement: Placement | None = None,
        candidates: Candidates | None = None,
    ):
        self.graph, self.split, self.setting = graph, split, setting
        snapshots = evaluated_snapshots(graph, split)
        self._shared: dict[str, Any] = {
            "history_len": history_len,
            "history_window": history_window,
            "vocabulary": vocabulary or build_history_vocabulary(graph),
            "batch_size": min(1024, max(16, SCORES // graph.num_entities)),
        }
        self.placement = placement or Placement()
        rows = table_rows(graph.num_entities, self.placement.mesh)
        # Said only where the model's table has padding.
        self._num_entities = None if rows == graph.num_entities else graph.num_entities
        self._options: dict[str, Any] = {"unique": True, "max_buckets": max_buckets, "with_truth": True}
        self._options |= {"candidates": candidates, "placement": self.placement}
        self._options |= {"known": None if setting == "single-step" else int(snapshots[0])}
        # Before anything is fed back this is the loader of frozen windows.
        self.loader = BatchLoader(graph, split=split, rows="window", store=store, **self._shared, **self._options)
        self.programs = programs or EvaluationPrograms(Programs(rank_batch), Programs(RecurrentEncoder.isolated_state))

    @jaxtyped(typechecker=beartype)
    def __call__(self, model: RecurrentGraphModel, temperature: Temperature | None = None) -> Evaluation:
        """Rank every query of the split with `model`, in its own precision (f32 unless trained in f64); `temperature`:
        of its entity and relation probabilities."""
        # Some GPUs round f32 products to 10 bits unless told otherwise, which would make ties of scores.
        with jax.default_matmul_precision("highest"):
            if self.setting == "multi-step, fed back":
                self._feed_back(model)
            return self._evaluate(model, temperature)

    def _feed_back(self, model: RecurrentGraphModel) -> None:
        """Let the windows go on with what `model` forecasts."""
        store = forecast_snapshots(model, self.graph, self.split, **self._shared)  # pyright: ignore[reportArgumentType]
        options = self._shared | self._options | {"fed_back": True, "store": store}
        self.loader = BatchLoader(self.graph, split=self.split, **options)

    def compile(self, model: RecurrentGraphModel) -> None:
        """Compile what evaluating `model` needs, unless it is there."""
        if any(bucket not in self.programs.rank.compiled for bucket in self.loader.buckets):
            with jax.default_matmul_precision("highest"):
                for prepared in self.loader.one_of_each():
                    self.programs.rank.prepare(*self._arguments(model, prepared, {}), *self._further(None))

    def _arguments(self, model: RecurrentGraphModel, prepared: Prepared, idle: dict[int, Any]) -> tuple[Any, ...]:
        """What ranks a batch: its program's key, and the arguments; `idle`: states known so far, by window length."""
        length = min(self.loader.window_end(prepared.target), self.loader.history_len)
        if length not in idle:
            idle[length] = self.programs.idle(length, model.encoder, length)
        return self.loader.buckets[prepared.bucket], model, prepared.batch, idle[length]

    def _further(self, temperature: Temperature | None) -> tuple[Any, ...]:
        """What the program is told beside its arrays, nothing in the usual case."""
        return () if temperature is None and self._num_entities is None else (temperature, self._num_entities)

    def _evaluate(self, model: RecurrentGraphModel, temperature: Temperature | None) -> Evaluation:
        begin = time.perf_counter()
        columns: dict[str, dict[str, list[np.ndarray]]] = {name: {kind: [] for kind in KINDS} for name in Ranks._fields}
        snapshot, inverse = [], []
        for prepared, ranked in one_ahead(self._dispatched(model, temperature)):
            queries = 2 * prepared.num_facts
            for kind, ranks in zip(KINDS, ranked):
                rows = prepared.rows[kind].ravel()
                place = rows[rows >= 0]
                for name in columns:
                    values = np.asarray(getattr(ranks, name)).ravel()[rows >= 0]
                    ordered = np.empty(queries, np.float64)
                    ordered[place] = values
                    columns[name][kind].append(ordered)
            snapshot.append(np.full(queries, prepared.target))
            inverse.append(np.arange(queries) >= prepared.num_facts)
        joined = {n: {k: np.concatenate(v) for k, v in by_kind.items()} for n, by_kind in columns.items()}
        return Evaluation(
            graph=self.graph,
            split=self.split,
            setting=self.setting,
            snapshot=np.concatenate(snapshot),
            inverse=np.concatenate(inverse),
            seconds=time.perf_counter() - begin,
            **joined,
        )

    def _dispatched(
        self, model: RecurrentGraphModel, temperature: Temperature | None
    ) -> Iterator[tuple[Prepared, tuple[Ranks, Ranks]]]:
        """Every snapshot with its ranks, which the device may still be working on."""
        idle: dict[int, Any] = {}
        for prepared in self.loader.in_order():
            bucket, *arguments = self._arguments(model, prepared, idle)
            key = bucket if temperature is None else (bucket, "tempered")
            yield prepared, self.programs.rank(key, *arguments, *self._further(temperature))


def make_evaluator(
    model: Model,
    graph: TemporalGraph,
    *,
    split: Literal["train", "valid", "test"] = "test",
    history_len: int,
    history_window: int = 0,
    setting: Setting = "single-step",
    vocabulary: HistoryVocabulary | None = None,
    candidates: Candidates | None = None,
) -> Evaluator | EvidenceEvaluator:
    """The evaluator of models like `model`; see `evaluate_model`. `candidates`: see `Evaluator`."""
    options: dict[str, Any] = {"candidates": candidates}
    if isinstance(model, Evidence):
        return EvidenceEvaluator(graph, split, setting=setting, **model.loader_options, **options)
    if isinstance(model, Mixture):
        needs: dict[str, Any] = model.evidence.loader_options | {"history_len": history_len}
        return MixtureEvaluator(graph, split, setting=setting, **needs, **options)
    options |= {"history_len": history_len, "history_window": history_window, "vocabulary": vocabulary}
    return Evaluator(graph, split, setting=setting, **options)


def evaluate_model(
    model: Model,
    graph: TemporalGraph,
    *,
    split: Literal["train", "valid", "test"] = "test",
    history_len: int,
    history_window: int = 0,
    setting: Setting = "single-step",
    vocabulary: HistoryVocabulary | None = None,
    metadata: dict[str, Any] | None = None,
) -> Evaluation:
    """Evaluate once; for repeated evaluation keep an `Evaluator`, `EvidenceEvaluator` or `MixtureEvaluator`.

    Models of evidence have no history vocabulary: `history_window` and `vocabulary` say nothing to them, and
    `history_len` nothing to one that has no structure.

    **Arguments:** `metadata`: as `load_model` gives it, by which the names of `graph` are matched with those of the
    model (see `for_checkpoint`); without it, ids are taken to be those of the model. `vocabulary`: of the graph with
    the ids of the model.

    **Raises:** DataError for a graph that the model does not fit, or a split without facts.
    """
    if metadata is not None:
        graph = for_checkpoint(graph, metadata, "the model")
    sizes = model.num_entities, model.num_relations
    if sizes != (graph.num_entities, graph.num_relations):
        raise DataError(
            f"{graph.name}: has {graph.num_entities:,} entities and {graph.num_relations:,} relations, but the model "
            f"was trained with {sizes[0]:,} and {sizes[1]:,}; give its metadata, by which names are matched"
        )
    options: dict[str, Any] = {"history_len": history_len, "history_window": history_window, "vocabulary": vocabulary}
    evaluator: Any = make_evaluator(model, graph, split=split, setting=setting, **options)
    return evaluator(model)
