"""Files that are there whole or not at all, and what killed processes leave."""

import os
import stat
import subprocess
import sys
import time

import pytest

from tirgn_eqx.storage import files
from tirgn_eqx.storage.files import replacing, write_text


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "a" / "file", "old")
    with pytest.raises(KeyError), replacing(tmp_path / "a" / "file") as temporary:
        temporary.write_text("new")
        raise KeyError
    assert (tmp_path / "a" / "file").read_text() == "old"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="there are no pipes in folders")
def test_a_device_or_a_pipe_is_never_replaced(tmp_path):
    # As root, /dev/null would become a file for every process.
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match="no file to write to"):
            write_text(tmp_path / name, "x")
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]
    (tmp_path / "link").symlink_to("file")
    write_text(tmp_path / "link", "x")
    assert (tmp_path / "link").read_text() == "x"


@pytest.mark.skipif(os.name == "nt", reason="there the process of a file cannot be asked")
def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path):
    script = "import os; from tirgn_eqx.storage.files import replacing\n"
    script += "with replacing('file') as temporary: temporary.write_text('half'); os.kill(os.getpid(), 9)"
    paths = os.pathsep.join(map(os.path.abspath, sys.path))
    killed = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths})
    assert killed.returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".file.") and left.name.endswith(".tmp")
    write_text(tmp_path / "other", "x")
    assert left.exists()
    write_text(tmp_path / "file", "whole")
    assert not left.exists() and (tmp_path / "file").read_text() == "whole"


def test_what_may_be_at_work_elsewhere_is_removed_after_an_hour(tmp_path):
    living = tmp_path / f".file.{files._system()}-{os.getppid()}.tmp"
    elsewhere, unknown = tmp_path / ".file.00000000-999999999.tmp", tmp_path / ".file.123.tmp"
    for path in (living, elsewhere, unknown):
        path.write_text("")
    write_text(tmp_path / "file", "x")
    assert all(path.exists() for path in (living, elsewhere, unknown))
    hours_ago = time.time() - 7200
    for path in (living, elsewhere, unknown):
        os.utime(path, (hours_ago, hours_ago))
    write_text(tmp_path / "file", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_lock_that_was_deleted_by_its_last_holder_excludes_nobody_and_is_made_anew(tmp_path, monkeypatch):
    place, real, deleted = tmp_path / ".lock", files.lock, []

    def lock(file):
        """The first one to ask gets a file that is no longer at its place, as when its holder deletes it just then."""
        if not deleted:
            deleted.append(place.unlink())
        return real(file)

    monkeypatch.setattr(files, "lock", lock)
    with files.alone(place, RuntimeError("busy")):
        assert deleted and files.locked(place)
        with pytest.raises(RuntimeError, match="busy"), files.alone(place, RuntimeError("busy")):
            pass
        place.unlink()
    with files.alone(place, RuntimeError("busy")):
        assert place.exists()
