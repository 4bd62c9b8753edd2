"""The track record of a journal, against a loop over its forecasts."""

import dataclasses
import datetime as dt

import numpy as np
import pytest

from tests.helpers import chain_of_events, make_graph, random_graph, write_event_table
from tests.journal_lines import MODEL, forecast
from tirgn_eqx.data import load_graph
from tirgn_eqx.data.forecast_journal import KnownData, Selection, append_forecasts, read_journal
from tirgn_eqx.errors import DataError, DataWarning
from tirgn_eqx.evaluate.track_record import describe, read_outcomes, score_journal

DAY = 86_400


def some_forecasts(graph, seed, number=120, **changes):
    """Forecasts of random facts, times and horizons; some of facts that come."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        row = int(rng.integers(graph.num_facts))
        real = rng.random() < 0.5
        s, r, o = (
            int(ids[row]) if real else int(rng.integers(size))
            for ids, size in (
                (graph.subject, graph.num_entities),
                (graph.relation, graph.num_relations),
                (graph.object, graph.num_entities),
            )
        )
        fields = {"subject": str(s), "relation": str(r), "object": str(o), "target": int(rng.integers(-1, 9))}
        fields |= {
            "horizon": int(rng.integers(1, 4)),
            "probability": (int(rng.integers(15)) + 0.5) / 15,
            "expected": rng.random() * 3,
        }
        # In the middle of a bin, whose bounds the fine bins of the scores do not share.
        made.append(forecast(**fields | {"usual": float(rng.random())} | changes))
    return list({one.identity: one for one in made}.values())


def brier(rows, key):
    return sum((row[key] - (row["events"] > 0)) ** 2 for row in rows) / len(rows)


def test_scores_are_those_of_every_forecast_by_itself(tmp_path):
    graph = random_graph(3, num_times=9)
    forecasts = some_forecasts(graph, 0)
    append_forecasts(tmp_path, forecasts)
    found = score_journal(tmp_path, graph)
    facts = list(zip(graph.subject, graph.relation, graph.object, graph.times[graph.snapshot]))
    last, rows, waiting, early = int(graph.times[-1]), [], 0, 0
    for one in forecasts:
        begin, end = one.target, one.target + one.horizon
        if begin < graph.times[0]:
            early += 1
        elif end > last:
            waiting += 1
        else:
            name = (one.subject, one.relation, one.object)
            events = sum((str(s), str(r), str(o)) == name and begin <= t < end for s, r, o, t in facts)
            usual = 1 - np.exp(-one.usual)
            rows.append({"one": one, "events": events, "p": one.probability, "usual": usual, "never": 0.0})
    assert min(len(rows), waiting, early) > 5
    counts = found.counts
    assert (counts.scored, counts.waiting, counts.before_data) == (len(rows), waiting, early)
    assert counts.forecasts == len(forecasts) and (counts.hindsight, counts.other_steps, counts.unknown) == (0, 0, 0)
    assert counts.in_advance is None and found.next_due == min(
        one.target + one.horizon for one in forecasts if one.target + one.horizon > last
    )

    def check(scores, chosen):
        came = [row["events"] > 0 for row in chosen]
        assert (scores.forecasts, scores.came) == (len(chosen), sum(came))
        assert scores.events == sum(row["events"] for row in chosen)
        assert scores.targets == len({row["one"].target for row in chosen})
        assert scores.brier == pytest.approx(brier(chosen, "p"))
        assert scores.skill == pytest.approx(1 - brier(chosen, "p") / brier(chosen, "usual"))
        assert scores.probability == pytest.approx(np.mean([row["p"] for row in chosen]))
        assert scores.expected == pytest.approx(sum(row["one"].expected for row in chosen))
        assert scores.calibration == pytest.approx(sum(came) / sum(row["p"] for row in chosen))
        log = [np.log(row["p"] if yes else 1 - row["p"]) for row, yes in zip(chosen, came)]
        assert scores.log_score == pytest.approx(-np.mean(log))

    check(found.scores, rows)
    low, high = found.scores.skill_interval
    assert low < found.scores.skill < high
    base = np.mean([row["events"] > 0 for row in rows])
    for row in rows:
        row["base rate"] = base
    assert {name: rule.brier for name, rule in found.rules.items()} == pytest.approx(
        {name: brier(rows, name) for name in ("usual", "never", "base rate")}
    )
    for name, rule in found.rules.items():
        assert rule.skill == pytest.approx(1 - found.scores.brier / brier(rows, name))
    for groups, key in (
        (found.relations, lambda one: one.relation),
        (found.horizons, lambda one: one.horizon),
        (found.drift, lambda one: (one.target + 1) // 7),
        (found.weeks, lambda one: min(row["one"].target for row in rows) + 7 * (one.target // 7)),
    ):
        names = [group.name for group in groups]
        assert len(set(names)) == len(names) and set(names) == {key(row["one"]) for row in rows}
        for group in groups:
            check(group, [row for row in rows if key(row["one"]) == group.name])
    # Of equal width, with every probability of at least 1 %.
    bins = [int(row["p"] * 15) for row in rows if row["p"] >= 0.01]
    assert [one.facts for one in found.reliability] == [bins.count(place) for place in sorted(set(bins))]


def test_what_a_model_has_seen_proves_nothing(tmp_path):
    graph = random_graph(3, num_times=9)
    for learnt, left_out in ((4, 2), (None, 0)):
        model = MODEL.model_copy(update={"learnt_until": learnt, "sha256": str(learnt)})
        append_forecasts(tmp_path, [forecast(model=model, target=target) for target in (2, 4, 5, 6)])
        found = score_journal(tmp_path, graph, model_sha256=str(learnt))
        assert (found.counts.forecasts, found.counts.hindsight, found.counts.scored) == (4, left_out, 4 - left_out)
        assert [group.name for group in found.drift] == ([] if learnt is None else [0])
    both = score_journal(tmp_path, graph)
    models = [(one.sha256, one.forecasts, one.first, one.last) for one in both.models]
    assert models == [("4", 2, 5, 6), ("None", 4, 2, 6)]


def test_nothing_to_judge_is_no_error(tmp_path):
    graph = random_graph(3, num_times=9)
    append_forecasts(tmp_path, [forecast(target=8), forecast(target=7, horizon=2, object="2")])
    found = score_journal(tmp_path, graph)
    assert (found.scores, found.ece, found.rules, found.weeks) == (None, None, {}, [])
    assert (found.counts.waiting, found.next_due) == (2, 9) and not found.is_below(1.0)


def test_names_that_the_data_do_not_have_are_told_and_did_not_come(tmp_path):
    graph = random_graph(3, num_times=9)
    append_forecasts(tmp_path, [forecast(subject="nobody", object="none"), forecast()])
    found = score_journal(tmp_path, graph)
    assert found.unknown_names == ["nobody", "none"] and found.counts.unknown == 1 and found.counts.scored == 2
    append_forecasts(tmp_path / "b", [forecast(subject="nobody", object="none", relation="nothing")])
    with pytest.raises(DataError, match="has none of the names in the journal"):
        score_journal(tmp_path / "b", graph)


def test_a_skill_below_what_is_asked_for(tmp_path):
    graph = make_graph([(0, 0, 1, time) for time in range(9)], num_entities=2, num_relations=1)
    # The usual rate says 1 - exp(-1) = 0.632; it came every time.
    append_forecasts(tmp_path, [forecast(target=target, probability=0.5, usual=1.0) for target in (2, 3, 4)])
    found = score_journal(tmp_path, graph)
    skill = 1 - 0.5**2 / float(np.exp(-1.0)) ** 2
    assert found.scores.skill == pytest.approx(skill) and found.scores.came == 3
    assert found.is_below(skill + 1e-9) and not found.is_below(skill - 1e-9)
    # Against a rate that is always right there is no skill, and nothing is below it.
    append_forecasts(tmp_path / "b", [forecast(target=target, object="0", usual=None) for target in (2, 3)])
    sure = score_journal(tmp_path / "b", graph)
    assert sure.scores.skill is None and not sure.is_below(1.0)


def dated(tmp_path, days=range(40)):
    names = ["RUSSIA", "UKRAINE", "UNITED STATES", "CHINA", "POLICE"]
    return write_event_table(tmp_path / "events.parquet", chain_of_events(days, names))


def day(number):
    return (dt.date(1970, 1, 1) + dt.timedelta(17_500 + number)).isoformat()


def of_days(number, **changes):
    fields = {"unit": "second", "step": DAY, "target": day(number), "subject": "RUSSIA", "object": "UKRAINE"}
    model = MODEL.model_copy(update={"learnt_until": day(9)})
    return forecast(**{"model": model, "relation": "042_Q1"} | fields | changes)


def test_days_weeks_and_steps_of_another_length(tmp_path):
    graph = load_graph(str(dated(tmp_path)), num_days=0)
    # RUSSIA does the first to UKRAINE on even days.
    forecasts = [of_days(number) for number in range(10, 38)] + [of_days(20, horizon=12, step=3600)]
    append_forecasts(tmp_path, forecasts)
    found = score_journal(tmp_path, graph)
    assert (found.counts.scored, found.counts.other_steps, found.scores.came) == (28, 1, 14)
    assert (found.data_from, found.data_until) == (day(0), day(39)) and found.counts.in_advance == 0
    weeks = [dt.date.fromisoformat(str(week.name)) for week in found.weeks]
    assert {week.weekday() for week in weeks} == {0} and weeks == sorted(weeks)
    assert sum(week.forecasts for week in found.weeks) == 28 and max(week.forecasts for week in found.weeks) == 7
    assert [(one.name, one.forecasts) for one in found.drift] == [(0, 7), (1, 7), (2, 7), (3, 7)]
    # A week of hours begins and ends with days, so that the days can tell.
    append_forecasts(tmp_path / "b", [of_days(20, horizon=48, step=3600)])
    assert score_journal(tmp_path / "b", graph).horizons[0].name == 2


def test_a_horizon_of_days_is_judged_by_hours(tmp_path):
    graph = load_graph(str(dated(tmp_path)), num_days=0, granularity="hour")
    append_forecasts(tmp_path, [of_days(10), of_days(11), of_days(12, horizon=2)])
    found = score_journal(tmp_path, graph)
    assert found.counts.scored == 3 and found.scores.came == 2 and [one.name for one in found.horizons] == [24, 48]


def test_dates_and_numbers_do_not_mix(tmp_path):
    append_forecasts(tmp_path / "a", [forecast()])
    with pytest.raises(DataError, match="has dates for times, but the journal .* numbers, such as 5"):
        score_journal(tmp_path / "a", load_graph(str(dated(tmp_path)), num_days=0))
    append_forecasts(tmp_path / "b", [of_days(3)])
    with pytest.raises(DataError, match="has numbers for times, but the journal .* dates"):
        score_journal(tmp_path / "b", random_graph(3))


def test_the_data_of_the_last_forecast_are_read_whole(tmp_path):
    path = str(dated(tmp_path))
    read = load_graph(path, num_days=5, granularity="hour").provenance
    known = KnownData(name="events", sha256="0", facts=1, last=day(1), provenance=dict(read))
    append_forecasts(tmp_path, [of_days(9), of_days(10, data=known)])
    graph = read_outcomes(tmp_path)
    assert graph.provenance["granularity"] == "hour" and graph.num_facts == 200
    assert read_outcomes(tmp_path, path, granularity="day", num_days=3).num_facts == 15
    with pytest.warns(DataWarning, match="max_events = 50 thins what came"):
        assert read_outcomes(tmp_path, path, max_events=50).num_facts < 200
    append_forecasts(tmp_path / "b", [of_days(9)])
    with pytest.raises(DataError, match="does not say where its data came from"):
        read_outcomes(tmp_path / "b")
    assert read_outcomes(tmp_path, "sim:num_days=10").num_snapshots == 10


def test_selections_are_told_apart(tmp_path):
    graph = random_graph(3, num_times=9)
    lift = Selection(by="lift", number=20, relation="042")
    append_forecasts(tmp_path, [forecast(), forecast(object="2", selection=lift)])
    found = score_journal(tmp_path, graph)
    assert [one.name for one in found.selections] == ["9 by probability", "20 by lift, relation 042"]
    assert describe(lift) == "20 by lift, relation 042"


@pytest.mark.parametrize(("every", "horizon", "block"), [(1, 3, 3), (2, 3, 2), (3, 3, 1), (1, 1, 1)])
def test_intervals_draw_runs_of_targets_whose_horizons_overlap(tmp_path, monkeypatch, every, horizon, block):
    drawn = []

    def interval(ours, theirs, block):
        drawn.append((len(ours), block))
        return [0.0, 1.0]

    monkeypatch.setattr("tirgn_eqx.evaluate.judged_forecasts.skill_interval", interval)
    graph = make_graph([(0, 0, 1, time) for time in range(20)], num_entities=2, num_relations=1)
    targets = range(0, 15, every)
    append_forecasts(tmp_path, [forecast(target=target, horizon=horizon) for target in targets])
    assert score_journal(tmp_path, graph).scores.skill_interval == [0, 1] and drawn[0] == (len(targets), block)


def test_a_forecast_in_advance_is_one_written_before_its_target(tmp_path):
    names = ["RUSSIA", "UKRAINE", "UNITED STATES", "CHINA", "POLICE"]
    today = (dt.datetime.now(dt.UTC).date() - dt.date(1970, 1, 1)).days - 17_500
    table = write_event_table(tmp_path / "new.parquet", chain_of_events(range(today - 3, today + 8), names))
    append_forecasts(tmp_path, [of_days(today - 2), of_days(today + 3)])
    found = score_journal(tmp_path, load_graph(str(table), num_days=0))
    assert (found.counts.scored, found.counts.in_advance) == (2, 1)


def test_the_document_holds_json(tmp_path):
    graph = dataclasses.replace(random_graph(3, num_times=9))
    append_forecasts(tmp_path, some_forecasts(graph, 1, 30))
    document = score_journal(tmp_path, graph).to_dict()
    assert document["counts"]["forecasts"] == len(read_journal(tmp_path).lines)
    assert set(document["rules"]) == {"usual", "never", "base rate"} and document["scores"]["name"] == "all"
