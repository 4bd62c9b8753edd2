"""The page: a title, a summary, and a section for each thing that one wants to know of a training."""

import base64
import dataclasses
import functools
import hashlib
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tirgn_eqx.report.evaluations import RunComparison
from tirgn_eqx.report.formats import FILTERS, METRICS, safe_text
from tirgn_eqx.report.plots import draw_marker
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
    style, script = _source("style.css"), _source("page.js")
    # The browser runs only the script with this hash: text from data that got through the escaping could do nothing.
    policy = f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
    names = ", ".join(run.name for run in runs)
    template = _environment().get_template("page.html")
    return template.render(
        title=title or f"{'Training of ' if len(runs) == 1 else 'Trainings: '}{names}",
        runs=runs,
        made_by=_made_by(runs),
        policy=policy + "base-uri 'none'; form-action 'none'",
        # Not escaped: browsers read these elements as they are, and the hashes are of these very texts.
        style=Markup(style),
        script=Markup(script),
        sections={name: content for name, content in sections.items() if content},
    )


@functools.cache
def _environment() -> Environment:
    # `finalize` makes every value harmless where it is put into a template, so that none can be forgotten.
    environment = Environment(
        loader=PackageLoader("tirgn_eqx.report"),
        autoescape=True,
        finalize=safe_text,
        # A wrong name in a template is an error, not an empty text.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= FILTERS
    environment.globals |= {"draw_marker": draw_marker, "METRICS": METRICS}
    return environment


def _source(name: str) -> str:
    """The text of a file among the templates that is not a template."""
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0]


def _digest(content: str) -> str:
    """The hash by which the page allows its own style and script, and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _made_by(runs: Sequence[TrainingRun]) -> str:
    """What wrote the checkpoints, in a line."""
    versions = [run.metadata.versions for run in runs]
    said = [", ".join(f"{key} {one[key]}" for key in ("tirgn-eqx", "jax") if key in one) for one in versions]
    known = "; ".join(dict.fromkeys(filter(None, said)))
    return f"Made by {known}." if known else ""
