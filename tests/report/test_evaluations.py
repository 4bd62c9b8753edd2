"""Documents of `eval`, `baseline` and `compare`, as runs of a page."""

import dataclasses
import json

import pytest

from tirgn_eqx import evaluate_model, load_model
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.evaluate.compare import EvaluatedModel, compare
from tirgn_eqx.report import read_document, read_documents, render

pytestmark = pytest.mark.ci


@pytest.fixture(scope="module")
def report(graph, trainings):
    """What `tirgn compare` writes of the two trainings."""
    sides = []
    for name in ("plain", "evidence"):
        place = trainings / name / "tirgn_best.npz"
        model, config, metadata = load_model(place)
        shape = config.window()
        sides.append(EvaluatedModel(str(place), metadata.model_type, evaluate_model(model, graph, **shape)))
    return compare(*sides, resamples=100).to_dict()


def written(place, document):
    place.write_text(json.dumps(document))
    return place


def test_a_comparison_is_two_runs_and_what_lies_between_them(report, tmp_path):
    runs, (between,) = read_document(written(tmp_path / "comparison.json", report))
    assert [run.name for run in runs] == ["plain", "evidence"] == [between.first, between.second]
    for side, run in enumerate(runs):
        measured, told = run.measurements, report["models"][side]
        assert measured.metrics["entity"].mrr == told["entity"]["mrr"]
        assert run.data.facts == report["dataset"]["facts"]
        known = [row for row in report["strata"]["recurrence"] if "mrr" in row]
        assert [row.metrics.mrr for row in measured.strata] == [row["mrr"][side] for row in known]
        assert [row.mrr for row in measured.snapshots] == [row["mrr"][side] for row in report["strata"]["snapshot"]]
        assert measured.metrics["object"].mrr == report["strata"]["direction"][0]["mrr"][side]
        assert measured.calibration.ece == told["calibration"]["ece"]
    assert between.document.difference["mrr"].points == report["difference"]["mrr"]["points"]
    page = render(runs, None, [between])
    assert f"{report['difference']['mrr']['points']:+.2f}" in page and "Difference of MRR by kind of query" in page
    low, high = report["strata"]["direction"][1]["interval"]
    assert f"{100 * low:+.2f} to {100 * high:+.2f}" in page
    assert 'id="settings"' not in page and 'id="learning"' not in page and "holds metrics only" in page


def test_a_model_in_several_documents_is_one_run(report, tmp_path):
    models = report["models"]
    other = report | {"models": [models[0], models[1] | {"name": "recurrency"}]}
    moved = json.loads(json.dumps(other))  # what is said of the pair must not tell its models apart
    for row in (row for kind in moved["strata"].values() for row in kind if "difference" in row):
        row["difference"] = (row["difference"] or 0) + 0.5
    places = [written(tmp_path / "a.json", report), written(tmp_path / "b.json", moved)]
    runs, between = read_documents(places)
    assert [run.name for run in runs] == ["plain", "evidence", "recurrency"]
    assert [(one.first, one.second) for one in between] == [("plain", "evidence"), ("plain", "recurrency")]
    # Another figure makes it another run, which the comparison goes on with under its own name.
    moved["models"][0]["entity"]["mrr"] += 0.01
    runs, between = read_documents([places[0], written(tmp_path / "b.json", moved)])
    assert len({run.name for run in runs}) == len(runs) == 4
    assert runs[2].name == between[1].first != between[0].first == runs[0].name
    page = render(runs, None, between)
    assert f"{between[1].first} against recurrency" in page and f"{runs[0].name} against evidence" in page


def test_several_comparisons_share_their_first_model(report, tmp_path):
    other = report | {"models": [report["models"][0], report["models"][1] | {"name": "recurrency"}]}
    document = {"passed": True, "comparisons": [report, other]}
    runs, between = read_document(written(tmp_path / "all.json", document))
    assert [run.name for run in runs] == ["plain", "evidence", "recurrency"] and len(between) == 2
    page = render(runs, None, between)
    assert page.count('aria-label="Difference of MRR by kind of query, plain – ') == 2


