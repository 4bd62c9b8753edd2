"""Values as people read them, made harmless for a page."""

import math
import re

from markupsafe import Markup, escape

from tirgn_eqx.errors import printable

METRICS = {"mrr": "MRR", "hits_at_1": "Hits@1", "hits_at_3": "Hits@3", "hits_at_10": "Hits@10"}
MAX_LENGTH = 300  # characters of a text from data
MAX_NOTE_LENGTH = 6 * MAX_LENGTH  # of a text that says something about every run
MISSING = "–"


def safe_text(value: object, longest: int = MAX_LENGTH) -> Markup:
    """Any value as it may stand in a page: control characters spelt out, markup escaped, and cut after `longest`
    characters. Markup made by this package stays as it is."""
    if isinstance(value, Markup):
        return value
    text = printable(str(value))
    # Cut, then escaped, so that no `&amp;` is cut in two.
    return escape(text if len(text) <= longest else f"{text[: longest - 1]}…")


def safe_note(value: object) -> Markup:
    """`safe_text` for a text that says something about every run."""
    return safe_text(value, MAX_NOTE_LENGTH)


def break_words(value: object) -> Markup:
    """`safe_text` of a name, which a browser may break after the underscores in place of the spaces of others."""
    # What begins with & in escaped text is a character reference, none of which holds an underscore.
    return safe_text(value).replace("_", Markup("_<wbr>"))


def format_number(value: object) -> str:
    """Counts with separators, other numbers with four decimals, or with four digits where they are small."""
    if value is None or isinstance(value, float) and not math.isfinite(value):
        return MISSING
    # Before whole numbers, because a bool is an int in Python.
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if 0 < abs(value) < 0.01:  # a learning rate, such as 1.5e-05
            return f"{value:.4g}"
        return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)


def format_percent(value: float | int | None) -> str:
    """A fraction in percent, without the sign."""
    return MISSING if value is None or not math.isfinite(value) else f"{100 * value:.2f}"


def format_chance(probability: float) -> str:
    """A probability in natural frequencies, such as `about 3 in 10`, which are understood better than percentages."""
    if not math.isfinite(probability):
        return MISSING
    if probability >= 0.995:
        return "more than 99 in 100"
    if probability > 0.905:
        return f"about {100 * probability:.0f} in 100"
    if probability >= 0.28:
        return f"about {10 * probability:.0f} in 10"
    if probability < 0.0001:
        return "less than 1 in 10,000"
    return f"about 1 in {float(f'{1 / probability:.2g}'):,.0f}"


def format_times(events: int) -> str:
    """A number of events in words."""
    return {0: "never", 1: "once", 2: "twice"}.get(events, f"{events:,} times")


def format_steps(number: int, step: str) -> str:
    """So many steps of a clock, such as `7 days`."""
    return f"{number:,} {step}{'s' * (number != 1)}"


def format_rank(rank: float) -> str:
    """A rank, which is half a number where two candidates are tied."""
    return f"{rank:,.0f}" if rank == round(rank) else f"{rank:,.1f}"


def format_minute(time: str) -> str:
    """A time in ISO 8601 to the minute; any other text as it is."""
    return re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d\+00:00$", r"\1 \2 UTC", time)


def format_elapsed(seconds: float | int | None) -> str:
    """Seconds as `12.3 s`, `4 min` or `1 h 02 min`."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


FILTERS = {
    "breakable": break_words,
    "chance": format_chance,
    "duration": format_elapsed,
    "minute": format_minute,
    "note": safe_note,
    "number": format_number,
    "percent": format_percent,
    "rank": format_rank,
    "times": format_times,
}
