"""`tirgn data convert`: what it writes and shows, and what it refuses."""

import json
import os

import polars as pl
import pytest

from tests.cli.cli_helpers import write_folder


@pytest.fixture
def table(tmp_path):
    """An event table of 24 hours, in the local folder."""
    times = pl.datetime_range(pl.datetime(2021, 3, 1), pl.datetime(2021, 3, 1, 23), "1h", eager=True).rename(
        "timestamp"
    )
    frame = pl.DataFrame(
        {"entity1": ["A", "B"] * 12, "relation": ["r"] * 24, "entity2": ["B", "C"] * 12, "timestamp": times}
    )
    frame.write_parquet(tmp_path / "events.parquet")
    return tmp_path / "events.parquet"


def statistics(run, *args):
    result = run("data", "stats", *args, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_there_and_back_the_statistics_are_the_same(run, table, tmp_path):
    result = run("data", "convert", table, "--granularity", "hour", "--out", tmp_path / "hours", "--quiet", "--json")
    assert result.exit_code == 0 and result.stderr == "", result.stderr
    told = json.loads(result.stdout)
    before = statistics(run, table, "--granularity", "hour")
    assert told["form"] == "folder" and told["splits"] == {"train": 19, "valid": 2, "test": 3}
    assert told["facts"] == 24 and told["sha256"] == before["sha256"]
    after = statistics(run, tmp_path / "hours")
    assert after["time"] == before["time"] and after["sha256"] == before["sha256"]
    result = run("data", "convert", tmp_path / "hours", "--out", tmp_path / "again.parquet", "--json")
    told = json.loads(result.stdout)
    assert told["form"] == "events" and told["options"] == {"num_days": 0, "granularity": "hour"}
    again = statistics(run, tmp_path / "again.parquet", "--granularity", "hour")
    assert again["time"] == before["time"] and again["sha256"] == before["sha256"]


def test_all_days_are_converted_unless_fewer_are_asked_for(run, tmp_path):
    days = pl.date_range(pl.date(2021, 1, 1), pl.date(2021, 4, 10), "1d", eager=True).rename("timestamp")
    frame = pl.DataFrame({"entity1": ["A"] * 100, "relation": ["r"] * 100, "entity2": ["B"] * 100, "timestamp": days})
    frame.write_parquet(tmp_path / "e.parquet")
    for more, count in (([], 100), (["--num-days", "20"], 20)):
        result = run("data", "convert", tmp_path / "e.parquet", "--out", tmp_path / f"d{count}", *more, "--json")
        assert json.loads(result.stdout)["facts"] == count == statistics(run, tmp_path / f"d{count}")["facts"]["total"]


def test_the_command_that_a_refusal_names_mends_what_it_refuses(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = write_folder(tmp_path / "my data")
    lines = (place / "train.txt").read_text().splitlines()
    (place / "test.txt").write_text("\n".join(lines[::2]) + "\n")
    (place / "train.txt").write_text("\n".join([*lines[1::2], "0\t0\t1\t9"]) + "\n")
    refused = run("data", "stats", place)
    assert refused.exit_code == 1 and f"`tirgn data convert '{place}' --out DIR`" in refused.stderr
    result = run("data", "convert", place, "--out", "by time")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith(f"the splits of {place} are not used: {place}/train.txt:25: time 9 is later than")
    assert "by time, written" in result.stdout and result.stderr.count("\n") == 1
    assert statistics(run, "by time")["facts"] == {"total": 55, "train": 48, "valid": 6, "test": 1}


def test_a_training_reads_what_was_converted(run, table, tmp_path):
    assert (
        run("data", "convert", table, "--granularity", "hour", "--split", "50/25/25", "--out", tmp_path / "h").exit_code
        == 0
    )
    result = run("baseline", "recurrency", "--data-path", tmp_path / "h", "--json")
    assert result.exit_code == 0, result.stderr


def test_nothing_is_replaced_unless_asked(run, table, tmp_path):
    for out in ("folder", "table.parquet"):
        assert run("data", "convert", table, "--granularity", "hour", "--out", tmp_path / out).exit_code == 0
        result = run("data", "convert", table, "--granularity", "hour", "--out", tmp_path / out)
        assert result.exit_code == 2 and "--force replaces it" in result.stderr and result.stderr.count("\n") == 1
        again = run("data", "convert", table, "--granularity", "hour", "--out", tmp_path / out, "--force")
        assert again.exit_code == 0
    (tmp_path / "folder" / "notes.md").write_text("mine")
    result = run("data", "convert", table, "--granularity", "hour", "--out", tmp_path / "folder", "--force")
    assert result.exit_code == 2 and "holds 'notes.md'" in result.stderr
    assert sorted(os.listdir(tmp_path)) == ["events.parquet", "folder", "table.parquet"]
