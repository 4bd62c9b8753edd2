"""The sections about how runs were trained, before they are rendered."""

import dataclasses

import pytest

from tirgn_eqx import preset
from tirgn_eqx.config import PRESETS
from tirgn_eqx.report.sections import (
    MAX_CELLS,
    compare_settings,
    find_nearest_preset,
    group_by_data,
    plot_learning,
    plot_system,
)

pytestmark = pytest.mark.ci


def test_runs_of_the_same_data_are_one_group(runs):
    data = runs[0].data.model_copy(update={"sha256": "other"})
    other = dataclasses.replace(runs[0], metadata=runs[0].metadata.model_copy(update={"data": data}))
    assert group_by_data([runs[0], other, runs[1]]) == [[runs[0], runs[1]], [other]]


def test_one_run_has_a_line_for_each_loss_and_several_runs_a_plot(runs):
    one, two = plot_learning(runs[:1]), plot_learning(runs)
    assert [plot.title for plot in one] == ["Loss in training", "Validation", "Validation NLL", "Learning rate"]
    assert [line.name for line in one[1].series] == ["MRR", "Hits@1", "Hits@3", "Hits@10"]
    assert [line.name for line in two[0].series] == ["plain", "evidence"]
    assert {"Validation MRR", "Validation Hits@10"} <= {plot.title for plot in two}
    logged = dict(runs[0].curves["eval/mrr"])
    assert [(epoch, values[0]) for epoch, values in one[1].rows] == [(x, 100 * y) for x, y in logged.items()]
    assert f"How the training ended: {runs[0].outcome}." in one[1].note


def test_a_long_table_keeps_the_last_epoch_and_the_kept_one(runs):
    curves = {"eval/mrr": tuple((epoch, 0.5) for epoch in range(1, 5002))}
    best = runs[0].metadata.metrics.model_copy(update={"epoch": 7})
    metadata = runs[0].metadata.model_copy(update={"metrics": best})
    (plot,) = plot_learning([dataclasses.replace(runs[0], curves=curves, metadata=metadata)])
    epochs = [epoch for epoch, _ in plot.rows]
    assert {1, 7, 5001} <= set(epochs) and epochs == sorted(epochs)
    assert MAX_CELLS / 3 < len(epochs) < MAX_CELLS / 2 + 3 and plot.caption.startswith("Every 9th of 5,001 epochs")


def test_nothing_logged_is_no_plot(runs):
    bare = dataclasses.replace(runs[0], curves={})
    assert (
        plot_learning([bare]) == [] == plot_system([bare]) and len(plot_system(runs)) == 1
    )  # a CPU logs no device memory


def test_settings_that_differ_say_in_what(runs):
    (known,) = [dict((name, (values, differs)) for name, values, differs in compare_settings(runs).rows)]
    values, differs = known["family"]
    assert values == ["tirgn", "evidence"] and differs.startswith("between the runs")
    assert not known["seed"][1] and known["logdir"][1] == "between the runs"
    assert known["embedding_dim"][1].endswith(f"has {preset('evidence').embedding_dim}")
    bare = dataclasses.replace(runs[0], metadata=runs[0].metadata.model_copy(update={"config": {}}))
    assert compare_settings([bare]) is None


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_nearest_preset_is_the_one_that_was_used(name):
    config = preset(name).replace(seed=7, logdir="elsewhere").to_dict()
    found, nearest = find_nearest_preset(config | {"epochs": 1234})
    assert nearest["epochs"] != 1234 and {**config, "seed": 0, "logdir": nearest["logdir"]} == nearest, found
