"""The page itself: figures as measured, nothing from data that acts, nothing from elsewhere."""

import dataclasses
import re

import pytest

from tests.report.page_helpers import HOSTILE, Elements
from tirgn_eqx.report import render

pytestmark = pytest.mark.ci


def test_pages_of_one_and_of_several(runs):
    one, two = Elements(render(runs[:1])), Elements(render(runs, "Both"))
    assert "Both" in two.text and "Training of plain" in one.text
    headings = [int(tag[1]) for tag, _ in two.seen if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1 and all(b - a <= 1 for a, b in zip(headings, headings[1:]))
    identifiers = [found["id"] for _, found in two.seen if "id" in found]
    assert len(identifiers) == len(set(identifiers))
    targets = {found["href"] for found in two.of("a")}
    assert targets <= {f"#{name}" for name in identifiers}
    pictures = [found for found in two.of("svg") if found.get("aria-hidden") != "true"]
    assert len(pictures) >= 6 and all(found["role"] == "img" and found["aria-label"] for found in pictures)
    assert len(two.of("details")) == len(two.of("figure")) == len(pictures)
    assert not any("style" in found for _, found in two.seen)
    # The settings that both have and in which they differ, and no others, are marked.
    rows = re.findall(r'<th scope="row">(\w+)</th>(?:(?!</tr>).)*<td>between the runs', render(runs))
    first, second = (run.config for run in runs)
    different = {name for name in first.keys() & second.keys() if first[name] != second[name]}
    assert set(rows) == different and {"family", "logdir"} <= different < first.keys()


def test_what_is_said_of_six_runs_is_said_of_all(runs):
    page = render([dataclasses.replace(runs[0], name=f"a training of number {number}") for number in range(6)])
    ece = runs[0].measurements.calibration.ece
    for number in range(6):
        assert (
            f"number {number}: expected calibration error {ece:.4f}" in page
            and f"number {number}, all 2 epochs" in page
        )


def test_nothing_comes_from_elsewhere_and_names_do_nothing(runs):
    measured = runs[0].measurements
    candidates = [one.model_copy(update={"name": HOSTILE}) for one in measured.samples[0].forecast.candidates]
    forecast = measured.samples[0].forecast.model_copy(update={"subject": HOSTILE, "candidates": candidates})
    sample = dataclasses.replace(measured.samples[0], forecast=forecast, answer=HOSTILE, happened=(HOSTILE,))
    relations = (dataclasses.replace(measured.relations[0], name=HOSTILE),)
    measured = dataclasses.replace(measured, samples=(sample,), relations=relations)
    provenance = {"kind": HOSTILE, HOSTILE: HOSTILE}
    data = runs[0].data.model_copy(update={"name": HOSTILE, "provenance": provenance})
    changed = {"created": HOSTILE, "config": runs[0].config | {HOSTILE: HOSTILE}, "data": data}
    metadata = runs[0].metadata.model_copy(update=changed)
    hostile = dataclasses.replace(runs[0], name=HOSTILE, metadata=metadata, measurements=measured, missing=(HOSTILE,))
    page = render([hostile, runs[1]])
    found = Elements(page)
    assert len(found.of("script")) == 1 and not found.of("img") and "\x1b" not in page
    assert not any(name.startswith("on") for _, attributes in found.seen for name in attributes)
    assert HOSTILE.split("\x1b")[0] in "".join(found.text)
    assert not re.search(r"(src|href)=['\"]?(https?:|//)", page) and "@import" not in page and "url(" not in page


def test_a_page_without_figures_or_logs(runs, tmp_path):
    bare = dataclasses.replace(runs[0], curves={}, measurements=None, state=None, missing=("no logs",))
    page = Elements(render([bare]))
    assert not page.of("figure") and "plain: no logs" in "".join(page.text)


def test_the_page_of_a_large_run_stays_small(runs):
    measured = runs[0].measurements
    many = tuple(dataclasses.replace(measured.relations[0], name=f"relation number {number}") for number in range(300))
    snapshots, samples = measured.snapshots[:1] * 3000, measured.samples * 50
    large_measured = dataclasses.replace(
        measured, relations=many, relations_left_out=41, snapshots=snapshots, samples=samples
    )
    curve = tuple((epoch, 1 / (1 + epoch)) for epoch in range(1, 5001))
    curves = dict.fromkeys(runs[0].curves, curve)
    large = dataclasses.replace(runs[0], curves=curves, measurements=large_measured)
    page = render([large] * 6)
    assert len(page.encode()) < 2_000_000
    assert "300 most frequent; 41 more are left out" in page and "Every 30th of 5,000 epochs" in page
