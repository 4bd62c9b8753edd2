"""Names, lists and times of GDELT's feeds."""

import datetime as dt
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tirgn_eqx.errors import ConfigError
from tirgn_eqx.gdelt.feed import (
    FEEDS,
    LONGEST_LINE,
    MALFORMED_SHOWN,
    clip_range,
    find_feed,
    group_times,
    iterate_lines,
    parse_span,
    parse_time,
    read_lists,
)

V2, V1 = FEEDS["v2"], FEEDS["v1"]
HOST = "http://data.gdeltproject.org"
MD5 = "297a16b493de7cf6ca809a7cc31d0b93"
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def utc(*numbers: int) -> dt.datetime:
    return dt.datetime(*numbers, tzinfo=dt.UTC)


def listing(*lines: str | bytes, start=V2.first, end=NOW):
    return read_lists(V2, [[line.encode() if isinstance(line, str) else line for line in lines]], start, end)


def test_names():
    assert V2.file_name(V2.first) == "20150218230000.export.CSV.zip"
    assert V2.path(V2.first) == "/gdeltv2/20150218230000.export.CSV.zip"
    assert V1.path(utc(2015, 12, 7)) == "/events/20151207.export.CSV.zip"
    assert V2.parse_name("20150218230000.export.CSV.zip") == V2.first
    assert V1.parse_name("20151207.export.CSV.zip") == utc(2015, 12, 7)


@pytest.mark.parametrize(
    "name",
    [
        "20150218230100.export.CSV.zip",
        "20150218224500.export.CSV.zip",
        "20150230000000.export.CSV.zip",
        "00000101000000.export.CSV.zip",
        "20151207.export.CSV.zip",
        "../20150218230000.export.CSV.zip",
        "２０150218230000.export.CSV.zip",
        "20150218230000.export.csv.zip",
        "20150218230000.export.CSV.zip\n",
        ".export.CSV.zip",
        "",
    ],
)
def test_what_is_no_name_of_a_quarter_hour(name):
    assert V2.parse_name(name) is None


def test_the_master_list():
    found = listing(
        f"150383 {MD5} {HOST}/gdeltv2/20150218230000.export.CSV.zip\n",
        f"318084 {MD5} {HOST}/gdeltv2/20150218230000.mentions.CSV.zip\n",
        f"10768507 {MD5} {HOST}/gdeltv2/20150218230000.gkg.csv.zip\n",
        "\n",
        f"149211 {MD5.upper()} {HOST}/gdeltv2/20150218231500.export.CSV.zip\r\n",
        f"149723 {MD5} {HOST}/gdeltv2/20150218233000.export.CSV.zip",
        end=utc(2015, 2, 18, 23, 15),
    )
    assert {moment: (entry.size, entry.md5) for moment, entry in found.files.items()} == {
        V2.first: (150383, MD5),
        utc(2015, 2, 18, 23, 15): (149211, MD5),
    }
    assert (found.lines, found.exports, found.malformed, found.duplicates) == (6, 3, 0, 0)
    assert found.newest == utc(2015, 2, 18, 23, 30)


@pytest.mark.parametrize(
    "line",
    [
        "garbage",
        f"{HOST}/gdeltv2/20150218230000.export.CSV.zip",
        f" {MD5} {HOST}/gdeltv2/20150218230000.export.CSV.zip",
        f"-5 {MD5} {HOST}/gdeltv2/20150218230000.export.CSV.zip",
        f"0 {MD5} {HOST}/gdeltv2/20150218230000.export.CSV.zip",
        f"{'9' * 5000} {MD5} {HOST}/gdeltv2/20150218230000.export.CSV.zip",
        f"150383 {MD5[:-1]} {HOST}/gdeltv2/20150218230000.export.CSV.zip",
        f"150383 {MD5} {HOST}/gdeltv2/20150218230000.export.CSV.zip extra",
        f"150383 {MD5} {HOST}/gdeltv2/../../etc/20150218230000.export.CSV.zip",
        f"150383 {MD5} {HOST}/../gdeltv2/20150218230000.export.CSV.zip",
        f"150383 {MD5} {HOST}/gdeltv2/..%2f20150218230000.export.CSV.zip",
        f"150383 {MD5} {HOST}/gdeltv2/x?/gdeltv2/20150218230000.export.CSV.zip",
        f"150383 {MD5} file:///gdeltv2/20150218230000.export.CSV.zip",
        f"150383 {MD5} /gdeltv2/20150218230000.export.CSV.zip",
        f"150383 {MD5} {HOST}/gdeltv3/20150218230000.export.CSV.zip",
        f"150383 {MD5} {HOST}/gdeltv2/20159918230000.export.CSV.zip",
        b"150383 \xff\xfe http://x/gdeltv2/20150218230000.export.CSV.zip",
    ],
)
def test_malformed_lines_are_counted_and_named(line):
    good = f"150383 {MD5} {HOST}/gdeltv2/20150218231500.export.CSV.zip\n"
    found = listing(good, line)
    assert list(found.files) == [utc(2015, 2, 18, 23, 15)]
    assert found.malformed == 1
    (shown,) = found.shown
    assert (shown.list, shown.line) == ("masterfilelist.txt", 2) and shown.why and len(shown.text) <= 200


