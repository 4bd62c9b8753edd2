"""Views of long work on stderr: a live display on a terminal, plain lines anywhere else."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Generic, TypedDict, TypeVar, Unpack

from rich.console import Console, RenderableType
from rich.live import Live

from tirgn_cli import output

Record = TypeVar("Record", contravariant=True)
AnyView = TypeVar("AnyView", bound="View")


class ViewOptions(TypedDict, total=False):
    """What every view may be given.

    **Arguments:** `quiet`, `verbose`: show nothing, or every figure, in addition to what `--quiet` and `--verbose` ask
    for; `console`: by default stderr; `clock`: a function that returns seconds, for tests.
    """

    quiet: bool
    verbose: bool
    console: Console
    clock: Callable[[], float]


class View(Generic[Record]):
    """Shows records of one type on stderr, within a `with` statement."""

    def __init__(self, **options: Unpack[ViewOptions]):
        self.console = options.get("console") or output.stderr()
        self._quiet = options.get("quiet", False) or output.quiet
        self._verbose = options.get("verbose", False) or output.verbose
        self._clock = options.get("clock", time.monotonic)
        self._last_line = self._clock()
        self._live: Live | None = None
        self._sharing = ExitStack()

    def __enter__(self: AnyView) -> AnyView:
        if self.console.is_terminal and not self._quiet:
            # Transient, so that the display is gone when the result is printed.
            live = Live(get_renderable=self._render, console=self.console, refresh_per_second=4, transient=True)
            live.start()
            self._live = live
            self._sharing.enter_context(output.share_console(self.console))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._sharing.close()
            self._live.stop()
            self._live = None

    def __call__(self, record: Record) -> None:
        """Show one record."""
        raise NotImplementedError

    def _line(self, *parts: str) -> None:
        if not self._quiet:
            output.print_line(self.console, "  ".join(part for part in parts if part))

    def _render(self) -> RenderableType:
        """The live display."""
        raise NotImplementedError
