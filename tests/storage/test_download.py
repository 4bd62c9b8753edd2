"""Downloads from a server that misbehaves, by way of collections, and what downloads are checked by."""

import hashlib
import re
import socket
import threading
import time

import pytest

from tests.gdelt.collect_helpers import QUARTER, V2, run, whole
from tests.gdelt_server import FIRST, md5, rows, zipped
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.gdelt.collect import FetchRetried, collect
from tirgn_eqx.storage.download import Patience, checked_url, digest_of, publish, zip_trouble


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_off_is_resumed_where_the_server_can(gdelt, tmp_path, ranges):
    names = gdelt.add(1)
    path, gdelt.ranges = f"/gdeltv2/{names[0]}", ranges
    gdelt.tricks[path] = [("cut", 100), ("cut", 100)]
    assert run(gdelt, tmp_path, 1)["status"] == "complete"
    assert whole(gdelt, tmp_path) == names
    asked = [text for where, text in gdelt.requests if where == path]
    assert asked == ([None, "bytes=100-", "bytes=200-"] if ranges else [None, "bytes=100-", "bytes=100-"])


@pytest.mark.parametrize("trick", [("lie", 50), ("lie", -50), 500, 503, "whole"])
def test_what_goes_wrong_once_or_twice_does_not_matter(gdelt, tmp_path, trick):
    names = gdelt.add(2)
    gdelt.tricks[f"/gdeltv2/{names[0]}"] = [trick, trick]
    assert run(gdelt, tmp_path, 2)["status"] == "complete"
    assert whole(gdelt, tmp_path) == names


def test_a_wait_that_the_server_asks_for_is_kept_to(gdelt, tmp_path):
    names = gdelt.add(1)
    gdelt.tricks[f"/gdeltv2/{names[0]}"] = [(429, {"Retry-After": "1"}), (503, {"Retry-After": "soon"})]
    records, began = [], time.monotonic()
    assert run(gdelt, tmp_path, 1, on_record=records.append)["status"] == "complete"
    assert time.monotonic() - began >= 1.0
    waits = [(record.why, record.wait >= 1) for record in records if isinstance(record, FetchRetried)]
    assert waits == [("HTTP 429", True), ("HTTP 503", False)]


def test_a_file_that_asks_for_too_long_a_wait_is_given_up(gdelt, tmp_path):
    names = gdelt.add(2)
    gdelt.tricks[f"/gdeltv2/{names[0]}"] = [(503, {"Retry-After": "3600"})]
    result = run(gdelt, tmp_path, 2)
    assert [end["why"] for end in result["failed"]] == ["HTTP 503, which asks to wait for 3600 s"]
    assert whole(gdelt, tmp_path) == names[1:]


def test_the_pause_doubles_with_a_part_by_chance(gdelt, tmp_path):
    names, records = gdelt.add(1), []
    gdelt.tricks[f"/gdeltv2/{names[0]}"] = [500] * 5
    patience = Patience(tries=6, timeout=5.0, backoff=0.004, longest=0.02)
    assert run(gdelt, tmp_path, 1, patience=patience, on_record=records.append)["status"] == "complete"
    waits = [record.wait for record in records if isinstance(record, FetchRetried)]
    for wait, full in zip(waits, (0.004, 0.008, 0.016, 0.02, 0.02), strict=True):
        assert full / 2 <= wait <= full


def broken_zip(name: str) -> bytes:
    content = bytearray(zipped(name, rows(0)))
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lambda name: b"<html>blocked</html>", "its md5 is as listed, but it is no sound zip"),
        (lambda name: zipped(name, b"x", members=2), "the zip holds 2 files instead of one"),
        (broken_zip, "its md5 is as listed, but"),
    ],
)
def test_what_is_no_sound_zip_is_never_kept(gdelt, tmp_path, content, why):
    names = gdelt.add(3)
    gdelt.files[f"/gdeltv2/{names[1]}"] = content(names[1])
    gdelt.write_lists(V2)
    result = run(gdelt, tmp_path, 3)
    (failed,) = result["failed"]
    assert failed["name"] == names[1] and why in failed["why"] and failed["url"].startswith(gdelt.url)
    assert result["status"] == "incomplete"
    assert whole(gdelt, tmp_path) == [names[0], names[2]]
    assert gdelt.count(names[1]) == 1


