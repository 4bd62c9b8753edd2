"""What downloads are checked by: addresses, patience, digests; what servers do is tried in `tests/gdelt`."""

import hashlib

import pytest

from tirgn_eqx.errors import ConfigError
from tirgn_eqx.storage.download import Patience, checked_url, digest_of, publish


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
