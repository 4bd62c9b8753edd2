"""`tirgn brief`, as a person calls it."""

import json

import pytest

from tests.helpers import chain_of_events, event_model, write_event_table
from tirgn_eqx import load_graph
from tirgn_eqx.checkpoint.models import save_model

NAMES = ["RUSSIA", "UKRAINE", "UNITED STATES", "CHINA", "POLICE"]


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """A checkpoint of event rates with random weights, beside the table of its data."""
    place = tmp_path_factory.mktemp("brief")
    table = write_event_table(place / "events.parquet", chain_of_events(range(40), NAMES))
    graph = load_graph(table, num_days=0)
    return save_model(place / "events", *event_model(graph), graph)


@pytest.mark.ci
def test_a_page_is_written_and_the_same_is_printed_as_data(run, events, tmp_path):
    out = tmp_path / "new" / "page.html"
    words = ("--top", "3", "--actors", "2", "--actor", "police", "--horizon", "2", "--title", "Tiny <b>")
    result = run("brief", events, "--out", out, *words, "--json", "--quiet")
    assert result.exit_code == 0 and result.stderr == "", result.stderr
    told, page = json.loads(result.stdout), out.read_text()
    assert told["bytes"] == out.stat().st_size and told["briefing"] == str(out)
    assert "<title>Tiny &lt;b&gt;</title>" in page
    assert (told["time"], told["until"], told["horizon"]) == ("2018-01-09", "2018-01-10", 2)
    assert [actor["name"] for actor in told["actors"]][0] == "POLICE" and len(told["actors"]) == 3
    best = told["probable"][0]
    assert len(told["probable"]) == 3 and f"{best['subject']} – " in page.replace("<wbr>", "")
    asked = run("predict", events, "--facts", "3", "--horizon", "2", "--json").stdout
    for one, fact in zip(told["probable"], json.loads(asked)["facts"], strict=True):
        assert fact.items() <= one.items() and one["timeline"]["rows"]
    said = run("brief", events, "--out", out, "--at", "2018-01-01")
    assert said.stdout.startswith(f"{out}: ") and "2018-01-01 to 2018-01-07" in said.stdout


@pytest.mark.ci
def test_a_journal_is_shown_then_written_to(run, events, tmp_path):
    out, journal = tmp_path / "page.html", tmp_path / "journal"
    words = ("brief", events, "--out", out, "--journal", journal, "--top", "4", "--horizon", "1")
    first = run(*words, "--at", "2018-01-06")
    assert first.exit_code == 0 and "forecasts written to" in first.stderr, first.stderr
    assert 'id="record"' not in out.read_text()
    again = run(*words, "--at", "2018-01-06", "--json")
    assert "0 forecasts written to" in again.stderr and json.loads(again.stdout)["record"]["counts"]["scored"] == 0
    later = json.loads(run(*words, "--json").stdout)
    counts = later["record"]["counts"]
    assert counts["scored"] == counts["forecasts"] > 0 and 'id="record"' in out.read_text()
    # What this page forecasts waits in the journal, of which `tirgn score` says the same.
    scored = json.loads(run("score", journal, "--json").stdout)
    assert scored["scores"] == later["record"]["scores"] and scored["counts"]["waiting"] > 0


def test_what_cannot_be_briefed_leaves_everything_as_it_was(run, events, checkpoint, tmp_path):
    before, table = events.read_bytes(), events.parent / "events.parquet"
    rows = table.read_bytes()
    page = ("--out", tmp_path / "page.html")
    for words, code, message in [
        ((checkpoint, *page), 1, "says nothing of how often events come"),
        ((events, "--out", events), 2, "is read and would be written over"),
        ((events, "--data-path", table, "--out", table), 2, "is read and would be written over"),
        ((events, "--out", table), 2, "is read and would be written over"),
        ((events, "--out", tmp_path), 2, "cannot be written"),
        ((events, *page, "--journal", table), 2, "cannot be written"),
        ((events, *page, "--actor", "RUSIA"), 1, "did you mean 'RUSSIA'"),
        ((events, *page, "--at", "soon"), 1, "not a date or time"),
        ((events, *page, "--horizon", "0"), 2, "horizon"),
        # This is told before the checkpoint is looked for.
        ((tmp_path / "none.npz", "--out", tmp_path), 2, "cannot be written"),
    ]:
        result = run("brief", *words)
        assert result.exit_code == code and message in result.stderr, (words, result.stderr)
        assert result.stderr.count("error:") == 1 and result.stdout == ""
    assert events.read_bytes() == before and table.read_bytes() == rows and not (tmp_path / "page.html").exists()
