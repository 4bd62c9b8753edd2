"""What a training reads: the loader of its steps and the evaluators, as the model needs them."""

from typing import Any, Literal

import numpy as np

from tirgn_eqx.config import EvidenceTrainingConfig, ModelTrainingConfig, RecurrentTrainingConfig
from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader, PreparedEvidence
from tirgn_eqx.data.batches.loader import BatchLoader, Prepared
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.data.index.snapshots import SnapshotStore
from tirgn_eqx.evaluate.evidence import EvidenceEvaluator
from tirgn_eqx.evaluate.protocol import Evaluator
from tirgn_eqx.runtime.meshes import Placement

Loader = BatchLoader | EvidenceLoader
PreparedBatch = Prepared | PreparedEvidence


def make_loader(
    graph: TemporalGraph,
    config: RecurrentTrainingConfig,
    vocabulary: Any = None,
    store: Any = None,
    placement: Placement | None = None,
) -> BatchLoader:
    """The training split's batches as `config` asks for them."""
    return BatchLoader(
        graph,
        vocabulary or build_history_vocabulary(graph),
        "train",
        history_len=config.history_len,
        history_window=config.history_window,
        batch_size=config.batch_size,
        max_buckets=config.max_buckets,
        unique=config.unique_questions,
        num_negatives=config.num_negatives if config.loss == "sampled" else 0,
        num_shared=config.num_shared if config.loss == "shared" else 0,
        rows="all" if config.loss == "full" else "touched",
        targets_per_step=config.targets_per_step,
        seed=config.seed,
        store=store,
        placement=placement,
    )


def evidence_needs(config: EvidenceTrainingConfig) -> dict[str, Any]:
    """What a loader of evidence must be told."""
    return {
        "context": config.evidence_context,
        "background": config.evidence_background,
        "max_partners": config.max_partners,
    }


class TrainingData:
    """A graph with the indexes that the model of `config` looks things up in, built once; `placement`: the devices that
    batches go to."""

    def __init__(self, graph: TemporalGraph, config: ModelTrainingConfig, placement: Placement | None = None):
        self.graph, self.config, self.placement = graph, config, placement
        if isinstance(config, EvidenceTrainingConfig):
            self.index = EvidenceIndex(graph)
        else:
            self.vocabulary, self.store = build_history_vocabulary(graph), SnapshotStore(graph)

    def loader(self, config: ModelTrainingConfig) -> Loader:
        """The batches of the training split as `config` asks for them."""
        if isinstance(config, RecurrentTrainingConfig):
            return make_loader(self.graph, config, self.vocabulary, self.store, self.placement)
        assert isinstance(config, EvidenceTrainingConfig)
        options = {"batch_size": config.batch_size, "max_buckets": config.max_buckets, "seed": config.seed}
        return EvidenceLoader(self.graph, self.index, "train", **options, **evidence_needs(config))

    def evaluator(self, split: Literal["valid", "test"], programs: Any = None) -> Any:
        """What ranks the questions of `split`; `programs`: of another such evaluator, to be shared."""
        if isinstance(self.config, EvidenceTrainingConfig):
            found = {"index": self.index, "programs": programs}
            return EvidenceEvaluator(self.graph, split, **found, **evidence_needs(self.config))
        options: dict[str, Any] = {"vocabulary": self.vocabulary, "store": self.store, "programs": programs}
        options |= {"placement": self.placement, **self.config.window()}
        return Evaluator(self.graph, split, **options)

    def most_questions(self, loader: Loader) -> int:
        """Questions of the largest snapshot or part: what `batch_size` 0 stands for."""
        if isinstance(loader, EvidenceLoader):
            return loader.most_questions
        return 2 * int(np.diff(self.graph.offsets)[loader.targets].max())

    def report(self) -> dict[str, Any]:
        """Size of the index of the past, for people and the log."""
        if not isinstance(self.config, EvidenceTrainingConfig):
            return self.vocabulary.report()
        index, facts = self.index, self.graph.num_facts
        return {
            "triples": len(index.triple.key),
            "pairs": len(index.pair.key),
            "bytes": index.nbytes,
            "bytes_per_fact": index.nbytes / facts,
        }
