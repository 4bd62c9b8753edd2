"""Files collected from a server on this machine: whole or not there at all, whatever the server does."""

import datetime as dt
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.gdelt_server import FIRST, GDELT, md5, rows, zipped
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.gdelt import verified
from tirgn_eqx.gdelt.collect import collect
from tirgn_eqx.gdelt.feed import FEEDS, Listed
from tirgn_eqx.gdelt.verified import Verified
from tirgn_eqx.storage.download import Patience, checked_url, zip_trouble

QUARTER = dt.timedelta(minutes=15)
V2 = FEEDS["v2"]
QUICK = Patience(tries=3, timeout=5.0, backoff=0.001)


def run(gdelt, place, count=4, **options):
    """Collects the first `count` quarter hours."""
    options = {"base_url": gdelt.url, "patience": QUICK, "workers": 3} | options
    return collect(place, FIRST, FIRST + (count - 1) * QUARTER, **options)


def whole(gdelt, place: Path) -> list[str]:
    """Names of the zips in `place`, each of which must be what the server has; no other file may be left over."""
    names = []
    for path in sorted(place.iterdir()):
        if path.name.endswith(".zip"):
            assert path.read_bytes() == gdelt.files[f"/gdeltv2/{path.name}"], path.name
            names.append(path.name)
        else:
            assert path.name in ("masterfilelist.txt", "collected.json", ".collect.lock"), path.name
    return names


def test_every_listed_file_is_fetched_and_none_twice(gdelt, tmp_path):
    names, records = gdelt.add(6), []
    result = run(gdelt, tmp_path / "raw", on_record=records.append)
    assert whole(gdelt, tmp_path / "raw") == names[:4]
    assert (result["status"], result["listed"], result["fetched"], result["present"]) == ("complete", 4, 4, 0)
    assert (result["from"], result["to"]) == ("2020-11-15T07:00:00Z", "2020-11-15T07:45:00Z")
    assert result["bytes_fetched"] == sum(len(gdelt.files[f"/gdeltv2/{name}"]) for name in names[:4])
    assert result["missing"] == {"count": 0, "ranges": []} and result["failed"] == []
    events = [record["event"] for record in records]
    assert events.index("list") < events.index("check") < events.index("start") < events.index("file")
    assert sum(record["bytes"] for record in records if record["event"] == "bytes") == result["bytes_fetched"]
    json.dumps(result)

    gdelt.requests.clear()
    again = run(gdelt, tmp_path / "raw", 6)
    assert (again["fetched"], again["present"]) == (2, 4)
    assert whole(gdelt, tmp_path / "raw") == names
    assert all(gdelt.count(name) == 0 for name in names[:4])


def test_the_daily_feed(gdelt, tmp_path):
    names = gdelt.add(3, "v1")
    result = collect(tmp_path, FIRST, FIRST + dt.timedelta(days=3), feed="v1", base_url=gdelt.url + "/", patience=QUICK)
    assert sorted(path.name for path in tmp_path.glob("*.zip")) == names
    assert result["list"]["files_after_newest"] == 1 and result["missing"]["count"] == 0
    del gdelt.files["/events/filesizes"]
    with pytest.raises(DataError, match=r"/events/filesizes: not found \(HTTP 404\); try again later"):
        collect(tmp_path, FIRST, FIRST, feed="v1", base_url=gdelt.url, patience=QUICK)


def test_a_daily_file_without_a_listed_size_is_known_by_its_md5(gdelt, tmp_path):
    (name,) = gdelt.add(1, "v1")
    gdelt.files["/events/filesizes"] = b"\n"
    gdelt.tricks[f"/events/{name}"] = [("cut", 50)]
    result = collect(tmp_path, FIRST, FIRST, feed="v1", base_url=gdelt.url, patience=QUICK)
    assert result["fetched"] == 1
    assert (tmp_path / name).read_bytes() == gdelt.files[f"/events/{name}"]


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
    waits = [(record["why"], record["wait"] >= 1) for record in records if record["event"] == "retry"]
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
    waits = [record["wait"] for record in records if record["event"] == "retry"]
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


