"""The way out of every command: encodings that lack a letter, devices that are not there, errors without a message."""

import io
import json
import os
import re
import subprocess
import sys

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.cli.cli_helpers import PLAIN, ROOT, SMALL, call_app, write_folder
from tests.cli.test_output import COMMANDS
from tirgn_cli import output, tables
from tirgn_cli.app import app

ENCODINGS = ("cp1252", "ascii", "latin-1", "utf-8")
NAMES = ("北京", "Côte d'Ivoire", "Zürich", "Ελλάδα", "Q42 🙂", "plain")


def written_in(encoding, *args):
    """`tirgn ARGS` where stdout and stderr have an encoding of their own."""
    runner = CliRunner(charset=encoding, env=PLAIN)
    return runner.invoke(app, [str(arg) for arg in args], prog_name="tirgn")


@pytest.fixture
def named(tmp_path):
    """A folder whose name and whose entities' names few encodings have."""
    place = write_folder(tmp_path / "Données 北京")
    (place / "entity2id.txt").write_text(
        "".join(f"{name}\t{number}\n" for number, name in enumerate(NAMES)), encoding="utf-8"
    )
    return place


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_table_is_shown_in_every_encoding_and_keeps_its_columns(named, encoding):
    result = written_in(encoding, "data", "stats", named)
    assert result.exit_code == 0 and result.stderr == "", result.stderr
    shown = {"utf-8": "Données 北京", "ascii": r"Donn\xe9es \u5317\u4eac"}.get(encoding, r"Données \u5317\u4eac")
    assert result.stdout.splitlines()[0].strip() == shown
    edges = "┏┃┡│└┌" if encoding == "utf-8" else "+|"
    assert {line[0] for line in result.stdout.splitlines()[1:-2]} <= set(edges)
    assert len({len(line) for line in result.stdout.splitlines()[1:8]}) == 1


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_error_and_a_document_are_written_in_every_encoding(named, encoding):
    result = written_in(encoding, "data", "stats", named / "Ελλάδα")
    word = "Ελλάδα" if encoding == "utf-8" else r"\u0395\u03bb\u03bb\u03ac\u03b4\u03b1: does not exist"
    assert result.exit_code == 1 and word in result.stderr and result.stderr.count("\n") == 1
    result = written_in(encoding, "data", "stats", named, "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["name"] == "Données 北京"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_escapes_are_part_of_the_layout_of_a_table(monkeypatch, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    output.prepare_streams()
    tables.print_table(tables.make_table("", ["name", "n"], [[name, 1] for name in NAMES]))
    tables.print_table(tables.make_pairs("", {name: name for name in NAMES}))
    stream.write("北京\n")  # what others write is escaped as well
    stream.flush()
    lines = stream.buffer.getvalue().decode(encoding).splitlines()
    assert lines.pop() == r"\u5317\u4eac" and any(r"| \u5317\u4eac " in line for line in lines)
    widths = [len(line) for line in lines if line.strip()]
    first = 3 + len(NAMES) + 1
    assert len(set(widths[:first])) == 1 and len(set(widths[first:])) == 1, lines


@pytest.mark.parametrize("path", COMMANDS)
def test_the_help_of_every_command_can_be_written_in_ascii(path):
    result = written_in("ascii", *path.split()[1:], "--help")
    assert result.exit_code == 0 and "Usage: " + path in result.stdout, result.stderr


@pytest.mark.ci
def test_answers_are_shown_with_escapes_and_written_as_utf_8(named, tmp_path):
    more = ["--data-path", named, "--model-dir", tmp_path / "m", "--logdir", tmp_path / "l", "--epochs", "1"]
    result = written_in("cp1252", "train", *SMALL, *more)
    assert result.exit_code == 0 and r"Données \u5317\u4eac: 60 facts" in result.stderr, result.stderr
    checkpoint = tmp_path / "m" / "tirgn_best.npz"
    for command in (
        ["predict", checkpoint, "--facts", "50"],
        ["eval", checkpoint],
        ["compare", checkpoint, "recurrency", "--resamples", "100"],
        ["baseline", "recurrency", "--data-path", named],
    ):
        result = written_in("cp1252", *command)
        assert result.exit_code == 0 and "UnicodeEncodeError" not in result.stderr, result.stderr
        assert not command[1:2] == ["--facts"] or r"\u5317\u4eac" in result.stdout
    (tmp_path / "q.csv").write_text("subject,relation,object\n北京,0,\n", encoding="utf-8")
    result = written_in("ascii", "predict", checkpoint, "--queries", tmp_path / "q.csv", "--out", tmp_path / "a.csv")
    assert result.exit_code == 0, result.stderr
    answers = pl.read_csv(tmp_path / "a.csv")
    assert set(answers["subject"]) == {"北京"} and set(NAMES) >= set(answers["object"])


def called(tmp_path, *args, close="", **env):
    """(exit code, stdout, stderr) of `tirgn ARGS` as a program; `close`: how the shell redirects it."""
    paths = [str(ROOT), str(ROOT / "cli"), os.environ.get("PYTHONPATH", "")]
    kept = {name: value for name, value in os.environ.items() if name != "TIRGN_DEBUG"}
    kept |= {"PYTHONPATH": os.pathsep.join(paths), "NO_COLOR": "1", "COLUMNS": "80"} | env
    command = ["sh", "-c", f'"$@" {close}', "sh", sys.executable, "-m", "tirgn_cli", *map(str, args)]
    found = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True, timeout=300)
    return found.returncode, found.stdout, found.stderr


