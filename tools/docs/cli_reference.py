"""`python -m tools.docs.cli_reference FILE` writes the reference of every command from its own help."""

import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from tirgn_cli.app import app
from tirgn_eqx.config import (
    EventTrainingConfig,
    EvidenceTrainingConfig,
    ModelTrainingConfig,
    RecurrentTrainingConfig,
    REGCNTrainingConfig,
    TiRGNTrainingConfig,
    settings_of,
)

HEAD = """# The command line

Written by `python -m tools.docs.cli_reference docs/cli.md`; the same words as `tirgn COMMAND --help`.

Results go to stdout; progress, warnings and errors go to stderr. With `--json`
stdout holds exactly one JSON document. Exit code 0: done; 1: something is wrong
with the data, a checkpoint or the run; 2: something is wrong with the options;
3: done except for a part: files that could not be fetched or read, or a retrained model
that is worse than the one it should replace; 130: interrupted; 143: terminated.
`NO_COLOR=1` turns colour off. Every command has `--help`
(`-h`), and `tirgn --install-completion` (or `--show-completion`) sets up the
shell to complete commands and options.
"""
SETTINGS = """## Settings

Every setting of a training, for `--set key=value` and for `--config FILE`, which
takes the same names in TOML (`angle = 10.0`) or JSON. With `--history evidence`
a name is that of the structure, and `evidence.NAME` (in a file, the table
`[evidence]`) one of the evidence model. A file may name the `family`: tirgn,
regcn, evidence, mixture or events.
"""
# The headings of the settings: of a class, those that its base lacks or describes differently.
SECTIONS = (
    ("All models", ModelTrainingConfig, None),
    ("TiRGN and RE-GCN", RecurrentTrainingConfig, ModelTrainingConfig),
    ("TiRGN", TiRGNTrainingConfig, RecurrentTrainingConfig),
    ("RE-GCN, where it differs from the above", REGCNTrainingConfig, RecurrentTrainingConfig),
    ("Evidence, and where it differs from all models", EvidenceTrainingConfig, ModelTrainingConfig),
    ("Events, which has no others than these", EventTrainingConfig, None),
)
EXAMPLE = "Example: "
# Made by typer itself, with words that differ between its versions; HEAD speaks of them.
BUILT_IN = ("--help", "--install-completion", "--show-completion")


# Any: the classes of commands and options belong to a part of typer that is not public.
def commands(command: Any = None, path: str = "tirgn") -> Iterator[tuple[str, Any]]:
    """Every command and group with its full name, such as `tirgn data stats`."""
    command = typer.main.get_command(app) if command is None else command
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{path} {name}")


def options(command: Any) -> list[Any]:
    """The options and arguments of a command, without those that typer makes itself."""
    return [param for param in command.params if not set(param.opts) & set(BUILT_IN)]


def examples(command: Any) -> list[str]:
    """The example lines in a command's help."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return [" ".join(text.split())[len(EXAMPLE) :] for text in paragraphs if text.startswith(EXAMPLE)]


def reference() -> str:
    """The whole reference as Markdown; the same on every machine and terminal."""
    parts = [HEAD]
    for path, command in commands():
        parts.append(f"## {path}\n")
        for text in inspect.cleandoc(command.help or "").split("\n\n"):
            if not text.startswith(EXAMPLE):
                parts.append(_wrapped(text) + "\n")
        parts.append("\n".join(["```sh", *examples(command), "```\n"]))
        panels: dict[str, list[str]] = {}
        for param in options(command):
            panel = getattr(param, "rich_help_panel", None) or "Options"
            if param.param_type_name == "argument":
                panel = "Arguments"
            panels.setdefault(panel, []).append(_wrapped(f"- {_name(param)}: {param.help}"))
        for panel, lines in panels.items():
            parts.append(f"**{panel}**\n\n" + "\n".join(lines) + "\n")
    parts.append(SETTINGS)
    for title, config, base in SECTIONS:
        known = {} if base is None else settings_of(base)
        found = [one for name, one in settings_of(config).items() if known.get(name) != one]
        lines = [_wrapped(f"- `{one.name}`: {one.described()}") for one in found]
        parts.append(f"**{title}**\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _name(param: Any) -> str:
    """How an option is written, with the name of its value."""
    if param.param_type_name == "argument":
        return f"`{param.metavar}`"
    names = "`, `".join((*param.opts, *param.secondary_opts))
    return f"`{names}`" if param.is_flag else f"`{names} {param.metavar}`"


def _wrapped(text: str) -> str:
    indent = "  " if text.startswith("- ") else ""
    # Long words, such as `--set=key=value`, and words with hyphens, such as options, stay whole.
    keep = textwrap.TextWrapper(80, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(keep.wrap(" ".join(text.split())))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tools.docs.cli_reference FILE")
    Path(sys.argv[1]).write_text(reference())
