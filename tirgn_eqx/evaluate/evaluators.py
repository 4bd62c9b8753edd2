"""Evaluators, one for each model family: they rank every query of a split, batch by batch, on the device."""
# JAX's own annotations are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import dataclasses
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar, Unpack, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from beartype import beartype
from jaxtyping import Array, Float, jaxtyped

from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader, EvidenceOptions
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.batches.loader import KINDS, Candidates, Prepared
from tirgn_eqx.data.batches.windows import WindowLoader
from tirgn_eqx.data.graph import SPLITS, TemporalGraph
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.data.index.history_index import HistoryVocabulary
from tirgn_eqx.data.index.snapshots import SnapshotStore
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.evaluate.encoding import EncoderSteps, encode_rows, model_at
from tirgn_eqx.evaluate.feedback import forecast_snapshots
from tirgn_eqx.evaluate.filters import Filter
from tirgn_eqx.evaluate.ranks import Ranks, Temperature, answer_ranks, tempered
from tirgn_eqx.evaluate.results import Evaluation, Setting, evaluated_snapshots
from tirgn_eqx.models import Evidence, Mixture, MixtureAtTarget, RecurrentGraphModel
from tirgn_eqx.models.evidence import EvidenceLoaderOptions
from tirgn_eqx.runtime.compiling import CompileCache
from tirgn_eqx.runtime.meshes import Placement, everywhere, table_rows
from tirgn_eqx.types import Answers, Batch, EvidenceBatch, Queries

T = TypeVar("T")
ModelT = TypeVar("ModelT")
BatchT = TypeVar("BatchT")
Split = Literal["train", "valid", "test"]
# About the most [query, candidate] scores that are held at once: 256 and 64 MiB in f32.
MAX_SCORES, MAX_EVIDENCE_SCORES = 2**26, 2**24
# [query, candidate] scores that one more padded shape has to save in a pass: a tenth of those computed while it
# compiles, for a training validates some ten times. With few candidates the decoder takes as long as with this many.
SCORES_PER_SHAPE, MIN_CANDIDATES = 2.0e7, 4096


def rank_batch(
    model: RecurrentGraphModel,
    batch: Batch,
    edgeless: Float[Array, "entity dim"],
    num_entities: int | None = None,
    temperature: Temperature | None = None,
) -> tuple[Ranks, Ranks]:
    """Ranks of a batch's entity and relation answers, each `(micro, answer)`; one micro-batch at a time.

    **Arguments:** `edgeless`: see `encode_rows`; `num_entities`: of the vocabulary, where the model's table is padded;
    `temperature`: for the two kinds of query.
    """
    # The window is the same for all micro-batches, so it is encoded once.
    encoding = encode_rows(model, batch.window, batch.rows, edgeless)

    def rank_micro_batch(both: tuple[Queries, Queries]) -> tuple[Ranks, Ranks]:
        ranks: list[Ranks] = []
        for kind, queries, degree in zip(KINDS, both, (None, None) if temperature is None else temperature):
            scores = model.ranking_scores(encoding, queries, batch.time_index, kind=kind, num_entities=num_entities)
            real = num_entities if kind == "entity" else None
            ranks.append(answer_ranks(*tempered(*scores, queries, degree), queries, real))
        return ranks[0], ranks[1]

    # In a loop, because the scores of all micro-batches at once would not fit into the memory.
    return everywhere(jax.lax.map(rank_micro_batch, (batch.entity_queries, batch.relation_queries)))


def rank_evidence_batch(
    model: Evidence | MixtureAtTarget, batch: EvidenceBatch, temperature: Temperature | None = None
) -> tuple[Ranks, Ranks]:
    """Ranks of a batch's entity and relation answers, each `(answer,)`; `temperature`: for the two kinds of query."""

    def ranks(
        intensity: Float[Array, "query candidate"], answers: Answers, temperature: Float[Array, ""] | None
    ) -> Ranks:
        probability = intensity / jnp.sum(intensity, 1, keepdims=True)
        own = jnp.log(probability[answers.answer_query, answers.answer])
        return answer_ranks(*tempered(probability, own, answers, temperature), answers)

    for_entity, for_relation = (None, None) if temperature is None else temperature
    entity = ranks(model.entity_intensities(batch), batch.entity.answers, for_entity)
    relation = ranks(
        model.relation_intensities(batch, model.background_logits(batch)), batch.relation.answers, for_relation
    )
    return entity, relation


