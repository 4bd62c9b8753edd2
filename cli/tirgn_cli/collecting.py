"""The records of a collection as a live display on a terminal, and as plain lines anywhere else."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tirgn_cli import show
from tirgn_cli.progress import Record

SECONDS_BETWEEN_LINES = 30.0


class CollectingView:
    """Shows the records of `collect(on_record=...)` on stderr; use it in a `with` statement.

    **Arguments:** `quiet`: show nothing; `console`: where to, stderr by default; `clock`: seconds, for tests.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.console = console or show.stderr()
        self._quiet, self._clock = quiet, clock
        self._last_line = clock()
        self._live: Live | None = None
        self._files = self._total = self._ended = self._bytes_ended = self._came = 0
        self._parts: dict[str, int] = {}
        self._started: float | None = None
        self._doing = "reading the list"

    def __enter__(self) -> "CollectingView":
        if self.console.is_terminal and not self._quiet:
            self._live = Live(get_renderable=self._render, console=self.console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, record: dict[str, Any]) -> None:
        """Takes one record; an event that is not known is passed over."""
        handler = getattr(self, f"_on_{record.get('event')}", None)
        if handler is not None:
            handler(record)

    def _line(self, *parts: str) -> None:
        if not self._quiet:
            self._last_line = self._clock()
            show.line(self.console, "  ".join(part for part in parts if part))

    def _sometimes(self, *parts: str) -> None:
        if self._live is None and self._clock() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._line(*parts)

    def _on_list(self, record: Record) -> None:
        self._doing = f"reading {record['name']}: {show.size(record['held'])}"
        self._sometimes(self._doing)

    def _on_check(self, record: Record) -> None:
        self._doing = f"checking what is there: {record['checked']:,} of {record['files']:,} files"
        self._sometimes(self._doing)

    def _on_start(self, record: Record) -> None:
        self._files, self._total, self._started = record["files"], record["bytes"], self._clock()
        there = record["listed"] - record["files"]
        self._line(
            f"{record['listed']:,} files listed, {there:,} there already, {self._files:,} to fetch "
            f"({show.size(self._total)}) into {record['directory']}"
        )

    def _on_bytes(self, record: Record) -> None:
        self._came += record["bytes"]
        self._parts[record["name"]] = record["held"]
        self._sometimes(*self._figures())

    def _on_retry(self, record: Record) -> None:
        self._parts.pop(f"{record['name']}.part", None)
        if self._live is not None or self._started is None:
            self._line(f"{record['name']}: {record['why']}; again in {show.duration(record['wait'])}")

    def _on_file(self, record: Record) -> None:
        self._parts.pop(f"{record['name']}.part", None)
        self._ended += 1
        self._bytes_ended += record["bytes"]
        if record["status"] != "fetched":
            self._line(f"{record['name']}: {record['why']}")
        self._sometimes(*self._figures())

    def _figures(self) -> list[str]:
        """Files and bytes that are there, bytes per second, and the time to go."""
        held = self._bytes_ended + sum(self._parts.values())
        seconds = self._clock() - self._started if self._started is not None else 0.0
        parts = [f"{self._ended:,} of {self._files:,} files", f"{show.size(held)} of {show.size(self._total)}"]
        if seconds > 0 and self._came:
            rate = self._came / seconds
            parts += [f"{show.size(rate)}/s", f"ETA {show.duration(max(self._total - held, 0) / rate)}"]
        return parts

    def _render(self) -> RenderableType:
        """The live display: a bar and the running figures."""
        if self._started is None:
            return Text(self._doing)
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True, justify="right")
        share = self._ended / self._files if self._files else 1.0
        bar.add_row(ProgressBar(total=max(self._files, 1), completed=self._ended), f"{share:.0%}")
        return Group(bar, Text("  ".join(self._figures())))
