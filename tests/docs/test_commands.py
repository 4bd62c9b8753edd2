"""Every code block and command of the documentation is read, and run where it can be.

The default suite reads: commands against the real options, settings files, Python. `-m slow` runs whole pages, block by
block, in a folder with small data (`doc_world.py`).
"""

import ast
import configparser
import contextlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.docs import doc_world
from tests.docs.doc_blocks import (
    LANGUAGES,
    PAGES,
    ROOT,
    SHELL,
    Block,
    Command,
    blocks,
    commands,
    name,
    spans,
    unit_commands,
)
from tirgn_cli.app import app
from tirgn_cli.values import parse_bytes, parse_shape
from tirgn_eqx.config import PRESETS, RECIPES, GivenSettings
from tirgn_eqx.errors import ConfigError

ALL = [block for page in PAGES for block in blocks(page)]
EVERY_COMMAND = [
    (block.page, command)
    for block in ALL
    for command in (
        commands(block) if block.language in SHELL else unit_commands(block) if block.language == "ini" else ()
    )
]
PYTHON = [block for block in ALL if block.language == "python"]
RUN = [
    name(page) for page in PAGES if any(b.language in (*SHELL, "python") and not b.whole_reason for b in blocks(page))
]
# Settings whose values are checked inside a command.
INNER = {
    "preset": lambda value: PRESETS[value],
    "recipe": lambda value: RECIPES[value],
    "assignments": lambda values: configured(assignments=list(values)),
    "budget": parse_bytes,
    "shape": parse_shape,
}


def configured(**given):
    """The configuration of a family that has all these settings."""
    errors = []
    for chosen in ({}, {"family": "regcn"}, {"family": "evidence"}, {"history": "evidence"}):
        try:
            return GivenSettings(**given | {"options": chosen | given.get("options", {})}).config()
        except ConfigError as error:
            errors.append(error)
    raise errors[0]


def place(block: Block) -> str:
    return f"{block.page}:{block.line}"


def resolved(command: Command):
    """(the command that `tirgn WORDS` calls, what is left of the words)."""
    group, words = typer.main.get_command(app), [re.sub(r"\$\{[^}]*\}|\$\w+", "1", word) for word in command.words]
    context = group.make_context("tirgn", words, resilient_parsing=True)
    while words and hasattr(group, "commands"):
        if words[0].startswith("-"):
            return group, context, words
        if words[0] not in group.commands:
            raise AssertionError(f"no such command: {words[0]}")
        group, context, words = group.commands[words[0]], context, words[1:]
    return group, context, words


def check(command: Command) -> None:
    """Raises unless the real command line takes these words: options exist, values parse."""
    called, parent, words = resolved(command)
    if not words:
        return
    context = called.make_context(called.name, list(words), parent=parent)
    for option, test in INNER.items():
        value = context.params.get(option)
        if value:
            test(value)


@pytest.mark.parametrize("block", ALL, ids=place)
def test_every_block_says_what_it_is(block):
    assert block.language in LANGUAGES, f"{place(block)}: write the language after the fence"
    for part in block.reasons:
        begun = [command for command in commands(block) if str(command).startswith(part)]
        assert not part or begun, f"{place(block)}: no command begins with {part!r}"


@pytest.mark.parametrize(
    ("page", "command"), EVERY_COMMAND, ids=lambda v: f"{v.line} {v}"[:60] if hasattr(v, "line") else v
)
def test_every_command_is_taken_by_the_command_line(page, command):
    try:
        check(command)
    except Exception as error:
        told = error.format_message() if hasattr(error, "format_message") else error
        pytest.fail(f"{page}:{command.line}: {command}: {told}")


# errors.md is made of commands that are refused; a test of its own keeps it true.
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "errors.md"], ids=name)
def test_options_in_the_running_text_exist(page):
    for command in spans(page):
        if command.words[0].isupper():
            continue  # a word that stands for any command
        called, _, words = resolved(command)
        known = {flag for param in called.params for flag in (*param.opts, *param.secondary_opts)} | {"--help", "-h"}
        known |= {"--install-completion", "--show-completion"}
        for word in words:
            assert not word.startswith("-") or word.split("=")[0].rstrip(",.;") in known, f"{name(page)}: {command}"


