"""`tirgn data list`, `get` and `stats`: counts, where every line of the source went, and times as people write them."""

import dataclasses
import json

import pytest

from tests.cli.cli_helpers import measured
from tests.helpers import DATASETS


def test_the_list(run):
    told = run("data", "list")
    assert told.exit_code == 0 and "ICEWS05-15" in told.stdout and "74,845" in told.stdout
    assert all(len(line) <= 80 for line in told.stdout.splitlines() if not line.startswith("next"))
    found = json.loads(run("data", "list", "--json").stdout)
    (one,) = [one for one in found["datasets"] if one["name"] == "YAGO"]
    assert one["facts"] == {"train": 161540, "valid": 19523, "test": 20026} and found["source"].startswith("https://")


def test_a_set_from_a_folder(run, tmp_path):
    if not (DATASETS / "YAGO").is_dir():
        pytest.skip("the published data sets are not here")
    result = run("data", "get", "yago", "--from", DATASETS, "--out", tmp_path / "yago", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["dataset"]["facts"] == 201_089 and set(told["files"].values()) == {"fetched"}
    again = run("data", "get", "yago", "--from", DATASETS, "--out", tmp_path / "yago")
    assert again.exit_code == 0 and f"tirgn train --data-path {tmp_path / 'yago'}" in again.stdout.replace("\n", "")


def test_stats_of_a_folder(run, folder):
    result = run("data", "stats", folder, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == "" and result.stdout.count("\n") == 1
    counted = json.loads(result.stdout)
    assert counted["facts"] == {"total": 60, "train": 48, "valid": 6, "test": 6}
    text = run("data", "stats", folder).stdout
    assert counted["sha256"] in text and "answer in history" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_stats_of_an_event_table(run, events):
    hours = measured(run("data", "stats", events, "--granularity", "hour", "--num-days", "0", "--json"))
    assert hours["facts"]["total"] == 100 and hours["snapshots"]["total"] == 20
    result = run("data", "stats", events, "--granularity", "week")
    assert result.exit_code == 2
    assert "granularity 'week' does not exist" in result.stderr


def test_a_library_warning_is_a_line_on_stderr(run, folder):
    result = run("data", "stats", folder, "--granularity", "hour", "--json")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: ") and "granularity" in result.stderr
    assert json.loads(result.stdout)["name"] == "tiny"


@pytest.fixture
def dated(tmp_path):
    place = tmp_path / "dated"
    place.mkdir()
    for split, days in (("train", range(1, 9)), ("valid", (9,)), ("test", (10,))):
        lines = [f"{day % 3}\t0\t1\t2014-01-{day:02}\r" for day in days]
        (place / f"{split}.txt").write_bytes("".join(lines).encode() + b"\r" * (split == "test"))
    (place / "stat.txt").write_text("3\t1")
    return place


def test_lines_and_dates_are_shown(run, dated, tmp_path):
    assert run("data", "map", dated, "--out", tmp_path / "mapped").exit_code == 0
    for source in (dated, tmp_path / "mapped"):
        table = run("data", "stats", source)
        assert table.exit_code == 0, table.output
        rows = [" ".join(line.split()) for line in table.stdout.splitlines()]
        assert "│ lines read │ 11: 10 facts, 1 blank │" in rows
        assert "│ times read as │ dates, 2014-01-01 to 2014-01-10 │" in rows
        assert "│ time │ 2014-01-01 to 2014-01-10, step 1 day │" in rows
        found = json.loads(run("data", "stats", source, "--json").stdout)
        assert found["read"]["lines"] == 11 and found["read"]["facts"] == found["facts"]["total"] == 10
        assert found["time"]["dates"] == ["2014-01-01", "2014-01-10"] and found["time"]["unit"] == "day"


def test_rows_that_are_left_out_are_told_apart(run, monkeypatch):
    from tirgn_eqx.data import load_graph
    from tirgn_eqx.data.graph import ReadReport

    graph = load_graph("sim:num_days=10")
    parts = {"blank": 1, "bad": 2, "outside": 3000, "thinned": 4}
    report = ReadReport(graph.num_facts + sum(parts.values()), graph.num_facts, **parts, times="unix seconds")
    monkeypatch.setattr("tirgn_eqx.data.load_graph", lambda *_, **__: dataclasses.replace(graph, read=report))
    shown = " ".join(run("data", "stats", "sim").stdout.replace("│", " ").split())  # a long row takes two lines
    facts = f"{graph.num_facts:,} facts, 1 blank, 2 bad, 3,000 outside the days, 4 thinned out"
    assert f"lines read {report.lines:,}: {facts}" in shown and "times read as unix seconds" in shown