def test_only_the_first_malformed_lines_are_kept():
    found = listing(*["bad\n"] * 50)
    assert found.malformed == 50
    assert [bad.line for bad in found.shown] == list(range(1, MALFORMED_SHOWN + 1))


def test_of_lines_about_the_same_file_the_later_one_counts():
    address = f"{HOST}/gdeltv2/20150218230000.export.CSV.zip"
    found = listing(f"1 {MD5} {address}", f"2 {MD5} {address}", f"2 {MD5} {address}")
    assert found.duplicates == 2 and found.files[V2.first].size == 2


def test_a_mirror_may_list_its_own_addresses():
    found = listing(f"1 {MD5} https://mirror.example:8080/pub/gdelt/gdeltv2/20150218230000.export.CSV.zip")
    assert list(found.files) == [V2.first]


def test_the_daily_lists():
    sums = [
        f"{MD5}  20151207.export.CSV.zip\n",
        f"{MD5}  20151208.export.CSV.zip\n",
        f"{MD5}  201303.zip\n",
        "nonsense\n",
        f"{MD5}  2015120700.export.CSV.zip\n",
    ]
    sizes = ["4000 20151207.export.CSV.zip\n", "many 20151208.export.CSV.zip\n", "1 GDELT.MASTERREDUCEDV2.zip\n"]
    found = read_lists(V1, [[line.encode() for line in lines] for lines in (sums, sizes)], V1.first, NOW)
    assert {moment: entry.size for moment, entry in found.files.items()} == {
        utc(2015, 12, 7): 4000,
        utc(2015, 12, 8): None,
    }
    where = [(bad.list, bad.line) for bad in found.shown]
    assert where == [("filesizes", 2), ("md5sums", 4), ("md5sums", 5)]
    assert (found.lines, found.malformed) == (8, 3)


moments = st.integers(0, 400_000).map(lambda step: V2.first + step * V2.step)
valid = st.tuples(moments, st.integers(1, 10**9), st.from_regex(r"[0-9a-f]{32}", fullmatch=True))
noise = st.binary(max_size=200).filter(lambda line: b"\n" not in line and b".export.CSV.zip" not in line)


@given(st.lists(valid | noise, max_size=20))
def test_valid_lines_are_found_among_any_others(entries):
    expected, lines = {}, []
    for entry in entries:
        if isinstance(entry, tuple):
            moment, size, md5 = entry
            lines.append(f"{size} {md5} {HOST}{V2.path(moment)}\n".encode())
            expected[moment] = (size, md5)
        else:
            lines.append(entry + b"\n")
    file = io.BytesIO(b"".join(lines))
    found = read_lists(V2, [iterate_lines(file)], V2.first, V2.first + 500_000 * V2.step)
    assert {moment: (entry.size, entry.md5) for moment, entry in found.files.items()} == expected
    assert found.lines == len(lines)
    assert found.exports == len(expected) + found.duplicates
    assert found.malformed + found.exports <= found.lines


@given(st.binary(max_size=300), st.sampled_from([V1, V2]))
def test_no_list_at_all_raises(data, feed):
    lists = [iterate_lines(io.BytesIO(data)) for _ in feed.lists]
    found = read_lists(feed, lists, feed.first, NOW)
    assert found.lines <= 2 * (data.count(b"\n") + 1)


