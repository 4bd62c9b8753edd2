"""Figures of ranks, calibration, and the documents for JSON."""

import numpy as np
import pytest
from pydantic import ValidationError

from tests.helpers import make_graph
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.results import DatasetDescription, Evaluation, calibration, evaluated_snapshots, summarize


@pytest.fixture(scope="module")
def graph():
    facts = [(0, 0, 1, 10), (1, 0, 2, 20), (2, 0, 0, 20), (0, 0, 2, 30)]
    return make_graph(facts, num_entities=3, num_relations=1, valid=1, test=1)


def evaluation(graph, **columns):
    """Of the test split: two facts at time 20 and one at 30, each followed by its inverse."""
    ranks = np.array([1.0, 2.0, 4.0, 1.0, 2.0, 1.0])
    inverse = np.array([False, False, True, True, False, True])
    columns = {"filtered": {"entity": ranks}, "raw": {"entity": ranks + 1}, "nll": {}} | columns
    setting = columns.pop("setting", "single-step")
    return Evaluation(graph, "test", setting, np.repeat([1, 2], [4, 2]), inverse, seconds=0.5, **columns)


def test_a_report_has_the_figures_by_direction_and_snapshot(graph):
    report = evaluation(graph).report()
    assert report.entity["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 4 + 1 + 1 / 2 + 1) / 6)
    assert report.object["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert report.subject["mrr"] == pytest.approx((1 / 4 + 1 + 1) / 3)
    assert report.entity_raw["mrr"] < report.entity["mrr"]
    assert [(one.time, one.queries, one.mrr) for one in report.snapshots] == [(20, 4, 0.6875), (30, 2, 0.75)]


def test_a_report_has_the_figures_by_what_came_before_and_an_interval(graph):
    """At 20, (1, 0, 2) and (2, 0, 0) are new and (0, 0, 1) is past; at 30, (0, 0, 2) has (2, 0, 0) as its past."""
    report = evaluation(graph).report()
    found = {one.name: (one.queries, one.share, one.figures["mrr"]) for one in report.strata}
    assert found == {"known pair": (2, 1 / 3, 0.75), "new": (4, 2 / 3, 0.6875)}
    low, high = report.mrr_interval
    assert 0.25 < low < report.entity["mrr"] < high < 1
    # Nothing of the split is known in multi-step, (2, 0, 0) neither.
    later = evaluation(graph, setting="multi-step").report()
    assert [(one.name, one.queries) for one in later.strata] == [("new", 6)]


def test_what_a_model_does_not_forecast_is_no_key_of_the_document(graph):
    document = evaluation(graph).to_dict()
    assert not {"relation", "relation_raw", "calibration"} & document.keys() and "nll" not in document["entity"]
    assert document["dataset"] == graph.describe()
    both = {"entity": np.full(6, 2.0), "relation": np.full(6, 4.0)}
    share = {"entity": np.full(6, 0.5)}
    columns = {"filtered": both, "raw": both, "nll": both, "confidence": share, "right": share, "brier": share}
    document = evaluation(graph, **columns).to_dict()
    assert document["relation"]["mrr"] == 0.25 and document["relation"]["nll"] == 4
    assert document["calibration"]["reliability"][0]["from"] == pytest.approx(7 / 15)


def test_a_description_with_an_unknown_key_is_refused(graph):
    with pytest.raises(ValidationError, match="source"):
        DatasetDescription.model_validate(graph.describe() | {"source": "somewhere"})


def test_snapshots_without_a_past_are_not_evaluated(graph):
    assert evaluated_snapshots(graph, "test").tolist() == [1, 2]
    with pytest.raises(DataError, match="the train split has no snapshot with a past"):
        evaluated_snapshots(graph, "train")


def test_summary():
    figures = summarize(np.array([1.0, 2.0, 4.0, 10.5]), np.array([0.0, 1.0, 2.0, 5.0]))
    assert figures == {
        "mrr": pytest.approx((1 + 1 / 2 + 1 / 4 + 1 / 10.5) / 4),
        "hits_at_1": 0.25,
        "hits_at_3": 0.5,
        "hits_at_10": 0.75,
        "nll": 2.0,
    }
    assert all(np.isnan(value) for value in summarize(np.zeros(0), np.zeros(0)).values())


def test_calibration_error():
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.1, 0.1])
    right = np.array([1.0, 1.0, 1.0, 0.0, 0.5, 0.5])
    found = calibration(confidence, right, np.full(6, 0.25), bins=10)
    assert found.brier == 0.25
    assert found.ece == pytest.approx((4 * abs(0.9 - 0.75) + 2 * abs(0.1 - 0.5)) / 6)
    assert [(row.queries, row.right) for row in found.reliability] == [(2, 0.5), (4, 0.75)]
    assert calibration(np.array([1.0]), np.array([1.0]), np.zeros(1)).ece == 0
    for broken in (np.array([np.nan]), np.zeros(0)):
        assert np.isnan(calibration(broken, broken, broken).ece)


def test_bins_hold_the_probabilities_between_their_bounds():
    confidence = np.array([0.0, 0.05, 0.1, 0.19, 0.2, 0.95, 1.0])
    rows = calibration(confidence, np.ones(7), np.zeros(7), bins=10).reliability
    told = [(row.low, row.high, row.queries) for row in rows]
    assert told == [(0.0, 0.1, 2), (0.1, 0.2, 2), (0.2, 0.3, 1), (0.9, 1.0, 2)]
    for row in rows:
        assert row.low <= row.probability <= row.high
