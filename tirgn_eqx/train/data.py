"""The loaders and evaluators of a training, made from its settings over indexes that are built once."""

from typing import Any, Literal

import numpy as np

from tirgn_eqx.config import EvidenceTrainingConfig, ModelTrainingConfig, RecurrentTrainingConfig
from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader, EvidenceOptions
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.data.index.snapshots import SnapshotStore
from tirgn_eqx.evaluate.evaluators import EvidenceEvaluator, RecurrentGraphEvaluator
from tirgn_eqx.runtime.meshes import Placement

Loader = GraphLoader | EvidenceLoader


def make_loader(
    graph: TemporalGraph,
    config: RecurrentTrainingConfig,
    vocabulary: Any = None,
    store: Any = None,
    placement: Placement | None = None,
) -> GraphLoader:
    """The batches of the train split for a recurrent graph model with the settings `config`.

    **Arguments:** `vocabulary`, `store`: the history vocabulary and the snapshots of `graph`, where they are at hand;
    `placement`: the devices that batches go to.
    """
    return GraphLoader(
        graph,
        vocabulary or build_history_vocabulary(graph),
        "train",
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


def _evidence_options(config: EvidenceTrainingConfig) -> dict[str, Any]:
    """The settings that evidence is gathered by, for loaders and evaluators."""
    return {
        "context": config.evidence_context,
        "background": config.evidence_background,
        "max_partners": config.max_partners,
    }


class TrainingData:
    """A graph with the indexes that the model of `config` looks things up in.

    **Arguments:** `placement`: the devices that batches go to.
    """

    def __init__(self, graph: TemporalGraph, config: ModelTrainingConfig, placement: Placement | None = None):
        self.graph, self.config, self.placement = graph, config, placement
        if isinstance(config, EvidenceTrainingConfig):
            self.index = EvidenceIndex(graph)
        else:
            self.vocabulary, self.store = build_history_vocabulary(graph), SnapshotStore(graph)

    def loader(self, config: ModelTrainingConfig) -> Loader:
        """The batches of the train split with the settings `config`, which may differ in form from those here."""
        if isinstance(config, RecurrentTrainingConfig):
            return make_loader(self.graph, config, self.vocabulary, self.store, self.placement)
        assert isinstance(config, EvidenceTrainingConfig)
        options = {"batch_size": config.batch_size, "max_buckets": config.max_buckets, "seed": config.seed}
        return EvidenceLoader(self.graph, self.index, "train", EvidenceOptions(**options, **_evidence_options(config)))

    def evaluator(self, split: Literal["valid", "test"], steps: Any = None) -> Any:
        """What ranks the queries of `split`; `steps`: the compiled ones of another such evaluator, to be shared."""
        if isinstance(self.config, EvidenceTrainingConfig):
            return EvidenceEvaluator(self.graph, split, index=self.index, steps=steps, **_evidence_options(self.config))
        return RecurrentGraphEvaluator(
            self.graph,
            split,
            **self.config.window(),
            vocabulary=self.vocabulary,
            store=self.store,
            steps=steps,
            placement=self.placement,
        )

    def most_queries(self, loader: Loader) -> int:
        """Queries of the largest snapshot or part, which `batch_size` 0 stands for."""
        if isinstance(loader, EvidenceLoader):
            return loader.max_queries
        # Every fact asks two queries of a kind, one in each direction.
        return 2 * int(np.diff(self.graph.offsets)[loader.items].max())

    def report(self) -> dict[str, Any]:
        """The size of the index of the past, JSON-compatible."""
        if not isinstance(self.config, EvidenceTrainingConfig):
            return self.vocabulary.report()
        index = self.index
        return {
            "triples": len(index.triple.key),
            "pairs": len(index.pair.key),
            "bytes": index.nbytes,
            "bytes_per_fact": index.nbytes / self.graph.num_facts,
        }
