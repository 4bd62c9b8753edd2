"""`tirgn cache info` and `tirgn cache clear`, and the cache of a whole command."""

import json
import os
import subprocess
import sys

import pytest

from tests.cli.cli_helpers import ROOT, SMALL, call_app, write_folder
from tests.cli.test_help import HEAVY
from tests.runtime.test_compile_cache import add_program
from tirgn_eqx.runtime.compile_cache import MAX_BYTES, default_cache_root, machine_folder

# `tirgn ARGUMENTS`, then how often JAX compiled and loaded, on stderr.
COUNTED = """
import json, sys
from tirgn_cli.app import app
import jax
seen = []
jax.monitoring.register_event_listener(lambda name, **_: seen.append(name.rpartition("/")[2]))
try:
    app(sys.argv[1:], prog_name="tirgn")
except SystemExit as leave:
    print(json.dumps({"code": leave.code, "hits": seen.count("cache_hits"), "misses": seen.count("cache_misses")}))
"""


@pytest.fixture(autouse=True)
def no_variables_of_jax(monkeypatch):
    for name in [name for name in os.environ if "CACHE" in name and name.startswith("JAX_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("TIRGN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_info_says_where_how_many_and_how_large(root):
    result = call_app("cache", "info", "--json")
    expected = {"folder": str(root), "enabled": True, "set_by": "TIRGN_CACHE", "max_bytes": MAX_BYTES}
    expected["unusable"] = None
    assert json.loads(result.stdout) == expected | {"programs": 0, "bytes": 0} and not root.exists()
    add_program(machine_folder(root), "jit_a", 1500)
    add_program(root / "jaxlib-0.1.2-arm64-0123456789ab", "jit_b", 1500)
    assert json.loads(call_app("cache", "info", "--json").stdout) == expected | {"programs": 2, "bytes": 3000}
    shown = call_app("cache", "info").stdout
    for words in (("programs", "2"), ("size", "2.9 KiB"), ("limit", "1.0 GiB"), ("used", "yes")):
        assert any(words == tuple(cell.strip() for cell in line.split("│")[1:3]) for line in shown.splitlines()), words


def test_info_says_that_a_folder_that_others_may_write_to_is_not_used(root, monkeypatch):
    monkeypatch.delenv("TIRGN_CACHE", raising=False)
    monkeypatch.setattr("tirgn_eqx.runtime.compile_cache.default_cache_root", lambda: root)
    folder = machine_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    # In a narrow table the text is wrapped.
    shown = " ".join(call_app("cache", "info").stdout.replace("│", " ").split())
    assert "written to by other users" in shown
    found = json.loads(call_app("cache", "info", "--json").stdout)
    assert found["enabled"] is False and found["unusable"] == f"{folder} may be written to by other users"


def test_info_says_what_switched_it_off(root, monkeypatch):
    monkeypatch.setenv("TIRGN_CACHE", "off")
    found = json.loads(call_app("cache", "info", "--json").stdout)
    assert (found["enabled"], found["set_by"]) == (False, "TIRGN_CACHE")
    assert found["folder"] == str(default_cache_root())
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    found = json.loads(call_app("cache", "info", "--json").stdout)
    assert (found["folder"], found["enabled"], found["set_by"]) == (None, False, "JAX_COMPILATION_CACHE_DIR")
    assert "none" in call_app("cache", "info").stdout


def test_clear_removes_the_programs_and_says_so(root):
    for name in ("jit_a", "jit_b"):
        add_program(machine_folder(root), name, 1500)
    result = call_app("cache", "clear")
    assert result.exit_code == 0 and result.stderr == ""
    assert result.stdout == f"removed 2 compiled programs (2.9 KiB) from {root}\n" and not any(root.iterdir())
    assert json.loads(call_app("cache", "clear", "--json").stdout) == {"folder": str(root), "programs": 0, "bytes": 0}


def test_the_folder_of_jax_is_shown_and_never_cleared(root, monkeypatch, tmp_path):
    program = add_program(tmp_path / "jax", "jit_a", 10)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "jax"))
    found = json.loads(call_app("cache", "info", "--json").stdout)
    assert (found["folder"], found["programs"], found["bytes"]) == (str(tmp_path / "jax"), 1, 10)
    result = call_app("cache", "clear")
    assert result.exit_code == 2 and result.stdout == "" and program.exists()
    assert result.stderr.startswith(f"error: JAX_COMPILATION_CACHE_DIR={tmp_path / 'jax'}: other programs may use")


