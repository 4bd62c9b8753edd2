"""The section of a page about what models with evidence have learnt, as its template shows it."""

from collections.abc import Sequence
from dataclasses import dataclass

from tirgn_eqx.evaluate.rule_words import describe_ages
from tirgn_eqx.evaluate.rules import Rule
from tirgn_eqx.report.runs import Runs


@dataclass(frozen=True)
class RulesTable:
    """The strongest rules of one run.

    **Arguments:** `ages`: headings of all ages, the latest first; `rows`: (rule, its learnt probability at each of
    `ages`, None where it does not apply); `notes`: sentences about all rules together.
    """

    name: str
    ages: Sequence[str]
    rows: Sequence[tuple[Rule, Sequence[float | None]]]
    notes: Sequence[str]


def collect_rules(runs: Runs) -> list[RulesTable]:
    """The rules of every run that has any."""
    found: list[RulesTable] = []
    for run in runs:
        report = run.measurements.rules if run.measurements else None
        if report is None or not report.rules:
            continue
        bounds = sorted({(age.first, age.last) for rule in report.rules for age in rule.ages}, key=lambda both: both[0])
        rows: list[tuple[Rule, list[float | None]]] = []
        for rule in report.rules:
            learnt = {(age.first, age.last): age.learnt for age in rule.ages}
            rows.append((rule, [learnt.get(both) for both in bounds]))
        carried = f"{100 * report.events:.1f} % of the probability of its forecasts on valid, and popularity"
        notes = [f"Past events of the two carry {carried} {100 * report.popularity:.1f} %."]
        if (test := report.test) is not None:
            right = "" if test.lift is None else f", and were right {test.lift:,.1f} times as often as usual"
            notes.append(f"On test, these rules cover {100 * test.coverage:.1f} % of the answers{right}.")
        ages = ["learnt " + describe_ages(first, last, report.unit) for first, last in bounds]
        found.append(RulesTable(run.name, ages, rows, notes))
    return found
