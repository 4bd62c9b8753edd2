"""`tirgn compare`, as a person calls it."""

import json

import pytest

from tests.cli.cli_helpers import write_folder

pytestmark = pytest.mark.ci


@pytest.fixture
def places(trained, checkpoint, regcn) -> dict:
    """The data and the checkpoints of TiRGN and RE-GCN that were trained on them."""
    return {"folder": trained[0] / "tiny", "tirgn": checkpoint, "regcn": regcn}


def test_compare(run, places, tmp_path):
    out = tmp_path / "reports" / "comparison_report.json"
    result = run("compare", places["tirgn"], places["regcn"], "--out", out, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == json.loads(out.read_text())
    assert [model["model_type"] for model in report["models"]] == ["tirgn", "regcn"]
    assert report["dataset"]["name"] == "tiny" and report["threshold"] == -0.05
    assert sum(part["queries"] for part in report["strata"]["recurrence"]) == 12
    assert list(out.parent.iterdir()) == [out]


def test_compare_with_the_baseline(run, evidence):
    result = run("compare", evidence[0], "recurrency", "--json")
    assert result.exit_code == 0, result.output
    assert [model["model_type"] for model in json.loads(result.stdout)["models"]] == ["evidence", "recurrency"]


def test_compare_with_the_baseline_for_people(run, places):
    result = run("compare", "recurrency", places["tirgn"], places["regcn"], "recurrency:relaxed")
    assert result.exit_code == 0, result.output
    for words in ("A: recurrency (recurrency)", "exact recurrence", "subject", "passed: A's MRR is"):
        assert words in result.stdout
    assert result.stdout.count("Comparison") == 3
    assert all(len(line) <= 80 for line in result.stdout.splitlines() if line.startswith(("│", "┃")))


def test_compare_baselines_on_named_data(run, places):
    result = run(
        "compare", "recurrency", "recurrency:strict", "--data-path", places["folder"], "--multi-step", "--json"
    )
    report = json.loads(result.stdout)
    assert report["models"][0]["setting"] == "multi-step"


def test_compare_several_passes_only_if_all_do(run, places):
    result = run("compare", places["tirgn"], "recurrency", "recurrency", "--threshold", "99", "--json")
    report = json.loads(result.stdout)
    assert len(report["comparisons"]) == 2 and report["passed"] is False


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (("recurrency",), 2, "compare needs two"),
        (("recurrency", "recurrency:strict"), 2, "give --data-path"),
        (("recurrency", "recurrency:loose", "--data-path", "FOLDER"), 2, "variants of recurrency are combined"),
        (("recurrency", "nowhere.npz", "--data-path", "FOLDER"), 1, "nowhere.npz"),
        (("recurrency", "CKPT", "--split", "train"), 2, "--split 'train': must be one of valid, test"),
        (("recurrency", "CKPT", "--threshold", "-500"), 2, "--threshold -500: must be between -100 and 100"),
        (("recurrency", "CKPT", "--out", "FOLDER"), 2, "cannot be written"),
        (("recurrency", "CKPT", "--out", "CKPT"), 2, "is read and would be written over"),
    ],
)
def test_compare_refuses(run, places, arguments, code, message):
    words = {"FOLDER": places["folder"], "CKPT": places["tirgn"]}
    result = run("compare", *(words.get(word, word) for word in arguments))
    assert result.exit_code == code and message in result.stderr
    assert result.stderr.count("\n") == 1 and result.stdout == ""


def test_checkpoints_of_other_facts_are_told(run, places, tmp_path):
    other = write_folder(tmp_path / "tiny")
    (other / "test.txt").write_text("0\t0\t1\t9\n")
    result = run("compare", places["tirgn"], places["regcn"], "--data-path", other, "--json")
    assert result.exit_code == 0 and result.stderr.count("CHECKSUM DIFFERS") == 2
    assert [model["checksum_matches"] for model in json.loads(result.stdout)["models"]] == [False, False]


def test_a_name_does_not_steer_the_terminal(run, places, tmp_path):
    folder = write_folder(tmp_path / "tiny")
    (folder / "relation2id.txt").write_text("calls\t0\nmeets\x1b[2J\t1\n")
    result = run("compare", "recurrency", "recurrency:strict", "--data-path", folder)
    assert result.exit_code == 0 and "\x1b" not in result.stdout
    assert "meets\\x1b[2J" in result.stdout
