"""What `eval`, `baseline` and `compare` write, as runs of a page."""

import dataclasses
import json

import pytest

from tirgn_eqx import evaluate_model, load_model
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.evaluate.compare import Entrant, compare
from tirgn_eqx.report import read_all, read_runs, render

pytestmark = pytest.mark.ci


@pytest.fixture(scope="module")
def report(graph, trainings):
    """What `tirgn compare` writes of the two trainings."""
    sides = []
    for name in ("plain", "evidence"):
        place = trainings / name / "tirgn_best.npz"
        model, config, metadata = load_model(place)
        shape = config.window()
        sides.append(Entrant(str(place), metadata["model_type"], evaluate_model(model, graph, **shape)))
    return compare(*sides, resamples=100)


def written(place, document):
    place.write_text(json.dumps(document))
    return place


def test_a_comparison_is_two_runs_and_what_lies_between_them(report, tmp_path):
    runs, (between,) = read_runs(written(tmp_path / "comparison.json", report))
    assert [run.name for run in runs] == ["plain", "evidence"] == [between.first, between.second]
    for side, run in enumerate(runs):
        measured, told = run.measured, report["models"][side]
        assert measured["entity"]["mrr"] == told["entity"]["mrr"] and run.data["facts"] == report["dataset"]["facts"]
        known = [row for row in report["strata"]["recurrence"] if "mrr" in row]
        assert [row["mrr"] for row in measured["strata"]] == [row["mrr"][side] for row in known]
        assert [row["mrr"] for row in measured["snapshots"]] == [r["mrr"][side] for r in report["strata"]["snapshot"]]
        assert measured["object"]["mrr"] == report["strata"]["direction"][0]["mrr"][side]
        assert measured["reliability"]["ece"] == told["calibration"]["ece"]
    assert between.difference["mrr"]["points"] == report["difference"]["mrr"]["points"]
    page = render(runs, None, [between])
    assert f"{report['difference']['mrr']['points']:+.2f}" in page and "Difference of MRR by kind of question" in page
    low, high = report["strata"]["direction"][1]["interval"]
    assert f"{100 * low:+.2f} to {100 * high:+.2f}" in page
    assert 'id="settings"' not in page and 'id="learning"' not in page and "holds figures alone" in page


def test_a_model_in_several_documents_is_one_run(report, tmp_path):
    models = report["models"]
    other = report | {"models": [models[0], models[1] | {"name": "recurrency"}]}
    moved = json.loads(json.dumps(other))  # what is said of the pair must not tell its models apart
    for row in (row for kind in moved["strata"].values() for row in kind if "difference" in row):
        row["difference"] = (row["difference"] or 0) + 0.5
    places = [written(tmp_path / "a.json", report), written(tmp_path / "b.json", moved)]
    runs, between = read_all(places)
    assert [run.name for run in runs] == ["plain", "evidence", "recurrency"]
    assert [(one.first, one.second) for one in between] == [("plain", "evidence"), ("plain", "recurrency")]
    # Another figure makes it another run, which the comparison goes on with under its own name.
    moved["models"][0]["entity"]["mrr"] += 0.01
    runs, between = read_all([places[0], written(tmp_path / "b.json", moved)])
    assert len({run.name for run in runs}) == len(runs) == 4
    assert runs[2].name == between[1].first != between[0].first == runs[0].name
    page = render(runs, None, between)
    assert f"{between[1].first} against recurrency" in page and f"{runs[0].name} against evidence" in page


def test_several_comparisons_share_their_first_model(report, tmp_path):
    other = report | {"models": [report["models"][0], report["models"][1] | {"name": "recurrency"}]}
    document = {"passed": True, "comparisons": [report, other]}
    runs, between = read_runs(written(tmp_path / "all.json", document))
    assert [run.name for run in runs] == ["plain", "evidence", "recurrency"] and len(between) == 2
    page = render(runs, None, between)
    assert page.count('aria-label="Difference of MRR by kind of question, plain – ') == 2


def test_models_in_folders_of_one_name_stay_apart(report, tmp_path):
    sides = [report["models"][1] | {"name": f"{place}/tkg/tirgn_best.npz"} for place in ("one", "two")]
    document = {"comparisons": [report | {"models": [report["models"][0], side]} for side in sides]}
    runs, between = read_runs(written(tmp_path / "all.json", document))
    assert [run.name for run in runs[1:]] == [side["name"] for side in sides] == [one.second for one in between]


def test_an_evaluation_is_a_run(graph, trainings, tmp_path):
    model, config, _ = load_model(trainings / "plain" / "tirgn_best.npz")
    shape = config.window()
    document = evaluate_model(model, graph, split="valid", **shape).to_dict()
    (run,), between = read_runs(written(tmp_path / "valid.json", document))
    assert run.name == "valid" and not between and run.measured["split"] == "valid"
    assert run.measured["entity"]["mrr"] == document["entity"]["mrr"]
    assert len(run.measured["snapshots"]) == len(document["snapshots"])
    page = render([run])
    assert f"{100 * document['entity']['mrr']:.2f}" in page and "valid split" in page


def test_runs_of_other_facts_are_told(report, tmp_path):
    (first, second), _ = read_runs(written(tmp_path / "c.json", report))
    assert "not of the same facts" not in render([first, second])
    foreign = dataclasses.replace(second, described=second.described | {"data": second.data | {"sha256": "other"}})
    assert "not of the same facts" in render([first, foreign])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"models": 3}',
        b'{"models": [{}, {}, {}]}',
        b'{"comparisons": [1, null]}',
        b"\xff\x00",
        b"[" * 9999,
    ],
)
def test_what_holds_no_figures_is_refused(tmp_path, content):
    (tmp_path / "found.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"found\.json: .*give a --model-dir, a checkpoint, or what"):
        read_runs(tmp_path / "found.json")


def _holes(document):
    """`document` with each of its values, at any depth, in turn replaced by what does not belong there."""
    for key in document if isinstance(document, dict) else range(len(document[:2])):
        for foreign in (None, "x", -1, 1e400, [], {"a": []}):
            changed = document.copy()
            changed[key] = foreign
            yield changed
        if isinstance(document[key], dict | list):
            for changed in _holes(document[key]):
                whole = document.copy()
                whole[key] = changed
                yield whole


def test_no_value_that_does_not_belong_breaks_a_page(report, tmp_path):
    small = report | {"strata": {kind: rows[:1] for kind, rows in report["strata"].items()}}
    read = refused = 0
    for changed in _holes(small):
        path = written(tmp_path / "changed.json", changed)
        try:
            page = render(*(lambda runs, between: (runs, None, between))(*read_runs(path)))
        except CheckpointError:
            refused += 1
            continue
        read += 1
        assert page.endswith("</html>\n") and "nan" not in page
    assert read > 300 and refused > 5
