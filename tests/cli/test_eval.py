"""`tirgn eval`: figures, settings and explanations, as a document and as tables, and what it refuses."""

import json
import shutil

import pytest

from tests.cli.cli_helpers import measured

METRICS = {"mrr", "hits_at_1", "hits_at_3", "hits_at_10", "nll"}


def test_eval(run, trained, checkpoint):
    told = json.loads(trained[1].stdout)
    result = run("eval", checkpoint, "--json")
    found = measured(result)
    assert result.stderr == ""
    assert found["dataset"] == told["dataset"]
    assert (found["split"], found["setting"], found["filter"]) == ("test", "single-step", "time")
    assert found["checksum_matches"] is True
    for part in ("entity", "entity_raw", "relation", "relation_raw", "object", "subject"):
        assert METRICS - ({"nll"} if part.endswith("raw") else set()) <= set(found[part])
        assert 0 < found[part]["mrr"] <= 1
    assert [set(row) for row in found["snapshots"]] == [{"time", "queries", "mrr"}]
    assert found["seconds"] > 0
    assert found["entity"]["mrr"] == pytest.approx(told["test"]["entity"]["mrr"])

    valid = measured(run("eval", checkpoint, "--split", "valid", "--json"))
    assert valid["entity"]["mrr"] == pytest.approx(told["best_mrr"])


def test_eval_shows_a_table(run, checkpoint):
    result = run("eval", checkpoint)
    assert result.exit_code == 0, result.output
    for word in ("tiny: 60 facts", "entity, raw", "subject", "relation, raw", "MRR", "Hits@10", "single-step"):
        assert word in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines()[1:])


def test_a_copied_checkpoint_needs_only_its_npz(run, checkpoint, tmp_path):
    copy = shutil.copy(checkpoint, tmp_path / "copy.npz")
    assert measured(run("eval", copy, "--json"))["checkpoint"] == str(copy)


def test_a_cut_off_checkpoint_is_one_line(run, checkpoint, tmp_path):
    cut = tmp_path / "cut.npz"
    cut.write_bytes(checkpoint.read_bytes()[:-500])
    result = run("eval", cut)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert str(cut) in result.stderr


@pytest.mark.ci
def test_a_checkpoint_of_another_model_is_refused(run, checkpoint, regcn):
    for place, held, asked in ((checkpoint, "tirgn", "regcn"), (regcn, "regcn", "tirgn")):
        result = run("eval", place, "--model", asked)
        assert result.exit_code == 1
        assert f"holds a model of type '{held}', not '{asked}'" in result.stderr
        assert run("eval", place, "--model", held).exit_code == 0


def test_a_model_that_does_not_exist(run, checkpoint):
    result = run("eval", checkpoint, "--model", "regnc")
    assert result.exit_code == 2 and "--model 'regnc': must be one of tirgn, regcn" in result.stderr


@pytest.mark.ci
def test_multi_step(run, checkpoint):
    found = json.loads(run("eval", checkpoint, "--multi-step", "--json").stdout)
    assert found["setting"] == "multi-step" and found["model_type"] == "tirgn"
    assert "multi-step" in run("eval", checkpoint, "--multi-step").stdout


@pytest.mark.ci
def test_feed_back(run, regcn):
    found = json.loads(run("eval", regcn, "--multi-step", "--feed-back", "--json").stdout)
    assert found["setting"] == "multi-step, fed back" and 0 < found["entity"]["mrr"] <= 1
    result = run("eval", regcn, "--feed-back")
    assert result.exit_code == 2 and "--feed-back: only with --multi-step" in result.stderr


def test_explanations_as_json(run, evidence):
    result = run("eval", evidence[0], "--model", "evidence", "--explain", "5", "--json")
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


def test_more_explanations_than_queries_and_multi_step(run, evidence):
    result = run("eval", evidence[0], "--explain", "100", "--multi-step", "--json")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["explanations"]) == 12


def test_explanations_for_people(run, evidence):
    result = run("eval", evidence[0], "--explain", "2")
    assert result.exit_code == 0, result.output
    for words in ("calibration: Brier score", "source", "forecast: ", "happened: ", "background", " %"):
        assert words in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines() if line.startswith(("│", "┃")))


def test_what_it_cannot_do_is_said(run, checkpoint, evidence):
    cases = [
        (
            ("train", "--data-path", "sim", "--model", "evidence", "--recipe", "fast"),
            2,
            "--recipe fast: a way to train",
        ),
        (("eval", checkpoint, "--explain", "1"), 2, "holds tirgn, which cannot; train with --model"),
        (("eval", evidence[0], "--model", "tirgn"), 1, "'evidence', not 'tirgn'"),
        (("eval", evidence[0], "--multi-step", "--feed-back"), 2, "no window to feed forecasts back to"),
        (("vram-probe", "--data-path", "sim", "--preset", "evidence"), 2, "knows tirgn and regcn, not evidence"),
    ]
    for arguments, code, message in cases:
        result = run(*arguments)
        assert result.exit_code == code and message in " ".join(result.stderr.split()), result.output