@pytest.mark.parametrize(
    ("size", "why"),
    [(0, "its md5 is .*, listed is 0{32}, after 3 tries"), (-7, "longer than the"), (7, "it ended after")],
)
def test_a_file_that_is_not_as_listed_is_never_kept(gdelt, tmp_path, size, why):
    names = gdelt.add(2)
    content = gdelt.files[f"/gdeltv2/{names[0]}"]
    gdelt.write_lists(V2, f"{len(content) + size} {'0' * 32} http://data.gdeltproject.org/gdeltv2/{names[0]}")
    result = run(gdelt, tmp_path, 2)
    assert result["list"]["duplicates"] == 1
    (failed,) = result["failed"]
    assert re.search(why, failed["why"])
    assert gdelt.count(names[0]) == 3
    assert whole(gdelt, tmp_path) == names[1:]


def test_a_refusal_is_not_asked_again(gdelt, tmp_path):
    names = gdelt.add(2)
    gdelt.tricks[f"/gdeltv2/{names[0]}"] = [403]
    assert [end["why"] for end in run(gdelt, tmp_path, 2)["failed"]] == ["refused (HTTP 403)"]
    assert gdelt.count(names[0]) == 1
    assert run(gdelt, tmp_path, 2)["status"] == "complete"
    assert whole(gdelt, tmp_path) == names


def test_a_server_that_falls_silent(gdelt, tmp_path):
    names = gdelt.add(2)
    never = threading.Event()
    path = f"/gdeltv2/{names[0]}"
    gdelt.tricks[path] = [("hold", never)]
    patience = Patience(tries=2, timeout=0.3, backoff=0.001)
    assert run(gdelt, tmp_path, 2, patience=patience)["status"] == "complete"
    half = len(gdelt.files[path]) // 2
    assert [text for where, text in gdelt.requests if where == path] == [None, f"bytes={half}-"]
    assert whole(gdelt, tmp_path) == names


def test_bytes_that_trickle_are_as_good_as_none(gdelt, tmp_path):
    names = gdelt.add(1)
    gdelt.tricks[f"/gdeltv2/{names[0]}"] = [("trickle", 0.02)]
    failed = run(gdelt, tmp_path, 1, patience=Patience(tries=1, timeout=0.1, backoff=0.001))["failed"]
    assert [bool(re.fullmatch(r"only \d+ bytes came in 0.1 s, after 1 tries", end["why"])) for end in failed] == [True]
    assert 0 < (tmp_path / f"{names[0]}.part").stat().st_size < 1024


def test_a_redirect_is_followed_a_few_times(gdelt, tmp_path):
    names = gdelt.add(2)
    gdelt.files["/elsewhere.zip"] = gdelt.files[f"/gdeltv2/{names[0]}"]
    gdelt.tricks[f"/gdeltv2/{names[0]}"] = [(302, {"Location": "/elsewhere.zip"})]
    gdelt.tricks[f"/gdeltv2/{names[1]}"] = [(302, {"Location": f"/gdeltv2/{names[1]}"})] * 30
    result = run(gdelt, tmp_path, 2)
    assert [end["why"] for end in result["failed"]] == ["too many redirects, after 3 tries"]
    assert whole(gdelt, tmp_path) == names[:1]


def test_a_part_of_something_else_is_dropped(gdelt, tmp_path):
    names = gdelt.add(3)
    sizes = [len(gdelt.files[f"/gdeltv2/{name}"]) for name in names]
    for name, size in zip(names, (40, sizes[1], sizes[2] + 9)):
        (tmp_path / f"{name}.part").write_bytes(b"z" * size)
    assert run(gdelt, tmp_path, 3)["status"] == "complete"
    assert whole(gdelt, tmp_path) == names


def test_the_list_is_kept_and_only_its_new_lines_are_fetched(gdelt, tmp_path):
    names = gdelt.add(2)
    gdelt.write_lists(V2, *["filler " * 10] * 200)
    run(gdelt, tmp_path, 2)
    known = gdelt.files[V2.lists[0]]
    path = "/gdeltv2/" + V2.file_name(FIRST + 2 * QUARTER)
    gdelt.files[path] = content = zipped(path[9:], rows(2))
    gdelt.files[V2.lists[0]] = known + f"{len(content)} {md5(content)} http://x{path}\n".encode()
    gdelt.requests.clear()
    assert run(gdelt, tmp_path, 3)["fetched"] == 1
    assert gdelt.requests[0] == (V2.lists[0], f"bytes={len(known) - 4096}-")
    assert (tmp_path / "masterfilelist.txt").read_bytes() == gdelt.files[V2.lists[0]]

    for content in (known.replace(b"filler", b"FILLER"), known[:-50], b"", known):
        gdelt.files[V2.lists[0]] = content or known[:3000]
        assert run(gdelt, tmp_path, 2)["present"] == 2
        assert (tmp_path / "masterfilelist.txt").read_bytes() == gdelt.files[V2.lists[0]]
    assert whole(gdelt, tmp_path) == sorted([*names, path[9:]])


