"""`tirgn audit`: functions and checkpoints, exit codes, what is shown."""

import json

import pytest

HONEST = """
import numpy as np

def forecast(request):
    past = request.facts[request.facts[:, 3] < request.time]
    seen = np.zeros((request.num_entities, 2 * request.num_relations, request.num_entities))
    np.add.at(seen, (past[:, 0], past[:, 1], past[:, 2]), 1)
    np.add.at(seen, (past[:, 2], past[:, 1] + request.num_relations, past[:, 0]), 1)
    return seen[tuple(request.queries.T)]

def leak(request):
    return forecast(request) + np.bincount(request.queries[:, 0], minlength=request.num_entities) / 8

def optimistic(request, scores, answers):
    return 1 + (scores > scores[np.arange(len(answers)), answers][:, None]).sum(1)

def with_ids(request):
    return forecast(request) + np.arange(request.num_entities) / 64
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "audited_here.py").write_text(HONEST)
    monkeypatch.chdir(tmp_path)
    return "audited_here"


def checks(result):
    return {(one["of"], one["check"], one["change"]): one for one in json.loads(result.stdout)["checks"]}


def test_an_honest_function_leaves_with_0(run, module, folder):
    result = run("audit", "--model", f"{module}:forecast", "--data-path", folder)
    assert result.exit_code == 0, result.output
    assert "clean: nothing moved" in result.stdout and "queries: one direction" in result.stdout
    assert "not checked: ranks, ties, ids: no ranking protocol was given" in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines() if line[:1] in "┏┃│└")


def test_a_leak_leaves_with_1_and_is_told_with_an_example(run, module, folder):
    command = ("audit", "--model", f"{module}:leak", "--ranks", f"{module}:optimistic", "--data-path", folder)
    result = run(*command)
    assert result.exit_code == 1 and not result.stderr
    assert "NOT clean: 4 of 15 checks" in result.stdout
    assert "queries, alone: " in result.stdout and " is ranked " in result.stdout
    found = checks(run(*command, "--json"))
    moved = {key for key, one in found.items() if one["status"] == "moved"}
    assert moved == {
        ("scores", "queries", "alone"),
        ("scores", "queries", "one direction"),
        ("scores", "queries", "false ones added"),
        ("ranks", "ties", "equal scores"),
    }
    one = found["scores", "queries", "alone"]
    assert one["max_difference"] > 0.1 and one["example"]["relation"] in "01" and one["tolerance"] == 1e-6


def test_the_options_reach_the_audit(run, module, folder):
    given = (
        "audit",
        "--data-path",
        folder,
        "--snapshots",
        1,
        "--queries",
        2,
        "--alone",
        1,
        "--split",
        "valid",
        "--json",
    )
    document = json.loads(run(*given, "--model", f"{module}:with_ids", "--fixed-ids", "--facts", "past").stdout)
    assert document["clean"] and document["facts"] == "past" and document["split"] == "valid"
    assert document["times"] == [8] and document["model"] == f"{module}:with_ids"
    left = {one["check"] for one in document["checks"] if one["status"] == "not checked"}
    assert left == {"facts after t", "facts at t", "ids", "ties, ids"}
    asked = {(one["check"], one["change"]): one.get("queries") for one in document["checks"]}
    assert asked["queries", "permuted"] == 4 and asked["queries", "alone"] == 1
    other = run(*given, "--model", f"{module}:with_ids", "--tolerance", 1, "--seed", 3)
    assert other.exit_code == 0 and {one["tolerance"] for one in json.loads(other.stdout)["checks"][:-1]} == {1.0}


@pytest.mark.ci
def test_a_checkpoint_is_audited_on_its_own_data(run, checkpoint):
    result = run("audit", checkpoint, "--snapshots", 1, "--alone", 2, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["model"] == "tirgn" and {one["of"] for one in document["checks"]} == {"scores", "ranks", "figures"}
    assert {one["status"] for one in document["checks"]} == {"clean"}
