"""The study file: locks that keep workers apart, lines that were cut short, and files that are no study."""

import errno
import json
import sys

import pytest

from tests.tune.played import tune
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.storage.locks import is_locked
from tirgn_eqx.tune import journal


@pytest.mark.parametrize(
    "content",
    [
        b"text\n",
        b"text",
        b"[]\n",
        b'{"op_code":0}\n',
        b'{"op_code":0,"study_name":"x","directions":[2]}\n',
        b"[" * 99999,
    ]
    + [b'{"op_code":4,"study_id":"\\ud800"}\n', b"\xff\xfe\n", b'{"op_code":"x"}\n', b'{"op_code":6,"trial_id":{}}\n'],
)
def test_a_file_that_is_no_study_is_refused_and_left_as_it_is(graph, tmp_path, content):
    (tmp_path / "study.journal").write_bytes(content)
    with pytest.raises(DataError, match="study.journal"):
        tune(graph, tmp_path)
    assert (tmp_path / "study.journal").read_bytes() == content


def test_without_optuna_it_says_how_to_install_it(graph, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'tirgn-eqx\[tune\]'"):
        tune(graph, tmp_path)


def test_without_locks_it_is_refused(graph, tmp_path, monkeypatch):
    def refused(path):
        raise OSError(errno.ENOLCK, "No locks available", str(path))

    monkeypatch.setattr(journal, "native_lock", refused)
    with pytest.raises(DataError, match="its filesystem has no file locks"):
        tune(graph, tmp_path, 2)


def test_a_lock_is_waited_for_and_what_is_unfinished_is_cut_off(tmp_path):
    place, file = tmp_path / "lock", tmp_path / "lines"
    for content, kept in (
        (b"", b""),
        (b"a\nb", b"a\n"),
        (b"a\n", b"a\n"),
        (b"b" * 9000, b""),
        (b"a\n" + b"b" * 9000, b"a\n"),
    ):
        file.write_bytes(content)
        lock = journal.JournalLock(place, lambda: journal.truncate_partial_line(file))
        assert lock.acquire() and file.read_bytes() == kept
        lock.release()
    journal.truncate_partial_line(tmp_path / "missing")
    assert journal.locks_work(tmp_path / "probe")


def test_workers_that_begin_at_once_find_the_locks(tmp_path, monkeypatch):
    native, made = journal.native_lock, []

    def meanwhile(path):
        made.append(path)
        if len(made) == 2:  # between the two locks
            assert journal.locks_work(tmp_path / "probe")  # another worker, from its begin to its end
        return native(path)

    monkeypatch.setattr(journal, "native_lock", meanwhile)
    assert journal.locks_work(tmp_path / "probe") and not list(tmp_path.iterdir())


def test_a_lock_is_given_back_when_what_follows_it_fails(tmp_path):
    def fails():
        raise KeyboardInterrupt

    # A lock that nobody holds on to any more would be given back by Python itself.
    broken = journal.JournalLock(tmp_path / "lock", fails)
    with pytest.raises(KeyboardInterrupt):
        broken.acquire()
    assert not is_locked(tmp_path / "lock")
    lock = journal.JournalLock(tmp_path / "lock", lambda: None)
    assert lock.acquire() and is_locked(tmp_path / "lock")
    for _ in range(2):
        lock.release()
        assert not is_locked(tmp_path / "lock")


def test_what_a_killed_writer_left_is_cut_off_before_the_next_line(tmp_path):
    import optuna

    path = tmp_path / "study.journal"
    optuna.create_study(study_name="one", storage=journal.open_storage(path))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":0,"wor')
    storage = journal.open_storage(path)
    optuna.create_study(study_name="two", storage=storage)
    assert optuna.get_all_study_names(storage) == ["one", "two"]
    assert path.read_bytes().startswith(whole)
    assert all(json.loads(line)["op_code"] is not None for line in path.read_bytes().splitlines())


def test_a_folder_is_no_study(tmp_path):
    with pytest.raises(DataError, match=r"cannot be used as a study \(a folder, not a file\); choose another --study"):
        journal.open_storage(tmp_path)


def test_optuna_says_nothing(tmp_path, capfd):
    import optuna

    optuna.create_study(storage=journal.open_storage(tmp_path / "study.journal"), study_name="x")
    assert capfd.readouterr() == ("", "")
