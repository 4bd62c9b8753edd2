"""Evaluation: every snapshot of a split is forecast from what is known before it.

- Single-step: each snapshot from all snapshots strictly before it; its facts are then revealed. At test time the
  history is train + valid + earlier test snapshots.
- Multi-step: all snapshots from what is known before the first one of the split. Window and history vocabulary are
  frozen there; only the clock goes on.
- Multi-step, fed back: as multi-step, but the window goes on with snapshots that the model forecasts for itself.

No parameter is updated. Both directions are queried; figures are micro-averages over queries. `make_evaluator` chooses
the evaluator of a model's family, see `evaluators`.
"""

from typing import cast

from tirgn_eqx.data.batches.loader import Candidates
from tirgn_eqx.data.clock import Metadata
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.history import HistoryVocabulary
from tirgn_eqx.data.vocabulary import match_checkpoint
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.evaluators import (
    Evaluator,
    EvidenceEvaluator,
    MixtureEvaluator,
    ModelT,
    RecurrentGraphEvaluator,
    Split,
)
from tirgn_eqx.evaluate.filters import Filter, TrueAnswers
from tirgn_eqx.evaluate.results import Evaluation, Setting
from tirgn_eqx.models import Evidence, Mixture, Model


def make_evaluator(
    model: ModelT,
    graph: TemporalGraph,
    *,
    split: Split = "test",
    history_len: int,
    history_window: int = 0,
    setting: Setting = "single-step",
    vocabulary: HistoryVocabulary | None = None,
    candidates: Candidates | None = None,
    filter: Filter = "time",
) -> Evaluator[ModelT, object]:
    """The evaluator of models of the family and shape of `model`, for evaluating more than once.

    **Arguments:** as of `evaluate_model` and `Evaluator`.

    **Example:**

        evaluate = make_evaluator(model, graph, split="valid", history_len=config.history_len)
        print(evaluate(model).entity["mrr"])
    """
    if filter == "all":
        candidates = TrueAnswers(graph, ever=True)
    # Evidence models have no window, and mixtures no history vocabulary: each gets what its batches are made of.
    match model:
        case Evidence():
            found = EvidenceEvaluator(graph, split, **model.loader_options, setting=setting, candidates=candidates)
        case Mixture():
            found = MixtureEvaluator(
                graph,
                split,
                history_len=history_len,
                **model.evidence.loader_options,
                setting=setting,
                candidates=candidates,
            )
        case _:
            found = RecurrentGraphEvaluator(
                graph,
                split,
                history_len=history_len,
                history_window=history_window,
                setting=setting,
                vocabulary=vocabulary,
                candidates=candidates,
            )
    found.filter = filter
    # The checker does not know that the case of a model is that of its evaluator. No caller hands over a batch.
    return cast("Evaluator[ModelT, object]", found)


def evaluate_model(
    model: Model,
    graph: TemporalGraph,
    *,
    split: Split = "test",
    history_len: int,
    history_window: int = 0,
    setting: Setting = "single-step",
    vocabulary: HistoryVocabulary | None = None,
    metadata: Metadata | None = None,
    filter: Filter = "time",
) -> Evaluation:
    """Evaluate `model` once on a split; `make_evaluator` serves repeated evaluation.

    **Arguments:**

    - `history_len`, `history_window`: as trained, in snapshots. Evidence models use neither, mixtures the first alone.
    - `setting`: "single-step", "multi-step" or "multi-step, fed back".
    - `vocabulary`: of `graph`, with the ids of the model; built here unless given.
    - `metadata`: as `load_model` returns it, to match the names of `graph` with those of the model (see
      `match_checkpoint`). Without it, ids are taken to be those of the model.
    - `filter`: of the ranks, see `filters`. The time-unaware one is for entity queries: relations are not ranked then.

    **Returns:** ranks and figures.

    **Raises:** DataError for a graph that the model does not fit, or a split without facts.

    **Example:**

        model, config, metadata = load_model("models/tkg/tirgn_best.npz")
        found = evaluate_model(model, load_graph("data/YAGO"), history_len=config.history_len, metadata=metadata)
        print(found.entity["mrr"])
    """
    if metadata is not None:
        graph = match_checkpoint(graph, metadata, "the model")
    sizes = model.num_entities, model.num_relations
    if sizes != (graph.num_entities, graph.num_relations):
        raise DataError(
            f"{graph.name}: has {graph.num_entities:,} entities and {graph.num_relations:,} relations, but the model "
            f"was trained with {sizes[0]:,} and {sizes[1]:,}; give its metadata, by which names are matched"
        )
    evaluate = make_evaluator(
        model,
        graph,
        split=split,
        history_len=history_len,
        history_window=history_window,
        setting=setting,
        vocabulary=vocabulary,
        filter=filter,
    )
    return evaluate(model)