@pytest.mark.parametrize("block", [b for b in ALL if b.language in ("toml", "json", "ini")], ids=place)
def test_files_that_are_shown_are_well_formed(block):
    if block.language == "ini":
        configparser.ConfigParser(strict=False).read_string(block.text)
        return
    content = tomllib.loads(block.text) if block.language == "toml" else json.loads(block.text)
    if block.language == "toml" and "settings" in block.text.partition("\n")[0]:
        configured(options=content)


@pytest.mark.parametrize("block", PYTHON, ids=place)
def test_python_is_sound_and_imports_what_there_is(block):
    tree = ast.parse(block.text)
    # What is not run may need what is not installed.
    for node in ast.walk(tree) if not block.whole_reason else ():
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)


def test_the_check_refuses_what_does_not_exist():
    for words in ("train --epoch 3", "trian", "train --epochs many", "train --preset icews8", "train --set angel=3"):
        with pytest.raises(Exception):  # noqa: B017
            check(Command(tuple(words.split()), 1))


class Page:
    """A page that is being run: its folder, its Python names, its stand-in for GDELT's server."""

    def __init__(self, page: str, folder: Path, server: str | None):
        self.page, self.folder, self.server = page, folder, server
        self.names: dict = {"__name__": "__main__"} | doc_world.names(page)
        self.devices = doc_world.DEVICES.get(page)

    def tirgn(self, words: list[str], where: str) -> None:
        for begin, left in doc_world.FRESH.get(self.page, {}).items():
            if " ".join(words).startswith(begin):
                (self.folder / left).unlink() if (self.folder / left).is_file() else shutil.rmtree(
                    self.folder / left, True
                )
        words = [*words, *doc_world.options_for(words, self.server)]
        if self.devices:
            return self.program([sys.executable, "-m", "tirgn_cli", *words], where)
        result = CliRunner(
            env={"JAX_COMPILATION_CACHE_DIR": None, "NO_COLOR": "1", "COLUMNS": "80", "TERM": "dumb"}
        ).invoke(app, words, prog_name="tirgn")
        assert result.exit_code == 0, f"{where}: {' '.join(words)}: exit code {result.exit_code}\n{result.output}"

    def program(self, words: list[str], where: str) -> None:
        """A process of its own, with `tirgn` on its path as `doc_world.py` makes it."""
        shim = self.folder / ".bin" / "tirgn"
        shim.parent.mkdir(exist_ok=True)
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.docs.doc_world "$@"\n')
        shim.chmod(0o755)
        paths = os.pathsep.join([str(ROOT), str(ROOT / "cli")])
        env = os.environ | {"PYTHONPATH": paths, "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}"}
        env |= {"STAND_IN_GDELT": self.server or "", "NO_COLOR": "1"}
        env |= {"JAX_NUM_CPU_DEVICES": str(self.devices)} if self.devices else {}
        done = subprocess.run(words, cwd=self.folder, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{where}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"

    def run(self, block: Block) -> None:
        if block.whole_reason:
            return
        if block.language == "python":
            exec(compile(block.text, place(block), "exec"), self.names)
        elif block.language in SHELL:
            calls = commands(block)
            plain = all(
                not line.strip() or line.lstrip().startswith(("tirgn ", "#", "--")) for line in block.text.splitlines()
            )
            if plain and all(call.alone for call in calls):
                for call in calls:
                    exceptions = doc_world.NOT_RUN.get(self.page, {})
                    if not block.reason(call) and not any(str(call).startswith(part) for part in exceptions):
                        self.tirgn(list(call.words), f"{self.page}:{call.line}")
            else:
                assert not block.reasons, f"{place(block)}: commands can be left out where each stands alone"
                self.program(
                    ["bash", "-euo", "pipefail", "-c", block.text.replace("\n$ ", "\n").removeprefix("$ ")],
                    place(block),
                )


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_the_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch, gdelt):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    running = Page(page, tmp_path, doc_world.serve(gdelt))
    for command in doc_world.prepare(tmp_path, page):
        running.tirgn(command.split(), f"{page}: before its first block")
    for block in blocks(ROOT / page):
        with contextlib.redirect_stdout(None):
            running.run(block)
