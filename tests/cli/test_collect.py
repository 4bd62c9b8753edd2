"""`tirgn data collect`: what it prints, where, and its exit codes."""

import json
import os
import signal
import threading

import pytest

RANGE = ("--from", "2020-11-15T07:00", "--to", "2020-11-15T07:45")


def arguments(gdelt, place, *more):
    return ["data", "collect", *RANGE, "--dir", place, "--base-url", gdelt.url, "--tries", "1", *more]


def test_a_collection_in_words(run, gdelt, tmp_path):
    names = gdelt.add(5)
    del gdelt.files[f"/gdeltv2/{names[2]}"]
    gdelt.files["/gdeltv2/masterfilelist.txt"] += b"junk \x1b[31m line\n"
    result = run(*arguments(gdelt, tmp_path))
    assert result.exit_code == 0, result.stderr
    words = " ".join(result.stdout.split())
    for text in ("GDELT v2", "2020-11-15T07:30:00Z", "not on the server", "masterfilelist.txt:6", "Missing quarter"):
        assert text in words
    assert "\x1b" not in result.stdout
    assert "4 files listed, 0 there already, 4 to fetch" in result.stderr
    assert f"{names[2]}: not found (HTTP 404)" in result.stderr


def test_one_json_document(run, gdelt, tmp_path):
    gdelt.add(4)
    result = run(*arguments(gdelt, tmp_path, "--json", "--quiet"))
    assert (result.exit_code, result.stderr, result.stdout.count("\n")) == (0, "", 1)
    document = json.loads(result.stdout)
    assert (document["status"], document["fetched"], document["first"]) == ("complete", 4, "2020-11-15T07:00:00Z")
    again = json.loads(run(*arguments(gdelt, tmp_path, "--json")).stdout)
    assert (again["fetched"], again["present"]) == (0, 4)


def test_what_could_not_be_had_is_exit_code_3_and_the_same_command_goes_on(run, gdelt, tmp_path):
    names = gdelt.add(4)
    gdelt.tricks[f"/gdeltv2/{names[1]}"] = [500]
    result = run(*arguments(gdelt, tmp_path, "--json", "--quiet"))
    assert result.exit_code == 3
    assert json.loads(result.stdout)["failed"][0]["name"] == names[1]
    assert result.stderr.startswith("error: 1 of 4 files could not be fetched, first http://127.0.0.1")
    assert result.stderr.endswith("HTTP 500, after 1 tries; the same command tries them again\n")
    assert result.stderr.count("\n") == 1
    assert run(*arguments(gdelt, tmp_path)).exit_code == 0
    assert sorted(path.name for path in tmp_path.glob("*.zip")) == names


def test_a_server_without_any_of_its_files_is_exit_code_3(run, gdelt, tmp_path):
    for name in gdelt.add(4):
        del gdelt.files[f"/gdeltv2/{name}"]
    result = run(*arguments(gdelt, tmp_path, "--quiet"))
    assert result.exit_code == 3 and "none of the 4 files that it lists" in result.stderr


def test_without_a_list_it_is_exit_code_1(run, gdelt, tmp_path):
    result = run(*arguments(gdelt, tmp_path, "--quiet"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "masterfilelist.txt: not found (HTTP 404); try again later" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "--from: missing; give a day like 2024-01-31, or --last 30d"),
        (["--to", "2024-01-31"], "--from: missing"),
        (["--from", "yesterday"], "--from 'yesterday': not a time; write a UTC day"),
        (["--from", "2024-01-02", "--to", "2024-01-01"], "before it starts"),
        (["--from", "2024-01-02", "--to", "soon"], "--to 'soon': not a time"),
        (["--last", "30"], "--last '30': not a length of time; write days or hours"),
        (["--last", "999999d"], "--last "),
        (["--last", "30d", "--from", "2024-01-01"], "--last: takes the place of --from and --to"),
        (["--last", "30d", "--feed", "v3"], "feed 'v3' does not exist"),
        (["--last", "30d", "--base-url", "gdelt"], "base URL 'gdelt': not the address of a server"),
        (["--last", "30d", "--workers", "0"], "--workers"),
    ],
)
def test_bad_usage_is_exit_code_2(run, tmp_path, options, text):
    result = run("data", "collect", "--dir", tmp_path / "raw", *options)
    assert result.exit_code == 2, result.output
    assert result.stdout == "" and result.stderr.count("\n") == 1
    assert text in result.stderr
    assert not (tmp_path / "raw").exists()


def test_the_last_hours(run, gdelt, tmp_path):
    gdelt.add(4)
    more = ("--dir", tmp_path, "--base-url", gdelt.url, "--json", "--quiet")
    document = json.loads(run("data", "collect", "--last", "2h", *more).stdout)
    assert (document["listed"], document["missing"]["count"], document["status"]) == (0, 0, "complete")
    assert document["list"]["files_after_newest"] in (8, 9)


def test_ctrl_c_is_exit_code_130(gdelt, tmp_path, monkeypatch, run):
    names = gdelt.add(4)
    gdelt.tricks[f"/gdeltv2/{names[0]}"] = [("hold", threading.Event())]

    def interrupt():
        if gdelt.reached.wait(30):
            os.kill(os.getpid(), signal.SIGINT)

    # A shell's background jobs are started deaf to SIGINT, and so is Python in them.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    result = run(*arguments(gdelt, tmp_path, "--timeout", "60", "--json"))
    thread.join()
    signal.signal(signal.SIGINT, before)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.endswith("interrupted\n")
    assert run(*arguments(gdelt, tmp_path)).exit_code == 0
    assert sorted(path.name for path in tmp_path.glob("*.zip")) == names
