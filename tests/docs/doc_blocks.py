"""What the documentation shows: its code blocks, the commands in them, and why some of them are not run.

A comment before a block says why it is not run; it is read all the same:

    <!-- not run: needs two machines -->
    <!-- not run "tirgn data collect": needs GDELT's server -->     (only commands that begin like this)
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")])
SHELL = ("sh", "bash", "console")
# Every block has one of these languages.
LANGUAGES = (*SHELL, "python", "toml", "json", "ini", "text", "diff", "{toctree}", "{include}", "{eval-rst}")
FENCE = re.compile(
    r"^(?P<mark>`{3,}|:{3,})(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=mark)[ ]*$", re.MULTILINE | re.DOTALL
)
COMMENT = re.compile(r'<!-- not run(?: "(?P<part>[^"]+)")?: (?P<why>.+?) -->', re.DOTALL)
SPAN = re.compile(r"(?<!`)`(tirgn [^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Command:
    """One call of `tirgn` in a block.

    **Arguments:** `words`: after `tirgn`; `line`: of the page; `alone`: nothing but this program is in its line, so
    that it can be run without a shell.
    """

    words: tuple[str, ...]
    line: int
    alone: bool = True

    def __str__(self) -> str:
        return " ".join(("tirgn", *self.words))


@dataclass(frozen=True)
class Block:
    """A code block: `line` of its fence, and the reasons of the comments before it ("" = the whole of it)."""

    page: str
    language: str
    text: str
    line: int
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def whole_reason(self) -> str | None:
        """Why nothing of the block is run."""
        return self.reasons.get("")

    def reason(self, command: Command) -> str | None:
        """Why a command of the block is not run."""
        found = (why for part, why in self.reasons.items() if str(command).startswith(part))
        return next(found, None)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page in their order."""
    text, found = page.read_text(encoding="utf-8"), []
    for match in FENCE.finditer(text):
        before = text[: match.start()]
        comments = re.search(r"(?:<!--(?:(?!-->).)*-->\s*)+\Z", before, re.DOTALL)
        told = COMMENT.finditer(comments[0]) if comments else ()
        reasons = {one["part"] or "": " ".join(one["why"].split()) for one in told}
        language = match["language"].strip().split(" ")[0]
        found.append(Block(name(page), language, match["text"], before.count("\n") + 1, reasons))
    return found


def lines(text: str, first: int) -> Iterator[tuple[int, str]]:
    """Logical lines of a shell block with their numbers; those that a backslash continues are one."""
    number, kept = first, ""
    for offset, line in enumerate(text.splitlines()):
        if not kept:
            number = first + offset
        kept += line
        if kept.endswith("\\"):
            kept = kept[:-1] + " "
            continue
        yield number, kept.removeprefix("$ ")
        kept = ""


def commands(block: Block) -> list[Command]:
    """Every call of `tirgn` in a shell block, wherever it stands in its line."""
    found = []
    for number, line in lines(block.text, block.line + 1):
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = "#" if not line.lstrip().startswith("#SBATCH") else ""
        try:
            words = list(lexer)
        except ValueError as error:
            raise ValueError(f"{block.page}:{number}: {error}") from error
        parts: list[list[str]] = [[]]
        marks = set()
        for word in words:
            if set(word) <= set("();<>|&") and word:
                marks.add(word)
                parts.append([])
            else:
                parts[-1].append(word)
        for part in parts:
            place = next((i for i, word in enumerate(part) if word.rsplit("/", 1)[-1] == "tirgn"), None)
            if place is not None:
                alone = place == 0 and marks <= {"&&"} and "$" not in line
                found.append(Command(tuple(part[place + 1 :]), number, alone))
    return found


def unit_commands(block: Block) -> list[Command]:
    """The calls of `tirgn` in a systemd unit."""
    starts = [
        (block.line + 1 + number, line.partition("=")[2])
        for number, line in enumerate(block.text.splitlines())
        if line.startswith("ExecStart=")
    ]
    return [Command(tuple(shlex.split(text)[1:]), number, False) for number, text in starts if "tirgn" in text]


def spans(page: Path) -> list[Command]:
    """Commands in running text, whose values may be placeholders."""
    text = FENCE.sub(lambda match: "\n" * match[0].count("\n"), page.read_text(encoding="utf-8"))

    def place(match):
        return text[: match.start()].count("\n") + 1

    return [Command(tuple(match[1].split()[1:]), place(match)) for match in SPAN.finditer(text)]
