"""The written documentation names every command, option and setting, and the reference is up to date."""

from pathlib import Path

import pytest

from tirgn_cli.options import FIELDS
from tools.docs.cli_reference import commands, options, reference

ROOT = Path(__file__).parents[2]
CLI = ROOT / "docs" / "cli.md"


def written() -> str:
    readme = ROOT / "README.md"
    return CLI.read_text() + (readme.read_text() if readme.exists() else "")


@pytest.mark.parametrize("path", [path for path, _ in commands()])
def test_every_command_and_option_is_documented(path):
    command = dict(commands())[path]
    text = written()
    assert path in text
    section = text.partition(f"## {path}\n")[2].partition("\n## ")[0]
    for param in options(command):
        for name in (*param.opts, *param.secondary_opts):
            assert not name.startswith("-") or f"`{name}" in section, f"{path} {name}"


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_documented(name):
    assert f"- `{name}`:" in written()


def test_the_reference_is_up_to_date():
    assert CLI.read_text() == reference(), "run: python -m tools.docs.cli_reference docs/cli.md"


def test_the_reference_does_not_depend_on_the_terminal(monkeypatch):
    expected = reference()
    for name, value in (("COLUMNS", "40"), ("TERMINAL_WIDTH", "40"), ("FORCE_COLOR", "1"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    assert reference() == expected
    assert "\x1b" not in expected
