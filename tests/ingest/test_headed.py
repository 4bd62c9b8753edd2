"""Files under a header: its forms, quotes, tabs too many, and files of other sources."""

import random
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ingest.archive_files import ICEWS_HEADER, POLECAT_HEADER, faulty, icews, polecat
from tests.ingest.ingest_helpers import ingest, rejects, write
from tests.ingest.raw_rows import raw
from tirgn_eqx.errors import DataError
from tirgn_eqx.ingest.clean import DROPPED
from tirgn_eqx.ingest.headed import Codebook
from tirgn_eqx.ingest.options import IngestOptions
from tirgn_eqx.ingest.sources import Unreadable

NAME = "events.2014.20160121105408.tab"
ICEWS, POLECAT = IngestOptions(source="icews"), IngestOptions(source="polecat")
TWO = icews(1) + icews(2, Source_Name="Angela\u00a0 Merkel ")


@pytest.mark.parametrize(
    "data",
    [
        ICEWS_HEADER + TWO,
        b"\xef\xbb\xbf" + ICEWS_HEADER + TWO,
        (ICEWS_HEADER + TWO).replace(b"\n", b"\r\n"),
        ICEWS_HEADER.lower().replace(b" ", b"_") + TWO,
        ICEWS_HEADER.replace(b"\n", b"\t\t\n") + TWO.replace(b"\n", b"\t\t\n"),
        b"\t".join(b'"' + name + b'"' for name in ICEWS_HEADER.rstrip().split(b"\t")) + b"\n" + TWO,
        ICEWS_HEADER + b"\n" + TWO[:-1],
    ],
    ids=["plain", "byte order mark", "CRLF", "as R writes it", "tabs", "quotes", "blank line, no last newline"],
)
@pytest.mark.parametrize("size", [1 << 23, 250])
def test_forms_of_a_header(tmp_path, data, size):
    report = ingest([write(tmp_path, data, NAME)], tmp_path / "events.parquet", ICEWS, block_bytes=size)
    assert (report["rows"]["read"], report["rows"]["accepted"], report["rows"]["malformed"]) == (2, 2, 0)
    assert (report["events"]["repeated_facts"], report["events"]["actors"]) == (1, 2)


def test_columns_may_have_another_order_and_may_be_more_than_those_of_the_codebook(tmp_path):
    names, values = (line.rstrip(b"\n").split(b"\t") for line in (ICEWS_HEADER, icews(7)))
    data = b"\t".join([b"Notes", *names[::-1]]) + b"\n" + b"\t".join([b"a note", *values[::-1]]) + b"\n"
    report = ingest([write(tmp_path, data, NAME)], tmp_path / "events.parquet", ICEWS)
    assert report["rows"]["accepted"] == 1 and report["noted"].get("trailing_tabs") == 0


def test_a_header_with_names_too_many_stands_before_the_published_columns(tmp_path):
    """So do some files of POLECAT, whose header names a headline that no line has."""
    header = POLECAT_HEADER.replace(b"Contexts\t", b"Contexts\tHeadline\t")
    report = ingest([write(tmp_path, header + polecat(1), "a.txt")], tmp_path / "events.parquet", POLECAT)
    assert report["rows"]["accepted"] == 1 and report["rows"]["malformed"] == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (icews(3).replace(b"\tReuters", b""), "19 columns; expected 20"),
        (icews(3).replace(b"\n", b"\tx\n"), "21 columns; expected 20"),
        (icews(3, Event_ID="2.07E+07"), "Event ID '2.07E+07'"),
        (icews(3, Event_ID="-3"), "Event ID '-3'"),
        (icews(3, Event_Date="2014-02-30"), "Event Date '2014-02-30'"),
        (icews(3, Event_Date="2014-01-011"), "Event Date '2014-01-011'"),
        (icews(3, Event_Date=""), "Event Date is empty"),
        (icews(3, CAMEO_Code="210"), None),  # 0210 without its zero
        (icews(3, CAMEO_Code="2101"), "CAMEO Code '2101'"),
        (icews(3, CAMEO_Code="---"), "CAMEO Code '---'"),
        (icews(3, Intensity="high"), "Intensity 'high'"),
        (icews(3, Intensity=""), None),
        (icews(3, Event_Text=""), "Event Text is empty"),
        (icews(3, Publisher="a\0b"), "a NUL byte"),
    ],
)
def test_a_malformed_line_is_set_aside_with_its_number_in_the_file(tmp_path, line, reason):
    data = ICEWS_HEADER + icews(1) + line + icews(2)
    report = ingest([write(tmp_path, data, NAME)], tmp_path / "events.parquet", ICEWS)
    expected = [] if reason is None else [(NAME, 3, reason, line[:-1])]
    assert rejects(tmp_path / "events.parquet") == expected
    assert report["rows"]["accepted"] == 3 - len(expected)


