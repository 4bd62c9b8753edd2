"""The sections about how well models forecast, before they are rendered."""

import dataclasses

import pytest

from tirgn_eqx.report.documents import SnapshotMetrics
from tirgn_eqx.report.results import MAX_ROWS, collect_results, group_forecasts

pytestmark = pytest.mark.ci


def changed(run, **changes):
    return dataclasses.replace(run, measurements=dataclasses.replace(run.measurements, **changes))


def test_runs_without_measurements_are_left_out(runs):
    bare = dataclasses.replace(runs[0], measurements=None)
    assert collect_results([bare]) is None and group_forecasts([bare]) == []
    (found,) = collect_results([bare, runs[1]]).runs
    assert (found.name, found.style) == ("evidence", 1)  # its colour stays that of the other plots


def test_strata_stand_by_kind_and_then_by_run(runs):
    found = collect_results(runs).strata
    assert [name for name, _ in found[:2]] == ["plain", "evidence"]
    assert found[0][1].name == found[1][1].name and len(found) == sum(len(run.measurements.strata) for run in runs)


def test_runs_of_other_times_share_one_axis(runs):
    first = (SnapshotMetrics(time=3, queries=2, mrr=0.5), SnapshotMetrics(time=5, queries=4, mrr=None))
    second = (SnapshotMetrics(time=4, queries=6, mrr=0.25, label="day 4"),)
    plot = collect_results([changed(runs[0], snapshots=first), changed(runs[1], snapshots=second)]).by_time
    assert plot.rows == [(3, 3, 2, [50.0, None]), (4, "day 4", 6, [None, 25.0]), (5, 5, None, [None, None])]
    many = tuple(SnapshotMetrics(time=time, queries=1, mrr=0.5) for time in range(MAX_ROWS + 1))
    plot = collect_results([changed(runs[0], snapshots=many)]).by_time
    assert len(plot.rows) == MAX_ROWS and plot.caption == f"The first {MAX_ROWS} of {MAX_ROWS + 1} snapshots."


def test_other_splits_are_told(runs):
    assert len(collect_results(runs).settings) == 1
    assert collect_results([runs[0], changed(runs[1], split="valid")]).settings == [
        "test split, single-step",
        "valid split, single-step",
    ]


@pytest.mark.parametrize(
    ("number", "columns"),
    [(1, ["MRR", "Hits@1", "Hits@3", "Hits@10"]), (2, ["MRR", "Hits@1", "Hits@10"]), (3, ["MRR"])],
)
def test_more_runs_have_fewer_columns_each(runs, number, columns):
    some = [dataclasses.replace(runs[0], name=str(place)) for place in range(number)]
    table = collect_results(some).relations
    named = [f"{title}, {run.name}" for run in some for title in columns] if number > 1 else columns
    assert table.columns == named and all(len(values) == len(named) for _, _, values in table.rows)
    counts = [queries for _, queries, _ in table.rows]
    assert counts == sorted(counts, reverse=True)
    assert table.caption == f"{len(counts)} relations, in percent. A click on a heading sorts."


def test_a_query_of_several_runs_is_one_card(runs):
    cards = group_forecasts(runs)
    assert len(cards) == 4 and all([name for name, _ in sides] == ["plain", "evidence"] for sides in cards)
    assert all(sides[0][1].answer == sides[1][1].answer for sides in cards)