@pytest.mark.parametrize("words", [("cache", "info"), ("cache", "clear"), ("--version",), ("train", "--help"), ()])
def test_nothing_heavy_is_loaded_and_nothing_is_made(words, root, tmp_path):
    code = f"""
import sys
from tirgn_cli.app import app
try:
    app({list(words)!r}, prog_name="tirgn")
except SystemExit as leave:
    assert leave.code == 0, leave.code
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert (found.returncode, found.stderr) == (0, "[]\n") and not root.exists()


def test_it_works_in_an_empty_environment(tmp_path):
    """Without HOME the folder is that of the user's account; a relative one is never made."""
    kept = {"PYTHONPATH": environment()["PYTHONPATH"], "HOME": "relative", "XDG_CACHE_HOME": ""}
    for env in ({"PYTHONPATH": kept["PYTHONPATH"]}, kept):
        command = [sys.executable, "-m", "tirgn_cli", "cache", "info", "--json"]
        found = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert found.returncode == 0 and found.stderr == "", found.stderr
        folder = json.loads(found.stdout)["folder"]
        assert folder is None or os.path.isabs(folder)
    assert not list(tmp_path.iterdir())


def environment(**changes):
    paths = [str(ROOT), str(ROOT / "cli"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "NO_COLOR": "1"} | changes


def _figures(document):
    """The numbers of a document between 0 and 1: ranks and probabilities, but neither times nor counts."""
    if isinstance(document, dict):
        return {name: _figures(value) for name, value in document.items() if "second" not in name}
    return document if isinstance(document, float) and 0 <= document <= 1 else None


@pytest.mark.ci
def test_a_training_an_evaluation_and_a_forecast_load_their_programs(root, tmp_path):
    """The second call of each compiles nothing and says the same."""
    data = write_folder(tmp_path / "tiny")
    train = ["train", "--data-path", data, *SMALL, "--epochs", "1", "--model-dir", "models", "--logdir", "logs"]
    checkpoint = "models/tirgn_best.npz"

    def call(*words):
        command = [sys.executable, "-c", COUNTED, *map(str, words)]
        env = environment(JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0")
        found = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert found.returncode == 0, found.stderr
        *shown, counts = found.stdout.splitlines()
        counts = json.loads(counts)
        assert counts["code"] == 0, found.stderr
        return shown, counts

    question = ["predict", checkpoint, "--subject", "1", "--relation", "1"]
    for words in (
        [*train, "--json"],
        ["eval", checkpoint, "--json"],
        question,
        ["predict", checkpoint, "--facts", "5"],
    ):
        first, second = call(*words), call(*words)
        found = words[0], first[1], second[1]
        assert second[1]["misses"] == 0 and second[1]["hits"] == first[1]["misses"] + first[1]["hits"] > 5, found
        # The training evaluates as well, so that an evaluation finds what it needs at once; and so does a question.
        assert (first[1]["misses"] > 5) if words[0] == "train" else (first[1]["misses"] == 0 or "--facts" in words), (
            found
        )
        if words[0] == "predict":
            assert second[0] == first[0]
        else:  # the document says how long the command took, too
            documents = [json.loads(shown[0]) for shown, _ in (first, second)]
            assert len({json.dumps(_figures(document), sort_keys=True) for document in documents}) == 1, documents
