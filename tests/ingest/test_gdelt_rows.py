"""Lines of raw files: columns, times, encodings, and malformed lines."""

import pytest

from tests.ingest.ingest_helpers import NAME, ROWS, facts, ingest, rejects, write
from tests.ingest.raw_rows import raw
from tirgn_eqx.ingest.gdelt_rows import LAYOUTS, parse_seconds


def test_layouts_are_those_of_the_code_book():
    assert {width: len(columns) for width, columns in LAYOUTS.items()} == {61: 61, 58: 58, 57: 57}
    assert all(len(set(columns)) == len(columns) for columns in LAYOUTS.values())
    places = {"Actor1Name": 6, "Actor2Name": 16, "IsRootEvent": 25, "EventCode": 26, "QuadClass": 29, "AvgTone": 34}
    for columns in LAYOUTS.values():
        assert {name: columns.index(name) for name in places} == places
    assert [LAYOUTS[width].index("DATEADDED") for width in (61, 58, 57)] == [59, 56, 56]


MALFORMED = {
    "short": (raw(5).replace(b"\thttps://example.org/a", b""), "60 columns; expected 57, 58 or 61"),
    "long": (raw(5).replace(b"\n", b"\tx\n"), "62 columns; expected 57, 58 or 61"),
    "another layout": (raw(5, 58, DATEADDED="20200101001500"), "DATEADDED '20200101001500'"),
    "id": (raw(5, GlobalEventID="12x"), "GlobalEventID '12x'"),
    "negative id": (raw(5, GlobalEventID="-12"), "GlobalEventID '-12'"),
    "no id": (raw(5, GlobalEventID=""), "GlobalEventID is empty"),
    "day": (raw(5, Day="20200230"), "Day '20200230'"),
    "added": (raw(5, DATEADDED="20200101250000"), "DATEADDED '20200101250000'"),
    "added without clock": (raw(5, DATEADDED="20200101"), "DATEADDED '20200101'"),
    "code": (raw(5, EventCode="---"), "EventCode '---'"),
    "no code": (raw(5, EventCode=""), "EventCode is empty"),
    "quad class": (raw(5, QuadClass="5"), "QuadClass '5'"),
    "root": (raw(5, IsRootEvent="2"), "IsRootEvent '2'"),
    "score": (raw(5, GoldsteinScale="high"), "GoldsteinScale 'high'"),
    "mentions": (raw(5, NumMentions="3.0"), "NumMentions '3.0'"),
    "tone": (raw(5, AvgTone="nan"), "AvgTone 'nan'"),
    "NUL": (raw(5, SOURCEURL="a\0b"), "a NUL byte"),
    "quoted": (raw(5, GlobalEventID='"5"'), "GlobalEventID '\"5\"'"),
    "header": (raw(5, GlobalEventID="GLOBALEVENTID"), "GlobalEventID 'GLOBALEVENTID'"),
    "endless": (b"x" * (1 << 20) + b"xx\n", "longer than 1,048,576 bytes"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_line_is_set_aside_whole_and_nothing_else_is_lost(tmp_path, case):
    line, reason = MALFORMED[case]
    data = raw(1) + b"\n" + raw(2, Actor1Name="SPAIN") + line + raw(3, Actor1Name="ITALY")
    path = write(tmp_path, data)
    report = ingest([path], tmp_path / "events.parquet")
    assert rejects(tmp_path / "events.parquet") == [(NAME, 4, reason, line[:-1][: 1 << 20])]
    assert [fact[4] for fact in facts(tmp_path / "events.parquet")] == [1, 2, 3]
    rows = report["rows"]
    assert (rows["read"], rows["malformed"], rows["accepted"], rows["blank_lines"]) == (4, 1, 3, 1)
    assert report["malformed"]["first"] == [{"file": str(path), "line": 4, "reason": reason}]


@pytest.mark.parametrize(
    "data",
    [
        ROWS.replace(b"\n", b"\r\n"),
        ROWS[:-1],
        b"\xef\xbb\xbf" + ROWS,
        ROWS.replace(b"\n", b"\n\n"),
        ROWS.replace(b"example.org/a", b'example.org/"a",\'b'),
        ROWS.replace(b"example.org/a", "example.org/ä€😀".encode()),
        ROWS.replace(b"example.org/a", b"example.org/\xe4\xff"),
    ],
    ids=["CRLF", "no last newline", "byte order mark", "blank lines", "quotes", "UTF-8", "Latin-1"],
)
def test_oddities_that_are_no_fault(tmp_path, data):
    ingest([write(tmp_path / "plain", ROWS)], tmp_path / "plain.parquet")
    for size in (1 << 24, 700):
        out = tmp_path / f"{size}.parquet"
        report = ingest([write(tmp_path / "odd", data)], out, block_bytes=size)
        assert facts(out) == facts(tmp_path / "plain.parquet")
        assert report["rows"]["malformed"] == 0 and report["rows"]["read"] == 40
        assert report["rows"]["latin1"] == (40 if b"\xff" in data else 0)


def test_a_name_in_latin1_is_read(tmp_path):
    data = raw(1).replace(b"FRANCE", "Córdoba".encode("latin-1")) + raw(2, Actor1Name="Córdoba")
    report = ingest([write(tmp_path, data)], tmp_path / "events.parquet")
    assert [fact[0] for fact in facts(tmp_path / "events.parquet")] == ["CÓRDOBA"]
    assert (report["rows"]["latin1"], report["events"]["repeated_facts"]) == (1, 1)


def test_daily_files_with_and_without_address(tmp_path):
    data = raw(1, 58) + raw(2, 57, Actor1Name="SPAIN") + raw(3, 58, DATEADDED="20200104", Day="20191231")
    report = ingest([write(tmp_path, data)], tmp_path / "events.parquet")
    assert [str(fact[3]) for fact in facts(tmp_path / "events.parquet")] == [
        "2020-01-01 00:00:00",
        "2020-01-01 00:00:00",
        "2020-01-04 00:00:00",
    ]
    assert report["missing"]["days"] == {
        "count": 2,
        "ranges": [{"first": "2020-01-02", "last": "2020-01-03", "count": 2}],
    }
    assert report["missing"]["quarter_hours"]["count"] == 0
    assert report["late"]["2 to 7 days"] == 1


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (20200101001500, 14, 1577837700),
        (20200101, 8, 1577836800),
        (19200101, 8, -1577923200),
        (20200101, 14, None),
        (20200101001500, 8, None),
        (20200101240000, 14, None),
        (20200101006000, 14, None),
        (20201301, 8, None),
        (0, 8, None),
        (-2020010, 8, None),
    ],
)
def test_times_as_gdelt_writes_them(value, digits, expected):
    assert parse_seconds(value, digits) == expected
