"""How well checkpoints forecast: figures by kind of question, relation and time, and reliability."""

from collections.abc import Sequence
from typing import Any

from tirgn_eqx.report.html import FIGURES, figure, filter_for, legend, number, percent, table, text
from tirgn_eqx.report.plots import Series, lines, reliability
from tirgn_eqx.report.runs import Run

MOST_ROWS = 400  # of a table beside a plot
Named = Sequence[str]
Measured = list[tuple[int, str, dict[str, Any]]]


def _measured(runs: Sequence[Run], names: Named) -> Measured:
    return [(kind, name, run.measured) for kind, (run, name) in enumerate(zip(runs, names)) if run.measured]


def results(runs: Sequence[Run], names: Named) -> str:
    """Figures by direction, kind of question, relation and time, and how far probabilities can be trusted."""
    found = _measured(runs, names)
    if not found:
        return ""
    asked = sorted({f"{one['split']} split, {one['setting']}" for _, _, one in found})
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
    overall = table(columns, rows, caption=f"Figures of the {'; '.join(asked)}, in percent; NLL in nats.")
    warned = "" if len(asked) == 1 else "<p class='warning'>The runs were not asked the same way: see each.</p>"
    kinds = dict.fromkeys(part["name"] for _, _, measured in found for part in measured["strata"])
    rows = [
        [text(part["name"]), text(name), number(part["queries"]), percent(part["share"]), *_figures(part)]
        for kind in kinds
        for _, name, measured in found
        for part in measured["strata"]
        if part["name"] == kind
    ]
    columns = [("kind", False), ("run", False), ("questions", True), ("% of all", True)]
    columns += [(said, True) for said in FIGURES.values()]
    told = "By what the past says of the answer: seen with the same question, seen with the subject, or new."
    strata = f"<h3>Kinds of questions</h3>{table(columns, rows, caption=told)}" if rows else ""
    plots = f'<div class="figures">{_by_time(found)}{_reliability(found)}</div>'
    return warned + overall + strata + plots + _relations(found)


def _figures(row: dict[str, Any]) -> list[str]:
    return [percent(row.get(key)) for key in FIGURES]


def _by_time(found: Measured) -> str:
    """MRR of every snapshot, the runs side by side where they were asked at the same times."""
    when: dict[int, Any] = {row["time"]: row["when"] for _, _, one in found for row in one["snapshots"]}
    times = sorted(when)
    place = {time: number_ for number_, time in enumerate(times)}
    series, asked = [], {}
    for kind, name, measured in found:
        known = [row for row in measured["snapshots"] if row["mrr"] is not None]
        if known:
            series.append(Series(name, [(place[row["time"]], 100 * row["mrr"]) for row in known], kind))
        asked |= {row["time"]: row["queries"] for row in known}
    values = [dict(one.points) for one in series]
    rows = [
        [
            (text(when[time]), time),
            (number(asked.get(time)), asked.get(time, 0)),
            *(_value(of.get(place[time])) for of in values),
        ]
        for time in times[:MOST_ROWS]
    ]
    title = "MRR by time"
    # Beside an axis there is room for a date, not for its hours.
    named = lambda number_: str(when[times[int(number_)]])[:10]
    picture = lines(title, "snapshot", "MRR, percent", series, named=named)
    columns = [("time", False), ("questions", True), *((one.name, True) for one in series)]
    told = f"The first {MOST_ROWS} of {len(times):,} snapshots." if len(times) > MOST_ROWS else title
    filled = table(columns, rows, caption=told, name="snapshots", sortable=True)
    return figure(title, picture, filled, "", legend([(one.name, one.kind) for one in series]))


def _value(found: float | int | None) -> tuple[str, float | int | str]:
    return ("–", "") if found is None else (f"{found:.2f}", found)


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
            f"{row['from']:.2f} – {row['to']:.2f}",
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
    found = [one for one in found if one[2]["relations"]]
    if not found:
        return ""
    names = {row["name"]: row["queries"] for _, _, measured in found for row in measured["relations"]}
    by_run = [{row["name"]: row for row in measured["relations"]} for _, _, measured in found]
    some = {key for _, _, measured in found for row in measured["relations"] for key in row}  # a comparison has no hits
    wanted = tuple(FIGURES) if len(found) == 1 else ("mrr", "hits_at_1", "hits_at_10") if len(found) == 2 else ("mrr",)
    shown = {key: FIGURES[key] for key in wanted if key in some}
    columns = [("relation", False), ("questions", True)]
    columns += [
        (f"{said}, {name}" if len(found) > 1 else said, True) for _, name, _ in found for said in shown.values()
    ]
    rows = []
    for name, count in sorted(names.items(), key=lambda item: -item[1]):
        cells: list[Any] = [text(name), (number(count), count)]
        for rows_of in by_run:
            row = rows_of.get(name, {})
            cells += [(percent(row.get(key)), row.get(key, "")) for key in shown]
        rows.append(cells)
    known = [left for _, _, measured in found if (left := measured["relations_left_out"]) is not None]
    left = f"; {max(known):,} more are left out" if any(known) else ""
    # A comparison is of the most frequent ones, and does not say of how many.
    which = f"The {len(rows)} most frequent{left}" if left or len(known) < len(found) else f"{len(rows)} relations"
    told = f"{which}, in percent. A click on a heading sorts."
    filled = table(columns, rows, caption=told, name="relations", sortable=True)
    return f"<h3>Relations</h3>{filter_for('relations', 'part of a name')}{filled}"
