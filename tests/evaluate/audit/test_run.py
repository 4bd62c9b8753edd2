"""The audit finds each planted leak with the checks that it must, and no other; an honest forecaster is clean."""

import json

import numpy as np
import pytest

from tests.evaluate.audit import planted
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.evaluate.audit import AuditReport, ScoreMeasure, audit
from tirgn_eqx.evaluate.audit.run import mean_ranks, others_true
from tirgn_eqx.storage.strict_json import to_json

LATER, PRESENT = (
    {("facts after t", "random"), ("facts after t", "none")},
    {("facts at t", change) for change in ("other answers", "random", "none")},
)
ALONE, ONE, FALSE, PERMUTED = (("queries", c) for c in ("alone", "one direction", "false ones added", "permuted"))
REPEAT, IDS = ("repeat", "asked again"), ("ids", "renumbered")
LEAKS = {
    "vocabulary_of_all_data": LATER | PRESENT,
    "later_facts": LATER,
    "size_of_the_snapshot": PRESENT - {("facts at t", "other answers")},
    "answers_of_the_target": PRESENT,
    "scaled_by_the_last_time": LATER,
    "subjects_of_the_other_queries": {ALONE, ONE, FALSE},
    "normalised_over_the_batch": {ALONE, ONE, FALSE},
    "place_in_the_batch": {ALONE, ONE, PERMUTED},
    "both_ends": {ALONE, ONE, FALSE, PERMUTED},
    "ties_by_id": {IDS},
}
EXACT, SEED = 0.0, 4  # this seed chooses the first two of three snapshots


@pytest.fixture(scope="module")
def graph():
    return planted.made_graph()


def run(graph, function, **options):
    return audit(
        graph, ScoreMeasure(function, "planted"), **{"model": "planted", "tolerance": EXACT, "snapshots": 2} | options
    )


def found(report, status="moved"):
    return {(one.check, one.change) for one in report.checks if one.status == status}


def test_an_honest_forecaster_is_clean_in_every_check(graph):
    report = run(graph, planted.honest, ranks=planted.rank)
    assert report.clean and {one.status for one in report.checks} == {"clean"}
    assert len(report.checks) == 11 + 4 and all(one.queries > 5 for one in report.checks)
    assert all(one.max_difference == 0 and one.mrr == one.mrr_changed for one in report.checks)


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_found_by_the_checks_that_change_what_it_looks_at(graph, leak):
    report = run(graph, getattr(planted, leak), seed=SEED)
    assert report.times == [11, 12], "facts follow every target"
    assert found(report) == LEAKS[leak] and not report.clean


@pytest.mark.parametrize("leak", ["other_each_time", "counts_of_what_was_asked"])
def test_randomness_and_kept_state_show_when_the_same_is_asked_again(graph, leak):
    report = run(graph, getattr(planted, leak)())
    assert found(report) == {REPEAT}
    # What such a forecaster does with other changes says nothing.
    assert (len(found(report, "unclear")) > 5) == (leak == "other_each_time")


@pytest.mark.parametrize(
    "protocol, expected",
    [
        ("optimistic_rank", {("ties", "equal scores")}),
        ("rank_by_id", {("ties", "equal scores"), IDS}),
        ("rank_with_static_filter", {("facts not at t", "random")}),
    ],
)
def test_a_ranking_that_favours_the_answer_is_found(graph, protocol, expected):
    # Few facts, so that counts are equal and ranks of them depend on how ties are broken.
    report = run(graph, lambda request: np.round(planted.honest(request)), ranks=getattr(planted, protocol))
    assert {(one.check, one.change) for one in report.checks if one.of == "ranks" and one.status == "moved"} == expected
    assert {one.status for one in report.checks if one.of == "scores"} == {"clean"}


def test_an_example_names_the_query_that_moved_most(graph):
    report = run(graph, planted.subjects_of_the_other_queries)
    (one,) = (one for one in report.checks if (one.check, one.change) == ALONE)
    example = one.example
    assert example.relation in graph.relation_names and (example.subject is None) != (example.object is None)
    assert example.answer in graph.entity_names and example.candidate in graph.entity_names
    assert abs(example.before - example.after) == one.max_difference > 0.05
    assert one.mrr != one.mrr_changed and 0 < one.moved <= one.queries == 16
    assert example.time in report.times


def test_with_past_facts_alone_there_is_nothing_to_look_at(graph):
    report = run(graph, planted.vocabulary_of_all_data, facts="past")
    assert report.clean and {one.check for one in report.checks if one.status == "not checked"} == {
        "facts after t",
        "facts at t",
        "ties, ids",
    }
    asked = []
    run(graph, lambda request: asked.append(request) or planted.honest(request), facts="past", snapshots=1)
    assert all((request.facts[:, 3] < request.time).all() for request in asked)


def test_fixed_ids_are_not_renumbered(graph):
    report = run(graph, planted.ties_by_id, fixed_ids=True)
    assert report.clean and found(report, "not checked") == {IDS, ("ties, ids", "any")}


