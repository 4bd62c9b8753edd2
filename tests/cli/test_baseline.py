"""`tirgn baseline`: its figures and parameters, and what it refuses."""

import json

import pytest


@pytest.mark.ci
def test_baseline(run, folder):
    data = ("--data-path", folder)
    result = run("baseline", "recurrency", *data, "--json")
    assert result.exit_code == 0 and result.stderr == ""
    found = json.loads(result.stdout)
    assert found["model_type"] == "recurrency" and found["variant"] == "combined"
    assert found["dataset"]["name"] == "tiny" and found["setting"] == "single-step"
    assert found["parameters"]["chosen"] == "searched on valid, per relation"
    given = run("baseline", "recurrency", *data, "--decay", "0.5", "--share", "1", "--json")
    assert json.loads(given.stdout)["parameters"] == {"decay": 0.5, "share": 1.0, "chosen": "given"}
    relaxed = run("baseline", "recurrency", *data, "--decay", "0.5", "--share", "1", "--variant", "relaxed", "--json")
    assert json.loads(relaxed.stdout)["parameters"]["share"] == 0.0
    text = run("baseline", "recurrency", *data, "--variant", "strict", "--one-for-all", "--multi-step").stdout
    for words in ("recurrency baseline, strict", "multi-step", "one for all relations", "entity, raw"):
        assert words in text


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--decay", "1"), "give both"),
        (("--variant", "loose"), "--variant 'loose': must be one of combined, strict, relaxed"),
        (("--decay", "-1", "--share", "1"), "decay = -1.0: must be a finite number, at least 0"),
        (("--decay", "1", "--share", "2"), "share = 2.0: must be between 0 and 1"),
        (("--decay", "inf", "--share", "nan"), "decay = inf: must be a finite number"),
        (("--decay", "1", "--share", "nan"), "share = nan: must be between 0 and 1"),
        (("--decay", "1", "--share", "1", "--one-for-all"), "--one-for-all: for the search, which"),
    ],
)
def test_baseline_refuses(run, folder, arguments, message):
    result = run("baseline", "recurrency", "--data-path", folder, *arguments)
    assert result.exit_code == 2 and message in result.stderr and result.stderr.count("\n") == 1
