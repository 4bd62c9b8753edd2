"""The page: a title, a summary, and a section for each thing that one asks of a training."""

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files

from tirgn_eqx.report.compared import compared
from tirgn_eqx.report.documents import Comparison, same_data
from tirgn_eqx.report.forecasts import forecasts
from tirgn_eqx.report.html import FIGURES, duration, number, percent, section, table, text
from tirgn_eqx.report.reading import left_out
from tirgn_eqx.report.results import results
from tirgn_eqx.report.runs import Run, check_names
from tirgn_eqx.report.sections import data, learning, system
from tirgn_eqx.report.settings import settings

MOST_RUNS = 6
TITLES = {
    **{"summary": "Summary", "data": "Data", "learning": "Learning", "results": "Results"},
    "comparison": "Comparison",
    **{"forecasts": "Forecasts and what happened", "system": "Time and memory", "settings": "Settings"},
}


def render(runs: Sequence[Run], title: str | None = None, comparisons: Sequence[Comparison] = ()) -> str:
    """The page about `runs`, side by side, as one HTML document that loads nothing and sends nothing.

    **Arguments:** `runs`: at most `MOST_RUNS`; `title`: of the page; `comparisons`: of two of them each.
    """
    assert 0 < len(runs) <= MOST_RUNS
    names = check_names(list(runs))
    title = title or ("Training of " if len(names) == 1 else "Trainings: ") + ", ".join(names)
    made = {
        "summary": _other_data(runs) + _summary(runs, names) + _missing(runs, names),
        **{"data": data(runs, names), "learning": learning(runs, names), "results": results(runs, names)},
        "comparison": compared(comparisons),
        **{"forecasts": forecasts(runs, names), "system": system(runs, names), "settings": settings(runs, names)},
    }
    parts = {name: section(name, TITLES[name], body) for name, body in made.items() if body}
    links = "".join(f'<li><a href="#{name}">{TITLES[name]}</a></li>' for name in parts)
    style, script = (_own(name) for name in ("style.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n'
        f"<title>{text(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to the content</a>\n'
        f"<header><h1>{text(title)}</h1><p class='soft'>{_by(runs)}</p></header>\n"
        f'<nav aria-label="On this page"><ul>{links}</ul></nav>\n'
        f'<main id="main">{"".join(parts.values())}</main>\n'
        "<footer>Written by tirgn report. Figures are of entity questions, both directions, single-step, time-aware "
        "filter, ties at their mean rank, unless said otherwise.</footer>\n"
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _own(name: str) -> str:
    return files("tirgn_eqx.report").joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _by(runs: Sequence[Run]) -> str:
    """What wrote the checkpoints, in a line."""
    said = []
    for versions in (run.described.get("versions") or {} for run in runs):
        said.append(", ".join(f"{key} {versions[key]}" for key in ("tirgn-eqx", "jax") if key in versions))
    known = list(dict.fromkeys(filter(None, said)))
    return text(f"Made by {'; '.join(known)}.") if known else ""


def _written(run: Run) -> str:
    """When its checkpoint was written, to the minute."""
    created = run.described.get("created", "–")
    return text(re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d\+00:00$", r"\1 \2 UTC", created))


def _summary(runs: Sequence[Run], names: Sequence[str]) -> str:
    figures = [(_test(run), run.metrics.get("validation") or {}) for run in runs]
    parameters = [curve.points[-1][1] if (curve := run.curves.get("system/total_params")) else None for run in runs]
    rows = {
        "model": [text(run.described.get("model_type", "?")) for run in runs],
        "data": [text(run.data.get("name", "?")) for run in runs],
        "asked": [text(_asked(run)) for run in runs],
        **{f"test {said}, %": [percent(test.get(key)) for test, _ in figures] for key, said in FIGURES.items()},
        "best validation MRR, %": [percent(valid.get("mrr")) for _, valid in figures],
        "in epoch": [number(run.best_epoch) for run in runs],
        "epochs": [number(run.epochs or None) + (" so far" if run.active else "") for run in runs],
        "trained": [text(run.ended or "–") for run in runs],
        "parameters": [number(None if found is None else int(found)) for found in parameters],
        "time": [duration(run.progress.get("seconds")) for run in runs],
        "written": [_written(run) for run in runs],
        "seed": [number(run.config.get("seed", run.described.get("seed"))) for run in runs],
    }
    columns = [("what", False), *((name, True) for name in names)]
    told = [[said, *cells] for said, cells in rows.items() if set(cells) != {"–"}]
    return table(columns, told, caption="One column a run.")


def _other_data(runs: Sequence[Run]) -> str:
    if same_data(runs):
        return ""
    return "<p class='warning'>The runs are not of the same facts, so that their figures do not compare.</p>"


def _test(run: Run) -> dict:
    """Test figures: those measured for the page, or those that the training logged at its end."""
    if run.measured and run.measured["split"] == "test":
        return run.measured.get("entity") or {}
    return {key: curve.points[-1][1] for key in FIGURES if (curve := run.curves.get(f"test/{key}"))}


def _asked(run: Run) -> str:
    """How the test figures were had."""
    if run.measured and run.measured["split"] == "test":
        return run.measured["setting"]
    return "single-step" if _test(run) else "–"


def _missing(runs: Sequence[Run], names: Sequence[str]) -> str:
    told = [(*run.missing, *left_out(run.measured.get("dataset"))) for run in runs]
    items = [f"<li>{text(name)}: {text(line)}</li>" for lines, name in zip(told, names) for line in lines]
    return f"<p class='note'>What is not on this page:</p><ul>{''.join(items)}</ul>" if items else ""
