"""What the environment says of the cache of compiled programs, and what JAX does in it, in processes of their own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.cli_helpers import ROOT
from tirgn_cli.cache_choice import JAX_FOLDER, choose_cache, keep_programs
from tirgn_eqx.runtime.compile_cache import MAX_BYTES, default_cache_root, machine_folder

pytestmark = pytest.mark.ci

# Compiles two functions as a command would, and says how often JAX compiled and loaded. `{before}` runs between them.
SCRIPT = """
import json, sys
from pathlib import Path
from tirgn_cli.cache_choice import keep_programs
with keep_programs():
    assert "jax" not in sys.modules
    import jax, jax.numpy as jnp
    seen = []
    jax.monitoring.register_event_listener(lambda name, **_: seen.append(name.rpartition("/")[2]))
    numbers = jax.device_put(jnp.arange(8.0))
    one = jax.jit(lambda x: jnp.sin(x) * jnp.cos(x), donate_argnums=0).lower(numbers)
    one = one.compile(compiler_options={"xla_cpu_experimental_ynn_fusion_type": ""})
    first = one(numbers).tolist()
    {between}
    second = float(jax.jit(lambda x: jnp.tanh(x).sum() * 3)(jnp.arange(8.0)))
    memory = one.memory_analysis()
print(json.dumps({
    "values": [first, second], "donated": numbers.is_deleted(), "loaded": seen.count("cache_hits"),
    "written": seen.count("cache_misses"), "folder": jax.config.jax_compilation_cache_dir,
    "arguments": memory.argument_size_in_bytes,
}))
"""


def environment(**changes):
    """The environment of a process with the source tree and without JAX's own variables of the cache."""
    kept = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    paths = [str(ROOT), str(ROOT / "cli"), os.environ.get("PYTHONPATH", "")]
    kept |= {"PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}
    # Every program counts here, however fast it was compiled.
    return kept | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"} | {k: str(v) for k, v in changes.items()}


def start(between="pass", wrapped=(), **changes):
    command = [*wrapped, sys.executable, "-W", "always", "-c", SCRIPT.replace("{between}", between)]
    return subprocess.Popen(
        command,
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0 and err == "", err
    return json.loads(out)


def programs(root):
    return sorted(root.rglob("*-cache"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder after a process compiled everything, and what the process said."""
    root = tmp_path_factory.mktemp("filled") / "cache"
    return root, end(start(TIRGN_CACHE=root))


@pytest.fixture
def root(filled, tmp_path):
    return shutil.copytree(filled[0], tmp_path / "cache")


def test_the_environment_chooses(tmp_path, monkeypatch):
    home = default_cache_root()
    for given, expected in (
        ({}, (home, True, "default")),
        ({"TIRGN_CACHE": ""}, (home, True, "default")),
        ({"TIRGN_CACHE": "OFF"}, (home, False, "TIRGN_CACHE")),
        ({"TIRGN_CACHE": str(tmp_path)}, (tmp_path, True, "TIRGN_CACHE")),
        ({"TIRGN_CACHE": "here"}, (Path.cwd() / "here", True, "TIRGN_CACHE")),
        ({"TIRGN_CACHE": "~/x"}, (Path.home() / "x", True, "TIRGN_CACHE")),
        ({"TIRGN_CACHE": "~no such user/x"}, (None, False, "TIRGN_CACHE")),
        ({"TIRGN_CACHE": "a", JAX_FOLDER: str(tmp_path)}, (tmp_path, True, JAX_FOLDER)),
        ({JAX_FOLDER: ""}, (None, False, JAX_FOLDER)),
        ({"JAX_ENABLE_COMPILATION_CACHE": "False"}, (home, False, "JAX_ENABLE_COMPILATION_CACHE")),
        ({"JAX_ENABLE_COMPILATION_CACHE": "1"}, (home, True, "default")),
    ):
        choice = choose_cache(given)
        assert (choice.root, choice.enabled, choice.set_by) == expected, given
        assert choice.max_bytes == (None if choice.set_by == JAX_FOLDER else MAX_BYTES)
    for text, limit in (("5", 5), ("0", 0), ("-1", None), ("much", MAX_BYTES)):
        choice = choose_cache({"JAX_COMPILATION_CACHE_MAX_SIZE": text})
        assert choice.max_bytes == limit and choice.enabled == (limit != 0)


def test_a_second_process_loads_what_the_first_compiled(filled, root):
    first, second = filled[1], end(start(TIRGN_CACHE=root))
    assert first["written"] >= 2 and first["loaded"] == 0 and first["folder"] is None
    assert len(programs(root)) == first["written"]
    assert (second["written"], second["loaded"]) == (0, first["written"])
    # A program that was loaded donates its buffers and tells its memory as one that was compiled.
    assert second["values"] == first["values"] and second["donated"] and second["arguments"] == 32


def test_two_processes_at_once_write_one_whole_entry_each(filled, tmp_path):
    root = tmp_path / "cache"
    both = [start(TIRGN_CACHE=root) for _ in range(2)]
    assert [end(process)["values"] for process in both] == [filled[1]["values"]] * 2
    again = end(start(TIRGN_CACHE=root))
    assert (again["written"], again["loaded"]) == (0, filled[1]["written"])


@pytest.mark.parametrize("damage", ["empty", "cut", "noise"])
def test_a_damaged_entry_is_compiled_and_written_again(filled, root, damage):
    for path in programs(root):
        whole = path.read_bytes()
        half = whole[: len(whole) // 2]
        path.write_bytes({"empty": b"", "cut": half, "noise": half + bytes(len(half))}[damage])
    found = end(start(TIRGN_CACHE=root))
    assert found["values"] == filled[1]["values"] and (found["written"], found["loaded"]) == (filled[1]["written"], 0)
    assert end(start(TIRGN_CACHE=root))["loaded"] == filled[1]["written"]


def test_a_full_disk_ends_nothing(filled, tmp_path):
    limit = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
    wrapped = [sys.executable, "-c", limit + "os.execvp(sys.argv[1], sys.argv[1:])"]
    found = end(start(TIRGN_CACHE=tmp_path / "cache", wrapped=wrapped))
    assert found["values"] == filled[1]["values"]
    cut = programs(tmp_path / "cache")
    assert cut and all(path.stat().st_size <= 100 for path in cut)
    assert end(start(TIRGN_CACHE=tmp_path / "cache"))["written"] == filled[1]["written"]


def test_a_folder_that_goes_in_the_middle_ends_nothing(filled, root):
    found = end(start(f"import shutil; shutil.rmtree({str(root)!r})", TIRGN_CACHE=root))
    assert found["values"] == filled[1]["values"] and not programs(root)


def test_a_folder_that_cannot_be_made_is_done_without(filled, tmp_path):
    (tmp_path / "file").write_text("")
    found = end(start(TIRGN_CACHE=tmp_path / "file"))
    assert found["values"] == filled[1]["values"] and (found["written"], found["loaded"]) == (0, 0)


def test_a_folder_that_can_only_be_read_is_read(filled, root):
    for path in programs(root)[1:]:
        path.unlink()
    (folder,) = {path.parent for path in programs(root)}
    folder.chmod(0o555)
    # Root writes everywhere but on a disk that is mounted so, here for the process alone.
    mount = f"mount --bind {root} {root} && mount -o remount,bind,ro {root}"
    wrapped = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"] if os.access(folder, os.W_OK) else []
    if wrapped and subprocess.run([*wrapped, "true"], capture_output=True).returncode != 0:
        pytest.skip("root writes everywhere, and may not mount here")
    try:
        found = end(start(TIRGN_CACHE=root, wrapped=wrapped))
    finally:
        folder.chmod(0o700)
    assert found["values"] == filled[1]["values"] and found["loaded"] == 1 and len(programs(root)) == 1


def test_off_and_jax_own_variables_leave_jax_alone(filled, tmp_path):
    found = end(start(TIRGN_CACHE="off"))
    assert (found["written"], found["loaded"]) == (0, 0)
    found = end(start(TIRGN_CACHE=tmp_path / "ours", JAX_COMPILATION_CACHE_DIR=tmp_path / "jax"))
    assert found["folder"] == str(tmp_path / "jax") and not (tmp_path / "ours").exists()
    assert len(list((tmp_path / "jax").glob("*-cache"))) == filled[1]["written"]
    found = end(start(TIRGN_CACHE=tmp_path / "ours", JAX_ENABLE_COMPILATION_CACHE="false"))
    assert not (tmp_path / "ours").exists() and found["values"] == filled[1]["values"]


def test_the_size_is_bounded(root):
    largest = max(path.stat().st_size for path in programs(root))
    found = end(start(TIRGN_CACHE=root, JAX_COMPILATION_CACHE_MAX_SIZE=largest))
    assert found["loaded"] and 0 < sum(path.stat().st_size for path in programs(root)) <= largest
    # Programs that were removed are written again, also without the times of use that JAX's own limit would need.
    assert end(start(TIRGN_CACHE=root, JAX_COMPILATION_CACHE_MAX_SIZE=largest))["written"]


def test_devices_have_programs_of_their_own(filled, root):
    found = end(start(TIRGN_CACHE=root, JAX_NUM_CPU_DEVICES=2))
    assert found["values"] == filled[1]["values"]
    again = end(start(TIRGN_CACHE=root, JAX_NUM_CPU_DEVICES=2))
    assert again["written"] == 0 and again["loaded"] == found["written"] + found["loaded"]


def test_within_a_process_the_configuration_is_as_before(tmp_path, monkeypatch):
    import jax

    for name in [name for name in os.environ if name.startswith("JAX_COMPILATION_CACHE")]:
        monkeypatch.delenv(name)
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("TIRGN_CACHE", str(tmp_path))
    with keep_programs():
        assert jax.config.jax_compilation_cache_dir == str(machine_folder(tmp_path))
        assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(machine_folder(tmp_path))
    assert jax.config.jax_compilation_cache_dir == before and "JAX_COMPILATION_CACHE_DIR" not in os.environ
