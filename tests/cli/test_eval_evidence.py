"""`tirgn train --model evidence` and `tirgn eval --explain`, as a person calls them."""

import json

import pytest

from tests.cli.cli_helpers import SMALL, call_app, write_folder

TINY = (
    "--set",
    "max_buckets=1",
    "--embedding-dim",
    "4",
    "--set",
    "evidence_heads=2",
    "--set",
    "evidence_hidden=3",
    "--epochs",
    "2",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("evidence")
    folder = write_folder(place / "tiny")
    places = ("--model-dir", place / "models", "--logdir", place / "logs")
    result = call_app("train", "--data-path", folder, "--model", "evidence", *TINY, *places, "--json")
    assert result.exit_code == 0, result.output
    return {"folder": folder, "result": result, "checkpoint": place / "models" / "tirgn_best.npz"}


def test_it_trains_with_its_own_preset(trained):
    result = json.loads(trained["result"].stdout)
    assert result["model_type"] == "evidence" and result["epochs_trained"] == 2
    config = json.loads(trained["checkpoint"].with_suffix(".json").read_text())["config"]
    assert config["learning_rate"] == 5e-3 and config["lr_schedule"] == "cosine" and config["embedding_dim"] == 4
    assert "evidence: " in trained["result"].stderr and "past triples" in trained["result"].stderr


def test_explanations_as_json(run, trained):
    result = run("eval", trained["checkpoint"], "--model", "evidence", "--explain", "5", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["setting"] == "single-step" and 0 <= document["calibration"]["ece"] <= 1
    assert sum(row["queries"] for row in document["calibration"]["reliability"]) == 12
    assert len(document["explanations"]) == 5
    for forecast in document["explanations"]:
        assert sum(share["share"] for share in forecast["shares"]) == pytest.approx(1, rel=1e-4)
        assert forecast["happened_probability"] <= forecast["probability"] + 1e-9
        assert forecast["predicted"] in ("subject", "object")
    assert any(share["kind"] == "event" for f in document["explanations"] for share in f["shares"])


def test_more_explanations_than_queries_and_multi_step(run, trained):
    result = run("eval", trained["checkpoint"], "--explain", "100", "--multi-step", "--json")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["explanations"]) == 12


def test_explanations_for_people(run, trained):
    result = run("eval", trained["checkpoint"], "--explain", "2")
    assert result.exit_code == 0, result.output
    for words in ("calibration: Brier score", "source", "forecast: ", "happened: ", "background", " %"):
        assert words in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines() if line.startswith(("│", "┃")))


def test_compare_with_the_baseline(run, trained):
    result = run("compare", trained["checkpoint"], "recurrency", "--json")
    assert result.exit_code == 0, result.output
    assert [model["model_type"] for model in json.loads(result.stdout)["models"]] == ["evidence", "recurrency"]


@pytest.mark.ci
def test_what_it_cannot_do_is_said(run, trained, tmp_path):
    other = tmp_path / "other"
    places = ("--model-dir", other, "--logdir", tmp_path / "logs", "--quiet")
    result = run("train", "--data-path", trained["folder"], "--epochs", "1", *SMALL, *places)
    assert result.exit_code == 0, result.output
    cases = [
        (
            ("train", "--data-path", "sim", "--model", "evidence", "--recipe", "fast"),
            2,
            "--recipe fast: a way to train",
        ),
        (("eval", other / "tirgn_best.npz", "--explain", "1"), 2, "holds tirgn, which cannot; train with --model"),
        (("eval", trained["checkpoint"], "--model", "tirgn"), 1, "'evidence', not 'tirgn'"),
        (("eval", trained["checkpoint"], "--multi-step", "--feed-back"), 2, "no window to feed forecasts back to"),
        (("vram-probe", "--data-path", "sim", "--preset", "evidence"), 2, "knows tirgn and regcn, not evidence"),
    ]
    for arguments, code, message in cases:
        result = run(*arguments)
        assert result.exit_code == code and message in " ".join(result.stderr.split()), result.output
