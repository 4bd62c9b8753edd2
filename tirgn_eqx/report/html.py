"""Pieces of a page: every text that comes from data is made harmless here."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tirgn_eqx.errors import printable
from tirgn_eqx.report.plots import mark

FIGURES = {"mrr": "MRR", "hits_at_1": "Hits@1", "hits_at_3": "Hits@3", "hits_at_10": "Hits@10"}
LONGEST = 300  # letters of a text from data
LONGEST_NOTE = 6 * LONGEST  # of one that says something of every run
Column = tuple[str, bool]  # heading, and whether it holds numbers


def text(value: object, longest: int = LONGEST) -> str:
    """Any text as it may stand in a page: control characters spelt out, markup without effect, not endless."""
    shown = printable(str(value))
    return escape(shown if len(shown) <= longest else f"{shown[: longest - 1]}…")


def number(value: Any) -> str:
    """A number as people read it: counts with separators, figures with four digits after the point, or of small ones
    the first four that are not 0."""
    if value is None or isinstance(value, float) and not math.isfinite(value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if 0 < abs(value) < 0.01:  # a step size, such as 1.5e-05
            return f"{value:.4g}"
        return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"
    return text(value)


def percent(value: int | float | None) -> str:
    """A share of 1 in percent."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.2f}"


def duration(seconds: int | float | None) -> str:
    """Seconds as `12.3 s`, or `1 h 02 min`."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Any]],
    *,
    caption: str = "",
    name: str = "",
    sortable: bool = False,
    classes: Mapping[int, str] | None = None,
) -> str:
    """A table whose first column is its rows' heading. A cell is text from here, marked up already (`str`), or a
    pair of it and the number that it is sorted by.

    **Arguments:** `name`: its id; `classes`: of rows, by number.
    """
    head = "".join(f'<th scope="col"{_numeric(n)}>{text(title)}</th>' for title, n in columns)
    body = []
    for place, row in enumerate(rows):
        cells = []
        for column, ((_, is_number), cell) in enumerate(zip(columns, row)):
            shown, key = cell if isinstance(cell, tuple) else (cell, None)
            data = "" if key is None else f' data-value="{escape(str(key))}"'
            tag = '<th scope="row"' if column == 0 else "<td"
            body_cell = f"{tag}{_numeric(is_number)}{data}>{shown}</{'th' if column == 0 else 'td'}>"
            cells.append(body_cell)
        kind = (classes or {}).get(place)
        opened = f'<tr class="{kind}">' if kind else "<tr>"
        body.append(f"{opened}{''.join(cells)}</tr>")
    said = f"<caption>{text(caption, LONGEST_NOTE)}</caption>" if caption else ""
    attributes = (f' id="{escape(name)}"' if name else "") + (' class="sortable"' if sortable else "")
    label = f' aria-label="{text(caption)}"' if caption else ' aria-label="table"'
    return (
        f'<div class="scroll" role="region" tabindex="0"{label}><table{attributes}>{said}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _numeric(is_number: bool) -> str:
    return ' class="n"' if is_number else ""


def filter_for(name: str, what: str, only: str = "") -> str:
    """A field that leaves the rows of table `name` that hold what is typed, hidden where there is no script; `only`:
    what a box is called that leaves the rows of class `differs`."""
    box = f'<label hidden><input type="checkbox" data-only="{escape(name)}"> {text(only)}</label>' if only else ""
    return (
        f'<div class="filters"><label hidden>Show rows with: <input type="search" data-filters="{escape(name)}" '
        f'data-told="{escape(name)}-told" placeholder="{text(what)}"></label>{box}</div>'
        f'<p class="note" role="status" id="{escape(name)}-told"></p>'
    )


def legend(names: Sequence[tuple[str, int]]) -> str:
    """What each line is; nothing for one line."""
    if len(names) < 2:
        return ""
    line = '<svg viewBox="0 0 40 14" aria-hidden="true"><g><path class="line" d="M1 7H39"/>{}</g></svg>'
    items = "".join(
        f'<li class="s{kind}">{line.format(mark(kind, 20, 7))}<span>{text(name)}</span></li>' for name, kind in names
    )
    return f'<ul class="legend">{items}</ul>'


def figure(title: str, picture: str, numbers: str, note: str = "", key: str = "") -> str:
    """A plot with its title above, and the same numbers as a table beside it; nothing where there is no picture."""
    if not picture:
        return ""
    said = f"<p class='note'>{text(note, LONGEST_NOTE)}</p>" if note else ""
    return (
        f"<figure><h3>{text(title)}</h3>{picture}{key}<figcaption>{said}"
        f"<details><summary>The numbers of “{text(title)}”</summary>{numbers}</details></figcaption></figure>"
    )


def section(name: str, title: str, *parts: str) -> str:
    """A part of the page; nothing where all parts are empty."""
    body = "".join(parts)
    opened = f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{text(title)}</h2>'
    return f"{opened}{body}</section>" if body else ""