def test_gaps_are_listed_and_no_failure(gdelt, tmp_path):
    names = gdelt.add(10)
    for index in (2, 3, 7):
        del gdelt.files[f"/gdeltv2/{names[index]}"]
    gdelt.write_lists(V2)
    del gdelt.files[f"/gdeltv2/{names[5]}"]
    result = run(gdelt, tmp_path, 14)
    assert (result["status"], result["listed"], result["fetched"]) == ("complete", 7, 6)
    at = lambda index: (FIRST + index * QUARTER).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert result["missing"] == {
        "count": 4,
        "ranges": [
            {"from": at(2), "to": at(3), "count": 2, "why": "not in the list"},
            {"from": at(5), "to": at(5), "count": 1, "why": "not on the server"},
            {"from": at(7), "to": at(7), "count": 1, "why": "not in the list"},
        ],
    }
    assert (result["list"]["newest"], result["list"]["files_after_newest"]) == (at(9), 4)


def test_a_server_with_none_of_its_files_is_incomplete(gdelt, tmp_path):
    for name in gdelt.add(2):
        del gdelt.files[f"/gdeltv2/{name}"]
    result = run(gdelt, tmp_path, 2)
    assert (result["status"], result["missing"]["count"], result["failed"]) == ("incomplete", 2, [])


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


def test_addresses_in_the_list_lead_nowhere_else(gdelt, tmp_path):
    names, evil = gdelt.add(1), "20201115071500.export.CSV.zip"
    gdelt.write_lists(
        V2,
        f"5 {'0' * 32} {gdelt.url}/gdeltv2/../../{evil}",
        f"5 {'0' * 32} file:///gdeltv2/{evil}",
        f"5 {'0' * 32} http://other.example/elsewhere/{evil}",
        "nonsense",
    )
    result = run(gdelt, tmp_path / "a" / "raw", 2)
    assert [bad["line"] for bad in result["list"]["malformed"]["first"]] == [2, 3, 4, 5]
    assert result["list"]["malformed"]["count"] == 4
    assert whole(gdelt, tmp_path / "a" / "raw") == names
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "raw"] == []
    assert {path for path, _ in gdelt.requests} == {V2.lists[0], f"/gdeltv2/{names[0]}"}


def test_a_file_that_changed_or_was_cut_is_fetched_again(gdelt, tmp_path):
    names = gdelt.add(3)
    run(gdelt, tmp_path, 3)
    cut, changed = tmp_path / names[0], tmp_path / names[1]
    before = changed.stat()
    cut.write_bytes(cut.read_bytes()[:70])
    content = bytearray(changed.read_bytes())
    content[40] ^= 1
    changed.write_bytes(content)
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    gdelt.requests.clear()
    result = run(gdelt, tmp_path, 3)
    assert (result["present"], result["fetched"]) == (1, 2)
    assert (f"/gdeltv2/{names[0]}", "bytes=70-") in gdelt.requests
    assert whole(gdelt, tmp_path) == names


def test_a_file_under_the_final_name_is_never_a_wrong_one(gdelt, tmp_path):
    names = gdelt.add(2)
    (tmp_path / names[0]).write_bytes(b"half")
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    (tmp_path / f"{names[1]}.part").symlink_to(target)
    gdelt.tricks[f"/gdeltv2/{names[0]}"] = [500] * 3
    run(gdelt, tmp_path, 2)
    assert not (tmp_path / names[0]).exists() and (tmp_path / f"{names[0]}.part").exists()
    assert target.read_bytes() == b"precious" and not (tmp_path / names[1]).is_symlink()
    assert run(gdelt, tmp_path, 2)["status"] == "complete"


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


