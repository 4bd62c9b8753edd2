"""The page of a briefing: what its sections show, and how a forecast is said in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tirgn_eqx.checkpoint.event_figures import TestedBin, TestedHorizon
from tirgn_eqx.evaluate.event_tally import EventReliabilityBin
from tirgn_eqx.evaluate.track_record import TrackRecord
from tirgn_eqx.forecast.timeline import TimelineRow
from tirgn_eqx.report.briefing import BriefedFact, Briefing
from tirgn_eqx.report.documents import CalibrationBin
from tirgn_eqx.report.formats import format_chance, format_steps, format_times
from tirgn_eqx.report.frame import name_versions, render_page
from tirgn_eqx.report.plots import Plot, Series, draw_lines, draw_reliability
from tirgn_eqx.report.strips import draw_chance, draw_strip

LEFT_OUT = {
    "hindsight": "are of times that their model learnt from, which proves nothing, and are left out",
    "before_data": "are of times before the data begin, and are left out",
    "other_steps": "are of steps of another length, and are left out",
    "unknown": "of those judged have a name that the data do not have, and count as not come",
}
RELIABILITY = "On the dashed line, of all events with 60 % six in ten came."


@dataclass(frozen=True)
class PastRow:
    """Past events of one kind: what they are, how often and when last, and when within the timeline."""

    what: str
    said: str
    strip: Markup | None


@dataclass(frozen=True)
class FactCard:
    """A forecast as the page shows it: `name`: subject, relation and object; `words`: its probability in words;
    `bar`: as a picture; `numbers`: (name, value); `begin`: of the timeline of `past`."""

    name: str
    percent: str
    words: str
    bar: Markup
    numbers: Sequence[tuple[str, str]]
    begin: int | str
    past: Sequence[PastRow]


@dataclass(frozen=True)
class FactList:
    """Forecasts in their order; a list without any is a section, too."""

    cards: Sequence[FactCard]


@dataclass(frozen=True)
class MeaningSection:
    """What probabilities mean, and how good those of the model were on test; None where that is not known."""

    tested: TestedHorizon | None
    reliability: Plot | None


@dataclass(frozen=True)
class ActorCard:
    """An actor with its forecasts; `anchor`: the id of its place in the page."""

    name: str
    anchor: str
    events: int
    facts: Sequence[FactCard]


@dataclass(frozen=True)
class RecordSection:
    """A track record with its pictures, those for which there are forecasts; `left_out`: what else became of
    forecasts, as (how many, what)."""

    found: TrackRecord
    left_out: Sequence[tuple[int, str]]
    reliability: Plot | None
    weeks: Plot | None


def render_briefing(briefing: Briefing, title: str | None = None) -> str:
    """A briefing as one HTML document that loads nothing and sends nothing."""
    steps = format_steps(briefing.horizon, briefing.step)
    span = f"{briefing.time} to {briefing.until}" if briefing.until != briefing.time else str(briefing.time)
    sections = {
        "meaning": MeaningSection(briefing.tested, _plot_tested(briefing)),
        "probable": FactList([describe_fact(fact, briefing) for fact in briefing.probable]),
        "unusual": FactList([describe_fact(fact, briefing) for fact in briefing.unusual]),
        "actors": [
            ActorCard(one.name, f"actor-{number}", one.events, [describe_fact(fact, briefing) for fact in one.facts])
            for number, one in enumerate(briefing.actors, start=1)
        ],
        "record": briefing.record and plot_record(briefing.record),
    }
    shown = [*briefing.probable, *briefing.unusual, *(fact for actor in briefing.actors for fact in actor.facts)]
    versions = name_versions(briefing.model.versions)
    values = {
        "title": title or f"{briefing.dataset.name}: what may come, {span}",
        "briefing": briefing,
        "span": span,
        "names": sorted({name for fact in shown for name in (fact.subject, fact.object)}),
        "steps": steps,
        "made_by": versions and f"computed by {versions}",
    }
    return render_page("briefing.html", sections, values, styles=["briefing.css"], scripts=["briefing.js"])


def describe_fact(fact: BriefedFact, briefing: Briefing) -> FactCard:
    """A forecast in words, numbers and pictures."""
    timeline = fact.timeline
    most = max((time.events for row in timeline.rows for time in row.times), default=1)
    # Of as many events as usual, at least one comes with this probability if they come independently of each other.
    usual = None if fact.usual is None else -math.expm1(-fact.usual)
    numbers = [("expected", _number(fact.expected)), ("usual", "–" if fact.usual is None else _number(fact.usual))]
    numbers.append(("lift", "new" if fact.lift is None else f"{_number(fact.lift)} ×"))
    past = [
        PastRow(
            _name_row(row, number),
            f"{format_times(row.events)}{f', last {row.last}' if row.events else ''}",
            draw_strip(row, timeline, briefing.horizon, most) if row.events else None,
        )
        for number, row in enumerate(timeline.rows)
    ]
    return FactCard(
        name=f"{fact.subject} – {fact.relation} – {fact.object}",
        percent=_percent(fact.probability),
        words=describe_odds(fact, briefing.horizon, briefing.step),
        bar=draw_chance(fact.probability, usual),
        numbers=numbers,
        begin=timeline.begin,
        past=past,
    )


def describe_odds(fact: BriefedFact, horizon: int, step: str) -> str:
    """The probability of a fact in words, against what is usual: `About 3 in 10 within 7 days; usually about 1 in 100`.

    Where more than one event is expected or usual, that number is said.
    """
    words = f"{format_chance(fact.probability)} within {format_steps(horizon, step)}"
    if fact.expected >= 1:
        words += f", {_number(fact.expected)} times expected"
    if fact.usual is None:
        words += "; it never came before"
    elif fact.usual >= 1:
        words += f"; usually {_number(fact.usual)} times"
    else:
        words += f"; usually {format_chance(-math.expm1(-fact.usual))}"
    return f"{words[:1].upper()}{words[1:]}."


def plot_record(record: TrackRecord) -> RecordSection:
    """The pictures of a track record."""
    weeks = record.weeks
    series = [
        Series("forecast", [(place, 100 * one.probability) for place, one in enumerate(weeks)], 0),
        Series("came", [(place, 100 * one.came / one.forecasts) for place, one in enumerate(weeks)], 1),
    ]
    title = "Forecast and came, by week"
    picture = draw_lines(
        title, "week from", "percent", series, zero=True, format_x=lambda place: str(weeks[int(place)].name)[:10]
    )
    rows = [(one,) for one in weeks]
    note = "Of the forecasts of each week, the mean probability and the share that came."
    caption = "Skill: by how much the Brier score was better than that of the usual rate."
    by_week = Plot(title, picture, rows, caption, series, note) if picture else None
    counts = record.counts.model_dump()
    left_out = [(counts[name], said) for name, said in LEFT_OUT.items() if counts[name]]
    return RecordSection(
        record, left_out, _plot_reliability("Reliability of former forecasts", record.reliability), by_week
    )


def _plot_tested(briefing: Briefing) -> Plot | None:
    tested = briefing.tested
    return _plot_reliability("Reliability on test", tested.reliability if tested else ())


def _plot_reliability(title: str, found: Sequence[TestedBin | EventReliabilityBin]) -> Plot | None:
    bins = [
        CalibrationBin.model_validate(
            {
                "from": one.low,
                "to": one.high,
                "queries": one.facts,
                "probability": one.probability,
                "right": one.occurred,
            }
        )
        for one in found
    ]
    picture = draw_reliability(title, [("all", 0, bins)])
    return Plot(title, picture, [(one,) for one in bins], title, note=RELIABILITY) if picture else None


def _shares(one: TestedBin | EventReliabilityBin) -> dict[str, float]:
    return {"probability": one.probability, "right": one.occurred}


def _name_row(row: TimelineRow, number: int) -> str:
    """What the events of a timeline's row are; the first row is the fact itself."""
    if number == 0:
        return "This event"
    if row.object is None:
        return f"{row.subject} – {row.relation} – anyone else"
    return f"{row.subject} – {row.relation} – {row.object}"


def _percent(probability: float) -> str:
    """A probability in percent with as many digits as are of use."""
    if probability >= 0.995:
        return "> 99 %"
    return f"{100 * probability:.0f} %" if probability >= 0.0095 else f"{100 * probability:.2g} %"


def _number(value: float) -> str:
    """A number of events with two digits that are of use."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"
