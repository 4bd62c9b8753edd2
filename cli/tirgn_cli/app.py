"""The Typer app `tirgn`: its commands, and the one place where an error becomes a line and an exit code."""

import errno
import logging
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, NoReturn, Protocol, runtime_checkable

import typer
from typer.core import TyperGroup

from tirgn_cli import options, output, tables
from tirgn_cli.audit import audit
from tirgn_cli.baseline import baseline_app
from tirgn_cli.brief import brief
from tirgn_cli.cache import cache_app
from tirgn_cli.compare import compare
from tirgn_cli.data import data_app
from tirgn_cli.eval import evaluate
from tirgn_cli.explain import explain
from tirgn_cli.export import export
from tirgn_cli.family_help import TrainCommand
from tirgn_cli.import_torch import import_torch
from tirgn_cli.predict import predict
from tirgn_cli.report import report
from tirgn_cli.retrain import retrain
from tirgn_cli.score import score
from tirgn_cli.train import train
from tirgn_cli.tune import tune
from tirgn_cli.vram_probe import vram_probe
from tirgn_eqx.errors import DataWarning, TirgnError, nearest, shown
from tirgn_eqx.runtime.xla_flags import add_native_atomics

# 128 + the number of SIGINT, as shells report it.
INTERRUPTED = 130
WELCOME = """\
tirgn forecasts events on a temporal knowledge graph: who will do what to whom.

Begin here. The simulated world needs no data, and training on it takes a few
minutes on 2 cores:

  tirgn train                               train TiRGN on it
  tirgn eval models/tkg/tirgn_best.npz      measure how often it is right
  tirgn predict models/tkg/tirgn_best.npz --facts 10
                                            list the most probable next events
  tirgn report models/tkg                   write a page about the training

Published data, and the accurate model that needs no GPU:

  tirgn data list                           list data sets with their counts
  tirgn data get ICEWS14s
  tirgn train --data-path data/ICEWS14s --model evidence

Events of your own, or of GDELT:

  tirgn data collect --last 30d --dir raw
  tirgn data ingest raw
  tirgn train --num-days 30 --preset gdelt-events

All commands: tirgn --help; one command in detail: tirgn COMMAND --help
Completion for your shell: tirgn --install-completion
"""


@runtime_checkable
class UsageFault(Protocol):
    """A usage error, of click or of the copy of it that later versions of typer hold."""

    exit_code: int

    def format_message(self) -> str:
        """What is wrong, in a line."""
        ...


class Group(TyperGroup):
    """The group of all commands; every way out of a command passes through `main`."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: object,
    ) -> NoReturn:
        """Run a command and exit with its code; an error becomes one line on stderr."""
        words = sys.argv[1:] if args is None else args
        # Read here already, because an error in the options comes before `--debug` is evaluated.
        session = output.Session(debug=os.environ.get("TIRGN_DEBUG", "") not in ("", "0"))
        run, begin = super().main, time.perf_counter()
        output.prepare_streams()
        # A call in a process that has had others, as in tests, must not go on with their switches.
        output.quiet = output.verbose = False
        if {"--help", "-h"} & set(words):
            _avoid_pale_colours()
        # A shell that asks for completions gives no words.
        if not words and not _is_completing():
            typer.echo(WELCOME, nl=False)
            sys.exit(0)
        # Here, before any command uses JAX: XLA reads its flags once.
        add_native_atomics()
        with _show_diagnostics():
            try:
                # The False is `standalone_mode`: Typer then raises its errors instead of printing them and exiting.
                code = run(args, prog_name, complete_var, False, windows_expand_args, obj=session, **extra)
            except Exception as error:
                code = _report_error(error, session.debug)
            if code == INTERRUPTED:
                output.print_line(output.stderr(), "interrupted")
            if session.verbose and not session.quiet:
                output.print_note(_describe_run(time.perf_counter() - begin))
        sys.exit(code if isinstance(code, int) else 0)


def _avoid_pale_colours() -> None:
    """Typer's help uses yellow, which is unreadable on a light background."""
    from typer import rich_utils

    styles = {"STYLE_TYPES": "magenta", "STYLE_METAVAR": "magenta", "STYLE_USAGE": "bold"}
    for name, style in (styles | {"STYLE_OPTION_ENVVAR": "dim", "STYLE_HELPTEXT": ""}).items():
        if hasattr(rich_utils, name):  # the names differ between versions
            setattr(rich_utils, name, style)


