"""ICEWS: the faults of its files, codes without their zero, ids that two days share, and days outside of a file."""

import datetime as dt
import gzip

import polars as pl
import pytest

from tests.helpers import dataset
from tests.ingest.archive_files import ICEWS_FAULTS, ICEWS_HEADER, faulty, icews
from tests.ingest.ingest_helpers import ingest, write
from tirgn_eqx.data import load_graph
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.ingest.icews_rows import GENERIC_ACTORS, ICEWS
from tirgn_eqx.ingest.options import IngestOptions

NAME = "events.2014.20160121105408.tab"


def table(tmp_path, *lines, name=NAME, **options):
    """The table of lines in order of their ids, and the report."""
    out = tmp_path / "events.parquet"
    report = ingest([write(tmp_path, ICEWS_HEADER + b"".join(lines), name)], out, IngestOptions("icews", **options))
    return pl.read_parquet(out).sort("EventID", "timestamp"), report


def test_a_row_becomes_an_event_as_published_sets_have_it(tmp_path):
    found, _ = table(tmp_path, icews(7), attributes=True)
    assert found.row(0, named=True) == {
        "entity1": "Angela Merkel",
        "relation": "Consult",
        "entity2": "Francois Hollande",
        "timestamp": dt.datetime(2014, 1, 1),
        "entity1_country": "Germany",
        "entity1_sector": "Executive,Government,Center Right",
        "entity2_country": "France",
        "entity2_sector": "Executive,Government",
        "CAMEOCode": "040",
        "EventText": "Consult",
        "QuadClass": 1,
        "Intensity": 1.0,
        "EventID": 7,
    }
    assert dict(found.schema) == ICEWS.schema(IngestOptions("icews", attributes=True))


@pytest.mark.parametrize("size", [1 << 23, 2000])
@pytest.mark.parametrize("seed", range(3))
def test_every_fault_of_a_file_is_counted(tmp_path, seed, size):
    data, counts = faulty("icews", seed)
    report = ingest([write(tmp_path, data, NAME)], tmp_path / "e.parquet", IngestOptions("icews"), block_bytes=size)
    told = report["rows"] | report["noted"] | report["late"]
    assert counts == {name: told[name] if told[name] else report["noted"][name] for name in ICEWS_FAULTS}
    assert all(counts.values())
    lost = counts["malformed"] + counts["no_actor"] + counts["repeated_ids"]
    assert report["rows"]["read"] == 200 and report["rows"]["accepted"] == 200 - lost
    assert report["totals"]["noted"] == report["noted"]


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("010", "Make statement", "010"),
        ("10", "Make statement", "010"),
        ("10", "Demand", "10"),
        ("10.0", "make statement ", "010"),
        ("13", "Make optimistic comment", "013"),
        ("13", "Threaten", "13"),
        ("20", "Make an appeal or request", "020"),
        ("20", "", "20"),
        ("42", "Make a visit", "042"),
        ("211", "Appeal for economic cooperation", "0211"),
        ("201", "Engage in mass expulsion", "201"),
        ("1122", "Accuse of human rights abuses", "1122"),
        ("1", "Make public statement", "01"),
        ("13y", "Threaten", "13y"),
    ],
)
def test_a_code_gets_back_the_zero_that_it_lost(tmp_path, code, text, expected):
    found, report = table(tmp_path, icews(1, CAMEO_Code=code, Event_Text=text), relation="code")
    assert found["relation"].to_list() == found["CAMEOCode"].to_list() == [expected]
    assert report["noted"]["code_without_zero"] == (len(expected) > len(code.removesuffix(".0")))


def test_the_labels_of_real_sets_tell_codes_apart():
    """The texts of the codes 010 to 020 are written as in the published sets, which are made of ICEWS."""
    from tirgn_eqx.ingest.icews_rows import _STATEMENTS

    names = (dataset("ICEWS14s") / "relation2id.txt").read_text(encoding="utf-8").splitlines()
    known = {line.split("\t")[0].replace("_", " ").lower() for line in names}
    assert len(known & set(_STATEMENTS)) >= 10


@pytest.mark.parametrize(
    ("relation", "expected"), [("code_quad", "1122_Q3"), ("base", "112"), ("root", "11"), ("text", "Accuse of abuse")]
)
def test_relations(tmp_path, relation, expected):
    line = icews(1, CAMEO_Code="1122", Event_Text="Accuse of  abuse")
    assert table(tmp_path, line, relation=relation)[0]["relation"].to_list() == [expected]


