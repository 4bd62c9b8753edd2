"""The view of `tirgn data collect`."""

from typing import Unpack

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tirgn_cli import tables
from tirgn_cli.view import View, ViewOptions
from tirgn_eqx.gdelt.collect import (
    BytesFetched,
    CollectEvent,
    FetchEnded,
    FetchRetried,
    FetchStarted,
    FilesChecked,
    ListRead,
)

SECONDS_BETWEEN_LINES = 30.0


class CollectView(View[CollectEvent]):
    """Shows the events of `collect(on_record=...)`."""

    def __init__(self, **options: Unpack[ViewOptions]):
        super().__init__(**options)
        self._ended = self._bytes_ended = self._bytes_arrived = 0
        self._parts: dict[str, int] = {}  # bytes of the files that are being fetched
        self._started: FetchStarted | None = None
        self._began = 0.0
        self._status = "reading the list"

    def __call__(self, event: CollectEvent) -> None:
        """Show one event."""
        match event:
            case ListRead(name, held):
                self._status = f"reading {name}: {tables.format_size(held)}"
                self._line_at_times(self._status)
            case FilesChecked(checked, files):
                self._status = f"checking the files that are there: {checked:,} of {files:,}"
                self._line_at_times(self._status)
            case FetchStarted(listed, files, size, directory):
                self._started, self._began = event, self._clock()
                self._line(
                    f"{listed:,} files listed, {listed - files:,} there already, {files:,} to fetch "
                    f"({tables.format_size(size)}) into {directory}"
                )
            case BytesFetched(name, size, held):
                self._bytes_arrived += size
                self._parts[name] = held
                self._line_at_times(*self._figures())
            case FetchRetried(name, why, wait):
                # Events about bytes name the `.part` file.
                self._parts.pop(f"{name}.part", None)
                # In a log file, the retries of many files would hide everything else.
                if self._live is not None or self._started is None:
                    self._line(f"{name}: {why}; again in {tables.format_duration(wait)}")
            case FetchEnded():
                self._parts.pop(f"{event.name}.part", None)
                self._ended += 1
                self._bytes_ended += event.bytes
                if event.status != "fetched":
                    self._line(f"{event.name}: {event.why}")
                self._line_at_times(*self._figures())

    def _line(self, *parts: str) -> None:
        self._last_line = self._clock()
        super()._line(*parts)

    def _line_at_times(self, *parts: str) -> None:
        if self._live is None and self._clock() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._line(*parts)

    def _figures(self) -> list[str]:
        """Files and bytes that are there, bytes per second, and the time that remains."""
        files, size = (self._started.files, self._started.bytes) if self._started else (0, 0)
        held = self._bytes_ended + sum(self._parts.values())
        seconds = self._clock() - self._began if self._started else 0.0
        parts = [f"{self._ended:,} of {files:,} files", f"{tables.format_size(held)} of {tables.format_size(size)}"]
        if seconds > 0 and self._bytes_arrived:
            rate = self._bytes_arrived / seconds
            remaining = tables.format_duration(max(size - held, 0) / rate)
            parts += [f"{tables.format_size(rate)}/s", f"ETA {remaining}"]
        return parts

    def _render(self) -> RenderableType:
        if self._started is None:
            return Text(self._status)
        files = self._started.files
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True, justify="right")
        bar.add_row(tables.make_bar(files, self._ended), f"{self._ended / files if files else 1.0:.0%}")
        return Group(bar, Text("  ".join(self._figures())))