def _is_completing() -> bool:
    """Whether a shell asks for completions."""
    return any(name.startswith("_TIRGN") and name.endswith("_COMPLETE") for name in os.environ)


def _describe_run(seconds: float) -> str:
    """The time that a command took, and the versions of the packages that it loaded."""
    from importlib.metadata import version

    loaded = [name for name in ("jax", "equinox", "polars") if name in sys.modules]
    versions = ", ".join(f"{name} {version(name)}" for name in ["tirgn-eqx", *loaded])
    return f"took {tables.format_duration(seconds)}; {versions}"


def _report_error(error: Exception, debug: bool) -> int:
    """Show `error` on stderr and return its exit code."""
    # Typer turns Ctrl-C into an exit code or, in its older versions, into Abort.
    if isinstance(error, typer.Abort):
        return INTERRUPTED if isinstance(error.__cause__, KeyboardInterrupt) else 1
    if isinstance(error, UsageFault):
        return _report_usage(error)
    if debug:
        output.print_traceback(error)
    if isinstance(error, TirgnError):
        output.print_error(str(error))
        return error.exit_code
    # What JAX raises where a device is missing may be of any class.
    if message := _describe_missing_device():
        output.print_error(message)
        return 2
    output.print_error(_describe_unexpected(error, debug))
    return 1


def _report_usage(error: UsageFault) -> int:
    # Without arguments the help itself is the message, and may have been printed already.
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message(), nl=bool(error.format_message()))
        return error.exit_code
    text = " ".join(error.format_message().replace("Value error, ", "").split())
    # Typer's own guesses are worded differently by its versions.
    text = re.split(r"[.?]? Did you mean | \(Possible options: ", text)[0].rstrip(".")
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "tirgn"
    output.print_error(f"{text[:1].lower()}{text[1:]}{_suggest(error, text)}; see `{where} --help`")
    return error.exit_code


def _suggest(error: UsageFault, text: str) -> str:
    """A suggestion of the command or option that was probably meant."""
    if (context := getattr(error, "ctx", None)) is None:
        return ""
    if text.startswith("No such option"):
        flags = [flag for param in context.command.params for flag in (*param.opts, *param.secondary_opts)]
        return nearest(getattr(error, "option_name", ""), flags)
    found = re.match(r"No such command '(.*)'", text)
    return nearest(found[1], getattr(context.command, "commands", ())) if found else ""


def _describe_unexpected(error: Exception, debug: bool) -> str:
    """One line about an error that nobody raised on purpose, with what to do about it."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "").rstrip(".")
    # XLA reports memory that it cannot allocate as RESOURCE_EXHAUSTED.
    if "RESOURCE_EXHAUSTED" in first or isinstance(error, MemoryError):
        return f"out of memory ({first}); try --batch-size, --remat full, or ask `tirgn vram-probe --budget`"
    if isinstance(error, OSError) and (error.strerror or first):
        return _describe_os_error(error, first)
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        text = error.object[max(0, error.start - 40) : error.end + 40]
        return f"a path with bytes that are not UTF-8 cannot be written down: {shown(text)}; rename the file or folder"
    if isinstance(error, ValueError) and re.search("embedded null (byte|character)", first):
        return "a path holds a NUL character; name another"
    return f"{type(error).__name__}: {first or _describe_place(error)}" + (
        "" if debug else "; run again with --debug for the traceback"
    )


def _describe_place(error: Exception) -> str:
    """Where an error without a message was raised: the innermost line of these packages."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if re.search(r"tirgn_(eqx|cli)[/\\\\]", frame.filename)] or frames
    if not ours:
        return "without a message"
    name = re.split(r"(?=tirgn_(?:eqx|cli)[/\\\\])", ours[-1].filename)[-1]
    return f"without a message, in {name}:{ours[-1].lineno}; this is a fault of tirgn, not of what it was given"


