"""The output of every command: in terminals of any width, in files, with and without colour, quiet, as JSON."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import numpy as np
import pytest

from tests.cli.cli_helpers import ROOT, SMALL, call_app
from tirgn_cli import output
from tools.docs.cli_reference import commands, options

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
GROUPS = ("tirgn", "tirgn data", "tirgn baseline", "tirgn cache")
COMMANDS = {path: command for path, command in commands() if path not in GROUPS}
PALE = re.compile(r"\x1b\[(?:\d+;)*(?:33|37|93|96|97)m")  # hard to read on white


def in_terminal(arguments, columns, **more):
    """(exit code, what came) of `tirgn ARGUMENTS` on a terminal of so many columns and 24 lines."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    paths = [str(ROOT), str(ROOT / "cli"), env.get("PYTHONPATH", "")]
    env |= {"PYTHONPATH": os.pathsep.join(paths), "TERM": "xterm-256color", **more}
    command = [sys.executable, "-m", "tirgn_cli", *map(str, arguments)]
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=env) as process:
        os.close(follower)
        came = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            came += piece
    os.close(leader)
    return process.returncode, came.decode()


def lines(text):
    """What stands on each line at any moment, without control codes."""
    return [CONTROL.sub("", part) for line in text.replace("\r\n", "\n").split("\n") for part in line.split("\r")]


@pytest.fixture
def place(trained):
    """The folder of `trained`."""
    return trained[0]


def calls(place):
    """A call of every command that reports, but for those that fetch from a server."""
    checkpoint, data = place / "models" / "tirgn_best.npz", ["--data-path", place / "tiny"]
    more = ["--model-dir", place / "more", "--logdir", place / "more-logs", *SMALL, "--epochs", "1"]
    return {
        "tirgn data list": [],
        "tirgn data stats": [place / "tiny"],
        "tirgn data convert": [place / "tiny", "--out", place / "converted", "--force"],
        "tirgn data map": [place / "tiny", "--out", place / "mapped"],
        "tirgn baseline recurrency": data,
        "tirgn train": [*data, *more],
        "tirgn eval": [checkpoint],
        "tirgn predict": [checkpoint, "--facts", "3"],
        "tirgn compare": [checkpoint, "recurrency", "--resamples", "100"],
        "tirgn report": [checkpoint, "--out", place / "report.html"],
        "tirgn cache info": [],
        "tirgn cache clear": [],
    }


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_the_same_switches(path):
    flags = {flag for param in options(COMMANDS[path]) for flag in param.opts}
    assert {"--json", "--quiet", "-q", "--verbose", "-v", "--debug"} <= flags


@pytest.fixture(autouse=True)
def cache_to_clear(request, monkeypatch, tmp_path):
    """`tirgn cache clear` empties a cache of its own, not the one that the tests share."""
    if "cache clear" in request.node.name:
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
        monkeypatch.setenv("TIRGN_CACHE", str(tmp_path))


@pytest.mark.ci
@pytest.mark.parametrize("path", calls(ROOT))
def test_json_is_one_document_and_quiet_says_nothing_else(place, path):
    result = call_app(*path.split()[1:], *calls(place)[path], "--json", "--quiet")
    assert result.exit_code == 0, result.stderr
    assert isinstance(json.loads(result.stdout), dict) and result.stdout.count("\n") == 1
    assert result.stderr == ""


@pytest.mark.ci
@pytest.mark.parametrize("path", calls(ROOT))
def test_verbose_says_more_and_changes_no_result(place, path):
    result = call_app(*path.split()[1:], *calls(place)[path], "--json", "-v")
    assert result.exit_code == 0 and isinstance(json.loads(result.stdout), dict)
    assert re.search(r"^took .*; tirgn-eqx ", result.stderr, re.MULTILINE)


