"""The page: a title, a summary, and a section for each thing that one wants to know of a training."""

import dataclasses
from collections.abc import Sequence

from tirgn_eqx.report.evaluations import RunComparison
from tirgn_eqx.report.frame import name_versions, render_page
from tirgn_eqx.report.results import collect_results, group_forecasts, plot_comparisons
from tirgn_eqx.report.rules import collect_rules
from tirgn_eqx.report.runs import TrainingRun, distinct_names
from tirgn_eqx.report.sections import compare_settings, group_by_data, plot_learning, plot_system

MAX_RUNS = 6


def render(runs: Sequence[TrainingRun], title: str | None = None, comparisons: Sequence[RunComparison] = ()) -> str:
    """The page about `runs`, side by side, as one HTML document that loads nothing and sends nothing.

    **Arguments:** `runs`: at most `MAX_RUNS`; `title`: of the page; `comparisons`: of two of the runs each.
    """
    assert 0 < len(runs) <= MAX_RUNS
    runs = [dataclasses.replace(run, name=name) for run, name in zip(runs, distinct_names(runs))]
    # What the template of each section shows, in the order of the page.
    sections = {
        "summary": runs,
        "data": group_by_data(runs),
        "learning": plot_learning(runs),
        "results": collect_results(runs),
        "comparison": plot_comparisons(comparisons),
        "forecasts": group_forecasts(runs),
        "rules": collect_rules(runs),
        "system": plot_system(runs),
        "settings": compare_settings(runs),
    }
    names = ", ".join(run.name for run in runs)
    made_by = "; ".join(dict.fromkeys(filter(None, (name_versions(run.metadata.versions) for run in runs))))
    values = {
        "title": title or f"{'Training of ' if len(runs) == 1 else 'Trainings: '}{names}",
        "runs": runs,
        "made_by": made_by and f"Made by {made_by}.",
    }
    return render_page("page.html", sections, values)
