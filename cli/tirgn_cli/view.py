"""What shows the records of work that takes long: a live display on a terminal, plain lines anywhere else."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, TypeVar

from rich.console import Console, RenderableType
from rich.live import Live

from tirgn_cli import show

Record = Mapping[str, Any]
AnyView = TypeVar("AnyView", bound="View")


class View:
    """Shows records on stderr; use it in a `with` statement. A record goes to the method `_on_` + its `event`.

    **Arguments:** `quiet`: show nothing; `verbose`: every figure; each is also so where the command line was told so;
    `console`: where to, stderr by default; `clock`: seconds, for tests.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        verbose: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.console = console or show.stderr()
        self._quiet, self._clock = quiet or show.quiet, clock
        self._verbose = verbose or show.verbose
        self._last_line = clock()
        self._live: Live | None = None
        self._sharing = ExitStack()

    def __enter__(self: AnyView) -> AnyView:
        if self.console.is_terminal and not self._quiet:
            self._live = Live(get_renderable=self._render, console=self.console, refresh_per_second=4, transient=True)
            self._live.start()
            self._sharing.enter_context(show.sharing(self.console))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._sharing.close()
            self._live.stop()
            self._live = None

    def __call__(self, record: Any) -> None:
        """Takes one record; an event that is not known is passed over."""
        handler = getattr(self, f"_on_{record.get('event')}", None)
        if handler is not None:
            handler(record)

    def _line(self, *parts: str) -> None:
        if not self._quiet:
            show.line(self.console, "  ".join(part for part in parts if part))

    def _render(self) -> RenderableType:
        """The live display."""
        raise NotImplementedError
