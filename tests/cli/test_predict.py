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


@pytest.mark.parametrize("form", ["csv", "PARQUET"])
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
    good = tmp_path / "good.csv"
    good.write_text("subject,relation,object\nRUSSIA,042_Q1,\n")
    lame, before = tmp_path / "lame.csv", trained["events"].read_bytes()
    lame.write_text("subject,relation\nRUSSIA,042_Q1\n")
    empty = tmp_path / "empty.csv"
    empty.write_text("subject,relation,object\n")
    out = ("--out", tmp_path / "out.csv")
    for words, code, message in [
        (("--subject", "RUSSIA"), 2, "--subject given; give two of"),
        ((), 2, "nothing given; give two of"),
        (("--subject", "RUSIA", "--relation", "042_Q1"), 1, "did you mean 'RUSSIA'"),
        (("--subject", "RUSSIA", "--relation", "042_Q1", "--facts", "3"), 2, "not with --facts"),
        # The data of the training, which are read unless others are named.
        (("--all-scores", trained["events"]), 2, "is read and would be written over"),
        (("--queries", good, "--out", trained["events"]), 2, "is read and would be written over"),
        (("--queries", bad), 2, "--queries and --out go together"),
        (("--queries", bad, *out), 2, "holds whole facts, whose probability an event model says"),
        (("--queries", lame, *out), 1, "missing columns object"),
        (("--queries", empty, *out), 1, "no queries in the file"),
        (("--queries", tmp_path / "none.csv", *out), 1, "no table that can be read"),
        (("--subject", "RUSSIA", "--relation", "042_Q1", "--at", "soon"), 1, "not a date or time"),
        (("--subject", "RUSSIA", "--relation", "042_Q1", "--at", "2001-01-01"), 1, "nothing is known before"),
    ]:
        result = run("predict", checkpoint, *words)
        assert result.exit_code == code and message in result.stderr, (words, result.stderr)
        assert result.stderr.count("error:") == 1 and result.stdout == ""
    assert not (tmp_path / "out.csv").exists() and trained["events"].read_bytes() == before


@pytest.fixture(scope="module")
def with_events(trained, tmp_path_factory):
    """Event models of the same table: rates beside the checkpoint, and rates alone; and what the trainings said."""
    place = tmp_path_factory.mktemp("events")
    words = ("--data-path", trained["events"], "--num-days", "0", "--epochs", "1", "--set", "rate_hidden=4")
    made = {}
    for name, kind in (("joint", ("--events", trained["checkpoint"])), ("rates", ("--model", "events"))):
        result = call_app("train", *kind, *words, "--model-dir", place / name, "--logdir", place / "runs")
        assert result.exit_code == 0, result.output
        made[name] = place / name / "tirgn_best.npz", result
    return made


@pytest.mark.ci
def test_events_are_trained_judged_and_asked_for(run, trained, with_events):
    checkpoint, (events, made) = trained["checkpoint"], with_events["joint"]
    assert "Brier skill" in made.stdout and "--events" in made.stdout and "epoch 1/1" in made.stderr
    found = json.loads(run("eval", events, "--events", "--horizon", "2,1", "--split", "valid", "--json").stdout)
    assert [one["horizon"] for one in found["horizons"]] == [1, 2] and found["model_type"] == "evidence-events"
    # It still answers who, as its base does.
    query = ("--subject", "RUSSIA", "--relation", "042_Q1", "--json")
    both = [json.loads(run("predict", one, *query).stdout)["candidates"] for one in (checkpoint, events)]
    assert both[0] == both[1]
    words = ("--facts", "100", "--horizon", "2", "--subject", "RUSSIA", "--json")
    asked = json.loads(run("predict", events, *words).stdout)["facts"]
    # With each of four others in two ways, of which two are known; the data have nobody who acts on himself.
    assert len(asked) == 8 and {fact["subject"] for fact in asked} == {"RUSSIA"}
    assert sorted(fact["kind"] for fact in asked) == ["known"] * 2 + ["novel"] * 6