def test_impossible_settings(tmp_path):
    assert checked_url("https://x:80/a/") == "https://x:80/a"
    for options, text in (({"workers": 0}, "workers = 0"), ({"feed": "v3"}, "feed 'v3' does not exist")):
        with pytest.raises(ConfigError, match=text):
            collect(tmp_path, FIRST, FIRST, **options)
    for options in (
        {"tries": 0},
        {"timeout": 0.0},
        {"timeout": float("inf")},
        {"timeout": float("nan")},
        {"backoff": -1.0},
    ):
        with pytest.raises(ConfigError, match="must be a number of at least"):
            Patience(**options)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_ends_it_in_one_line(gdelt, tmp_path, monkeypatch, number):
    names = gdelt.add(4)

    def fsync(handle):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("tirgn_eqx.storage.download.os.fsync", fsync)
        with pytest.raises(DataError) as error:
            run(gdelt, tmp_path)
    expected = "no space left; free some" if number == errno.ENOSPC else "Input/output error"
    assert expected in str(error.value) and str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    assert list(tmp_path.glob("*.zip")) == []
    assert run(gdelt, tmp_path)["status"] == "complete"
    assert whole(gdelt, tmp_path) == names


def test_a_folder_that_is_none(gdelt, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="file: .*; choose a folder that can be written"):
        run(gdelt, tmp_path / "file")
    (name,) = gdelt.add(1)
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=f"{name}: is a folder, where a file should be"):
        run(gdelt, tmp_path, 1)


def test_two_collections_do_not_share_a_folder(gdelt, tmp_path):
    gdelt.add(4)
    inner = []

    def record(record):
        if record["event"] == "start":
            with pytest.raises(DataError, match="another collection is at work here"):
                run(gdelt, tmp_path)
            inner.append(record)

    assert run(gdelt, tmp_path, on_record=record)["status"] == "complete"
    assert len(inner) == 1
    assert run(gdelt, tmp_path)["present"] == 4


def test_an_interruption_keeps_what_came(gdelt, tmp_path):
    names = gdelt.add(3)
    never = threading.Event()
    gdelt.tricks[f"/gdeltv2/{names[1]}"] = [("hold", never)]

    def record(record):
        if record["event"] == "bytes" and record["name"].startswith(names[1]):
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(gdelt, tmp_path, 3, workers=1, on_record=record, patience=Patience(timeout=1.5))
    assert time.monotonic() - began < 1.4
    half = len(gdelt.files[f"/gdeltv2/{names[1]}"]) // 2
    assert (tmp_path / f"{names[1]}.part").stat().st_size == half
    assert (tmp_path / names[0]).exists() and not (tmp_path / names[2]).exists()
    gdelt.requests.clear()
    assert run(gdelt, tmp_path, 3)["status"] == "complete"
    assert (f"/gdeltv2/{names[1]}", f"bytes={half}-") in gdelt.requests
    assert whole(gdelt, tmp_path) == names


def test_a_killed_collection_is_gone_on_with(gdelt, tmp_path):
    names = gdelt.add(8)
    never = threading.Event()
    gdelt.tricks[f"/gdeltv2/{names[5]}"] = [("hold", never)]
    root = Path(__file__).parents[2]
    options = ("--from", "2020-11-15T07:00", "--to", "2020-11-15T08:45", "--base-url", gdelt.url, "--workers", "2")
    command = [sys.executable, "-m", "tirgn_cli", "data", "collect", *options, "--dir", str(tmp_path / "raw")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "cli")]), "no_proxy": "*"}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert gdelt.reached.wait(60)
        until = time.monotonic() + 30
        part = tmp_path / "raw" / f"{names[5]}.part"
        while time.monotonic() < until and not (part.exists() and (tmp_path / "raw" / names[7]).exists()):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    there = [path.name for path in (tmp_path / "raw").glob("*.zip")]
    assert names[5] not in there
    for name in there:
        assert (tmp_path / "raw" / name).read_bytes() == gdelt.files[f"/gdeltv2/{name}"]
    result = run(gdelt, tmp_path / "raw", 8)
    assert (result["status"], result["present"], result["fetched"]) == ("complete", len(there), 8 - len(there))
    assert whole(gdelt, tmp_path / "raw") == names


