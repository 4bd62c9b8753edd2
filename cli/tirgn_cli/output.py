"""The two streams of a command: results on stdout, messages on stderr, and one JSON document with `--json`."""

import io
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass

from rich.console import Console
from rich.status import Status
from rich.text import Text

from tirgn_eqx.errors import one_line, printable
from tirgn_eqx.storage.strict_json import plain

# What `--quiet` and `--verbose` asked for; `Session.apply` sets both for every call of the command line.
quiet = verbose = False
_live_console: Console | None = None


@dataclass
class Session:
    """The switches of one call of the command line."""

    debug: bool = False
    quiet: bool = False
    verbose: bool = False

    def apply(self) -> None:
        """Set how much the library and the command say; quiet wins over verbose."""
        global quiet, verbose
        level = logging.WARNING if self.quiet else logging.DEBUG if self.verbose else logging.INFO
        logging.getLogger("tirgn_eqx").setLevel(level)
        quiet, verbose = self.quiet, self.verbose and not self.quiet


def prepare_streams() -> None:
    """Make every text writable: characters that an encoding such as Windows' cp1252 lacks become escapes, and a
    stream that the caller closed discards what it is given."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # Python gives None for a stream whose file descriptor was closed before it started.
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper) and stream.errors != "backslashreplace":
            stream.reconfigure(errors="backslashreplace")


def stdout() -> Console:
    """The console for results; it writes plain text when stdout is no terminal, and no colour with NO_COLOR."""
    # A new one for each use, because `sys.stdout` is another object while it is redirected.
    return Console(highlight=False)


def stderr() -> Console:
    """The console for errors, warnings, notes and progress."""
    return _live_console or Console(stderr=True, highlight=False)


@contextmanager
def share_console(console: Console) -> Iterator[None]:
    """Send messages through `console` while it redraws its last lines; otherwise they would appear among these."""
    global _live_console
    before, _live_console = _live_console, console
    try:
        yield
    finally:
        _live_console = before


def writable(text: str, console: Console | None = None) -> str:
    """`text` with escapes for control characters and for characters that the encoding of `console` (by default
    stdout) lacks. Tables need the escapes before their layout, so that the columns stay aligned."""
    encoding = (console or stdout()).encoding
    return printable(text).encode(encoding, "backslashreplace").decode(encoding)


def print_line(console: Console, *parts: str | tuple[str, str], wrap: bool = True) -> None:
    """Print one line of plain parts and (text, style) pairs, none of which is read as markup.

    `wrap` breaks the line between words on a terminal; elsewhere a line is never broken.
    """
    styled = (part if isinstance(part, tuple) else (part, "") for part in parts)
    text = Text.assemble(*((writable(words, console), style) for words, style in styled))
    console.print(text, soft_wrap=not (wrap and console.is_terminal))


def print_result(text: str) -> None:
    """Print one line on stdout."""
    print_line(stdout(), text)


def print_error(message: str) -> None:
    """Print one `error: ...` line on stderr."""
    print_line(stderr(), ("error: ", "bold red"), _join_lines(message), wrap=False)


def print_warning(message: str) -> None:
    """Print one `warning: ...` line on stderr."""
    print_line(stderr(), ("warning: ", "bold magenta"), _join_lines(message), wrap=False)


def print_note(message: str) -> None:
    """Print one line on stderr, unless `--quiet` was given."""
    if not quiet:
        print_line(stderr(), message)


def _join_lines(message: str) -> str:
    return one_line(" ".join(message.split("\n")).strip())


def print_traceback(exception: BaseException) -> None:
    """Print the traceback of `exception` on stderr, without the values of variables."""
    console = stderr()
    if console.is_terminal:
        from rich.traceback import Traceback

        console.print(Traceback.from_exception(type(exception), exception, exception.__traceback__, show_locals=False))
    else:
        import traceback

        traceback.print_exception(exception, file=sys.stderr)


def hide_repeated_notes() -> None:
    """Show each of the library's notes only the first time, until the command ends."""
    seen: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        known = record.getMessage() in seen
        seen.add(record.getMessage())
        return not known or record.levelno > logging.INFO

    # A filter of the handler sees all records; one of the logger would miss those of its child loggers.
    for handler in logging.getLogger("tirgn_eqx").handlers:
        handler.addFilter(is_new)


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send whatever a library prints to stderr, so that stdout carries the result alone."""
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def working(message: str) -> Iterator[None]:
    """Show on a terminal that something takes time."""
    console = stderr()
    # A file would fill with the frames of the spinner.
    if console.is_terminal and not quiet:
        with share_console(console), spinner(console, message):
            yield
    else:
        yield


def spinner(console: Console, message: str) -> Status:
    """A spinner with a message beside it, in characters that the terminal has."""
    kind = "line" if console.options.ascii_only else "dots"
    return console.status(Text(writable(message, console)), spinner=kind)


def print_json(value: Mapping[str, object]) -> None:
    """Print `value` as one JSON document on stdout: on one line, or indented on a terminal."""
    sys.stdout.write(to_json(value, indent=2 if sys.stdout.isatty() else None))


def to_json(value: Mapping[str, object], indent: int | None = 2) -> str:
    """`value` as an ASCII JSON document with a newline at its end; a number that is not finite becomes null."""
    return json.dumps(plain(value), indent=indent, allow_nan=False) + "\n"
