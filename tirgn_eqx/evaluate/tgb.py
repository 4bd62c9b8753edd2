"""Evaluation as TGB 2.0 asks for it: MRR over all facts and their inverses.

Every query (s, r, ?, t) of a split, both directions, is forecast from all snapshots before t. Its answer is ranked
among negatives: all entities but those that are true of (s, r) at t, or for tkgl-wikidata the 1,000 that TGB sampled in
advance. Ties take the mean of the optimistic and the pessimistic rank. A fact that occurs twice counts twice.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.readers.tgb import DATASETS, SAMPLED
from tirgn_eqx.data.readers.tgb_negatives import TGBNegatives
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.evaluate.protocol import make_evaluator
from tirgn_eqx.evaluate.results import DatasetDescription, Document, Evaluation, Figures, summarize
from tirgn_eqx.models import Model


class TGBReport(Document):
    """The document of `tirgn eval --protocol tgb`; `negatives` says in words among what the answers were ranked."""

    dataset: DatasetDescription
    split: str
    setting: Literal["single-step"]
    protocol: Literal["tgb"]
    negatives: str
    queries: int
    entity: Figures
    object: Figures
    subject: Figures
    seconds: float


def check_tgb(graph: TemporalGraph, data: TemporalGraph | None = None) -> None:
    """Check that TGB's protocol can be followed on `graph`; `data`: as it was read, where `graph` has other ids.

    **Raises:** ConfigError for data that is no set of TGB 2.0; DataError where TGB's sampled negatives, which are given
    in the ids of its files, would name other entities.
    """
    if graph.provenance.get("kind") != "tgb":
        raise ConfigError(
            f"--protocol tgb: {graph.name} is no folder of TGB 2.0 ({', '.join(DATASETS)}); leave it out, or give one "
            "with --data-path"
        )
    # Ranks among all entities do not depend on the ids, those among sampled negatives do.
    if data is not None and graph.name in SAMPLED and graph.entity_names != data.entity_names:
        raise DataError(
            f"{graph.name}: the checkpoint has other entities or another order of them than these files, in whose ids "
            "TGB's negatives are given; evaluate without --protocol tgb, or train on these files"
        )


def tgb_ranks(
    model: Model,
    graph: TemporalGraph,
    split: Literal["valid", "test"],
    *,
    history_len: int,
    history_window: int = 0,
) -> tuple[Float[np.ndarray, " query"], Evaluation, str]:
    """Rank every query among TGB's negatives.

    **Returns:** ranks in the order of `Evaluation`, that evaluation, and what the negatives were.

    **Raises:** ConfigError for data that is no set of TGB 2.0; DataError where its negatives cannot be read.
    """
    check_tgb(graph)
    negatives = TGBNegatives(graph, split) if graph.name in SAMPLED else None
    evaluate = make_evaluator(
        model, graph, split=split, history_len=history_len, history_window=history_window, candidates=negatives
    )
    evaluation = evaluate(model)
    if negatives is None:
        return evaluation.filtered["entity"], evaluation, "all entities that are not true at the same time"
    # The filter has left the negatives out of all candidates, so raw - filtered counts the better ones among them,
    # less the half by which `raw` counts the answer itself: rank = 1 + better = 1 + (raw - filtered + 0.5).
    ranks = 1.5 + evaluation.raw["entity"] - evaluation.filtered["entity"]
    few, many = negatives.sizes
    number = f"{few:,}" if few == many else f"{few:,} to {many:,}"
    return ranks, evaluation, f"{number} sampled by TGB for each query"


def evaluate_tgb(
    model: Model,
    graph: TemporalGraph,
    *,
    split: Literal["valid", "test"] = "test",
    history_len: int,
    history_window: int = 0,
) -> TGBReport:
    """Evaluate a split under TGB's protocol.

    **Arguments:** `history_len`, `history_window`: as trained.

    **Returns:** the report, with figures of all queries (`entity`) and of either direction.

    **Raises:** as `tgb_ranks`.
    """
    ranks, evaluation, negatives = tgb_ranks(
        model, graph, split, history_len=history_len, history_window=history_window
    )
    return TGBReport(
        dataset=DatasetDescription.of(graph),
        split=split,
        setting="single-step",
        protocol="tgb",
        negatives=negatives,
        queries=len(ranks),
        entity=summarize(ranks),
        object=summarize(ranks[~evaluation.inverse]),
        subject=summarize(ranks[evaluation.inverse]),
        seconds=evaluation.seconds,
    )
