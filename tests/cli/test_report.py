"""`tirgn report`, as a person calls it."""

import json

import pytest

pytestmark = pytest.mark.ci


@pytest.fixture
def place(trained):
    """The folder of `trained`."""
    return trained[0]


def test_a_page_is_written(run, place, tmp_path):
    out = tmp_path / "new" / "page.html"
    result = run("report", place / "models", "--out", out, "--samples", "3", "--title", "Tiny <b>", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["bytes"] == out.stat().st_size and told["runs"][0]["missing"] == []
    page = out.read_text()
    assert "<title>Tiny &lt;b&gt;</title>" in page and page.count("<article>") == 3
    assert f"{100 * told['runs'][0]['entity']['mrr']:.2f}" in page
    said = run("report", place / "models", "--out", out, "--no-evaluate")
    assert said.exit_code == 0 and said.stdout.startswith(f"{out}: ") and "1 run" in said.stdout
    assert "<article>" not in out.read_text() and "<svg" in out.read_text()


def test_a_page_is_written_where_the_data_are_gone(run, place, tmp_path):
    (place / "tiny").rename(place / "moved")
    try:
        out = tmp_path / "page.html"
        result = run("report", place / "models", "--out", out)
        assert result.exit_code == 0 and "warning: " in result.stderr and "no metrics of this run" in result.stderr
        assert "no metrics: " in out.read_text()
        found = run("report", place / "models", "--out", out, "--data-path", place / "moved")
        assert found.exit_code == 0 and "<article>" in out.read_text() and not found.stderr
    finally:
        (place / "moved").rename(place / "tiny")


def test_evaluations_and_comparisons_stand_beside_a_training(run, place, tmp_path):
    best, report = place / "models" / "tirgn_best.npz", tmp_path / "comparison_report.json"
    evaluated = run("eval", best, "--json")
    (tmp_path / "evaluated.json").write_text(evaluated.stdout)
    counted = run("baseline", "recurrency", "--data-path", place / "tiny", "--json")
    (tmp_path / "counted.json").write_text(counted.stdout)
    assert run("compare", best, "recurrency", "--out", report).exit_code == 0
    given = [place / "models", tmp_path / "evaluated.json", tmp_path / "counted.json", report]
    result = run("report", *given, "--out", tmp_path / "page.html", "--samples", "2", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)["runs"]
    names = [one["name"] for one in told]
    assert [name.partition(" (")[0] for name in names] == ["models", "evaluated", "counted", "models", "recurrency"]
    assert len(set(names)) == len(names)  # the training and the comparison's model are told apart by their places
    mrr = [one["entity"]["mrr"] for one in told]
    assert mrr[0] == pytest.approx(mrr[1]) == pytest.approx(mrr[3]) and mrr[2] == pytest.approx(mrr[4])
    page = (tmp_path / "page.html").read_text()
    assert 'id="comparison"' in page and "not of the same facts" not in page


def test_a_page_does_not_take_the_place_of_what_it_tells(run, place, tmp_path):
    document = tmp_path / "found.json"
    document.write_text(run("eval", place / "models" / "tirgn_best.npz", "--json").stdout)
    before = document.read_bytes()
    result = run("report", document, "--out", document)
    assert result.exit_code == 2 and "is read and would be written over" in result.stderr
    assert document.read_bytes() == before