def test_models_in_folders_of_one_name_stay_apart(report, tmp_path):
    sides = [report["models"][1] | {"name": f"{place}/tkg/tirgn_best.npz"} for place in ("one", "two")]
    document = {"comparisons": [report | {"models": [report["models"][0], side]} for side in sides]}
    runs, between = read_document(written(tmp_path / "all.json", document))
    assert [run.name for run in runs[1:]] == [side["name"] for side in sides] == [one.second for one in between]


def test_an_evaluation_is_a_run(graph, trainings, tmp_path):
    model, config, _ = load_model(trainings / "plain" / "tirgn_best.npz")
    shape = config.window()
    document = evaluate_model(model, graph, split="valid", **shape).to_dict()
    (run,), between = read_document(written(tmp_path / "valid.json", document))
    assert run.name == "valid" and not between and run.measurements.split == "valid"
    assert run.measurements.metrics["entity"].mrr == document["entity"]["mrr"]
    assert len(run.measurements.snapshots) == len(document["snapshots"])
    page = render([run])
    assert f"{100 * document['entity']['mrr']:.2f}" in page and "valid split" in page
    # A page says under which filter metrics are, unless it is that of all others.
    assert "time-unaware" not in page and run.measurements.setting == "single-step"
    (run,), _ = read_document(written(tmp_path / "all.json", document | {"filter": "all"}))
    assert run.measurements.setting == "single-step, time-unaware filter" and "time-unaware filter" in render([run])


def test_runs_of_other_facts_are_told(report, tmp_path):
    (first, second), _ = read_document(written(tmp_path / "c.json", report))
    assert "not of the same facts" not in render([first, second])
    data = second.data.model_copy(update={"sha256": "other"})
    foreign = dataclasses.replace(second, metadata=second.metadata.model_copy(update={"data": data}))
    assert "not of the same facts" in render([first, foreign])


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "cannot be read as JSON"),
        (b"[]", "holds no metrics of a model"),
        (b"{}", "holds no metrics of a model"),
        (b'{"models": 3}', "dataset: is missing"),
        (b'{"entity": 3}', "dataset: is missing"),
        (
            b'{"entity": {"mrr": "high"}, "dataset": {}, "split": "test", "setting": "s"}',
            "entity.mrr: should be a valid number .found 'high'.",
        ),
        (b'{"dataset": {}, "split": "test", "models": [{}, {}, {}]}', "models: .* at most 2 items .*found"),
        (b'{"comparisons": [1, null]}', "comparisons\\[0\\]: should be .*found 1"),
        (b'{"comparisons": []}', "comparisons: .*at least 1 item"),
        (b'{"entity": "\\ud800"}', "Invalid JSON"),
        (b"\xff\x00", "cannot be read as JSON"),
        (b"[" * 9999, "cannot be read as JSON"),
    ],
)
def test_a_wrong_document_is_refused_in_one_line(tmp_path, content, wrong):
    (tmp_path / "found.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"found\.json: {wrong}.*; give a --model-dir, a checkpoint, or what"):
        read_document(tmp_path / "found.json")


def _holes(document):
    """`document` with each of its values, at any depth, in turn replaced by what does not belong there, and the path
    to that value."""
    for key in document if isinstance(document, dict) else range(len(document[:2])):
        for foreign in (None, "x", -1, 1e400, [], {"a": []}):
            changed = document.copy()
            changed[key] = foreign
            yield changed, (key,)
        if isinstance(document[key], dict | list):
            for changed, path in _holes(document[key]):
                whole = document.copy()
                whole[key] = changed
                yield whole, (key, *path)


def test_no_value_that_does_not_belong_breaks_a_page(report, tmp_path):
    small = report | {"strata": {kind: rows[:1] for kind, rows in report["strata"].items()}}
    read = refused = 0
    for changed, path in _holes(small):
        place = written(tmp_path / "changed.json", changed)
        try:
            page = render(*(lambda runs, between: (runs, None, between))(*read_document(place)))
        except CheckpointError as error:
            # The line names the file, and the value or what is missing inside it.
            key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
            message = str(error)
            assert message.startswith(f"{place}: {key}") or message.startswith(f"{place}: holds no metrics"), path
            assert "\n" not in message and "; give a --model-dir" in message
            refused += 1
            continue
        read += 1
        assert page.endswith("</html>\n") and "nan" not in page
    assert read > 150 and refused > 150
