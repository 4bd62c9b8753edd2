"""Documents on disk: what is accepted, and how a wrong one is refused."""

import pytest
from pydantic import ValidationError

from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.report.documents import (
    CheckpointSummary,
    ComparedStratum,
    RankMetrics,
    TrainingStateSummary,
    check_document,
    to_finite,
)


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1.0), (0.5, 0.5), (True, None), ("1", None), (None, None), (float("inf"), None), (float("nan"), None)],
)
def test_only_finite_numbers_are_numbers(value, number):
    assert to_finite(value) == number
    assert to_finite(10**400) is None


def test_null_and_nan_mean_not_measured():
    found = check_document(RankMetrics, b'{"mrr": NaN, "nll": null, "hits_at_1": 1, "other": "x"}', "a.json", "train")
    assert found == RankMetrics(hits_at_1=1.0)
    assert ComparedStratum(name="new", queries=0, share=0.0).points is None
    assert CheckpointSummary(metrics={"epoch": None, "validation": None}).metrics.validation == RankMetrics()


def test_documents_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        RankMetrics().mrr = 1.0


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'{"progress": {"epoch": -1}}', "progress.epoch: should be greater than or equal to 0.* .found -1."),
        (b'{"progress": {"epoch": 1.5}}', "progress.epoch: should be a valid integer.* .found 1.5."),
        (b'{"progress": {"epoch": "1"}}', "progress.epoch: should be a valid integer.* .found '1'."),
        ({"progress": {"epoch": True}}, "progress.epoch: should be a valid integer.* .found True."),
        ({"progress": {"seconds": 10**400}}, "progress.seconds: should be a valid number.* .found 1000*\\.\\.\\.."),
        ({"progress": {}, "config": [1]}, "config: should be a valid dictionary.* .found .1.."),
        (b"{}", "progress: is missing"),
        (b"{", "Invalid JSON: EOF while parsing an object at line 1 column 1"),
        (b"[]", "should be an object"),
    ],
)
def test_a_wrong_document_is_one_line(content, line):
    with pytest.raises(CheckpointError, match=f"^state.json: {line}; train again$"):
        check_document(TrainingStateSummary, content, "state.json", "train again")
