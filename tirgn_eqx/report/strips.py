"""Small pictures of a forecast: its probability as a bar, and past events as a strip of time before it."""

import math

from markupsafe import Markup, escape

from tirgn_eqx.errors import printable
from tirgn_eqx.forecast.timeline import Timeline, TimelineRow

WIDTH, HEIGHT = 400, 18  # of a strip
SHORTEST, GROWTH = 6, 10  # of a mark for one event, and how much longer one for the most events is
LATEST = 5  # times that are read aloud


def draw_chance(probability: float, usual: float | None) -> Markup:
    """A probability as a bar, with a mark at the usual one. It is not read aloud: the same stands beside it as text."""
    mark = "" if usual is None else f'<path class="mark" d="M{100 * usual:.1f} 0V10"/>'
    return Markup(
        f'<svg class="chance" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" y="1" width="100" height="8"/><rect y="1" width="{100 * probability:.1f}" height="8"/>'
        f"{mark}</svg>"
    )


def draw_strip(row: TimelineRow, timeline: Timeline, horizon: int, most: int) -> Markup:
    """The past events of one kind along the time before a forecast, and the time that is forecast as a band at its end.

    **Arguments:** `horizon`: in steps; `most`: the largest number of events at once, which has the longest mark.
    """
    steps = timeline.steps + horizon
    step = WIDTH / max(steps, 1)
    marks = []
    for time in row.times:
        length = SHORTEST + GROWTH * math.sqrt(time.events / max(most, 1))
        marks.append(f"M{step * (timeline.steps - time.ago + 0.5):.1f} {HEIGHT}v{-length:.1f}")
    latest = ", ".join(str(time.time) for time in row.times[: -LATEST - 1 : -1])
    more = ", and before" if len(row.times) > LATEST else ""
    said = f"Times since {timeline.begin}, latest first: {latest}{more}" if latest else f"None since {timeline.begin}"
    # Marks fill their step where steps are wide, and stay visible where they are narrow.
    width = min(max(0.7 * step, 1.5), 5.0)
    return Markup(
        f'<svg class="strip" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(printable(said))}">'
        f'<rect class="ahead" x="{step * timeline.steps:.1f}" width="{step * horizon:.1f}" height="{HEIGHT}"/>'
        f'<path class="axis" d="M0 {HEIGHT - 0.5}H{WIDTH}"/>'
        f'<path class="events" stroke-width="{width:.1f}" d="{"".join(marks) or "M0 0"}"/></svg>'
    )
