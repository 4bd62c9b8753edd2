"""`tirgn predict` and `tirgn eval --calibrate`, as a person calls them."""

import json

import polars as pl
import pytest

from tests.cli.cli_helpers import call_app
from tests.helpers import chain_of_events, write_event_table

NAMES = ["RUSSIA", "UKRAINE", "UNITED STATES", "CHINA", "POLICE"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An evidence checkpoint trained on a table of events in which every actor acts on the next."""
    place = tmp_path_factory.mktemp("predict")
    events = write_event_table(place / "events.parquet", chain_of_events(range(12), NAMES))
    words = ("--set", "max_buckets=1", "--embedding-dim", "4", "--set", "evidence_heads=2", "--epochs", "2")
    where = ("--model-dir", place / "models", "--logdir", place / "logs", "--num-days", "0")
    result = call_app("train", "--data-path", events, "--model", "evidence", *words, *where, "--json")
    assert result.exit_code == 0, result.output
    return {"events": events, "checkpoint": place / "models" / "tirgn_best.npz", "place": place}


def test_a_query_is_answered_by_name_with_what_carries_it(run, trained):
    result = run("predict", trained["checkpoint"], "--subject", "russia", "--relation", "042_Q1", "--json")
    found = json.loads(result.stdout)
    assert found["predicted"] == "object" and found["time"] == "2017-12-12" and not found["calibrated"]
    assert len(found["candidates"]) == 5 and abs(sum(c["probability"] for c in found["candidates"]) - 1) < 1e-4
    best = found["candidates"][0]
    assert best["name"] == "UKRAINE" and best["explanation"]["shares"][0]["subject"] == "RUSSIA"
    shown = run("predict", trained["checkpoint"], "--subject", "russia", "--relation", "042_Q1", "--top", "2").stdout
    assert "UKRAINE" in shown and "because" in shown and "last 2017-12-" in shown
    relation = run("predict", trained["checkpoint"], "--subject", "RUSSIA", "--object", "UKRAINE").stdout
    assert "042_Q1" in relation and "probability" in relation
    facts = json.loads(run("predict", trained["checkpoint"], "--facts", "3", "--json").stdout)["facts"]
    assert len(facts) == 3 and {"subject", "relation", "object", "probability", "expected"} == set(facts[0])
    assert "most probable facts of 2017-12-12" in run("predict", trained["checkpoint"], "--facts", "3").stdout


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_file_of_queries_gives_a_file_of_answers(run, trained, tmp_path, form):
    asked = pl.DataFrame(
        {
            "subject": ["RUSSIA", "", " CHINA "],
            "relation": ["042_Q1", "190_Q4", None],
            "object": [None, "UKRAINE", "POLICE"],
        }
    )
    queries, answers = tmp_path / f"queries.{form}", tmp_path / f"answers.{form}"
    asked.write_csv(queries) if form == "csv" else asked.write_parquet(queries)
    words = ("--queries", queries, "--out", answers, "--top", "2", "--at", "2017-12-08")
    result = run("predict", trained["checkpoint"], *words)
    assert "3 queries about 2017-12-08 answered" in result.stderr
    found = pl.read_csv(answers) if form == "csv" else pl.read_parquet(answers)
    assert found["query"].to_list() == [1, 1, 2, 2, 3, 3] and found["rank"].to_list() == [1, 2] * 3
    assert found["predicted"].to_list()[::2] == ["object", "subject", "relation"]
    assert found.null_count().sum_horizontal().item() == 0 and found["probability"].is_between(0, 1).all()


def test_what_cannot_be_answered_is_said_in_a_line(run, trained, tmp_path):
    checkpoint = trained["checkpoint"]
    bad = tmp_path / "bad.csv"
    bad.write_text("subject,relation,object\nRUSSIA,042_Q1,UKRAINE\n")
    lame = tmp_path / "lame.csv"
    lame.write_text("subject,relation\nRUSSIA,042_Q1\n")
    empty = tmp_path / "empty.csv"
    empty.write_text("subject,relation,object\n")
    out = ("--out", tmp_path / "out.csv")
    for words, code, message in [
        (("--subject", "RUSSIA"), 2, "--subject given; give two of"),
        ((), 2, "nothing given; give two of"),
        (("--subject", "RUSIA", "--relation", "042_Q1"), 1, "did you mean 'RUSSIA'"),
        (("--subject", "RUSSIA", "--relation", "042_Q1", "--facts", "3"), 2, "not with --facts"),
        (("--queries", bad), 2, "--queries and --out go together"),
        (("--queries", bad, *out), 1, "row 1 has 0 empty cells"),
        (("--queries", lame, *out), 1, "missing columns object"),
        (("--queries", empty, *out), 1, "no queries in the file"),
        (("--queries", tmp_path / "none.csv", *out), 1, "no table that can be read"),
        (("--subject", "RUSSIA", "--relation", "042_Q1", "--at", "soon"), 1, "not a date or time"),
        (("--subject", "RUSSIA", "--relation", "042_Q1", "--at", "2001-01-01"), 1, "nothing is known before"),
    ]:
        result = run("predict", checkpoint, *words)
        assert result.exit_code == code and message in result.stderr, (words, result.stderr)
        assert result.stderr.count("error:") == 1 and result.stdout == ""
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.ci
def test_events_are_trained_judged_and_asked_for(run, trained, tmp_path):
    checkpoint, table = trained["checkpoint"], trained["events"]
    words = ("--data-path", table, "--num-days", "0", "--epochs", "1", "--set", "rate_hidden=4")
    places = ("--model-dir", tmp_path / "models", "--logdir", tmp_path / "runs")
    made = run("train", "--events", checkpoint, *words, *places)
    assert made.exit_code == 0, made.stderr
    assert "Brier skill" in made.stdout and "--events" in made.stdout
    events = tmp_path / "models" / "tirgn_best.npz"
    found = json.loads(run("eval", events, "--events", "--horizon", "2,1", "--split", "valid", "--json").stdout)
    assert [one["horizon"] for one in found["horizons"]] == [1, 2] and found["model_type"] == "evidence-events"
    # It still answers who, as its base does.
    query = ("--subject", "RUSSIA", "--relation", "042_Q1", "--json")
    both = [json.loads(run("predict", one, *query).stdout)["candidates"] for one in (checkpoint, events)]
    assert both[0] == both[1]
    words = ("--facts", "3", "--horizon", "2", "--subject", "RUSSIA", "--json")
    asked = json.loads(run("predict", events, *words).stdout)
    assert len(asked["facts"]) == 3 and {fact["subject"] for fact in asked["facts"]} == {"RUSSIA"}
    shown = run("predict", events, "--facts", "2", "--by", "lift")
    assert shown.exit_code == 0 and "by lift" in shown.stdout
    for command, message in (
        (("eval", checkpoint, "--events"), "says nothing of how often events come"),
        (("eval", events, "--events", "--multi-step"), "--multi-step: not with --events"),
        (("eval", events, "--events", "--horizon", "0"), "must be snapshots from 1 to"),
        (("predict", checkpoint, "--facts", "2", "--horizon", "7"), "--horizon: only with --facts and an event model"),
        (("retrain", "--from", events, "--data-path", table), "holds an event model"),
    ):
        refused = run(*command)
        assert refused.exit_code and message in refused.stderr, (command, refused.stderr)


def test_calibration_is_kept_and_used(run, trained, tmp_path):
    checkpoint = tmp_path / "copy.npz"
    checkpoint.write_bytes(trained["checkpoint"].read_bytes())
    query = ("--subject", "RUSSIA", "--relation", "042_Q1", "--json")
    before = json.loads(run("predict", checkpoint, *query).stdout)
    found = json.loads(run("eval", checkpoint, "--calibrate", "--json").stdout)
    temperature = found["calibrated"]["temperature"]["entity"]
    assert found["calibrated"]["nll_after"]["entity"] <= found["calibrated"]["nll_before"]["entity"]
    assert {"brier", "ece", "reliability"} <= set(found["calibrated"]) and abs(temperature - 1) > 1e-3
    after = json.loads(run("predict", checkpoint, *query).stdout)
    assert after["calibrated"]
    p, q = ([c["probability"] for c in x["candidates"]] for x in (before, after))
    scaled = [x ** (1 / temperature) for x in p]
    assert q == pytest.approx([x / sum(scaled) for x in scaled], rel=1e-3)
    shown = run("eval", checkpoint, "--calibrate").stdout
    assert "calibrated: temperature" in shown and "with it: Brier score" in shown
