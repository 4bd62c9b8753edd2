"""`tirgn data ingest`: what it shows, its exit codes, and a table that the other commands read."""

import json

import pytest

from tests.ingest.archive_files import faulty
from tests.ingest.raw_rows import raw

NAME = "20200101001500.export.CSV"


@pytest.fixture
def folder(tmp_path):
    """A folder with a file of ten times."""
    place = tmp_path / "raw"
    place.mkdir()
    rows = [raw(number, DATEADDED=f"202001{1 + number // 3:02d}001500", Day="20200101") for number in range(1, 30)]
    (place / NAME).write_bytes(b"".join(rows) + b"bad\n")
    return place


def test_a_table_is_made_and_read(run, folder, tmp_path):
    out = tmp_path / "events.parquet"
    result = run("data", "ingest", folder, "--out", out)
    assert result.exit_code == 0, result.output
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    for words in ("│ read", "│ accepted", "│ repeated facts", "│ 2 to 7 days", "missing quarter hours", "1 columns;"):
        assert words in result.stdout, words
    assert (tmp_path / "events.rejects.tsv").exists()
    statistics = run("data", "stats", out, "--json")
    assert json.loads(statistics.stdout)["facts"]["total"] == 10


def test_json_is_the_report_that_is_saved(run, folder, tmp_path):
    options = ("--quad-class", "1, 2", "--relation", "root", "--min-mentions", "2", "--keep-duplicates", "--root-only")
    result = run("data", "ingest", folder, "--out", tmp_path / "events.parquet", "--json", *options)
    report = json.loads(result.stdout)
    assert report == json.loads((tmp_path / "events.report.json").read_text())
    assert report["options"]["quad_class"] == [1, 2] and report["options"]["relation"] == "root"
    assert report["events"]["events"] == 29


def test_a_file_that_cannot_be_read_is_exit_code_3(run, folder, tmp_path):
    (folder / "broken.export.CSV.zip").write_bytes(b"PK\x03\x04 cut off")
    out = tmp_path / "events.parquet"
    for _ in range(2):
        result = run("data", "ingest", folder, "--out", out, "--json")
        assert result.exit_code == 3 and out.exists()
        assert json.loads(result.stdout)["files"]["found"] == 2
        assert result.stderr.startswith("error: 1 of 2 files cannot be read, first ")
        assert "broken.export.CSV.zip: broken zip file" in result.stderr and result.stderr.count("\n") == 1


def test_malformed_lines_are_said_as_loudly_as_they_are_many(run, folder, tmp_path):
    out, seen = tmp_path / "events.parquet", f"({folder / NAME}:30); see {tmp_path / 'events.rejects.tsv'}\n"
    result = run("data", "ingest", folder, "--out", out)
    assert result.exit_code == 0
    assert result.stderr == f"1 of 30 lines malformed, most: 1 columns; expected 57, 58 or 61 {seen}"
    (folder / "b.csv").write_bytes(raw(99) + b"bad\n")
    result = run("data", "ingest", folder, "--out", out, "--quiet")
    assert result.exit_code == 0 and result.stderr.startswith("warning: 1 of 2 lines malformed, most: 1 columns")
    (folder / "c.csv").write_bytes(raw(100).replace(b"\t0211", b"\tx"))
    result = run("data", "ingest", folder, "--out", out, "--json", "--quiet")
    assert result.exit_code == 1 and json.loads(result.stdout)["malformed"]["most"]["reason"] == "EventCode 'x'"
    assert result.stderr.startswith("error: 1 of 1 lines malformed, most: EventCode 'x' (")
    assert len(json.loads(run("data", "stats", out, "--json").stdout)["sha256"]) == 64


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["raw", "--quad-class", "1,5"], 2, "--quad-class '1,5': must be some of 1, 2, 3, 4, like 1,2"),
        (["raw", "--actor", "nam"], 2, "actor 'nam' does not exist for gdelt; did you mean 'name'?"),
        (["raw", "--relation", "codes"], 2, "did you mean 'code'?"),
        (["raw", "--source", "icew"], 2, "source 'icew' does not exist; did you mean 'icews'?"),
        (["raw", "--relation", "text"], 2, "relation 'text' does not exist for gdelt; known: code_quad, code, base"),
        (["raw", "--source", "icews", "--root-only"], 2, "root_only: GDELT alone says this of an event, not icews"),
        (["raw", "--source", "icews"], 1, "a file of GDELT; give --source gdelt"),
        (["raw", "--source", "polecat", "--out", "x.parquet"], 1, "x.parquet: no events to write; 1 of 1 files cannot"),
        (["raw", "--min-mentions", "-1"], 2, "--min-mentions"),
        (["raw", "--drop-generic-actors", "--actor", "code"], 2, "drop_generic_actors: a list of names"),
        (["raw", "--out", "events.csv"], 2, "an event table is a .parquet file"),
        (["nowhere"], 1, "nowhere: does not exist; name event files or a folder that holds them"),
        ([], 2, "missing argument 'PATH...'"),
    ],
)
def test_bad_usage_is_one_line(run, folder, monkeypatch, arguments, code, text):
    monkeypatch.chdir(folder.parent)
    result = run("data", "ingest", *arguments)
    assert result.exit_code == code and result.stdout == "", result.output
    assert text in result.stderr and result.stderr.count("\n") == 1


def test_other_options_for_the_same_table_are_exit_code_2(run, folder, tmp_path):
    out = tmp_path / "events.parquet"
    assert run("data", "ingest", folder, "--out", out).exit_code == 0
    result = run("data", "ingest", folder, "--out", out, "--root-only")
    assert result.exit_code == 2
    assert "was made with root_only = False, not True; give the same options, or another --out" in result.stderr


@pytest.mark.parametrize("source", ["icews", "polecat"])
def test_other_sources_are_shown_with_what_was_noted(run, tmp_path, source):
    data, counts = faulty(source, 0)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / ("events.2014.1.tab" if source == "icews" else "ngecEvents.DV.2023.txt")).write_bytes(data)
    out = tmp_path / "events.parquet"
    result = run("data", "ingest", tmp_path / "raw", "--source", source, "--attributes", "--out", out)
    assert result.exit_code == 0, result.output
    assert "Noted in well-formed" in result.stdout and "│ trailing tabs" in result.stdout
    assert f"{counts['malformed']} of 200 lines malformed" in result.stderr
    again = run("data", "ingest", tmp_path / "raw", "--source", source, "--attributes", "--out", out, "--json")
    report = json.loads(again.stdout)
    assert not report["written"] and report["options"]["source"] == source
    assert report["totals"]["noted"]["quoted"] == counts["quoted"] and report["noted"]["generic_actor"] == 0
    result = run("data", "ingest", tmp_path / "raw", "--source", source, "--out", out)
    assert result.exit_code == 2 and "was made with attributes = True, not False" in result.stderr


def test_countries_and_sectors_of_gdelt_make_a_static_graph(run, tmp_path):
    types = {"Actor1Type1Code": "GOV", "Actor1Type2Code": "MIL"}
    rows = [
        raw(number, DATEADDED=f"202001{1 + number % 9:02d}001500", Actor1Name=f"A{number % 4}", **types)
        for number in range(36)
    ]
    (tmp_path / NAME).write_bytes(b"".join(rows))
    out = tmp_path / "events.parquet"
    assert run("data", "ingest", tmp_path / NAME, "--attributes", "--out", out).exit_code == 0
    statistics = run("data", "stats", out, "--static-words", "country,sector", "--num-days", "0", "--json")
    # A country for each of five names, two sectors for four of them.
    assert json.loads(statistics.stdout)["static_edges"] == 5 + 8