def _describe_missing_device() -> str:
    """What is wrong with the devices that `JAX_PLATFORMS` asks for; empty if they are there, or JAX was not used."""
    jax = sys.modules.get("jax")
    asked = os.environ.get("JAX_PLATFORMS", "")
    if jax is None or not asked:
        return ""
    try:
        if jax.devices():
            return ""
        reason = "none is there"
    except Exception as error:  # a plugin may raise anything; JAX itself asserts that it has found a device
        told = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        reason = told.partition("(set JAX_PLATFORMS")[0].strip().rstrip(".") or "none is there"
    return (
        f"JAX_PLATFORMS={asked}: no such device can be used here ({reason}); unset JAX_PLATFORMS to take what there "
        "is, or give cpu; NVIDIA GPUs need `pip install 'tirgn-eqx[cuda]'` and a driver"
    )


def _describe_os_error(error: OSError, first: str) -> str:
    """One line about what the operating system refused, with what to do about it."""
    if not error.strerror:  # raised by polars, which writes the number of the error into its message
        return f"{re.sub(r' ?[(](os error [0-9]+|set POLARS.*)[)]', '', first)}; check the path and its permissions"
    where = f"{error.filename}: " if error.filename is not None else ""
    advice = "check the path and its permissions"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "free some space and run the same again; files that were there are as they were"
    return f"{where}{(error.strerror or type(error).__name__).lower()}; {advice}"


@contextmanager
def _show_diagnostics() -> Iterator[None]:
    """Show the library's warnings and log messages as lines on stderr while a command runs."""
    said: set[str] = set()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if getattr(record, "once", False):
                if record.getMessage() in said:
                    return
                said.add(record.getMessage())
            (output.print_warning if record.levelno >= logging.WARNING else output.print_note)(record.getMessage())

    logger, handler = logging.getLogger("tirgn_eqx"), Handler()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    # A handler of the root logger would show every message a second time.
    logger.propagate = False
    with warnings.catch_warnings():
        # By default, Python shows a warning only once for each line of code that raises it.
        warnings.filterwarnings("always", category=DataWarning)
        warnings.showwarning = lambda message, *_, **__: output.print_warning(str(message))
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


app = typer.Typer(
    name="tirgn", cls=Group, no_args_is_help=True, context_settings={"help_option_names": ["--help", "-h"]}
)


def _version(value: bool) -> bool:
    if value:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("tirgn-eqx")
        except PackageNotFoundError:
            number = "(version unknown: running from a source tree that is not installed)"
        typer.echo(f"tirgn {number}")
        raise typer.Exit()
    return value


@app.callback()
def tirgn(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version and exit")
    ] = False,
    debug: options.Debug = False,
) -> None:
    """Forecast events on a temporal knowledge graph with TiRGN.

    Example: tirgn train
    """


app.command("train", cls=TrainCommand)(train)
app.command("tune")(tune)
app.command("eval")(evaluate)
app.command("audit")(audit)
app.command("retrain")(retrain)
app.command("predict")(predict)
app.command("score")(score)
app.command("explain")(explain)
app.command("compare")(compare)
app.command("report")(report)
app.command("export")(export)
app.command("brief")(brief)
app.command("vram-probe")(vram_probe)
app.command("import-torch")(import_torch)
app.add_typer(baseline_app, name="baseline")
app.add_typer(data_app, name="data")
app.add_typer(cache_app, name="cache")


def main() -> None:
    """The console script `tirgn`."""
    app(prog_name="tirgn")
