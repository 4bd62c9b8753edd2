"""Loaders and evaluators are made from the settings of a training, over indexes that are built once."""

import numpy as np
import pytest

from tests.helpers import family_config, make_graph, random_graph
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.data.index.snapshots import SnapshotStore
from tirgn_eqx.train.data import EvidenceData, RecurrentData, make_loader


@pytest.fixture(scope="module")
def graph():
    return random_graph(2)


@pytest.mark.parametrize(
    ("loss", "rows", "negatives", "shared"),
    [("full", "all", 0, 0), ("sampled", "touched", 5, 0), ("shared", "touched", 0, 6)],
)
def test_the_loss_says_what_is_drawn_and_which_rows_a_batch_has(graph, loss, rows, negatives, shared):
    config = family_config(loss=loss, num_negatives=5, num_shared=6, history_len=3, history_window=4, seed=9)
    options = make_loader(graph, config).options
    assert (options.rows, options.num_negatives, options.num_shared) == (rows, negatives, shared)
    assert (options.history_len, options.history_window, options.seed) == (3, 4, 9)


def test_the_indexes_are_built_once_and_shared(graph):
    data = RecurrentData(graph, family_config(history_len=2))
    loader, evaluator = data.loader(data.config), data.evaluator("valid")
    assert loader.vocabulary is data.vocabulary is evaluator.loader.vocabulary
    assert data.loader(data.config.replace(batch_size=7)).options.batch_size == 7
    steps = evaluator.steps
    assert data.evaluator("test", steps).steps is steps and data.evaluator("test").steps is not steps
    given = build_history_vocabulary(graph), SnapshotStore(graph)
    assert make_loader(graph, data.config, *given).vocabulary is given[0]


def test_evidence_is_gathered_alike_for_training_and_evaluation(graph):
    config = family_config("evidence", evidence_context=False, evidence_background=False, max_partners=3, batch_size=5)
    data = EvidenceData(graph, config)
    loader, evaluator = data.loader(config), data.evaluator("valid")
    for options in (loader.options, evaluator.loader.options):
        assert (options.context, options.background, options.max_partners) == (False, False, 3)
    assert loader.options.batch_size == 5 and loader.index is data.index is evaluator.loader.index


def test_the_largest_snapshot_counts_both_directions_and_is_a_target():
    # The first snapshot is the largest and never a target.
    facts = [(0, 0, 1, 0)] * 5 + [(0, 0, 1, 1)] * 2 + [(1, 0, 0, 2)] * 3
    graph = make_graph(facts, num_entities=2, num_relations=1)
    recurrent, evidence = RecurrentData(graph, family_config()), EvidenceData(graph, family_config("evidence"))
    assert recurrent.most_queries(recurrent.loader(recurrent.config)) == 6
    loader = evidence.loader(evidence.config)
    assert evidence.most_queries(loader) == loader.max_queries


def test_the_size_of_the_index_is_told(graph):
    assert RecurrentData(graph, family_config()).report()["pairs"] > 0
    data = EvidenceData(graph, family_config("evidence"))
    report = data.report()
    triples = np.unique(np.stack([graph.subject, graph.relation, graph.object]), axis=1).shape[1]
    assert report["triples"] >= triples and report["pairs"] <= report["triples"]
    assert report["bytes_per_fact"] == report["bytes"] / graph.num_facts == data.index.nbytes / graph.num_facts
