"""How the command line is called in these tests: in this process, or as a program of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tirgn_cli.app import app

ROOT = Path(__file__).parents[2]
PLAIN = {"NO_COLOR": "1", "COLUMNS": "80", "TERM": "dumb", "TIRGN_DEBUG": None}


@pytest.fixture
def run() -> Callable[..., Result]:
    """`run("train", "--epochs", "1")` in this process; the result has exit_code, stdout and stderr."""

    def call(*args: object, env: dict[str, str] | None = None) -> Result:
        return CliRunner(env=PLAIN | (env or {})).invoke(app, [str(arg) for arg in args], prog_name="tirgn")

    return call


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """`program("-m", "tirgn_cli", ...)`: a Python of its own with the source tree on its path."""

    def call(*args: object, cwd: Path = tmp_path) -> subprocess.CompletedProcess:
        paths = [str(ROOT), str(ROOT / "cli"), os.environ.get("PYTHONPATH", "")]
        env = {name: value for name, value in os.environ.items() if name != "TIRGN_DEBUG"}
        env |= {"PYTHONPATH": os.pathsep.join(paths), "NO_COLOR": "1", "COLUMNS": "80"}
        command = [sys.executable, *(str(arg) for arg in args)]
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set in the RE-GCN text format: 6 entities, 2 relations, 10 snapshots that alternate."""
    place = tmp_path / "tiny"
    place.mkdir()
    facts = [(s, t % 2, (s + 1 + t % 2) % 6, t) for t in range(10) for s in range(6)]
    for name, times in (("train", range(8)), ("valid", (8,)), ("test", (9,))):
        rows = ["\t".join(map(str, fact)) for fact in facts if fact[3] in times]
        (place / f"{name}.txt").write_text("\n".join(rows) + "\n")
    (place / "stat.txt").write_text("6\t2\n")
    return place