@pytest.mark.parametrize(("code", "quad"), [("057", 1), ("060", 2), ("08", 2), ("090", 3), ("138", 3), ("14", 4)])
def test_classes_follow_from_the_root_code(tmp_path, code, quad):
    found, report = table(tmp_path, icews(1, CAMEO_Code=code), icews(2, CAMEO_Code="20"), quad_class=(quad, 4))
    assert found["QuadClass"].to_list()[0] == quad


def test_an_id_is_that_of_an_event_together_with_its_day(tmp_path):
    lines = [icews(5), icews(5, Event_Date="2014-01-02"), icews(5, Target_Name="Barack Obama"), icews(6)]
    found, report = table(tmp_path, *lines, keep_duplicates=True)
    assert found.select("EventID", pl.col("timestamp").dt.day()).rows() == [(5, 1), (5, 2), (6, 1)]
    assert report["rows"]["repeated_ids"] == 1


def test_daily_files_repeat_events_of_yearly_ones_and_add_to_a_table(tmp_path):
    out, options = tmp_path / "events.parquet", IngestOptions("icews", keep_duplicates=True)
    write(tmp_path / "raw", ICEWS_HEADER + icews(1) + icews(2, Event_Date="2014-12-31"), NAME)
    ingest([tmp_path / "raw"], out, options)
    daily = ICEWS_HEADER + icews(2, Event_Date="2014-12-31") + icews(3, Event_Date="2014-12-31")
    write(tmp_path / "raw", gzip.compress(daily), "20150101-icews-events.tab.gz")
    report = ingest([tmp_path / "raw"], out, options)
    assert (report["files"]["already_in_table"], report["files"]["read"]) == (1, 1)
    assert (report["rows"]["repeated_ids"], report["rows"]["accepted"]) == (1, 1)
    assert pl.read_parquet(out)["EventID"].to_list() == [1, 2, 3]
    assert report["missing"]["days"]["count"] == 363
    with pytest.raises(ConfigError, match="was made with source = 'icews', not 'gdelt'"):
        ingest([tmp_path / "raw" / NAME], out)


@pytest.mark.parametrize(
    ("name", "day", "outside"),
    [
        (NAME, "2014-12-31", 0),
        (NAME, "2013-12-31", 1),
        ("20140105-icews-events.tab", "2014-01-05", 0),
        ("20140105-icews-events.tab", "2014-01-06", 1),
        ("20141305-icews-events.tab", "2014-01-06", 0),
        ("notes.tab", "1999-01-06", 0),
    ],
)
def test_days_that_a_file_cannot_hold_are_counted_and_kept(tmp_path, name, day, outside):
    found, report = table(tmp_path, icews(1, Event_Date=day), name=name)
    assert len(found) == 1 and report["noted"].get("outside_file", 0) == outside


def test_generic_actors_are_kinds_of_people_of_a_country(tmp_path):
    assert {"CITIZEN", "PROTESTER"} <= GENERIC_ACTORS and "POLICE" not in GENERIC_ACTORS
    names = ["Citizen (India)", "Police (India)", "Citizen", "Citizens United (Party)"]
    lines = [icews(number, Source_Name=name) for number, name in enumerate(names)]
    found, report = table(tmp_path, *lines)
    assert len(found) == 4 and report["noted"]["generic_actor"] == 1
    (tmp_path / "events.parquet").unlink()
    found, report = table(tmp_path, *lines, drop_generic_actors=True)
    assert found["entity1"].to_list() == names[1:] and report["rows"]["generic_actor"] == 1


def test_countries_as_actors(tmp_path):
    lines = [icews(1), icews(2, Source_Country="")]
    found, report = table(tmp_path, *lines, actor="country")
    assert found.select("entity1", "entity2").rows() == [("Germany", "France")] and report["rows"]["no_actor"] == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"time": "added"}, "time 'added' does not exist for icews; known: day"),
        ({"relation": "type"}, "relation 'type' does not exist for icews"),
        ({"root_only": True}, "root_only: GDELT alone says this of an event, not icews"),
        ({"min_mentions": 2}, "min_mentions: GDELT alone"),
    ],
)
def test_options_that_icews_has_no_data_for_are_refused(options, text):
    with pytest.raises(ConfigError, match=text):
        IngestOptions("icews", **options)


def test_the_table_is_what_a_training_reads(tmp_path):
    lines = [icews(n, Event_Date=f"2014-01-{1 + n % 20:02d}", Source_Name=f"A{n % 5}") for n in range(60)]
    table(tmp_path, *lines)
    graph = load_graph(tmp_path / "events.parquet", num_days=0)
    assert (graph.num_snapshots, graph.num_entities, graph.relation_names) == (20, 6, ("Consult",))
