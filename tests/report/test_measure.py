"""What is measured for a page: metrics of the evaluation, and forecasts that agree with the ranks."""

import re

import pytest

from tirgn_eqx import evaluate_model, load_model
from tirgn_eqx.report import measure, read_run, render

pytestmark = pytest.mark.ci


def test_figures_are_those_of_the_evaluation(runs, graph):
    model, config, _ = load_model(runs[0].checkpoint)
    evaluation = evaluate_model(model, graph, **config.window())
    measured = runs[0].measurements
    assert measured.metrics["entity"].model_dump() == evaluation.entity
    weighted = sum(row.queries * row.metrics.mrr for row in measured.strata)
    assert weighted / len(evaluation.snapshot) == pytest.approx(evaluation.entity["mrr"])
    assert sum(row.queries for row in measured.relations) == len(evaluation.snapshot)
    told = re.findall(r">([^<>]+)<", render(runs[:1]))
    assert f"{100 * evaluation.entity['mrr']:.2f}" in told
    assert measured.calibration.model_dump(mode="json", by_alias=True) == evaluation.calibration.to_dict()
    bins = [part for part in told if re.fullmatch(r"0\.\d+ – [01]\.\d+", part)]
    assert len(set(bins)) == len(bins) == len(measured.calibration.reliability)


def test_samples_are_what_the_ranks_are_of(runs, graph):
    for run in runs:
        assert len(run.measurements.samples) == 4
        for sample in run.measurements.samples:
            candidates = sample.forecast.candidates
            best = [candidate.probability for candidate in candidates]
            assert best == sorted(best, reverse=True) and sum(best) <= 1 + 1e-5
            assert sample.answer in sample.happened
            better = sum(p > sample.answer_probability * (1 + 1e-5) for p in best)
            others = len(sample.happened) - 1  # which the filter leaves out
            assert sample.rank >= better + 1 - others
            if sample.rank == 1:
                assert {one.name for one in candidates[:better]} <= set(sample.happened)


def test_temperatures_change_probabilities_and_no_rank(runs, graph):
    run = read_run(runs[0].checkpoint.parent)
    model, config, _ = load_model(run.checkpoint)
    cool = measure(model, config, graph, samples=2, temperature={"entity": 0.5, "relation": 1.0})
    cooled, before = cool.metrics["entity"], runs[0].measurements.metrics["entity"]
    assert cooled.mrr == pytest.approx(before.mrr, abs=1e-6)
    assert cooled.nll != pytest.approx(before.nll, rel=1e-3)