def test_a_list_that_breaks_off_is_resumed(gdelt, tmp_path):
    gdelt.add(1)
    gdelt.write_lists(V2, *["filler " * 10] * 200)
    gdelt.tricks[V2.lists[0]] = [("cut", 6000), ("cut", 5000)]
    assert run(gdelt, tmp_path, 1)["status"] == "complete"
    assert [text for path, text in gdelt.requests if path == V2.lists[0]] == [None, "bytes=1904-", "bytes=2808-"]


@pytest.mark.parametrize(
    ("tricks", "content", "text"),
    [
        ([404], b"", r"masterfilelist.txt: not found \(HTTP 404\); try again later"),
        ([500] * 3, b"", "masterfilelist.txt: HTTP 500, after 3 tries; try again later, or another --base-url"),
        ([], b"<html>welcome</html>\n", "none of its 1 lines is about an event file of feed v2; is http://127"),
    ],
)
def test_a_list_that_cannot_be_had(gdelt, tmp_path, tricks, content, text):
    gdelt.tricks[V2.lists[0]], gdelt.files[V2.lists[0]] = tricks, content
    with pytest.raises(DataError, match=text) as error:
        run(gdelt, tmp_path)
    assert "\n" not in str(error.value)


def test_a_server_that_is_not_there(tmp_path, gdelt):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(DataError, match="masterfilelist.txt: no connection, after 3 tries"):
        run(gdelt, tmp_path, base_url=url)
    with pytest.raises(DataError, match="masterfilelist.txt: the name of the server is not known, after 3 tries"):
        run(gdelt, tmp_path, base_url="http://no-such-host.invalid")


@pytest.mark.parametrize(
    "url", ["", "data.gdeltproject.org", "ftp://x", "http://", "http://x:99999", "http://x/?a", "http://x /"]
)
def test_what_is_no_address_of_a_server(url, tmp_path):
    with pytest.raises(ConfigError, match="not the address of a server"):
        collect(tmp_path / "raw", FIRST, FIRST, base_url=url)
    assert not (tmp_path / "raw").exists()


def test_sound_zips(tmp_path):
    place = tmp_path / "x.zip"
    place.write_bytes(zipped("x.zip", rows(0)))
    assert zip_trouble(place) == ""
    place.write_bytes(zipped("x.zip", rows(0))[:-30])
    assert "no sound zip" in zip_trouble(place)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tries": 0}, "tries = 0: must be a number of at least 1"),
        ({"timeout": float("nan")}, "timeout = nan: must be a number of at least 0.001"),
        ({"backoff": float("inf")}, "backoff = inf"),
    ],
)
def test_patience_has_bounds(changes, words):
    with pytest.raises(ConfigError, match=words):
        Patience(**changes)


def test_an_address_is_that_of_a_server():
    assert checked_url("http://data.gdeltproject.org/") == "http://data.gdeltproject.org"
    assert checked_url("https://host:8080/a/b") == "https://host:8080/a/b"
    for url in (
        "ftp://host",
        "host/a",
        "http://",
        "http://host:70000",
        "http://host/?a=1",
        "http://host/a b",
        "http://h\u00f6",
    ):
        with pytest.raises(ConfigError, match="not the address of a server"):
            checked_url(url)


def test_digests_are_those_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"hello\n")
    assert digest_of(tmp_path / "a", "md5") == f"md5:{hashlib.md5(b'hello' + bytes([10])).hexdigest()}"
    assert digest_of(tmp_path / "a", "sha256") == f"sha256:{hashlib.sha256(b'hello' + bytes([10])).hexdigest()}"
    assert digest_of(tmp_path / "a", "git") == "git:ce013625030ba8dba906f756967f9e9ca394464a"  # of `git hash-object`


def test_a_checked_file_takes_the_place_of_the_one_before(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "a.part").write_text("new")
    publish(tmp_path / "a.part", tmp_path / "a")
    assert (tmp_path / "a").read_text() == "new" and not (tmp_path / "a.part").exists()