def test_the_record_of_what_is_whole_is_never_wrong(tmp_path, monkeypatch):
    place = tmp_path / "20201115070000.export.CSV.zip"
    place.write_bytes(b"content")
    listed = Listed(FIRST, 7, md5(b"content"))
    read = []
    known = lambda path, kind: read.append(path) or f"{kind}:{md5(path.read_bytes())}"
    monkeypatch.setattr("tirgn_eqx.gdelt.verified.digest_of", known)

    def holds():
        verified = Verified(tmp_path / "collected.json")
        answer = verified.holds(place, listed)
        verified.save()
        return answer

    assert holds() and holds() and len(read) == 2  # too young to be believed
    monkeypatch.setattr("tirgn_eqx.gdelt.verified._CLOCK_STEP", -1)
    assert holds() and len(read) == 2
    before = place.stat()
    place.write_bytes(b"CONTENT")
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not holds() and len(read) == 3
    place.write_bytes(b"content")
    for text in ("", "{", "[]", '{"files": 3}', f'{{"files": {{"{place.name}": [1]}}}}', '{"files": {"x": 1}}'):
        (tmp_path / "collected.json").write_text(text)
        assert holds()
    place.unlink()
    assert not holds()
    assert not Verified(tmp_path / "collected.json").holds(place, listed)


def test_sound_zips(tmp_path):
    place = tmp_path / "x.zip"
    place.write_bytes(zipped("x.zip", rows(0)))
    assert zip_trouble(place) == ""
    place.write_bytes(zipped("x.zip", rows(0))[:-30])
    assert "no sound zip" in zip_trouble(place)


def test_the_server_of_these_tests_is_as_it_says():
    server = GDELT()
    assert len(server.add(2)) == 2 and server.files[V2.lists[0]].count(b"\n") == 2
    server.close()


def test_what_was_found_whole_is_not_read_again(gdelt, tmp_path, monkeypatch):
    """The record of one call serves the next."""
    monkeypatch.setattr("tirgn_eqx.gdelt.verified._CLOCK_STEP", -1)
    names, read = gdelt.add(3), []
    run(gdelt, tmp_path, 3)
    digest = verified.digest_of
    monkeypatch.setattr(verified, "digest_of", lambda path, kind: read.append(path.name) or digest(path, kind))
    assert run(gdelt, tmp_path, 3)["present"] == 3 and read == names
    assert run(gdelt, tmp_path, 3)["present"] == 3 and read == names


def test_files_are_looked_at_and_fetched_from_the_oldest_on(gdelt, tmp_path):
    names, asked = gdelt.add(5), []
    gdelt.files["/gdeltv2/masterfilelist.txt"] = b"".join(
        reversed(gdelt.files["/gdeltv2/masterfilelist.txt"].splitlines(keepends=True))
    )
    run(gdelt, tmp_path, 5, workers=1)
    for path, _ in gdelt.requests:
        asked += [Path(path).name] if path.endswith(".zip") else []
    assert asked == names


def test_a_change_is_seen_also_when_the_clock_was_ahead_at_the_check(tmp_path, monkeypatch):
    """The time of the check says nothing then; the file's own change time does."""
    place, ahead = tmp_path / "20201115070000.export.CSV.zip", 3600 * 10**9
    place.write_bytes(b"content")
    now = time.time_ns
    monkeypatch.setattr(verified.time, "time_ns", lambda: now() + ahead)
    known = Verified(tmp_path / "collected.json")
    assert known.holds(place, Listed(FIRST, 7, md5(b"content")))
    before = place.stat()
    time.sleep(0.02)
    place.write_bytes(b"CONTENT")
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not known.holds(place, Listed(FIRST, 7, md5(b"content")))