def test_a_line_without_end_is_one_malformed_line():
    file = io.BytesIO(b"x" * (5 * LONGEST_LINE) + b"\nnext\n" + b"y" * LONGEST_LINE + b"\n")
    lines = list(iterate_lines(file))
    assert [len(line) for line in lines] == [LONGEST_LINE, 5, LONGEST_LINE]
    assert lines[1] == b"next\n"


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024-01-31", utc(2024, 1, 31), utc(2024, 1, 31, 23, 59, 59, 999_999)),
        ("20240131", utc(2024, 1, 31), utc(2024, 1, 31, 23, 59, 59, 999_999)),
        ("2024-01-31T06:15", utc(2024, 1, 31, 6, 15), utc(2024, 1, 31, 6, 15)),
        ("2024-01-31 06:15:00Z", utc(2024, 1, 31, 6, 15), utc(2024, 1, 31, 6, 15)),
        ("2024-01-31T06:15+02:00", utc(2024, 1, 31, 4, 15), utc(2024, 1, 31, 4, 15)),
        ("9999-12-31", utc(9999, 12, 31), utc(9999, 12, 31, 23, 59, 59, 999_999)),
        ("20240131061500", utc(2024, 1, 31, 6, 15), utc(2024, 1, 31, 6, 15)),
    ],
)
def test_times(text, first, last):
    assert parse_time(text) == first
    assert parse_time(text, end=True) == last


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2024", "2024-13-01", "2024-W05", "2024-W05-1", "202401", "20240231", "2024-01-31x"]
)
def test_what_is_no_time(text):
    with pytest.raises(ConfigError, match="not a time; write a UTC day"):
        parse_time(text)


def test_spans():
    assert parse_span("30d") == dt.timedelta(days=30)
    assert parse_span(" 36 H ") == dt.timedelta(hours=36)
    for text in ("", "30", "d", "0d", "-3d", "1.5d", "3w", "3d2h", "٣d"):
        with pytest.raises(ConfigError, match="not a length of time"):
            parse_span(text)


def test_ranges_of_time():
    assert clip_range(V2, utc(2020, 1, 1, 0, 1), utc(2020, 1, 1, 1), NOW) == (
        utc(2020, 1, 1, 0, 15),
        utc(2020, 1, 1, 1),
    )
    assert clip_range(V2, utc(2015, 1, 1), utc(2030, 1, 1), utc(2016, 1, 1, 0, 20)) == (
        V2.first,
        utc(2016, 1, 1, 0, 15),
    )
    assert clip_range(V1, utc(2020, 1, 1, 12), utc(2020, 1, 2, 12), NOW) == (utc(2020, 1, 1), utc(2020, 1, 2))
    for start, end, text in (
        (utc(2020, 1, 2), utc(2020, 1, 1), "ends at 2020-01-01T00:00:00Z, before it starts"),
        (utc(2015, 1, 1), utc(2015, 2, 1), "before the first file of v2, 2015-02-18T23:00:00Z; v1 reaches back"),
        (utc(2027, 1, 1), utc(2027, 1, 2), "in the future"),
        (utc(2020, 1, 1, 0, 1), utc(2020, 1, 1, 0, 14), "no file of v2 lies between"),
    ):
        with pytest.raises(ConfigError, match=text):
            clip_range(V2, start, end, NOW)
    with pytest.raises(ConfigError, match="feed 'v3' does not exist; did you mean 'v"):
        find_feed("v3")


@given(st.sets(st.integers(0, 60)))
def test_runs_hold_every_time_once(steps):
    times = [V2.first + step * V2.step for step in sorted(steps)]
    runs = group_times(times, V2.step)
    assert sum((last - first) // V2.step + 1 for first, last in runs) == len(times)
    assert [time for run in runs for time in V2.times(*run)] == times
    assert all(b[0] > a[1] + V2.step for a, b in zip(runs, runs[1:]))


def test_the_files_of_a_span():
    assert list(V2.times(utc(2015, 1, 1), V2.first + V2.step)) == [V2.first, V2.first + V2.step]
    assert list(V2.times(utc(2020, 1, 1, 0, 10), utc(2020, 1, 1, 0, 31))) == [
        utc(2020, 1, 1, 0, 15),
        utc(2020, 1, 1, 0, 30),
    ]