@pytest.mark.ci
@pytest.mark.parametrize("platform", ["cuda", "gpu", "tpu", "nonsense"])
def test_a_platform_that_is_not_there_is_one_line(tmp_path, platform):
    data = write_folder(tmp_path / "tiny")
    code, out, err = called(tmp_path, "train", *SMALL, "--data-path", data, JAX_PLATFORMS=platform)
    assert code == 2 and out == "" and err.count("\n") == 1, err
    assert err.startswith(f"error: JAX_PLATFORMS={platform}: no such device can be used here (")
    assert "unset JAX_PLATFORMS to take what there is, or give cpu; NVIDIA GPUs need" in err


@pytest.mark.ci
def test_every_command_that_computes_says_so(tmp_path):
    data = write_folder(tmp_path / "tiny")
    small = ["--data-path", data, "--model-dir", tmp_path / "m", "--logdir", tmp_path / "l", *SMALL, "--epochs", "1"]
    assert call_app("train", *small).exit_code == 0
    checkpoint = tmp_path / "m" / "tirgn_best.npz"
    for command in (
        ["eval", checkpoint],
        ["predict", checkpoint, "--facts", "3"],
        ["compare", checkpoint, "recurrency"],
        ["report", checkpoint, "--out", tmp_path / "r.html"],
        ["tune", "--data-path", data, "--study", tmp_path / "s", "--trials", "1"],
        ["vram-probe", "--data-path", data],
    ):
        code, out, err = called(tmp_path, *command, JAX_PLATFORMS="nonsense")
        last = err.splitlines()[-1] if err else ""
        assert (code, out) == (2, "") and last.startswith("error: JAX_PLATFORMS=nonsense: no such device"), (
            command,
            err,
        )
        assert "Traceback" not in err


def test_what_computes_nothing_does_not_ask_for_the_device(tmp_path):
    code, out, _ = called(tmp_path, "data", "stats", write_folder(tmp_path / "tiny"), JAX_PLATFORMS="nonsense")
    assert code == 0 and "sha256" in out


def test_an_error_without_a_message_names_its_place(monkeypatch):
    def graph_statistics(graph):
        raise AssertionError

    monkeypatch.setattr("tirgn_eqx.data.graph_statistics", graph_statistics)
    result = call_app("data", "stats", "sim")
    assert result.exit_code == 1 and result.stdout == "" and result.stderr.count("\n") == 1
    place = (
        r"error: AssertionError: without a message, in tirgn_cli/data\.py:\d+; this is a fault of tirgn, not of what"
    )
    assert re.match(place, result.stderr), result.stderr
    assert result.stderr.endswith("run again with --debug for the traceback\n")


