"""`tirgn explain`: forecasts with the events behind them, and the rules that an evidence model has learnt."""

import json

import pytest

pytestmark = pytest.mark.ci  # a model of evidence is trained


def test_forecasts_are_those_that_an_evaluation_explains(run, evidence):
    result = run("explain", evidence[0], "--forecasts", "4", "--split", "valid", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    evaluated = json.loads(run("eval", evidence[0], "--split", "valid", "--explain", "4", "--json").stdout)
    assert document["explanations"] == evaluated["explanations"] and len(document["explanations"]) == 4
    assert document["checksum_matches"] and (document["split"], document["model_type"]) == ("valid", "evidence")


def test_three_forecasts_for_people(run, evidence):
    result = run("explain", evidence[0])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("happened: ") == 3 and "sha256" in result.stdout and "background" in result.stdout


def test_rules_as_json(run, evidence):
    result = run("explain", evidence[0], "--rules", "--top", "3", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["min_support"], document["unit"], document["repeats"]) == (10, "step", True)
    assert len(document["rules"]) == 3 <= document["found"] and 0 < document["events"] < 1
    for rule in document["rules"]:
        assert rule["statement"].startswith(f"{rule['words']}: ") and "(support " in rule["statement"]
    # In this data, every fact comes again after two steps.
    (again,) = (rule for rule in document["rules"] if rule["after"] == ["A", "0", "B"])
    assert again["words"] == "After A - 0 - B, the same again 2 to 7 steps later"
    assert (again["from"], again["to"], again["relation"], again["kind"]) == (2, 7, "0", "event")
    assert (again["valid"]["support"], again["valid"]["confidence"]) == (12, 1)
    learnt = [rule["learnt"] for rule in document["rules"]]
    assert learnt == sorted(learnt, reverse=True)
    assert document["test"]["answers"] == 12 and 0 <= document["test"]["coverage"] <= 1
    assert document["checksum_matches"] and document["dataset"]["facts"] == 60


def test_rules_for_people(run, evidence):
    result = run("explain", evidence[0], "--rules")
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    for words in ("strongest of", "learnt by age: ", "past events of the two carry", "on test, these rules apply to"):
        assert words in text
    assert all(len(line) <= 80 for line in result.stdout.splitlines() if line.startswith(("│", "┃")))


def test_rules_for_one_relation(run, evidence):
    shared = ("--rules", "--min-support", "1", "--top", "99", "--json")
    # On the only day of valid, nothing but relation 0 happens.
    every, none, others = (
        json.loads(run("explain", evidence[0], *shared, *options).stdout)
        for options in ((), ("--relation", "1"), ("--relation", "0", "--no-repeats"))
    )
    assert {rule["relation"] for rule in every["rules"]} == {"0"} and "only" not in every
    assert (none["rules"], none["only"]) == ([], "1")
    assert others["found"] < every["found"] == len(every["rules"]) and not others["repeats"]
    assert all(rule["kind"] == "event" and rule["after"] != ["A", "0", "B"] for rule in others["rules"])


def test_no_rule_is_said(run, evidence):
    options = ("--rules", "--min-support", "1000")
    result = run("explain", evidence[0], *options)
    assert result.exit_code == 0 and "no rule applies 1,000 times on valid" in result.stdout
    assert json.loads(run("explain", evidence[0], *options, "--json").stdout)["rules"] == []


@pytest.mark.parametrize(
    "options, code, message",
    [
        (("--top", "3"), 2, "--top: only with --rules"),
        (("--relation", "1"), 2, "--relation: only with --rules"),
        (("--min-support", "3"), 2, "--min-support: only with --rules"),
        (("--no-repeats",), 2, "--no-repeats: only with --rules"),
        (("--rules", "--forecasts", "2"), 2, "--forecasts: not with --rules"),
        (("--rules", "--split", "valid"), 2, "--split: not with --rules"),
        (("--split", "train"), 2, "--split 'train': must be one of valid, test"),
        (("--rules", "--relation", "7"), 1, "relation '7' is not known"),
    ],
)
def test_options_that_do_nothing_and_names_that_are_not_known(run, evidence, options, code, message):
    result = run("explain", evidence[0], *options)
    assert result.exit_code == code and message in " ".join(result.stderr.split()), result.output
    assert not result.stdout


def test_a_model_without_evidence_is_refused(run, checkpoint):
    for options in ((), ("--rules",)):
        result = run("explain", checkpoint, *options)
        assert result.exit_code == 2, result.output
        assert "explain: " in result.stderr and "holds tirgn, which cannot" in " ".join(result.stderr.split())