class EvaluationSteps(NamedTuple):
    """Compiled steps of evaluators of one model shape: `rank` by bucket, and those of the encoder."""

    rank: CompileCache[tuple[Ranks, Ranks]]
    encoder: EncoderSteps


@runtime_checkable
class BatchSource(Protocol[BatchT]):
    """What an evaluator needs of the loader of its batches; see `Loader`."""

    @property
    def buckets(self) -> Sequence[Hashable]: ...

    def in_order(self) -> Iterator[Prepared[BatchT]]: ...

    def one_of_each(self) -> Iterator[Prepared[BatchT]]: ...


class Evaluator(ABC, Generic[ModelT, BatchT]):
    """Ranks every query of one split with models of one family and shape; compiles each batch shape once.

    The evaluators of the families share these arguments; `make_evaluator` builds the one that fits a model.

    **Arguments:**

    - `graph`, `split`: what is evaluated; the filter reads the facts of all splits.
    - `setting`: how much is known of the past; see `protocol`.
    - `max_buckets`: how many padded batch shapes, each compiled once.
    - `steps`: of another evaluator of models of this shape, so that nothing is compiled twice.
    - `candidates`: from a snapshot to (subject, relation, object) that the filter of entity queries leaves out instead
      of what is true, as TGB's sampled negatives need it.

    `filter` names the filter of the ranks; `make_evaluator` sets it with the `candidates` that make it.

    **Raises:** DataError where no snapshot of the split has a past.
    """

    filter: Filter = "time"

    def __init__(self, graph: TemporalGraph, split: Split, setting: Setting, steps: EvaluationSteps):
        self.graph, self.split, self.setting, self.steps = graph, split, setting, steps
        self.snapshots = evaluated_snapshots(graph, split)
        # In the multi-step settings, the history of all targets ends before the first of them.
        self.history_end = None if setting == "single-step" else int(self.snapshots[0])

    @property
    @abstractmethod
    def loader(self) -> BatchSource[BatchT]:
        """The loader of the batches of the split."""

    @abstractmethod
    def _rank_arguments(self, model: ModelT) -> Callable[[Prepared[BatchT]], tuple[object, ...]]:
        """From a prepared batch to the arguments of `steps.rank`, without the temperature."""

    def _batches(self, model: ModelT) -> Iterator[Prepared[BatchT]]:
        return self.loader.in_order()

    @jaxtyped(typechecker=beartype)
    def __call__(
        self, model: ModelT, temperature: Temperature | None = None, known: Callable[[int], ModelT] | None = None
    ) -> Evaluation:
        """Rank every query of the split, in the precision of `model`.

        **Arguments:** `temperature`: of the entity and the relation probabilities, see `calibrate.fit_temperature`;
        `known`: from a target to the model that forecasts it in place of `model`, asked in time order.
        """
        begin = time.perf_counter()
        facts = self.graph.split_counts[SPLITS.index(self.split)][self.snapshots]
        # Where the queries of each snapshot begin: two for every fact, first all facts, then all inverse facts.
        start = np.concatenate([[0], np.cumsum(2 * facts)])
        total = int(start[-1])
        # NaN, so that a query that no batch ranks makes the MRR NaN, and is not merely left out.
        columns = {name: {kind: np.full(total, np.nan) for kind in KINDS} for name in Ranks._fields}
        # Some GPUs round f32 products to 10 bits by default, which would make ties of scores.
        with jax.default_matmul_precision("highest"):
            for prepared, ranked in one_ahead(self.each_batch(self.steps.rank, model, temperature, known)):
                first = start[np.searchsorted(self.snapshots, prepared.target)]
                for kind, ranks in zip(KINDS, ranked):
                    rows = prepared.rows[kind].ravel()
                    real = rows >= 0
                    for name, values in ranks._asdict().items():
                        # Evidence batches pad their answers beyond `rows`; graph batches have rows of -1 for it.
                        columns[name][kind][first + rows[real]] = np.asarray(values).ravel()[: len(rows)][real]
        if self.filter == "none":
            columns["filtered"] = columns["raw"]
        elif self.filter == "all":
            # Batches have this filter for entity queries alone.
            columns = {name: {"entity": by_kind["entity"]} for name, by_kind in columns.items()}
        within = np.arange(total) - np.repeat(start[:-1], 2 * facts)
        return Evaluation(
            graph=self.graph,
            split=self.split,
            setting=self.setting,
            snapshot=np.repeat(self.snapshots, 2 * facts),
            inverse=within >= np.repeat(facts, 2 * facts),
            seconds=time.perf_counter() - begin,
            filter=self.filter,
            **columns,
        )

    def each_batch(
        self,
        step: CompileCache[T],
        model: ModelT,
        temperature: Temperature | None = None,
        known: Callable[[int], ModelT] | None = None,
    ) -> Iterator[tuple[Prepared[BatchT], T]]:
        """Every batch of the split with what `step` makes of it, which the device may still be computing.

        **Arguments:** `step`: takes the arguments of `rank_batch`, or of `rank_evidence_batch`; others as of a call.
        """
        batches, arguments, target = self._batches(model), self._rank_arguments(model), -1
        for prepared in batches:
            if known is not None and prepared.target != target:
                target = prepared.target
                arguments = self._rank_arguments(known(target))
            bucket = self.loader.buckets[prepared.bucket]
            # With a temperature the step takes two more arrays, which makes it another compiled function.
            key = bucket if temperature is None else (bucket, "tempered")
            yield prepared, step(key, *arguments(prepared), temperature)

    def compile(self, model: ModelT) -> None:
        """Compile what evaluating `model` needs, unless it is compiled already."""
        if any(bucket not in self.steps.rank.compiled for bucket in self.loader.buckets):
            # The precision is compiled into a step, so it must be that of the evaluation.
            with jax.default_matmul_precision("highest"):
                arguments = self._rank_arguments(model)
                batches = self.loader.one_of_each()
                self.steps.rank.prepare_all(
                    (self.loader.buckets[one.bucket], (*arguments(one), None)) for one in batches
                )


