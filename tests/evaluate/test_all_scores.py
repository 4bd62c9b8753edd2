"""Scores of all candidates out and in again: the ranks are those of the evaluation of the model itself."""

import dataclasses

import jax.random as jr
import numpy as np
import polars as pl
import pytest

from tests.helpers import family_config, random_graph, renumbered, tiny_config
from tirgn_eqx.data.vocabulary import match_checkpoint
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.all_scores import ScoredQueries, score_split, write_scores
from tirgn_eqx.evaluate.filters import FILTERS
from tirgn_eqx.evaluate.protocol import evaluate_model
from tirgn_eqx.evaluate.score_files import open_scores
from tirgn_eqx.evaluate.scores import evaluate_scores
from tirgn_eqx.models import build_model

ENTITIES, RELATIONS = tuple("ABCDEFGH"), ("visit", "praise", "blame")


def small(family):
    return tiny_config() if family == "tirgn" else family_config("evidence", embedding_dim=4, evidence_heads=2)


@pytest.fixture(scope="module")
def graph():
    return dataclasses.replace(random_graph(5), entity_names=ENTITIES, relation_names=RELATIONS)


@pytest.mark.parametrize("family", [pytest.param("tirgn", marks=pytest.mark.ci), "evidence"])
def test_the_ranks_of_written_scores_are_those_of_the_model(graph, family, tmp_path):
    config = small(family)
    model = build_model(graph.num_entities, graph.num_relations, config, key=jr.key(1))
    path = tmp_path / "scores.parquet"
    number = write_scores(path, graph, score_split(model, graph, **config.window()))
    frame = pl.read_parquet(path)
    assert frame.columns == ["subject", "relation", "object", "time", "scores"] and frame.height == number
    assert (frame["subject"].is_null() != frame["object"].is_null()).all()
    np.testing.assert_allclose(np.stack(frame["scores"].to_list()).sum(1), 1, rtol=1e-5)
    # Other ids in the data: the file says which it means.
    other = renumbered(graph, np.random.default_rng(0).permutation(8), [2, 0, 1])
    file = open_scores(path)
    matched = match_checkpoint(other, file.metadata(other), path)
    for filter in FILTERS:
        expected = evaluate_model(model, graph, filter=filter, **config.window())
        for data in (graph, matched):
            found = evaluate_scores(file, data, filter=filter)
            for ranks in ("filtered", "raw"):
                np.testing.assert_array_equal(getattr(found, ranks)["entity"], getattr(expected, ranks)["entity"])
    assert [s.figures["mrr"] for s in found.report().strata] == [s.figures["mrr"] for s in expected.report().strata]


def test_many_blocks_of_data_without_names(tmp_path, monkeypatch):
    """Blocks of a few rows, in the writer and in the reader, give the whole."""
    graph = random_graph(6)
    monkeypatch.setattr("tirgn_eqx.evaluate.all_scores.ROW_GROUP", 16)
    monkeypatch.setattr("tirgn_eqx.evaluate.scores.BLOCK", 24)
    rng, ids = np.random.default_rng(0), np.arange(6)
    blocks = [ScoredQueries(time, ids % 8, ids, rng.random((6, 8)).astype(np.float32)) for time in range(5)]
    assert write_scores(tmp_path / "a.parquet", graph, iter(blocks)) == 30
    file = open_scores(tmp_path / "a.parquet")
    expected = np.concatenate([block.scores for block in blocks])
    np.testing.assert_array_equal(np.concatenate([file.read_scores(i, i + 7) for i in range(0, 30, 7)]), expected)
    assert file.columns["subject"].to_list() == [0, 1, 2, None, None, None] * 5
    assert file.columns["object"].to_list() == [None, None, None, 3, 4, 5] * 5
    assert file.columns["relation"].to_list() == [0, 1, 2] * 10


def test_what_goes_wrong_while_scores_are_made_is_told_and_leaves_the_old_file(graph, tmp_path):
    def broken():
        raise DataError("no facts left")
        yield

    path = tmp_path / "a.parquet"
    path.write_text("old")
    with pytest.raises(DataError, match="^no facts left$"):
        write_scores(path, graph, broken())
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
