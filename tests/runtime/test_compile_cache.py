"""Folders of compiled programs: one for each kind of machine, bounded, cleared without touching anything else."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tirgn_eqx.runtime import compile_cache
from tirgn_eqx.runtime.compile_cache import (
    CacheContents,
    cache_settings,
    clear_cache,
    default_cache_root,
    machine_folder,
    make_cache_folder,
    measure_cache,
    remove_damaged,
    trim_cache,
    why_unusable,
)

UNIX = pytest.mark.skipif(os.name != "posix", reason="owners and modes are those of Unix")


def add_program(folder, name, size=100, age=0):
    """A file as JAX writes it, last read and written `age` days ago."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{'ab' * 32}-cache"
    path.write_bytes(bytes(size))
    moment = path.stat().st_mtime - age * 86400
    os.utime(path, (moment, moment))
    return path


def test_every_kind_of_machine_has_a_folder_of_its_own(tmp_path, monkeypatch):
    here = machine_folder(tmp_path)
    assert here == machine_folder(tmp_path) and here.parent == tmp_path
    others = []
    for name, value in (
        ("_describe_processor", lambda: "another processor"),
        ("usable_cores", lambda: 4096),
        ("version", lambda package: "0.0.1"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(compile_cache, name, value)
            others.append(machine_folder(tmp_path))
    assert len({here, *others}) == 4


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="only Linux lists the instructions of a CPU there")
def test_the_instructions_of_the_processor_count_and_their_order_does_not(tmp_path, monkeypatch):
    read = Path.read_text
    found = set()
    for change in (str, lambda text: text.replace("\t:", "\t: later", 1), lambda text: text.replace("sse2 ", "")):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_text", lambda path, change=change, **more: change(read(path, **more)))
            found.add(machine_folder(tmp_path))
    assert len(found) == (2 if "sse2 " in Path("/proc/cpuinfo").read_text() else 1)


def test_the_folder_by_default_lies_in_the_cache_folder_of_the_user(tmp_path, monkeypatch):
    root = default_cache_root()
    assert root is not None and root.is_absolute() and root.name == "compiled" and "tirgn" in root.parts
    if sys.platform.startswith("linux"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert default_cache_root() == tmp_path / "tirgn" / "compiled"


@UNIX
def test_a_new_folder_is_private_and_one_that_others_write_to_is_refused(tmp_path):
    folder = tmp_path / "a" / "b"
    assert make_cache_folder(folder) and stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    assert not make_cache_folder(folder) and make_cache_folder(folder, private=False)


@UNIX
def test_a_folder_below_one_that_everyone_may_write_to_is_refused_unless_that_is_sticky(tmp_path):
    folder = tmp_path / "above" / "cache"
    assert make_cache_folder(folder)
    folder.parent.chmod(0o777)
    assert why_unusable(folder) == f"lies in {folder.parent}, which everyone may write to"
    assert not make_cache_folder(folder) and make_cache_folder(folder, private=False)
    folder.parent.chmod(0o1777)
    assert make_cache_folder(folder)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    assert not make_cache_folder(tmp_path / "file") and not make_cache_folder(tmp_path / "file" / "below")
    assert not make_cache_folder(tmp_path / "a\0b")


def test_the_contents_are_those_of_all_machines_and_nothing_else(tmp_path):
    assert measure_cache(tmp_path / "missing") == CacheContents(0, 0)
    first, second = machine_folder(tmp_path), tmp_path / "jaxlib-0.1.2-arm64-0123456789ab"
    add_program(first, "jit_a", 10)
    add_program(second, "jit_b", 20)
    add_program(tmp_path / "jaxlib-mine", "jit_c", 40)
    (first / "notes.txt").write_text("not a program")
    assert measure_cache(tmp_path) == CacheContents(2, 30)


def test_trimming_removes_what_was_unused_for_longest(tmp_path):
    here, other = machine_folder(tmp_path), tmp_path / "jaxlib-0.1.2-arm64-0123456789ab"
    old, older, new = add_program(here, "jit_a", age=2), add_program(other, "jit_b", age=3), add_program(here, "jit_c")
    read_today = add_program(here, "jit_d", age=9)
    os.utime(read_today, (new.stat().st_atime, read_today.stat().st_mtime))
    assert trim_cache(tmp_path, 400) == CacheContents(0, 0)
    assert trim_cache(tmp_path, 399) == CacheContents(1, 100) and not older.exists() and old.exists()
    assert trim_cache(tmp_path, 250) == CacheContents(1, 100) and not old.exists()
    assert new.exists() and read_today.exists() and trim_cache(tmp_path / "missing", 0) == CacheContents(0, 0)


def test_trimming_passes_over_what_another_process_removes(tmp_path, monkeypatch):
    here = machine_folder(tmp_path)
    for number in range(3):
        add_program(here, f"jit_{number}", age=number)
    remove = compile_cache._remove_program

    def late(path):
        remove(path)
        raise FileNotFoundError(path)

    monkeypatch.setattr(compile_cache, "_remove_program", late)
    assert trim_cache(tmp_path, 100) == CacheContents(0, 0)
    assert measure_cache(tmp_path).bytes == 100


def test_clearing_leaves_everything_that_is_not_a_program(tmp_path):
    here, mine = machine_folder(tmp_path), tmp_path / "jaxlib-mine"
    program, kept = add_program(here, "jit_a", 10), add_program(mine, "jit_b")
    for path in (here / f"{program.name.removesuffix('-cache')}-atime", here / ".lockfile", tmp_path / "thesis.tex"):
        path.write_text("")
    assert clear_cache(tmp_path) == CacheContents(1, 10)
    assert not here.exists() and kept.exists() and (tmp_path / "thesis.tex").exists()
    assert clear_cache(tmp_path) == CacheContents(0, 0) == clear_cache(tmp_path / "missing")
    add_program(machine_folder(tmp_path / "own"), "jit_a")
    clear_cache(tmp_path / "own")
    # A folder that the user named may be a disk or a link that the next command needs.
    assert list((tmp_path / "own").iterdir()) == []


def test_a_program_that_jax_cannot_read_goes_and_those_of_other_functions_stay(tmp_path):
    broken, other = add_program(tmp_path, "jit_step"), add_program(tmp_path, "jit_step_two")
    said = "Error reading persistent compilation cache entry for 'jit_step': error: Error -5 while decompressing"
    assert not remove_damaged(tmp_path, "a word about something else") and broken.exists()
    assert remove_damaged(tmp_path, said) and not broken.exists() and other.exists()
    assert remove_damaged(tmp_path / "missing", said)


def test_jax_knows_every_setting(tmp_path):
    import jax

    assert all(hasattr(jax.config, name) for name in cache_settings(tmp_path))


def test_the_library_leaves_the_configuration_of_jax_alone():
    code = (
        "import jax, tirgn_eqx, tirgn_eqx.train, tirgn_eqx.runtime.compile_cache\n"
        "assert jax.config.jax_compilation_cache_dir is None, jax.config.jax_compilation_cache_dir\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=300)


def test_the_module_imports_nothing_heavy():
    code = (
        "import sys, tirgn_eqx.runtime.compile_cache\n"
        "assert not {'jax', 'numpy', 'platformdirs'} & set(sys.modules), sys.modules.keys()\n"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=300)
