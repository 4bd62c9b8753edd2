"""Plots as SVG without styles of its own: the page gives the colours, dark or light.

Drawn by hand: a plotting library would bring fonts, scripts or pictures of a fixed colour, and be larger than the page.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from tirgn_eqx.errors import printable
from tirgn_eqx.report.documents import CalibrationBin

WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 14, 44
STYLES = 6  # of lines, told apart by colour, dashes and markers
MAX_POINTS = 400  # of a line
_NAME_WIDTH, _MAX_NAME, _ROW_HEIGHT = 176, 23, 22  # of `intervals`
_LETTER = 7.5  # width of a digit, at most
Value = int | float
Point = tuple[Value, Value | None]


@dataclass(frozen=True)
class Series:
    """A named line: `(x, y)` by x, y None where there is a gap; `style`: its look, a number below `STYLES`."""

    name: str
    points: Sequence[Point]
    style: int = 0

    @property
    def finite(self) -> list[tuple[Value, Value]]:
        """The points that have a finite y."""
        return [(x, y) for x, y in self.points if y is not None and math.isfinite(y)]


@dataclass(frozen=True)
class Plot:
    """A picture with its title, the same numbers as rows of a table, which the template of its section knows, and a
    note; `series`: what the legend names."""

    title: str
    picture: Markup
    rows: Sequence[tuple[object, ...]]
    caption: str = ""
    series: Sequence[Series] = ()
    note: str = ""


def choose_ticks(low: Value, high: Value, most: int = 6) -> list[Value]:
    """Round numbers between `low` and `high`, at most `most` of them."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / max(1, most - 1)
    size = 10.0 ** math.floor(math.log10(raw))
    # The margins of 1e-9 are for quotients that rounding puts a hair beside a whole number.
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    # Rounded, because 3 * 0.1 is 0.30000000000000004.
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def format_tick(value: Value) -> str:
    """A number beside an axis."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"


def thin(points: Sequence[Point]) -> Sequence[Point]:
    """At most `MAX_POINTS` of the points, evenly chosen, with the first and the last one."""
    if len(points) <= MAX_POINTS:
        return points
    last = len(points) - 1
    return [points[round(number * last / (MAX_POINTS - 1))] for number in range(MAX_POINTS)]


def draw_marker(style: int, x: Value, y: Value) -> Markup:
    """The shape at a point of a line, another one for every style."""
    shapes = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>',
        f'<rect x="{x - 2.7:.1f}" y="{y - 2.7:.1f}" width="5.4" height="5.4"/>',
        f'<path d="M{x:.1f} {y - 3.8:.1f}l3.6 6.4h-7.2z"/>',
        f'<path d="M{x:.1f} {y - 4:.1f}l4 4l-4 4l-4-4z"/>',
        f'<path d="M{x:.1f} {y + 3.8:.1f}l3.6-6.4h-7.2z"/>',
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" class="hollow"/>',
    )
    return Markup(shapes[style % STYLES])


def _escape(text: str) -> Markup:
    return escape(printable(text))


def _title(x: Value, y: Value, text: str, more: str = "") -> str:
    """The title of an axis."""
    return f'<text x="{x}" y="{y}" text-anchor="middle"{more}>{_escape(text)}</text>'


def _group(style: int, body: str) -> str:
    return f'<g class="s{style % STYLES}">{body}</g>'


def _svg(title: str, parts: Sequence[str], height: int = HEIGHT) -> Markup:
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{_escape(title)}" '
        f'preserveAspectRatio="xMidYMid meet">{"".join(parts)}</svg>'
    )


class _Axes:
    """Maps values to places in the picture, and draws the frame."""

    def __init__(self, xs: Sequence[Value], y_low: Value, y_high: Value):
        # A single x gets a range, too, since places are found by dividing by it.
        self.x_low, self.x_high = (min(xs), max(xs)) if max(xs) > min(xs) else (min(xs) - 0.5, max(xs) + 0.5)
        self.y_low, self.y_high = y_low, y_high

    def x(self, value: Value) -> Value:
        return LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: Value) -> Value:
        # SVG counts y from the top.
        return HEIGHT - BOTTOM - (value - self.y_low) / (self.y_high - self.y_low) * (HEIGHT - TOP - BOTTOM)

    def draw_frame(self, x_title: str, y_title: str, format_x: Callable[[Value], str], whole: bool = True) -> str:
        """The frame with ticks; `whole`: ticks of the x axis at whole numbers alone."""
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        parts = []
        for value in choose_ticks(self.y_low, self.y_high):
            y = self.y(value)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{format_tick(value)}</text>')
        for value in choose_ticks(self.x_low, self.x_high):
            if not whole or value == round(value):
                x, label = self.x(value), format_x(value)
                parts.append(f'<path class="axis" d="M{x:.1f} {bottom}v4"/>')
                # A date below the last tick would stick out of the picture.
                cut = x + len(label) * _LETTER / 2 > WIDTH
                place = f'x="{WIDTH}" y="{bottom + 17}" text-anchor="end"'
                place = place if cut else f'x="{x:.1f}" y="{bottom + 17}" text-anchor="middle"'
                parts.append(f"<text {place}>{_escape(label)}</text>")
        parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
        parts.append(_title((LEFT + right) // 2, HEIGHT - 6, x_title))
        middle = (TOP + bottom) // 2
        parts.append(_title(12, middle, y_title, f' transform="rotate(-90 12 {middle})"'))
        return "".join(parts)


def _y_range(values: Sequence[Value], zero: bool) -> tuple[Value, Value]:
    """The range of the y axis: that of the values with a margin, from 0 where `zero`."""
    low, high = min(values), max(values)
    low = min(low, 0.0) if zero else low
    # As for x: a range must not be empty.
    if low == high:
        low, high = low - (abs(low) or 1) * 0.05, high + (abs(high) or 1) * 0.05
    margin = 0.04 * (high - low)
    return (low if zero and low == 0 else low - margin), high + margin


def draw_lines(
    title: str,
    x_title: str,
    y_title: str,
    series: Sequence[Series],
    *,
    marks: Sequence[tuple[Value, int, str]] = (),
    zero: bool = False,
    format_x: Callable[[Value], str] = format_tick,
) -> Markup:
    """A line for each of `series`; empty where none has a point.

    **Arguments:** `title`: read aloud in place of the picture, with where each line begins and ends; `marks`: `(x,
    style, text)`, upright lines; `zero`: begin the y axis at 0; `format_x`: an x, a whole number, as text.
    """
    points = [point for one in series for point in one.finite]
    if not points:
        return Markup()
    axes = _Axes([x for x, _ in points], *_y_range([float(y) for _, y in points], zero))
    body = [axes.draw_frame(x_title, y_title, format_x)]
    for place, (x, style, text) in enumerate(marks):
        if axes.x_low <= x <= axes.x_high:
            left = axes.x(x) > WIDTH / 2
            # The text of each mark stands a line above that of the one before, so that they do not overlap.
            where = f'x="{axes.x(x) + (-5 if left else 5):.1f}" y="{HEIGHT - BOTTOM - 8 - 14 * place}"'
            line = f'<path class="best" d="M{axes.x(x):.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
            anchor = f'class="word" text-anchor="{"end" if left else "start"}"'
            body.append(_group(style, f"{line}<text {where} {anchor}>{_escape(text)}</text>"))
    for one in series:
        path, markers, begun = [], [], False
        for x, y in thin(one.points):
            if y is None or not math.isfinite(y):
                begun = False
                continue
            at = axes.x(x), axes.y(float(y))
            # After a gap, M moves the pen without a line.
            path.append(f"{'L' if begun else 'M'}{at[0]:.1f} {at[1]:.1f}")
            markers.append(draw_marker(one.style, *at))
            begun = True
        # A dozen markers tell lines apart; one at every point would cover them.
        shown = "".join(markers[:: max(1, len(markers) // 12)])
        body.append(_group(one.style, f'<path class="line" d="{"".join(path)}"/>{shown}'))
    return _svg(f"{title}. {'; '.join(_description(one, format_x) for one in series if one.finite)}", body)


def _description(series: Series, format_x: Callable[[Value], str]) -> str:
    """A line in words."""
    (a, first), (b, last) = series.finite[0], series.finite[-1]
    first, last = (format_tick(float(f"{value:.4g}")) for value in (first, last))
    return f"{series.name}: from {first} at {format_x(a)} to {last} at {format_x(b)}"


def draw_intervals(title: str, x_title: str, rows: Sequence[tuple[str, Value, Value, Value]]) -> Markup:
    """Values with their intervals, one below the other, and an upright line at 0.

    **Arguments:** `rows`: (name, value, low, high).
    """
    if not rows:
        return Markup()
    bottom = TOP + _ROW_HEIGHT * len(rows)
    low, high = min(0.0, *(row[2] for row in rows)), max(0.0, *(row[3] for row in rows))
    # Where all values are 0, there is no range to take a share of.
    margin = 0.04 * (high - low) or 1.0
    low, high = low - margin, high + margin

    def place(value: Value) -> str:
        return f"{_NAME_WIDTH + (value - low) / (high - low) * (WIDTH - RIGHT - _NAME_WIDTH):.1f}"

    body = [f'<path class="axis" d="M{_NAME_WIDTH} {bottom}H{WIDTH - RIGHT}"/>']
    for value in choose_ticks(low, high):
        x = place(value)
        body.append(f'<path class="{"axis" if value == 0 else "grid"}" d="M{x} {TOP}V{bottom + 4}"/>')
        body.append(f'<text x="{x}" y="{bottom + 17}" text-anchor="middle">{format_tick(value)}</text>')
    for number, (name, value, begin, end) in enumerate(rows):
        y = TOP + _ROW_HEIGHT * (number + 0.5)
        name = name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"
        body.append(f'<text x="{_NAME_WIDTH - 6}" y="{y + 4:.1f}" text-anchor="end">{_escape(name)}</text>')
        line = f'<path class="line" d="M{place(begin)} {y:.1f}H{place(end)}"/>'
        body.append(_group(0, f"{line}{draw_marker(0, float(place(value)), y)}"))
    body.append(_title((_NAME_WIDTH + WIDTH - RIGHT) // 2, bottom + 36, x_title))
    return _svg(title, body, bottom + 44)


def draw_reliability(title: str, series: Sequence[tuple[str, int, Sequence[CalibrationBin]]]) -> Markup:
    """How often forecasts of a probability came true; a dot for every bin, its size by the number of queries.

    **Arguments:** `series`: (name, style, bins).
    """
    most = max((row.queries for _, _, bins in series for row in bins), default=0)
    if not most:
        return Markup()
    axes = _Axes([0.0, 1.0], 0.0, 1.0)
    body = [axes.draw_frame("forecast probability", "fraction that came true", lambda value: f"{value:.1f}", False)]
    body.append(f'<path class="grid ideal" d="M{axes.x(0):.1f} {axes.y(0):.1f}L{axes.x(1):.1f} {axes.y(1):.1f}"/>')
    for _, style, bins in series:
        at = [(f"{axes.x(row.probability):.1f}", f"{axes.y(row.right):.1f}") for row in bins]
        # By the root, so that the area of a dot and not its radius grows with the queries.
        sizes = [2 + 6 * math.sqrt(row.queries / most) for row in bins]
        dots = [f'<circle cx="{x}" cy="{y}" r="{size:.1f}"/>' for (x, y), size in zip(at, sizes)]
        path = "L".join(f"{x} {y}" for x, y in at)
        body.append(_group(style, f'<path class="line" d="M{path}"/>{"".join(dots)}'))
    return _svg(title, body)
