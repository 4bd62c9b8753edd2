"""POLECAT: the faults of its files, what is missing, types and modes, and the two dates of an event."""

import datetime as dt

import polars as pl
import pytest

from tests.ingest.archive_files import POLECAT_FAULTS, POLECAT_HEADER, faulty, polecat
from tests.ingest.ingest_helpers import ingest, rejects, write
from tirgn_eqx.ingest.options import IngestOptions
from tirgn_eqx.ingest.polecat_rows import BOOK, POLECAT, TYPES

NAME = "ngecEvents.DV.2023.txt"


def table(tmp_path, *lines, header=POLECAT_HEADER, **options):
    out = tmp_path / "events.parquet"
    report = ingest([write(tmp_path, header + b"".join(lines), NAME)], out, IngestOptions("polecat", **options))
    return pl.read_parquet(out), report


def test_a_row_becomes_an_event(tmp_path):
    found, report = table(tmp_path, polecat(7), attributes=True)
    assert found.row(0, named=True) == {
        "entity1": "Olaf Scholz",
        "relation": "CONSULT",
        "entity2": "Emmanuel Macron",
        "timestamp": dt.datetime(2023, 1, 2),
        "entity1_country": "DEU",
        "entity1_sector": "GOV",
        "entity2_country": "FRA",
        "entity2_sector": "GOV",
        "EventType": "CONSULT",
        "EventMode": "visit",
        "QuadClass": 1,
        "Intensity": 2.0,
        "EventID": "2023010100007_1",
    }
    assert dict(found.schema) == POLECAT.schema(IngestOptions("polecat", attributes=True))
    assert report["late"]["1 day"] == 1 and len(BOOK.columns) == 40


@pytest.mark.parametrize("size", [1 << 23, 3000])
@pytest.mark.parametrize("seed", range(3))
def test_every_fault_of_a_file_is_counted(tmp_path, seed, size):
    data, counts = faulty("polecat", seed)
    report = ingest([write(tmp_path, data, NAME)], tmp_path / "e.parquet", IngestOptions("polecat"), block_bytes=size)
    told = report["rows"] | report["noted"] | report["late"]
    assert counts == {name: told[name] if told[name] else report["noted"][name] for name in POLECAT_FAULTS}
    assert all(counts.values())
    lost = counts["malformed"] + counts["no_actor"] + counts["repeated_ids"]
    assert report["rows"]["read"] == 200 and report["rows"]["accepted"] == 200 - lost


def test_the_classes_of_the_types_are_those_of_the_ontology(tmp_path):
    names = [name for quad in TYPES for name in TYPES[quad]]
    assert len(names) == len(set(names)) == 16
    lines = [polecat(n, Event_Type=name, Quad_Code="None") for n, name in enumerate(names)]
    found, report = table(tmp_path, *lines)
    assert dict(found.select("relation", "QuadClass").iter_rows()) == {n: q for q, some in TYPES.items() for n in some}
    assert report["noted"]["quad_code_missing"] == 16


def test_the_class_is_that_of_the_file_where_it_has_one(tmp_path):
    assert table(tmp_path, polecat(1, Quad_Code="MATERIAL CONFLICT"))[0]["QuadClass"].to_list() == [4]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "CONSULT_visit"),
        ({"Event_Mode": "None"}, "CONSULT"),
        ({"Event_Mode": ""}, "CONSULT"),
        ({"Event_Type": "protest", "Event_Mode": "riot", "Quad_Code": "material conflict"}, "PROTEST_riot"),
    ],
)
def test_types_with_modes(tmp_path, fields, expected):
    assert table(tmp_path, polecat(1, **fields), relation="type_mode")[0]["relation"].to_list() == [expected]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"Event_ID": ""}, "Event ID is empty"),
        ({"Event_Type": "YIELD"}, "Event Type 'YIELD'"),
        ({"Event_Date": "None"}, "Event Date is empty"),
        ({"Event_Date": "01/02/2023"}, "Event Date '01/02/2023'"),
        ({"Publication_Date": "None"}, "Publication Date is empty"),
        ({"Quad_Code": "VERBAL"}, "Quad Code 'VERBAL'"),
        ({"Intensity": "nan"}, "Intensity 'nan'"),
    ],
)
def test_malformed_lines(tmp_path, fields, reason):
    table(tmp_path, polecat(1), polecat(2, **fields))
    assert [found for *_, found, _ in rejects(tmp_path / "events.parquet")] == [reason]


def test_the_day_of_an_event_or_that_of_its_publication_is_its_time(tmp_path):
    lines = [polecat(1), polecat(2, Publication_Date="None"), polecat(3, Publication_Date="2023-01-05T10:00:00Z")]
    found, report = table(tmp_path, *lines, time="day", keep_duplicates=True)
    assert found["timestamp"].unique().to_list() == [dt.datetime(2023, 1, 1)] and len(found) == 3
    assert (report["late"]["1 day"], report["late"]["2 to 7 days"]) == (1, 1)


def test_another_name_of_a_column(tmp_path):
    header = POLECAT_HEADER.replace(b"\tIntensity", b"\tEvent Intensity")
    assert table(tmp_path, polecat(1), header=header)[0]["Intensity"].to_list() == [2.0]


def test_primary_sectors_stand_in_for_missing_ones(tmp_path):
    found, _ = table(tmp_path, polecat(1, Actor_Sectors="None", Primary_Actor_Sector="MIL"), attributes=True)
    assert found["entity1_sector"].to_list() == ["MIL"]


def test_ids_are_known_to_a_second_run(tmp_path):
    table(tmp_path, *(polecat(number, Actor_Name=f"A{number % 3}") for number in range(30)), keep_duplicates=True)
    data = POLECAT_HEADER + b"".join(polecat(number) for number in range(25, 35))
    report = ingest(
        [write(tmp_path, data, "ngecEvents.20230103111842.Release603.DV.txt")],
        tmp_path / "events.parquet",
        IngestOptions("polecat", keep_duplicates=True),
    )
    assert (report["rows"]["repeated_ids"], report["rows"]["accepted"]) == (5, 5)
    found = pl.read_parquet(tmp_path / "events.parquet")
    assert found["EventID"].to_list() == sorted(found["EventID"].to_list()) and len(found) == 35
