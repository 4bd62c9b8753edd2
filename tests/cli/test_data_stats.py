"""`tirgn data stats`: where every line of the source went, and times as people write them."""

import dataclasses
import json

import pytest


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "dated"
    place.mkdir()
    for split, days in (("train", range(1, 9)), ("valid", (9,)), ("test", (10,))):
        lines = [f"{day % 3}\t0\t1\t2014-01-{day:02}\r" for day in days]
        (place / f"{split}.txt").write_bytes("".join(lines).encode() + b"\r" * (split == "test"))
    (place / "stat.txt").write_text("3\t1")
    return place


def test_lines_and_dates_are_shown(run, folder, tmp_path):
    assert run("data", "map", folder, "--out", tmp_path / "mapped").exit_code == 0
    for source in (folder, tmp_path / "mapped"):
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
