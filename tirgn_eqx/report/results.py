"""What checkpoints forecast: figures by kind of question, relation and time, reliability, and samples."""

from collections.abc import Sequence
from typing import Any

from tirgn_eqx.report.html import FIGURES, figure, filter_for, legend, number, percent, table, text
from tirgn_eqx.report.plots import Series, lines, reliability
from tirgn_eqx.report.runs import Run

MOST_ROWS = 400  # of a table beside a plot
Named = Sequence[str]
_PARTS = ("subject", "relation", "object")
Measured = list[tuple[int, str, dict[str, Any]]]


def _measured(runs: Sequence[Run], names: Named) -> Measured:
    return [(kind, name, run.measured) for kind, (run, name) in enumerate(zip(runs, names)) if run.measured]


def results(runs: Sequence[Run], names: Named) -> str:
    """Figures by direction, kind of question, relation and time, and how far probabilities can be trusted."""
    found = _measured(runs, names)
    if not found:
        return ""
    split = found[0][2]["split"]
    parts = {
        "entity": "all",
        "object": "object asked for",
        "subject": "subject asked for",
        "relation": "relation asked for",
    }
    rows = [
        [text(name), text(said), *_figures(measured[key]), number(measured[key].get("nll"))]
        for _, name, measured in found
        for key, said in (parts | {"entity_raw": "all, without filter"}).items()
        if key in measured
    ]
    columns = [("run", False), ("questions", False), *((said, True) for said in FIGURES.values()), ("NLL", True)]
    overall = table(columns, rows, caption=f"Figures of the {split} split in percent; NLL in nats.")
    rows = [
        [text(part["name"]), text(name), number(part["questions"]), percent(part["share"]), *_figures(part)]
        for place in range(3)
        for _, name, measured in found
        for part in measured["strata"][place : place + 1]
    ]
    columns = [("kind", False), ("run", False), ("questions", True), ("% of all", True)]
    columns += [(said, True) for said in FIGURES.values()]
    told = "By what the past says of the answer: seen with the same question, seen with the subject, or new."
    strata = table(columns, rows, caption=told)
    plots = f'<div class="figures">{_by_time(found)}{_reliability(found)}</div>'
    return overall + "<h3>Kinds of questions</h3>" + strata + plots + _relations(found)


def _figures(row: dict[str, Any]) -> list[str]:
    return [percent(row.get(key)) for key in FIGURES]


def _by_time(found: Measured) -> str:
    series, rows = [], []
    snapshots = found[0][2]["snapshots"]
    when = {number_: row["when"] for number_, row in enumerate(snapshots)}
    for kind, name, measured in found:
        points = [(place, 100 * row["mrr"]) for place, row in enumerate(measured["snapshots"])]
        series.append(Series(name, points, kind))
    for place, row in list(enumerate(snapshots))[:MOST_ROWS]:
        values = [dict(one.points).get(place) for one in series]
        shown = ["–" if value is None else f"{value:.2f}" for value in values]
        rows.append([text(row["when"]), number(row["queries"]), *shown])
    title = "MRR by time"
    named = lambda place: str(when.get(int(place), ""))
    picture = lines(title, "snapshot", "MRR, percent", series, named=named)
    columns = [("time", False), ("questions", True), *((name, True) for _, name, _ in found)]
    key = legend([(one.name, one.kind) for one in series])
    return figure(title, picture, table(columns, rows, caption=title), "", key)


def _reliability(found: Measured) -> str:
    known = [
        (name, kind, one["reliability"]) for kind, name, one in found if one.get("reliability", {}).get("reliability")
    ]
    if not known:
        return ""
    title = "Reliability"
    rows = [
        [
            text(name),
            f"{row['from']:.1f} – {row['to']:.1f}",
            number(row["queries"]),
            percent(row["probability"]),
            percent(row["right"]),
        ]
        for name, _, told in known
        for row in told["reliability"]
    ]
    columns = [
        ("run", False),
        ("probability", False),
        ("questions", True),
        ("mean of it, %", True),
        ("came true, %", True),
    ]
    errors = "; ".join(
        f"{name}: expected error {told['ece']:.4f}, Brier score {told['brier']:.4f}" for name, _, told in known
    )
    picture = reliability(title, [(name, kind, told["reliability"]) for name, kind, told in known])
    note = (
        "The most probable answer: how often it was right. On the broken line, probabilities mean what they say. "
        f"{errors}."
    )
    return figure(title, picture, table(columns, rows, caption=title), note, legend([(n, k) for n, k, _ in known]))


