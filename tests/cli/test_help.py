"""Help: quick, complete, with examples that parse; no heavy library is loaded for it."""

import shlex

import pytest
import typer

from tools.docs.cli_reference import commands, examples, options

COMMANDS = dict(commands())
HEAVY = ("jax", "equinox", "numpy", "polars", "optax", "tensorboardX", "wandb", "mlflow", "trackio", "torch", "optuna")


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_help_with_an_example_and_described_options(run, path):
    command = COMMANDS[path]
    assert examples(command), f"{path} has no example line"
    for param in options(command):
        assert param.help, f"{path} {param.name} has no help"
        words = ("(default", "(required", "show the version")
        assert param.param_type_name == "argument" or any(word in param.help for word in words), param.name
    result = run(*path.split()[1:], "--help")
    assert result.exit_code == 0, result.stderr
    assert "Example: tirgn" in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


@pytest.mark.parametrize("line", sorted({line for command in COMMANDS.values() for line in examples(command)}))
def test_every_example_parses(line):
    path, command, words = find(line)
    command.make_context(path, words)


def test_help_stands_in_for_missing_arguments(run):
    for arguments in (["baseline"], ["data"]):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "Usage: " in result.output and "error:" not in result.output


def test_alone_it_shows_the_way_in(run):
    result = run()
    assert result.exit_code == 0 and not result.stderr
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    shown = [line.strip().partition("   ")[0] for line in result.stdout.splitlines() if line.startswith("  tirgn ")]
    assert len(shown) >= 8
    for line in shown:
        path, command, words = find(line)
        command.make_context(path, words)


def find(line):
    """(path, command, further words) of a command line."""
    words = shlex.split(line)
    assert words.pop(0) == "tirgn"
    path, command = "tirgn", COMMANDS["tirgn"]
    while words and f"{path} {words[0]}" in COMMANDS:
        path = f"{path} {words.pop(0)}"
        command = COMMANDS[path]
    return path, command, words


def test_version(run):
    result = run("--version")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("tirgn ")


@pytest.mark.parametrize("path", COMMANDS)
def test_help_loads_nothing_heavy(program, path):
    code = f"""
import sys
from tirgn_cli.app import app
try:
    app({[*path.split()[1:], "--help"]!r}, prog_name="tirgn")
except SystemExit as leave:
    assert leave.code == 0, leave.code
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    result = program("-c", code)
    assert result.returncode == 0, result.stderr
    assert "Usage: tirgn" in result.stdout
    assert result.stderr.strip() == "[]"


def test_the_shown_defaults_of_other_options_are_theirs():
    train = {param.name: param for param in COMMANDS["tirgn train"].params}
    assert str(train["model_dir"].default) in train["model_dir"].help
    assert COMMANDS["tirgn eval"].params and typer is not None
