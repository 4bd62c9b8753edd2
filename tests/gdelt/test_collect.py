"""Collections: every listed file is fetched once, and a file is complete or not there."""

import datetime as dt
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.gdelt.collect_helpers import QUARTER, QUICK, V2, run, whole
from tests.gdelt_server import FIRST, GDELT
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.gdelt.collect import BytesFetched, FetchEnded, FetchStarted, FilesChecked, ListRead, collect
from tirgn_eqx.storage.download import Patience, checked_url


def test_every_listed_file_is_fetched_and_none_twice(gdelt, tmp_path):
    names, records = gdelt.add(6), []
    result = run(gdelt, tmp_path / "raw", on_record=records.append)
    assert whole(gdelt, tmp_path / "raw") == names[:4]
    assert (result["status"], result["listed"], result["fetched"], result["present"]) == ("complete", 4, 4, 0)
    assert (result["first"], result["last"]) == ("2020-11-15T07:00:00Z", "2020-11-15T07:45:00Z")
    assert result["bytes_fetched"] == sum(len(gdelt.files[f"/gdeltv2/{name}"]) for name in names[:4])
    assert result["missing"] == {"count": 0, "ranges": []} and result["failed"] == []
    kinds = [type(record) for record in records]
    assert kinds.index(ListRead) < kinds.index(FilesChecked) < kinds.index(FetchStarted) < kinds.index(FetchEnded)
    assert sum(record.bytes for record in records if isinstance(record, BytesFetched)) == result["bytes_fetched"]
    json.dumps(result)

    gdelt.requests.clear()
    again = run(gdelt, tmp_path / "raw", 6)
    assert (again["fetched"], again["present"]) == (2, 4)
    assert whole(gdelt, tmp_path / "raw") == names
    assert all(gdelt.count(name) == 0 for name in names[:4])


def test_the_daily_feed(gdelt, tmp_path):
    names = gdelt.add(3, "v1")
    daily = {"feed": "v1", "patience": QUICK}
    result = collect(tmp_path, FIRST, FIRST + dt.timedelta(days=3), base_url=gdelt.url + "/", **daily).model_dump()
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
    assert result.fetched == 1
    assert (tmp_path / name).read_bytes() == gdelt.files[f"/events/{name}"]


def test_gaps_are_listed_and_no_failure(gdelt, tmp_path):
    names = gdelt.add(10)
    for index in (2, 3, 7):
        del gdelt.files[f"/gdeltv2/{names[index]}"]
    gdelt.write_lists(V2)
    del gdelt.files[f"/gdeltv2/{names[5]}"]
    result = run(gdelt, tmp_path, 14)
    assert (result["status"], result["listed"], result["fetched"]) == ("complete", 7, 6)

    def at(index):
        return (FIRST + index * QUARTER).strftime("%Y-%m-%dT%H:%M:%SZ")

    assert result["missing"] == {
        "count": 4,
        "ranges": [
            {"first": at(2), "last": at(3), "count": 2, "why": "not in the list"},
            {"first": at(5), "last": at(5), "count": 1, "why": "not on the server"},
            {"first": at(7), "last": at(7), "count": 1, "why": "not in the list"},
        ],
    }
    assert (result["list"]["newest"], result["list"]["files_after_newest"]) == (at(9), 4)


def test_a_server_with_none_of_its_files_is_incomplete(gdelt, tmp_path):
    for name in gdelt.add(2):
        del gdelt.files[f"/gdeltv2/{name}"]
    result = run(gdelt, tmp_path, 2)
    assert (result["status"], result["missing"]["count"], result["failed"]) == ("incomplete", 2, [])


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
        if isinstance(record, FetchStarted):
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
        if isinstance(record, BytesFetched) and record.name.startswith(names[1]):
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


def test_the_server_of_these_tests_is_as_it_says():
    server = GDELT()
    assert len(server.add(2)) == 2 and server.files[V2.lists[0]].count(b"\n") == 2
    server.close()


def test_files_are_looked_at_and_fetched_from_the_oldest_on(gdelt, tmp_path):
    names, asked = gdelt.add(5), []
    gdelt.files["/gdeltv2/masterfilelist.txt"] = b"".join(
        reversed(gdelt.files["/gdeltv2/masterfilelist.txt"].splitlines(keepends=True))
    )
    run(gdelt, tmp_path, 5, workers=1)
    for path, _ in gdelt.requests:
        asked += [Path(path).name] if path.endswith(".zip") else []
    assert asked == names