def test_a_forecaster_with_tables_takes_their_rows_in_the_order_of_the_request(graph):
    table = np.random.default_rng(0).normal(size=graph.num_entities)
    assert run(graph, lambda request: planted.honest(request) + table[request.entities]).clean
    assert found(run(graph, lambda request: planted.honest(request) + table)) == {IDS}
    names = run(graph, lambda request: planted.honest(request) + [[int(n[1:]) for n in request.entity_names]])
    assert names.clean


def test_the_same_seed_makes_the_same_audit_and_another_one_another(graph):
    one, again, other = (run(graph, planted.place_in_the_batch, seed=seed) for seed in (0, 0, 3))
    assert one == again and one.times != other.times


def test_few_queries_are_asked_where_few_are_wanted(graph):
    sizes = set()
    run(graph, lambda request: sizes.add(len(request.queries)) or planted.honest(request), queries=3, alone=2)
    assert sizes == {6, 1, 3, 10}, "both directions, alone, one direction, with false ones"


def test_movements_within_the_tolerance_are_none(graph):
    def nearly(request):
        return planted.honest(request) * (1 + 1e-9 * (len(request.queries) % 3))

    assert run(graph, nearly, tolerance=None).clean
    assert not run(graph, nearly, tolerance=1e-12).clean
    # Where nothing but the facts changes, not one bit may differ.
    assert not run(graph, lambda r: planted.honest(r) + 1e-9 * len(r.facts), tolerance=None).clean
    assert run(graph, lambda r: planted.honest(r) + 1e-9 * len(r.facts), tolerance=1e-6).clean


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda request: planted.honest(request)[:, 1:], r"returned float64\[24, 7\] .* expected numbers \[24, 8\]"),
        (lambda request: planted.honest(request) * np.nan, "returned NaN"),
        (lambda request: [["a"] * 8] * len(request.queries), "expected numbers"),
        (lambda request: 1 / 0, "raised ZeroDivisionError: division by zero, asked for 24 queries at"),
    ],
)
def test_what_is_no_table_of_scores_is_refused(graph, function, message):
    with pytest.raises(DataError, match=message):
        run(graph, function)


def test_what_are_no_ranks_is_refused(graph):
    for ranks in (lambda r, s, a: np.zeros(len(a)), lambda r, s, a: [1.0]):
        with pytest.raises(DataError, match=r"test_run:.*<lambda>: returned .* ranks of at least 1"):
            run(graph, planted.honest, ranks=ranks)


class Failing:
    """A ranking that is an object, which has no name of its own."""

    def __call__(self, request, scores, answers):
        raise KeyError("Q7")


def test_a_ranking_that_fails_is_named(graph):
    message = r"test_run:Failing: raised KeyError: 'Q7', asked for the ranks of 24 answers at 1\d; a ranking has to"
    with pytest.raises(DataError, match=message):
        run(graph, planted.honest, ranks=Failing())
    with pytest.raises(DataError, match=r"test_run:.*<lambda>: raised ZeroDivisionError"):
        run(graph, planted.honest, ranks=lambda request, scores, answers: 1 / 0)


def test_numbers_below_one_are_refused(graph):
    for name in ("snapshots", "queries", "alone"):
        with pytest.raises(ConfigError, match=f"{name} = 0"):
            run(graph, planted.honest, **{name: 0})


def test_candidates_that_are_ruled_out_may_stay_so(graph):
    def ruled_out(request):
        scores = planted.honest(request)
        return np.where(scores > 0.5, scores, -np.inf)

    report = run(graph, ruled_out)
    assert report.clean and all(one.max_difference in (0, None) for one in report.checks)


def test_json_says_that_a_candidate_became_ruled_out(graph):
    def ruled_out_later(request):
        scores = planted.honest(request)
        scores[:, 0] = -np.inf if (request.facts[:, 3] > request.time).any() else 0
        return scores

    report = run(graph, ruled_out_later, seed=SEED)
    document = json.loads(to_json(report.to_dict()))
    (one,) = (one for one in document["checks"] if (one["check"], one["change"]) == ("facts after t", "none"))
    assert one["max_difference"] == "inf"
    assert one["example"]["before"] == "-inf" and one["example"]["after"] == 0
    assert AuditReport.model_validate(document) == report


def test_ranks_are_those_of_the_definition(graph):
    from tirgn_eqx.evaluate.audit import ForecastRequest
    from tirgn_eqx.evaluate.audit.perturbations import table_of

    table = table_of(graph)
    facts = table[table[:, 3] == 12]
    queries = planted.both_ways(facts, ForecastRequest(table, facts[:, :2], 12, 8, 2, np.arange(8)))
    request = ForecastRequest(table, queries[:, :2], 12, 8, 2, np.arange(8))
    scores = np.round(np.random.default_rng(1).normal(size=(len(queries), 8)))
    left = others_true(facts, request, request.queries, queries[:, 2])
    np.testing.assert_array_equal(mean_ranks(scores, queries[:, 2], left), planted.rank(request, scores, queries[:, 2]))
    assert left.any()


def test_a_function_may_write_into_its_queries_and_not_into_the_facts(graph):
    def in_place(request):
        scores = planted.honest(request)
        request.queries[:, 1] += request.num_relations
        return scores

    assert run(graph, in_place).clean
    with pytest.raises(DataError, match="read-only"):
        run(graph, lambda request: request.facts.sort(0))
