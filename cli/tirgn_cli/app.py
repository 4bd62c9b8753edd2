"""The Typer app `tirgn`: its commands, and the one place where an error becomes a line and an exit code."""

import errno
import logging
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tirgn_cli import options
from tirgn_cli.baseline import baseline_app
from tirgn_cli.compare import compare
from tirgn_cli.data import data_app
from tirgn_cli.eval import evaluate
from tirgn_cli.import_torch import import_torch
from tirgn_cli.manners import START, mannered
from tirgn_cli.predict import predict
from tirgn_cli.report import report
from tirgn_cli.retrain import retrain
from tirgn_cli.train import TrainCommand, train
from tirgn_cli.tune import tune
from tirgn_cli.vram_probe import vram_probe
from tirgn_eqx.errors import DataWarning, TirgnError, nearest, shown

INTERRUPTED = 130


@dataclass
class Session:
    """What one call of the command line keeps: whether errors show their traceback, and how much is said."""

    debug: bool = False
    quiet: bool = False
    verbose: bool = False

    def heed(self) -> None:
        """Say as little or as much as was asked for; quiet wins."""
        from tirgn_cli import show

        level = logging.WARNING if self.quiet else logging.DEBUG if self.verbose else logging.INFO
        logging.getLogger("tirgn_eqx").setLevel(level)
        show.quiet, show.verbose = self.quiet, self.verbose and not self.quiet


class Group(TyperGroup):
    """The group of all commands; every way out of a command passes through `main`."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs a command and leaves with its exit code; errors become one line on stderr."""
        from tirgn_cli import show

        session = Session(debug=os.environ.get("TIRGN_DEBUG", "") not in ("", "0"))
        run, begin = super().main, time.perf_counter()
        show.prepare_streams()
        show.quiet = show.verbose = False
        if {"--help", "-h"} & set(sys.argv[1:] if args is None else args):
            _calm_colours()
        if not (sys.argv[1:] if args is None else args) and not _completing():
            typer.echo(START, nl=False)
            sys.exit(0)
        with _diagnostics():
            try:
                code = run(args, prog_name, complete_var, False, windows_expand_args, obj=session, **extra)
            except Exception as error:
                code = _report(error, session.debug)
            if code == INTERRUPTED:
                show.line(show.stderr(), "interrupted")
            if session.verbose and not session.quiet:
                show.note(show.footing(time.perf_counter() - begin))
        sys.exit(code if isinstance(code, int) else 0)


def _calm_colours() -> None:
    """Typer's help without yellow, which a light background swallows."""
    from typer import rich_utils

    styles = {"STYLE_TYPES": "magenta", "STYLE_METAVAR": "magenta", "STYLE_USAGE": "bold"}
    for name, style in (styles | {"STYLE_OPTION_ENVVAR": "dim", "STYLE_HELPTEXT": ""}).items():
        if hasattr(rich_utils, name):  # the names differ between versions
            setattr(rich_utils, name, style)


def _completing() -> bool:
    """Whether a shell asks for words, not a person."""
    return any(name.startswith("_TIRGN") and name.endswith("_COMPLETE") for name in os.environ)


def _report(error: Exception, debug: bool) -> int:
    """Shows `error` on stderr and returns its exit code."""
    from tirgn_cli import show

    # Typer answers the keyboard with an exit code or, in its older versions, with Abort.
    if isinstance(error, typer.Abort):
        return INTERRUPTED if isinstance(error.__cause__, KeyboardInterrupt) else 1
    # Usage errors come from click or from typer's own copy of it, depending on the version of typer.
    if hasattr(error, "format_message"):
        return _report_usage(error)
    if debug:
        show.traceback(error)
    if isinstance(error, TirgnError):
        show.error(str(error))
        return error.exit_code
    if message := _no_device():
        show.error(message)
        return 2
    show.error(_unexpected(error, debug))
    return 1


def _report_usage(error: Any) -> int:
    from tirgn_cli import show

    # Without arguments the help itself is the message, and may have been printed already.
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message(), nl=bool(error.format_message()))
        return error.exit_code
    text = " ".join(error.format_message().replace("Value error, ", "").split())
    # Typer's own guesses are worded differently by its versions.
    text = re.split(r"[.?]? Did you mean | \(Possible options: ", text)[0].rstrip(".")
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "tirgn"
    show.error(f"{text[:1].lower()}{text[1:]}{_meant(error, context, text)}; see `{where} --help`")
    return error.exit_code


