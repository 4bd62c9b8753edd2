"""`tirgn compare`, `tirgn baseline` and multi-step evaluation, as a person calls them."""

import json

import pytest

from tests.cli.called import SMALL, call_app, write_folder

pytestmark = pytest.mark.ci


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """{model: checkpoint} of TiRGN and RE-GCN on the same small data."""
    place = tmp_path_factory.mktemp("compared")
    folder = write_folder(place / "tiny")
    checkpoints = {"folder": folder}
    for model in ("tirgn", "regcn"):
        models = place / model
        places = ("--model-dir", models, "--logdir", place / "logs" / model, "--quiet", "--json")
        result = call_app("train", "--data-path", folder, "--model", model, "--epochs", "1", *SMALL, *places)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["model_type"] == model
        checkpoints[model] = models / "tirgn_best.npz"
    return checkpoints


def test_compare(run, trained, tmp_path):
    out = tmp_path / "reports" / "comparison_report.json"
    result = run("compare", trained["tirgn"], trained["regcn"], "--out", out, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == json.loads(out.read_text())
    assert [model["model_type"] for model in report["models"]] == ["tirgn", "regcn"]
    assert report["dataset"]["name"] == "tiny" and report["threshold"] == -0.05
    assert sum(part["questions"] for part in report["strata"]["recurrence"]) == 12
    assert list(out.parent.iterdir()) == [out]


def test_compare_with_the_baseline_for_people(run, trained):
    result = run("compare", "recurrency", trained["tirgn"], trained["regcn"], "recurrency:relaxed")
    assert result.exit_code == 0, result.output
    for words in ("A: recurrency (recurrency)", "exact recurrence", "subject", "passed: A's MRR is"):
        assert words in result.stdout
    assert result.stdout.count("Comparison") == 3
    assert all(len(line) <= 80 for line in result.stdout.splitlines() if line.startswith(("│", "┃")))


def test_compare_baselines_on_named_data(run, trained):
    result = run(
        "compare", "recurrency", "recurrency:strict", "--data-path", trained["folder"], "--multi-step", "--json"
    )
    report = json.loads(result.stdout)
    assert report["models"][0]["setting"] == "multi-step"


def test_compare_several_passes_only_if_all_do(run, trained):
    result = run("compare", trained["tirgn"], "recurrency", "recurrency", "--threshold", "99", "--json")
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
    ],
)
def test_compare_refuses(run, trained, arguments, code, message):
    places = {"FOLDER": trained["folder"], "CKPT": trained["tirgn"]}
    result = run("compare", *(places.get(word, word) for word in arguments))
    assert result.exit_code == code and message in result.stderr
    assert result.stderr.count("\n") == 1 and result.stdout == ""


def test_a_checkpoint_of_another_model_is_refused(run, trained):
    for held, asked in (("tirgn", "regcn"), ("regcn", "tirgn")):
        result = run("eval", trained[held], "--model", asked)
        assert result.exit_code == 1
        assert f"holds a model of type '{held}', not '{asked}'" in result.stderr
        assert run("eval", trained[held], "--model", held).exit_code == 0


def test_a_model_that_does_not_exist(run, trained):
    result = run("eval", trained["tirgn"], "--model", "regnc")
    assert result.exit_code == 2 and "--model 'regnc': must be one of tirgn, regcn" in result.stderr


def test_checkpoints_of_other_facts_are_told(run, trained, tmp_path):
    other = write_folder(tmp_path / "tiny")
    (other / "test.txt").write_text("0\t0\t1\t9\n")
    result = run("compare", trained["tirgn"], trained["regcn"], "--data-path", other, "--json")
    assert result.exit_code == 0 and result.stderr.count("CHECKSUM DIFFERS") == 2
    assert [model["checksum_matches"] for model in json.loads(result.stdout)["models"]] == [False, False]


def test_a_name_does_not_steer_the_terminal(run, trained, tmp_path):
    folder = write_folder(tmp_path / "tiny")
    (folder / "relation2id.txt").write_text("calls\t0\nmeets\x1b[2J\t1\n")
    result = run("compare", "recurrency", "recurrency:strict", "--data-path", folder)
    assert result.exit_code == 0 and "\x1b" not in result.stdout
    assert "meets\\x1b[2J" in result.stdout


def test_multi_step(run, trained):
    found = json.loads(run("eval", trained["tirgn"], "--multi-step", "--json").stdout)
    assert found["setting"] == "multi-step" and found["model_type"] == "tirgn"
    assert "multi-step" in run("eval", trained["tirgn"], "--multi-step").stdout


def test_baseline(run, trained):
    data = ("--data-path", trained["folder"])
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
        (("--decay", "1", "--share", "1", "--one-for-all"), "--one-for-all is about the search"),
    ],
)
def test_baseline_refuses(run, trained, arguments, message):
    result = run("baseline", "recurrency", "--data-path", trained["folder"], *arguments)
    assert result.exit_code == 2 and message in result.stderr and result.stderr.count("\n") == 1


def test_feed_back(run, trained):
    found = json.loads(run("eval", trained["regcn"], "--multi-step", "--feed-back", "--json").stdout)
    assert found["setting"] == "multi-step, fed back" and 0 < found["entity"]["mrr"] <= 1
    result = run("eval", trained["regcn"], "--feed-back")
    assert result.exit_code == 2 and "--feed-back: only with --multi-step" in result.stderr
