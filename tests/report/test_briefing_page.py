"""The page of a briefing: whole, in words that say the numbers, and nothing from data that acts."""

import re

import pytest

from tests.report.page_helpers import HOSTILE, Elements
from tirgn_eqx.evaluate.track_record import score_journal
from tirgn_eqx.report.briefing import read_record
from tirgn_eqx.report.briefing_page import describe_odds, plot_record, render_briefing

pytestmark = pytest.mark.ci


@pytest.fixture(scope="module")
def page(briefing):
    return render_briefing(briefing)


def changed(fact, **changes):
    return fact.model_copy(update=changes)


def test_every_forecast_is_on_the_page_with_its_past(briefing, page):
    found, text = Elements(page), page.replace("<wbr>", "")
    cards = [fact for part in (briefing.probable, briefing.unusual) for fact in part]
    cards += [fact for actor in briefing.actors for fact in actor.facts]
    assert len(found.of("article")) == len(cards)
    for fact in cards:
        assert f"{fact.subject} – {fact.relation} – {fact.object}</h" in text
    strips = [one for one in found.of("svg") if one.get("class") == "strip"]
    assert len(strips) == sum(row.events > 0 for fact in cards for row in fact.timeline.rows)
    assert all(one["role"] == "img" and one["aria-label"].startswith("Times since 2017-11-30") for one in strips)
    first = briefing.probable[0].timeline.rows[0]
    assert f"latest first: {first.times[-1].time}, {first.times[-2].time}" in page
    assert f"This event: <span>{first.events} times, last {first.last}</span>" in page


def test_headings_anchors_and_links_are_whole(page):
    found = Elements(page)
    headings = [int(tag[1]) for tag, _ in found.seen if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1 and all(b - a <= 1 for a, b in zip(headings, headings[1:]))
    identifiers = [one["id"] for _, one in found.seen if "id" in one]
    assert len(identifiers) == len(set(identifiers))
    assert {one["href"] for one in found.of("a")} <= {f"#{name}" for name in identifiers}
    assert not any("style" in one for _, one in found.seen)


def test_the_head_says_what_was_forecast_from_what(page):
    assert "2018-01-09 to 2018-01-15 (7 days)" in page and "200 facts until 2018-01-08" in page
    assert "models/events.npz, trained 2026-01-02 03:04 UTC, computed by tirgn-eqx 0.1, jax 0.10" in page


def test_how_good_the_probabilities_were_is_said_or_that_nobody_knows(briefing, page, recorded, forecaster):
    assert "in forecasts of 7 days made at 31 times" in page and "8.0&nbsp;% better" in page
    assert "(95&nbsp;% interval: 5.0 to 10.0&nbsp;%)" in page and "Reliability on test" in page
    bare = briefing.model_copy(update={"tested": None})
    assert "was not measured" in render_briefing(bare)
    record = read_record(recorded[0], forecaster)
    told = render_briefing(bare.model_copy(update={"record": record}))
    assert "was not measured" not in told and 'href="#record">record of former forecasts' in told
    nothing = briefing.tested.model_copy(update={"skill": None, "skill_interval": None})
    assert "was not measured" in render_briefing(briefing.model_copy(update={"tested": nothing}))


def test_forecasts_in_hindsight_are_told(briefing, page):
    assert "in hindsight" not in page
    model = changed(briefing.model, learnt_until="2018-01-10")
    told = render_briefing(changed(briefing, model=model, hindsight=True))
    assert "learnt from facts until 2018-01-10" in told and "on facts until 2018-01-10, computed by" in told


def test_a_track_record_is_shown_with_its_numbers(briefing, recorded, forecaster):
    record = read_record(recorded[0], forecaster)
    page = render_briefing(briefing.model_copy(update={"record": record}))
    scores = record.scores
    assert "Forecasts in the journal" in page and "Judged by the data until 2018-01-08: 6." in page
    assert "Waiting for what comes: 6, the next one until the data reach 2018-01-09." in page
    assert f"Of those judged, {scores.came} came ({100 * scores.came / 6:.2f}&nbsp;%)" in page
    assert "Reliability of former forecasts" in page and "Forecast and came, by week" in page
    assert f'<td class="n">{100 * record.weeks[0].probability:.2f}</td>' in page
    waiting = score_journal(recorded[0], recorded[1].target.history)
    page = render_briefing(briefing.model_copy(update={"record": waiting}))
    assert "None of them is over yet" in page and plot_record(waiting).weeks is None


def test_what_else_became_of_forecasts_is_said(briefing, recorded, forecaster):
    record = read_record(recorded[0], forecaster)
    counts = record.counts.model_copy(update={"hindsight": 3, "unknown": 2})
    page = render_briefing(briefing.model_copy(update={"record": record.model_copy(update={"counts": counts})}))
    assert "3 are of times that their model learnt from" in page and "2 of those judged have a name" in page


def test_lists_may_be_empty(briefing):
    page = render_briefing(briefing.model_copy(update={"probable": [], "unusual": [], "actors": []}))
    assert "No event that came before is probable enough" in page and "By actor" not in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"probability": 0.3, "expected": 0.4, "usual": 0.01}, "About 3 in 10 within 7 days; usually about 1 in 100."),
        (
            {"probability": 0.999, "expected": 6.0, "usual": 6.2},
            "More than 99 in 100 within 7 days, 6.0 times expected; usually 6.2 times.",
        ),
        # An event that is expected half a time comes at least once with 39 %.
        ({"probability": 0.3, "expected": 0.4, "usual": 0.5}, "About 3 in 10 within 7 days; usually about 4 in 10."),
        ({"probability": 0.02, "expected": 0.02, "usual": None}, "About 1 in 50 within 7 days; it never came before."),
    ],
)
def test_odds_in_words(briefing, changes, words):
    assert describe_odds(changed(briefing.probable[0], **changes), 7, "day") == words


def test_nothing_comes_from_elsewhere_and_names_do_nothing(briefing):
    fact = briefing.probable[0]
    rows = [changed(row, subject=HOSTILE, relation=HOSTILE, last=HOSTILE) for row in fact.timeline.rows]
    timeline = changed(fact.timeline, rows=rows, begin=HOSTILE)
    hostile = changed(fact, subject=HOSTILE, relation=HOSTILE, object=HOSTILE, timeline=timeline)
    actor = changed(briefing.actors[0], name=HOSTILE, facts=[hostile])
    model = changed(briefing.model, checkpoint=HOSTILE, created=HOSTILE, versions={"jax": HOSTILE})
    dataset = changed(briefing.dataset, name=HOSTILE, sha256=HOSTILE)
    changes = {"probable": [hostile], "actors": [actor], "model": model, "dataset": dataset, "time": HOSTILE}
    page = render_briefing(changed(briefing, **changes))
    found = Elements(page)
    assert len(found.of("script")) == 1 and not found.of("img") and "\x1b" not in page
    assert not any(name.startswith("on") for _, attributes in found.seen for name in attributes)
    assert HOSTILE.split("\x1b")[0] in "".join(found.text)
    assert not re.search(r"(src|href)=['\"]?(https?:|//)", page) and "@import" not in page and "url(" not in page
    assert not any("style" in attributes for _, attributes in found.seen)


def test_the_page_of_many_long_names_stays_small(briefing):
    fact = changed(briefing.probable[0], subject="X" * 10_000)
    page = render_briefing(changed(briefing, probable=[fact] * 200))
    assert len(page.encode()) < 1_000_000
