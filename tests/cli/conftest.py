"""How the command line is called in these tests: in this process, or as a program of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tests.cli.called import ROOT, SMALL, call_app, write_folder


@pytest.fixture
def run() -> Callable[..., Result]:
    return call_app


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
    return write_folder(tmp_path / "tiny")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A folder with `tiny` (data), `models` and `runs` after two epochs, and what the training showed."""
    place = tmp_path_factory.mktemp("trained")
    result = call_app(
        *(
            "train",
            *SMALL,
            "--data-path",
            write_folder(place / "tiny"),
            "--epochs",
            "2",
            "--eval-interval",
            "1",
        ),
        *("--checkpoint-interval", "1", "--model-dir", place / "models", "--logdir", place / "runs"),
        "--json",
    )
    assert result.exit_code == 0, result.output
    return place, result
