"""Evaluation as TGB 2.0 asks for it, in the words of its evaluator: MRR over all facts and their inverses.

Every question (s, r, ?, t) of a split, both directions, is forecast from all snapshots before t. Its answer is ranked
among negatives: all entities but what is true of (s, r) at t, or for tkgl-wikidata the 1,000 that were drawn in
advance. Ties count with the mean of the optimistic and the pessimistic rank. A fact that occurs twice counts twice.
"""

from typing import Any, Literal

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.readers.tgb import DATASETS, SAMPLED
from tirgn_eqx.data.readers.tgb_negatives import TGBNegatives
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.evaluate.protocol import make_evaluator
from tirgn_eqx.evaluate.results import Evaluation, summarize
from tirgn_eqx.models import Model


def check_tgb(graph: TemporalGraph, data: TemporalGraph | None = None) -> None:
    """**Arguments:** `graph`: to be evaluated; `data`: as it was read, where `graph` has the ids of a checkpoint.

    **Raises:** ConfigError for data that is no set of TGB 2.0; DataError where TGB's negatives, which are numbered as
    its files are, would be taken for other entities.
    """
    if graph.provenance.get("kind") != "tgb":
        raise ConfigError(
            f"--protocol tgb: {graph.name} is no folder of TGB 2.0 ({', '.join(DATASETS)}); leave it out, or give one "
            "with --data-path"
        )
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
) -> tuple[np.ndarray, Evaluation, str]:
    """float64 `(question,)`: ranks in the order of `Evaluation`, that evaluation, and what the negatives were.

    **Raises:** ConfigError for data that is no set of TGB 2.0; DataError where its negatives are not to be had.
    """
    check_tgb(graph)
    options: dict[str, Any] = {"split": split, "history_len": history_len, "history_window": history_window}
    if graph.name not in SAMPLED:
        evaluation = make_evaluator(model, graph, **options)(model)  # pyright: ignore[reportArgumentType]
        return evaluation.filtered["entity"], evaluation, "all entities that are not true at the same time"
    negatives = TGBNegatives(graph, split)
    evaluation = make_evaluator(model, graph, candidates=negatives, **options)(model)  # pyright: ignore[reportArgumentType]
    # The filtered rank has left the negatives out of all candidates: what it lacks is what they count.
    ranks = 1.5 + evaluation.raw["entity"] - evaluation.filtered["entity"]
    few, many = negatives.sizes
    number = f"{few:,}" if few == many else f"{few:,} to {many:,}"
    return ranks, evaluation, f"{number} drawn by TGB for each question"


def evaluate_tgb(model: Model, graph: TemporalGraph, *, split: Literal["valid", "test"] = "test", **shape: Any) -> dict:
    """Figures of a split under TGB's protocol, JSON-compatible: `entity` with `mrr` and `hits_at_10`, and how they came
    about. **Arguments:** `shape`: `history_len` and `history_window`, as trained. **Raises:** see `tgb_ranks`."""
    ranks, evaluation, negatives = tgb_ranks(model, graph, split, **shape)
    side = lambda inverse: summarize(ranks[evaluation.inverse == inverse])
    return {
        "dataset": graph.describe(),
        "split": split,
        "setting": "single-step",
        "protocol": "tgb",
        "negatives": negatives,
        "questions": len(ranks),
        "entity": summarize(ranks),
        "object": side(False),
        "subject": side(True),
        "seconds": evaluation.seconds,
    }
