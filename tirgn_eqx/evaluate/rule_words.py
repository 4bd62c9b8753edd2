"""Rules of evidence in words: ages, what came before and what follows, and how often it was right."""

from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.readers.published import list_published
from tirgn_eqx.data.times import UNIT_NAMES
from tirgn_eqx.evaluate.rule_codes import AGE_BOUNDS


def age_bounds(band: int) -> tuple[int, int | None]:
    """The first and the last age of a band, in steps; None: no last one."""
    bounds = (0, *AGE_BOUNDS)
    return bounds[band] + 1, bounds[band + 1] if band < len(AGE_BOUNDS) else None


def step_name(graph: TemporalGraph) -> str:
    """What one step of the clock is called: "day", "hour", "minute", "second" or "year" where that is known, else
    "step"."""
    if graph.time_unit is not None:
        return UNIT_NAMES.get(graph.time_unit * graph.time_interval, "step")
    # The published sets count steps, whose length is known; those of 15 minutes have no word of their own.
    steps = {one.sha256: one.step for one in list_published().values() if one.sha256}
    step = steps.get(graph.checksum)
    return step if step in ("day", "year") else "step"


def describe_ages(first: int, last: int | None, unit: str) -> str:
    """Ages as words, such as `the next day`."""
    if last == 1:
        return f"the next {unit}"
    return f"more than {first - 1} {unit}s later" if last is None else f"{first} to {last} {unit}s later"


def describe_rule(after: tuple[str, str, str], relation: str, ages: str) -> str:
    """A rule as a clause, such as `After B - Threaten - A, A - Criticize - B the next day`."""
    then = "the same again" if after == ("A", relation, "B") else f"A - {relation} - B"
    return f"After {' - '.join(after)}, {then} {ages}"


def describe_figures(support: int, confidence: float, lift: float | None) -> str:
    """How often a rule was right, as words."""
    known = f"(support {support:,}, confidence {100 * confidence:.1f} %)"
    return f"{format_lift(lift)} times as likely as usual {known}" if lift else f"never came {known}"


def format_lift(lift: float | None) -> str:
    """A lift with one decimal below 10, otherwise whole; `-` where there is none."""
    if lift is None:
        return "-"
    return f"{lift:.1f}" if lift < 9.95 else f"{lift:,.0f}"