def test_values_in_quotes_lose_them_and_tabs_inside_of_them_are_spaces(tmp_path):
    lines = [
        icews(1, Source_Name='"Edward ""Ed"" Miliband"', Event_ID='"1"'),
        icews(2, Source_Name='"Edward\t""Ed"" Miliband"', Publisher='"The\tTimes"'),
        icews(3, Source_Name='The "Group of 20"'),
        icews(4, Source_Name='"'),
    ]
    report = ingest([write(tmp_path, ICEWS_HEADER + b"".join(lines), NAME)], tmp_path / "events.parquet", ICEWS)
    names = pl.read_parquet(tmp_path / "events.parquet").sort("EventID")["entity1"].to_list()
    assert names == ['Edward "Ed" Miliband', 'The "Group of 20"', '"']
    assert report["noted"]["quoted"] == 2 and report["events"]["repeated_facts"] == 1


@pytest.mark.parametrize(
    ("options", "data", "words"),
    [
        (ICEWS, POLECAT_HEADER + polecat(1), "a file of POLECAT; give --source polecat"),
        (POLECAT, ICEWS_HEADER + icews(1), "a file of ICEWS; give --source icews"),
        (ICEWS, raw(1), "a file of GDELT; give --source gdelt"),
        (IngestOptions(), ICEWS_HEADER + icews(1), "a file of ICEWS; give --source icews"),
        (ICEWS, b"a,b\n1,2\n", "its first line names no column Event ID, Event Date, Source Name, Event Text, CAMEO"),
        (ICEWS, ICEWS_HEADER.replace(b"CAMEO Code", b"Code") + icews(1), "its first line names no column CAMEO Code; "),
        (ICEWS, b"", "all files are empty"),
        (ICEWS, ICEWS_HEADER, "all files are empty"),
    ],
)
def test_a_file_of_another_kind_is_named_as_such(tmp_path, options, data, words):
    with pytest.raises(DataError) as caught:
        ingest([write(tmp_path, data, "a.csv")], tmp_path / "events.parquet", options)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_codebook_finds_the_places_of_its_columns():
    book = Codebook("X", ("Event ID", "Score"), {"Event Score": "Score"})
    assert book.header == b"Event ID\tScore"
    layouts = book.find_layouts(b"event_score\tevent id\t\t", ["Event ID", "Score"])
    assert layouts[2] == ("Score", "Event ID") and layouts[3] == ("Score", "Event ID", "") and 1 not in layouts
    with pytest.raises(Unreadable, match="its first line names 1,002 columns; X has 2"):
        book.find_layouts(book.header + b"\tx" * 1000, ["Score"])
    with pytest.raises(Unreadable, match="its first line names no column Score; X's files begin with"):
        book.find_layouts(b"Event ID", ["Score"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["icews", "polecat"]), st.integers(0, 2**32), st.sampled_from([1 << 23, 700]))
def test_every_line_of_a_damaged_file_is_accounted_for(tmp_path, source, seed, size):
    chance = random.Random(seed)
    data, _ = faulty(source, seed, lines=30)
    for _ in range(chance.randint(1, 8)):
        begin, length = chance.randrange(len(data)), chance.choice([0, 0, 1, 30])
        data = data[:begin] + chance.choice([b"", b"\t", b"\n", b'"', b"\0", b"\xff", b"\r"]) + data[begin + length :]
    place = Path(tempfile.mkdtemp(dir=tmp_path))
    out = place / "events.parquet"
    try:
        report = ingest([write(place, data, "a.txt")], out, IngestOptions(source), block_bytes=size)
    except DataError:
        return  # the header is damaged
    rows = report["rows"]
    dropped = sum(rows[name] for name in DROPPED)
    assert rows["read"] == rows["malformed"] + dropped + rows["repeated_ids"] + rows["accepted"]
    # A line for every newline after the header, and one more where the last line lacks its own.
    assert rows["read"] + rows["blank_lines"] == data.count(b"\n") - 1 + (not data.endswith(b"\n"))
    assert report["events"]["events"] == rows["accepted"] - report["events"]["repeated_facts"]
    assert len(rejects(out)) == rows["malformed"]