def _meant(error: Any, context: Any, text: str) -> str:
    """The command or option that was probably meant."""
    if context is None:
        return ""
    if text.startswith("No such option"):
        flags = [flag for param in context.command.params for flag in (*param.opts, *param.secondary_opts)]
        return nearest(getattr(error, "option_name", ""), flags)
    found = re.match(r"No such command '(.*)'", text)
    return nearest(found[1], context.command.commands) if found else ""


def _unexpected(error: Exception, debug: bool) -> str:
    """One line for an error that nobody raised on purpose, with what to do about it."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "").rstrip(".")
    if "RESOURCE_EXHAUSTED" in first or isinstance(error, MemoryError):
        return f"out of memory ({first}); try --batch-size, --remat full, or ask `tirgn vram-probe --budget`"
    if isinstance(error, OSError) and (error.strerror or first):
        return _of_the_system(error, first)
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        text = error.object[max(0, error.start - 40) : error.end + 40]
        return f"a path with bytes that are not UTF-8 cannot be written down: {shown(text)}; rename the file or folder"
    if isinstance(error, ValueError) and re.search("embedded null (byte|character)", first):
        return "a path holds a NUL character; name another"
    return f"{type(error).__name__}: {first or _place(error)}" + (
        "" if debug else "; run again with --debug for the traceback"
    )


def _place(error: Exception) -> str:
    """Where an error without a message was raised: the innermost line of these packages, in whole words."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if re.search(r"tirgn_(eqx|cli)[/\\\\]", frame.filename)] or frames
    if not ours:
        return "without a message"
    name = re.split(r"(?=tirgn_(?:eqx|cli)[/\\\\])", ours[-1].filename)[-1]
    return f"without a message, in {name}:{ours[-1].lineno}; this is a fault of tirgn, not of what it was given"


def _no_device() -> str:
    """What is wrong with the devices that `JAX_PLATFORMS` asks for; empty where they are there, or JAX was not used."""
    jax = sys.modules.get("jax")
    asked = os.environ.get("JAX_PLATFORMS", "")
    if jax is None or not asked:
        return ""
    try:
        if jax.devices():
            return ""
        reason = "none is there"
    except Exception as error:  # whatever a plugin raises; JAX itself asserts that it has found a device
        told = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        reason = told.partition("(set JAX_PLATFORMS")[0].strip().rstrip(".") or "none is there"
    return (
        f"JAX_PLATFORMS={asked}: no such device can be used here ({reason}); unset JAX_PLATFORMS to take what there "
        "is, or give cpu; NVIDIA GPUs need `pip install 'tirgn-eqx[cuda]'` and a driver"
    )


def _of_the_system(error: OSError, first: str) -> str:
    """One line for what the operating system refused, with what to do about it."""
    if not error.strerror:  # raised by polars, which knows the number, but tells it in words
        return f"{re.sub(r' ?[(](os error [0-9]+|set POLARS.*)[)]', '', first)}; check the path and its permissions"
    where = f"{error.filename}: " if error.filename is not None else ""
    advice = "check the path and its permissions"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "free some space and run the same again; files that were there are as they were"
    return f"{where}{(error.strerror or type(error).__name__).lower()}; {advice}"


@contextmanager
def _diagnostics():
    """Shows the library's warnings and log messages as lines on stderr while a command runs."""
    from tirgn_cli import show

    said: set[str] = set()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if getattr(record, "once", False):
                if record.getMessage() in said:
                    return
                said.add(record.getMessage())
            (show.warning if record.levelno >= logging.WARNING else show.note)(record.getMessage())

    logger, handler = logging.getLogger("tirgn_eqx"), Handler()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=DataWarning)
        warnings.showwarning = lambda message, *_, **__: show.warning(str(message))
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


app = typer.Typer(
    name="tirgn",
    cls=Group,
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
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
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version and leave")
    ] = False,
    debug: options.Debug = False,
) -> None:
    """Forecast events on a temporal knowledge graph with TiRGN.

    Example: tirgn train
    """


app.command("train", cls=TrainCommand)(mannered(train))
app.command("tune")(mannered(tune))
app.command("eval")(mannered(evaluate))
app.command("retrain")(mannered(retrain))
app.command("predict")(mannered(predict))
app.command("compare")(mannered(compare))
app.command("report")(mannered(report))
app.command("vram-probe")(mannered(vram_probe))
app.command("import-torch")(mannered(import_torch))
app.add_typer(baseline_app, name="baseline")
app.add_typer(data_app, name="data")


def main() -> None:
    """The console script `tirgn`."""
    app(prog_name="tirgn")