@pytest.mark.parametrize("close", [">&-", "2>&-", ">&- 2>&-", "| true"])
@pytest.mark.parametrize("json", [[], ["--json"]])
def test_a_stream_that_is_closed_ends_nothing_in_a_traceback(tmp_path, close, json):
    code, out, err = called(tmp_path, "data", "stats", "sim:num_days=20", *json, close=close)
    assert code == 0 and "Traceback" not in out + err and "Error" not in out + err, (out, err)
    assert (out != "") == (close == "2>&-")


ODD = {
    "an empty file": lambda place: (place / "odd").touch(),
    "an empty folder": lambda place: (place / "odd").mkdir(),
    "a link to itself": lambda place: (place / "odd").symlink_to("odd"),
    "a pipe": lambda place: os.mkfifo(place / "odd"),
    "bytes that are no text": lambda place: (place / "o\udcffdd").mkdir(),
}
READERS = {
    "stats": "data stats X",
    "convert": "data convert X --out made",
    "ingest": "data ingest X --out made.parquet",
    "train": "train --data-path X",
    "eval": "eval X",
    "predict": "predict X --facts 1",
    "compare": "compare X recurrency",
    "report": "report X --out made.html --no-evaluate",
}


@pytest.mark.ci
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("command", READERS)
def test_an_odd_path_is_refused_in_a_line_of_sense(tmp_path, monkeypatch, command, odd):
    monkeypatch.chdir(tmp_path)
    ODD[odd](tmp_path)
    words = [word.replace("X", "o\udcffdd" if odd.startswith("bytes") else "odd") for word in READERS[command].split()]
    result = call_app(*words)
    assert result.exit_code in (1, 2) and result.stdout == "", (words, result.stdout)
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, (words, result.stderr)
    assert not re.search(r"--debug|Traceback|^error: \w+Error:", result.stderr), (words, result.stderr)
    assert not {"made", "made.parquet", "made.html"} & set(os.listdir(tmp_path))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("embedded null byte"), "a path holds a NUL character; name another"),
        (
            OSError(36, "File name too long", "x" * 9),
            "xxxxxxxxx: file name too long; check the path and its permissions",
        ),
        (OSError("No such file (os error 2): a.b (set POLARS_VERBOSE=1)"), "No such file: a.b; check the path and its"),
    ],
)
def test_what_the_system_refuses_is_one_line_without_a_traceback(monkeypatch, error, words):
    def graph_statistics(graph):
        raise error

    monkeypatch.setattr("tirgn_eqx.data.graph_statistics", graph_statistics)
    result = call_app("data", "stats", "sim:num_days=12")
    assert result.exit_code == 1 and result.stderr.startswith(f"error: {words}") and "--debug" not in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        "predict none.npz --queries q.csv --out pipe",
        "report none.npz --out pipe",
        "brief none.npz --out pipe",
        "compare a.npz b.npz --out pipe",
        "data ingest q.csv --out pipe.parquet",
        "data convert sim:num_days=12 --out pipe.parquet --force",
        "data convert sim:num_days=12 --out pipe --force",
    ],
)
def test_no_command_writes_over_a_device_or_a_pipe(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    for name in ("pipe", "pipe.parquet"):
        os.mkfifo(name)
    (tmp_path / "q.csv").write_text("x")
    result = call_app(*command.split())
    assert result.exit_code in (1, 2) and result.stdout == "" and result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("error: pipe") and (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "pipe.parquet").is_fifo()


def test_a_path_that_no_record_can_hold_is_named(tmp_path, monkeypatch):
    def graph_statistics(graph):
        return "logdir = 'l\udcffogs'".encode()

    monkeypatch.chdir(tmp_path)
    data = write_folder(tmp_path / "tiny")
    monkeypatch.setattr("tirgn_eqx.data.graph_statistics", graph_statistics)
    result = call_app("data", "stats", data)
    assert result.exit_code == 1 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: a path with bytes that are not UTF-8 cannot be written down: ")
    assert r"l\udcffogs" in result.stderr and result.stderr.endswith("; rename the file or folder\n")
    # What is only written there may have such a name.
    for out in ("made\udcff", "made\udcff.parquet"):
        assert call_app("data", "convert", data, "--out", out).exit_code == 0 and os.path.exists(out)