@pytest.mark.ci
def test_facts_in_order_of_their_lift(run, with_events, tmp_path):
    """The order, the figures in the table, and that it is another order than that by probability."""
    # The later an actor stands in the chain, the rarer are his acts.
    rows = [row for row in chain_of_events(range(12), NAMES) if row[3] // 86_400 % (1 + NAMES.index(row[0])) == 0]
    table = write_event_table(tmp_path / "rare.parquet", rows)
    words = ("predict", with_events["rates"][0], "--data-path", table, "--facts", "5", "--horizon", "7")
    ways = {by: json.loads(run(*words, "--by", by, "--json").stdout) for by in ("lift", "probability")}
    assert ways["lift"]["by"] == "lift" and ways["lift"]["horizon"] == 7
    facts = ways["lift"]["facts"]
    lifts = [fact["lift"] for fact in facts]
    assert len(lifts) == 5 and lifts == sorted(lifts, reverse=True) and lifts[0] > lifts[-1]
    assert lifts == pytest.approx([fact["expected"] / fact["usual"] for fact in facts])
    probabilities = [fact["probability"] for fact in ways["probability"]["facts"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilities != [fact["probability"] for fact in facts]
    shown = run(*words, "--by", "lift").stdout
    places = [shown.find(f"{lift:.1f}x") for lift in lifts]
    assert "facts of the 7 steps from" in shown and "by lift" in shown and -1 not in places
    assert places == sorted(places)


@pytest.mark.ci
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_file_of_facts_gives_their_probabilities(run, trained, with_events, tmp_path, form):
    joint = with_events["joint"][0]
    facts = pl.DataFrame(
        {
            "subject": ["RUSSIA", "russia", "CHINA", "RUSSIA"],
            "relation": ["042_Q1", "190_Q4", "042_Q1", "042_Q1"],
            "object": ["UKRAINE", "POLICE", "CHINA", "UKRAINE"],
        }
    )
    asked, out = tmp_path / f"facts.{form}", tmp_path / f"out.{form}"
    facts.write_csv(asked) if form == "csv" else facts.write_parquet(asked)
    result = run("predict", joint, "--queries", asked, "--out", out, "--horizon", "3")
    assert result.exit_code == 0 and "4 facts within the 3 steps from 2017-12-12 on" in result.stderr, result.stderr
    found = pl.read_csv(out) if form == "csv" else pl.read_parquet(out)
    assert found["query"].to_list() == [1, 2, 3, 4] and found["horizon"].to_list() == [3] * 4
    assert found["subject"].to_list() == ["RUSSIA", "RUSSIA", "CHINA", "RUSSIA"]
    assert found["kind"].to_list() == ["known", "novel", "novel", "known"]
    assert found["usual"].is_null().to_list() == found["lift"].is_null().to_list() == [False, True, True, False]
    probability = found["probability"].to_list()
    assert probability[0] == probability[3] > probability[1] > probability[2] == 0
    # The same as in the list of all facts.
    words = ("--facts", "50", "--horizon", "3", "--subject", "RUSSIA", "--json")
    every = json.loads(run("predict", joint, *words).stdout)["facts"]
    listed = {(fact["relation"], fact["object"]): fact for fact in every}
    for row in found.head(2).iter_rows(named=True):
        same = listed[row["relation"], row["object"]]
        assert row["kind"] == same["kind"] and row["lift"] == pytest.approx(same.get("lift"))
        assert (row["probability"], row["expected"]) == pytest.approx((same["probability"], same["expected"]))
    told = json.loads(run("predict", joint, "--queries", asked, "--out", out, "--json").stdout)
    assert told["queries"] == 4 and told["horizon"] == 1 and told["out"] == str(out)


@pytest.mark.ci
def test_options_that_do_nothing_with_an_event_model_are_refused(run, trained, with_events, tmp_path):
    checkpoint, table = trained["checkpoint"], trained["events"]
    joint, rates = with_events["joint"][0], with_events["rates"][0]
    whole, asked, mixed = (tmp_path / f"{name}.csv" for name in ("whole", "asked", "mixed"))
    whole.write_text("subject,relation,object\nRUSSIA,042_Q1,UKRAINE\n")
    asked.write_text("subject,relation,object\nRUSSIA,042_Q1,\n")
    mixed.write_text("subject,relation,object\nRUSSIA,042_Q1,\n,042_Q1,CHINA\nRUSSIA,042_Q1,UKRAINE\n")
    out, pair = ("--out", tmp_path / "out.csv"), ("--subject", "RUSSIA", "--relation", "042_Q1")
    for command, code, message in (
        (("eval", checkpoint, "--events"), 1, "says nothing of how often events come"),
        (("eval", joint, "--events", "--multi-step"), 2, "--multi-step: not with --events"),
        (("eval", joint, "--events", "--model", "evidence"), 2, "--model: names a model that ranks; not with --events"),
        (("eval", joint, "--events", "--horizon", "0"), 2, "--horizon '0': must be steps from 1 to 30"),
        (("eval", joint, "--events", "--horizon", "7,31"), 2, "--horizon '7,31': must be steps from 1 to 30"),
        (("eval", joint, "--horizon", "7"), 2, "--horizon: of forecasts of events; only with --events"),
        (("eval", rates), 1, "holds event rates alone, which rank no answers"),
        (("compare", rates, "recurrency"), 1, "holds event rates alone, which rank no answers"),
        (("predict", rates, *pair), 1, "holds event rates alone, which rank no answers"),
        (("predict", rates, "--queries", asked, *out), 1, "holds event rates alone, which rank no answers"),
        (("predict", joint, *pair, "--horizon", "7"), 2, "--horizon: only with --facts N or --queries of whole facts"),
        (("predict", joint, *pair, "--by", "lift"), 2, "--by: only with --facts N, of an event model"),
        (("predict", joint, "--queries", whole, *out, "--by", "lift"), 2, "--by: only with --facts N"),
        (
            ("predict", joint, "--queries", asked, *out, "--horizon", "7"),
            2,
            "asked.csv asks who, at one time; only whole",
        ),
        (("predict", joint, "--queries", whole, *out, "--top", "7"), 2, "--top: "),
        (("predict", joint, "--facts", "2", "--top", "7"), 2, "--top: the answers to a query"),
        (("predict", joint, "--facts", "2", "--horizon", "31"), 2, "invalid value for '--horizon'"),
        (("predict", joint, "--queries", mixed, *out), 1, "mixed.csv: row 3 has 0 empty cells, and row 1 has 1;"),
        (
            ("predict", checkpoint, "--queries", whole, *out),
            2,
            "holds whole facts, whose probability an event model says",
        ),
        (
            ("predict", checkpoint, "--facts", "2", "--horizon", "7"),
            2,
            "--horizon: only with --facts and an event model",
        ),
        (("predict", checkpoint, "--facts", "2", "--by", "lift"), 2, "--by: only with --facts and an event model"),
        (("retrain", "--from", joint, "--data-path", table), 2, "holds an event model"),
        (("tune", "--model", "events", "--data-path", table), 2, "events: are selected by another figure than the MRR"),
    ):
        refused = run(*command)
        assert refused.exit_code == code and message in refused.stderr, (command, refused.stderr)
        assert refused.stderr.count("error:") == 1 and refused.stdout == ""
    assert not (tmp_path / "out.csv").exists()
    report = run("report", joint.parent, rates.parent, "--out", tmp_path / "report.html", "--json")
    runs = json.loads(report.stdout)["runs"]
    assert runs[0]["entity"]["mrr"] > 0 and "rank no answers" in runs[1]["missing"][-1]


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
