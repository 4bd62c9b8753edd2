"""The benchmark scripts as programs of their own, on tiny data."""

import json

import pytest

from benchmarks import common
from tests.benchmarks.script_helpers import check_provenance, run


@pytest.mark.slow
def test_step_runs_and_saves_what_it_says(tmp_path):
    document = run("step", "--quick", "--parts", "step", "--results", tmp_path)
    check_provenance(document)
    (row,) = document["result"]["buckets"]
    seconds = row["seconds"]["step"]
    assert 0 < seconds["min"] <= seconds["median"] <= seconds["max"]
    assert row["compile_seconds"]["step"] > 0
    assert 0 < row["share_of_ceiling"]["step"] < 1
    assert document["result"]["complete"] and document["result"]["summary"]["padding"] >= 1
    (file,) = tmp_path.iterdir()
    assert file.name == f"{document['benchmark']}.json"
    assert json.loads(file.read_text()) == document


@pytest.mark.slow
def test_the_peer_runs_on_tiny_data():
    pytest.importorskip("torch", reason="the peer is written in PyTorch, which is not installed")
    result = run("peer", "--quick")["result"]
    assert result["speedup"]["torch_eager"] > 0 and result["mean_step_seconds"]["ours"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        *("commands", "epoch", "evaluate", "evidence", "history", "ingest", "large", "loader", "memory", "predict"),
        *("scaling", "stream"),
    ],
)
def test_every_script_runs_on_tiny_data(script):
    more = ("--axes", "facts") if script == "scaling" else ()
    document = run(script, "--quick", *more)
    assert set(common.PROVENANCE) <= set(document) and document["result"]


@pytest.mark.slow
def test_gpu_script_runs_without_a_gpu(tmp_path):
    document = run("gpu", "--quick", "--seconds", 250, "--parts", "step,memory,month,train", "--out", tmp_path)
    parts = document["result"]["parts"]
    assert {name: part["status"] for name, part in parts.items()} == dict.fromkeys(
        ["step sim", "memory sim", "month of events", "train sim"], "done"
    )
    assert json.loads((tmp_path / "gpu.json").read_text()) == document
    assert parts["train sim"]["result"]["test"]["entity"]["mrr"] > 0
    assert parts["month of events"]["result"]["epoch_seconds"] > 0


@pytest.mark.slow
def test_gpu_script_stops_in_time_and_keeps_its_state(tmp_path):
    document = run("gpu", "--quick", "--seconds", 5, "--parts", "step,train", "--out", tmp_path)
    parts = document["result"]["parts"]
    assert {part["status"] for part in parts.values()} == {"skipped: no time"}
    assert not document["result"]["complete"]


@pytest.mark.slow
def test_facts_at_size_are_measured(tmp_path):
    document = run("at_size", "--quick", "--folder", tmp_path / "graph", "--results", tmp_path)
    check_provenance(document)
    stages = document["result"]["stages"]
    assert list(stages) == ["write", "open", "index", "open index", "batch"]
    assert stages["write"]["bytes_per_fact"] > 17 and stages["index"]["spilt_bytes"] == 32 * 20_000
    assert stages["index"]["lengths"]["entity-first"] == stages["index"]["lengths"]["entity-candidate"]
    assert stages["batch"]["facts"] > 0 and stages["batch"]["rows"] > 0
    assert all(told["memory"]["resident_bytes"] > 0 for told in stages.values())


@pytest.mark.slow
def test_the_road_from_raw_files_to_a_forecast(tmp_path):
    document = run("pipeline", "--quick", "--results", tmp_path)
    check = {step["step"] for step in document["result"]["steps"]}
    assert {"collect", "ingest", "train", "evaluate", "predict", "retrain", "predict after"} <= check
    result = document["result"]
    assert result["ingested"]["later"]["files"]["already_in_table"] == result["files"]["first"]
    assert result["forecast"]["candidates"] and result["forecast_after"]["candidates"]
    assert result["retrained"]["status"] in ("replaced", "kept")


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["", "evidence"])
def test_forecasts_by_name_are_measured(tmp_path, preset):
    words = ("--preset", preset) if preset else ()
    document = run("forecast", "--quick", *words, "--results", tmp_path)
    assert document["result"]["queries_per_second"] > 0 and document["result"]["single_ms"]["median"] > 0
    month = run("month", "--quick", *words, "--results", tmp_path)
    assert month["result"]["epoch_seconds"] > 0 and month["result"]["peak_rss_bytes"] > 0


@pytest.mark.slow
def test_clocks_of_other_origins_are_measured(tmp_path):
    document = run("clock", "--quick", "--results", tmp_path)
    check_provenance(document)
    found = document["result"]
    norms = {(row["clock"], row["seed"]): row["gradient_norm"] for row in found["trainings"]}
    assert len(norms) == 8 and [row["first_time_index"] for row in found["trainings"][:2]] == [0, 17_532]
    assert norms["15min", 0] > 1000 * norms["first snapshot", 0]
    # As read from tables, the offset makes no difference.
    assert len({row["weights"] for row in found["moved"]}) == 1 and len(found["moved"]) == 4
    assert len({row["first_time"] for row in found["moved"]}) == 4
    assert found["ahead"][0]["mrr"] == found["trainings"][0]["test_mrr"]


@pytest.mark.slow
def test_event_forecasts_are_timed():
    found = run("events_queries", "--quick")["result"]
    for name in ("rates", "rates with evidence"):
        assert [one["facts"] for one in found[name]["facts"]] == [100, 300]
        assert all(one["per_second"] > 0 for one in found[name]["facts"])
        assert sum(found[name]["list"]["kinds"].values()) == 100


@pytest.mark.slow
def test_sorts_of_events_are_compared():
    pytest.importorskip("duckdb", reason="is compared with, and is no dependency")
    found = run("event_sort", "--quick", "--rows", "20000")["result"]
    assert found.keys() == {"ours", "duckdb", "duckdb within 1GB"}
    assert all(one["seconds"]["median"] > 0 and one["peak_rss_bytes"]["min"] > 0 for one in found.values())


@pytest.mark.slow
def test_audits_are_recorded(tmp_path, monkeypatch):
    (tmp_path / "audited.py").write_text(
        "import numpy as np\n\n\n"
        "def forecast(request):\n    return np.tile(request.entities % 7, (len(request.queries), 1))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    words = ("--quick", "--what", "by id", "--model", "audited:forecast", "--snapshots", "1", "--results", tmp_path)
    document = run("audit", *words)
    assert document["result"]["clean"] and document["result"]["what"] == "by id"
    assert document["setting"]["snapshots"] == 1 and str(tmp_path) not in (tmp_path / "audit-sim.json").read_text()
