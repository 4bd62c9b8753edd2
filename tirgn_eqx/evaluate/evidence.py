"""Evaluation of the evidence model: as of the others, but its past comes from the evidence index, not from a window."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader, PreparedEvidence
from tirgn_eqx.data.batches.loader import KINDS
from tirgn_eqx.data.batches.queries import Candidates
from tirgn_eqx.data.graph import SPLITS, TemporalGraph
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.evaluate.ranks import Ranks, Temperature, answer_ranks, tempered
from tirgn_eqx.evaluate.results import Evaluation, Setting, evaluated_snapshots, one_ahead
from tirgn_eqx.models import MixtureAtTarget
from tirgn_eqx.models.evidence import Evidence
from tirgn_eqx.runtime.compiling import Programs
from tirgn_eqx.types import Answers, EvidenceBatch

SCORES = 2**24  # about the most [unit, candidate] scores held at once


def rank_evidence(
    model: Evidence | MixtureAtTarget, batch: EvidenceBatch, temperature: Temperature | None = None
) -> tuple[Ranks, Ranks]:
    """Ranks of a batch's entity and relation answers; `temperature`: of the two kinds."""

    def ranks(intensity: Any, answers: Answers, temperature: Any) -> Ranks:
        probability = intensity / jnp.sum(intensity, 1, keepdims=True)
        own = jnp.log(probability[answers.answer_query, answers.answer])
        return answer_ranks(*tempered(probability, own, answers, temperature), answers)

    of_entity, of_relation = (None, None) if temperature is None else temperature
    entity = ranks(model.entity_intensities(batch), batch.entity.answers, of_entity)
    relation = ranks(
        model.relation_intensities(batch, model.background_logits(batch)), batch.relation.answers, of_relation
    )
    return entity, relation


class EvidenceEvaluator:
    """Evaluates evidence models of one shape on one split; compiles each batch shape once.

    **Arguments:** `graph`; `split`; `context`, `background`, `max_partners`: as trained; `setting`; `index`: of the
    same graph; `programs`: those of another evaluator of the same model, to be shared; `candidates`: of a
    snapshot, what is left out of its filtered entity ranks instead of what is true.
    """

    def __init__(
        self,
        graph: TemporalGraph,
        split: Literal["train", "valid", "test"],
        *,
        context: bool,
        background: bool,
        max_partners: int,
        setting: Setting = "single-step",
        index: EvidenceIndex | None = None,
        max_buckets: int = 3,
        programs: Programs | None = None,
        candidates: Candidates | None = None,
    ):
        if setting == "multi-step, fed back":
            raise ConfigError("evidence: there is no window to feed forecasts back to; ask for multi-step")
        self.graph, self.split, self.setting = graph, split, setting
        snapshots = evaluated_snapshots(graph, split)
        self.loader = EvidenceLoader(
            graph,
            index or EvidenceIndex(graph),
            split,
            batch_size=min(4096, max(16, SCORES // graph.num_entities)),
            context=context,
            background=background,
            max_partners=max_partners,
            max_buckets=max_buckets,
            known=None if setting == "single-step" else int(snapshots[0]),
            with_truth=True,
            candidates=candidates,
        )
        self.programs = programs or Programs(rank_evidence)

    def compile(self, model: Any) -> None:
        """Compile what evaluating `model` needs, unless it is there."""
        if any(bucket not in self.programs.compiled for bucket in self.loader.buckets):
            with jax.default_matmul_precision("highest"):
                at = self.forecaster(model)
                for prepared in self.loader.one_of_each():
                    bucket = self.loader.buckets[prepared.bucket]
                    self.programs.prepare(bucket, at(prepared.target), prepared.batch)

    def forecaster(self, model: Any) -> Callable[[int], Evidence | MixtureAtTarget]:
        """What forecasts a target: the model, whatever the target."""
        return lambda target: model

    def __call__(self, model: Any, temperature: Temperature | None = None) -> Evaluation:
        """Rank every query of the split with `model`; `temperature`: of its entity and relation probabilities."""
        begin = time.perf_counter()
        facts = self.graph.split_counts[SPLITS.index(self.split)]
        snapshots = self.loader.snapshots
        start = np.concatenate([[0], np.cumsum(2 * facts[snapshots])])
        number = start[-1]
        columns = {name: {kind: np.full(number, np.nan) for kind in KINDS} for name in Ranks._fields}
        for prepared, ranked in one_ahead(self._dispatched(model, temperature)):
            place = start[np.searchsorted(snapshots, prepared.target)] + prepared.rows
            for kind, ranks in zip(KINDS, ranked):
                for name in columns:
                    columns[name][kind][place] = np.asarray(getattr(ranks, name))[: len(place)]
        within = np.arange(number) - np.repeat(start[:-1], 2 * facts[snapshots])
        return Evaluation(
            graph=self.graph,
            split=self.split,
            setting=self.setting,
            snapshot=np.repeat(snapshots, 2 * facts[snapshots]),
            inverse=within >= np.repeat(facts[snapshots], 2 * facts[snapshots]),
            seconds=time.perf_counter() - begin,
            **columns,
        )

    def _dispatched(
        self, model: Any, temperature: Temperature | None
    ) -> Iterator[tuple[PreparedEvidence, tuple[Ranks, Ranks]]]:
        """Every part with its ranks, which the device may still be working on."""
        with jax.default_matmul_precision("highest"):
            at = self.forecaster(model)
            for prepared in self.loader.in_order():
                bucket, further = self.loader.buckets[prepared.bucket], () if temperature is None else (temperature,)
                key = (bucket, "tempered") if further else bucket
                yield prepared, self.programs(key, at(prepared.target), prepared.batch, *further)
