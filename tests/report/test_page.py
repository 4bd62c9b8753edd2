"""The page itself: figures as measured, nothing from data that acts, nothing from elsewhere."""

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from tirgn_eqx import evaluate_model, load_model
from tirgn_eqx.report import measure, read_run, render

pytestmark = pytest.mark.ci
VOID = {"meta", "link", "input", "br", "path", "circle", "rect"}
HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">\x1b[2J'


class Elements(HTMLParser):
    """All elements of a page, which must be closed in their order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.seen, self.text = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.seen if name == tag]


def test_figures_are_those_of_the_evaluation(runs, graph):
    model, config, _ = load_model(runs[0].checkpoint)
    evaluation = evaluate_model(model, graph, **config.window())
    measured = runs[0].measured
    assert measured["entity"] == evaluation.entity
    weighted = sum(row["questions"] * row["mrr"] for row in measured["strata"])
    assert weighted / len(evaluation.snapshot) == pytest.approx(evaluation.entity["mrr"])
    assert sum(row["questions"] for row in measured["relations"]) == len(evaluation.snapshot)
    told = Elements(render(runs[:1])).text
    assert f"{100 * evaluation.entity['mrr']:.2f}" in told
    assert measured["reliability"] == evaluation.calibration["calibration"]
    bins = [part for part in told if re.fullmatch(r"0\.\d+ – [01]\.\d+", part)]
    assert len(set(bins)) == len(bins) == len(measured["reliability"]["reliability"])


def test_samples_are_what_the_ranks_are_of(runs, graph):
    for run in runs:
        assert len(run.measured["samples"]) == 4
        for sample in run.measured["samples"]:
            best = [candidate["probability"] for candidate in sample["candidates"]]
            assert best == sorted(best, reverse=True) and sum(best) <= 1 + 1e-5
            assert sample["answer"] in sample["happened"]
            better = sum(p > sample["answer_probability"] * (1 + 1e-5) for p in best)
            others = len(sample["happened"]) - 1  # which the filter leaves out
            assert sample["rank"] >= better + 1 - others
            if sample["rank"] == 1:
                ahead = [one["name"] for one in sample["candidates"][:better]]
                assert set(ahead) <= set(sample["happened"])


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
    # The settings in which the two differ, and no others, are marked.
    rows = re.findall(r'<th scope="row">(\w+)</th>(?:(?!</tr>).)*<td>between the runs', render(runs))
    assert set(rows) == {"model", "logdir"}


def test_what_is_said_of_six_runs_is_said_of_all(runs):
    page = render([dataclasses.replace(runs[0], name=f"a training of number {number}") for number in range(6)])
    ece = runs[0].measured["reliability"]["ece"]
    for number in range(6):
        assert f"number {number}: expected error {ece:.4f}" in page and f"number {number}, all 2 epochs" in page


def test_nothing_comes_from_elsewhere_and_names_do_nothing(runs):
    sample = runs[0].measured["samples"][0]
    sample = sample | {"subject": HOSTILE, "answer": HOSTILE, "happened": [HOSTILE]}
    sample["candidates"] = [candidate | {"name": HOSTILE} for candidate in sample["candidates"]]
    relations = [runs[0].measured["relations"][0] | {"name": HOSTILE}]
    measured = runs[0].measured | {"samples": [sample], "relations": relations}
    described = runs[0].described | {"created": HOSTILE, "config": runs[0].config | {HOSTILE: HOSTILE}}
    described["data"] = runs[0].data | {"name": HOSTILE, "provenance": {"kind": HOSTILE, HOSTILE: HOSTILE}}
    hostile = dataclasses.replace(runs[0], name=HOSTILE, described=described, measured=measured, missing=(HOSTILE,))
    page = render([hostile, runs[1]])
    found = Elements(page)
    assert len(found.of("script")) == 1 and not found.of("img") and "\x1b" not in page
    assert not any(name.startswith("on") for _, attributes in found.seen for name in attributes)
    assert HOSTILE.split("\x1b")[0] in "".join(found.text)
    assert not re.search(r"(src|href)=['\"]?(https?:|//)", page) and "@import" not in page and "url(" not in page


def test_a_page_without_figures_or_logs(runs, tmp_path):
    bare = dataclasses.replace(runs[0], curves={}, measured={}, progress={}, missing=("no logs",))
    page = Elements(render([bare]))
    assert not page.of("figure") and "plain: no logs" in "".join(page.text)


def test_the_page_of_a_large_run_stays_small(runs):
    row, snapshot = runs[0].measured["relations"][0], runs[0].measured["snapshots"][0]
    many = [row | {"name": f"relation number {number}"} for number in range(300)]
    measured = runs[0].measured | {"relations": many, "relations_left_out": 41}
    measured |= {"snapshots": [snapshot] * 3000, "samples": runs[0].measured["samples"] * 50}
    curves = {
        name: dataclasses.replace(curve, points=tuple((epoch, 1 / (1 + epoch)) for epoch in range(1, 5001)))
        for name, curve in runs[0].curves.items()
    }
    large = dataclasses.replace(runs[0], curves=curves, measured=measured)
    page = render([large] * 6)
    assert len(page.encode()) < 2_000_000
    assert "300 most frequent; 41 more are left out" in page and "Every 30th of 5,000 epochs" in page


def test_temperatures_change_probabilities_and_no_rank(runs, graph):
    run = read_run(runs[0].checkpoint.parent)
    model, config, _ = load_model(run.checkpoint)
    cool = measure(model, config, graph, samples=2, temperature={"entity": 0.5, "relation": 1.0})
    assert cool["entity"]["mrr"] == pytest.approx(runs[0].measured["entity"]["mrr"], abs=1e-6)
    assert cool["calibrated"] and cool["entity"]["nll"] != pytest.approx(runs[0].measured["entity"]["nll"], rel=1e-3)
