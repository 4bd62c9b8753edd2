"""How the command line is called in these tests: in this process, or as a program of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import Result

from tests.cli.cli_helpers import ROOT, SMALL, SMALL_EVIDENCE, call_app, write_folder


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
        *("train", *SMALL, "--data-path", write_folder(place / "tiny"), "--epochs", "2", "--eval-interval", "1"),
        *("--checkpoint-interval", "1", "--model-dir", place / "models", "--logdir", place / "runs"),
        "--json",
    )
    assert result.exit_code == 0, result.output
    return place, result


@pytest.fixture(scope="session")
def checkpoint(trained: tuple[Path, Result]) -> Path:
    """The best one of `trained`."""
    return trained[0] / "models" / "tirgn_best.npz"


@pytest.fixture(scope="session")
def regcn(trained: tuple[Path, Result]) -> Path:
    """A checkpoint of RE-GCN after one epoch on the data of `trained`."""
    place, _ = trained
    places = ("--data-path", place / "tiny", "--model-dir", place / "regcn", "--logdir", place / "regcn-runs")
    result = call_app("train", "--model", "regcn", *SMALL, *places, "--epochs", "1", "--quiet")
    assert result.exit_code == 0, result.output
    return place / "regcn" / "tirgn_best.npz"


@pytest.fixture(scope="session")
def evidence(trained: tuple[Path, Result]) -> tuple[Path, Result]:
    """A checkpoint of an evidence model after two epochs on the data of `trained`, and what its training showed."""
    place, _ = trained
    places = ("--data-path", place / "tiny", "--model-dir", place / "evidence", "--logdir", place / "evidence-runs")
    result = call_app("train", "--model", "evidence", *SMALL_EVIDENCE, *places, "--epochs", "2", "--json")
    assert result.exit_code == 0, result.output
    return place / "evidence" / "tirgn_best.npz", result


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """An event table: 5 events an hour in the first 10 hours of two days."""
    rows = [
        (f"E{s}", "010", f"E{(s + h % 2 + 1) % 5}", f"2024-01-{d:02d} {h:02d}:15:00")
        for d in (1, 2)
        for h in range(10)
        for s in range(5)
    ]
    path = tmp_path / "events.parquet"
    table = pl.DataFrame(rows, schema=["entity1", "relation", "entity2", "timestamp"], orient="row")
    table.with_columns(pl.col("timestamp").str.to_datetime()).write_parquet(path)
    return path
