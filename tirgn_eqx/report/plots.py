"""Plots as SVG that carries no style of its own: colours, dark or light, come from the page."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape as _escape
from typing import Any

from tirgn_eqx.errors import printable

WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 14, 44
KINDS = 6  # of lines that can be told apart, by colour, dash and mark
MOST_POINTS = 400  # of a line
Number = int | float
Point = tuple[Number, Number | None]


def escape(said: str) -> str:
    """A text from data as the text of a picture."""
    return _escape(printable(said))


@dataclass(frozen=True)
class Series:
    """A named line: `(x, y)` by x, y None where there is a gap; `kind`: its look, below `KINDS`."""

    name: str
    points: Sequence[Point]
    kind: int = 0


def ticks(low: Number, high: Number, most: int = 6) -> list[Any]:
    """Round numbers between `low` and `high`, at most `most` of them."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / max(1, most - 1)
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def label(value: Number) -> str:
    """A number as it stands at an axis."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"


def thinned(points: Sequence[Point]) -> Sequence[Point]:
    """At most `MOST_POINTS` of the points, evenly chosen, with the first and the last one."""
    if len(points) <= MOST_POINTS:
        return points
    last = len(points) - 1
    return [points[round(number * last / (MOST_POINTS - 1))] for number in range(MOST_POINTS)]


def _range(values: Sequence[Number], zero: bool) -> tuple[Number, Number]:
    low, high = min(values), max(values)
    low = min(low, 0.0) if zero else low
    if low == high:
        low, high = low - (abs(low) or 1) * 0.05, high + (abs(high) or 1) * 0.05
    room = 0.04 * (high - low)
    return (low if zero and low == 0 else low - room), high + room


def mark(kind: int, x: Number, y: Number) -> str:
    """What stands at the points of a line: another shape for every kind."""
    shapes = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>',
        f'<rect x="{x - 2.7:.1f}" y="{y - 2.7:.1f}" width="5.4" height="5.4"/>',
        f'<path d="M{x:.1f} {y - 3.8:.1f}l3.6 6.4h-7.2z"/>',
        f'<path d="M{x:.1f} {y - 4:.1f}l4 4l-4 4l-4-4z"/>',
        f'<path d="M{x:.1f} {y + 3.8:.1f}l3.6-6.4h-7.2z"/>',
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" class="hollow"/>',
    )
    return shapes[kind % KINDS]


class _Axes:
    """Maps figures to places in the picture, and draws the frame."""

    def __init__(self, xs: Sequence[Number], ys: Sequence[Number], zero: bool, whole: bool):
        self.x_low, self.x_high = (min(xs), max(xs)) if max(xs) > min(xs) else (min(xs) - 0.5, max(xs) + 0.5)
        self.y_low, self.y_high = _range(ys, zero)
        self.whole = whole

    def x(self, value: Number) -> Number:
        return LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: Number) -> Number:
        return HEIGHT - BOTTOM - (value - self.y_low) / (self.y_high - self.y_low) * (HEIGHT - TOP - BOTTOM)

    def draw(self, x_title: str, y_title: str, named: Callable[[Any], str]) -> str:
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        parts = []
        for value in ticks(self.y_low, self.y_high):
            y = self.y(value)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label(value)}</text>')
        for value in ticks(self.x_low, self.x_high):
            if self.whole and value != round(value):
                continue
            x = self.x(value)
            parts.append(f'<path class="axis" d="M{x:.1f} {bottom}v4"/>')
            parts.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{escape(named(value))}</text>')
        middle = (LEFT + right) / 2
        parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
        parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_title)}</text>')
        up = f"{(TOP + bottom) / 2:.0f}"
        turned = f'transform="rotate(-90 12 {up})"'
        parts.append(f'<text x="12" y="{up}" text-anchor="middle" {turned}>{escape(y_title)}</text>')
        return "".join(parts)


def _svg(title: str, body: str, height: int = HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" '
        f'preserveAspectRatio="xMidYMid meet">{body}</svg>'
    )


def lines(
    title: str,
    x_title: str,
    y_title: str,
    series: Sequence[Series],
    *,
    marks: Sequence[tuple[Number, int, str]] = (),
    zero: bool = False,
    whole: bool = True,
    named: Callable[[Any], str] = label,
) -> str:
    """A line for each of `series`; an empty text where none has a point.

    **Arguments:** `title`: read aloud in place of the picture, with where each line begins and ends; `marks`: `(x,
    kind, word)`, upright lines; `zero`: begin the y axis at 0; `whole`: whole numbers alone on the x axis; `named`:
    what an x is called.
    """
    finite = lambda point: point[1] is not None and math.isfinite(point[1])
    points = [point for one in series for point in one.points if finite(point)]
    if not points:
        return ""
    axes = _Axes([x for x, _ in points], [float(y or 0) for _, y in points], zero, whole)
    body = [axes.draw(x_title, y_title, named)]
    for place, (x, kind, word) in enumerate(marks):
        if axes.x_low <= x <= axes.x_high:
            left = axes.x(x) > WIDTH / 2
            where = f'x="{axes.x(x) + (-5 if left else 5):.1f}" y="{HEIGHT - BOTTOM - 8 - 14 * place}"'
            body.append(
                f'<g class="s{kind % KINDS}"><path class="best" d="M{axes.x(x):.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
                f'<text {where} class="word" text-anchor="{"end" if left else "start"}">{escape(word)}</text></g>'
            )
    for one in series:
        path, begun, shown = [], False, []
        for point in thinned(one.points):
            if not finite(point):
                begun = False
                continue
            x, y = axes.x(point[0]), axes.y(float(point[1] or 0))
            path.append(f"{'L' if begun else 'M'}{x:.1f} {y:.1f}")
            shown.append((x, y))
            begun = True
        every = max(1, len(shown) // 12)
        dots = "".join(mark(one.kind, x, y) for x, y in shown[::every])
        body.append(f'<g class="s{one.kind % KINDS}"><path class="line" d="{"".join(path)}"/>{dots}</g>')
    return _svg(f"{title}. {'; '.join(filter(None, (_told(one, named) for one in series)))}", "".join(body))


def _told(series: Series, named: Callable[[Any], str]) -> str:
    """A line in words."""
    known = [(x, y) for x, y in series.points if y is not None and math.isfinite(y)]
    if not known:
        return ""
    (a, first), (b, last) = known[0], known[-1]
    short = lambda value: label(float(f"{value:.4g}"))
    return f"{series.name}: from {short(first)} at {named(a)} to {short(last)} at {named(b)}"


def intervals(title: str, x_title: str, rows: Sequence[tuple[str, Number, Number, Number]]) -> str:
    """Values with their intervals, one below the other, and an upright line at 0.

    **Arguments:** `rows`: (name, value, low, high).
    """
    if not rows:
        return ""
    left, step, longest = 176, 22, 23
    bottom = TOP + step * len(rows)
    low, high = min(0.0, *(row[2] for row in rows)), max(0.0, *(row[3] for row in rows))
    room = 0.04 * (high - low) or 1.0
    low, high = low - room, high + room
    place = lambda x: left + (x - low) / (high - low) * (WIDTH - RIGHT - left)
    body = [f'<path class="axis" d="M{left} {bottom}H{WIDTH - RIGHT}"/>']
    for value in ticks(low, high):
        x = place(value)
        body.append(f'<path class="{"axis" if value == 0 else "grid"}" d="M{x:.1f} {TOP}V{bottom + 4}"/>')
        body.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{label(value)}</text>')
    for number, (name, value, begin, end) in enumerate(rows):
        y = TOP + step * (number + 0.5)
        name = name if len(name) <= longest else f"{name[: longest - 1]}…"
        body.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        line = f'<path class="line" d="M{place(begin):.1f} {y:.1f}H{place(end):.1f}"/>'
        body.append(f'<g class="s0">{line}{mark(0, place(value), y)}</g>')
    middle = (left + WIDTH - RIGHT) / 2
    body.append(f'<text x="{middle:.0f}" y="{bottom + 36}" text-anchor="middle">{escape(x_title)}</text>')
    return _svg(title, "".join(body), bottom + 44)


def reliability(title: str, series: Sequence[tuple[str, int, Sequence[dict[str, Any]]]]) -> str:
    """How often forecasts of a probability came true; a dot for every bin, its size by the number of questions.

    **Arguments:** `series`: (name, kind, bins of `calibration`).
    """
    bins = [row for _, _, rows in series for row in rows]
    if not bins:
        return ""
    axes = _Axes([0.0, 1.0], [0.0, 1.0], True, False)
    axes.y_high = 1.0
    body = [axes.draw("probability that was given", "share that came true", lambda value: f"{value:.1f}")]
    body.append(f'<path class="grid ideal" d="M{axes.x(0):.1f} {axes.y(0):.1f}L{axes.x(1):.1f} {axes.y(1):.1f}"/>')
    most = max(row["queries"] for row in bins)
    for _, kind, rows in series:
        places = [(axes.x(row["probability"]), axes.y(row["right"]), row["queries"]) for row in rows]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places)
        size = lambda n: 2 + 6 * math.sqrt(n / most)
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size(n):.1f}"/>' for x, y, n in places)
        body.append(f'<g class="s{kind % KINDS}"><path class="line" d="M{path}"/>{dots}</g>')
    return _svg(title, "".join(body))