class RecurrentGraphEvaluator(Evaluator[RecurrentGraphModel, Batch]):
    """Evaluates recurrent graph models: TiRGN, RE-GCN and models of your own.

    **Arguments:** those of `Evaluator`, and `history_len`, `history_window`: as trained; `vocabulary`, `store`: of the
    same graph, built here unless given; `placement`: the devices that the model is on.
    """

    def __init__(
        self,
        graph: TemporalGraph,
        split: Split,
        *,
        history_len: int,
        history_window: int,
        setting: Setting = "single-step",
        vocabulary: HistoryVocabulary | None = None,
        max_buckets: int = 3,
        store: SnapshotStore | None = None,
        steps: EvaluationSteps | None = None,
        placement: Placement | None = None,
        candidates: Candidates | None = None,
    ):
        super().__init__(graph, split, setting, steps or EvaluationSteps(CompileCache(rank_batch), EncoderSteps.new()))
        placement = placement or Placement()
        # On a mesh the entity table may end with padding rows, which take no part in ranks.
        padded = table_rows(graph.num_entities, placement.mesh) != graph.num_entities
        self._num_entities = graph.num_entities if padded else None
        self._vocabulary, self._placement = vocabulary or build_history_vocabulary(graph), placement
        self._options = GraphOptions(
            history_len=history_len,
            history_window=history_window,
            # Fewer queries where there are many entities, so that their scores stay below `MAX_SCORES`.
            batch_size=min(1024, max(16, MAX_SCORES // graph.num_entities)),
            # Inference decodes a query in the same way however many facts ask it, so equal ones are decoded once.
            unique=True,
            max_buckets=max_buckets,
            bucket_cost=SCORES_PER_SHAPE / max(graph.num_entities, MIN_CANDIDATES),
            with_truth=True,
            history_end=self.history_end,
            candidates=candidates,
        )
        # In the fed-back setting this loader, of frozen windows, serves until there are forecasts.
        self._loader = self._make_loader(dataclasses.replace(self._options, rows="window"), store)

    @property
    def loader(self) -> GraphLoader:
        """The loader of the batches of the split; in the fed-back setting, of the model that was evaluated last."""
        return self._loader

    def _make_loader(self, options: GraphOptions, store: SnapshotStore | None) -> GraphLoader:
        return GraphLoader(self.graph, self._vocabulary, self.split, options, store=store, placement=self._placement)

    def _batches(self, model: RecurrentGraphModel) -> Iterator[Prepared[Batch]]:
        if self.setting == "multi-step, fed back":
            # The snapshots that are fed back are this model's own, so every call builds a loader of its own.
            store = forecast_snapshots(
                model,
                self.graph,
                self.split,
                history_len=self._options.history_len,
                history_window=self._options.history_window,
                vocabulary=self._vocabulary,
                batch_size=self._options.batch_size,
            )
            # All entities are evolved here. Those that a forecast window touches differ from model to model, and so
            # would the compiled shapes.
            self._loader = self._make_loader(dataclasses.replace(self._options, fed_back=True), store)
        return self._loader.in_order()

    def _rank_arguments(self, model: RecurrentGraphModel) -> Callable[[Prepared[Batch]], tuple[object, ...]]:
        edgeless: dict[int, Array] = {}

        def arguments(prepared: Prepared[Batch]) -> tuple[object, ...]:
            # Near the beginning of the data, windows are shorter than `history_len`.
            length = min(self.loader.window_end(prepared.target), self.loader.options.history_len)
            if length not in edgeless:
                edgeless[length] = self.steps.encoder.edgeless(length, model.encoder, length)
            return model, prepared.batch, edgeless[length], self._num_entities

        return arguments


class EvidenceEvaluatorOptions(EvidenceLoaderOptions, total=False):
    """The arguments of `EvidenceEvaluator` by name, as `MixtureEvaluator` takes and hands them on."""

    setting: Setting
    index: EvidenceIndex | None
    max_buckets: int
    steps: EvaluationSteps | None
    candidates: Candidates | None


class EvidenceEvaluator(Evaluator[Evidence | Mixture, EvidenceBatch]):
    """Evaluates evidence models, which look the past up in an index instead of a window.

    **Arguments:** those of `Evaluator`, and `context`, `background`, `max_partners`: as trained; `index`: of the same
    graph, built here unless given.

    **Raises:** ConfigError for the setting "multi-step, fed back".
    """

    windows: WindowLoader | None = None

    def __init__(
        self,
        graph: TemporalGraph,
        split: Split,
        *,
        context: bool,
        background: bool,
        max_partners: int,
        setting: Setting = "single-step",
        index: EvidenceIndex | None = None,
        max_buckets: int = 3,
        steps: EvaluationSteps | None = None,
        candidates: Candidates | None = None,
    ):
        if setting == "multi-step, fed back":
            raise ConfigError("evidence: there is no window to feed forecasts back to; ask for multi-step")
        steps = steps or EvaluationSteps(CompileCache(rank_evidence_batch), EncoderSteps.new())
        super().__init__(graph, split, setting, steps)
        self._loader = EvidenceLoader(
            graph,
            index or EvidenceIndex(graph),
            split,
            EvidenceOptions(
                batch_size=min(4096, max(16, MAX_EVIDENCE_SCORES // graph.num_entities)),
                context=context,
                background=background,
                max_partners=max_partners,
                max_buckets=max_buckets,
                history_end=self.history_end,
                with_truth=True,
                candidates=candidates,
            ),
        )

    @property
    def loader(self) -> EvidenceLoader:
        """The loader of the batches of the split."""
        return self._loader

    def model_at(self, model: Evidence | Mixture) -> Callable[[int], Evidence | MixtureAtTarget]:
        """A function from a target of the split to `model` as it forecasts that target."""
        at = model_at(model, self.windows, self.steps.encoder)
        return lambda target: at(target, None)

    def _rank_arguments(self, model: Evidence | Mixture) -> Callable[[Prepared[EvidenceBatch]], tuple[object, ...]]:
        at = self.model_at(model)
        return lambda prepared: (at(prepared.target), prepared.batch)


class MixtureEvaluator(EvidenceEvaluator):
    """Evaluates mixtures: as `EvidenceEvaluator`, with the window before each target encoded once.

    **Arguments:** `history_len`: as trained; `store`: of the same graph; the others as of `EvidenceEvaluator`.
    """

    def __init__(
        self,
        graph: TemporalGraph,
        split: Split,
        *,
        history_len: int,
        store: SnapshotStore | None = None,
        **options: Unpack[EvidenceEvaluatorOptions],
    ):
        super().__init__(graph, split, **options)
        self.windows = WindowLoader(graph, split, history_len=history_len, history_end=self.history_end, store=store)


def one_ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, each given out when the next one has begun, so that the device never waits for its reader."""
    items = iter(items)
    for last in items:
        for item in items:
            yield last
            last = item
        yield last
