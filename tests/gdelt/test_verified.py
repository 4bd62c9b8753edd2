"""The record of verified files: a file that changed is read again."""

import os
import time

from tests.gdelt.collect_helpers import run
from tests.gdelt_server import FIRST, md5
from tirgn_eqx.gdelt import verified
from tirgn_eqx.gdelt.feed import ListedFile
from tirgn_eqx.gdelt.verified import VerifiedFiles


def test_the_record_of_what_is_whole_is_never_wrong(tmp_path, monkeypatch):
    place = tmp_path / "20201115070000.export.CSV.zip"
    place.write_bytes(b"content")
    listed = ListedFile(FIRST, 7, md5(b"content"))
    read = []

    def known(path, kind):
        return read.append(path) or f"{kind}:{md5(path.read_bytes())}"

    monkeypatch.setattr("tirgn_eqx.gdelt.verified.digest_of", known)

    def holds():
        record = VerifiedFiles.load(tmp_path / "collected.json")
        answer = record.matches(place, listed)
        record.save(tmp_path / "collected.json")
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
    assert not VerifiedFiles.load(tmp_path / "collected.json").matches(place, listed)


def test_what_was_found_whole_is_not_read_again(gdelt, tmp_path, monkeypatch):
    """The record of one call serves the next."""
    monkeypatch.setattr("tirgn_eqx.gdelt.verified._CLOCK_STEP", -1)
    names, read = gdelt.add(3), []
    run(gdelt, tmp_path, 3)
    digest = verified.digest_of
    monkeypatch.setattr(verified, "digest_of", lambda path, kind: read.append(path.name) or digest(path, kind))
    assert run(gdelt, tmp_path, 3)["present"] == 3 and read == names
    assert run(gdelt, tmp_path, 3)["present"] == 3 and read == names


def test_a_change_is_seen_also_when_the_clock_was_ahead_at_the_check(tmp_path, monkeypatch):
    """The time of the check says nothing then; the file's own change time does."""
    place, ahead = tmp_path / "20201115070000.export.CSV.zip", 3600 * 10**9
    place.write_bytes(b"content")
    now = time.time_ns
    monkeypatch.setattr(verified.time, "time_ns", lambda: now() + ahead)
    known = VerifiedFiles()
    assert known.matches(place, ListedFile(FIRST, 7, md5(b"content")))
    before = place.stat()
    time.sleep(0.02)
    place.write_bytes(b"CONTENT")
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not known.matches(place, ListedFile(FIRST, 7, md5(b"content")))