@pytest.mark.ci
@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("path", calls(ROOT))
def test_nothing_is_wider_than_the_terminal(place, path, columns):
    code, came = in_terminal([*path.split()[1:], *calls(place)[path]], columns)
    assert code == 0, came
    # A single line of words may be longer, such as a checksum's; rich does not wrap it, the terminal does.
    tables = [line.rstrip() for line in lines(came) if re.match(r"[┏┡└│┃┌├╇]", line)]
    assert tables or path in ("tirgn report", "tirgn data map", "tirgn cache clear")
    assert all(len(line) <= columns for line in tables), max(tables, key=len)
    edges = {line[0] + line[-1] for line in tables}
    assert edges <= {"┏┓", "┃┃", "┡┩", "││", "└┘", "┌┐", "├┤"}, edges
    assert not PALE.search(came)


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("words", [[], ["--help"], ["data", "get", "--help"], ["data", "list"], ["trian"]])
def test_what_costs_nothing_is_no_wider_either(words, columns):
    code, came = in_terminal(words, columns)
    assert code == (2 if words == ["trian"] else 0)
    assert all(len(line.rstrip()) <= columns for line in lines(came)) and not PALE.search(came)


def test_a_warning_is_readable_on_white(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    output.print_warning("careful")
    shown = capsys.readouterr().err
    assert "\x1b[" in shown and not PALE.search(shown)


@pytest.mark.ci
def test_a_training_in_a_terminal_and_in_a_file(place, program):
    arguments = ["train", *calls(place)["tirgn train"]]
    code, came = in_terminal(arguments, 80)
    assert code == 0 and "\x1b[" in came and all(len(line.rstrip()) <= 80 for line in lines(came) if "─" not in line)
    code, plain = in_terminal(arguments, 80, NO_COLOR="1")
    assert code == 0 and not re.search(r"\x1b\[[0-9;]*3[0-9]m", plain)
    piped = program("-m", "tirgn_cli", *arguments)
    assert piped.returncode == 0 and "\x1b" not in piped.stdout + piped.stderr and "\r" not in piped.stderr
    assert sum(line.startswith("epoch 1/1") for line in piped.stderr.splitlines()) == 1
    assert all(len(line) <= 80 for line in piped.stdout.splitlines())


def test_a_shell_completes_commands_options_and_names(program):
    def completed(words):
        code = (
            "import os; os.environ.update(_TIRGN_COMPLETE='complete_bash', "
            f"COMP_WORDS={words!r}, COMP_CWORD={str(len(words.split(' ')) - 1)!r})\n"
            "from tirgn_cli.app import main; main()"
        )
        return program("-c", code).stdout.split()

    assert "train" in completed("tirgn tr") and "--preset" in completed("tirgn train --pre")
    assert {"yago", "regcn-yago"} & set(completed("tirgn train --preset y")) == {"yago"}
    assert completed("tirgn data get WI") == ["WIKI"]


@pytest.mark.parametrize(
    ("shell", "more"), [("zsh", {}), ("fish", {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}), ("powershell", {})]
)
def test_other_shells_are_told_as_well(program, shell, more):
    def completed(words):
        asked = {"_TIRGN_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": words, **more}
        asked["_TYPER_COMPLETE_WORD_TO_COMPLETE"] = words.split(" ")[-1]
        return program("-c", f"import os; os.environ.update({asked!r})\nfrom tirgn_cli.app import main; main()").stdout

    assert "train" in completed("tirgn tr") and "vram-probe" not in completed("tirgn tr")
    found = completed("tirgn train --preset y")
    assert "yago" in found and "icews14s" not in found


def test_json_is_one_line_without_nan(capsys):
    output.print_json(
        {
            "mrr": float("nan"),
            "nll": float("inf"),
            "array": np.arange(2),
            "number": np.float32(0.5),
            "nested": [{"mrr": np.float64("nan")}],
            "flag": True,
        }
    )
    text = capsys.readouterr().out
    assert text.count("\n") == 1

    def refuse(name):
        return pytest.fail(f"{name} is no JSON")

    assert json.loads(text, parse_constant=refuse) == {
        "mrr": None,
        "nll": None,
        "array": [0, 1],
        "number": 0.5,
        "nested": [{"mrr": None}],
        "flag": True,
    }


def test_messages_are_single_lines_without_colour(capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    output.print_error("first\nsecond " + "long " * 100)
    output.print_warning("[red]careful[/red]")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 2
    assert "first second" in captured.err and "[red]careful[/red]" in captured.err
    assert "\x1b[31" not in captured.err and "\x1b[1;3" not in captured.err
