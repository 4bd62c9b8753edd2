"""What a person sees: results on stdout, messages on stderr, one JSON document where `--json` asks for it."""

import io
import json
import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from tirgn_eqx.errors import one_line, printable

# Whether notes and signs of work are left out, or all is told; set for every call of the command line.
quiet = verbose = False
_shared: Console | None = None
METRICS = {"mrr": "MRR", "hits_at_1": "Hits@1", "hits_at_3": "Hits@3", "hits_at_10": "Hits@10", "nll": "NLL"}


def prepare_streams() -> None:
    """Makes every text writable: letters that an encoding such as Windows' cp1252 lacks become escapes, and a stream
    that the caller closed takes what it is given."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper) and stream.errors != "backslashreplace":
            stream.reconfigure(errors="backslashreplace")


def stdout() -> Console:
    """The console for results; plain text without colour when stdout is no terminal or NO_COLOR is set."""
    return Console(highlight=False)


def stderr() -> Console:
    """The console for errors, warnings, notes and progress."""
    return _shared or Console(stderr=True, highlight=False)


@contextmanager
def sharing(console: Console) -> Iterator[None]:
    """While `console` redraws its last lines, messages go through it: written past it, they would stand among them."""
    global _shared
    before, _shared = _shared, console
    try:
        yield
    finally:
        _shared = before


def _written(text: str, console: Console | None = None) -> str:
    """`text` without control characters and without letters that the encoding of `console` (stdout's) lacks: both are
    spelt out before a table is laid out, so that its columns stay in line."""
    encoding = (console or stdout()).encoding
    return printable(text).encode(encoding, "backslashreplace").decode(encoding)


def line(console: Console, *parts: str | tuple[str, str], wrap: bool = True) -> None:
    """One line, never read as markup; on a terminal, `wrap` breaks it between words, elsewhere it is never broken."""
    written = lambda text: _written(text, console)
    shown = (written(part) if isinstance(part, str) else (written(part[0]), part[1]) for part in parts)
    console.print(Text.assemble(*shown), soft_wrap=not (wrap and console.is_terminal))


def error(message: str) -> None:
    line(stderr(), ("error: ", "bold red"), _single_line(message), wrap=False)


def warning(message: str) -> None:
    line(stderr(), ("warning: ", "bold magenta"), _single_line(message), wrap=False)


def note(message: str) -> None:
    if not quiet:
        line(stderr(), message)


def footing(seconds: float) -> str:
    """What a long-winded command says at its end: time and versions, as far as they were needed."""
    from importlib.metadata import version

    used = [name for name in ("jax", "equinox", "polars") if name in sys.modules]
    return f"took {duration(seconds)}; " + ", ".join(f"{name} {version(name)}" for name in ["tirgn-eqx", *used])


def only_warnings() -> None:
    """Keeps the library's notes to itself until the command ends; its warnings are still shown."""
    logging.getLogger("tirgn_eqx").setLevel(logging.WARNING)


def notes_once() -> None:
    """Shows each of the library's notes the first time alone, until the command ends."""
    seen: set[str] = set()

    def is_news(record: logging.LogRecord) -> bool:
        known = record.getMessage() in seen
        seen.add(record.getMessage())
        return not known or record.levelno > logging.INFO

    for handler in logging.getLogger("tirgn_eqx").handlers:
        handler.addFilter(is_news)


def traceback(exception: BaseException) -> None:
    """The traceback of `exception`, without the values of variables."""
    from rich.traceback import Traceback

    console = stderr()
    if console.is_terminal:
        console.print(Traceback.from_exception(type(exception), exception, exception.__traceback__, show_locals=False))
    else:
        import traceback

        traceback.print_exception(exception, file=sys.stderr)


def _single_line(message: str) -> str:
    return one_line(" ".join(message.split("\n")).strip())


@contextmanager
def clean_stdout() -> Iterator[None]:
    """While a library works, whatever it prints goes to stderr, so that stdout carries the result alone."""
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def working(message: str) -> Iterator[None]:
    """Shows on a terminal that something takes its time."""
    console = stderr()
    if console.is_terminal and not quiet:
        with sharing(console), status(console, message):
            yield
    else:
        yield


def status(console: Console, message: str) -> Status:
    """A moving sign with words beside it, in letters that the terminal has."""
    spinner = "line" if console.options.ascii_only else "dots"
    return console.status(Text(_written(message, console)), spinner=spinner)


def document(value: Mapping[str, Any]) -> None:
    """`value` as one JSON document on stdout: one line, or indented when a person looks at it."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(plain(value), indent=indent, allow_nan=False) + "\n")


def document_text(value: Mapping[str, Any]) -> str:
    """`value` as an indented JSON document for a file."""
    return json.dumps(plain(value), indent=2, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """`value` in JSON's own types; a number that is not finite becomes null, as JSON has none."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def result(table: Table) -> None:
    """A table on stdout, 80 columns wide when stdout is no terminal."""
    console = stdout()
    if not console.is_terminal:
        console.width = 80
    console.print(table)


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "", text: Sequence[str] = ()
) -> Table:
    """A table whose first column, and those that `text` names, is text, of several lines where need be; the others are
    aligned to the right."""
    shown = Text(_written(caption)) if caption else None
    made = Table(title=Text(_written(title)), caption=shown, title_justify="left")
    made.caption_justify = "left"
    for index, name in enumerate(columns):
        made.add_column(name, justify="left" if index == 0 or name in text else "right", overflow="fold")
    for row in rows:
        lines = [str(value).split("\n") if name in text else [value] for name, value in zip(columns, row)]
        made.add_row(*(Text("\n".join(map(cell, values))) for values in lines))
    return made


def pairs(title: str, rows: Mapping[str, Any]) -> Table:
    """A table of names and values; a value that is None is left out."""
    made = Table(title=Text(_written(title)) if title else None, show_header=False, title_justify="left")
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows.items():
        if value is not None:
            made.add_row(Text(_written(name)), Text(cell(value)))
    return made


def cell(value: Any) -> str:
    """A value as a table shows it: counts with thousands separators, figures with four decimals."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if isinstance(value, float) else _written(str(value))


def bar(total: int, done: int) -> Any:
    """A bar in colours that any background leaves readable."""
    from rich.progress_bar import ProgressBar

    return ProgressBar(max(total, 1), done, style="bright_black", complete_style="cyan", finished_style="cyan")


def figures(metrics: Mapping[str, Any]) -> list[Any]:
    """MRR, Hits@1, Hits@3, Hits@10 and NLL of `metrics`, in the order of `METRICS`."""
    return [metrics.get(name) for name in METRICS]


def size(num_bytes: int | float) -> str:
    """Bytes as people read them, in powers of 1024."""
    value, units = float(num_bytes), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def duration(seconds: int | float) -> str:
    """Seconds as `12.3 s` below a minute, else as `h:mm:ss`."""
    if not math.isfinite(seconds):
        return "-"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def dataset(description: Mapping[str, Any]) -> str:
    """Name, counts and the start of the checksum of a data set, in one line."""
    counts = [f"{description[key]:,} {key}" for key in ("facts", "entities", "relations", "snapshots")]
    left_out = sum((description.get("left_out") or {}).values())
    counts += [f"{left_out:,} facts with unknown names left out"] if left_out else []
    return f"{description['name']}: {', '.join(counts)}, sha256 {description['sha256'][:12]}"
