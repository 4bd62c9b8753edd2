"""How the commands speak that make data or train more than once: as JSON, quietly, in narrow and wide terminals."""

import datetime as dt
import json
import re
import shutil

import numpy as np
import polars as pl
import pytest

from tests.cli.cli_helpers import ROOT, call_app, write_folder
from tests.cli.test_output import COMMANDS, PALE, calls, in_terminal, lines
from tests.gdelt_server import GDELT
from tests.ingest.raw_rows import raw

pytestmark = pytest.mark.ci
TESTED = ("tirgn data ingest", "tirgn data collect", "tirgn retrain", "tirgn tune", "tirgn vram-probe")
TESTED += ("tirgn import-torch", "tirgn explain", "tirgn export", "tirgn audit", "tirgn brief", "tirgn score")
# A probe compiles a step for every row of its table.
PARAMETERS = [pytest.param(path, marks=[pytest.mark.slow] * (path == "tirgn vram-probe")) for path in TESTED]
LITTLE = (*("--set", "evidence_heads=2", "--set", "evidence_hidden=2", "--set", "evidence_background=false"),)


def write_rows(place):
    """A file of raw rows of twelve days, in which four actors act on each other."""
    names = ("FRANCE", "GERMANY", "POLICE", "CHINA")

    def actors(i):
        return {"Actor1Name": names[i % 4], "Actor2Name": names[(i + 1 + i // 4 % 2) % 4]}

    times = [f"202001{1 + i // 8:02d}0015{i % 8:02d}" for i in range(96)]
    place.mkdir()
    content = b"".join(raw(i + 1, **actors(i), DATEADDED=time, Day=time[:8]) for i, time in enumerate(times))
    (place / "20200101001500.export.CSV").write_bytes(content)


def write_released(place):
    """A released state_dict and the data that it fits."""
    with np.load(ROOT / "tests" / "golden" / "plain.npz") as archive:
        numbers = dict(archive)
    np.savez(place / "state.npz", **{k.removeprefix("state/"): v for k, v in numbers.items() if k[:6] == "state/"})
    facts, folder = numbers["all_facts"], place / "golden"
    folder.mkdir()
    step = facts[:, 3] // numbers["cfg/time_interval"]
    for name, rows in {"train": step <= 6, "valid": step == 7, "test": step == 8}.items():
        np.savetxt(folder / f"{name}.txt", facts[rows], fmt="%d", delimiter="\t")
    (folder / "stat.txt").write_text("17\t5\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Raw rows, a table and a checkpoint of it, a released state, and a folder of facts."""
    place = tmp_path_factory.mktemp("longer")
    write_rows(place / "raw")
    write_released(place)
    write_folder(place / "tiny")
    made = call_app("data", "ingest", place / "raw", "--out", place / "events.parquet", "--quiet")
    assert made.exit_code == 0, made.output
    table = pl.read_parquet(place / "events.parquet")
    table.filter(pl.col("timestamp") < table["timestamp"].max() - dt.timedelta(days=1)).write_parquet(
        place / "older.parquet"
    )
    more = ["--model", "evidence", *LITTLE, "--epochs", "1", "--logdir", place / "logs", "--quiet"]
    made = call_app("train", "--data-path", place / "older.parquet", "--model-dir", place / "models", *more)
    assert made.exit_code == 0, made.output
    few = [word for key in ("rate_hidden=4", "rows_per_step=64", "snapshots_per_epoch=4") for word in ("--set", key)]
    few += ["--epochs", "1", "--logdir", place / "logs", "--quiet"]
    made = call_app(
        "train", "--data-path", place / "older.parquet", "--model", "events", "--model-dir", place / "e", *few
    )
    assert made.exit_code == 0, made.output
    asked = ["--facts", "3", "--journal", place / "journal", "--quiet"]
    made = call_app("predict", place / "e" / "tirgn_best.npz", *asked)
    assert made.exit_code == 0, made.output
    return place


@pytest.fixture
def call(place, tmp_path, monkeypatch):
    """The words of a call of each command, on files of its own."""
    monkeypatch.setenv("no_proxy", "*")
    server = GDELT()
    server.add(3)
    shutil.copytree(place / "models", tmp_path / "models")
    range_ = ["--from", "2020-11-15T07:00", "--to", "2020-11-15T07:30", "--base-url", server.url]
    study = ["--study", tmp_path / "study.journal", "--out", tmp_path / "best.toml"]
    search = ["--trials", "1", "--epochs", "1", "--only", "--param", "dropout=0.1:0.3"]
    small = [word for key in ("embedding_dim=8", "num_layers=1", "conv_channels=2") for word in ("--set", key)]
    sizes = ["--embedding-dim", "8", "--num-layers", "1", "--history-len", "2"]
    events = ["--data-path", place / "events.parquet"]
    yield {
        "tirgn data ingest": [place / "raw", "--out", tmp_path / "events.parquet"],
        "tirgn data collect": [*range_, "--dir", tmp_path / "raw"],
        "tirgn retrain": [*events, "--from", tmp_path / "models" / "tirgn_best.npz", "--epochs", "1"],
        "tirgn tune": ["--data-path", place / "tiny", *study, *search, *small],
        "tirgn vram-probe": ["--data-path", place / "tiny", *sizes],
        "tirgn import-torch": [
            *(place / "state.npz", "--data-path", place / "golden", "--out", tmp_path / "out.npz"),
            *("--history-len", "3"),
        ],
        "tirgn explain": [tmp_path / "models" / "tirgn_best.npz"],
        "tirgn export": [tmp_path / "models" / "tirgn_best.npz", "--safetensors", tmp_path / "arrays.safetensors"],
        "tirgn audit": [tmp_path / "models" / "tirgn_best.npz", "--snapshots", "1", "--queries", "4"],
        "tirgn brief": [place / "e" / "tirgn_best.npz", "--out", tmp_path / "briefing.html"],
        "tirgn score": [place / "journal", *events],
    }
    server.close()


def test_every_command_is_called_here_or_there():
    # `get` asks for a published set by name: tests of its own do, in `test_published_cli.py`.
    assert set(COMMANDS) == set(calls(ROOT)) | set(TESTED) | {"tirgn data get"}


@pytest.mark.parametrize("path", PARAMETERS)
def test_json_is_one_document_and_quiet_says_nothing_else(call, path):
    result = call_app(*path.split()[1:], *call[path], "--json", "--quiet")
    assert result.exit_code in (0, 3 if path == "tirgn retrain" else 0), result.stderr
    assert isinstance(json.loads(result.stdout), dict) and result.stdout.count("\n") == 1
    assert result.stderr == ""


@pytest.mark.parametrize("path", PARAMETERS)
def test_in_a_terminal_verbose_says_more_and_nothing_is_too_wide(call, path):
    code, came = in_terminal([*path.split()[1:], *call[path], "-v"], 80)
    assert code in (0, 3 if path == "tirgn retrain" else 0), came
    assert re.search(r"^took .*; tirgn-eqx ", "\n".join(lines(came)), re.MULTILINE)
    tables = [line.rstrip() for line in lines(came) if re.match(r"[┏┡└│┃┌├╇]", line)]
    # What these write is a file, or says that nothing can be judged yet.
    assert tables or path in ("tirgn import-torch", "tirgn export", "tirgn brief", "tirgn score")
    assert all(len(line) <= 80 for line in tables), max(tables, key=len)
    assert not PALE.search(came)
