"""What lies between two models on the same questions, and how sure that is."""

from collections.abc import Sequence

from tirgn_eqx.report.documents import Comparison
from tirgn_eqx.report.html import FIGURES, figure, filter_for, number, percent, table, text
from tirgn_eqx.report.plots import intervals

MOST_SHOWN = 24  # rows of a picture
_KINDS = {"recurrence": "answer", "direction": "direction", "relation": "relation", "snapshot": "time"}


def compared(comparisons: Sequence[Comparison]) -> str:
    """Differences of each comparison, with their intervals, by kind of question."""
    return "".join(_one(one, place, len(comparisons) > 1) for place, one in enumerate(comparisons))


def _one(one: Comparison, place: int, several: bool) -> str:
    sure = f"{100 * one.confidence:g} % interval"
    between = f"{one.first} – {one.second}"
    rows = [
        [text(said), f"{change['points']:+.2f}", _interval(*change["interval"])]
        for key, said in FIGURES.items()
        if (change := one.difference.get(key))
    ]
    told = f"{one.first} against {one.second} on the same questions of the {one.split} split, in points."
    columns = [("figure", False), ("difference", True), (sure, True)]
    overall = table(columns, rows, caption=told)
    if not one.parts:
        return overall
    # Snapshots are many, and each is of few questions: they stand in the table alone.
    chosen = [part for part in one.parts if part["kind"] != "snapshot"][:MOST_SHOWN]
    picture = intervals(
        f"Difference of MRR by kind of question, {between}",
        f"MRR of {one.first[:24]} – {one.second[:24]}, points",
        [(part["name"], *(100 * x for x in (part["difference"], *part["interval"]))) for part in chosen],
    )
    filled = [
        [
            text(part["name"]),
            text(_KINDS[part["kind"]]),
            (number(part["queries"]), part["queries"]),
            *((percent(mrr), mrr) for mrr in part["mrr"]),
            (f"{100 * part['difference']:+.2f}", part["difference"]),
            _interval(*(100 * x for x in part["interval"])),
        ]
        for part in one.parts
    ]
    columns = [("questions of", False), ("kind", False), ("questions", True), (one.first, True), (one.second, True)]
    columns += [("difference", True), (sure, False)]
    name = f"parts-{place}"
    said = f"MRR of both in percent, and the difference with its {sure}, of a paired bootstrap over the questions."
    parts = table(columns, filled, caption=said, name=name, sortable=True)
    title = f"Difference of MRR by kind of question{f', {between}' if several else ''}"
    note = (
        "Right of the upright line the first is better, left of it the second; a line across it is no sure difference."
    )
    return overall + figure(title, picture, filter_for(name, "relation, new, ...") + parts, note)


def _interval(low: float | int, high: float | int) -> str:
    return f"{low:+.2f} to {high:+.2f}"
