"""The loaders and evaluators of a training, made from its settings over indexes that are built once."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from tirgn_eqx.config import EvidenceTrainingConfig, ModelTrainingConfig, RecurrentTrainingConfig
from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader, EvidenceOptions
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.data.index.history_index import HistoryVocabulary
from tirgn_eqx.data.index.snapshots import SnapshotStore
from tirgn_eqx.evaluate.evaluators import (
    EvaluationSteps,
    Evaluator,
    EvidenceEvaluator,
    RecurrentGraphEvaluator,
    Split,
)
from tirgn_eqx.models.evidence import EvidenceLoaderOptions
from tirgn_eqx.runtime.meshes import Placement

Loader = GraphLoader | EvidenceLoader
ConfigT = TypeVar("ConfigT", bound=ModelTrainingConfig)
AnyEvaluator = Evaluator[Any, Any]  # of the models and batches of one family
LoaderT = TypeVar("LoaderT", GraphLoader, EvidenceLoader)


def make_loader(
    graph: TemporalGraph,
    config: RecurrentTrainingConfig,
    vocabulary: HistoryVocabulary | None = None,
    store: SnapshotStore | None = None,
    placement: Placement | None = None,
    split: Split = "train",
) -> GraphLoader:
    """The batches of a split to train a recurrent graph model with the settings `config` on.

    **Arguments:** `vocabulary`, `store`: the history vocabulary and the snapshots of `graph`, where they are at hand;
    `placement`: the devices that batches go to.
    """
    return GraphLoader(
        graph,
        vocabulary or build_history_vocabulary(graph),
        split,
        GraphOptions(
            **config.window(),
            batch_size=config.batch_size,
            max_buckets=config.max_buckets,
            unique=config.unique_queries,
            # The full loss scores all entities; the others score and evolve only those that the batch touches.
            num_negatives=config.num_negatives if config.loss == "sampled" else 0,
            num_shared=config.num_shared if config.loss == "shared" else 0,
            rows="all" if config.loss == "full" else "touched",
            targets_per_step=config.targets_per_step,
            seed=config.seed,
        ),
        store=store,
        placement=placement,
    )


class TrainingData(ABC, Generic[ConfigT, LoaderT]):
    """A graph with the indexes that the model of `config` looks things up in; each family of models has its own.

    **Arguments:** `placement`: the devices that batches go to.
    """

    def __init__(self, graph: TemporalGraph, config: ConfigT, placement: Placement | None = None):
        self.graph, self.config, self.placement = graph, config, placement

    @abstractmethod
    def loader(self, config: ConfigT, split: Split = "train") -> LoaderT:
        """The batches of `split` to train on, with the settings `config`, which may differ in form from those here."""

    @abstractmethod
    def evaluator(self, split: Literal["valid", "test"], steps: EvaluationSteps | None = None) -> AnyEvaluator:
        """What ranks the queries of `split`; `steps`: the compiled ones of another such evaluator, to be shared."""

    @abstractmethod
    def most_queries(self, loader: LoaderT) -> int:
        """Queries of the largest snapshot or part, which `batch_size` 0 stands for."""

    @abstractmethod
    def report(self) -> Mapping[str, int | float]:
        """The size of the index of the past, JSON-compatible."""


class RecurrentData(TrainingData[RecurrentTrainingConfig, GraphLoader]):
    """The history vocabulary and the snapshots, for recurrent graph models."""

    def __init__(self, graph: TemporalGraph, config: RecurrentTrainingConfig, placement: Placement | None = None):
        super().__init__(graph, config, placement)
        self.vocabulary, self.store = build_history_vocabulary(graph), SnapshotStore(graph)

    def loader(self, config: RecurrentTrainingConfig, split: Split = "train") -> GraphLoader:
        return make_loader(self.graph, config, self.vocabulary, self.store, self.placement, split)

    def evaluator(self, split: Literal["valid", "test"], steps: EvaluationSteps | None = None) -> AnyEvaluator:
        return RecurrentGraphEvaluator(
            self.graph,
            split,
            **self.config.window(),
            vocabulary=self.vocabulary,
            store=self.store,
            steps=steps,
            placement=self.placement,
        )

    def most_queries(self, loader: GraphLoader) -> int:
        # Every fact asks two queries of a kind, one in each direction.
        return 2 * int(np.diff(self.graph.offsets)[loader.items].max())

    def report(self) -> Mapping[str, int | float]:
        return self.vocabulary.report()


class EvidenceData(TrainingData[EvidenceTrainingConfig, EvidenceLoader]):
    """The index of past events, for the evidence model, which is trained on one device."""

    def __init__(self, graph: TemporalGraph, config: EvidenceTrainingConfig, placement: Placement | None = None):
        super().__init__(graph, config, placement)
        self.index = EvidenceIndex(graph)
        self._options: EvidenceLoaderOptions = {
            "context": config.evidence_context,
            "background": config.has_background,
            "max_partners": config.max_partners,
        }

    def loader(self, config: EvidenceTrainingConfig, split: Split = "train") -> EvidenceLoader:
        options = EvidenceOptions(
            batch_size=config.batch_size, max_buckets=config.max_buckets, seed=config.seed, **self._options
        )
        return EvidenceLoader(self.graph, self.index, split, options)

    def evaluator(self, split: Literal["valid", "test"], steps: EvaluationSteps | None = None) -> AnyEvaluator:
        return EvidenceEvaluator(self.graph, split, index=self.index, steps=steps, **self._options)

    def most_queries(self, loader: EvidenceLoader) -> int:
        return loader.max_queries

    def report(self) -> Mapping[str, int | float]:
        index = self.index
        return {
            "triples": len(index.triple.key),
            "pairs": len(index.pair.key),
            "bytes": index.nbytes,
            "bytes_per_fact": index.nbytes / self.graph.num_facts,
        }
