"""`tirgn report`, as a person calls it."""

import json

import pytest
from called import SMALL, call_app, write_folder

pytestmark = pytest.mark.ci


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("report")
    options = ["--data-path", write_folder(place / "tiny"), "--model-dir", place / "models", "--logdir", place / "logs"]
    result = call_app("train", *options, *SMALL, "--epochs", "1")
    assert result.exit_code == 0, result.stderr
    return place


def test_a_page_is_written(run, trained, tmp_path):
    out = tmp_path / "new" / "page.html"
    result = run("report", trained / "models", "--out", out, "--samples", "3", "--title", "Tiny <b>", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["bytes"] == out.stat().st_size and told["runs"][0]["missing"] == []
    page = out.read_text()
    assert "<title>Tiny &lt;b&gt;</title>" in page and page.count("<article>") == 3
    assert f"{100 * told['runs'][0]['entity']['mrr']:.2f}" in page
    said = run("report", trained / "models", "--out", out, "--no-evaluate")
    assert said.exit_code == 0 and said.stdout.startswith(f"{out}: ") and "1 run" in said.stdout
    assert "<article>" not in out.read_text() and "<svg" in out.read_text()


def test_a_page_is_written_where_the_data_are_gone(run, trained, tmp_path):
    (trained / "tiny").rename(trained / "moved")
    try:
        out = tmp_path / "page.html"
        result = run("report", trained / "models", "--out", out)
        assert result.exit_code == 0 and "warning: " in result.stderr and "no figures of this run" in result.stderr
        assert "no figures: " in out.read_text()
        found = run("report", trained / "models", "--out", out, "--data-path", trained / "moved")
        assert found.exit_code == 0 and "<article>" in out.read_text() and not found.stderr
    finally:
        (trained / "moved").rename(trained / "tiny")