def _relations(found: Measured) -> str:
    names = {row["name"]: row["questions"] for _, _, measured in found for row in measured["relations"]}
    by_run = [{row["name"]: row for row in measured["relations"]} for _, _, measured in found]
    columns = [("relation", False), ("questions", True)]
    columns += [
        (f"{said}, {name}" if len(found) > 1 else said, True)
        for _, name, _ in found
        for said in ("MRR", "Hits@1", "Hits@10")
    ]
    rows = []
    for name, count in sorted(names.items(), key=lambda item: -item[1]):
        cells: list[Any] = [text(name), (number(count), count)]
        for rows_of in by_run:
            row = rows_of.get(name, {})
            cells += [(percent(row.get(key)), row.get(key, "")) for key in ("mrr", "hits_at_1", "hits_at_10")]
        rows.append(cells)
    left = max(measured["relations_left_out"] for _, _, measured in found)
    told = (
        f"The {len(rows)} most frequent; {left} more are left out." if left else f"{len(rows)} relations, in percent."
    )
    told += " A click on a heading sorts."
    filled = table(columns, rows, caption=told, name="relations", sortable=True)
    return f"<h3>Relations</h3>{filter_for('relations', 'part of a name')}{filled}"


def forecasts(runs: Sequence[Run], names: Named) -> str:
    """Questions of the split with the best candidates, what carries them, and what happened."""
    cards = []
    for _, name, measured in _measured(runs, names):
        if len(runs) > 1 and measured["samples"]:
            cards.append(f"<h3>{text(name)}</h3>")
        level = "h4" if len(runs) > 1 else "h3"
        drawn = "".join(_card(sample, level) for sample in measured["samples"])
        cards.append(f'<div class="cards">{drawn}</div>' if drawn else "")
    body = "".join(cards)
    told = (
        "<p>Questions drawn at random from the split, with what the model held most probable, from what was known "
        "before. The answers that came true are marked.</p>"
    )
    return told + body if body else ""


def _card(sample: dict[str, Any], level: str) -> str:
    """One question: its candidates, what carries them, and what happened."""
    asked = {"subject": "who?", "object": "whom?"}
    parts = [text(asked[part] if part == sample["asked_for"] else sample[part]) for part in _PARTS]
    happened, items = set(sample["happened"]), []
    for candidate in sample["candidates"]:
        shown = f"{text(candidate['name'])}: {percent(candidate['probability'])} %"
        if candidate["name"] in happened:
            shown = f"<span class='came'>{shown} ✓ came true</span>"
        items.append(f"<li>{shown}{_because(candidate.get('because'))}</li>")
    listed = {one["name"] for one in sample["candidates"]} | {sample["answer"]}
    others = [text(name) for name in sample["happened"] if name not in listed][:5]
    rank = f"{sample['rank']:,.0f}" if sample["rank"] == round(sample["rank"]) else f"{sample['rank']:,.1f}"
    came = f"The answer was {text(sample['answer'])}: rank {rank}, {percent(sample['answer_probability'])} %."
    also = f" Also true: {', '.join(others)}." if others else ""
    return (
        f"<article><{level}>{' – '.join(parts)}</{level}><p class='soft'>{text(sample['time'])}</p>"
        f"<ol>{''.join(items)}</ol><p>{came}{also}</p></article>"
    )


def _because(why: dict[str, Any] | None) -> str:
    """What carries a candidate, in a line."""
    if not why:
        return ""
    if "shares" in why:
        said = []
        for share in why["shares"][:3]:
            what = share["kind"]
            if what == "event":
                what = f"{share['subject']} – {share['relation']} – {share['object']}"
                what += f", {_times(share['events'])}, last {share['last']}"
            said.append(f"{100 * share['share']:.0f} % {what}")
        shown = "; ".join(said)
    else:
        seen = f"seen {_times(why['events'])}, last {why['last']}" if why.get("events") else "never seen"
        shown = f"{seen}; {100 * why['from_history']:.0f} % from history mode"
    return f"<br><span class='because'>{text(shown)}</span>"


def _times(events: int) -> str:
    return "once" if events == 1 else f"{events:,} times"
