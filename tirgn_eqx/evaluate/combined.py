"""Evaluation of a structure with evidence: as of evidence, with the states before each target encoded once."""

from collections.abc import Callable
from typing import Any, Literal

from tirgn_eqx.data.batches.windows import WindowLoader
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.snapshots import SnapshotStore
from tirgn_eqx.evaluate.encoding import Encoder, EncoderPrograms
from tirgn_eqx.evaluate.evidence import EvidenceEvaluator
from tirgn_eqx.evaluate.results import Setting
from tirgn_eqx.models import Mixture, MixtureAtTarget


class MixtureEvaluator(EvidenceEvaluator):
    """Evaluates `Mixture` models of one shape on one split; compiles each batch shape once.

    **Arguments:** `history_len`: as trained; `store`: of the same graph; `encoder`: programs of another such evaluator;
    the others as those of `EvidenceEvaluator`.
    """

    def __init__(
        self,
        graph: TemporalGraph,
        split: Literal["train", "valid", "test"],
        *,
        history_len: int,
        setting: Setting = "single-step",
        store: SnapshotStore | None = None,
        encoder: EncoderPrograms | None = None,
        **options: Any,
    ):
        super().__init__(graph, split, setting=setting, **options)
        self.windows = WindowLoader(graph, split, history_len=history_len, known=self.loader.known, store=store)
        self.encoder_programs = encoder

    def forecaster(self, model: Mixture) -> Callable[[int], MixtureAtTarget]:
        """The model at any target."""
        encoder = Encoder(model.structure, self.windows, self.encoder_programs)
        self.encoder_programs = encoder.programs
        return lambda target: model.at(*encoder(target))
