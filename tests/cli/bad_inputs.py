"""Run the table of bad inputs; `python -m tests.cli.bad_inputs FILE` writes what the commands say as a page."""

import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from typer.testing import CliRunner, Result

from tests.cli.bad_input_cases import CASES, Case
from tests.cli.bad_input_files import write_sound_files
from tirgn_cli.app import app

HEAD = """# What is refused, and how it is said

Written by `python -m tests.cli.bad_inputs docs/errors.md`; a test compares it with what the commands say.

Whatever is wrong, a command says it in one line on stderr that begins with `error: `, prints nothing on stdout, and
leaves with an exit code: 1 for data, checkpoints and runs, 2 for options and settings. Names and values in a message
are cut when they are long, and control characters in them are spelt out; `…` stands here for what another library
says, which differs between its versions. `--debug` shows the traceback as well.
"""


def run_case(case: Case, base: Path, place: Path) -> Result:
    """The result of the command on the input, which is made in `place`, a copy of `base`."""
    shutil.copytree(base, place)
    before = os.getcwd()
    os.chdir(place)
    try:
        case.make(Path())
        plain = {"NO_COLOR": "1", "COLUMNS": "80", "TERM": "dumb", "TIRGN_DEBUG": None}
        return CliRunner(env=plain).invoke(app, shlex.split(case.command)[1:], prog_name="tirgn")
    finally:
        os.chdir(before)


def generic_message(case: Case, stderr: str, place: Path) -> str:
    """The message without what differs from place to place and between versions of other libraries."""
    message = stderr.removeprefix("error: ").rstrip("\n").replace(f"{place}/", "")
    return re.sub(case.theirs, "…", message, count=1)


def table_row(case: Case, message: str) -> str:
    short = re.sub(r"(\d)\1{40,}", r"\1\1\1…", case.command).replace("\x1b", "\\x1b").replace("\n", "\\n")
    ticks = "``" if "`" in message else "`"
    cells = (case.what, f"`{short}`", f"{ticks} {message} {ticks}" if ticks == "``" else f"`{message}`", str(case.code))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def make_page(messages: dict[str, list[str]]) -> str:
    """The page of all messages, by group."""
    parts = [HEAD]
    for group, cases in CASES.items():
        rows = [table_row(case, message) for case, message in zip(cases, messages[group])]
        head = ["| what is wrong | command | message | exit code |", "|---|---|---|---|"]
        parts.append("\n".join([f"## {group}\n", *head, *rows]) + "\n")
    return "\n".join(parts)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.cli.bad_inputs FILE")
    with tempfile.TemporaryDirectory() as work:
        base = Path(work).resolve() / "base"
        base.mkdir()
        write_sound_files(base)
        messages: dict[str, list[str]] = {}
        for group, cases in CASES.items():
            places = [Path(work).resolve() / f"{group}-{number}" for number in range(len(cases))]
            messages[group] = [generic_message(c, run_case(c, base, p).stderr, p) for c, p in zip(cases, places)]
    Path(sys.argv[1]).write_text(make_page(messages), encoding="utf-8")


if __name__ == "__main__":
    main()
